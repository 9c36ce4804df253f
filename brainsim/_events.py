"""`simulate_events`: exact spike times, from the same classes, by event location instead of a time grid."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Bool, Float, Int

from ._dynamics import AbstractNeuron
from ._population import Cell, Flow, Population
from ._simulate import named_inputs
from ._typing import get, put
from .inputs import SpikeTrain


class Events(NamedTuple):
    """What `simulate_events` returns.

    - `times`: spike times in ms, shape (n, max_spikes), in order; infinite where there were fewer.
    - `count`: number of spikes of each neuron, shape (n,).
    - `complete`: whether the run reached its end; if not, `max_spikes` (or the number of steps allowed) was too small.
    - `state`: neurons and receptors at the end.
    """

    times: Float[Array, "n spikes"]
    count: Int[Array, " n"]
    complete: Bool[Array, ""]
    state: Cell


class _Now(NamedTuple):
    """The hybrid system between two segments. An unarmed neuron has spiked and is still above its guard."""

    t: Float[Array, ""]
    y: Cell
    free_at: Float[Array, " n"]
    armed: Bool[Array, " n"]
    times: Float[Array, "n spikes"]
    count: Int[Array, " n"]
    failed: Bool[Array, ""]


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

    The flow is integrated with an adaptive solver up to the root of the guard, then the neuron jumps; held variables
    stand still for exactly `t_ref`. Spike times are differentiable with respect to every parameter: the derivative of
    the root is taken implicitly. The cost grows with the number of spikes, so this is for cells, not for networks.

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

    **Raises:** `ValueError` for noise, a duration or `max_spikes` that are not positive, unknown names.

    ```python
    >>> import brainsim as bs
    >>> lif = bs.LIF(tau=10.0, v_rest=0.0, v_reset=0.0, v_th=15.0, c=10.0, t_ref=2.0)
    >>> events = bs.simulate_events(lif, 20.0, 40.0, max_spikes=5)
    >>> [round(float(t), 3) for t in events.times[0, :3]], int(events.count[0])   # 10 log(40 / 25) and every 6.700 ms
    ([4.7, 11.4, 18.1], 3)

    ```
    """
    population = cell if isinstance(cell, Population) else Population(1, cell)
    if population.noise:
        raise ValueError("exact events need a flow without noise; use simulate")
    if not duration > 0:
        raise ValueError(f"the duration must be positive, got {duration} ms")
    if isinstance(max_spikes, bool) or not isinstance(max_spikes, int) or max_spikes < 1:
        raise ValueError(f"max_spikes must be a positive whole number, got {max_spikes!r}")
    given = named_inputs(population, inputs, 0)
    trains = {name: x for name, x in given.items() if name != "current"}
    if wrong := [name for name, x in trains.items() if not isinstance(x, SpikeTrain)]:
        raise ValueError(f"input {wrong[0]!r} of exact events must be a SpikeTrain, got {trains[wrong[0]]!r}")
    state = population.init(dt=1.0, key=key)
    y = Cell(state.neuron, state.receptors)
    dtype = jax.tree.leaves(y)[0].dtype
    precise = dtype == jnp.float64
    tolerance: dict[str, Any] = dict(
        rtol=rtol or (1e-12 if precise else 1e-6), atol=atol or (1e-12 if precise else 1e-6)
    )
    integrate = _Integrator(
        solver=diffrax.Dopri8() if solver is None else solver,
        controller=diffrax.PIDController(**tolerance, dtmax=max_step),
        root_finder=optimistix.Newton(rtol=tolerance["rtol"] * 1e-2, atol=tolerance["atol"] * 1e-2),
        adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        max_steps=max_steps,
    )
    current = given.get("current", jnp.zeros(population.n, dtype))
    return _run(population, jnp.asarray(duration, dtype), current, trains, y, max_spikes, integrate)


def _failed(result: diffrax.RESULTS) -> Bool[Array, ""]:
    """Whether the integration itself failed.

    Where the guard is steep (at the peak of an AdEx, 1e-5 mV in one rounding of t) the root finder cannot make it
    vanish, and says so, although the time of the event could not be any better.
    """
    return ~(diffrax.is_okay(result) | (result == diffrax.RESULTS.nonlinear_max_steps_reached))


class _Integrator(eqx.Module):
    """diffrax, with the choices of one run."""

    solver: diffrax.AbstractSolver
    controller: diffrax.AbstractStepSizeController
    root_finder: optimistix.AbstractRootFinder
    adjoint: diffrax.AbstractAdjoint
    max_steps: int

    def __call__(self, field: Callable, guard: Callable, t0: Array, t1: Array, y: Cell, flow: Flow) -> Any:
        """From t0 to t1, or to the first upward root of `guard(y)`: the time, the state, and what happened."""
        condition = lambda t, y, args, **_: guard(y)
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            self.solver,
            t0,
            t1,
            None,
            y,
            flow,
            stepsize_controller=self.controller,
            event=diffrax.Event(condition, self.root_finder, direction=True),
            adjoint=self.adjoint,
            max_steps=self.max_steps,
            throw=False,
        )


@eqx.filter_jit
def _run(
    cell: Population,
    end: Float[Array, ""],
    current: Any,
    trains: Mapping[str, SpikeTrain],
    y: Cell,
    max_spikes: int,
    integrate: _Integrator,
) -> Events:
    arrivals = jnp.concatenate([jnp.full(1, jnp.inf, end.dtype), *(x.times for x in trains.values())])

    def segment(now: _Now) -> _Now:
        """Up to the next spike, arrival, end of a refractory period, re-arming or the end of the run."""
        refractory = now.free_at > now.t
        later = jnp.concatenate([arrivals, now.free_at, end[None]])
        stop = jnp.min(jnp.where(later > now.t, later, jnp.inf))
        guard = lambda y: jnp.where(now.armed, cell.neuron.guard(y.neuron), -cell.neuron.guard(y.neuron))
        first = lambda y: jnp.max(jnp.where(refractory & now.armed, -1, guard(y)))
        solution = integrate(cell.vector_field, first, now.t, stop, now.y, Flow(current, refractory))
        happened = solution.event_mask
        y: Cell = jax.tree.map(lambda x: x[-1], solution.ys)
        t = jnp.where(happened, solution.ts[-1], stop)

        # Arrivals, exactly at their times; they may lift a neuron over its threshold.
        receptors, neuron = dict(y.receptors), y.neuron
        for name, train in trains.items():
            number = jnp.sum((train.times == t) & ~happened).astype(train.weight.dtype)
            events = jnp.broadcast_to(train.weight * number, (cell.n,))
            receptors[name], v = cell.receptors[name].receive(receptors[name], get(neuron, "v"), events)
            neuron = put(neuron, v=v)
        neuron = put(neuron, **{
            x: jnp.where(refractory, get(now.y.neuron, x), get(neuron, x)) for x in cell.neuron.held
        })  # fmt: skip
        lifted = cell.neuron.guard(neuron) >= 0

        # At the root the guard is 0 but for rounding: the neuron at the maximum crossed, and any in step with it.
        value = guard(Cell(neuron, receptors))
        reached = happened & (value >= first(Cell(neuron, receptors)) - 1e-6)
        spiked = now.armed & ~refractory & (reached | (lifted & ~happened))
        fell = ~now.armed & reached
        neuron = jax.tree.map(lambda new, old: jnp.where(spiked, new, old), cell.neuron.reset(neuron), neuron)
        armed = jnp.where(spiked, cell.neuron.resets, now.armed | fell)
        slot = jnp.where(spiked, now.count, max_spikes)
        return _Now(
            t=t,
            y=Cell(neuron, receptors),
            free_at=jnp.where(spiked, t + cell.neuron.t_ref, now.free_at),
            armed=armed,
            times=now.times.at[jnp.arange(cell.n), slot].set(t, mode="drop"),
            count=now.count + spiked.astype(jnp.int32),
            failed=now.failed | _failed(solution.result),
        )

    def body(now: _Now, _: None) -> tuple[_Now, None]:
        over = (now.t >= end) | now.failed | jnp.any(now.count >= max_spikes)
        return jax.lax.cond(over, lambda now: now, segment, now), None

    start = _Now(
        t=jnp.zeros((), end.dtype),
        y=y,
        free_at=jnp.zeros(cell.n, end.dtype),
        armed=jnp.ones(cell.n, bool) if cell.neuron.resets else cell.neuron.guard(y.neuron) < 0,
        times=jnp.full((cell.n, max_spikes), jnp.inf, end.dtype),
        count=jnp.zeros(cell.n, jnp.int32),
        failed=jnp.zeros((), bool),
    )
    # Every spike costs a segment, another for its refractory period, and one to fall below a guard without reset.
    per_spike = 2 if cell.neuron.resets else 3
    final, _ = jax.lax.scan(body, start, None, length=per_spike * cell.n * max_spikes + arrivals.shape[0] + 1)
    return Events(final.times, final.count, (final.t >= end) & ~final.failed, final.y)
