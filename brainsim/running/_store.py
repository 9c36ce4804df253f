"""Where the tables of a run go: memory, or a zarr store on disk that xarray reads."""

import json
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from ._layout import Table

if TYPE_CHECKING:
    import xarray as xr

ZARR = "records.zarr"  # beside it lies the checkpoint, which is no part of a zarr hierarchy
_EVENTS = 2**16  # spikes in a chunk of a column: 256 or 512 KiB
_BYTES = 2**22  # of a chunk of a trace, at most


class AbstractStore(ABC):
    """Tables that grow."""

    @abstractmethod
    def append(self, table: Table, columns: Mapping[str, np.ndarray]) -> None:
        """Adds rows to a table."""

    @abstractmethod
    def rows(self, tables: Iterable[Table]) -> dict[str, int]:
        """How many rows each table has."""

    @abstractmethod
    def read(self, table: Table, rows: int) -> "xr.Dataset":
        """The first rows of a table."""


@final
class MemoryStore(AbstractStore):
    """Tables in memory."""

    def __init__(self):
        self.columns: dict[str, list[Mapping[str, np.ndarray]]] = {}

    def append(self, table, columns):
        self.columns.setdefault(table.path, []).append(columns)

    def rows(self, tables):
        return {table.path: sum(len(part["time"]) for part in self.columns[table.path]) for table in tables}

    def read(self, table, rows):
        import xarray as xr

        parts = self.columns[table.path]
        if len(parts) > 1:  # joined once
            parts[:] = [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}]
        attrs = lambda name: {"units": unit} if (unit := table.units.get(name)) else {}
        data = {name: (dims, parts[0][name][:rows], attrs(name)) for name, dims in table.dims.items()}
        if not table.spikes and table.n:
            data["neuron"] = (("neuron",), table.numbers, {})
        return xr.Dataset(data).set_coords("time" if not table.spikes else [])


@final
class DiskStore(AbstractStore):
    """Tables in a zarr store, one group each: columns are arrays with named axes and units."""

    def __init__(self, folder: Path):
        self.folder = folder / ZARR
        self.group = zarr_package().open_group(self.folder, mode="r+")
        self.arrays: dict[str, Any] = {}

    def _array(self, table: Table, name: str) -> Any:
        path = f"{table.path}/{name}"
        if path not in self.arrays:
            self.arrays[path] = self.group[path]
        return self.arrays[path]

    def append(self, table, columns):
        for name, values in columns.items():
            array = self._array(table, name)
            before = array.shape[0]
            array.resize((before + len(values), *array.shape[1:]))
            array[before:] = values

    def rows(self, tables):
        return {table.path: self._array(table, "time").shape[0] for table in tables}

    def begin(self, tables: Iterable[Table], rows: Mapping[str, int], steps: int) -> None:
        """Goes on after the last checkpoint: what was written after it is dropped. Also notes the number of steps."""
        self.group.attrs["steps"] = steps
        for table in tables:
            for name in table.dims:
                array = self._array(table, name)
                array.resize((rows[table.path], *array.shape[1:]))

    def read(self, table, rows):
        import xarray as xr

        data = xr.open_zarr(self.folder, group=table.path, consolidated=False, chunks=None)
        return data.isel({"event" if table.spikes else "time": slice(0, rows)})


def create(folder: Path, tables: Iterable[Table], about: Mapping[str, Any], lengths: Mapping[str, int]) -> None:
    """Makes an empty store in an existing folder; `lengths` are the rows of traces that one chunk of the run adds."""
    root = zarr_package().create_group(folder / ZARR)
    tables = list(tables)
    root.attrs.update({**about, "tables": [table._asdict() for table in tables]})
    for table in tables:
        group = root.create_group(table.path)
        dtypes = {"time": "float64", "neuron": "int32", table.record: table.dtype}
        for name, dims in table.dims.items():
            shape = () if name == "time" or table.spikes else table.shape
            size = max(1, int(np.prod(shape)) * np.dtype(dtypes[name]).itemsize)
            length = _EVENTS if table.spikes else max(1, min(lengths[table.path], _BYTES // size))
            unit = table.units.get(name)
            group.create_array(
                name,
                shape=(0, *shape),
                chunks=(length, *(max(1, n) for n in shape)),
                dtype=dtypes[name],
                dimension_names=dims,
                attributes={"units": unit} if unit else {},
            )
        if not table.spikes and table.n:
            group.create_array("neuron", data=table.numbers, dimension_names=("neuron",))


def described(folder: Path) -> tuple[list[Table], dict[str, Any]]:
    """The tables in a store, and what else `create` was told about them."""
    try:
        about = json.loads((folder / ZARR / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        read = lambda table: table | {k: tuple(table[k]) for k in ("shape", "neurons") if table[k] is not None}
        return [Table(**read(table)) for table in about.pop("tables")], about
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{folder}: not a run of brainsim") from None


def new_folder(path: Path) -> Path:
    """A temporary folder beside `path`, which becomes `path` when it is complete."""
    try:
        folder = path.absolute().with_name(f".{path.name}-{secrets.token_hex(4)}")
        folder.mkdir(parents=True)
        return folder
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror})") from None


def check_free(path: Path, overwrite: bool) -> None:
    """Refuses a path with something at it, unless it is a run that may be overwritten."""
    if not path.exists():
        return
    if not overwrite:
        raise ValueError(f"{path}: exists; nothing was written (resume=True continues it, overwrite=True replaces it)")
    if not path.is_dir() or not (path / "checkpoint.npz").is_file():
        raise ValueError(f"{path}: is not a run of brainsim, so it is not overwritten; nothing was written")


def publish(folder: Path, path: Path) -> None:
    """Moves a complete folder to `path`, in place of a run that may be there."""
    if path.exists():
        old = new_folder(path)
        os.replace(path, old / "old")
        os.replace(folder, path)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(folder, path)


def zarr_package() -> Any:
    """The package zarr.

    **Raises:** `ValueError` that says how to get it.
    """
    try:
        import zarr
    except ImportError:
        raise ValueError("runs on disk need zarr: pip install 'brainsim[io]'") from None
    return zarr
