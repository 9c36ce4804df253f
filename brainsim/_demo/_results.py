"""What the three parts of the demo hand to the figures, the page and the report: plain records of numpy arrays."""

from typing import Any, NamedTuple

import numpy as np


class Score(NamedTuple):
    """A held-out score in bits per spike above a constant rate, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Parameter(NamedTuple):
    """One fitted parameter: value and 95 % interval in `unit`; `lower` and `upper` are the bounds of the search."""

    name: str
    unit: str
    meaning: str
    value: float
    low: float
    high: float
    lower: float
    upper: float


class Prediction(NamedTuple):
    """What one method says about spikes that it has not seen.

    - `bits`: the score in 1 ms bins.
    - `rate`: predicted rate given the spikes so far, Hz, in 1 ms bins of the whole recording.
    - `rescaled`: the intervals between held-out spikes on the clock of the predicted rate, mapped to (0, 1): uniform if
      the method is right (Brown et al. 2002).
    """

    bits: Score
    rate: np.ndarray
    rescaled: np.ndarray


class LocustFit(NamedTuple):
    """A model and a GLM fitted to the first part of one recording, tried on the rest.

    - `stimulus`: sound level around its mean, dB, one sample per `dt` ms.
    - `spikes`: all spike times, ms. The fit saw those before `split` (ms), the scores those after it.
    - `lead`: model minus GLM on the same held-out bins, bits per spike, with the interval of the paired bootstrap.
    - `bits_own_step`: the model's score at its own time `step` (ms).
    - `loss`: the training loss of every start, shape (starts, steps), bits per spike above a constant rate, negated.
    """

    name: str
    cutoff_hz: float
    dt: float
    stimulus: np.ndarray
    spikes: np.ndarray
    split: float
    model: Prediction
    glm: Prediction
    lead: Score
    bits_own_step: Score
    step: float
    loss: np.ndarray
    parameters: tuple[Parameter, ...]
    seconds: float


class Transfer(NamedTuple):
    """Fitted on the first part of one recording, scored on all of another."""

    fitted_on: str
    scored_on: str
    model: Prediction
    glm: Prediction
    lead: Score


class LocustResult(NamedTuple):
    """Part 1: two recordings of one auditory receptor of a locust."""

    recordings: tuple[LocustFit, ...]
    transfer: Transfer
    glm_parameters: int
    seconds: float


class CobaResult(NamedTuple):
    """Part 2: one second of a network of excitatory and inhibitory neurons.

    - `spike_times`, `spike_ids`: of all neurons, ms; excitatory neurons come first.
    - `rate_times`, `rate_e`, `rate_i`: population rates, Hz, in bins (ms).
    - `seconds_run`: one run after compilation, median; `seconds_compile`, `seconds_build`: before it.
    """

    n_e: int
    n_i: int
    synapses: int
    duration: float
    dt: float
    spike_times: np.ndarray
    spike_ids: np.ndarray
    rate_times: np.ndarray
    rate_e: np.ndarray
    rate_i: np.ndarray
    rate_e_hz: float
    rate_i_hz: float
    cv_isi: float
    seconds_build: float
    seconds_compile: float
    seconds_run: float


class SweepResult(NamedTuple):
    """Part 3: the network's rate over two weights, shape (w_exc, w_inh), Hz; `seconds` include the compilation."""

    w_exc: np.ndarray
    w_inh: np.ndarray
    rate_hz: np.ndarray
    n: int
    duration: float
    skipped: float
    dt: float
    seconds: float


class DemoResult(NamedTuple):
    """All of it, and what it ran on."""

    locust: LocustResult
    coba: CobaResult
    sweep: SweepResult
    versions: dict[str, str]
    backend: dict[str, Any]
    machine: str
    seconds: float
