"""What `run` returns."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from .._record import Snapshot
from .._spikes import Spikes
from .._text import choices
from .._typing import as_path, truth
from ._layout import Table
from ._store import AbstractStore

if TYPE_CHECKING:
    import xarray as xr


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A run that `run` made or `open_run` opened. Names are those of `Result`; what is on disk is read when asked for.

    - `run["v"]`: the record named v: an `xarray.DataArray` with the axes time and neuron, a numpy array by `.values`;
      `brainsim.Spikes` for spikes; a dict of them for a network's spikes by population, or for a function that returned
      several arrays.
    - `spikes`: short for `run["spikes"]`.
    - `dt`, `start`: the time step, and the time at which the run began, in ms.
    - `done`, `steps`: how many steps were run, and how many there shall be.
    - `path`: where it is on disk, or None.
    """

    tables: list[Table]
    store: AbstractStore
    rows: dict[str, int]
    dt: float
    start: float
    done: int
    steps: int
    path: Path | None
    snapshot: Snapshot | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the records."""
        return tuple(dict.fromkeys(table.record for table in self.tables))

    @property
    def complete(self) -> bool:
        """Whether the run reached its end."""
        return self.done == self.steps

    @property
    def duration(self) -> float:
        """How much was run, ms."""
        return round(self.done * self.dt, 9)

    @property
    def state(self) -> Snapshot:
        """The final `Snapshot`; hand it to `simulate` or `run` as `state`.

        **Raises:** `ValueError` for a run that was opened without its model.
        """
        if self.snapshot is None:
            raise ValueError("an opened run has no state without its model: brainsim.run(..., out=PATH, resume=True)")
        return self.snapshot

    @property
    def spikes(self) -> Any:
        """The record named `spikes`: `Spikes`, or for a network a dict of them by population."""
        return self["spikes"]

    def __getitem__(self, name: str) -> Any:
        found = self._tables(name)
        values = {table.part: self._value(table) for table in found}
        return values[""] if list(values) == [""] else values

    def dataset(self, path: str) -> "xr.Dataset":
        """One table as an `xarray.Dataset`: `"v"`, or for a record with parts `"spikes/E"`."""
        for table in self.tables:
            if table.path == path:
                return self.store.read(table, self.rows[path])
        raise ValueError(f"no table {path!r}; {choices(path, [t.path for t in self.tables])}")

    def times(self, name: str) -> np.ndarray:
        """The time (ms) of each row of a record: the end of the step after which it was taken."""
        table = self._tables(name)[0]
        if table.spikes:
            raise ValueError(f"{name!r} is a list of spikes, which has times of its own: run[{name!r}].times")
        return self.dataset(table.path)["time"].values

    def to_nwb(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Writes the run to a file of Neurodata Without Borders (needs pynwb).

        Spikes become units with the columns population and neuron. A membrane potential (a record in mV) of at most 100
        neurons becomes a `CurrentClampSeries` for each, a sweep that `brainsim.io.read_recording` reads back; every
        other record becomes a `TimeSeries`.

        **Arguments:**

        - `path`: ends in `.nwb`.
        - `overwrite`: replace a file that exists.

        **Raises:** `ValueError` if the file exists, without its folder or without pynwb; `OSError` for a full disk.

        ```python
        >>> import brainsim as bs, tempfile, pathlib
        >>> run = bs.run(bs.Population(2, bs.LIF()), 100.0, dt=0.1, inputs=500.0, record=dict(spikes=True))
        >>> file = run.to_nwb(pathlib.Path(tempfile.mkdtemp()) / "run.nwb")
        >>> bs.io.read_recording(file, unit=1).spike_times[:3].tolist()
        [13.9, 29.8, 45.7]

        ```
        """
        from ._nwb import write

        return write(self, as_path(path, "the path of an NWB file"), truth(overwrite, "overwrite"))

    def _tables(self, name: str) -> list[Table]:
        found = [table for table in self.tables if table.record == name]
        if not found:
            raise ValueError(f"nothing was recorded as {name!r}; {choices(name, self.names)}")
        return found

    def _value(self, table: Table) -> Any:
        data = self.dataset(table.path)
        if not table.spikes:
            return data[table.record]
        steps: Any = np.rint(data["time"].values / self.dt)
        neurons: Any = data["neuron"].values
        count: Any = np.int32(len(steps))
        start: Any = np.uint32(round(self.start / self.dt))
        here = (steps > start) & (steps <= int(start) + self.done) & (neurons >= 0) & (neurons < table.n)
        if not here.all():
            raise ValueError(f"{self.path}: the spikes in {table.path} are not those of this run")
        steps = steps.astype(np.uint32)
        return Spikes(steps, neurons, count, start, table.n, self.done, self.dt)

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else f"in {self.path}"
        part = "" if self.complete else f" of {round(self.steps * self.dt, 9):g} ms"
        return f"Run({self.duration:g} ms{part} at dt {self.dt:g} ms, {', '.join(self.names) or 'no record'}, {where})"
