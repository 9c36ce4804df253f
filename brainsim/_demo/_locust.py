"""Part 1 of the demo: an auditory receptor neuron of a locust, fitted to two recordings of its spikes.

Sound comes in, spike times come out; Rokem et al. (2006), Journal of Neurophysiology 95:2541,
doi:10.1152/jn.00891.2005, in the files of the package nitime. What is done here, without its bookkeeping:

    recording = bs.io.Recording(dt=0.05, stimulus=level, stimulus_unit="dB", spike_times=spikes)
    fit = bs.fit(bs.neurons.AuditoryReceptor(), recording, free=FREE, dt=0.25, split=8000.0, starts=32, steps=12,
                 loss=bs.losses.spike_log_likelihood)
    terms = bs.losses.spike_log_likelihood(fit.model, recording.resample(0.25), bin=1.0)
    probability = 1 - np.exp(-np.exp(terms.output))  # of a spike in each ms, given what came before it
    bits = bs.observables.bits_per_spike(probability[8000:], terms.weight[8000:], baseline=terms.weight[:8000].mean())
"""

import io
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, NamedTuple

import numpy as np

from .. import losses
from ..fitting import Fit, fit
from ..fitting._glm import GLM, fit_glm
from ..io import Recording
from ..neurons import AuditoryReceptor
from ..observables import bits, bits_per_spike, bootstrap_ratio, rescaled_intervals
from ._bar import Report, silent
from ._results import LocustFit, LocustResult, Parameter, Prediction, Score, Transfer

CUTOFF_HZ = {1: 200.0, 2: 800.0}  # of the amplitude modulation
BIN = 1.0  # ms, for scores and for the GLM
BLOCK = 200  # bins: the GLM and the fast parts of the model remember less
FREE: dict[str, Any] = dict(
    delay=(4.0, 8.0),
    l_half=(65.0, 95.0),
    l_slope=(1.0, 8.0),
    tau_h=(1.0, 30.0),
    k_h=(1.0, 200.0),
    tau_m=(0.3, 8.0),
    r=(5.0, 500.0),
    v_th=(-3.0, 15.0),
    b_a=(0.001, 0.1),
    tau_a=(500.0, 20000.0),
    t_q=(3.0, 10.0),
    n_q=(1.5, 15.0, "log"),
)


class Plan(NamedTuple):
    """How much work to do: time step (ms), end of the training part (ms), starts, steps, bootstrap draws."""

    dt: float = 0.25
    split: float = 8000.0
    starts: int = 32
    steps: int = 12
    draws: int = 2000


QUICK = Plan(dt=0.5, starts=2, steps=2, draws=100)


class Unseen(NamedTuple):
    """What model and GLM say about each 1 ms bin of a recording, and from where on it is scored, against what rate."""

    fired: np.ndarray
    model: np.ndarray
    glm: np.ndarray
    start: int
    baseline: float


def fit_locust(*, quick: bool = False, progress: Report = silent) -> LocustResult:
    """Fits the receptor model and a GLM to the first 8 s of both recordings and scores them on what they have not seen.

    **Arguments**

    - `quick`: a small fit with larger steps, in seconds; its numbers mean little.
    - `progress`: called with (done, total, what is being done).

    **Raises** `ValueError` if nitime is not installed.
    """
    began, plan = time.perf_counter(), QUICK if quick else Plan()
    recordings = {i: load_recording(i) for i in CUTOFF_HZ}
    done, lock, stop = dict.fromkeys(recordings, 0.0), threading.Lock(), threading.Event()

    def fitted(i: int) -> Fit:
        def report(k: int, total: int) -> None:
            if stop.is_set():
                raise InterruptedError
            with lock:
                done[i] = k / total
                progress(0.9 * sum(done.values()), len(done), f"fitting both recordings, {plan.starts} starts each")

        return fit_receptor(recordings[i], plan, report)

    with ThreadPoolExecutor(len(recordings)) as pool:  # a fit keeps little more than one core busy
        try:
            fits = dict(zip(recordings, pool.map(fitted, recordings), strict=True))
        except BaseException:  # an interrupt, or one of them failed: the other shall not go on to its end
            stop.set()
            raise
    progress(0.9, 1.0, "scoring")
    glms = {i: fit_glm(*binned(recording), train=round(plan.split / BIN)) for i, recording in recordings.items()}
    own = tuple(_recording_result(i, recordings[i], fits[i], glms[i], plan) for i in recordings)
    return LocustResult(
        recordings=own,
        transfer=_transfer_result(1, 2, recordings, fits[1], glms[1], plan),
        glm_parameters=glms[1].parameters,
        seconds=time.perf_counter() - began,
    )


def load_recording(i: int) -> Recording:
    """Recording 1 or 2 of the receptor: 10 s of sound level in dB SPL, one sample per 0.05 ms, and spike times in ms.

    The files hold the amplitude of the sound in units of its maximum, 18 dB above the mean level; that mean level is in
    the header of the spike times.

    **Raises** `ValueError` if nitime is not installed.
    """
    try:
        files = distribution("nitime")
    except PackageNotFoundError:
        raise ValueError("the demo needs the recordings in nitime: pip install 'brainsim[demo]'") from None
    read = lambda kind: files.locate_file(f"nitime/data/grasshopper_{kind}{i}.txt").read_text()
    spikes, sound = read("spike_times"), read("stimulus")
    mean_level = re.search(r"intensity \(dB\):\s*([\d.]+)", spikes)
    if mean_level is None:
        raise ValueError(f"the spike times of recording {i} in nitime {files.version} have no sound intensity")
    amplitude = np.loadtxt(io.StringIO(sound))[:, 1]
    return Recording(
        dt=0.05,
        stimulus=20 * np.log10(amplitude) + 18.0 + float(mean_level[1]),
        stimulus_unit="dB",
        stimulus_name="sound level",
        spike_times=np.loadtxt(io.StringIO(spikes)) * 1e-3,
        source=f"nitime {files.version}, grasshopper {i}; Rokem et al. (2006), doi:10.1152/jn.00891.2005",
    )


def fit_receptor(recording: Recording, plan: Plan, progress: Any = False) -> Fit:
    """The receptor model fitted to the part of `recording` before the split."""
    return fit(
        AuditoryReceptor(),
        recording,
        free=FREE,
        loss=losses.spike_log_likelihood,
        dt=plan.dt,
        split=plan.split,
        starts=plan.starts,
        steps=plan.steps,
        progress=progress,
    )


def binned(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """For the GLM: the sound level around its mean, in dB, and whether there is a spike, in each bin."""
    return around_mean(recording.resample(BIN)), recording.counts(BIN) > 0


def around_mean(recording: Recording) -> np.ndarray:
    """The sound level around its mean, dB."""
    level = np.asarray(recording.stimulus)
    return level - level.mean()


def probability(model: AuditoryReceptor, recording: Recording, dt: float) -> np.ndarray:
    """The probability of a spike in each 1 ms bin, given the sound and the spikes before the bin."""
    terms = losses.spike_log_likelihood(model, recording.resample(dt), bin=BIN)
    return _inside(-np.expm1(-np.exp(np.asarray(terms.output, float)) * BIN))


def unseen(model: AuditoryReceptor, glm: GLM, recording: Recording, plan: Plan, start: int, baseline: float) -> Unseen:
    """The predictions of both for a recording, whichever they were fitted to."""
    stimulus, fired = binned(recording)
    theirs = _inside(glm.probability(stimulus, fired))
    return Unseen(fired, probability(model, recording, plan.dt), theirs, start, baseline)


def _recording_result(i: int, recording: Recording, fit: Fit, glm: GLM, plan: Plan) -> LocustFit:
    start = round(plan.split / BIN)
    both = unseen(fit.model, glm, recording, plan, start, float((recording.counts(BIN) > 0)[:start].mean()))
    # The same at the model's own step, whose log-rates over the whole recording the fit has kept.
    fired, first = recording.counts(plan.dt) > 0, round(plan.split / plan.dt)
    p0 = float(fired[:first].mean())
    own_step = _inside(-np.expm1(-np.exp(np.asarray(fit.output, float)) * plan.dt))
    constant = -np.log(p0) - (1 / p0 - 1) * np.log1p(-p0)  # nats per training spike of the constant rate
    return LocustFit(
        name=f"recording_{i}",
        cutoff_hz=CUTOFF_HZ[i],
        dt=recording.dt,
        stimulus=around_mean(recording),
        spikes=np.asarray(recording.spike_times),
        split=plan.split,
        model=_prediction(both.model, both, plan),
        glm=_prediction(both.glm, both, plan),
        lead=_lead(both, plan),
        bits_own_step=_score(own_step[first:], fired[first:], p0, round(BLOCK * BIN / plan.dt), plan.draws),
        step=plan.dt,
        loss=(fit.history - constant) / np.log(2),
        parameters=tuple(
            Parameter(name, p.unit, p.doc, float(p.value), float(p.low), float(p.high), p.lower, p.upper)
            for name, p in fit.params.items()
        ),
        seconds=fit.seconds,
    )


def _transfer_result(
    source: int, target: int, recordings: dict[int, Recording], fit: Fit, glm: GLM, plan: Plan
) -> Transfer:
    """Fitted on the first part of one recording, scored on all of the other, against the rate that the fit has seen."""
    rate = float((recordings[source].counts(BIN) > 0)[: round(plan.split / BIN)].mean())
    both = unseen(fit.model, glm, recordings[target], plan, 0, rate)
    return Transfer(
        fitted_on=f"recording_{source}",
        scored_on=f"recording_{target}",
        model=_prediction(both.model, both, plan),
        glm=_prediction(both.glm, both, plan),
        lead=_lead(both, plan),
    )


def _prediction(p: np.ndarray, both: Unseen, plan: Plan) -> Prediction:
    unseen, fired = p[both.start :], both.fired[both.start :]
    return Prediction(
        bits=_score(unseen, fired, both.baseline, BLOCK, plan.draws),
        rate=p * (1e3 / BIN),
        rescaled=rescaled_intervals(unseen, fired),
    )


def _score(p: np.ndarray, fired: np.ndarray, baseline: float, block: int, draws: int) -> Score:
    each = bits(p, fired, baseline)
    return Score(bits_per_spike(p, fired, baseline), *bootstrap_ratio(each, fired, block, draws))


def _lead(both: Unseen, plan: Plan) -> Score:
    """Model minus GLM on the same bins: a paired bootstrap."""
    fired = both.fired[both.start :]
    model, glm = (bits(p[both.start :], fired, both.baseline) for p in (both.model, both.glm))
    lead = float((model - glm).sum() / fired.sum())
    return Score(lead, *bootstrap_ratio(model - glm, fired, BLOCK, plan.draws))


def _inside(p: np.ndarray) -> np.ndarray:
    return np.clip(p, 1e-9, 1 - 1e-9)
