"""report.json: every number of the demo, for machines."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from .._output import strict, write_json
from ._results import DemoResult, LocustFit, Prediction, Score


def report(result: DemoResult) -> dict[str, Any]:
    """The numbers as plain dicts and lists; what is not a finite number becomes None."""
    locust, coba, sweep = result.locust, result.coba, result.sweep
    parts = {fit.name: _fit(fit) for fit in locust.recordings}
    transfer = {"fitted_on": locust.transfer.fitted_on, "scored_on": locust.transfer.scored_on}
    parts["transfer"] = transfer | _scores(locust.transfer.model, locust.transfer.glm, locust.transfer.lead)
    return strict(
        {
            "locust": parts | {"seconds": locust.seconds, "glm_parameters": locust.glm_parameters},
            "coba": {
                "neurons": coba.n_e + coba.n_i,
                "synapses": coba.synapses,
                "spikes": len(coba.spike_times),
                "duration_ms": coba.duration,
                "dt_ms": coba.dt,
                "rate_e_hz": coba.rate_e_hz,
                "rate_i_hz": coba.rate_i_hz,
                "cv_isi": coba.cv_isi,
                "seconds_per_second": coba.duration / 1e3 / coba.seconds_run,
                "seconds_run": coba.seconds_run,
                "seconds_compile": coba.seconds_compile,
                "seconds_build": coba.seconds_build,
            },
            "sweep": {
                "shape": list(sweep.rate_hz.shape),
                "seconds": sweep.seconds,
                "neurons": sweep.n,
                "duration_ms": sweep.duration,
                "w_exc_ns": sweep.w_exc,
                "w_inh_ns": sweep.w_inh,
                "rate_hz": sweep.rate_hz,
            },
            "versions": result.versions,
            "backend": result.backend,
            "machine": result.machine,
            "seconds": result.seconds,
        }
    )


def write_report(result: DemoResult, path: Path) -> Path:
    """Writes `report` as strict JSON."""
    return write_json(path, report(result))


def _fit(fit: LocustFit) -> dict[str, Any]:
    own = {"model_own_step": fit.bits_own_step.value, "model_own_step_interval": _interval(fit.bits_own_step)}
    scores = _scores(fit.model, fit.glm, fit.lead)
    scores["bits_per_spike"] |= own | {"own_step_ms": fit.step}
    parameters = {
        p.name: {
            "value": p.value,
            "interval": [p.low, p.high],
            "bounds": [p.lower, p.upper],
            "unit": p.unit,
            "meaning": p.meaning,
        }
        for p in fit.parameters
    }
    return scores | {
        "spikes": len(fit.spikes),
        "held_out_from_ms": fit.split,
        "starts": len(fit.loss),
        "steps": fit.loss.shape[1],
        "seconds": fit.seconds,
        "parameters": parameters,
    }


def _scores(model: Prediction, glm: Prediction, lead: Score) -> dict[str, Any]:
    return {
        "bits_per_spike": {
            "model": model.bits.value,
            "glm": glm.bits.value,
            "model_interval": _interval(model.bits),
            "glm_interval": _interval(glm.bits),
            "model_minus_glm": lead.value,
            "model_minus_glm_interval": _interval(lead),
        },
        "time_rescaling": {"model_ks": distance(model), "glm_ks": distance(glm), "intervals": len(model.rescaled)},
    }


def _interval(score: Score) -> list[float]:
    return [score.low, score.high]


def distance(prediction: Prediction) -> float:
    """The Kolmogorov-Smirnov distance of the rescaled intervals from the uniform distribution."""
    u = np.sort(prediction.rescaled)
    if not len(u):
        return math.nan
    k = np.arange(len(u))
    return float(max(np.max((k + 1) / len(u) - u), np.max(u - k / len(u))))
