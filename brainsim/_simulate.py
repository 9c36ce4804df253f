"""`simulate`: a fixed-step run as one pure function."""

import functools as ft
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._compat import cpu_options, is_outermost
from ._dynamics import AbstractNode
from ._population import Population
from ._record import Record, Result, Snapshot
from ._typing import as_float, whole
from .inputs import AbstractInput


def simulate(
    node: AbstractNode,
    duration: float,
    dt: float,
    inputs: Any = None,
    record: Mapping[str, Any] | None = None,
    *,
    state: Any = None,
    solver: Any = None,
    key: Array | None = None,
    checkpoint: int | None = None,
) -> Result:
    """Run `node` for `duration` ms in steps of `dt` ms; a pure function, to be jitted, differentiated and vmapped.

    **Main arguments:**

    - `node`: a `Population` or a `Network`.
    - `duration`: ms, a whole number of steps.
    - `dt`: ms.
    - `inputs`: by name (`"E"` the current into a population, `"E.exc"` the events at a receptor; for a lone population
      `"current"` and `"exc"`, or just the current). Each is a number or an array of shape (n,), constant in time; an
      array of shape (steps, n) or (steps, 1), one row a step; a function of the time t in ms, evaluated by the solver
      where it needs it; or an input such as `brainsim.Poisson`.
    - `record`: name to what is recorded, see `Record`: e.g. `dict(spikes=["E", "I"], v="E.v", total=lambda s: ...)`;
      for a lone population `dict(spikes=True, v="v")`. Spikes are stamped with the end of the step; a recorded state is
      the state there: row i is time (i + 1)·dt.

    **Other arguments:**

    - `state`: where to start, default `node.init(dt=dt, key=key)`; the `state` of another result continues that run.
    - `solver`: a diffrax solver for all populations, or a dict by population. Default: `Exact()` where the flow is
      affine, else `ExponentialEuler()`.
    - `key`: `jax.random.key(seed)`, for noise and random initial values.
    - `checkpoint`: for reverse-mode gradients, keep the state only every so many steps and compute the rest again;
      default about the square root of the number of steps. It changes memory and time, not the result.

    **Returns:** a `Result`.

    **Raises:** `ValueError` for a duration that is not a positive whole number of steps, for unknown names and for
    shapes that do not fit, each with what is available.

    ```python
    >>> import brainsim as bs
    >>> cell = bs.Population(1, bs.LIF())
    >>> run = bs.simulate(cell, 100.0, dt=0.1, inputs=500.0, record=dict(spikes=True, v="v"))
    >>> run["v"].shape, int(run.spikes.sum())
    ((1000, 1), 6)

    ```
    """
    steps = whole(duration, dt, "the duration")
    given = named_inputs(node, inputs, steps)
    records = named_records(node, record)
    result = advance(node, steps, dt, given, records, started(node, dt, state, key), solver, checkpoint)
    if is_outermost() and any(r.events is not None for r in records.values()):
        result.warn_of_overflow()
    return result


def advance(
    node: AbstractNode,
    steps: int,
    dt: float,
    inputs: dict[str, Any],
    records: dict[str, Record],
    state: Snapshot,
    solver: Any = None,
    checkpoint: int | None = None,
) -> Result:
    """What `simulate` does once its arguments are checked; lists of spikes overflow without a word."""
    # Nobody differentiates an outermost run: one plain loop, which XLA compiles best, and its options.
    outermost = is_outermost()
    everys = {r.every for r in records.values()}
    levels = _levels(everys, steps, steps if outermost and checkpoint is None else checkpoint)
    compiled = _optimised() if outermost else _plain
    return compiled(node, steps, float(dt), inputs, records, state, solver, levels)


def program(
    node: AbstractNode, dt: float, inputs: dict[str, Any], records: dict[str, Record], state: Snapshot, solver: Any
) -> str:
    """A few steps of a run as the text of the program that XLA gets; the values of parameters are not part of it."""
    everys = {r.every for r in records.values()}
    steps = max({2} | everys)
    rows = {name: x[:1].repeat(steps, 0) if eqx.is_array(x) and x.ndim == 2 else x for name, x in inputs.items()}
    levels = _levels(everys, steps, steps)
    return _plain.lower(node, steps, float(dt), rows, records, state, solver, levels).as_text()


def started(node: AbstractNode, dt: float, state: Any, key: Array | None) -> Snapshot:
    """Where a run starts: at `state`, or at that which the node has by itself."""
    if state is None:
        state = node.init(dt=dt, key=key)
    return state if isinstance(state, Snapshot) else Snapshot(jnp.zeros((), jnp.int32), state)


def _run(
    node: AbstractNode,
    steps: int,
    dt: float,
    inputs: dict[str, Any],
    records: dict[str, Record],
    state: Snapshot,
    solver: Any,
    levels: tuple[int, ...],
) -> Result:
    prepared = node.prepare(solver, dt=dt)
    sizes = node.inputs
    series = {name: x for name, x in inputs.items() if eqx.is_array(x) and x.ndim == 2}
    steady = {name: x for name, x in inputs.items() if name not in series}
    dense = {name: r for name, r in records.items() if r.events is None}

    def step(carry: tuple[Snapshot, dict[str, PyTree]], rows: dict[str, Array]) -> tuple[Any, dict[str, PyTree]]:
        (k, state), lists = carry
        now = {name: x.at(k, dt, sizes[name]) if isinstance(x, AbstractInput) else x for name, x in steady.items()}
        now |= {name: jnp.broadcast_to(x[0], (sizes[name],)) for name, x in rows.items()}
        new, spikes = node.step(k, dt, state, now, prepared)
        lists = {name: records[name].append(x, node, new, spikes, k + 1) for name, x in lists.items()}
        return (Snapshot(k + 1, new), lists), taken(1, new, spikes)

    def taken(every: int, node_state: Any, spikes: Any) -> dict[str, PyTree]:
        """The records due after a block of `every` steps, one row each."""
        due = {name: r.take(node, node_state, spikes) for name, r in dense.items() if r.every == every}
        return jax.tree.map(lambda x: jnp.asarray(x)[None], due)

    def block(i: int) -> Callable:
        """Runs levels[i] steps, as a scan of blocks of levels[i + 1]."""

        def run(carry, rows):
            if i + 1 == len(levels):
                return step(carry, rows)
            carry, out = repeat(i + 1, carry, rows, levels[i])
            return carry, {**out, **taken(levels[i], carry[0].node, None)}

        # Reverse mode keeps what enters a block of the longest level, and again what enters a step.
        return jax.checkpoint(run, prevent_cse=False) if i in (0, len(levels) - 1) else run

    def repeat(i: int, carry: Any, rows: dict[str, Array], length: int) -> tuple[Any, dict[str, PyTree]]:
        """Scans whole blocks of level i over `length` steps; rows of records are joined along time."""
        count = length // levels[i]
        rows = jax.tree.map(lambda x: x.reshape(count, levels[i], *x.shape[1:]), rows)
        carry, out = jax.lax.scan(block(i), carry, rows, length=count)
        return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

    lists = {name: r.empty(node) for name, r in records.items() if r.events is not None}
    final, done, parts = (state, lists), 0, []
    for i, length in enumerate(levels):  # whole blocks of the longest level, then of the next with what remains
        todo = (steps - done) // length * length
        if todo:
            final, out = repeat(i, final, {name: x[done : done + todo] for name, x in series.items()}, todo)
            parts.append(out)
            done += todo
    final, lists = final
    joined = {name: records[name].listed(x, node, state.k, steps, dt) for name, x in lists.items()}
    for name in dense:
        there = [part[name] for part in parts if name in part]
        joined[name] = jax.tree.map(lambda x, *more: jnp.concatenate([x, *more]) if more else x, *there)
    every = {name: r.every for name, r in records.items()}
    return Result(joined, final, state.k.astype(jnp.result_type(float)) * dt, dt, every)


_plain = eqx.filter_jit(_run)


@ft.cache
def _optimised() -> Callable[..., Result]:
    return eqx.filter_jit(_run, compiler_options=cpu_options())  # pyright: ignore[reportCallIssue]


def _levels(everys: set[int], steps: int, checkpoint: int | None) -> tuple[int, ...]:
    """Lengths of nested blocks of steps, each a multiple of the next, the last 1; the first is the checkpointed one."""
    chain = sorted({1} | everys)
    for short, long in itertools.pairwise(chain):
        if long % short:
            raise ValueError(f"recording intervals must be multiples of one another, got every = {short} and {long}")
    if chain[-1] > steps:
        raise ValueError(f"nothing would be recorded: every = {chain[-1]}, but the run has {steps} steps")
    longest = chain[-1]
    if checkpoint is None:
        # Two levels need least memory near the square root; a divisor of the number of steps makes one loop, not two.
        blocks = steps // longest
        divisors = [
            d for d in range(1, blocks + 1) if blocks % d == 0 and d * d <= 16 * blocks and 16 * d * d >= blocks
        ]
        root = math.isqrt(blocks)
        checkpoint = longest * min(divisors, key=lambda d: abs(math.log(d / max(root, 1))), default=max(root, 1))
    if isinstance(checkpoint, bool) or not isinstance(checkpoint, int) or checkpoint < 1:
        raise ValueError(f"checkpoint must be a positive whole number of steps, got {checkpoint!r}")
    top = longest * max(1, round(checkpoint / longest))
    return tuple(sorted({*chain, min(top, steps // longest * longest)}, reverse=True))


def named_records(node: AbstractNode, record: Mapping[str, Any] | None) -> dict[str, Record]:
    """Records by name, checked."""
    return {n: (r if isinstance(r, Record) else Record(r)).checked(n, node) for n, r in (record or {}).items()}


def named_inputs(node: AbstractNode, inputs: Any, steps: int) -> dict[str, Any]:
    """Inputs by name, checked: numbers and arrays as arrays, functions as they are."""
    available = node.inputs
    if inputs is None:
        inputs = {}
    elif not isinstance(inputs, Mapping):
        if not isinstance(node, Population):
            raise ValueError(f"inputs of a network go by name; available: {', '.join(available)}")
        inputs = {"current": inputs}
    named = {}
    for name, value in inputs.items():
        if name not in available:
            raise ValueError(f"input to unknown {name!r}; available: {', '.join(available)}")
        if isinstance(value, AbstractInput):
            named[name] = value
        elif callable(value):
            receptor = name.partition(".")[2] if not isinstance(node, Population) else name.replace("current", "")
            if receptor:
                raise ValueError(f"input {name!r} takes events per step, not a function of time; "
                                 "give an array of shape (steps, n) or an input such as Poisson")  # fmt: skip
            named[name] = value
        else:
            named[name] = _array_input(name, value, available[name], steps)
    return named


def _array_input(name: str, value: Any, n: int, steps: int) -> Array:
    value = as_float(value)
    if value.shape in [(), (1,), (n,)]:
        return jnp.broadcast_to(value, (n,)) if value.ndim else value
    if value.shape in ((steps, n), (steps, 1)):
        return value
    raise ValueError(f"input {name!r} must be a number or have shape ({n},), ({steps}, {n}) or ({steps}, 1), "
                     f"got {value.shape}")  # fmt: skip
