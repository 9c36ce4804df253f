"""A run under way: what is simulated, and where its records and its state go."""

import dataclasses
from pathlib import Path
from typing import Any, final

import equinox as eqx
import jax
import numpy as np

from .._clock import label
from .._durable import Lock, is_free, reported
from .._dynamics import AbstractNode
from .._leaves import restore
from .._record import Record, Result, Snapshot
from .._resumable import AGAIN, check_free, create, resumed
from .._simulate import advance
from .._spikes import Spikes
from ._checkpoint import Progress, fingerprint, save
from ._layout import Table, check_record, check_storable, parts, rows, tables
from ._open import open_store
from ._result import Run
from ._store import AbstractStore, DiskStore, MemoryStore, block_length, columns_of, fill, hierarchy, zarr_package


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
        return float(label(self.state.k, self.dt))

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
    beyond the last checkpoint is dropped. What a checkpoint speaks of is on disk before it is.
    """

    def __init__(self, job: Job, path: Path | None, *, resume: Any, overwrite: bool):
        self.job, self.path, self.state, self.done, self.overwrite = job, path, job.state, 0, overwrite
        self.store: AbstractStore = MemoryStore()
        self.tables: list[Table] | None = None
        self.lock: Lock | None = None
        if path is None:
            return
        continued = resume and not is_free(path)
        if not continued:
            check_free("run", path, overwrite)
        for name in job.records:
            check_record(name)
        zarr_package()
        self.mark = fingerprint(job.node, job.dt, job.inputs, job.records, job.state, job.solver, job.units)
        if continued:
            self.lock, _ = resumed("run", path, self.mark, resume)
            try:
                self._continue(path)
            except BaseException:
                self.close()
                raise

    def _continue(self, path: Path) -> None:
        job = self.job
        opened = open_store(path)
        progress = opened.progress
        if job.steps < progress.steps:
            raise ValueError(f"{path}: has {progress.steps * job.dt:g} ms already, more than {job.steps * job.dt:g} ms")
        longest = max((r.every for r in job.records.values()), default=1)
        if job.steps > progress.steps and progress.steps % longest:
            raise ValueError(f"{path}: cannot be continued: it ended between two rows of a record with every={longest}")
        try:
            self.state = restore(opened.state, job.state)
        except ValueError as error:
            raise ValueError(f"{path}: cannot be resumed: {error}") from None
        self.tables, self.done = opened.tables, progress.steps
        self.store = opened.store
        with reported(path, AGAIN):
            opened.store.resume(self.tables, progress.rows, progress.sums)
            self._save(path, opened.store)  # with the number of steps that it shall have now

    def add(self, result: Result, length: int) -> None:
        if self.tables is None:
            self.tables = tables(self.job.node, self.job.records, result, self.job.units)
            if self.path is not None:
                self.store = self._created(self.path, self.tables, result)
        k = int(self.state.k)
        with reported(self.path or Path(), self._advice()):
            if self.lock is not None:
                self.lock.check()
            self.store.append({t: rows(t, self._value(t, result), k, self.job.dt) for t in self.tables})
            self.state, self.done = result.state, self.done + length
            if self.path is not None and isinstance(self.store, DiskStore):
                self._save(self.path, self.store)

    def _advice(self) -> str:
        return f"{self.done * self.job.dt:g} ms of {self.job.steps * self.job.dt:g} ms are there, and {AGAIN}"

    def _save(self, path: Path, store: DiskStore) -> None:
        save(path, Progress(self.done, self.job.steps, store.rows(self.tables or []), dict(store.sums)), self.state)

    def _value(self, table: Table, result: Result) -> Any:
        return parts(self.job.records[table.record], result[table.record])[table.part]

    def _created(self, path: Path, tables: list[Table], result: Result) -> DiskStore:
        """A store without rows, which appears with its first checkpoint or not at all."""
        for table in tables:
            check_storable(table)
        lengths = {t.path: block_length(t, 1 if t.spikes else len(self._value(t, result))) for t in tables}
        about = {
            "dt": self.job.dt,
            "start": self.job.start,
            "tables": [table._asdict() for table in tables],
            "lengths": lengths,
            "fingerprint": self.mark,
        }

        columns = {t.path: columns_of(path, t, lengths[t.path]) for t in tables}
        headers = hierarchy(tables, columns)

        def contents(folder: Path) -> None:
            fill(folder, headers)
            store = DiskStore(folder, tables, lengths)
            save(folder, Progress(0, self.job.steps, store.rows(tables), store.sums), self.state)

        self.lock = create("run", path, about, contents, self.overwrite)
        store = DiskStore(path, tables, lengths)
        store.begin(headers)
        return store

    def result(self) -> Run:
        found = self.tables or []
        rows, job = self.store.rows(found), self.job
        return Run(found, self.store, rows, job.dt, job.start, self.done, job.steps, self.path, self.state)

    def close(self) -> None:
        if self.lock is not None:
            self.lock.release()
