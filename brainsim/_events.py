"""`simulate_events`: exact spike times, from the same classes, by event location instead of a time grid."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._alike import independent
from ._clock import input_at
from ._domain import POSITIVE
from ._doors import check_solver
from ._dynamics import AbstractNeuron
from ._event_flow import EventFlow
from ._flow import structure
from ._hybrid import Now, Unit, over
from ._population import Cell, Flow, Population
from ._quantity import shown
from ._simulate import named_inputs
from ._typing import number, whole_number
from .inputs import AbstractInput, SpikeTrain

_ROOM = 10_000_000  # spikes of a neuron; a list of more is not what exact events are for


class Events(NamedTuple):
    """What `simulate_events` returns.

    - `times`: spike times in ms, shape (n, max_spikes), in order; infinite where there were fewer.
    - `count`: number of spikes of each neuron, shape (n,).
    - `complete`: whether all neurons reached the end; if not, `max_spikes` (or the number of steps) was too small.
    - `state`: neurons and receptors at the end; of a neuron that did not reach it, where it stopped.
    """

    times: Float[Array, "n spikes"]
    count: Int[Array, " n"]
    complete: Bool[Array, ""]
    state: Cell


def simulate_events(
    cell: AbstractNeuron | Population,
    duration: float,
    inputs: Any = None,
    *,
    max_spikes: int,
    solver: diffrax.AbstractSolver | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_step: float | None = None,
    max_steps: int = 4096,
    key: Array | None = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
) -> Events:
    """Run a neuron, or a small population of uncoupled ones, for `duration` ms with exact spike times.

    The flow of each neuron is integrated with an adaptive solver up to the root of its guard, then the neuron jumps;
    held variables stand still for exactly `t_ref`. Spike times are differentiable with respect to every parameter: the
    derivative of the root is taken implicitly. The cost grows with the number of spikes of the neuron that has most, so
    this is for cells, not for networks.

    Where a reset leaves a neuron above its guard, or where it starts there, it spikes as soon as it may. Events that
    arrive at the very time of a spike come after it.

    **Arguments:**

    - `cell`: a neuron model, or a `Population` of some with their receptors.
    - `duration`: ms.
    - `inputs`: as in `simulate`, where currents are numbers, arrays of shape (n,) or functions of t in ms, and events
      at receptors are a `SpikeTrain`, whose times are exact here.
    - `max_spikes`: room for so many spikes per neuron.
    - `solver`: default `diffrax.Dopri8()`; `rtol`, `atol`: its tolerances, default 1e-12 (float32: 1e-6).
    - `max_step`: longest step in ms, default unlimited; a guard that is reached and left within one step is not seen.
    - `max_steps`: of the solver, between two events.
    - `key`: for random initial values.
    - `adjoint`: default `diffrax.RecursiveCheckpointAdjoint()`, for reverse mode; `diffrax.ForwardMode()` for `jvp`.

    **Returns:** `Events`.

    **Raises:** `ValueError` for noise, neurons that may depend on one another, a duration or `max_spikes` that are not
    positive, unknown names.

    ```python
    >>> import brainsim as bs
    >>> lif = bs.LIF(tau=10.0, v_rest=0.0, v_reset=0.0, v_th=15.0, c=10.0, t_ref=2.0)
    >>> events = bs.simulate_events(lif, 20.0, 40.0, max_spikes=5)
    >>> [round(float(t), 3) for t in events.times[0, :3]], int(events.count[0])   # 10 log(40 / 25) and every 6.700 ms
    ([4.7, 11.4, 18.1], 3)

    ```
    """
    population = cell if isinstance(cell, Population) else Population(1, cell)
    duration = number(duration, "the duration", unit="ms", domain=POSITIVE)
    max_spikes = whole_number(max_spikes, "max_spikes", least=1, most=_ROOM)
    max_steps = whole_number(max_steps, "max_steps", least=1, most=2**31 - 1)
    rtol, atol, max_step = (
        None if value is None else number(value, name, unit=unit, domain=POSITIVE)
        for name, value, unit in (("rtol", rtol, None), ("atol", atol, None), ("max_step", max_step, "ms"))
    )
    if solver is not None:
        check_solver(solver)
    if not isinstance(adjoint, diffrax.AbstractAdjoint | None):
        raise ValueError(f"adjoint must be one of diffrax's, such as diffrax.ForwardMode(), got {shown(adjoint)}")
    if population.noise:
        raise ValueError("exact events need a flow without noise; use simulate")
    if population.n > 1 and not independent(population):
        raise ValueError("exact events take neurons one by one: what differs between them must be a parameter, and "
                         "none may depend on another; simulate runs others")  # fmt: skip
    given = named_inputs(population, inputs, 0)
    current = given.pop("current", 0.0)
    if isinstance(current, AbstractInput):
        raise ValueError(f"the current of exact events must be a number, an array or a function of t, got {current!r}")
    if wrong := [name for name, x in given.items() if not isinstance(x, SpikeTrain)]:
        raise ValueError(f"input {wrong[0]!r} of exact events must be a SpikeTrain, got {given[wrong[0]]!r}")
    state = population.init(dt=1.0, key=key)
    y = Cell(state.neuron, state.receptors)
    dtype = jax.tree.leaves(y)[0].dtype
    default = 1e-12 if dtype == jnp.float64 else 1e-6
    flow = EventFlow(
        solver=diffrax.Dopri8() if solver is None else solver,
        rtol=rtol or default,
        atol=atol or default,
        max_step=max_step,
        max_steps=max_steps,
        adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
    )
    return _run(population, jnp.asarray(duration, dtype), current, given, y, max_spikes, flow)


@eqx.filter_jit
def _run(
    cell: Population,
    end: Float[Array, ""],
    current: Any,
    trains: Mapping[str, SpikeTrain],
    y: Cell,
    max_spikes: int,
    flow: EventFlow,
) -> Events:
    n, resets = cell.n, cell.neuron.resets
    args = Flow(jnp.zeros((), end.dtype), jnp.zeros((), bool))
    affine = structure(lambda y: cell.vector_field(0.0, y, args), y).affine
    diverges = resets and not affine  # an affine flow takes for ever
    each = lambda tree: jax.tree.map(lambda x: 0 if eqx.is_array(x) and x.ndim else None, tree)
    arriving = {name: jnp.atleast_1d(x.times.astype(end.dtype)) for name, x in trains.items()}
    times = {name: jnp.broadcast_to(x, (n, x.shape[-1])) for name, x in arriving.items()}
    weights = {name: jnp.broadcast_to(x.weight.astype(end.dtype), (n,)) for name, x in trains.items()}
    parts = cell.neuron, cell.receptors, times, weights, None if callable(current) else current

    def advance(i: Array, parts: Any, now: Now) -> Now:
        """One neuron does not wait for another: none has anything to do with the others."""
        neuron, receptors, times, weights, steady = parts
        every = lambda t: jnp.broadcast_to(jnp.asarray(input_at(current, t)), (n,))  # pyright: ignore
        own = (lambda t: every(t)[i][None]) if callable(current) else steady
        return Unit(Population(1, neuron, receptors), own, times, weights, diverges).passage(now, end, flow)

    def body(now: Now, _: None) -> tuple[Now, None]:
        ended = over(now, end)

        def forth(now: Now) -> Now:
            new = eqx.filter_vmap(advance, in_axes=(0, each(parts), 0))(jnp.arange(n), parts, now)
            stay = lambda new, old: jnp.where(ended.reshape(-1, *[1] * (new.ndim - 1)), old, new)
            return jax.tree.map(stay, new, now)

        return jax.lax.cond(jnp.all(ended), lambda now: now, forth, now), None

    zero = jnp.zeros(n, end.dtype)
    start = Now(
        t=zero,
        rest=zero,
        y=jax.tree.map(lambda x: x[:, None], y),
        left=zero,
        arrived=jnp.full_like(zero, -jnp.inf),
        armed=jnp.ones(n, bool) if resets else cell.neuron.guard(y.neuron) < 0,
        times=jnp.full((n, max_spikes), jnp.inf, end.dtype),
        count=jnp.zeros(n, jnp.int32),
        failed=jnp.zeros(n, bool),
    )
    # A spike takes a passage to it, one of the refractory period and, without a reset, one to below the guard.
    length = (2 if resets else 3) * max_spikes + sum(x.shape[-1] for x in times.values()) + 2
    final, _ = jax.lax.scan(body, start, None, length=length)
    complete = jnp.all((final.t >= end) & ~final.failed)
    return Events(final.times, final.count, complete, jax.tree.map(lambda x: x[:, 0], final.y))
