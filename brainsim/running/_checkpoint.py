"""What it takes to go on after a crash: the state of a run in a file, and a fingerprint of what ran."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._durable import write
from .._dynamics import AbstractNode
from .._fingerprint import machine, program as digest_of, values
from .._leaves import named, plain
from .._packed import pack
from .._record import Record, Snapshot
from .._resumable import unpacked
from .._simulate import program

_FILE = "checkpoint.brainsim"


class Progress(NamedTuple):
    """How far a run is. What lies beyond is not valid.

    - `steps`, `of`: steps done, and how many there shall be.
    - `rows`: of each table by then.
    - `sums`: of each column, over its complete blocks, see `summand`.
    """

    steps: int
    of: int
    rows: dict[str, int]
    sums: dict[str, int]

    @property
    def valid(self) -> bool:
        counts = [self.steps, self.of, *self.rows.values(), *self.sums.values()]
        return all(type(n) is int and 0 <= n < 2**62 for n in counts) and self.steps <= self.of


def save(folder: Path, progress: Progress, state: Snapshot) -> None:
    """Writes the checkpoint: arrays by path, keys as their data. The file is replaced at once or not at all."""
    arrays = {name: plain(x) for name, x in named(state).items()}
    write([(folder / _FILE, pack(progress._asdict(), arrays))])


def load(folder: Path) -> tuple[Progress, dict[str, np.ndarray]]:
    """The checkpoint in a folder.

    **Raises:** `ValueError` if there is none that can be read.
    """
    about, arrays = unpacked(folder, folder / _FILE, "not a run of brainsim")
    try:
        progress = Progress(**about)
        if progress.valid:
            return progress, arrays
    except (TypeError, AttributeError):
        pass
    raise ValueError(f"{folder}: not a run of brainsim ({_FILE}: it makes no sense)")


# ---- the fingerprint


def fingerprint(
    node: AbstractNode,
    dt: float,
    inputs: dict[str, Any],
    records: dict[str, Record],
    state: Snapshot,
    solver: Any,
    units: Mapping[str, str],
) -> dict[str, Any]:
    """What must be the same for a run to go on with the same bits."""
    text = program(node, dt, inputs, {n: _dense(r) for n, r in records.items()}, state, solver)
    spelled = [f"{name}={_spelled(record)}" for name, record in records.items()]
    return {
        "dt is": f"{float(dt)!r} ms",
        "the records are": ", ".join(spelled) or "nothing",
        "the units are": ", ".join(f"{name}={unit}" for name, unit in sorted(units.items())) or "those of v alone",
        "values": values(**{"": node, "inputs": inputs, "solver": solver, "state": state}),
        "program": digest_of(text),
        "machine": machine(),
    }


def _dense(record: Record) -> Record:
    """The record without a capacity, which grows as needed and changes nothing."""
    return record if record.events is None else Record(record.what, index=record.index, events=1)


def _spelled(record: Record) -> str:
    what = record.what if isinstance(record.what, str | tuple | bool) else "a function"
    index = "" if record.index is None else f", index={record.index}"
    return re.sub(r"\s+", " ", f"{what}, every={record.every}{index}, dtype={record.dtype}")
