"""Where the tables of a run go: memory, or a zarr store on disk that xarray reads."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from .._durable import is_folder, make, write
from ._column import MOST, Column, lazy, summand
from ._layout import Table

if TYPE_CHECKING:
    import xarray as xr

ZARR = "records.zarr"  # beside it lies the checkpoint, which is no part of a zarr hierarchy
_EVENTS = 2**16  # spikes in a block of a column: 256 or 512 KiB


class AbstractStore(ABC):
    """Tables that grow."""

    @abstractmethod
    def append(self, added: Mapping[Table, Mapping[str, np.ndarray]]) -> None:
        """Adds rows to tables: columns by name."""

    @abstractmethod
    def rows(self, tables: Iterable[Table]) -> dict[str, int]:
        """How many rows each table has."""

    @abstractmethod
    def read(self, table: Table, rows: int) -> "xr.Dataset":
        """The first rows of a table."""


def _dataset(table: Table, column: Callable[[str], Any]) -> "xr.Dataset":
    import xarray as xr

    attrs = lambda name: {"units": unit} if (unit := table.units.get(name)) else {}
    data = {name: (dims, column(name), attrs(name)) for name, dims in table.dims.items()}
    if not table.spikes and table.n:
        data["neuron"] = (("neuron",), table.numbers, {})
    return xr.Dataset(data).set_coords("time" if not table.spikes else [])


@final
class MemoryStore(AbstractStore):
    """Tables in memory."""

    def __init__(self):
        self.columns: dict[str, list[Mapping[str, np.ndarray]]] = {}

    def append(self, added):
        for table, columns in added.items():
            self.columns.setdefault(table.path, []).append(columns)

    def rows(self, tables):
        return {table.path: sum(len(part["time"]) for part in self.columns[table.path]) for table in tables}

    def read(self, table, rows):
        parts = self.columns[table.path]
        if len(parts) > 1:  # joined once
            parts[:] = [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}]
        return _dataset(table, lambda name: parts[0][name][:rows])


@final
class DiskStore(AbstractStore):
    """Tables in a zarr store, one group each: columns are arrays with named axes and units.

    zarr says what there is and other programs read it; here the files are read and written without it. What is there
    follows from the tables: nothing that a store says about itself is believed, and no link in it is followed.
    """

    def __init__(self, folder: Path, tables: Iterable[Table], lengths: Mapping[str, int]):
        self.folder, self._identity = folder, identity(folder)
        self._columns = {t.path: columns_of(folder, t, lengths[t.path]) for t in tables}
        self._rows: dict[str, int] = {path: 0 for path in self._columns}
        self._tails: dict[tuple[str, str], np.ndarray] = {}  # rows of the block that is not complete
        self.sums = {f"{path}/{name}": 0 for path, names in self._columns.items() for name in names}
        self._headers: dict[str, bytes] = {}

    def check(self, rows: Mapping[str, int], sums: Mapping[str, int]) -> None:
        """`ValueError` unless what a checkpoint speaks of is there."""
        for path, names in self._columns.items():
            for name, column in names.items():
                for folder in (column.folder, *column.folder.parents[: len(path.split("/")) + 1]):
                    if not is_folder(folder):
                        raise ValueError(f"{folder}: is not a folder of the run" + " (a link)" * folder.is_symlink())
                column.check(rows[path], sums[f"{path}/{name}"])

    def begin(self, headers: Mapping[str, bytes]) -> None:
        """Gets ready for the next rows; `headers` are those of `hierarchy`."""
        self._headers = dict(headers)
        for path, names in self._columns.items():
            for name, column in names.items():
                first = self._rows[path] // column.length * column.length
                self._tails[path, name] = column.rows(range(first, self._rows[path]))

    def resume(self, tables: list[Table], rows: Mapping[str, int], sums: Mapping[str, int]) -> None:
        """Goes on after the last checkpoint: what was written after it is dropped."""
        self.check(rows, sums)
        self._rows, self.sums = dict(rows), dict(sums)
        self.begin(hierarchy(tables, self._columns))
        for path, names in self._columns.items():
            for column in names.values():
                column.drop(rows[path])
        write((self.folder / ZARR / key, data) for key, data in self._headers.items())
        self.append({t: {name: np.empty((0, *c.row)) for name, c in self._columns[t.path].items()} for t in tables})

    def _header(self, column: Column, rows: int) -> tuple[Path, bytes]:
        """The file that tells zarr how many rows there are."""
        path = column.folder / "zarr.json"
        header = json.loads(self._headers[path.relative_to(self.folder / ZARR).as_posix()])
        return path, json.dumps(header | {"shape": [rows, *column.row]}, indent=2).encode()

    def append(self, added):
        write(file for table, columns in added.items() for file in self._files(table, columns))

    def _files(self, table: Table, columns: Mapping[str, np.ndarray]) -> Iterator[tuple[Path, bytes]]:
        """The files that change with rows that are added."""
        rows = self._rows[table.path]
        for name, values in columns.items():
            column, key = self._columns[table.path][name], f"{table.path}/{name}"
            tail = self._tails[table.path, name]
            values = np.concatenate([tail, values.astype(column.dtype, copy=False)])
            complete = len(values) // column.length
            for i, (path, data) in enumerate(column.files(rows - len(tail), values)):
                if i < complete:
                    self.sums[key] = (self.sums[key] + summand(rows // column.length + i, data)) % 2**61
                yield path, data
            yield self._header(column, rows - len(tail) + len(values))
            self._tails[table.path, name] = values[complete * column.length :].copy()
        self._rows[table.path] += len(columns["time"])

    def rows(self, tables):
        return dict(self._rows)

    def read(self, table, rows):
        found = self._columns[table.path]
        if any(column.nbytes > MOST and not rows for column in found.values()):
            raise ValueError(f"{self.folder}: {table.path} has no rows yet")
        if identity(self.folder) != self._identity:
            raise ValueError(f"{self.folder}: was removed or replaced since it was opened")
        return _dataset(table, lambda name: lazy(found[name], rows))


def identity(folder: Path) -> tuple[int, int] | None:
    """Which folder it is that has this name now."""
    try:
        found = folder.stat()
        return found.st_dev, found.st_ino
    except OSError:
        return None


def columns_of(folder: Path, table: Table, length: int) -> dict[str, Column]:
    """The columns of a table of the run in a folder; `length` rows are in a block."""
    dtypes = {"time": "float64", "neuron": "int32", table.record: table.dtype}
    row = lambda name: () if name == "time" or table.spikes else table.shape
    return {
        n: Column(folder.joinpath(ZARR, *table.path.split("/"), n), np.dtype(dtypes[n]), row(n), length)
        for n in table.dims
    }


def block_length(table: Table, rows: int) -> int:
    """How many rows are in a block, of a table that gets so many in a chunk of the run."""
    size = max(1, int(np.prod(table.shape)) * np.dtype(table.dtype).itemsize)
    return _EVENTS if table.spikes else max(1, min(rows, MOST // size))


def hierarchy(tables: Iterable[Table], found: Mapping[str, Mapping[str, Column]]) -> dict[str, bytes]:
    """The files with which zarr describes tables without rows, by path."""
    zarr = zarr_package()
    files: dict[str, Any] = {}
    root = zarr.create_group(zarr.storage.MemoryStore(files), zarr_format=3)
    for table in tables:
        group = root.create_group(table.path)
        for name, dims in table.dims.items():
            column, unit = found[table.path][name], table.units.get(name)
            group.create_array(
                name,
                shape=(0, *column.row),
                chunks=(column.length, *(max(1, n) for n in column.row)),
                dtype=column.dtype,
                compressors=column.compressors,
                chunk_key_encoding={"name": "default", "separator": "."},
                dimension_names=dims,
                attributes={"units": unit} if unit else {},
            )
        if not table.spikes and table.n:
            group.create_array("neuron", data=table.numbers, dimension_names=("neuron",))
    return {key: x.to_bytes() for key, x in files.items()}


def fill(folder: Path, headers: Mapping[str, bytes]) -> None:
    """Makes a store without rows of what `hierarchy` gave."""
    for key in headers:
        make((folder / ZARR / key).parent)
    write((folder / ZARR / key, data) for key, data in headers.items())


def zarr_package() -> Any:
    """The package zarr.

    **Raises:** `ValueError` that says how to get it.
    """
    try:
        import zarr
    except ImportError:
        raise ValueError("runs on disk need zarr: pip install 'brainsim[io]'") from None
    return zarr
