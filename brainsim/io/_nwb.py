"""Intracellular sweeps and sorted units of Neurodata Without Borders files (pynwb, an optional dependency)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._recording import Recording, RecordingError
from ._units import CURRENT, STIMULUS, VOLTAGE, convert


class Trace(NamedTuple):
    """A part of one time series of the file: `count` samples from `start`, or all of it."""

    series: Any
    start: int = 0
    count: int = -1


class Sweep(NamedTuple):
    """What was measured, and what was injected meanwhile."""

    number: int | None
    response: Trace
    stimulus: Trace | None


def read_nwb(
    path: Path, *, sweep: int | str | None, unit: int | None, stimulus: str | None, duration: float | None
) -> Recording:
    """One sweep (or one stimulus series) and one unit of an NWB file."""
    try:
        from pynwb import NWBHDF5IO
    except ImportError:
        raise RecordingError(f"{path}: reading NWB files needs pynwb: pip install 'brainsim[io]'") from None
    try:
        file = NWBHDF5IO(path=str(path), mode="r")
        nwb = file.read()
    except Exception as error:  # h5py, hdmf and pynwb each raise their own
        said = " ".join(str(error).split())
        raise RecordingError(f"{path}: not a readable NWB file ({said[:160]})") from None
    with file:
        return _recording(path, nwb, sweep, unit, stimulus, duration)


def _recording(path: Path, nwb, sweep, unit, stimulus, duration) -> Recording:
    sweeps = _sweeps(nwb)
    spikes, observed = _unit(path, nwb, unit, needed=not sweeps and stimulus is None and not nwb.stimulus)
    parts, source = {}, str(path)
    if sweeps:
        if stimulus is not None:
            raise RecordingError(f"{path}: 'stimulus' does not apply: the file's sweeps name their own stimulus")
        one = _choose_sweep(path, sweeps, sweep)
        source += f", {one.response.series.name}"
        voltage, base = _trace(path, one.response, VOLTAGE)
        parts["voltage"] = voltage[0]
        if one.stimulus is not None:
            (values, name_of_unit), other = _trace(path, one.stimulus, CURRENT)
            _same_base(path, one, base, other)
            parts |= dict(stimulus=values, stimulus_unit=name_of_unit, stimulus_name="injected current")
        if spikes is not None and len(sweeps) > 1:  # the units table covers the session, a sweep is a part of it
            t0, dt = base
            spikes = spikes[(spikes >= t0) & (spikes <= t0 + dt * len(parts["voltage"]))]
    else:
        if sweep is not None:
            raise RecordingError(f"{path}: sweep {sweep!r} was asked for, but the file has no CurrentClampSeries")
        series = _choose_stimulus(path, nwb, stimulus)
        if series is None and spikes is None:
            raise RecordingError(
                f"{path}: no CurrentClampSeries, no stimulus and no units with spike times in the file"
            )
        base = (0.0, 0.1)  # spike times alone have no sampling interval; this one only counts steps
        if series is not None:
            (values, name_of_unit), base = _trace(path, Trace(series), STIMULUS)
            parts = dict(stimulus=values, stimulus_unit=name_of_unit, stimulus_name=series.name)
        elif duration is None:
            duration = observed
    try:
        return Recording(dt=base[1], t0=base[0], spike_times=spikes, source=source, duration=duration, **parts)  # pyright: ignore
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


def _sweeps(nwb) -> list[Sweep]:
    from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries

    if nwb.intracellular_recordings is not None:
        table, found = nwb.intracellular_recordings, []
        for k in range(len(table)):
            response = Trace(*_reference(table["responses"]["response"][k]))
            given = Trace(*_reference(table["stimuli"]["stimulus"][k]))
            if isinstance(response.series, CurrentClampSeries):
                has = given.count != 0 and isinstance(given.series, CurrentClampStimulusSeries)
                found.append(Sweep(_number(response.series, int(table.id[k])), response, given if has else None))
        return found
    responses = [s for s in nwb.acquisition.values() if isinstance(s, CurrentClampSeries)]
    given = [s for s in nwb.stimulus.values() if isinstance(s, CurrentClampStimulusSeries)]
    return [Sweep(_number(r, k), Trace(r), _partner(r, given, len(responses))) for k, r in enumerate(responses)]


def _reference(reference):
    start, count, series = int(reference[0]), int(reference[1]), reference[2]
    return (series, start, count) if start >= 0 else (series, 0, 0)  # (-1, -1): there is none


def _number(series, otherwise: int) -> int:
    return otherwise if series.sweep_number is None else int(series.sweep_number)


def _partner(response, given: list, responses: int) -> Trace | None:
    """The stimulus of a sweep in files without the table of recordings: by sweep number, by time, or the only one."""
    cell = [s for s in given if s.electrode is response.electrode] or given
    same = [s for s in cell if s.sweep_number is not None and s.sweep_number == response.sweep_number]
    same = same or [s for s in cell if s.starting_time is not None and s.starting_time == response.starting_time]
    if not same and responses == 1 and len(given) == 1:
        same = given
    return Trace(same[0]) if same else None


def _choose_sweep(path: Path, sweeps: list[Sweep], asked: int | str | None) -> Sweep:
    names = ", ".join(f"{s.number} ({s.response.series.name})" for s in sweeps[:12])
    names += f", ... {len(sweeps) - 12} more" if len(sweeps) > 12 else ""
    if asked is None:
        if len(sweeps) > 1:
            raise RecordingError(f"{path}: {len(sweeps)} sweeps; choose one with sweep=: {names}")
        return sweeps[0]
    found = [s for s in sweeps if asked in (s.number, s.response.series.name) or asked == str(s.number)]
    if len(found) != 1:
        word = "no sweep" if not found else f"{len(found)} sweeps"
        raise RecordingError(f"{path}: {word} {asked!r}; there are {names}")
    return found[0]


def _choose_stimulus(path: Path, nwb, asked: str | None):
    names = ", ".join(f"'{name}'" for name in nwb.stimulus) or "none"
    if asked is not None:
        if asked not in nwb.stimulus:
            raise RecordingError(f"{path}: no stimulus '{asked}'; there are {names}")
        return nwb.stimulus[asked]
    if len(nwb.stimulus) > 1:
        raise RecordingError(f"{path}: {len(nwb.stimulus)} stimuli; choose one with stimulus=: {names}")
    return next(iter(nwb.stimulus.values()), None)


def _trace(path: Path, trace: Trace, units: dict):
    """(values, unit) in brainsim's units and (t0, dt) in ms: data * conversion + offset, as the format has it."""
    series = trace.series
    stop = None if trace.count < 0 else trace.start + trace.count
    raw = np.asarray(series.data[trace.start : stop], float)
    what = f"{path}: '{series.name}'"
    if raw.ndim != 1:
        raise RecordingError(f"{what} has shape {raw.shape}; one channel, shape (n,), is needed")
    conversion, offset = (1.0 if x is None else float(x) for x in (series.conversion, series.offset or 0.0))
    values = convert(raw * conversion + offset, series.unit or "", units, what)
    if series.timestamps is None:
        dt, t0 = 1e3 / float(series.rate), 1e3 * (float(series.starting_time) + trace.start / float(series.rate))
        return values, (t0, dt)
    times = 1e3 * np.asarray(series.timestamps[trace.start : stop], float)
    if times.size < 2:
        raise RecordingError(f"{what} has {times.size} time stamps; at least 2 are needed")
    dt = (times[-1] - times[0]) / (times.size - 1)
    worst = np.max(np.abs(np.diff(times) - dt))
    if dt <= 0 or worst > 0.01 * dt:
        raise RecordingError(
            f"{what}: the time base is not uniform: intervals differ from {dt:g} ms by up to {worst:g} ms"
        )
    tidy = float(f"{dt:.6g}")
    return values, (float(times[0]), tidy if abs(tidy - dt) * times.size < 1e-3 * dt else float(dt))


def _same_base(path: Path, sweep: Sweep, base: tuple[float, float], other: tuple[float, float]) -> None:
    names = f"'{sweep.response.series.name}' and its stimulus"
    if abs(base[1] - other[1]) > 1e-6 * base[1]:
        raise RecordingError(f"{path}: {names} have different sampling intervals: {base[1]:g} and {other[1]:g} ms")
    if abs(base[0] - other[0]) > 0.5 * base[1]:
        raise RecordingError(f"{path}: {names} start at different times: {base[0]:g} and {other[0]:g} ms")


def _unit(path: Path, nwb, asked: int | None, needed: bool) -> tuple[np.ndarray | None, float | None]:
    """Spike times of one unit and the end of its observation, ms."""
    units = nwb.units
    if units is None or "spike_times" not in units.colnames:
        if asked is not None:
            raise RecordingError(f"{path}: unit {asked} was asked for, but the file has no units with spike times")
        return None, None
    ids = [int(i) for i in units.id[:]]
    if asked is None and len(ids) > 1:
        if needed:
            raise RecordingError(f"{path}: {len(ids)} units; choose one with unit=: {', '.join(map(str, ids[:24]))}")
        return None, None
    if asked is not None and asked not in ids:
        raise RecordingError(f"{path}: no unit {asked}; there are {', '.join(map(str, ids[:24]))}")
    row = ids.index(asked) if asked is not None else 0
    spikes = 1e3 * np.asarray(units["spike_times"][row], float)
    if "obs_intervals" not in units.colnames:
        return spikes, None
    return spikes, 1e3 * float(np.max(units["obs_intervals"][row]))
