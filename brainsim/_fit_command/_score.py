"""What a fit is worth on data that it has not seen, in numbers that mean the same for every model."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._population import Population
from .._simulate import simulate
from ..fitting import Fit
from ..io import Recording
from ..observables import spike_times


class FreeRun(NamedTuple):
    """The model driven by the stimulus alone: potential (mV) and spikes (ms), on the clock of the recording."""

    times: np.ndarray
    voltage: np.ndarray
    spikes: np.ndarray


def free_run(fit: Fit, recording: Recording) -> FreeRun:
    """Runs a fitted neuron from its own rest, with nothing but the stimulus."""
    current = jnp.asarray(recording.stimulus, float)[:, None]
    cell = Population(1, fit.model)
    record: dict[str, Any] = dict(v="v", spikes=True)
    run = simulate(cell, recording.n * recording.dt, recording.dt, inputs=current, record=record)
    spikes = spike_times(run.spikes, recording.dt, start=recording.t0)[0]
    times = recording.t0 + recording.dt * np.arange(1, recording.n + 1)
    return FreeRun(times, np.asarray(run["v"])[:, 0], spikes)


def recorded_spikes(recording: Recording) -> np.ndarray | None:
    """The spike times of a recording, ms; from its voltage, rising through -20 mV, if it has no others."""
    if recording.spike_times is not None or recording.voltage is None:
        return recording.spike_times
    v = recording.voltage
    return recording.times[1:][(v[:-1] < -20.0) & (v[1:] >= -20.0)]


def coincidence(mine: np.ndarray, theirs: np.ndarray, duration: float, window: float = 4.0) -> float:
    """The coincidence factor of two spike trains: 1 if every spike meets one within `window` ms, 0 by chance.

    Jolivet, Kobayashi, Rauch, Naud, Shinomoto and Gerstner (2008), Journal of Neuroscience Methods 169:417,
    doi:10.1016/j.jneumeth.2007.11.006.
    """
    if not len(mine) or not len(theirs):
        return float("nan")
    met, k = 0, 0
    for t in theirs:  # each spike of mine meets at most one of theirs
        while k < len(mine) and mine[k] < t - window:
            k += 1
        if k < len(mine) and mine[k] <= t + window:
            met, k = met + 1, k + 1
    chance = 2 * len(mine) / duration * window
    if chance >= 1:
        return float("nan")
    return (met - chance * len(theirs)) / (0.5 * (len(mine) + len(theirs))) / (1 - chance)


def bits_per_spike(fit: Fit, recording: Recording, loss: Any) -> float:
    """Held-out log-likelihood in bits per spike above the constant rate of the training part."""
    train = recording.slice(recording.t0, fit.split) if fit.split else recording
    if train.spike_times is None or not len(train.spike_times):
        return float("nan")
    constant = np.log(len(train.spike_times) / train.duration)

    @eqx.filter_jit
    def difference(model: Any) -> Any:
        terms = loss(model, recording)
        first = round(terms.output.shape[0] * (fit.split - recording.t0) / recording.duration) if fit.split else 0
        return terms._replace(output=jnp.full_like(terms.output, constant)).mean(first) - terms.mean(first)

    return float(difference(fit.model) / np.log(2.0))
