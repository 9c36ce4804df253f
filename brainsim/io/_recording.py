"""One recording of one cell: a time base, and what was put in and measured on it."""

import dataclasses
from typing import Any, Self, final

import numpy as np

from .._quantity import numbers, shown
from .._text import printable
from .._typing import number
from ._blocks import not_finite


class RecordingError(ValueError):
    """A recording that cannot be used: the message is one line that says what was given and what is possible.

    Names out of files are in it as they can be shown: control characters are written as escapes.
    """

    def __init__(self, message: str):
        ValueError.__init__(self, printable(message, 2000))


_FINEST = 1e-9  # ms


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Recording:
    """One recording: a uniform time base with a stimulus, a voltage and spike times on it.

    Sample ``k`` of the stimulus acts from ``t0 + k dt`` to ``t0 + (k + 1) dt``; sample ``k`` of the voltage is the
    value at ``t0 + k dt``; a spike time lies in ``[t0, t0 + duration]``. All arrays are read-only float64;
    quantities are converted to the units below.

    **Arguments** (keywords only)

    - `dt`: sampling interval, ms.
    - `stimulus`: what drove the cell, shape (n,), in `stimulus_unit`, or None.
    - `voltage`: membrane potential, shape (n,), mV, or None.
    - `spike_times`: strictly increasing, ms, on the clock of `t0`, or None.
    - `t0`: time of the first sample, ms. Default 0.
    - `duration`: ms. Needed if there are only spike times; otherwise it is n dt, and is checked against it.
    - `stimulus_unit`: default "pA".
    - `stimulus_name`: what the stimulus is. Default "current".
    - `source`: where this comes from, for people.

    **Raises** `RecordingError` (a ValueError) with one line: nothing recorded, NaN, different lengths, a stimulus that
    is shorter than the recording, spike times that are unsorted or outside.

    ```python
    >>> import numpy as np
    >>> import brainsim as bs
    >>> r = bs.io.Recording(dt=0.1, stimulus=np.ones(1000), spike_times=[12.5, 60.0])
    >>> r.duration, r.rate
    (100.0, 20.0)
    >>> train, test = r.split(80.0)
    >>> train.spike_times.tolist(), test.t0
    ([12.5, 60.0], 80.0)

    ```
    """

    dt: float
    stimulus: np.ndarray | None = None
    voltage: np.ndarray | None = None
    spike_times: np.ndarray | None = None
    t0: float = 0.0
    duration: float = None  # pyright: ignore[reportAssignmentType]  (None only on the way in)
    stimulus_unit: str = "pA"
    stimulus_name: str = "current"
    source: str = ""

    def __post_init__(self):
        for name in ("stimulus_unit", "stimulus_name", "source"):
            if not isinstance(getattr(self, name), str):
                raise RecordingError(f"{name} must be text, got {shown(getattr(self, name))}")
        dt = _number("dt", self.dt)
        if not dt > 0:
            raise RecordingError(f"dt must be positive; got {dt:g} ms")
        freeze: dict[str, Any] = {"dt": dt, "t0": _number("t0", self.t0)}
        units = {"stimulus": self.stimulus_unit, "voltage": "mV", "spike_times": "ms"}
        for name in units:
            freeze[name] = _samples(name, getattr(self, name), units[name])
        sampled = {k: freeze[k] for k in ("stimulus", "voltage") if freeze[k] is not None}
        if not sampled and freeze["spike_times"] is None:
            raise RecordingError("nothing was recorded: give at least one of stimulus, voltage, spike_times")
        freeze["duration"] = _duration(dt, sampled, self.duration)
        _check_clock(dt, freeze["t0"], freeze["duration"])
        if freeze["spike_times"] is not None:
            _check_spikes(freeze["spike_times"], freeze["t0"], freeze["duration"])
        for name, value in freeze.items():
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """Number of samples (of time steps, if only spike times were recorded)."""
        return round(self.duration / self.dt)

    @property
    def end(self) -> float:
        """Time of the end, ms."""
        return self.t0 + self.duration

    @property
    def times(self) -> np.ndarray:
        """Times of the samples, shape (n,), ms."""
        return self.t0 + self.dt * np.arange(self.n)

    @property
    def rate(self) -> float | None:
        """Mean firing rate, Hz; None without spike times."""
        return None if self.spike_times is None else len(self.spike_times) / self.duration * 1e3

    def counts(self, dt: float) -> np.ndarray:
        """Spikes in bins of `dt` ms; bin ``k`` is ``(t0 + k dt, t0 + (k + 1) dt]``, the convention of a time step."""
        if self.spike_times is None:
            raise RecordingError("this recording has no spike times to count")
        dt = _number("dt", dt)
        if not 0 < dt <= self.duration:
            raise RecordingError(f"cannot count spikes of {self.duration:g} ms at dt {dt:g} ms: 0 < dt <= duration")
        n = _whole(self.duration, dt)
        bins = np.ceil((self.spike_times - self.t0) / dt - 1e-6).astype(int) - 1
        bins = np.maximum(bins, 0)
        return np.bincount(bins[bins < n], minlength=n)

    def slice(self, start: float, stop: float) -> Self:
        """The part from `start` to `stop`, ms on the recording's own clock, moved to the nearest samples."""
        start, stop = _number("start", start), _number("stop", stop)
        i, j = (round((t - self.t0) / self.dt) for t in (start, stop))
        if not 0 <= i < j <= self.n:
            raise RecordingError(
                f"slice {start:g} to {stop:g} ms is not a part of the recording, {self.t0:g} to {self.end:g} ms"
            )
        t0, t1 = self.t0 + i * self.dt, self.t0 + j * self.dt
        spikes = self.spike_times
        if spikes is not None:  # (t0, t1], so that the slices of a partition share no spike and lose none
            first = np.searchsorted(spikes, t0, side="left" if i == 0 else "right")
            spikes = spikes[first : np.searchsorted(spikes, t1, side="right")]
        cut = {k: v[i:j] for k in ("stimulus", "voltage") if (v := getattr(self, k)) is not None}
        return dataclasses.replace(self, t0=t0, duration=(j - i) * self.dt, spike_times=spikes, **cut)

    def split(self, t: float) -> tuple[Self, Self]:
        """Before and after time `t` (ms, on the recording's own clock): the part to fit and the part to hold out."""
        t = _number("t", t)
        if not self.t0 + self.dt <= t <= self.end - self.dt:
            raise RecordingError(f"split at {t:g} ms is outside the recording, {self.t0:g} to {self.end:g} ms")
        return self.slice(self.t0, t), self.slice(t, self.end)

    def resample(self, dt: float) -> Self:
        """The same recording at another sampling interval `dt`, ms.

        The stimulus is averaged over each new step (its integral is kept), the voltage is interpolated linearly at
        the new sample times, spike times stay what they are. An incomplete last step is dropped.
        """
        dt = _number("dt", dt)
        if not 0 < dt <= self.duration:
            raise RecordingError(f"cannot resample {self.duration:g} ms at dt {dt:g} ms: 0 < dt <= duration")
        n = _whole(self.duration, dt)
        edges = np.minimum(dt * np.arange(n + 1), self.duration)
        old = self.dt * np.arange(self.n + 1)
        new: dict[str, Any] = {"dt": dt, "duration": n * dt}
        if self.stimulus is not None:
            integral = np.concatenate([[0.0], np.cumsum(self.stimulus) * self.dt])
            new["stimulus"] = np.diff(np.interp(edges, old, integral)) / dt
        if self.voltage is not None:
            new["voltage"] = np.interp(edges[:-1], old[:-1], self.voltage)
        if self.spike_times is not None:
            new["spike_times"] = self.spike_times[self.spike_times <= self.t0 + n * dt + 1e-9]
        return dataclasses.replace(self, **new)

    def __repr__(self) -> str:
        parts = [f"{self.duration:g} ms at dt {self.dt:g} ms"]
        parts += (
            [f"stimulus '{printable(self.stimulus_name, 60)}' in {self.stimulus_unit}"]
            if self.stimulus is not None
            else []
        )
        parts += ["voltage in mV"] if self.voltage is not None else []
        parts += [f"{len(self.spike_times)} spikes"] if self.spike_times is not None else []
        return f"Recording({', '.join(parts)}{f'; {printable(self.source, 200)}' if self.source else ''})"


def _number(name: str, value) -> float:
    try:
        return number(value, name, unit="ms")
    except ValueError as e:
        raise RecordingError(str(e)) from None


def _samples(name: str, values, unit: str) -> np.ndarray | None:
    if values is None:
        return None
    try:
        values = values if _settled(values) else np.array(numbers(values, unit), dtype=np.float64)
    except (TypeError, ValueError) as e:
        raise RecordingError(f"{name} {e}") from None
    if values.ndim != 1:
        raise RecordingError(f"{name} must have shape (n,); got shape {values.shape}")
    if values.size == 0 and name != "spike_times":
        raise RecordingError(f"{name} is empty: give at least one sample, or None")
    bad, first = not_finite(values)
    if bad:
        raise RecordingError(
            f"{name} has {bad} of {values.size} values that are not finite numbers; the first is "
            f"{values[first]} at index {first}"
        )
    values.flags.writeable = False
    return values


def _settled(values) -> bool:
    """Whether these are float64 that nobody can change, such as a reader hands over: they need no copy."""
    return (
        type(values) is np.ndarray and values.dtype == np.float64 and values.base is None and not values.flags.writeable
    )


def settle(values: np.ndarray) -> np.ndarray:
    """Gives an array of one's own away, to a `Recording` that shall not copy it."""
    values.flags.writeable = False
    return values


def _duration(dt: float, sampled: dict[str, np.ndarray], duration: float | None) -> float:
    if duration is not None:
        duration = _number("duration", duration)
        if not duration > 0:
            raise RecordingError(f"duration must be positive; got {duration:g} ms")
    if not sampled:
        if duration is None:
            raise RecordingError("a recording of spike times alone needs its duration, in ms")
        return duration
    lengths = {name: len(values) for name, values in sampled.items()}
    n = round(duration / dt) if duration is not None else lengths.get("voltage", lengths.get("stimulus", 0))
    for name, length in lengths.items():
        if length != n:
            word = "shorter" if length < n else "longer"
            raise RecordingError(
                f"the {name} is {word} than the recording: {length} samples ({length * dt:g} ms) against "
                f"{n} ({n * dt:g} ms) at dt {dt:g} ms"
            )
    return n * dt


def _check_clock(dt: float, t0: float, duration: float) -> None:
    end = max(abs(t0), abs(t0 + duration))
    if not _FINEST <= dt <= 1 / _FINEST:
        raise RecordingError(f"dt must lie between {_FINEST:g} and {1 / _FINEST:g} ms; got {dt:g} ms")
    if not np.spacing(end) <= 0.01 * dt:
        raise RecordingError(f"at {end:g} ms, 64-bit numbers cannot tell steps of {dt:g} ms apart: check t0, duration")


def _check_spikes(times: np.ndarray, t0: float, duration: float) -> None:
    late = np.flatnonzero(np.diff(times) <= 0)
    if late.size:
        k = late[0] + 1
        raise RecordingError(
            f"spike times must be strictly increasing; at index {k}, {times[k]:g} ms follows {times[k - 1]:g} ms"
        )
    slack = 1e-9 * (abs(t0) + duration)
    outside = times[(times < t0 - slack) | (times > t0 + duration + slack)]
    if outside.size:
        raise RecordingError(
            f"{outside.size} of {times.size} spike times lie outside the recording, {t0:g} to {t0 + duration:g} ms; "
            f"the first is {outside[0]:g} ms (wrong unit, or a stimulus shorter than the recording?)"
        )


def _whole(duration, dt: float) -> int:
    return int(np.floor(duration / dt * (1 + 1e-12) + 1e-9))
