"""The mean square error of a membrane potential, in a form that gradients can follow through spikes."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._dynamics import AbstractNeuron, AbstractNode
from .._population import Cell, Flow, Population
from .._record import Record
from .._simulate import simulate
from .._solver import structure
from .._typing import State, as_float, get, put, units, variables
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
    solver: Any = None,
) -> Terms:
    """The mean square error (mV²) of a neuron that is driven by a recording's stimulus and follows its voltage.

    A free run of a spiking model is a poor guide to its parameters: one early spike, and everything after it is wrong,
    and the error is riddled with local minima. So the model is told what the cell did, and asked what comes next:

        dy/dt = f(y, I),    then at every sample    v = v + (1 - exp(-coupling dt)) (v_recorded - v)

    and the error is that of v just before it is corrected. The coupling is the gain of an observer. A large one makes
    the error smooth in the parameters, but noise in the voltage biases them; zero is a free run, unbiased but rough.
    `fit` goes from 2/ms to 0.1/ms.

    A neuron with a reset (integrate-and-fire) jumps where the recording spiked instead of at its own threshold; the
    samples around spikes, whose shape it does not model, are left out. If its flow runs through the threshold slowly
    (as a LIF's, not as the upstroke of an AdEx), the recorded spikes also tell where the threshold is, and the
    squared distance of v from it, half a step before each spike, is added to the sum. Neurons without a reset
    (Hodgkin-Huxley) are compared throughout.

    **Main arguments:**

    - `model`: a neuron with a variable `v`, its parameters scalars.
    - `recording`: with a voltage and a stimulus; for a neuron with a reset also with spike times, or else the times at
      which the voltage rises through -20 mV are taken. The model runs at its time step, from its first voltage.

    **Other arguments:**

    - `coupling`: 1/ms, default 0.1.
    - `mask`: how long before and after each spike samples are left out, default 1 and 2 ms.
    - `skip`: ms at the start that are left out, default 0.
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
    data = _read(model, recording, mask, skip)
    dt, n = recording.dt, recording.n
    gain = -jnp.expm1(-as_float(coupling) * dt)
    one = Population(1, model)
    node = _Follower(one, gain, as_float(data.voltage[0]), _tempered(one), float(data.ceiling))
    # Row k of what the model is told holds sample k + 1, the end of step k; there is none after the last step.
    ahead = lambda x: as_float(np.append(x[1:], x[-1]))[:, None]
    told = dict(voltage=ahead(data.voltage), use=ahead(data.use), spike=ahead(data.spike))
    run = simulate(node, n * dt, dt, dict(current=as_float(recording.stimulus)[:, None], **told),
                   dict(output=Record(lambda state: state.output[:, 0])), solver=_forward_mode(solver))  # fmt: skip
    score = as_float(np.append((data.use * data.scored)[1:], 0.0))
    spike = as_float(np.append((data.spike * data.scored)[1:], 0.0))
    target = jnp.stack([told["voltage"][:, 0], jnp.zeros(n, score.dtype)], -1)
    weight = jnp.stack([score, spike], -1)
    return Terms(run["output"], lambda output: weight * (output - target) ** 2, score)


class _Data(NamedTuple):
    """The recording by samples: its voltage, and 1 where that is used, where a spike came with it, where it counts."""

    voltage: np.ndarray
    use: np.ndarray
    spike: np.ndarray
    scored: np.ndarray
    ceiling: float


def _read(model: AbstractNeuron, recording: "Recording", mask: tuple[float, float], skip: float) -> _Data:
    if not isinstance(model, AbstractNeuron) or "v" not in variables(jax.eval_shape(lambda: model.init(1))):
        raise ValueError(f"voltage_mse compares one neuron with a variable 'v', got {type(model).__name__}")
    if recording.voltage is None or recording.stimulus is None:
        lacks = "voltage" if recording.voltage is None else "stimulus"
        raise ValueError(f"voltage_mse needs a voltage and a stimulus; the recording has no {lacks}")
    per_area, area_given = units(model).get("c") == "uF/cm2", "cm2" in recording.stimulus_unit.replace("²", "2")
    if per_area != area_given and units(model).get("c"):
        raise ValueError(f"{type(model).__name__} takes a current in {'uA/cm2' if per_area else 'pA'}, "
                         f"the recording's stimulus is in {recording.stimulus_unit}")  # fmt: skip
    dt, n, voltage = recording.dt, recording.n, recording.voltage
    use, spike = np.ones(n), np.zeros(n)
    if model.resets:
        times = _upward(voltage, dt) if recording.spike_times is None else recording.spike_times - recording.t0
        before, after = (round(x / dt) for x in mask)
        for k in np.ceil(times / dt - 1e-6).astype(int):
            use[max(0, k - before) : k + after + 1] = 0
            spike[min(k, n - 1)] = k < n
    if not use.any():
        raise ValueError(f"no sample is farther than {mask[0]:g} ms before and {mask[1]:g} ms after a spike")
    scored = (np.arange(n) * dt >= skip).astype(float)
    return _Data(voltage, use, spike, scored, voltage[use > 0].max() + 10.0)


def _upward(voltage: np.ndarray, dt: float) -> np.ndarray:
    """When the voltage rises through -20 mV, ms after the first sample."""
    return dt * (np.flatnonzero((voltage[:-1] < -20) & (voltage[1:] >= -20)) + 1)


def _forward_mode(solver: Any) -> Any:
    """Runge-Kutta stages in a loop that has forward-mode derivatives; diffrax's default has reverse mode only."""
    if isinstance(solver, diffrax.AbstractRungeKutta) and solver.scan_kind is None:
        return dataclasses.replace(solver, scan_kind="lax")
    return solver


def _tempered(one: Population) -> bool:
    """Whether a neuron with a reset has a nonlinear flow, which may run away where the recording did not spike."""
    y = one._rest()
    still = Flow(jnp.zeros(1, get(y.neuron, "v").dtype), jnp.zeros(1, bool))
    return one.neuron.resets and structure(lambda y: one.vector_field(0.0, y, still), y)[1] is not None


class _State(NamedTuple):
    """`output`: the predicted potential, and its distance from the threshold if that is sharp, mV, shape (1, 2)."""

    neuron: State
    refractory: Int[Array, " 1"]
    output: Float[Array, "1 2"]


class _Follower(AbstractNode):
    """One neuron that is corrected towards a recorded voltage and reset where the recording spiked."""

    one: Population
    gain: Array
    first: Array
    tempered: bool = eqx.field(static=True)
    ceiling: float = eqx.field(static=True)

    inputs = property(lambda self: dict(current=1, voltage=1, use=1, spike=1))
    sizes = property(lambda self: {"": 1})
    variables = property(lambda self: ())

    def init(self, *, dt, key=None):
        y = self.one.init(dt=dt).neuron
        v = get(y, "v")
        y = put(y, v=jnp.broadcast_to(self.first, (1,)).astype(v.dtype))
        return _State(y, jnp.zeros(1, jnp.int32), jnp.zeros((1, 2), v.dtype))

    def prepare(self, solver, *, dt):
        return self.one.prepare(solver, dt=dt)

    def vector_field(self, t: Any, y: Cell, args: Flow) -> Cell:
        """The neuron's flow. A steep upstroke grows logarithmically instead, or one step would overflow."""
        d = self.one.vector_field(t, y, args)
        if not self.tempered:
            return d
        return d._replace(neuron=put(d.neuron, v=_logarithmic_above(100.0, 100.0, get(d.neuron, "v"))))

    def step(self, k, dt, state, inputs, solver):
        neuron, refractory = self.one.neuron, state.refractory > 0
        v0 = get(state.neuron, "v")
        start = jnp.zeros((), v0.dtype)
        args = Flow(inputs["current"], refractory)
        y = solver.step(diffrax.ODETerm(self.vector_field), start, start + dt, Cell(state.neuron, {}), args).neuron
        y = put(y, **{x: jnp.where(refractory, get(state.neuron, x), get(y, x)) for x in neuron.held})
        v = get(y, "v")
        if self.tempered:  # beyond what was recorded between spikes, on the way to a spike that the cell did not fire
            v = _logarithmic_above(self.ceiling, 2.0, v)
        distance = self._distance(y, v0, v, inputs["current"], dt) if neuron.resets else jnp.zeros_like(v)
        y = put(y, v=v + self.gain * inputs["use"] * (inputs["voltage"] - v))
        rest = jnp.maximum(state.refractory - 1, 0)
        if neuron.resets:
            spiked = inputs["spike"] > 0
            y = jax.tree.map(lambda new, old: jnp.where(spiked, new, old), neuron.reset(y), y)
            rest = jnp.where(spiked, jnp.round(neuron.t_ref / dt).astype(jnp.int32), rest)
        return _State(y, rest, jnp.stack([v, distance], -1)), v

    def _distance(self, y: State, v0: Array, v: Array, current: Array, dt: float) -> Array:
        """How far v is, halfway through the step, from where the guard would spike; 0 if that is not sharp."""
        guard = lambda v: self.one.neuron.guard(put(y, v=v))
        height, slope = jax.jvp(guard, (v,), (jnp.ones_like(v),))
        threshold = v - height / jnp.where(slope == 0, 1, slope)
        fixed = jax.lax.stop_gradient((self.one.neuron, put(y, v=threshold), current))
        rise = dt * get(fixed[0].vector_field(0.0, *fixed[1:]), "v")
        sharp = jnp.where(slope == 0, 0, 1 / (1 + (rise / 5.0) ** 2))
        return jnp.where(sharp > 0.01, sharp, 0) * (0.5 * (v0 + v) - threshold)


def _logarithmic_above(limit: float, scale: float, x: Array) -> Array:
    """x up to `limit`, from there on with logarithmic growth: the slope is 1 at the limit, and never 0."""
    over = jnp.maximum(x - limit, 0)
    return jnp.where(over > 0, limit + scale * jnp.log1p(over / scale), x)
