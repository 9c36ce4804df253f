"""Intracellular sweeps and sorted units of Neurodata Without Borders files (pynwb, an optional dependency)."""

from pathlib import Path
from typing import Any

import numpy as np

from .._text import printable
from ._clock import Clock, resolution, uniform
from ._recording import Recording, RecordingError, settle
from ._sweeps import Sweep, Trace, choose_stimulus, choose_sweep, sweeps
from ._units import CURRENT, STIMULUS, VOLTAGE, convert


def read_nwb(
    path: Path, *, sweep: int | str | None, unit: int | None, stimulus: str | None, duration: float | None
) -> Recording:
    """One sweep (or one stimulus series) and one unit of an NWB file."""
    try:
        import h5py
        from pynwb import NWBHDF5IO

        from ._hdf5 import inspect
        from ._libhdf5 import leave_no_loop
    except ImportError:
        raise RecordingError(f"{path}: reading NWB files needs pynwb: pip install 'brainsim[io]'") from None
    try:
        leave_no_loop(path)
        with h5py.File(path, "r") as file:
            inspect(path, file)  # pynwb follows links and believes what is declared
            with NWBHDF5IO(file=file, mode="r") as opened:
                return _recording(path, opened.read(), sweep, unit, stimulus, duration)
    except RecordingError:
        raise
    except Exception as error:  # h5py, hdmf and pynwb each raise their own, at any access
        said = " ".join(str(error).split()) or type(error).__name__
        raise RecordingError(f"{path}: not a readable NWB file ({printable(said, 160)})") from None


def _recording(path: Path, nwb, sweep, unit, stimulus, duration) -> Recording:
    found = sweeps(nwb)
    spikes, observed = _unit(path, nwb, unit, needed=not found and stimulus is None and not nwb.stimulus)
    parts, source = {}, str(path)
    if found:
        one = choose_sweep(path, found, sweep)
        given = choose_stimulus(path, one, stimulus)
        source += f", {one.response.series.name}" + (", without a stimulus" if given is None else "")
        source += _bias(one.response.series)
        voltage, clock = _trace(path, one.response, VOLTAGE)
        parts["voltage"] = voltage[0]
        if given is not None:
            (values, name_of_unit), other = _trace(path, given, CURRENT)
            _same_clock(path, one, clock, other)
            parts |= dict(stimulus=values, stimulus_unit=name_of_unit, stimulus_name="injected current")
        if spikes is not None and len(found) > 1:  # the units table covers the session, a sweep is a part of it
            spikes = spikes[(spikes >= clock.t0) & (spikes <= clock.t0 + clock.dt * len(parts["voltage"]))]
    else:
        if sweep is not None:
            raise RecordingError(f"{path}: sweep {sweep!r} was asked for, but the file has no CurrentClampSeries")
        series = _choose_stimulus(path, nwb, stimulus)
        if series is None and spikes is None:
            raise RecordingError(
                f"{path}: no CurrentClampSeries, no stimulus and no units with spike times in the file"
            )
        clock = Clock(0.1, 0.0)  # spike times alone have no sampling interval; this one only counts steps
        if series is not None:
            (values, name_of_unit), clock = _trace(path, Trace(series), STIMULUS)
            parts = dict(stimulus=values, stimulus_unit=name_of_unit, stimulus_name=series.name)
        elif duration is None:
            duration = observed
    try:
        return Recording(dt=clock.dt, t0=clock.t0, spike_times=spikes, source=source, duration=duration, **parts)  # pyright: ignore
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


def _bias(series: Any) -> str:
    """A steady current that is no part of the stimulus."""
    bias = float(series.bias_current or 0.0)
    return f", beside a bias current of {1e12 * bias:g} pA" if bias and np.isfinite(bias) else ""


def _choose_stimulus(path: Path, nwb, asked: str | None):
    names = ", ".join(f"'{name}'" for name in nwb.stimulus) or "none"
    if asked is not None:
        if asked not in nwb.stimulus:
            raise RecordingError(f"{path}: no stimulus '{asked}'; there are {names}")
        return nwb.stimulus[asked]
    if len(nwb.stimulus) > 1:
        raise RecordingError(f"{path}: {len(nwb.stimulus)} stimuli; choose one with stimulus=: {names}")
    return next(iter(nwb.stimulus.values()), None)


def _trace(path: Path, trace: Trace, units: dict) -> tuple[tuple[np.ndarray, str], Clock]:
    """(values, unit) in brainsim's units and their clock: data * conversion + offset, as the format has it."""
    from ._hdf5 import numbers

    series, start = trace.series, trace.start
    stop = None if trace.count < 0 else start + trace.count
    what = f"{path}: '{series.name}'"
    values = numbers(path, series.data, start, stop)
    if stop is not None and values.size != trace.count:
        raise RecordingError(f"{what} has {len(series.data)} samples; the table of recordings says {start} to {stop}")
    scale, offset = 1.0 if series.conversion is None else float(series.conversion), float(series.offset or 0.0)
    if not np.isfinite([scale, offset]).all():
        raise RecordingError(f"{what} has a conversion of {scale:g} and an offset of {offset:g}")
    values *= scale
    values += offset
    converted = values, convert(values, series.unit or "", units, what)
    settle(values)
    if series.timestamps is None:
        rate = float(series.rate)
        if not 0 < rate < np.inf:
            raise RecordingError(f"{what} has a rate of {rate:g} Hz")
        return converted, Clock(1e3 / rate, 1e3 * (float(series.starting_time) + start / rate))
    if len(series.timestamps) != len(series.data):
        raise RecordingError(f"{what} has {len(series.timestamps)} times, but {len(series.data)} samples")
    times = numbers(path, series.timestamps, start, stop)
    rounded = 1e3 * resolution(times, series.timestamps.dtype)
    times *= 1e3
    return converted, uniform(times, rounded, f"{what}, its times")


def _same_clock(path: Path, sweep: Sweep, clock: Clock, other: Clock) -> None:
    names = f"'{sweep.response.series.name}' and its stimulus"
    if abs(clock.dt - other.dt) > 1e-6 * clock.dt:
        raise RecordingError(f"{path}: {names} have different sampling intervals: {clock.dt:g} and {other.dt:g} ms")
    if abs(clock.t0 - other.t0) > 0.5 * clock.dt:
        raise RecordingError(f"{path}: {names} start at different times: {clock.t0:g} and {other.t0:g} ms")


def _unit(path: Path, nwb, asked: int | None, needed: bool) -> tuple[np.ndarray | None, float | None]:
    """Spike times of one unit and the end of its observation, ms."""
    from ._hdf5 import numbers

    units = nwb.units
    if units is None or "spike_times" not in units.colnames:
        if asked is not None:
            raise RecordingError(f"{path}: unit {asked} was asked for, but the file has no units with spike times")
        return None, None
    ids = numbers(path, units.id.data).astype(int).tolist()
    if asked is None and len(ids) > 1:
        if needed:
            raise RecordingError(f"{path}: {len(ids)} units; choose one with unit=: {', '.join(map(str, ids[:24]))}")
        return None, None
    if asked is not None and asked not in ids:
        raise RecordingError(f"{path}: no unit {asked}; there are {', '.join(map(str, ids[:24]))}")
    row = ids.index(asked) if asked is not None else 0
    spikes = 1e3 * _ragged(path, units["spike_times"], row)
    if "obs_intervals" not in units.colnames:
        return spikes, None
    return spikes, 1e3 * float(np.max(_ragged(path, units["obs_intervals"], row)))


def _ragged(path: Path, column: Any, row: int) -> np.ndarray:
    """One row of a column of rows of any length, whose ends are in an index."""
    from ._hdf5 import numbers, stored

    ends = numbers(path, column.data, max(row - 1, 0), row + 1)
    start, stop = (0 if row == 0 else int(ends[0])), int(ends[-1])
    stored(path, column.target.data, start, stop)
    return np.asarray(column.target.data[start:stop], float)
