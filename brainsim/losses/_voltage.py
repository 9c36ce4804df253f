"""The mean square error of a membrane potential, in a form that gradients can follow through spikes."""

from typing import TYPE_CHECKING, Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._doors import check_recording, check_solvers
from .._dynamics import AbstractNeuron, AbstractNode
from .._flow import structure
from .._population import Cell, Flow, Population
from .._quantity import shown
from .._simulate import simulate
from .._typing import State, as_float, get, number, put, truth, units, variables
from ._terms import Terms

if TYPE_CHECKING:
    from ..io import Recording


def voltage_mse(
    model: AbstractNeuron,
    recording: "Recording",
    *,
    coupling: Any = 0.1,
    mask: tuple[float, float] = (1.0, 2.0),
    skip: float = 0.0,
    threshold: bool | None = None,
    solver: Any = None,
) -> Terms:
    """The mean square error (mV²) of a neuron that is driven by a recording's stimulus and follows its voltage.

    A free run of a spiking model is a poor guide to its parameters: one early spike, and everything after it is wrong,
    and the error is riddled with local minima. So the model is told what the cell did, and asked what comes next:

        dy/dt = f(y, I),    then at every sample    v = v + (1 - exp(-coupling dt)) (v_recorded - v)

    and the error is that of v just before it is corrected. The coupling is the gain of an observer. A large one makes
    the error smooth in the parameters, but noise in the voltage biases them; zero is a free run, unbiased but rough.
    `fit` goes from 2/ms to 0.1/ms.

    A neuron with a reset (integrate-and-fire) jumps where the recording spiked instead of at its own threshold. Spikes,
    whose shape it does not model, are the recording's: its samples around them are left out, and those before the spike
    take the place of v. Where the threshold is, the recorded spikes
    tell: the squared distance of v from it, half a step before each of them, is added to the sum. (Not for an AdEx,
    whose spike is an upstroke of its flow: where that is counted matters to nothing.) Neurons without a reset
    (Hodgkin-Huxley) are compared throughout.

    **Main arguments:**

    - `model`: a neuron with a variable `v`, its parameters scalars.
    - `recording`: with a voltage and a stimulus; for a neuron with a reset also with spike times, or else the times at
      which the voltage rises through -20 mV are taken. The model runs at its time step, from its first voltage.

    **Other arguments:**

    - `coupling`: 1/ms, default 0.1.
    - `mask`: how long before and after each spike samples are left out, default 1 and 2 ms.
    - `skip`: ms at the start that are left out, default 0.
    - `threshold`: whether spikes tell where the guard of the neuron is; default if it has a reset and an affine flow.
    - `solver`: a diffrax solver. Default as in `simulate`; exponential Euler is of first order, so for a Hodgkin-Huxley
      neuron a second-order solver such as `diffrax.Heun()` is better.

    **Returns:** `Terms`, with one row for each sample.

    **Raises:** `ValueError` for a model that is not a neuron with a voltage, a recording without stimulus or voltage,
    and a stimulus in uA/cm2 for a neuron that takes pA, or the other way round.

    ```python
    >>> import brainsim as bs, numpy as np
    >>> pulse = np.repeat([0.0, 200.0, 0.0], 200)
    >>> run = bs.simulate(bs.Population(1, bs.LIF()), 60.0, dt=0.1, inputs=pulse[:, None], record=dict(v="v"))
    >>> v = np.append(-70.0, run["v"][:-1, 0])  # a recording starts at time 0, a run with the end of its first step
    >>> cell = bs.io.Recording(dt=0.1, stimulus=pulse, voltage=v)
    >>> float(bs.losses.voltage_mse(bs.LIF(), cell).mean()) < 1e-9
    True
    >>> float(bs.losses.voltage_mse(bs.LIF(tau=20.0), cell).mean()) > 1e-3
    True

    ```

    The coupling: Abarbanel, Creveling, Farsian & Kostuk (2009), SIAM Journal on Applied Dynamical Systems 8:1341,
    doi:10.1137/090749761; forced resets: Paninski, Pillow & Simoncelli (2004), Neural Computation 16:2533,
    doi:10.1162/0899766042321797.
    """
    if not isinstance(mask, tuple | list) or len(mask) != 2:
        raise ValueError(f"voltage_mse: mask must be two durations in ms, before and after a spike, got {shown(mask)}")
    before, after = (number(x, "voltage_mse: mask", unit="ms", domain="[0, inf)") for x in mask)
    skip = number(skip, "voltage_mse: skip", unit="ms", domain="[0, inf)")
    coupling = as_float(coupling, "voltage_mse: coupling", "1/ms", "[0, inf)")
    if coupling.ndim:
        raise ValueError(f"voltage_mse: coupling must be a number, got shape {coupling.shape}")
    threshold = None if threshold is None else truth(threshold, "voltage_mse: threshold")
    check_solvers(solver)
    data = _read(model, recording, (before, after), skip)
    dt, n = recording.dt, recording.n
    one = Population(1, model)
    runaway = model.resets and not _affine(one)
    if threshold is None:
        threshold = model.resets and not runaway
    gain = -jnp.expm1(-coupling * dt)
    node = _Follower(one, as_float(data.voltage[0]), float(data.ceiling) if runaway else None, 20.0 / dt, threshold)
    # Row k of what the model is told holds sample k + 1, the end of step k; there is none after the last step.
    ahead = lambda x: as_float(np.append(x[1:], x[-1]))[:, None]
    told = dict(
        voltage=ahead(data.voltage), gain=gain * ahead(data.use) + ahead(data.upstroke), spike=ahead(data.spike)
    )
    record = dict(v="v", distance="distance") if threshold else dict(v="v")
    current = as_float(recording.stimulus)[:, None]
    run = simulate(node, n * dt, dt, dict(current=current, **told), record, solver=solver)
    v = run["v"][:, 0]
    counted = lambda x: as_float(np.append((x * data.scored)[1:], 0.0))
    score, target = counted(data.use), told["voltage"][:, 0]
    if not threshold:
        return Terms(v, lambda v: score * (v - target) ** 2, score)
    weight = jnp.stack([score, counted(data.spike)], -1)
    target = jnp.stack([target, jnp.zeros_like(target)], -1)
    output = jnp.stack([v, run["distance"][:, 0]], -1)
    return Terms(output, lambda output: weight * (output - target) ** 2, score)


class _Data(NamedTuple):
    """The recording by samples: its voltage, and 1 where that is used, rises to a spike, spikes, and counts."""

    voltage: np.ndarray
    use: np.ndarray
    upstroke: np.ndarray
    spike: np.ndarray
    scored: np.ndarray
    ceiling: float


def _read(model: AbstractNeuron, recording: "Recording", mask: tuple[float, float], skip: float) -> _Data:
    if not isinstance(model, AbstractNeuron) or "v" not in variables(jax.eval_shape(lambda: model.init(1))):
        raise ValueError(f"voltage_mse compares one neuron with a variable 'v', got {type(model).__name__}")
    check_recording("voltage_mse", recording)
    if recording.voltage is None or recording.stimulus is None:
        lacks = "voltage" if recording.voltage is None else "stimulus"
        raise ValueError(f"voltage_mse needs a voltage and a stimulus; the recording has no {lacks}")
    per_area, area_given = units(model).get("c") == "uF/cm2", "cm2" in recording.stimulus_unit.replace("²", "2")
    if per_area != area_given and units(model).get("c"):
        raise ValueError(f"{type(model).__name__} takes a current in {'uA/cm2' if per_area else 'pA'}, "
                         f"the recording's stimulus is in {recording.stimulus_unit}")  # fmt: skip
    dt, n, voltage = recording.dt, recording.n, recording.voltage
    use, upstroke, spike = np.ones(n), np.zeros(n), np.zeros(n)
    if model.resets:
        times = _upward(voltage, dt) if recording.spike_times is None else recording.spike_times - recording.t0
        before, after = (round(x / dt) for x in mask)
        for k in np.ceil(times / dt - 1e-6).astype(int):
            use[max(0, k - before) : k + after + 1] = 0
            upstroke[max(0, k - before) : k] = 1
            spike[min(k, n - 1)] = k < n
    if not use.any():
        raise ValueError(f"no sample is farther than {mask[0]:g} ms before and {mask[1]:g} ms after a spike")
    scored = (np.arange(n) * dt >= skip).astype(float)
    return _Data(voltage, use, upstroke, spike, scored, voltage[use > 0].max() + 3.0)


def _upward(voltage: np.ndarray, dt: float) -> np.ndarray:
    """When the voltage rises through -20 mV, ms after the first sample."""
    return dt * (np.flatnonzero((voltage[:-1] < -20) & (voltage[1:] >= -20)) + 1)


def _affine(one: Population) -> bool:
    """Whether the flow of a neuron is affine, so that it does not run away where the recording did not spike."""
    y = one._rest()
    still = Flow(jnp.zeros(1, get(y.neuron, "v").dtype), jnp.zeros(1, bool))
    return structure(lambda y: one.vector_field(0.0, y, still), y).affine


class _State(NamedTuple):
    """`v`: the predicted potential, mV; `distance`: how far it is from the threshold, halfway through the step, mV."""

    neuron: State
    refractory: Int[Array, " 1"]
    v: Float[Array, " 1"]
    distance: Float[Array, " 1"]


class _Follower(AbstractNode):
    """One neuron that is corrected towards a recorded voltage and reset where the recording spiked."""

    one: Population
    first: Array
    ceiling: float | None = eqx.field(static=True)
    fastest: float = eqx.field(static=True)
    threshold: bool = eqx.field(static=True)

    @property
    def inputs(self):
        return dict(current=1, voltage=1, gain=1, spike=1)

    @property
    def variables(self):
        return ("v", "distance")

    @property
    def sizes(self):
        return {"": 1}

    def read(self, state, name):
        return get(state, name)

    def init(self, *, dt, key=None):
        y = self.one.init(dt=dt).neuron
        v = jnp.broadcast_to(self.first, (1,)).astype(get(y, "v").dtype)
        return _State(put(y, v=v), jnp.zeros(1, jnp.int32), v, jnp.zeros_like(v))

    def prepare(self, solver, *, dt):
        return self.one.prepare(solver, dt=dt)

    def vector_field(self, t: Any, y: Cell, args: Flow) -> Cell:
        """The neuron's flow, without the runaway of an upstroke that the recording does not have.

        No sample between spikes lies above the ceiling. What v does there is of no interest, but a single step of it
        would overflow, and its derivatives sooner.
        """
        d = self.one.vector_field(t, y, args)
        if self.ceiling is None:
            return d
        y = y._replace(neuron=put(y.neuron, v=jnp.minimum(get(y.neuron, "v"), self.ceiling)))
        rise = get(self.one.vector_field(t, y, args).neuron, "v")
        return d._replace(neuron=put(d.neuron, v=_logarithmic_above(self.fastest, self.fastest, rise)))

    def step(self, k, dt, state, inputs, solver):
        neuron, refractory = self.one.neuron, state.refractory > 0
        start = jnp.zeros((), state.v.dtype)
        args = Flow(inputs["current"], refractory)
        y = solver.step(diffrax.ODETerm(self.vector_field), start, start + dt, Cell(state.neuron, {}), args).neuron
        y = put(y, **{x: jnp.where(refractory, get(state.neuron, x), get(y, x)) for x in neuron.held})
        v = get(y, "v")
        if self.ceiling is not None:
            v = _logarithmic_above(self.ceiling, 1.0, v)
        distance = state.distance
        if self.threshold:
            guard = lambda v: neuron.guard(put(y, v=v))
            height, slope = jax.jvp(guard, (0.5 * (get(state.neuron, "v") + v),), (jnp.ones_like(v),))
            distance = height / slope
        y = put(y, v=v + inputs["gain"] * (inputs["voltage"] - v))
        rest = jnp.maximum(state.refractory - 1, 0)
        if neuron.resets:
            spiked = inputs["spike"] > 0
            y = jax.tree.map(lambda new, old: jnp.where(spiked, new, old), neuron.reset(y), y)
            rest = jnp.where(spiked, jnp.round(neuron.t_ref / dt).astype(jnp.int32), rest)
        return _State(y, rest, v, distance), v


def _logarithmic_above(limit: float, scale: float, x: Array) -> Array:
    """x up to `limit`, from there on with logarithmic growth: the slope is 1 at the limit, and never 0."""
    over = jnp.maximum(x - limit, 0)
    return jnp.where(over > 0, limit + scale * jnp.log1p(over / scale), x)
