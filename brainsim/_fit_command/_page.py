"""The page of one fit."""

import argparse
import math
import shlex
from pathlib import Path

import numpy as np

from .._info import machine, versions
from .._pages import DASH, cards, code, document, escape, fill, number, picture, seconds, table
from ..fitting import Fit
from ..io import Recording
from ._ask import bounds, values
from ._figures import figures
from ._score import FreeRun


def write_page(
    arguments: argparse.Namespace,
    found: Fit,
    recording: Recording,
    run: FreeRun | None,
    scores: dict[str, tuple[str, float]],
    out: Path,
) -> Path:
    """Writes the figures as PNG files and `index.html` with all of them inside."""
    unit = "mV²" if run is not None else "nats per spike"
    captions = _captions(found, run)
    pictures = {
        name: picture(
            draw, out / f"{name}.png", alt=captions[name][0], caption=captions[name][1], half=name == "fit_loss"
        )
        for name, draw in figures(found, recording, run, unit).items()
    }
    body = fill(
        "_fit_command/fit.html",
        **pictures,
        parameter_table=_parameters(found),
        notes=_notes(found),
        command=code(command(arguments)),
        code=code(_code(arguments, found)),
    )
    held_out = "" if found.split is None else f"The part after {found.split / 1e3:g} s was never seen in the fit."
    header = fill(
        "_fit_command/fit_header.html",
        model=escape(type(found.model).__name__),
        source=escape(Path(arguments.recording).name),
        n_free=len(found.params),
        starts=len(found.history),
        seconds=seconds(found.seconds),
        held_out=held_out,
        cards=cards((number(value), text) for text, value in scores.values() if math.isfinite(value)),
    )
    said = ", ".join(f"{escape(k)} {escape(v)}" for k, v in versions().items())
    footer = fill("_fit_command/fit_footer.html", versions=said, machine=escape(machine()))
    path = out / "index.html"
    path.write_text(document(f"brainsim fit: {arguments.model}", header, body, footer), encoding="utf-8")
    return path


def _parameters(found: Fit) -> str:
    rows = []
    for name, p in found.params.items():
        for value, low, high in zip(*(np.ravel(x) for x in (p.value, p.low, p.high)), strict=True):
            interval = escape(p.note or DASH) if math.isnan(low) else f"{number(low, 4)} to {number(high, 4)}"
            searched = f"{number(p.lower)} to {number(p.upper)}"
            cells = [
                f"<code>{escape(name)}</code>",
                escape(p.doc),
                number(value, 4),
                interval,
                searched,
                escape(p.unit),
            ]
            rows.append(cells)
    return table(["Parameter", "Meaning", "Value", "95 % interval", "Searched", "Unit"], rows)


def _notes(found: Fit) -> str:
    said = [*found.notes]
    if found.failures:
        more = len(found.failures) - 1
        said.append(found.failures[0] + (f" (and {more} more)" if more else ""))
    return "".join(f'<p class="verdict behind">{escape(line)}</p>\n' for line in said)


def command(arguments: argparse.Namespace) -> str:
    """The command line that makes this again."""
    words = ["brainsim", "fit", arguments.recording, "--model", arguments.model]
    for option in ("free", "fix"):
        for text in getattr(arguments, option) or ():
            words += [f"--{option}", text]
    for option in ("loss", "starts", "steps", "holdout", "dt", "seed", *_SOURCE):
        value = getattr(arguments, option)
        if value is not None:
            words += [f"--{option}", str(value)]
    return shlex.join([*words, "--out", arguments.out])


_SOURCE = ("sweep", "unit", "spikes", "stimulus", "voltage")


def _code(arguments: argparse.Namespace, found: Fit) -> str:
    """The same fit in Python."""
    chosen = "".join(f", {name}={value!r}" for name in _SOURCE if (value := getattr(arguments, name)) is not None)
    given = "".join(f", {name}={value!r}" for name, value in values(arguments.fix).items())
    model = f"bs.neurons.{type(found.model).__name__}()"
    lines = [
        "import brainsim as bs, jax\n",
        f"recording = bs.io.read_recording({arguments.recording!r}{chosen})",
        f"model = bs.with_params({model}{given})" if given else f"model = {model}",
        f"free = {bounds(arguments.free)!r}",
    ]
    more = "".join(f", {name}={value!r}" for name in ("steps", "dt") if (value := getattr(arguments, name)) is not None)
    if arguments.loss == "spikes":
        more += ", loss=bs.losses.spike_log_likelihood"
    lines += [
        f"fit = bs.fit(model, recording, free=free, starts={arguments.starts}, holdout={arguments.holdout}{more},\n"
        f"             key=jax.random.key({arguments.seed}))",
        "fit.plot()",
    ]
    return "\n".join(lines)


def _captions(found: Fit, run: FreeRun | None) -> dict[str, tuple[str, str]]:
    traces = (
        (
            "Stimulus, spikes and potential, recorded and of the model",
            "The recorded potential (dark) and that of the fitted model (colour), which here runs freely: from its "
            "rest, driven by the stimulus alone. One missed spike shifts everything that follows, so a free run is a "
            "harder test than the loss, which follows the data.",
        )
        if run is not None
        else (
            "Stimulus, recorded spikes and predicted rate",
            "The recorded spikes and the rate that the fitted model predicts from the stimulus and the spikes so far.",
        )
    )
    return {
        "fit_trace": traces,
        "fit_loss": (
            "Loss of every start over optimisation steps",
            "The training loss of every start; in colour the one that was kept."
            + (" At the dashed line the loss becomes sharper." if len(found.stages) > 1 else ""),
        ),
        "fit_parameters": (
            "Fitted parameters with intervals within their bounds",
            "Each parameter between the bounds of the search, with its 95 % interval. A value at a bound says that the "
            "bounds were too narrow, or that the data do not determine it.",
        ),
    }
