"""Recordings from files: which reader takes which file."""

import os
from pathlib import Path

import numpy as np

from .._domain import POSITIVE
from .._quantity import shown
from .._typing import as_path, number, whole_number
from ._limits import regular
from ._nwb import read_nwb
from ._recording import Recording, RecordingError
from ._table import TABLES, to_recording

_FORMATS = (".nwb", *TABLES)


def read_recording(
    path: str | os.PathLike,
    *,
    sweep: int | str | None = None,
    unit: int | None = None,
    spikes: str | os.PathLike | None = None,
    stimulus: str | None = None,
    voltage: str | None = None,
    dt: float | None = None,
    duration: float | None = None,
) -> Recording:
    """Reads a recording from an NWB, CSV (also .tsv, .txt) or npz file, in brainsim's units.

    A table names its columns with their units: ``time_ms,current_pA,voltage_mV`` (also ``time (s)``, ``current [nA]``),
    and ``spike_time_ms`` for spike times, a column that may be shorter than the others. An npz file names its arrays
    in the same way, and may hold ``dt_ms`` instead of times. From an NWB file come one sweep (CurrentClampSeries with
    its CurrentClampStimulusSeries, with their conversion factors and offsets) and one unit of its units table.
    Times in s, ms or us, voltages in V, mV or uV and currents in A, uA, nA or pA are converted.

    Which stimulus belongs to a sweep of an NWB file says its table of intracellular recordings, else the sweep number,
    else electrode and overlap in time. A sweep without a stimulus has none; where several may be its own, that is an
    error. Nothing is read from other files that a file names, and no code is run.

    **Arguments**

    - `path`: the file.
    - `sweep`: NWB: number or name of the sweep, needed if there are several.
    - `unit`: NWB: id of the unit in the units table, needed if there are several.
    - `spikes`: tables: another file with the spike times (a column ``spike_time_ms``).
    - `stimulus`: which column of a table, or which stimulus of an NWB file, if the file does not say it.
    - `voltage`: tables: which column, if the names do not say it.
    - `dt`: ms, for a table without times.
    - `duration`: ms, for a file with spike times alone.

    **Returns** a `Recording`.

    **Raises** `RecordingError` (a ValueError), one line, whatever the file holds: no such file, unreadable, unknown or
    missing unit, NaN, time base not uniform, several sweeps, data in other files, numbers that take more than 256 MiB
    and four times the size of the file, and what `Recording` refuses.

    ```python
    >>> import tempfile, pathlib
    >>> import brainsim as bs
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "cell.csv"
    >>> _ = file.write_text("time_s,current_nA,voltage_V\\n0.0,0.1,-0.065\\n0.0001,0.1,-0.064\\n")
    >>> r = bs.io.read_recording(file)
    >>> r.dt, r.stimulus.tolist(), r.voltage.tolist()
    (0.1, [100.0, 100.0], [-65.0, -64.0])

    ```

    Rübel et al. (2022), eLife 11:e78362, describe the NWB format.
    """
    try:
        path = as_path(path, "the path of a recording")
        spikes = None if spikes is None else as_path(spikes, "spikes")
        unit = None if unit is None else whole_number(unit, "unit", least=0)
        sweep = sweep if isinstance(sweep, str | None) else whole_number(sweep, "sweep")
        dt, duration = (
            None if x is None else number(x, name, unit="ms", domain=POSITIVE)
            for name, x in (("dt", dt), ("duration", duration))
        )
        for name, x in (("stimulus", stimulus), ("voltage", voltage)):
            if not isinstance(x, str | None):
                raise ValueError(f"{name} must be a name, got {shown(x)}")
    except ValueError as e:
        raise RecordingError(str(e)) from None
    regular(path)
    given = dict(sweep=sweep, unit=unit, spikes=spikes, stimulus=stimulus, voltage=voltage, dt=dt, duration=duration)
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise RecordingError(f"{path}: cannot read '{path.suffix}' files; available are {', '.join(_FORMATS)}")
    _refuse(path, given, ("spikes", "voltage", "dt") if suffix == ".nwb" else ("sweep", "unit"))
    with np.errstate(all="ignore"):  # numbers beyond all bounds become infinite, and that is refused
        if suffix == ".nwb":
            return read_nwb(path, sweep=sweep, unit=unit, stimulus=stimulus, duration=duration)
        columns, other = TABLES[suffix](path), spikes
        return to_recording(path, columns, spikes=other, stimulus=stimulus, voltage=voltage, dt=dt, duration=duration)


def _refuse(path: Path, given: dict, names: tuple[str, ...]) -> None:
    for name in names:
        if given[name] is not None:
            raise RecordingError(f"{path}: '{name}' does not apply to {path.suffix} files")
