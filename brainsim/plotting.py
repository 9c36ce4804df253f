"""Figures: functions that draw arrays on a matplotlib axis, in colours that colour-blind readers can tell apart.

Needs matplotlib (``pip install 'brainsim[plot]'``); import it as ``import brainsim.plotting``. Nothing here holds
state: `theme` is a context, and every function draws on the axis it is given.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ._quantity import shown


@final
class Theme(NamedTuple):
    """Colours of a figure: text, secondary text, lines of axes, background, and three to tell things apart."""

    ink: str
    soft: str
    line: str
    paper: str
    first: str
    second: str
    third: str
    colormap: str


LIGHT = Theme("#1b1f24", "#5f6872", "#c9ced4", "#ffffff", "#0072b2", "#d55e00", "#009e73", "cividis")
DARK = Theme("#e8eaed", "#9aa4ae", "#454c54", "#16191d", "#56b4e9", "#f0a04b", "#41c9a2", "cividis")


def _numbers(what: str, x: Any, *shape: int | str) -> np.ndarray:
    """`x` as an array of real numbers of this shape, in which a name stands for any number."""
    try:
        array = np.asarray(x)
        same = (isinstance(n, str) or n == m for n, m in zip(shape, array.shape, strict=False))
        fits = array.ndim == len(shape) and all(same)
        if fits and (array.dtype.kind in "biuf" or not array.size):
            return array
    except (TypeError, ValueError):  # rows of different lengths
        pass
    raise ValueError(f"{what} must be an array of numbers ({', '.join(map(str, shape))}), got {shown(x)}")


def _lines(what: str, x: Any, parts: str) -> list[tuple]:
    """`x`, a list that is not empty, of tuples with these parts."""
    lines = list(x) if isinstance(x, Sequence) and not isinstance(x, str) else []
    if not lines or not all(isinstance(line, tuple | list) and len(line) == parts.count(",") + 1 for line in lines):
        raise ValueError(f"{what} must be a list of ({parts}), got {shown(x)}")
    return [tuple(line) for line in lines]


def _check(ax: Any, colours: Any = LIGHT) -> None:
    if not isinstance(ax, Axes):
        raise ValueError(f"ax must be an axis of matplotlib's, such as plt.gca(), got {shown(ax)}")
    if not isinstance(colours, Theme):
        raise ValueError(f"colours must be LIGHT, DARK or a Theme, got {shown(colours)}")


@contextlib.contextmanager
def theme(colours: Theme = LIGHT) -> Iterator[Theme]:
    """Within this context, figures are made and saved in brainsim's style.

    **Arguments**

    - `colours`: `LIGHT` (default) or `DARK`, or a `Theme` of your own.

    ```python
    >>> from matplotlib.figure import Figure
    >>> import brainsim.plotting as plotting
    >>> with plotting.theme(plotting.DARK) as colours:
    ...     axis = Figure().subplots()
    >>> colours.first
    '#56b4e9'

    ```
    """
    if not isinstance(colours, Theme):
        raise ValueError(f"colours must be LIGHT, DARK or a Theme, got {shown(colours)}")
    style = {
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.labelsize": 9.5,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.edgecolor": colours.line,
        "axes.labelcolor": colours.soft,
        "axes.titlecolor": colours.ink,
        "axes.facecolor": colours.paper,
        "figure.facecolor": colours.paper,
        "savefig.facecolor": colours.paper,
        "text.color": colours.ink,
        "xtick.color": colours.line,
        "ytick.color": colours.line,
        "xtick.labelcolor": colours.soft,
        "ytick.labelcolor": colours.soft,
        "lines.linewidth": 1.4,
        "lines.solid_capstyle": "round",
        "savefig.dpi": 160,
    }
    with matplotlib.rc_context(style):  # pyright: ignore[reportArgumentType]
        yield colours


def raster(ax: Axes, times: np.ndarray, rows: np.ndarray | None = None, *, color: str = LIGHT.ink, size: float = 1.2):
    """Draws spikes: a dot for each at its time and row, or, without rows, a tick as high as the axis.

    **Arguments**

    - `ax`: the axis.
    - `times`: shape (spikes,), in the unit of the axis.
    - `rows`: neuron of each spike, shape (spikes,).
    - `color`, `size`: of a dot (points), or the width of a tick.
    """
    _check(ax)
    times = _numbers("times", times, "spikes")
    if rows is None:
        ax.vlines(times, 0.0, 1.0, color=color, linewidth=size)
        ax.set_ylim(-0.1, 1.1)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        return
    ax.plot(
        times, _numbers("rows", rows, len(times)), ".", color=color, markersize=size, markeredgewidth=0, rasterized=True
    )


def rescaling(ax: Axes, rescaled: Sequence[tuple[str, np.ndarray, str]], *, colours: Theme = LIGHT):
    """The time-rescaling check: quantiles of rescaled intervals against those of the uniform distribution.

    A correct rate makes the intervals, on its clock, exponential; mapped to (0, 1) they are uniform and the line is the
    diagonal. The grey band holds 95 % of the correct models (Kolmogorov-Smirnov, 1.36 / sqrt(n)).

    **Arguments**

    - `rescaled`: for each line a label, the intervals in (0, 1), shape (n,), and a colour.

    Brown, Barbieri, Ventura, Kass and Frank (2002), Neural Computation 14:325, doi:10.1162/08997660252741149.
    """
    _check(ax, colours)
    rescaled = _lines("rescaled", rescaled, "label, intervals, colour")
    rescaled = [(label, _numbers(f"the intervals of {label}", values, "n"), color) for label, values, color in rescaled]
    smallest = min(len(values) for _, values, _ in rescaled)
    band = 1.36 / np.sqrt(max(smallest, 1))
    line = np.array([0.0, 1.0])
    ax.fill_between(line, np.clip(line - band, 0, 1), np.clip(line + band, 0, 1), color=colours.line, alpha=0.35, lw=0)
    ax.plot(line, line, color=colours.soft, lw=0.8, ls=(0, (4, 3)))
    for label, values, color in rescaled:
        ordered = np.sort(values)
        ax.plot((np.arange(len(ordered)) + 0.5) / len(ordered), ordered, color=color, label=label)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xticks([0, 0.5, 1])
    ax.set_yticks([0, 0.5, 1])
    ax.set_xlabel("expected quantile")
    ax.set_ylabel("observed quantile")


def losses(
    ax: Axes, history: np.ndarray, *, colours: Theme = LIGHT, label: str = "loss", best: int | None = None
) -> None:
    """Loss curves of many starts, the best one in colour. Steps at which a start had died are left out.

    **Arguments**

    - `history`: shape (starts, steps).
    - `label`: of the vertical axis.
    - `best`: index of the best start; default the one that ends lowest.
    """
    _check(ax, colours)
    single = isinstance(history, np.ndarray) and history.ndim == 1
    history = _numbers("history", [history] if single else history, "starts", "steps")
    if 0 in history.shape:
        raise ValueError(f"history must have a start and a step, got shape {history.shape}")
    whole = isinstance(best, int | np.integer) and not isinstance(best, bool)
    if best is not None and not (whole and 0 <= best < len(history)):
        raise ValueError(f"best must be the number of a start, 0 to {len(history) - 1}, got {shown(best)}")
    if best is None:
        best = int(np.argmin(np.where(np.isfinite(history[:, -1]), history[:, -1], np.inf)))
    steps = np.arange(1, history.shape[1] + 1)
    for k, curve in enumerate(history):
        if k != best:
            ax.plot(steps, curve, color=colours.line, lw=0.9)
    ax.plot(steps, history[best], color=colours.first, lw=2.0)
    good = history[np.isfinite(history)]
    if good.size:  # the first steps of bad starts would flatten everything else
        low, high = good.min(), np.quantile(good, 0.9)
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low) + 1e-12)
    ax.set_xlim(1, history.shape[1])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("optimisation step")
    ax.set_ylabel(label)


def parameter_ranges(
    ax: Axes,
    names: Sequence[str],
    fits: Sequence[tuple[str, Any, str, str]],
    bounds: np.ndarray,
    *,
    logarithmic: np.ndarray | None = None,
) -> None:
    """Fitted values and intervals, each on the range that was searched.

    **Arguments**

    - `names`: labels with units, one for each row.
    - `fits`: for each fit a label, an array of shape (rows, 3) of value, low and high, a colour and a marker.
    - `bounds`: shape (rows, 2).
    - `logarithmic`: shape (rows,); default where bounds are positive and span a factor of 20, as in `brainsim.fit`.
    """
    _check(ax)
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names) or isinstance(names, str):
        raise ValueError(f"names must be a list of labels, got {shown(names)}")
    bounds = _numbers("bounds", bounds, len(names), 2)
    fits = _lines("fits", fits, "label, values, colour, marker")
    if logarithmic is not None:
        logarithmic = _numbers("logarithmic", logarithmic, len(names))
    rows = np.arange(len(names))[::-1].astype(float)
    low, high = np.asarray(bounds, float).T
    on_log_scale = (low > 0) & (high >= 20 * low) if logarithmic is None else logarithmic

    def place(x):
        x = np.clip(np.asarray(x, float), low, high)
        linear = (x - low) / (high - low)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(on_log_scale, np.log(x / low) / np.log(high / low), linear)

    soft = matplotlib.rcParams["axes.labelcolor"]
    ax.hlines(rows, 0, 1, color=matplotlib.rcParams["axes.edgecolor"], lw=0.8, zorder=1)
    shift = np.linspace(0.14, -0.14, len(fits)) if len(fits) > 1 else [0.0]
    for (label, values, color, marker), dy in zip(fits, shift, strict=True):
        values = _numbers(f"the values of {label}", values, len(names), 3)
        ax.hlines(rows + dy, place(values[:, 1]), place(values[:, 2]), color=color, lw=2.4, alpha=0.45, zorder=2)
        ax.plot(place(values[:, 0]), rows + dy, marker, color=color, ms=5.5, zorder=3, label=label, ls="none")
    for row, a, b in zip(rows, low, high, strict=True):
        for x, value, side in ((-0.015, a, "right"), (1.015, b, "left")):
            text = f"{value:,.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:.3g}"
            ax.text(x, row, text, ha=side, va="center", fontsize=7.5, color=soft)
    ax.set_yticks(rows, names)
    ax.tick_params(axis="y", length=0, pad=30)
    ax.set_xticks([])
    ax.set_xlim(-0.01, 1.01)
    ax.set_ylim(-0.7, len(names) - 0.3)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)


def heat_map(ax: Axes, x: np.ndarray, y: np.ndarray, z: np.ndarray, *, label: str, colours: Theme = LIGHT):
    """A map of z over a grid, with a labelled colour bar (logarithmic, if z is positive over more than a decade).

    **Arguments**

    - `x`, `y`: the axes of the grid, shapes (nx,) and (ny,), evenly spaced.
    - `z`: shape (nx, ny).
    - `label`: what z is, with its unit.
    """
    _check(ax, colours)
    x, y = _numbers("x", x, "nx"), _numbers("y", y, "ny")
    z = _numbers("z", z, len(x), len(y))
    if not z.size:
        raise ValueError(f"z has nothing to draw: its shape is {z.shape}")
    dx, dy = (0.5 * (a[-1] - a[0]) / max(len(a) - 1, 1) or 0.5 for a in (x, y))
    extent = (x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy)
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    norm = LogNorm(low, high) if 0 < 10 * low < high else None
    image = ax.imshow(z.T, origin="lower", extent=extent, aspect="auto", cmap=colours.colormap, norm=norm)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label(label)
    if norm is not None:
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    return image
