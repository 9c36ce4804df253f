"""The demo's figures: one function for each, from results to a matplotlib figure in the colours of a theme."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._pages import ARROW, MINUS, TIMES
from ..plotting import Theme, heat_map, losses, parameter_ranges, raster, rescaling
from ._results import CobaResult, DemoResult, LocustFit, SweepResult

WINDOW = 400.0  # ms of held-out data that fit on a page and still show single spikes


def heading(fit: LocustFit) -> str:
    """The name of a recording as people write it: "Recording 1"."""
    return fit.name.replace("_", " ").capitalize()


def _figure(height: float, width: float = 9.6) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _say(ax: Axes, x: float, y: float, text: str, color: str, **more) -> None:
    """A direct label instead of a legend; x and y in parts of the axis."""
    ax.text(x, y, text, color=color, transform=ax.transAxes, fontsize=9, fontweight="bold", **more)


def overview(result: DemoResult, colours: Theme) -> Figure:
    """The three parts at a glance: a prediction, a network, a map."""
    figure = _figure(2.9)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.25, 1.0, 1.0])
    fit = result.locust.recordings[0]
    start, span = fit.split + 200.0, 120.0
    bins = np.arange(len(fit.model.rate)) + 0.5
    shown = (bins >= start) & (bins < start + span)
    left.fill_between(bins[shown] - start, fit.model.rate[shown], color=colours.first, lw=0, alpha=0.9)
    top = 1.3 * float(np.max(fit.model.rate[shown], initial=1.0))
    spikes = fit.spikes[(fit.spikes >= start) & (fit.spikes < start + span)] - start
    left.vlines(spikes, 0.86 * top, 0.96 * top, color=colours.ink, lw=1.2)
    left.set(xlim=(0, span), ylim=(0, top), xlabel="time (ms)", ylabel="predicted rate (Hz)")
    left.set_title("A neuron, predicted")
    coba = result.coba
    window = min(200.0, coba.duration)
    recent = (coba.spike_times > coba.duration - window) & (coba.spike_ids % 8 == 0)
    for some, color in ((coba.spike_ids < coba.n_e, colours.first), (coba.spike_ids >= coba.n_e, colours.second)):
        times = coba.spike_times[recent & some] - (coba.duration - window)
        raster(middle, times, coba.spike_ids[recent & some], color=color, size=2.4)
    middle.set(xlim=(0, window), ylim=(-20, coba.n_e + coba.n_i + 20), xlabel="time (ms)", ylabel="neuron")
    middle.set_title("A network, simulated")
    sweep = result.sweep
    heat_map(right, sweep.w_exc, sweep.w_inh, sweep.rate_hz, label="rate (Hz)", colours=colours)
    right.set(xlabel="excitatory weight (nS)", ylabel="inhibitory weight (nS)")
    right.set_title("Its weights, swept")
    return figure


def response(fit: LocustFit, colours: Theme) -> Figure:
    """Held-out sound, spikes and predicted rates of one recording."""
    figure = _figure(4.6)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1.0, 0.35, 1.5])
    start = fit.split + 200.0
    stop = min(start + WINDOW, fit.dt * len(fit.stimulus))
    t = fit.dt * np.arange(len(fit.stimulus))
    shown = (t >= start) & (t < stop)
    top.plot(t[shown] - start, fit.stimulus[shown], color=colours.soft, lw=0.8)
    top.set_ylabel("sound\n(dB)")
    top.set_title(f"{heading(fit)}: {WINDOW:.0f} ms that the fit never saw")
    spikes = fit.spikes[(fit.spikes >= start) & (fit.spikes < stop)] - start
    raster(middle, spikes, color=colours.ink, size=1.2)
    middle.set_ylabel("spikes", rotation=0, ha="right", va="center")
    bins = np.arange(len(fit.model.rate)) + 0.5
    shown = (bins >= start) & (bins < stop)
    bottom.plot(bins[shown] - start, fit.glm.rate[shown], color=colours.second, lw=1.0, drawstyle="steps-mid")
    bottom.plot(bins[shown] - start, fit.model.rate[shown], color=colours.first, lw=1.4, drawstyle="steps-mid")
    bottom.set_ylim(0, 1.22 * max(np.max(p.rate[shown]) for p in (fit.model, fit.glm)))
    bottom.set_ylabel("predicted\nrate (Hz)")
    _say(bottom, 0.005, 0.93, "model", colours.first, va="top")
    _say(bottom, 0.085, 0.93, "GLM", colours.second, va="top")
    bottom.set_xlabel(f"time (ms after {start / 1e3:g} s)")
    bottom.set_xlim(0, stop - start)
    figure.align_ylabels([top, bottom])
    return figure


def scores(result: DemoResult, colours: Theme) -> Figure:
    """Bits per spike of model and GLM with bootstrap intervals."""
    figure = _figure(2.7)
    ax = figure.subplots()
    locust = result.locust
    rows = [(f"{heading(fit)}\nlast 2 s", fit.model.bits, fit.glm.bits) for fit in locust.recordings]
    last = locust.transfer
    there = f"{last.fitted_on.replace('_', ' ').capitalize()} {ARROW} {last.scored_on.split('_')[-1]}\nall of it"
    rows.append((there, last.model.bits, last.glm.bits))
    for row, (_, model, glm) in enumerate(reversed(rows)):
        who = row == len(rows) - 1  # the names stand once, where the eye begins
        for name, score, color, dy in (("model", model, colours.first, 0.14), ("GLM", glm, colours.second, -0.14)):
            ax.hlines(row + dy, score.low, score.high, color=color, lw=3, alpha=0.4)
            ax.plot(score.value, row + dy, "o", color=color, ms=7)
            text = f"  {score.value:.2f}  {name if who else ''}"
            ax.text(score.high, row + dy, text, color=color, va="center", fontsize=9, fontweight="bold")
    ax.axvline(0.0, color=colours.line, lw=0.8)
    low = min(0.0, *(s.low for _, *pair in rows for s in pair))
    ax.set_xlim(low - 0.05, 1.15 * max(s.high for _, *pair in rows for s in pair))
    ax.set_yticks(range(len(rows)), [label for label, _, _ in reversed(rows)])
    ax.set_ylim(-0.5, len(rows) - 0.4)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("bits per spike above a constant rate (0 = as good as knowing the mean rate); bars: 95 % bootstrap")
    return figure


def training(result: DemoResult, colours: Theme) -> Figure:
    """Loss curves of every start, both recordings."""
    fits = result.locust.recordings
    figure = _figure(2.9)
    for ax, fit in zip(np.atleast_1d(figure.subplots(1, len(fits))), fits, strict=True):
        losses(ax, fit.loss, colours=colours, label="training loss (bits per spike)")
        final = f"{np.nanmin(fit.loss[:, -1]):.2f}".replace("-", MINUS)
        ax.set_title(f"{heading(fit)}: {len(fit.loss)} starts, the best ends at {final}")
    return figure


def time_rescaling(result: DemoResult, colours: Theme) -> Figure:
    """Whether the predicted rates account for the held-out intervals."""
    parts = [(heading(fit), fit.model, fit.glm) for fit in result.locust.recordings]
    parts.append(("Transfer", result.locust.transfer.model, result.locust.transfer.glm))
    figure = _figure(3.5)
    for ax, (title, model, glm) in zip(figure.subplots(1, len(parts)), parts, strict=True):
        lines = [("GLM", glm.rescaled, colours.second), ("model", model.rescaled, colours.first)]
        rescaling(ax, lines, colours=colours)
        ax.set_title(title)
        _say(ax, 0.05, 0.94, "model", colours.first, va="top")
        _say(ax, 0.05, 0.85, "GLM", colours.second, va="top")
    return figure


def parameters(result: DemoResult, colours: Theme) -> Figure:
    """Fitted parameters with their intervals, on the ranges that were searched."""
    fits = result.locust.recordings
    rows = fits[0].parameters
    figure = _figure(0.9 + 0.33 * len(rows))
    ax = figure.subplots()
    looks = [(colours.first, "o"), (colours.third, "s"), (colours.second, "D")]
    drawn = [
        (heading(fit), np.array([(p.value, p.low, p.high) for p in fit.parameters]), *look)
        for fit, look in zip(fits, looks, strict=False)
    ]
    labels = [f"{p.name} ({p.unit})" if p.unit else p.name for p in rows]
    parameter_ranges(ax, labels, drawn, np.array([(p.lower, p.upper) for p in rows]))
    for k, (label, _, color, _) in enumerate(drawn):
        _say(ax, 0.12 * k, 1.0, label, color, va="bottom")
    return figure


def network(coba: CobaResult, colours: Theme) -> Figure:
    """A raster of one neuron in ten, and the population rates."""
    figure = _figure(5.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1.0])
    shown = coba.spike_ids % 10 == 0
    inhibitory = coba.spike_ids >= coba.n_e
    for which, color in ((~inhibitory, colours.first), (inhibitory, colours.second)):
        raster(top, coba.spike_times[shown & which], coba.spike_ids[shown & which], color=color, size=2.2)
    top.set_ylim(-20, coba.n_e + coba.n_i + 20)
    top.set_yticks([coba.n_e / 2, coba.n_e + coba.n_i / 2], [f"{coba.n_e}\nexcitatory", f"{coba.n_i}\ninhibitory"])
    top.tick_params(axis="y", length=0)
    top.set_title("Spikes of one neuron in ten")
    bottom.plot(coba.rate_times, coba.rate_i, color=colours.second, lw=1.1)
    bottom.plot(coba.rate_times, coba.rate_e, color=colours.first, lw=1.4)
    settled = coba.rate_times >= min(
        50.0, 0.2 * coba.duration
    )  # all start at once: the first bins would dwarf the rest
    bottom.set_ylim(0, 1.6 * float(max(coba.rate_e[settled].max(), coba.rate_i[settled].max(), 1.0)))
    bottom.set_xlim(0, coba.duration)
    bottom.set_ylabel("rate (Hz)")
    bottom.set_xlabel("time (ms)")
    _say(bottom, 0.99, 0.95, "excitatory", colours.first, ha="right", va="top")
    _say(bottom, 0.99, 0.80, "inhibitory", colours.second, ha="right", va="top")
    return figure


def sweep_map(sweep: SweepResult, colours: Theme) -> Figure:
    """The network's rate over two weights; the cross marks the network of part 2."""
    figure = _figure(4.2, 6.6)
    ax = figure.subplots()
    heat_map(ax, sweep.w_exc, sweep.w_inh, sweep.rate_hz, label="mean rate (Hz)", colours=colours)
    ax.plot(6.0, 67.0, "+", color="#ffffff", ms=13, mew=3.6)
    ax.plot(6.0, 67.0, "+", color="#d55e00", ms=12, mew=1.8)
    ax.set_xlabel("excitatory weight (nS)")
    ax.set_ylabel("inhibitory weight (nS)")
    shape = f" {TIMES} ".join(str(k) for k in sweep.rate_hz.shape)
    ax.set_title(f"{shape} networks, one vmapped run")
    return figure


def figures(result: DemoResult) -> dict[str, Callable[[Theme], Figure]]:
    """All figures of the demo by the name of their file."""
    drawn: dict[str, Callable[[Theme], Figure]] = {
        "overview": lambda c: overview(result, c),
        "locust_scores": lambda c: scores(result, c),
    }
    for fit in result.locust.recordings:
        drawn[f"locust_{fit.name}"] = lambda c, fit=fit: response(fit, c)
    return drawn | {
        "locust_loss": lambda c: training(result, c),
        "locust_time_rescaling": lambda c: time_rescaling(result, c),
        "locust_parameters": lambda c: parameters(result, c),
        "coba_raster": lambda c: network(result.coba, c),
        "sweep_map": lambda c: sweep_map(result.sweep, c),
    }
