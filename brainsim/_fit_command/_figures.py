"""Figures of one fit: the traces around the split, the loss of every start, the parameters within their bounds."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from .._text import label
from ..fitting import Fit
from ..io import Recording
from ..plotting import Theme, losses, parameter_ranges, raster
from ._score import FreeRun, recorded_spikes

SHOWN = 1000.0  # ms on either side of the split that can be told apart on a page


def figures(fit: Fit, recording: Recording, run: FreeRun | None, unit: str) -> dict[str, Callable[[Theme], Figure]]:
    """All figures by the name of their file. `run` is None for models that are only scored by their rate."""
    traces = (lambda c: voltage(fit, recording, run, c)) if run else (lambda c: rate(fit, recording, c))
    return {
        "fit_trace": traces,
        "fit_loss": lambda c: training(fit, unit, c),
        "fit_parameters": lambda c: parameters(fit, c),
    }


def _window(fit: Fit, recording: Recording) -> tuple[float, float]:
    middle = recording.t0 if fit.split is None else fit.split
    return max(recording.t0, middle - SHOWN), min(recording.end, middle + SHOWN)


def _panels(fit: Fit, recording: Recording, colours: Theme):
    """Stimulus, spikes and a large panel on one time axis, the unseen part shaded."""
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=[0.7, 0.4, 1.8])
    start, stop = _window(fit, recording)
    name = f"{label(recording.stimulus_name, 30)}\n({label(recording.stimulus_unit, 12)})"
    if recording.stimulus is not None:
        shown = (recording.times >= start) & (recording.times < stop)
        axes[0].plot(recording.times[shown], recording.stimulus[shown], color=colours.soft, lw=0.8)
    axes[0].set_ylabel(name)
    if fit.split is not None:
        for ax in axes:
            ax.axvspan(fit.split, stop, color=colours.line, alpha=0.25, lw=0)
        axes[0].text(fit.split, 1.02, "  never seen in the fit", transform=axes[0].get_xaxis_transform(), fontsize=9)
    axes[-1].set_xlim(start, stop)
    axes[-1].set_xlabel("time (ms)")
    axes[1].set_yticks([])
    axes[1].spines["left"].set_visible(False)
    figure.align_ylabels(axes)
    return figure, axes, (start, stop)


def voltage(fit: Fit, recording: Recording, run: FreeRun, colours: Theme) -> Figure:
    """Recorded potential and that of the fitted model, driven by the stimulus alone."""
    figure, (_, middle, bottom), (start, stop) = _panels(fit, recording, colours)
    inside = lambda t: (t >= start) & (t < stop)
    rows = [("model", run.spikes, colours.first, 0.0)]
    if (recorded := recorded_spikes(recording)) is not None:
        rows.append(("data", recorded, colours.ink, 1.2))
    for name, times, color, y in rows:
        middle.vlines(times[inside(times)], y, y + 1, color=color, lw=1.2)
        middle.text(-0.008, y + 0.5, name, color=color, ha="right", va="center", fontsize=8.5,
                    transform=middle.get_yaxis_transform())  # fmt: skip
    middle.set_ylim(-0.2, 2.4)
    if recording.voltage is not None:
        shown = inside(recording.times)
        bottom.plot(recording.times[shown], recording.voltage[shown], color=colours.ink, lw=0.9)
    shown = inside(run.times)
    bottom.plot(run.times[shown], run.voltage[shown], color=colours.first, lw=1.2)
    bottom.set_ylabel("potential (mV)")
    return figure


def rate(fit: Fit, recording: Recording, colours: Theme) -> Figure:
    """Recorded spikes and the rate that the fitted model predicts from the stimulus and the spikes so far."""
    figure, (_, middle, bottom), (start, stop) = _panels(fit, recording, colours)
    spikes = recording.spike_times if recording.spike_times is not None else np.zeros(0)
    raster(middle, spikes[(spikes >= start) & (spikes < stop)], color=colours.ink, size=1.2)
    middle.set_ylabel("spikes", rotation=0, ha="right", va="center")
    if fit.output is not None:
        output = fit.output.reshape(len(fit.output), -1)[:, 0]
        times = recording.t0 + recording.duration * (np.arange(len(output)) + 0.5) / len(output)
        shown = (times >= start) & (times < stop)
        bottom.plot(times[shown], 1e3 * np.exp(output[shown]), color=colours.first, drawstyle="steps-mid")
    bottom.set_ylim(0, None)
    bottom.set_ylabel("predicted rate (Hz)")
    return figure


def training(fit: Fit, unit: str, colours: Theme) -> Figure:
    """Loss of every start."""
    figure = Figure(figsize=(6.6, 3.2), layout="constrained")
    ax = figure.subplots()
    losses(ax, fit.history, colours=colours, label=f"training loss ({unit})", best=fit.best)
    for step in fit.stages[1:]:
        ax.axvline(step + 0.5, color=colours.soft, lw=0.8, ls=(0, (4, 3)))
    ax.set_title(f"{len(fit.history)} starts")
    return figure


def parameters(fit: Fit, colours: Theme) -> Figure:
    """Parameters and intervals on the ranges that were searched, and where the other starts ended."""
    names, values, bounds, scales = [], [], [], []
    for name, p in fit.params.items():
        for value, low, high in zip(*(np.ravel(x) for x in (p.value, p.low, p.high)), strict=True):
            names.append(f"{name} ({p.unit})" if p.unit else name)
            values.append((value, low, high))
            bounds.append((p.lower, p.upper))
            scales.append(p.scale == "log")
    figure = Figure(figsize=(9.6, 0.9 + 0.36 * len(names)), layout="constrained")
    ax = figure.subplots()
    drawn = [("fitted", np.array(values), colours.first, "o")]
    parameter_ranges(ax, names, drawn, np.array(bounds), logarithmic=np.array(scales))
    return figure
