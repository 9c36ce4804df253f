"""What a run records and what it returns."""

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, UInt32

from . import ops
from ._clock import times
from ._compat import is_traced
from ._dynamics import AbstractNode
from ._spikes import Spikes
from ._typing import static


def _index(index: Any) -> tuple[int, ...] | slice | None:
    """Neurons as something hashable: a tuple of integers, or a slice."""
    return index if index is None or isinstance(index, slice) else tuple(int(i) for i in np.atleast_1d(index))


class Record(eqx.Module):
    """What to record, how often, of whom. A bare string, list or function in `record=` stands for `Record(it)`.

    **Arguments:**

    - `what`: populations whose spikes to record (a list of names; `True` for all, or for a lone one); the name of a
      state variable, e.g. `"E.v"`; or a function of the node's state that returns an array or a pytree of arrays.
    - `every`: record after every so many steps, default 1; spikes are recorded in every step.
    - `index`: only these neurons (integers or a slice), default all.
    - `dtype`: of what is stored, default that of the model. `bool` makes a spike raster four times smaller, but has no
      gradient.
    - `events`: spikes as a list of events with room for so many spikes of each population, a `brainsim.Spikes`, instead
      of a raster: for large networks, where a raster of every neuron in every step takes most of memory and time. A
      run with more spikes warns, and the list says so (`overflow`). It is made of integers: there is no gradient.

    **Raises:** `ValueError` for an `every` or `events` that is not a positive whole number.

    ```python
    >>> import brainsim as bs
    >>> cells = bs.Population(100, bs.LIF())
    >>> run = bs.simulate(cells, 10.0, dt=0.1, record=dict(v=bs.Record("v", every=10, index=[0, 5])))
    >>> run["v"].shape, run.times("v")[:2].tolist()
    ((10, 2), [1.0, 2.0])

    ```
    """

    what: Any = static(converter=lambda w: tuple(w) if isinstance(w, list) else w)
    every: int = static(1)
    index: tuple[int, ...] | slice | None = static(None, converter=_index)
    dtype: Any = static(None)
    events: int | None = static(None)

    def __check_init__(self):
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ValueError(f"every must be a positive whole number of steps, got {self.every!r}")
        if self.events is None:
            return
        if isinstance(self.events, bool) or not isinstance(self.events, int) or not 1 <= self.events < 2**31 - 1:
            raise ValueError(f"events must be a positive whole number of spikes below 2**31, got {self.events!r}")
        if not self.of_spikes or self.dtype is not None:
            raise ValueError(f"events= is for spikes, and without dtype=; got {self.what!r} and dtype={self.dtype!r}")

    @property
    def of_spikes(self) -> bool:
        return self.what is True or isinstance(self.what, tuple)

    @property
    def places(self) -> np.ndarray | slice | None:
        """`index` as what indexes an array."""
        return np.asarray(self.index) if isinstance(self.index, tuple) else self.index

    def checked(self, name: str, node: AbstractNode) -> "Record":
        """This record, if `node` has what it names; `ValueError` with what is available otherwise."""
        if self.of_spikes:
            sizes = node.sizes
            for population in () if self.what is True else self.what:
                if population not in sizes:
                    raise ValueError(f"record {name!r}: no population {population!r}; available: {', '.join(sizes)}")
            if self.every != 1:
                raise ValueError(f"record {name!r}: spikes are recorded in every step, got every={self.every}")
            widths = [sizes[p] for p in (sizes if self.what is True else self.what)]
        elif isinstance(self.what, str):
            if self.what not in node.variables:
                raise ValueError(f"record {name!r}: no state variable {self.what!r}; available: "
                                 f"{', '.join(node.variables)}")  # fmt: skip
            widths = [node.sizes.get(self.what.partition(".")[0], node.sizes.get("", 0))]
        elif callable(self.what):
            widths = []
        else:
            raise ValueError(f"record {name!r}: expected populations, the name of a variable or a function, "
                             f"got {self.what!r}")  # fmt: skip
        if isinstance(self.index, tuple):
            for i in self.index:
                if any(not -n <= i < n for n in widths):
                    raise ValueError(f"record {name!r}: neuron {i} is out of range for {min(widths)} neurons")
        return self

    def take(self, node: AbstractNode, state: Any, spikes: Any) -> PyTree:
        """The record's value, given the node's state and the spikes of the step that led to it."""
        if self.of_spikes and isinstance(spikes, dict):
            value = {p: spikes[p] for p in (spikes if self.what is True else self.what)}
        elif self.of_spikes:
            value = spikes
        else:
            value = node.read(state, self.what) if isinstance(self.what, str) else self.what(state)
        index = self.places
        value = value if index is None else jax.tree.map(lambda x: x[index], value)
        return value if self.dtype is None else jax.tree.map(lambda x: x.astype(self.dtype), value)

    def empty(self, node: AbstractNode) -> PyTree:
        """The list, or a list for each population, that `append` appends to."""
        names = tuple(node.sizes) if self.what is True else self.what
        empty = lambda: ops.empty_events(self.events or 0)
        return empty() if "" in node.sizes else {name: empty() for name in names}

    def append(self, events: PyTree, node: AbstractNode, state: Any, spikes: Any, k: Array) -> PyTree:
        """The lists with the spikes of the step that ended as step k of the run."""
        return jax.tree.map(lambda x, s: ops.append_events(x, s, k), events, self.take(node, state, spikes))

    def listed(self, events: PyTree, node: AbstractNode, start: Array, length: int, dt: float) -> PyTree:
        """The lists as `Spikes`, of a run of `length` steps that began at step `start`."""

        def one(x: Array, size: int) -> Spikes:
            n = size if self.index is None else np.arange(size)[self.places].size
            count, steps = x[0, 0], x[1:, 0]
            there = jnp.arange(len(steps), dtype=count.dtype) < count
            steps = jnp.where(there, steps.astype(start.dtype) + start, 0)
            return Spikes(steps, x[1:, 1], count, start, n, length, dt)

        sizes = node.sizes
        if not isinstance(events, dict):
            return one(events, sizes[""])
        return {name: one(x, sizes[name]) for name, x in events.items()}


class Snapshot(eqx.Module):
    """A node's state after `k` steps of `dt` ms; hand it to `simulate(state=...)` to continue."""

    k: UInt32[Array, ""]
    node: Any
    dt: float = static()


class Result(eqx.Module):
    """What a run returns: `result["v"]` is the record named v, with time along its first axis.

    - `state`: the final `Snapshot`; the next run can start there.
    - `dt`: the time step in ms.
    - `first`: the number of the step with which the run began.
    - `every`: how many steps lie between the rows of each record.
    """

    records: dict[str, PyTree]
    state: Snapshot
    first: UInt32[Array, "*batch"]
    dt: float = static()
    every: dict[str, int] = static()

    def __getitem__(self, name: str) -> Any:
        if name not in self.records:
            raise ValueError(f"nothing was recorded as {name!r}; available: {', '.join(self.records) or 'nothing'}")
        return self.records[name]

    @property
    def spikes(self) -> Any:
        """The record named `spikes`: an array (steps, n) or `Spikes`, or for a network a dict of them by population."""
        return self["spikes"]

    @property
    def start(self) -> Any:
        """The time at which the run began, ms."""
        return times(self.first, self.dt)

    def times(self, name: str) -> Any:
        """The time (ms) of each row of a record: the end of the step after which it was taken.

        A NumPy array in double precision, each time the number nearest to a multiple of dt; inside of `jit` an array of
        JAX's default precision.
        """
        if _lists(self[name]):
            raise ValueError(f"{name!r} is a list of spikes, which has times of its own: result[{name!r}].times")
        first = self.first if is_traced(self.first) else np.asarray(self.first)
        rows = jax.tree.leaves(self[name])[0].shape[first.ndim]
        steps = np.arange(1, rows + 1, dtype=np.uint32) * np.uint32(self.every[name])
        return times(first[..., None] + steps.reshape(*[1] * first.ndim, -1), self.dt)

    def warn_of_overflow(self) -> None:
        """One warning for each list of spikes that had too little room."""
        for name, record in self.records.items():
            for population, spikes in _lists(record).items():
                if message := spikes.problem():
                    where = f"{name!r}, {population!r}" if population else f"{name!r}"
                    warnings.warn(f"record {where}: {message}", RuntimeWarning, stacklevel=3)


def _lists(record: PyTree) -> dict[str, Spikes]:
    """The lists of spikes in a record by population; a lone one has the name `""`."""
    record = record if isinstance(record, dict) else {"": record}
    return {name: x for name, x in record.items() if isinstance(x, Spikes)}
