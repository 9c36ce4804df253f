"""The clock of a recording: a sampling interval and a start, from times that are as exact as they are stored."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._blocks import blocks, not_finite
from ._recording import RecordingError

_DIGITS = 13  # decimals looked for in times
_ENDS = 2000  # times looked at, at either end: neighbours, for every tenth may be rounder than all of them


class Clock(NamedTuple):
    """The sampling interval and the time of the first sample, ms."""

    dt: float
    t0: float


def resolution(times: np.ndarray, kind: np.dtype) -> float:
    """To what the times were rounded when they were stored as `kind`: a power of ten, or the spacing of their floats.

    The coarsest power of ten of which all are multiples, as far as their type can say; so it is for columns of text as
    for arrays that were rounded before.
    """
    if kind.kind in "iub" or not times.size:
        return 1.0
    exact = np.concatenate([times[:_ENDS], times[-_ENDS:]])
    kind = kind if kind.kind == "f" and kind.itemsize <= 8 else np.dtype(float)
    spacing = float(np.spacing(np.max(np.abs(exact), initial=0.0).astype(kind)))
    for digits in range(_DIGITS):
        scaled = exact * 10.0**digits
        if np.max(np.abs(scaled - np.round(scaled))) <= 2 * spacing * 10.0**digits < 0.1:
            return max(10.0**-digits, spacing)
    return spacing


def uniform(times: np.ndarray, rounded: float, what: str, dt: float | None = None) -> Clock:
    """dt and t0 of `times`, which are uniform to 1 % of a step, or to what they are `rounded` to; all in ms.

    **Raises** `RecordingError`: fewer than 2, not uniform, another interval than a given `dt`, too coarse to say.
    """
    if times.size < 2:
        raise RecordingError(f"{what} has {times.size} values; times need at least 2 values")
    if not_finite(times)[0]:
        raise RecordingError(f"{what}: times that are NaN or infinite")
    step = float(times[-1] - times[0]) / (times.size - 1)
    if not 0 < step < np.inf:
        raise RecordingError(f"{what}: the time base is not uniform: it goes from {times[0]:g} to {times[-1]:g} ms")
    rounded *= 1.01
    known = dt is not None and rounded < 0.9 * dt and abs(dt - step) * (times.size - 1) <= rounded
    if dt is not None and not known and abs(dt - step) > 1e-3 * step:
        raise RecordingError(f"{what}: dt was given as {dt:g} ms, but the time column steps by {step:g} ms")
    # Where times are rounded to a step, they cannot tell a sample that is missing from one that was rounded.
    fine = rounded < (0.9 if known else 0.25) * step
    off, worst = _largest(times.size - 1, lambda k: np.diff(times[k.start : k.stop + 1]) - step)
    if off > max(0.01 * step, rounded if fine else 0.0):
        coarse = f" (times are stored to {rounded:.2g} ms only)" if off <= rounded else ""
        raise RecordingError(
            f"{what}: the time base is not uniform: the mean interval is {step:g} ms, but after {times[worst]:g} ms it "
            f"is {times[worst + 1] - times[worst]:g} ms{coarse}"
        )
    drift, _ = _largest(times.size, lambda k: times[k] - step * np.arange(k.start, k.stop) - times[0])
    if drift > max(0.5 * step, rounded):
        raise RecordingError(
            f"{what}: the time base is not uniform: times depart by up to {drift:g} ms from steps of {step:g} ms"
        )
    if dt is not None and known:
        return Clock(dt, float(times[0]))
    tidy = float(f"{step:.6g}")  # 0.1, not 0.09999999999999964, where the column says so
    return Clock(tidy if abs(tidy - step) * times.size < max(1e-3 * step, rounded) else step, float(times[0]))


def _largest(count: int, values: Callable[[slice], np.ndarray]) -> tuple[float, int]:
    """The largest of the absolute values, and its index, of an array of which there is one block at a time."""
    largest, at = -1.0, 0
    for block in blocks(count):
        here = np.abs(values(block))
        k = int(np.argmax(here))
        if here[k] > largest:
            largest, at = float(here[k]), block.start + k
    return largest, at
