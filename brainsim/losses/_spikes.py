"""The likelihood of recorded spikes under a neuron with escape noise."""

from typing import TYPE_CHECKING, Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._compat import scan
from .._domain import POSITIVE
from .._doors import check_recording, check_solvers
from .._dynamics import AbstractNeuron
from .._numerics import phi1
from .._population import Cell, Flow, Population
from .._typing import State, as_float, get, number, put
from ..neurons import AbstractEscapeNeuron
from ._terms import Terms

if TYPE_CHECKING:
    from ..io import Recording

SILENT = -30.0  # log of the rate (1/ms) during refractoriness: a spike there costs 30 nats, not infinitely many


def spike_log_likelihood(model: Any, recording: "Recording", *, bin: float | None = None, solver: Any = None) -> Terms:
    """Minus the log-likelihood of the recorded spikes, in nats per spike; smooth in the parameters.

        -log L = sum over bins of   -log(1 - exp(-H))  in a bin with a spike,   H  in one without

    The neuron runs with the stimulus, but its resets, its adaptation and its refractoriness are driven by the recorded
    spikes, not by its own. H is the integral of its hazard over the bin, given the spikes *before* the bin and no spike
    since it began; so a spike bears only on later bins, and 1 - exp(-H) is the probability of a spike in the bin. That
    makes scores comparable with those of any other model of the same bins, such as a logistic regression.

    **Main arguments:**

    - `model`: a neuron with escape noise, such as `brainsim.neurons.EscapeLIF()`, its parameters scalars.
    - `recording`: with spike times and a stimulus in the neuron's unit. The model runs at its time step.

    **Other arguments:**

    - `bin`: width of the bins in ms, a whole number of time steps. Default one step: for short steps this is the
      likelihood of the point process.
    - `solver`: a diffrax solver. Default as in `simulate`.

    **Returns:** `Terms`, whose output is the logarithm of the mean hazard (1/ms) of each bin, shape (bins,).

    **Raises:** `ValueError` for a model without escape noise, a recording without stimulus or spikes or in another
    unit, two spikes in a bin, or bins that are not a whole number of steps.

    ```python
    >>> import brainsim as bs, numpy as np
    >>> cell = bs.io.Recording(dt=0.1, stimulus=np.zeros(1000), spike_times=[20.0, 70.0])
    >>> poisson = bs.neurons.EscapeLIF(v_th=-70.0, tau_0=50.0, t_ref=0.0)  # nothing moves v: a rate of 20 Hz
    >>> at_dt, at_1ms = (bs.losses.spike_log_likelihood(poisson, cell, bin=bin) for bin in (None, 1.0))
    >>> round(float(at_1ms.mean()), 3), round(float(-np.log(1 - np.exp(-0.02)) + 98 * 0.02 / 2), 3)
    (4.902, 4.902)
    >>> at_dt.output.shape, at_1ms.output.shape
    ((1000,), (100,))

    ```

    Paninski (2004), Network 15:243, doi:10.1088/0954-898X_15_4_002; Truccolo, Eden, Fellows, Donoghue & Brown (2005),
    Journal of Neurophysiology 93:1074, doi:10.1152/jn.00697.2004.
    """
    check_solvers(solver)
    spikes, per_bin = _read(model, recording, bin)
    width = recording.dt * per_bin
    log_rate = _forced(model, recording, spikes, per_bin, solver)
    if per_bin > 1:
        log_rate = jax.nn.logsumexp(log_rate.reshape(-1, per_bin), axis=1) - np.log(per_bin)
    fired = spikes.reshape(-1, per_bin).any(1)

    def cost(log_rate):
        log_h = log_rate + np.log(width)
        h = _exp(log_h, 4.0)
        likely = h > 1  # there -log(1 - exp(-h)) is small, and to be had without cancellation; elsewhere -log(h) is not
        few, many = jnp.where(likely, 1, h), jnp.where(likely, h, 1)
        surprise = jnp.where(likely, -jnp.log1p(-jnp.exp(-many)), -log_h - jnp.log(phi1(-few)))
        return jnp.where(fired, surprise, h)

    return Terms(log_rate, cost, as_float(fired), likelihood=True)


def _exp(x: Array, limit: float) -> Array:
    """exp(x) up to `limit`, from there on its tangent: a parameter far off must not overflow."""
    over = jnp.maximum(x - limit, 0)
    return jnp.exp(jnp.minimum(x, limit)) * (1 + over)


def _read(model: Any, recording: "Recording", bin: float | None) -> tuple[np.ndarray, int]:
    """Whether there is a spike in each step, and the number of steps in a bin."""
    if not isinstance(model, AbstractEscapeNeuron):
        instead = "; EscapeLIF or GIF have one" if isinstance(model, AbstractNeuron) else ""
        raise ValueError(f"spike_log_likelihood needs a neuron with a hazard, got {type(model).__name__}{instead}")
    check_recording("spike_log_likelihood", recording)
    if recording.spike_times is None or recording.stimulus is None:
        lacks = "spike times" if recording.spike_times is None else "stimulus"
        raise ValueError(f"spike_log_likelihood needs spike times and a stimulus; the recording has no {lacks}")
    if recording.stimulus_unit != model.stimulus_unit:
        raise ValueError(f"{type(model).__name__} takes a stimulus in {model.stimulus_unit}, "
                         f"the recording's is in {recording.stimulus_unit}")  # fmt: skip
    width = recording.dt if bin is None else number(bin, "bin", unit="ms", domain=POSITIVE)
    per_bin = round(width / recording.dt)
    if per_bin < 1 or abs(per_bin * recording.dt - width) > 1e-6 * recording.dt or recording.n % per_bin:
        raise ValueError(f"bins must be a whole number of steps of {recording.dt:g} ms, and the recording of "
                         f"{recording.duration:g} ms a whole number of bins, got bins of {width:g} ms")  # fmt: skip
    counts = recording.counts(recording.dt)
    if (most := counts.reshape(-1, per_bin).sum(1).max()) > 1:
        raise ValueError(f"there are {most} spikes in one bin of {width:g} ms: take a smaller dt or bin")
    return counts > 0, per_bin


class _Track(NamedTuple):
    """A neuron along a history of spikes, and the steps for which it is still refractory."""

    neuron: State
    refractory: Int[Array, " 1"]


def _forced(
    model: AbstractEscapeNeuron, recording: "Recording", spikes: np.ndarray, per_bin: int, solver: Any
) -> Float[Array, " steps"]:
    """The log-hazard in every step, given the recorded spikes before the bin that the step is in."""
    dt, one = recording.dt, Population(1, model)
    stepper = one.prepare(solver, dt=dt)
    terms = diffrax.ODETerm(one.vector_field)

    def flow(track: _Track, current: Array) -> tuple[_Track, Array]:
        refractory = track.refractory > 0
        start = jnp.zeros((), current.dtype)
        y = stepper.step(terms, start, start + dt, Cell(track.neuron, {}), Flow(current, refractory)).neuron
        y = put(y, **{x: jnp.where(refractory, get(track.neuron, x), get(y, x)) for x in model.held})
        log_rate = jnp.where(refractory, SILENT, jnp.maximum(model.log_hazard(y), SILENT))
        return _Track(y, jnp.maximum(track.refractory - 1, 0)), log_rate[0]

    def jump(track: _Track, spiked: Array) -> _Track:
        pause = jnp.round(model.t_ref / dt).astype(jnp.int32)
        y = jax.tree.map(lambda new, old: jnp.where(spiked, new, old), model.reset(track.neuron), track.neuron)
        return _Track(y, jnp.where(spiked, pause, track.refractory))

    def step(carry: tuple[_Track, _Track], row: tuple[Array, Array, Array]) -> tuple[tuple[_Track, _Track], Array]:
        known, told = carry  # of the spikes up to now, and of those before the bin
        current, spiked, first = row
        if per_bin == 1:
            known, log_rate = flow(known, current)
            known = jump(known, spiked)
            return (known, known), log_rate
        told = jax.tree.map(lambda a, b: jnp.where(first, a, b), known, told)
        told, log_rate = flow(told, current)
        known = jump(flow(known, current)[0], spiked)
        return (known, told), log_rate

    current = model.drive(as_float(recording.stimulus), dt)[:, None]
    first = np.arange(len(spikes)) % per_bin == 0
    track = _Track(model.init(1), jnp.zeros(1, jnp.int32))
    return scan(step, (track, track), (current, jnp.asarray(spikes), jnp.asarray(first)))[1]
