"""A run under way: what is simulated, and where its records and its state go."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any, final

import equinox as eqx
import jax
import numpy as np

from .._dynamics import AbstractNode
from .._record import Record, Result, Snapshot
from .._simulate import advance
from .._spikes import Spikes
from ._checkpoint import Progress, difference, fingerprint, load, restore, save
from ._layout import RESERVED, Table, parts, rows, tables
from ._result import Run
from ._store import AbstractStore, DiskStore, MemoryStore, check_free, create, described, new_folder, publish


class Job(eqx.Module):
    """What is simulated, with everything checked."""

    node: AbstractNode
    dt: float
    steps: int
    inputs: dict[str, Any]
    records: dict[str, Record]
    state: Snapshot
    solver: Any
    units: dict[str, str]

    @property
    def start(self) -> float:
        """The time at which the run begins, ms."""
        return round(int(self.state.k) * self.dt, 9)

    def chunk(self, done: int, length: int, state: Snapshot) -> tuple["Job", Result]:
        """`length` steps after those that are done; again with more room, as long as a list of spikes overflows.

        Also the job with that much room, for the next chunk.
        """
        rows = lambda x: np.asarray(x[done : done + length]) if eqx.is_array(x) and x.ndim == 2 else x
        inputs = {name: rows(x) for name, x in self.inputs.items()}
        result = jax.block_until_ready(advance(self.node, length, self.dt, inputs, self.records, state, self.solver))
        short = {name: most for name in self.records if (most := _missing(result[name]))}
        if not short:
            return self, result
        room = lambda most: 2 ** (2 * most - 1).bit_length()  # powers of two: few programs to compile
        wider = lambda name, r: Record(r.what, index=r.index, events=room(short[name])) if name in short else r
        records = {name: wider(name, r) for name, r in self.records.items()}
        return dataclasses.replace(self, records=records).chunk(done, length, state)


def _missing(value: Any) -> int:
    """The most spikes that a list of these, which overflowed, should have had room for; 0 if none overflowed."""
    lists = [x for x in (value.values() if isinstance(value, dict) else [value]) if isinstance(x, Spikes)]
    return max((int(x.count) for x in lists if x.problem()), default=0)


@final
class Sink:
    """Takes the results of one chunk after the other, in memory or, given a path, on disk.

    On disk a chunk is written first and then, at once, the checkpoint that says that it is there: what a crash leaves
    beyond the last checkpoint is dropped.
    """

    def __init__(self, job: Job, path: Path | None, *, resume: bool, overwrite: bool):
        self.job, self.path, self.state, self.done = job, path, job.state, 0
        self.store: AbstractStore = MemoryStore()
        self.tables: list[Table] | None = None
        if path is None:
            return
        continued = resume and path.exists()
        if not continued:
            check_free(path, overwrite)
        if bad := [x for x in job.records if x in RESERVED or "/" in x or x.startswith((".", "__"))]:
            raise ValueError(f"{bad[0]!r} cannot name a record on disk; no slash, not {', '.join(RESERVED)}")
        self.mark = fingerprint(job.node, job.dt, job.inputs, job.records, job.state, job.solver)
        if continued:
            self._continue(path)

    def _continue(self, path: Path) -> None:
        job = self.job
        self.tables, about = described(path)
        progress, arrays = load(path)
        if reason := difference(self.mark, about["fingerprint"]):
            raise ValueError(f"{path}: cannot be resumed: {reason}")
        if job.steps < progress.steps:
            raise ValueError(f"{path}: has {progress.steps * job.dt:g} ms already, more than {job.steps * job.dt:g} ms")
        longest = max((r.every for r in job.records.values()), default=1)
        if job.steps > progress.steps and progress.steps % longest:
            raise ValueError(f"{path}: cannot be continued: it ended between two rows of a record with every={longest}")
        self.state, self.done = restore(arrays, job.state), progress.steps
        self.store = DiskStore(path)
        self.store.begin(self.tables, progress.rows, job.steps)

    def add(self, result: Result, length: int) -> None:
        if self.tables is None:
            self.tables = tables(self.job.node, self.job.records, result, self.job.units)
            if self.path is not None:
                self.store = self._created(self.path, self.tables, result)
        k = int(self.state.k)
        for table in self.tables:
            self.store.append(table, rows(table, self._value(table, result), k, self.job.dt))
        self.state, self.done = result.state, self.done + length
        if self.path is not None:
            save(self.path, Progress(self.done, self.store.rows(self.tables)), self.state)

    def _value(self, table: Table, result: Result) -> Any:
        return parts(self.job.records[table.record], result[table.record])[table.part]

    def _created(self, path: Path, tables: list[Table], result: Result) -> DiskStore:
        """A store without rows, which appears with its first checkpoint or not at all."""
        folder = new_folder(path)
        try:
            lengths = {t.path: len(self._value(t, result)) for t in tables if not t.spikes}
            about = {"dt": self.job.dt, "start": self.job.start, "steps": self.job.steps, "fingerprint": self.mark}
            create(folder, tables, about, lengths)
            save(folder, Progress(0, {t.path: 0 for t in tables}), self.state)
            publish(folder, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return DiskStore(path)

    def result(self) -> Run:
        found = self.tables or []
        rows, job = self.store.rows(found), self.job
        return Run(found, self.store, rows, job.dt, job.start, self.done, job.steps, self.path, self.state)
