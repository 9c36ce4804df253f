"""A run on disk, looked at from outside: everything is checked before it is believed."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._resumable import described
from ._checkpoint import Progress, load
from ._column import MOST
from ._layout import Table, read_table
from ._store import DiskStore, identity


class Opened(NamedTuple):
    """What is on disk of a run by its last checkpoint; `state` are the arrays of its state by name."""

    tables: list[Table]
    dt: float
    start: float
    progress: Progress
    state: dict[str, np.ndarray]
    store: DiskStore


def open_store(path: Path) -> Opened:
    """What is on disk of a run.

    **Raises:** `ValueError` if that is no run, or if a file of it is missing, cut short or a link.
    """
    before = identity(path)
    about = described("run", path)
    progress, state = load(path)
    try:
        tables = [read_table(table) for table in about["tables"]]
        dt, start, lengths = about["dt"], about["start"], about["lengths"]
        _check(tables, dt, start, lengths, progress)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{path}: not a run of brainsim (what it says about itself makes no sense)") from None
    store = DiskStore(path, tables, lengths)
    store.check(progress.rows, progress.sums)
    if identity(path) != before:
        raise ValueError(f"{path}: was replaced while it was opened")
    return Opened(tables, dt, start, progress, state, store)


def _check(tables: list[Table], dt: float, start: float, lengths: dict[str, int], progress: Progress) -> None:
    paths = [table.path for table in tables]
    columns = {f"{table.path}/{name}" for table in tables for name in table.dims}
    if len(set(paths)) < len(paths) or {*lengths} != {*paths} or {*progress.rows} != {*paths}:
        raise ValueError("tables")
    if {*progress.sums} != columns:
        raise ValueError("columns")
    if not (math.isfinite(dt) and dt > 0 and 0 <= start and start / dt + progress.of < 2**32):
        raise ValueError("clock")
    for table in tables:
        length, row = lengths[table.path], math.prod(table.shape) * np.dtype(table.dtype).itemsize
        if type(length) is not int or length < 1 or (length > 1 and length * max(row, 8) > max(MOST, 8 * 2**16)):
            raise ValueError("lengths")
        if not table.spikes and progress.rows[table.path] != progress.steps // table.every:
            raise ValueError("rows")
