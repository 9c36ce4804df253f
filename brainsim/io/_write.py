"""Recordings to files."""

import csv
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._durable import replacing
from .._quantity import shown
from .._typing import as_path, truth
from ._limits import FACTOR, FREE
from ._recording import Recording, RecordingError
from ._units import header_unit

_WRITERS = (".npz", ".csv")


def write_recording(recording: Recording, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Writes a recording to an ``.npz`` or ``.csv`` file that `read_recording` reads back unchanged.

    **Arguments**

    - `recording`: the recording.
    - `path`: ends in ``.npz`` (exact, compact) or ``.csv`` (numbers with all their digits, for other programs).
    - `overwrite`: replace a file that exists. Default False.

    **Returns** the path. The file appears whole or not at all.

    **Raises** `RecordingError`: unknown suffix, the file exists, no such folder; `OSError`, say for a full disk.

    ```python
    >>> import tempfile, pathlib, numpy as np
    >>> import brainsim as bs
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> r = bs.io.Recording(dt=0.1, stimulus=np.zeros(10), voltage=np.full(10, -65.0))
    >>> bs.io.read_recording(bs.io.write_recording(r, folder / "cell.csv")).voltage.tolist() == r.voltage.tolist()
    True

    ```
    """
    if not isinstance(recording, Recording):
        raise RecordingError(f"write_recording takes a Recording, got {shown(recording)}")
    path, overwrite = as_path(path, "the path of a recording"), truth(overwrite, "overwrite")
    if path.suffix not in _WRITERS:
        raise RecordingError(f"{path}: cannot write '{path.suffix}' files; available are {', '.join(_WRITERS)}")
    if path.exists() and not overwrite:
        raise RecordingError(f"{path}: the file exists; nothing was written (overwrite=True replaces it)")
    if not path.parent.is_dir():
        raise RecordingError(f"{path}: there is no folder '{path.parent}'")
    with replacing(path) as partial:
        if path.suffix == ".npz":
            with open(partial, "wb") as file:
                np.savez_compressed(file, **_arrays(recording))
            if 8 * recording.n > max(FREE, FACTOR * partial.stat().st_size):  # no reader should unpack that much
                with open(partial, "wb") as file:
                    np.savez(file, **_arrays(recording))
        else:
            with open(partial, "w", newline="", encoding="utf-8") as file:
                _write_csv(recording, file)
    return path


def _stimulus_key(recording: Recording) -> str:
    # the name goes beside it: "current_pA" is found again whatever the stimulus was called
    name = "current" if recording.stimulus_unit in ("pA", "uA/cm2") else "stimulus"
    return f"{name}_{header_unit(recording.stimulus_unit)}"


def _arrays(recording: Recording) -> dict[str, Any]:
    arrays: dict[str, Any] = {"dt_ms": recording.dt, "t0_ms": recording.t0, "duration_ms": recording.duration}
    if recording.stimulus is not None:
        arrays[_stimulus_key(recording)] = recording.stimulus
    if recording.voltage is not None:
        arrays["voltage_mV"] = recording.voltage
    if recording.spike_times is not None:
        arrays["spike_times_ms"] = recording.spike_times
    return arrays | {"stimulus_name": recording.stimulus_name, "source": recording.source}


def _write_csv(recording: Recording, file: IO[str]) -> None:
    for key in ("dt", "t0", "duration"):
        file.write(f"# {key}_ms: {getattr(recording, key)!r}\n")
    for key in ("stimulus_name", "source"):
        file.write(f"# {key}: {' '.join(getattr(recording, key).split())}\n")
    columns: dict[str, np.ndarray] = {}
    if recording.stimulus is not None or recording.voltage is not None:
        columns["time_ms"] = recording.times
    if recording.stimulus is not None:
        columns[_stimulus_key(recording)] = recording.stimulus
    if recording.voltage is not None:
        columns["voltage_mV"] = recording.voltage
    if recording.spike_times is not None:  # a column of its own length: the cells below it stay empty
        columns["spike_time_ms"] = recording.spike_times
    texts = [[repr(x) for x in values.tolist()] for values in columns.values()]
    rows = max((len(text) for text in texts), default=0)
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    table.writerows([text[k] if k < len(text) else "" for text in texts] for k in range(rows))
