"""`simulate`: a fixed-step run as one pure function."""

import functools as ft
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from ._compat import alike, as_carried, cpu_options, is_outermost
from ._differentiated import unless_differentiated
from ._domain import FINITE
from ._doors import by_name, check_node, check_solvers, check_takes
from ._dynamics import AbstractConnectivity, AbstractDelayed, AbstractNode
from ._population import Population
from ._projection import Projection
from ._record import Record, Result, Snapshot
from ._start import started
from ._text import choices
from ._together import Together, better_together, is_small, together
from ._typing import as_float, number, whole, whole_number
from .inputs import AbstractInput, with_own_keys
from .ops import carry_weights
from .synapses import DelayedCSR, FanOut


def simulate(
    node: AbstractNode,
    duration: float,
    dt: float,
    inputs: Any = None,
    record: Mapping[str, Any] | None = None,
    *,
    state: Snapshot | None = None,
    start: float | None = None,
    solver: Any = None,
    key: Array | None = None,
    checkpoint: int | Sequence[int] | None = None,
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

    - `state`: where to start, default `initial_state(node, dt, start=start, key=key)`; the `state` of another result
      continues that run.
    - `start`: the time at which a run without `state` begins, default 0 ms.
    - `solver`: a diffrax solver for all populations, or a dict by population. Default: `Exact()` where the flow is
      affine, else `ExponentialEuler()`; where more than 256 neurons depend on one another, `diffrax.Heun()`.
    - `key`: `jax.random.key(seed)`, for noise and random initial values. Beside `state` it draws other noise from there
      on; without it, the noise goes on.
    - `checkpoint`: for reverse-mode gradients, keep the state only every so many steps and compute the rest again; or
      several such numbers, for blocks within blocks, each a multiple of the next. Default: about the square root of
      the number of steps, above 4,096 steps two numbers, above 262,144 three, so that no more than about 64 states of
      each are kept. Every further one costs the time of a run. It changes memory and time, not the result.

    **Returns:** a `Result`.

    **Raises:** `ValueError` for a duration that is not a positive whole number of steps, for a run beyond 2^32 steps,
    for unknown names and for shapes that do not fit, each with what is available; for a state of another node, time
    step or precision, with what differs.

    ```python
    >>> import brainsim as bs
    >>> cell = bs.Population(1, bs.LIF())
    >>> run = bs.simulate(cell, 100.0, dt=0.1, inputs=500.0, record=dict(spikes=True, v="v"))
    >>> run["v"].shape, int(run.spikes.sum())
    ((1000, 1), 6)

    ```
    """
    check_node(node, "simulate")
    check_solvers(solver)
    steps, dt = whole(duration, dt, "the duration"), number(dt, "dt", unit="ms")
    given = named_inputs(node, inputs, steps)
    records = named_records(node, record)
    result = advance(node, steps, dt, given, records, started(node, dt, steps, state, key, start), solver, checkpoint)
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
    checkpoint: int | Sequence[int] | None = None,
) -> Result:
    """What `simulate` does once its arguments are checked; lists of spikes overflow without a word."""
    inputs = _prepared(inputs, dt)
    # What is not differentiated, as no outermost run is, is one plain loop, which XLA compiles best.
    outermost = is_outermost()
    everys = {r.every for r in records.values()}
    levels, kept = _levels(everys, steps, checkpoint)
    loop, _ = _levels(everys, steps, steps if checkpoint is None else checkpoint)
    grouped = better_together(node)
    arranged: Any = together(node, state.node, solver, inputs) if grouped else lambda node: node
    if outermost:
        compiled = _optimised(grouped and is_small(node))
        return compiled(arranged(node), steps, float(dt), inputs, records, state, solver, loop, 0)

    def plain(node, inputs, records, state, solver):
        return _plain(node, steps, float(dt), inputs, records, state, solver, levels, kept)

    def fast(node, inputs, records, state, solver):
        return _plain(arranged(node), steps, float(dt), inputs, records, state, solver, loop, 0)

    given = node, inputs, records, state, solver
    return unless_differentiated(fast, plain, *given) if grouped else plain(*given)


def program(
    node: AbstractNode, dt: float, inputs: dict[str, Any], records: dict[str, Record], state: Snapshot, solver: Any
) -> str:
    """A few steps of a run as the text of the program that XLA gets; the values of parameters are not part of it."""
    inputs = _prepared(inputs, dt)
    if better_together(node):
        node = together(node, state.node, solver, inputs)(node)
    everys = {r.every for r in records.values()}
    steps = max({2} | everys)
    rows = {name: x[:1].repeat(steps, 0) if eqx.is_array(x) and x.ndim == 2 else x for name, x in inputs.items()}
    levels, _ = _levels(everys, steps, steps)
    return _plain.lower(node, steps, float(dt), rows, records, state, solver, levels, 0).as_text()


def _prepared(inputs: dict[str, Any], dt: float) -> dict[str, Any]:
    return {name: x.prepare(dt=dt) if isinstance(x, AbstractInput) else x for name, x in inputs.items()}


class _At(NamedTuple):
    """The state of a node after `i` steps of a run."""

    i: Int[Array, ""]
    node: Any


def _run(
    node: AbstractNode,
    steps: int,
    dt: float,
    inputs: dict[str, Any],
    records: dict[str, Record],
    state: Snapshot,
    solver: Any,
    levels: tuple[int, ...],
    kept: int,
) -> Result:
    if kept:  # reverse mode adds up many steps: not in bfloat16
        node = jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_array(x) and x.dtype == jnp.bfloat16 else x, node)
    # Over devices: their gradients are added up once, and not in every step.
    everything, fixed = eqx.partition((node, inputs, state.node, solver), eqx.is_array)
    node, inputs, state_, solver = eqx.combine(alike(everything), fixed)
    state = Snapshot(state.k, state_, state.dt)
    prepared = node.prepare(solver, dt=dt)
    sizes = node.inputs
    series = {name: x for name, x in inputs.items() if eqx.is_array(x) and x.ndim == 2}
    steady = {name: x for name, x in inputs.items() if name not in series}
    dense = {name: r for name, r in records.items() if r.events is None}
    own = lambda at: node.unpack(at.node, at.i) if isinstance(node, Together) else at.node  # the state users know
    listed = [name for name, r in records.items() if r.events is not None and r.index is None]

    # The weights of synapses: reverse mode through a loop that carries them touches only those that were used.
    both = node, prepared
    arrays, rest = eqx.partition(both, _weights(both) if kept else False)
    weights, tree = jax.tree.flatten(arrays)

    def step(weights: list[Array], carry: tuple[_At, dict[str, PyTree]], rows: dict[str, Array]) -> Any:
        (i, inner), lists = carry  # steps are counted from 0: a loop with one counter less
        k = state.k + i.astype(state.k.dtype)
        now = {name: x.at(k, dt, sizes[name]) if isinstance(x, AbstractInput) else x for name, x in steady.items()}
        now |= {name: jnp.broadcast_to(x[0], (sizes[name],)) for name, x in rows.items()}
        model, solver = eqx.combine(jax.tree.unflatten(tree, weights), rest)
        if isinstance(model, Together):
            whole = {name: lists[name] for name in listed}
            new, spikes, whole = model.step_and_list(k, i, dt, inner, now, solver, whole)
        else:
            (new, spikes), whole = model.step(k, dt, inner, now, solver), {}
        after = _At(i + 1, new)
        append = lambda name, x: records[name].append(x, node, own(after), spikes, i + 1)
        lists = {name: whole[name] if name in whole else append(name, x) for name, x in lists.items()}
        return (after, lists), taken(1, after, spikes)

    def taken(every: int, at: _At, spikes: Any) -> dict[str, PyTree]:
        """The records due after a block of `every` steps, one row each."""
        due = {name: r.take(node, own(at), spikes) for name, r in dense.items() if r.every == every}
        return jax.tree.map(lambda x: jnp.asarray(x)[None], due)

    def block(i: int) -> Callable:
        """Runs levels[i] steps, as a scan of blocks of levels[i + 1]."""

        def run(carry, rows):
            state, carried = carry
            if i + 1 == len(levels):
                if weights:
                    (state, out), carried = carry_weights(step)(weights, carried, state, rows)
                else:
                    state, out = step([], state, rows)
            else:
                (state, carried), out = repeat(i + 1, (state, carried), rows, levels[i])
                out = {**out, **taken(levels[i], state[0], None)}
            return (state, carried), out

        # Reverse mode keeps what enters a block of the longest levels, and again what enters a step.
        return jax.checkpoint(run, prevent_cse=False) if i < kept or i == len(levels) - 1 else run

    def repeat(i: int, carry: Any, rows: dict[str, Array], length: int) -> tuple[Any, dict[str, PyTree]]:
        """Scans whole blocks of level i over `length` steps; rows of records are joined along time."""
        count = length // levels[i]
        rows = jax.tree.map(lambda x: x.reshape(count, levels[i], *x.shape[1:]), rows)
        carry, out = jax.lax.scan(block(i), carry, rows, length=count)
        return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

    lists = {name: r.empty(node) for name, r in records.items() if r.events is not None}
    zero = jnp.zeros((), jnp.int32)
    first = _At(zero, node.pack(state.node, zero) if isinstance(node, Together) else state.node)
    row = {name: x[:1] for name, x in series.items()}
    (final, carried) = as_carried(lambda carry: block(len(levels) - 1)(carry, row)[0], ((first, lists), weights))
    done, parts = 0, []
    for i, length in enumerate(levels):  # whole blocks of the longest level, then of the next with what remains
        todo = (steps - done) // length * length
        if todo:
            chunk = {name: x[done : done + todo] for name, x in series.items()}
            (final, carried), out = repeat(i, (final, carried), chunk, todo)
            parts.append(out)
            done += todo
    final, lists = Snapshot(state.k + np.uint32(steps), own(final[0]), dt), final[1]
    joined = {name: records[name].listed(x, node, state.k, steps, dt) for name, x in lists.items()}
    for name in dense:
        there = [part[name] for part in parts if name in part]
        joined[name] = jax.tree.map(lambda x, *more: jnp.concatenate([x, *more]) if more else x, *there)
    every = {name: r.every for name, r in records.items()}
    return Result(joined, final, state.k, dt, every)


def _weights(tree: Any) -> Any:
    """Which leaves of `tree`, a node and what it prepared, hold one weight per synapse."""
    one_each = lambda axes: lambda x: eqx.is_inexact_array(x) and x.ndim == axes
    # Synapses that differ in delay deliver as they were prepared: what the projection holds is of no use to the loop.
    spare = lambda x: isinstance(x, Projection) and isinstance(x.connect, AbstractDelayed)
    layout = lambda x: isinstance(x, AbstractConnectivity | DelayedCSR)
    mask = lambda x: jax.tree.map(one_each(2 if isinstance(x, FanOut) else 1), x) if layout(x) else False
    return jax.tree.map(mask, tree, is_leaf=lambda x: layout(x) or spare(x))


_plain = eqx.filter_jit(_run)


@ft.cache
def _optimised(wide: bool) -> Callable[..., Result]:
    return eqx.filter_jit(_run, compiler_options=cpu_options(wide=wide))  # pyright: ignore[reportCallIssue]


_MOST = 64  # blocks within a block, if there is no need for more: what is kept of each is small beside the synapses


def _levels(everys: set[int], steps: int, checkpoint: int | Sequence[int] | None) -> tuple[tuple[int, ...], int]:
    """Lengths of nested blocks of steps, each a multiple of the next, the last 1; and how many are checkpointed."""
    chain = sorted({1} | everys)
    for short, long in itertools.pairwise(chain):
        if long % short:
            raise ValueError(f"recording intervals must be multiples of one another, got every = {short} and {long}")
    if chain[-1] > steps:
        raise ValueError(f"nothing would be recorded: every = {chain[-1]}, but the run has {steps} steps")
    longest = chain[-1]
    blocks = steps // longest
    if checkpoint is None:
        tops = [longest * size for size in _sizes(blocks)]
    else:
        given = list(checkpoint) if isinstance(checkpoint, list | tuple) else [checkpoint]
        given = [whole_number(x, "checkpoint, in steps,", least=1) for x in given]
        if not given:
            raise ValueError("checkpoint must be a positive whole number of steps, or several, got none")
        if any(long % short for long, short in itertools.pairwise(given)):
            raise ValueError(f"checkpoint: each number must be a multiple of the next, got {checkpoint!r}")
        tops, below = [], longest
        for x in reversed(given):  # whole multiples of the one below, and no longer than the run
            below *= max(1, min(round(x / below), steps // below))
            tops.append(below)
    levels = tuple(sorted({*chain, *tops}, reverse=True))
    return levels, len(set(tops))


def _sizes(blocks: int) -> list[int]:
    """Lengths of blocks within blocks, about equally many in each; divisors if possible, so that one loop runs all."""
    depth = 2
    while blocks > _MOST**depth:
        depth += 1
    if found := _divisors(blocks, depth):
        return found
    root = max(round(blocks ** (1 / depth)), 1)
    return [root**k for k in range(depth - 1, 0, -1)]


def _divisors(n: int, depth: int) -> list[int] | None:
    """`depth` - 1 numbers, each a divisor of the one before and the first of n, by factors near n^(1/depth)."""
    if depth == 1:
        return []
    target = n ** ((depth - 1) / depth)
    small = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    near = [d for d in {*small, *(n // d for d in small)} if target <= 4 * d and d <= 4 * target]
    for d in sorted(near, key=lambda d: abs(math.log(d / target))):
        if (rest := _divisors(d, depth - 1)) is not None:
            return [d, *rest]
    return None


def named_records(node: AbstractNode, record: Mapping[str, Any] | None) -> dict[str, Record]:
    """Records by name, checked."""
    given = by_name(record, "records", "dict(v='v', spikes=True)")
    return {n: (r if isinstance(r, Record) else Record(r)).checked(n, node) for n, r in given.items()}


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
            raise ValueError(f"input to unknown {name!r}; {choices(name, available)}")
        if isinstance(value, AbstractInput):
            try:
                value.check(available[name])
            except ValueError as error:
                raise ValueError(f"input {name!r} {error}") from None
            named[name] = value
        elif callable(value):
            receptor = name.partition(".")[2] if not isinstance(node, Population) else name.replace("current", "")
            if receptor:
                raise ValueError(f"input {name!r} takes events per step, not a function of time; "
                                 "give an array of shape (steps, n) or an input such as Poisson")  # fmt: skip
            check_takes(value, f"input {name!r}", "t")
            named[name] = value
        else:
            named[name] = _array_input(name, value, available[name], steps)
    return with_own_keys(named)


def _array_input(name: str, value: Any, n: int, steps: int) -> Array:
    value = as_float(value, f"input {name!r}", None, FINITE)
    if value.shape in [(), (1,), (n,)]:
        return jnp.broadcast_to(value, (n,)) if value.ndim else value
    if value.shape in ((steps, n), (steps, 1)):
        return value
    raise ValueError(f"input {name!r} must be a number or have shape ({n},), ({steps}, {n}) or ({steps}, 1), "
                     f"got {value.shape}")  # fmt: skip
