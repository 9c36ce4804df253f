"""Where a run starts: by itself, or where another one ended."""

import functools as ft
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._clock import LAST, label
from ._compat import as_jax, is_traced
from ._domain import POSITIVE
from ._doors import check_node, key_or_none
from ._dynamics import AbstractNode
from ._leaves import named
from ._record import Snapshot
from ._shapes import arrays_of, filled, remembered
from ._typing import number

_RINGS = ("history", "lists", "relevant", "late")  # of a network's state: a row for each step of the longest delay


def initial_state(node: AbstractNode, dt: float, *, start: float = 0.0, key: Array | None = None) -> Snapshot:
    """The state in which a run of `node` begins by itself: to be looked at, or changed and handed to `simulate`.

    **Arguments:**

    - `node`: a `Population` or a `Network`.
    - `dt`: the time step in ms.
    - `start`: the time at which the run begins, ms, a whole number of steps; default 0.
    - `key`: `jax.random.key(seed)`, for noise and random initial values.

    **Raises:** `ValueError` for a start that is not a whole number of steps, or beyond 2^32 of them; for noise or
    random initial values without a key.

    ```python
    >>> import brainsim as bs, equinox as eqx
    >>> cells = bs.Population(2, bs.LIF())
    >>> state = bs.initial_state(cells, dt=0.1, start=1000.0)
    >>> state = eqx.tree_at(lambda s: s.node.neuron.v, state, state.node.neuron.v - 5.0)
    >>> run = bs.simulate(cells, 10.0, dt=0.1, record=dict(v="v"), state=state)
    >>> float(run.times("v")[0]), run["v"][0].round(2).tolist()
    (1000.1, [-74.94999694824219, -74.94999694824219])

    ```
    """
    check_node(node, "initial_state")
    dt = number(dt, "dt", unit="ms", domain=POSITIVE)
    start = number(start, "the start", unit="ms")
    if start < 0:
        raise ValueError(f"the start must not be before 0 ms, got {start} ms")
    k = round(start / dt)
    if start and abs(float(label(k, dt)) - start) > 1e-3 * dt:
        raise ValueError(f"the start, {start:.15g} ms, is not a whole number of steps of dt = {dt:g} ms")
    _check_end(k, 0)
    return Snapshot(as_jax(np.uint32(k)), node.init(dt=dt, key=_typed(key)), float(dt))


def started(
    node: AbstractNode, dt: float, steps: int, state: Any, key: Array | None, start: float | None = None
) -> Snapshot:
    """Where a run of so many steps starts: at `state`, or at that which the node has by itself."""
    if state is None:
        first = initial_state(node, dt, start=0.0 if start is None else start, key=key)
    elif start is None:
        first = _continued(node, dt, state, key)
    else:
        raise ValueError("give start= or state=, not both: a state has its time")
    _check_end(0 if is_traced(first.k) else int(first.k), steps)
    return first


def _check_end(k: int, steps: int) -> None:
    if k + steps > LAST:
        raise ValueError(f"steps are counted up to {LAST:,}, but the run would reach step {k + steps:,}; "
                         "take a longer dt, or let the time start again at 0")  # fmt: skip


def _continued(node: AbstractNode, dt: float, state: Any, key: Array | None) -> Snapshot:
    """`state`, if it is one of `node` for steps of `dt` ms; its noise drawn from `key`, if there is one."""
    if not isinstance(state, Snapshot):
        raise ValueError(f"state must be a Snapshot, like the `state` of a result or what initial_state returns; "
                         f"got {type(state).__name__}")  # fmt: skip
    if state.dt != dt:
        raise ValueError(f"state is of another run: its time step is {state.dt!r} ms, here it is {dt!r} ms")
    like = remembered(_state_of, node, dt, jnp.result_type(float))
    here, there = named(like), named(state.node)
    keys = [name for name, x in here.items() if _is_key(x)]
    if key is not None:
        if not keys:
            raise ValueError("a key beside state= is for noise, of which there is none here: leave it out")
        fresh = named(node.init(dt=dt, key=_typed(key)))
        there = {name: x for name, x in there.items() if not _is_key(x)} | {name: fresh[name] for name in keys}
    if difference := _difference(there, here):
        raise ValueError(f"state is of another run: {difference}")
    return Snapshot(state.k, jax.tree.unflatten(jax.tree.structure(like), [there[name] for name in here]), state.dt)


@ft.lru_cache(maxsize=64)
def _state_of(shapes: tuple[Any, ...], tree: Any, dt: float, dtype: Any) -> Any:
    """The shapes of the state of a node, where `dtype` is JAX's default."""
    init = lambda arrays, key: filled(shapes, tree, arrays).init(dt=dt, key=key)
    return jax.eval_shape(init, arrays_of(shapes), jax.random.key(0))


def _typed(key: Any) -> Any:
    """A key of the kind that knows what it is, also for one of the old kind."""
    key_or_none(key)
    old = isinstance(key, jax.Array) and key.dtype == jnp.uint32
    return jax.random.wrap_key_data(key) if old else key


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """What tells a state from one of this node, in a few words; empty if nothing does."""
    if missing := [name for name in here if name not in there]:
        noise = _is_key(here[missing[0]])
        return "it has no key for the noise; give key=" if noise else f"it has no {missing[0]}, which this node has"
    if more := [name for name in there if name not in here]:
        return f"it has {more[0]}, which this node has not"
    for name, x in here.items():
        a, b = _kind(there[name]), _kind(x)
        if a != b:
            rows = ", with a row for each step of the longest delay" if name.split(".")[0] in _RINGS else ""
            return f"its {name} is {a}, here it is {b}{rows}"
    return ""


def _kind(x: Any) -> str:
    """The type and the shape of an array; keys of all kinds are alike."""
    return f"{'key' if _is_key(x) else np.dtype(x.dtype).name}{list(x.shape)}"
