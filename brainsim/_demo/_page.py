"""The demo's page: the numbers for its text, which stands in page.html, and the figures with their captions."""

from pathlib import Path

import numpy as np

from .._pages import DASH, SPACE, TIMES, cards, code, document, escape, fill, number, picture, seconds, signed, table
from . import _figures, _snippets
from ._bar import Report, silent
from ._report import distance
from ._results import CobaResult, DemoResult, LocustFit, LocustResult, Score, SweepResult

# NEST 3.10 and Brian2 2.9, nine runs of the same network: mean and standard deviation.
REFERENCE = {"rate_e_hz": (21.4, 0.9), "rate_i_hz": (21.2, 0.4), "cv_isi": (1.63, 0.02)}


def write_page(result: DemoResult, out: Path, *, progress: Report = silent) -> Path:
    """Writes every figure as a PNG file into `out`, and `index.html` with all of them inside."""
    drawn = _figures.figures(result)
    captions = _captions(result)
    pictures = {}
    for k, (name, draw) in enumerate(drawn.items()):
        progress(k, len(drawn), name)
        alt, caption = captions[name]
        pictures[name] = picture(draw, out / f"{name}.png", alt=alt, caption=caption, half="map" in name)
    responses = "".join(pictures.pop(f"locust_{fit.name}") for fit in result.locust.recordings)
    top = pictures.pop("overview")
    body = fill(
        "_demo/page.html",
        responses=responses,
        **pictures,
        **_locust(result.locust),
        **_coba(result.coba),
        **_sweep(result.sweep),
    )
    versions = ", ".join(f"{escape(k)} {escape(v)}" for k, v in result.versions.items())
    page = document("brainsim demo", _header(result) + top, body, fill("_demo/footer.html", versions=versions))
    path = out / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def _header(result: DemoResult) -> str:
    first, coba, sweep = result.locust.recordings[0], result.coba, result.sweep
    size = f"{coba.n_e + coba.n_i:,} neurons and {coba.synapses:,} synapses"
    items = [
        (
            f"{number(first.model.bits.value)} bits / spike",
            "how well a fitted model foretells spikes of a real neuron that the fit never saw "
            f"(GLM: {number(first.glm.bits.value)})",
        ),
        (
            f"{number(_speed(coba))} {TIMES} real time",
            f"{size}: {seconds(coba.duration / 1e3)} of their activity takes {seconds(coba.seconds_run)}",
        ),
        (
            f"{sweep.rate_hz.size} networks",
            f"swept over two weights in {seconds(sweep.seconds)}, from one function and one call of bs.sweep",
        ),
    ]
    return fill(
        "_demo/header.html",
        seconds=seconds(result.seconds),
        machine=escape(result.machine),
        kernels=escape(result.backend["kernels"]),
        cards=cards(items),
    )


def _speed(coba: CobaResult) -> float:
    return coba.duration / 1e3 / coba.seconds_run


def _locust(locust: LocustResult) -> dict[str, object]:
    fits, last = locust.recordings, locust.transfer
    rows = [
        (
            f"{_figures.heading(fit)}, last {fit.dt * len(fit.stimulus) / 1e3 - fit.split / 1e3:.0f} s",
            _interval(fit.model.bits),
            _interval(fit.glm.bits),
            f"{_interval(fit.bits_own_step)} <small>at {fit.step:g} ms</small>",
        )
        for fit in fits
    ]
    there = f"Fitted on {last.fitted_on.replace('_', ' ')}, all of {last.scored_on.replace('_', ' ')}"
    rows.append((there, _interval(last.model.bits), _interval(last.glm.bits), DASH))
    leads = [(f"On {fit.name.replace('_', ' ')}", fit.lead) for fit in fits] + [("In transfer", last.lead)]
    return dict(
        cutoffs=" and ".join(f"{fit.cutoff_hz:.0f} Hz" for fit in fits),
        train=f"{fits[0].split / 1e3:.0f}",
        n_parameters=len(fits[0].parameters),
        starts=len(fits[0].loss),
        fit_seconds=seconds(locust.seconds),
        glm_parameters=locust.glm_parameters,
        score_table=table(("Held out", "Model", "GLM", "Model, its own time step"), rows),
        verdicts="".join(_verdict(where, lead) for where, lead in leads),
        calibration_table=_calibration(locust),
        parameter_table=_parameters(fits),
        code_fit=code(_snippets.FIT),
    )


def _calibration(locust: LocustResult) -> str:
    """How many spikes each method foretold, and how far it is from the diagonal."""
    target = next(fit for fit in locust.recordings if fit.name == locust.transfer.scored_on)
    parts = [(_figures.heading(fit), fit, fit.split, fit) for fit in locust.recordings]
    rows = []
    for name, scored, since, fit in [*parts, ("Transfer", locust.transfer, 0.0, target)]:
        came = int(np.sum(fit.spikes > since))
        band = 1.36 / np.sqrt(len(scored.model.rescaled))
        foretold = [f"{np.sum(p.rate[round(since) :]) * 1e-3:.0f}" for p in (scored.model, scored.glm)]
        apart = [f"{distance(p):.2f}" for p in (scored.model, scored.glm)]
        rows.append((name.replace(" ", SPACE), f"{came}", *foretold, *apart, f"{band:.2f}"))
    head = ("", "Spikes that came", "Model foretold", "GLM foretold", "Model, distance", "GLM, distance", "95 % band")
    return table(head, rows, numbers=range(1, 7))


def _interval(score: Score) -> str:
    return f"{score.value:.2f} <small>({score.low:.2f} to {score.high:.2f})</small>"


def _verdict(where: str, lead: Score) -> str:
    """One honest sentence about model minus GLM."""
    interval = f"95 % interval of the difference {signed(lead.low)} to {signed(lead.high)}"
    if lead.low > 0:
        said = f"<strong>{where}, the model is ahead</strong> by {lead.value:.2f} bits per spike"
    elif lead.high < 0:
        said = f"<strong>{where}, the GLM is ahead</strong> by {-lead.value:.2f} bits per spike"
    else:
        said = f"<strong>{where}, they cannot be told apart</strong>: difference {signed(lead.value)} bits per spike"
    return f'<p class="verdict{" behind" if lead.high < 0 else ""}">{said} ({interval}).</p>\n'


def _parameters(fits: tuple[LocustFit, ...]) -> str:
    rows = []
    for same in zip(*(fit.parameters for fit in fits), strict=True):
        p = same[0]
        values = [f"{number(q.value)} <small>({number(q.low)} to {number(q.high)})</small>" for q in same]
        rows.append([f"<code>{escape(p.name)}</code>", escape(p.meaning), *values, escape(p.unit or DASH)])
    return table(["Parameter", "Meaning", *map(_figures.heading, fits), "Unit"], rows)


def _coba(coba: CobaResult) -> dict[str, object]:
    what = {
        "rate_e_hz": "Rate of the excitatory neurons (Hz)",
        "rate_i_hz": "Rate of the inhibitory neurons (Hz)",
        "cv_isi": "Irregularity of the intervals (CV: a clock has 0, chance 1)",
    }
    theirs = {key: f"{mean:g} ± {sd:g}" for key, (mean, sd) in REFERENCE.items()}
    digits = {"rate_e_hz": 1, "rate_i_hz": 1, "cv_isi": 2}
    mine = {key: value for key in what if np.isfinite(value := getattr(coba, key))}
    rows = [(what[key], f"{value:.{digits[key]}f}", theirs[key]) for key, value in mine.items()]
    return dict(
        n_e=f"{coba.n_e:,}",
        n_i=f"{coba.n_i:,}",
        synapses=f"{coba.synapses:,}",
        coba_table=table(("", "This run", "NEST and Brian2"), rows, numbers=(1, 2)),
        coba_duration=seconds(coba.duration / 1e3),
        coba_seconds=seconds(coba.seconds_run),
        coba_dt=f"{coba.dt:g}",
        coba_speed=number(_speed(coba)),
        build_seconds=seconds(coba.seconds_build),
        compile_seconds=seconds(coba.seconds_compile),
        code_network=code(_snippets.NETWORK),
    )


def _sweep(sweep: SweepResult) -> dict[str, object]:
    return dict(
        sweep_shape=f" {TIMES} ".join(str(k) for k in sweep.rate_hz.shape),
        sweep_n=f"{sweep.n:,}",
        sweep_duration=f"{sweep.duration:g}",
        sweep_skipped=f"{sweep.skipped:g}",
        sweep_seconds=seconds(sweep.seconds),
        sweep_each=seconds(sweep.seconds / sweep.rate_hz.size),
        code_sweep=code(_snippets.SWEEP),
    )


def _captions(result: DemoResult) -> dict[str, tuple[str, str]]:
    """For each figure what it shows, for those who cannot see it, and its caption."""
    first, *others = result.locust.recordings
    low, high = (number(float(x)) for x in (np.min(result.sweep.rate_hz), np.max(result.sweep.rate_hz)))
    response = "Sound level, recorded spikes and predicted firing rates"
    same = {
        f"locust_{fit.name}": (response, f"The same, with loudness that fluctuates up to {fit.cutoff_hz:.0f} Hz.")
        for fit in others
    }
    return same | {
        "overview": (
            "A predicted firing rate with spikes, a raster of a network, and a map of its rate over two weights",
            "Left: ticks are spikes of a neuron in a locust's ear that the fit never saw, in colour the rate that it "
            "foretold. Middle: each dot is a spike of a network. Right: each tile is another such network.",
        ),
        f"locust_{first.name}": (
            response,
            f"Above, the loudness of the tone (up to {first.cutoff_hz:.0f} Hz); in the middle, the recorded "
            "spikes; below, the firing rate that each method predicts from the sound and from the spikes so far. Where "
            "the line is high, a spike should come at once; where it is at zero, none should.",
        ),
        "locust_scores": (
            "Bits per spike of model and GLM on held-out data",
            "Held-out scores in 1 ms bins. Faint bars: 95 % bootstrap intervals over the held-out time.",
        ),
        "locust_time_rescaling": (
            "Quantiles of rescaled intervals against those of the uniform distribution",
            "Time-rescaling check (Brown and colleagues 2002) on held-out spikes; in transfer, on all spikes. The "
            "table has the largest distance of each line from the diagonal.",
        ),
        "locust_loss": (
            "Training loss of all starts over optimisation steps",
            "The training loss (negative log-likelihood, in bits per spike against a constant rate; lower is better) "
            "of every start, in colour the one that was kept.",
        ),
        "locust_parameters": (
            "Fitted parameters with intervals, for both recordings",
            "Each parameter between the bounds of the search (the numbers at the ends; a logarithmic scale where they "
            "are far apart), with its 95 % interval. It is one cell: where the two recordings agree, the model has "
            "found a property of the cell and not of the sound.",
        ),
        "coba_raster": (
            "Spike raster and population rates of the network",
            "Above, each dot is a spike (every tenth neuron is shown). Below, the rate of each population in bins of "
            "5 ms.",
        ),
        "sweep_map": (
            "Map of the network's mean rate over excitatory and inhibitory weight",
            f"Mean rate over all neurons, {low} to {high} Hz. The cross marks the network of part 2.",
        ),
    }
