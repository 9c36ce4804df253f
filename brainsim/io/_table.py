"""Columns with names that carry their unit (a CSV table, the arrays of an npz file) to a `Recording`."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np

from ._recording import Recording, RecordingError
from ._units import EXAMPLE, UNITS_OF, Column, convert, parse_header

_SCALARS = ("dt", "t0", "duration")


def read_csv(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The columns of a table and the ``# name: value`` remarks above it. A column may end before the others."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: not a text table (cannot be read as UTF-8)") from None
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if first is None:
        raise RecordingError(f"{path}: no header line; expected one such as 'time_ms,current_pA,voltage_mV'")
    remarks = [line[1:].partition(":") for line in lines[:first]]
    notes = {key.strip(): value.strip() for key, colon, value in remarks if colon}
    header = lines[first]
    delimiter = next((d for d in ",;\t" if d in header), ",")
    names = [name.strip().strip('"') for name in next(csv.reader([header], delimiter=delimiter))]
    if len(set(names)) < len(names):
        raise RecordingError(f"{path}: two columns have the same name in the header '{header.strip()}'")
    rows = list(csv.reader(io.StringIO("\n".join(lines[first + 1 :])), delimiter=delimiter))
    columns = {name: _column(path, name, j, rows, first + 2) for j, name in enumerate(names) if name}
    return columns, notes


def _column(path: Path, name: str, j: int, rows: list[list[str]], line: int) -> np.ndarray:
    cells = [row[j].strip() if j < len(row) else "" for row in rows]
    while cells and not cells[-1]:
        cells.pop()
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        for k, cell in enumerate(cells):
            try:
                float(cell)
            except ValueError:
                said = f"'{cell}' is not a number" if cell else "the cell is empty"
                raise RecordingError(f"{path}: column '{name}', line {line + k}: {said}") from None
        raise


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The numeric arrays of an npz file, and its texts. Pickled objects are refused."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, AttributeError, TypeError):
        raise RecordingError(
            f"{path}: not a readable npz file of plain arrays (corrupt, or it holds objects)"
        ) from None
    notes = {key: str(value) for key, value in arrays.items() if value.dtype.kind in "US"}
    numbers = {key: np.atleast_1d(value) for key, value in arrays.items() if value.dtype.kind in "fiub"}
    return {key: value.astype(np.float64) for key, value in numbers.items()}, notes


def to_recording(
    path: Path,
    columns: dict[str, np.ndarray],
    notes: dict[str, str],
    *,
    spikes: Path | None,
    stimulus: str | None,
    voltage: str | None,
    dt: float | None,
    duration: float | None,
) -> Recording:
    """Finds which column is what, converts units, checks the time base."""
    chosen = {
        "time": _choose(path, columns, "time", None),
        "voltage": _choose(path, columns, "voltage", voltage),
        "stimulus": _choose(path, columns, "stimulus", stimulus, other=voltage),
        "spikes": _choose(path, columns, "spikes", None),
    }
    if not any(chosen[role] for role in ("voltage", "stimulus", "spikes")):
        raise RecordingError(
            f"{path}: no stimulus, voltage or spike times among the columns {_list(columns)}; expected names such as "
            "time_ms, current_pA, voltage_mV, spike_time_ms"
        )
    values, units = {}, {}
    for role, column in chosen.items():
        if column is not None:
            values[role], units[role] = _convert(path, columns, column)
    scalars = {role: _scalar(path, columns, notes, role) for role in _SCALARS}
    base_dt, t0 = _time_base(path, values.get("time"), dt if dt is not None else scalars["dt"], scalars["t0"])
    if spikes is not None:
        values["spikes"] = read_spikes(spikes)
    if base_dt is None and not {"voltage", "stimulus"} & set(values):
        base_dt = 0.1  # spike times alone have no sampling interval; this one only counts steps
    if base_dt is None:
        raise RecordingError(f"{path}: no time base: the columns are {_list(columns)}; add time_ms, or give dt")
    name = chosen["stimulus"].name if chosen["stimulus"] else "current"
    try:
        return Recording(
            dt=base_dt,
            t0=t0,
            duration=duration if duration is not None else scalars["duration"],  # pyright: ignore
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
    if not path.is_file():
        raise RecordingError(f"{path}: no such file (spike times)")
    columns, _ = read_npz(path) if path.suffix == ".npz" else read_csv(path)
    column = _choose(path, columns, "spikes", None) or _choose(path, columns, "time", None)
    if column is None:
        raise RecordingError(f"{path}: no column of spike times among {_list(columns)}; expected spike_time_ms")
    return _convert(path, columns, column)[0]


def _list(names) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _choose(path: Path, columns, role: str, asked: str | None, other: str | None = None) -> Column | None:
    if asked is not None:
        if asked not in columns:
            raise RecordingError(f"{path}: no column '{asked}'; there are {_list(columns)}")
        return parse_header(asked, role)
    found = [c for name in columns if name != other and (c := parse_header(name)) is not None and c.role == role]
    if len(found) > 1:
        option = f"; choose one with {role}=" if role in ("stimulus", "voltage") else "; keep one"
        raise RecordingError(f"{path}: {len(found)} {role} columns: {_list(c.header for c in found)}{option}")
    return found[0] if found else None


def _convert(path: Path, columns, column: Column) -> tuple[np.ndarray, str]:
    what = f"{path}: column '{column.header}'"
    values, unit = convert(columns[column.header], column.unit, UNITS_OF[column.role], what, EXAMPLE[column.role])
    if column.role == "stimulus" and column.name.lower() in ("current", "injected_current", "i"):
        if unit not in ("pA", "uA/cm2"):
            raise RecordingError(f"{what}: '{column.unit}' is not a unit of current; known are A, uA, nA, pA, uA/cm2")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise RecordingError(
            f"{what}: {bad.size} of {values.size} values are NaN or infinite, first at row {bad[0] + 1}"
        )
    return values, unit


def _scalar(path: Path, columns, notes: dict[str, str], role: str) -> float | None:
    column = _choose(path, columns, role, None)
    if column is not None:
        values, _ = _convert(path, columns, column)
        if values.size != 1:
            raise RecordingError(f"{path}: '{column.header}' must be one number; got {values.size}")
        return float(values[0])
    key = EXAMPLE[role]
    try:
        return float(notes[key]) if key in notes else None
    except ValueError:
        raise RecordingError(f"{path}: '{key}' must be a number; got '{notes[key]}'") from None


def _time_base(path: Path, times: np.ndarray | None, dt: float | None, t0: float | None):
    """dt and t0 from the column of times, which must be uniform to 1 % of a step."""
    if times is None or times.size == 0:
        return dt, t0 if t0 is not None else 0.0
    if times.size < 2:
        raise RecordingError(f"{path}: a time column needs at least 2 values; got {times.size}")
    step = (times[-1] - times[0]) / (times.size - 1)
    intervals = np.diff(times)
    worst = int(np.argmax(np.abs(intervals - step)))
    if step <= 0 or np.abs(intervals[worst] - step) > 0.01 * step:
        raise RecordingError(
            f"{path}: the time base is not uniform: the mean interval is {step:g} ms, but after {times[worst]:g} ms it "
            f"is {intervals[worst]:g} ms"
        )
    tidy = float(f"{step:.6g}")  # 0.1, not 0.09999999999999964, where the column says so
    step = tidy if abs(tidy - step) * times.size < 1e-3 * step else float(step)
    if dt is not None and abs(dt - step) > 1e-3 * step:
        raise RecordingError(f"{path}: dt was given as {dt:g} ms, but the time column steps by {step:g} ms")
    return step, float(times[0])
