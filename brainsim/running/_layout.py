"""What a run records, as tables: one for each leaf of each record, with named columns and units."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._clock import label
from .._dynamics import AbstractNode
from .._leaves import named
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


_TYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
_TYPES += ("float16", "float32", "float64", "complex64", "complex128")


def check_record(name: str) -> None:
    """`ValueError` for a name that a record on disk cannot have."""
    if name in RESERVED or _odd(name):
        raise ValueError(f"{name!r} cannot name a record on disk; no slash, not {', '.join(RESERVED)}")


def _odd(name: str) -> bool:
    """Whether a name cannot be that of a folder everywhere, or means something to zarr."""
    return not name or bool(re.search(r"[\0/\\]", name)) or name.startswith((".", "__"))


def check_storable(table: Table) -> None:
    """`ValueError` for a table that has no place on disk: a name that is none of a folder, or a type of its own."""
    check_record(table.record)
    if table.part and _odd(table.part):
        raise ValueError(
            f"record {table.record!r}: {table.part!r} cannot name a part on disk; no slash, no dot in front"
        )
    if table.dtype not in _TYPES:
        raise ValueError(f"record {table.path!r}: {table.dtype} cannot be stored; give it a dtype: {', '.join(_TYPES)}")


def read_table(given: Mapping[str, Any]) -> Table:
    """A table from `Table._asdict()` as JSON has it.

    **Raises:** `ValueError` for what is none.
    """
    whole = lambda x: type(x) is int and 0 <= x < 2**31
    try:
        table = Table(**{**given, **{k: tuple(given[k]) for k in ("shape", "neurons") if given[k] is not None}})
        texts = [table.record, table.part, table.unit, table.dtype]
        numbers = [table.every, table.n, *table.shape, *(table.neurons or ())]
        right = all(isinstance(x, str) for x in texts) and all(whole(x) for x in numbers) and table.every
        if not right or type(table.spikes) is not bool:
            raise ValueError(table)
        if not table.spikes and table.n and table.shape != (table.n,):
            raise ValueError(table)
        if table.neurons is not None and len(table.neurons) != table.n:
            raise ValueError(table)
    except (TypeError, KeyError) as error:
        raise ValueError(error) from None
    check_storable(table)
    return table


def parts(record: Record, value: Any) -> dict[str, Any]:
    """The leaves of a record by name; a lone one has the name `""`."""
    if record.of_spikes:
        return value if isinstance(value, dict) else {"": value}
    return named(value)


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
        return {table.record: value, "time": label(steps, dt)}
    steps, neurons = np.nonzero(value)
    if (value[steps, neurons] != 1).any():
        raise ValueError(f"record {table.path!r}: the spikes are graded, and lists of spikes hold no values; "
                         "record a function of the state instead")  # fmt: skip
    return {"time": label(k + 1 + steps, dt), "neuron": neurons.astype(np.int32)}
