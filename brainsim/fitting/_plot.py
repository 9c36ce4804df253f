"""The figure of a fit."""

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from .. import plotting
from .._dynamics import AbstractNeuron
from .._population import Population
from .._simulate import simulate
from .._typing import as_float

if TYPE_CHECKING:
    from ._result import Fit

DIFFERENCE = "Difference"
_WINDOW = 500.0  # ms that are shown, around the split: the whole of a long recording would be a black bar


def plot(fit: "Fit") -> Figure:
    """Draws a `Fit`; see `Fit.plot`."""
    traces = _traces(fit)
    heights = [2.0, 0.8, 1.4][: len(traces)]
    with plotting.theme() as colours:
        figure = Figure(figsize=(9, 2.9 + 0.3 * len(fit.params) + 1.2 * sum(heights)), layout="constrained")
        parts = figure.subfigures(
            2 if traces else 1, 1, height_ratios=[sum(heights), 2] if traces else [1], squeeze=False
        )
        if traces:
            axes = parts[0, 0].subplots(len(traces), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
            _draw_traces(axes, traces, fit.split, colours)
        left, right = parts[-1, 0].subplots(1, 2, width_ratios=[1, 1.3])
        _draw_losses(left, fit, colours)
        _draw_parameters(right, fit, colours)
    return figure


def _draw_traces(axes: Any, traces: list, split: float | None, colours: plotting.Theme) -> None:
    for ax, (title, label, lines) in zip(axes, traces, strict=True):
        for name, times, values, color in lines:
            ax.plot(times, values, color=getattr(colours, color), lw=1.0, label=name)
        ax.set_title(title)
        ax.set_ylabel(label)
        ax.set_xlim(lines[0][1][0], lines[0][1][-1])
        if title == DIFFERENCE:  # around spikes, which the loss leaves out, it may be large
            most = 3 * np.quantile(np.abs(lines[0][2]), 0.95) + 1e-6
            ax.set_ylim(-most, most)
        if split is not None:
            ax.axvspan(split, ax.get_xlim()[1], color=colours.line, alpha=0.3, lw=0)
    axes[-1].set_xlabel("time (ms)" if split is None else "time (ms); shaded: held out")
    if len(traces[0][2]) > 1:
        axes[0].legend(loc="lower right", frameon=False, fontsize=8, ncols=2)


def _draw_losses(ax: Any, fit: "Fit", colours: plotting.Theme) -> None:
    plotting.losses(ax, fit.history, colours=colours)
    good = fit.history[np.isfinite(fit.history)]
    if good.min() > 0:
        ax.set_yscale("log")
        ax.set_ylim(good.min() / 1.5, np.quantile(good, 0.97) * 1.5)
    for step in fit.stages[1:]:
        ax.axvline(step + 0.5, color=colours.soft, lw=0.8, ls=(0, (4, 3)))
    ax.set_title("Loss of every start")


def _draw_parameters(ax: Any, fit: "Fit", colours: plotting.Theme) -> None:
    names, values, bounds = [], [], []
    for name, p in fit.params.items():
        for i, row in enumerate(zip(*(np.ravel(x) for x in (p.value, p.low, p.high)), strict=True)):
            names.append(f"{name}[{i}]" if np.ndim(p.value) else name)
            names[-1] += f" ({p.unit})" if p.unit else ""
            values.append([row[0] if np.isnan(x) else x for x in row])
            bounds.append([p.lower, p.upper])
    plotting.parameter_ranges(ax, names, [("fit", values, colours.first, "o")], np.array(bounds))
    ax.set_title("Parameters within their bounds")


def _traces(fit: "Fit") -> list[tuple[str, str, list[tuple[str, np.ndarray, np.ndarray, str]]]]:
    """Title, label and lines of each panel of traces: name, times, values, colour."""
    recording = fit.recording
    if fit.output is None or fit.dt is None:
        return []
    middle = recording.end if fit.split is None else fit.split
    start = max(recording.t0, min(middle - _WINDOW / 2, recording.end - _WINDOW))
    stop = min(start + _WINDOW, recording.end)

    def line(name: str, times: np.ndarray, values: np.ndarray, color: str):
        shown = (times >= start) & (times <= stop)
        return name, times[shown], values[shown], color

    first = fit.output if fit.output.ndim == 1 else fit.output[:, 0]
    ends = recording.t0 + fit.dt * np.arange(1, len(first) + 1)
    if getattr(recording, "voltage", None) is None:
        return [("What the model says", "output", [line("model", ends, first, "first")])]
    data = line("recorded", recording.times, recording.voltage, "ink")
    then = np.interp(ends, recording.times, recording.voltage)
    panels = [
        ("The recording, and the model that follows it", "mV", [data, line("model", ends, first, "first")]),
        (DIFFERENCE, "mV", [line("difference", ends, first - then, "second")]),
    ]
    free = _free_run(fit)
    if free is not None:
        panels.append(("A free run with the stimulus alone", "mV", [data, line("model", ends, free, "third")]))
    return panels


def _free_run(fit: "Fit") -> np.ndarray | None:
    """The potential of the fitted neuron, told nothing but the stimulus."""
    recording: Any = fit.recording
    if not isinstance(fit.model, AbstractNeuron) or fit.dt is None or recording.stimulus is None:
        return None
    if fit.dt != recording.dt:
        recording = recording.resample(fit.dt)
    v = as_float(recording.voltage[0])
    one = Population(1, fit.model, initial=dict(v=v))
    current = jnp.asarray(recording.stimulus, v.dtype)[:, None]
    solver = getattr(fit.loss_fn, "keywords", {}).get("solver")
    duration, record = recording.n * recording.dt, dict(v="v", spikes=True)
    run = simulate(one, duration, recording.dt, current, record, solver=solver)
    return np.where(np.asarray(run.spikes)[:, 0] != 0, 20.0, np.asarray(run["v"])[:, 0])  # a tick where it spiked
