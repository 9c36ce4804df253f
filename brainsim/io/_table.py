"""Columns with names that carry their unit (a CSV table, the arrays of an npz file) to a `Recording`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ._blocks import not_finite
from ._clock import Clock, resolution, uniform
from ._columns import Columns, Stored, listed
from ._csv import read_csv
from ._limits import regular
from ._npz import read_npz
from ._recording import Recording, RecordingError, settle
from ._units import EXAMPLE, UNITS_OF, Column, convert, parse_header

_SCALARS = ("dt", "t0", "duration")
TABLES = {".csv": read_csv, ".tsv": read_csv, ".txt": read_csv, ".npz": read_npz}


def to_recording(
    path: Path,
    columns: Columns,
    *,
    spikes: Path | None,
    stimulus: str | None,
    voltage: str | None,
    dt: float | None,
    duration: float | None,
) -> Recording:
    """Finds which column is what, converts units, checks the time base."""
    names, notes = columns.names, columns.notes
    chosen = {
        "time": _choose(path, names, "time", None),
        "voltage": _choose(path, names, "voltage", voltage),
        "stimulus": _choose(path, names, "stimulus", stimulus, other=voltage),
        "spikes": _choose(path, names, "spikes", None) if spikes is None else None,
        **{role: _choose(path, names, role, None) for role in _SCALARS},
    }
    if not any(chosen[role] for role in ("voltage", "stimulus", "spikes")) and spikes is None:
        raise RecordingError(
            f"{path}: no stimulus, voltage or spike times among the columns {listed(names)}; expected names such as "
            "time_ms, current_pA, voltage_mV, spike_time_ms"
        )
    headers = [column.header for column in chosen.values() if column is not None]
    if twice := [header for header in headers if headers.count(header) > 1]:
        roles = " and ".join(role for role, column in chosen.items() if column and column.header == twice[0])
        raise RecordingError(f"{path}: column '{twice[0]}' cannot be {roles} at once; there are {listed(names)}")
    stored = columns.read(headers)
    values, units, rounded = {}, {}, 0.0
    for role, column in chosen.items():
        if column is not None:
            here = stored[column.header]
            if role == "time" and here.kind.kind in "fiub":
                grain = np.array([resolution(here.values, here.kind)])
                convert(grain, column.unit, UNITS_OF[role], f"{path}: column '{column.header}'", EXAMPLE[role])
                rounded = float(grain[0])
            values[role], units[role] = _convert(path, here, column)
            settle(values[role])
    if spikes is not None:
        values["spikes"] = read_spikes(spikes)
    given = {role: _scalar(path, values.get(role), notes, chosen[role], role) for role in _SCALARS}
    clock = _clock(path, values, rounded, dt if dt is not None else given["dt"], given["t0"])
    if clock is None:
        raise RecordingError(f"{path}: no time base: the columns are {listed(names)}; add time_ms, or give dt")
    name = chosen["stimulus"].name if chosen["stimulus"] else "current"
    try:
        return Recording(
            dt=clock.dt,
            t0=clock.t0,
            duration=duration if duration is not None else given["duration"],  # pyright: ignore
            stimulus=values.get("stimulus"),
            stimulus_unit=units.get("stimulus", "pA"),
            stimulus_name=notes.get("stimulus_name", name),
            voltage=values.get("voltage"),
            spike_times=values.get("spikes"),
            source=notes.get("source", str(path)),
        )
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


def read_spikes(path: Path) -> np.ndarray:
    """A file of spike times alone: one column ``spike_time_ms`` (or another unit), ms."""
    regular(path, " (spike times)")
    columns = TABLES.get(path.suffix.lower(), read_csv)(path)
    column = _choose(path, columns.names, "spikes", None) or _choose(path, columns.names, "time", None)
    if column is None:
        raise RecordingError(f"{path}: no column of spike times among {listed(columns.names)}; expected spike_time_ms")
    return _convert(path, columns.read([column.header])[column.header], column)[0]


def _choose(path: Path, names: Sequence[str], role: str, asked: str | None, other: str | None = None) -> Column | None:
    if asked is not None:
        if asked not in names:
            raise RecordingError(f"{path}: no column '{asked}'; there are {listed(names)}")
        return parse_header(asked, role)
    found = [c for name in names if name != other and (c := parse_header(name)) is not None and c.role == role]
    if len(found) > 1:
        option = f"; choose one with {role}=" if role in ("stimulus", "voltage") else "; keep one"
        raise RecordingError(f"{path}: {len(found)} {role} columns: {listed([c.header for c in found])}{option}")
    return found[0] if found else None


def _convert(path: Path, stored: Stored, column: Column) -> tuple[np.ndarray, str]:
    """The numbers of a column in brainsim's unit, which they take the place of, and that unit."""
    what, values = f"{path}: column '{column.header}'", stored.values
    if stored.kind.kind not in "fiub":
        raise RecordingError(f"{what} holds text, not numbers")
    unit = convert(values, column.unit, UNITS_OF[column.role], what, EXAMPLE[column.role])
    if column.role == "stimulus" and column.name.lower() in ("current", "injected_current", "i"):
        if unit not in ("pA", "uA/cm2"):
            raise RecordingError(f"{what}: '{column.unit}' is not a unit of current; known are A, uA, nA, pA, uA/cm2")
    bad, first = not_finite(values)
    if bad:
        raise RecordingError(f"{what}: {bad} of {values.size} values are NaN or infinite, first at row {first + 1}")
    return values, unit


def _scalar(
    path: Path, values: np.ndarray | None, notes: dict[str, str], column: Column | None, role: str
) -> float | None:
    if column is not None and values is not None:
        if values.size != 1:
            raise RecordingError(f"{path}: '{column.header}' must be one number; got {values.size}")
        return float(values[0])
    key = EXAMPLE[role]
    try:
        return float(notes[key]) if key in notes else None
    except ValueError:
        raise RecordingError(f"{path}: '{key}' must be a number; got '{notes[key]}'") from None


def _clock(
    path: Path, values: dict[str, np.ndarray], rounded: float, dt: float | None, t0: float | None
) -> Clock | None:
    """The clock of the column of times, or else what was given; None if there is none."""
    sampled = {role: len(values[role]) for role in ("stimulus", "voltage") if role in values}
    times = values.get("time")
    if times is not None and times.size:
        clock = uniform(times, rounded, f"{path}: the time column", dt)
        if sampled and times.size not in sampled.values():
            said = " and ".join(f"{n} samples of the {role}" for role, n in sampled.items())
            raise RecordingError(f"{path}: {times.size} times, but {said}")
        return clock
    if dt is None and sampled:
        return None
    # spike times alone have no sampling interval; this one only counts steps
    return Clock(0.1 if dt is None else dt, 0.0 if t0 is None else t0)
