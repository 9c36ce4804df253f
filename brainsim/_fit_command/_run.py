"""The work of ``brainsim fit``."""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import losses
from .._info import backend, machine, versions
from .._output import write_json
from .._parameters import find, leaves, with_params
from .._text import printable
from ..fitting import Fit, fit
from ..io import Recording, RecordingError, read_recording
from ..neurons import GIF, HH, LIF, AbstractEscapeNeuron, AdEx, AuditoryReceptor, EscapeLIF, Izhikevich
from ._ask import bounds, values
from ._page import command, write_page
from ._score import FreeRun, bits_per_spike, coincidence, free_run, recorded_spikes

MODELS: dict[str, Callable[[], Any]] = {
    "adex": AdEx,
    "auditory": AuditoryReceptor,
    "escape": EscapeLIF,
    "gif": GIF,
    "hh": HH,
    "izhikevich": Izhikevich,
    "lif": LIF,
}


def run_fit(arguments: argparse.Namespace, out: Path) -> list[str]:
    """Reads, fits, writes fit.json, fit.npz, figures and index.html into the folder `out`; returns what to print."""
    name = arguments.model
    if name not in MODELS:
        raise ValueError(f"unknown model '{name}'; available are {', '.join(MODELS)}")
    free, fixed = bounds(arguments.free), values(arguments.fix)
    model = with_params(MODELS[name](), fixed)
    if not free:
        raise ValueError(
            f"--free is missing: which parameters to fit? {name} has {', '.join(map(str, leaves(model).values()))}"
        )
    for parameter in free:
        find(model, parameter)
        if parameter in fixed:
            raise ValueError(f"parameter '{parameter}' is both free and fixed")
    recording = _read(arguments)
    loss, kind = _loss(arguments.recording, arguments.loss, model, recording)
    found = fit(
        model,
        recording,
        free=free,
        loss=loss,
        starts=arguments.starts,
        steps=arguments.steps,
        holdout=arguments.holdout,
        dt=arguments.dt,
        key=jax.random.key(arguments.seed),
    )
    for line in (*found.failures[:1], *found.notes):
        print(f"brainsim: note: {printable(line)}", file=sys.stderr)
    dt = recording.dt if found.dt is None else found.dt
    at = recording if math.isclose(dt, recording.dt) else recording.resample(dt)
    run = free_run(found, at) if kind == "voltage" else None
    scores = _scores(found, at, run, kind)
    _write(arguments, found, recording, at, run, scores, out)
    write_page(arguments, found, at, run, scores, out)
    return [str(found), *(f"{text}: {value:.4g}" for text, value in scores.values() if math.isfinite(value))]


def _read(arguments: argparse.Namespace) -> Recording:
    sweep = arguments.sweep
    recording = read_recording(
        arguments.recording,
        sweep=int(sweep) if sweep is not None and sweep.lstrip("-").isdigit() else sweep,
        unit=arguments.unit,
        spikes=arguments.spikes,
        stimulus=arguments.stimulus,
        voltage=arguments.voltage,
    )
    if recording.stimulus is None:
        raise RecordingError(f"{arguments.recording}: there is no stimulus to drive the model with")
    return recording


def _loss(path: str, asked: str | None, model: Any, recording: Recording) -> tuple[Any, str]:
    """The loss for `fit` (None is its default, for a voltage), and which kind it is."""
    has = {"voltage": recording.voltage is not None, "spikes": recording.spike_times is not None}
    kind = asked or ("spikes" if isinstance(model, AbstractEscapeNeuron) else "voltage")
    if not has[kind]:
        there = [name for name, is_there in has.items() if is_there]
        what = f"{path}: " + (f"--loss {asked}: " if asked else "")
        raise ValueError(f"{what}the recording has no {kind}; it has {', '.join(there) or 'a stimulus only'}")
    return (None if kind == "voltage" else losses.spike_log_likelihood), kind


def _scores(found: Fit, recording: Recording, run: FreeRun | None, kind: str) -> dict[str, tuple[str, float]]:
    """Held-out scores: key to a description and a number."""
    if kind == "spikes":
        bits = bits_per_spike(found, recording, losses.spike_log_likelihood)
        return {"bits_per_spike": ("held-out bits per spike above a constant rate", bits)}
    scores = {}
    if found.held_out is not None:
        scores["rms_mv"] = (
            "held-out error of the potential, one step ahead of the data (mV)",
            math.sqrt(found.held_out),
        )
    if run is not None:
        since = recording.t0 if found.split is None else found.split
        if recording.voltage is not None:
            late = recording.times[1:] >= since
            error = (run.voltage[:-1] - recording.voltage[1:])[late]
            scores["free_rms_mv"] = ("held-out error of a free run (mV)", float(np.sqrt(np.mean(error**2))))
        if (recorded := recorded_spikes(recording)) is not None:
            mine, theirs = (t[t >= since] for t in (run.spikes, recorded))
            gamma = coincidence(mine, theirs, recording.end - since)
            scores["coincidence"] = ("held-out coincidence of spikes, 4 ms (1 perfect, 0 chance)", gamma)
    return scores


def _write(
    arguments: argparse.Namespace,
    found: Fit,
    recording: Recording,
    at: Recording,
    run: FreeRun | None,
    scores: dict[str, tuple[str, float]],
    out: Path,
) -> None:
    """fit.json and fit.npz."""
    given = {
        "source": recording.source,
        "duration_ms": recording.duration,
        "dt_ms": recording.dt,
        "stimulus_unit": recording.stimulus_unit,
        "spikes": None if recording.spike_times is None else len(recording.spike_times),
    }
    write_json(
        out / "fit.json",
        {
            "model": arguments.model,
            "recording": given,
            "scores_held_out": {key: value for key, (_, value) in scores.items()},
            **found.to_dict(),
            "fixed": {k: np.asarray(v.value) for k, v in leaves(found.model).items() if k not in found.params},
            "command": command(arguments),
            "versions": versions(),
            "backend": backend(),
            "machine": machine(),
        },
    )
    arrays: dict[str, Any] = {"dt_ms": at.dt, "t0_ms": at.t0, "time_ms": at.times}
    arrays |= {"split_ms": math.nan if found.split is None else found.split}
    parts = {
        "stimulus": at.stimulus,
        "voltage_mV": at.voltage,
        "spike_times_ms": at.spike_times,
        "output": found.output,
    }
    arrays |= {key: value for key, value in parts.items() if value is not None}
    if run is not None:
        arrays |= {"model_time_ms": run.times, "model_voltage_mV": run.voltage, "model_spike_times_ms": run.spikes}
    np.savez_compressed(out / "fit.npz", **arrays)
