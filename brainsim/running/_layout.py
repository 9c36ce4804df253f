"""What a run records, as tables: one for each leaf of each record, with named columns and units."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from .._dynamics import AbstractNode
from .._record import Record, Result
from .._spikes import Spikes

_UNITS = {"v": "mV"}  # of variables whose name tells it
RESERVED = ("time", "neuron", "event")


class Table(NamedTuple):
    """One leaf of a record: a trace with rows in time, or a list of spikes.

    - `record`, `part`: the record and what it is of: a population, or a path in what a function returned; may be empty.
    - `spikes`: whether the rows are spikes.
    - `unit`: of the values.
    - `every`: steps between rows.
    - `shape`: of a row.
    - `n`: how many neurons are recorded; 0 for what is not of neurons.
    - `neurons`: which, if not all.
    - `dtype`: of the values.
    """

    record: str
    part: str
    spikes: bool
    unit: str
    every: int
    shape: tuple[int, ...]
    neurons: tuple[int, ...] | None
    n: int
    dtype: str

    @property
    def path(self) -> str:
        return f"{self.record}/{self.part}" if self.part else self.record

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """The columns and the names of their axes."""
        if self.spikes:
            return {"time": ("event",), "neuron": ("event",)}
        own = ("neuron",) if self.n else tuple(f"axis_{i + 1}" for i in range(len(self.shape)))
        return {self.record: ("time", *own), "time": ("time",)}

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the recorded neurons in their population."""
        return np.arange(self.n) if self.neurons is None else np.array(self.neurons)

    @property
    def units(self) -> dict[str, str]:
        return {"time": "ms"} if self.spikes else {"time": "ms", self.record: self.unit}


def tables(node: AbstractNode, records: Mapping[str, Record], result: Result, units: Mapping[str, str]) -> list[Table]:
    """The tables into which the records of `result` go."""
    found = []
    for name, record in records.items():
        what = record.what if isinstance(record.what, str) else ""
        for part, value in parts(record, result[name]).items():
            population = part if record.of_spikes else what.partition(".")[0]
            size = node.sizes.get(population, node.sizes.get("", 0)) if what or record.of_spikes else 0
            neurons = tuple(np.arange(size)[record.places].tolist()) if size and record.index is not None else None
            n = size if neurons is None else len(neurons)
            unit = units.get(name, _UNITS.get(what.rpartition(".")[2], ""))
            shape, dtype = ((), "int32") if record.of_spikes else (value.shape[1:], str(value.dtype))
            found.append(Table(name, part, record.of_spikes, unit, record.every, shape, neurons, n, dtype))
    return found


def parts(record: Record, value: Any) -> dict[str, Any]:
    """The leaves of a record by name; a lone one has the name `""`."""
    if record.of_spikes:
        return value if isinstance(value, dict) else {"": value}
    leaves = jax.tree_util.tree_leaves_with_path(value)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in leaves}


def rows(table: Table, value: Any, k: int, dt: float) -> dict[str, np.ndarray]:
    """The columns of a table that one chunk of a run adds, which began at step k.

    **Raises:** `ValueError` for a raster with values other than 0 and 1, which a list of spikes cannot hold.
    """
    if isinstance(value, Spikes):
        times, neurons = value.numpy()
        return {"time": times, "neuron": neurons.astype(np.int32)}
    value = np.asarray(value)
    if not table.spikes:
        steps = k + table.every * np.arange(1, len(value) + 1)
        return {table.record: value, "time": np.round(steps * dt, 9)}
    steps, neurons = np.nonzero(value)
    if (value[steps, neurons] != 1).any():
        raise ValueError(f"record {table.path!r}: the spikes are graded, and lists of spikes hold no values; "
                         "record a function of the state instead")  # fmt: skip
    return {"time": np.round((k + 1 + steps) * dt, 9), "neuron": neurons.astype(np.int32)}
