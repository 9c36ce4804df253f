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
from ._module import Module
from ._quantity import numbers, shown
from ._spikes import Spikes
from ._text import choices
from ._typing import static, whole_number


def _index(index: Any) -> tuple[int, ...] | tuple[bool, ...] | slice | None:
    """Neurons as something hashable: a tuple of integers, a mask as a tuple of truth values, or a slice."""
    if index is None:
        return None
    if isinstance(index, slice):
        whole = lambda x: x if x is None else whole_number(x, "index of a record: an end of the slice")
        if index.step is not None and whole(index.step) == 0:
            raise ValueError(f"index of a record must not have a step of 0, got {index}")
        return slice(whole(index.start), whole(index.stop), whole(index.step))
    try:
        given = np.asarray(numbers(index))
    except (TypeError, ValueError):  # also what is traced
        given = np.zeros((0, 0))
    if given.shape == (0,) or (given.dtype.kind == "b" and not given.any()):
        raise ValueError(f"index of a record names no neuron, got {shown(index)}")
    if given.ndim < 2 and given.dtype.kind in ("iu" if given.ndim == 0 else "iub"):
        return tuple(np.atleast_1d(given).tolist())
    raise ValueError(f"index of a record must be whole numbers, a mask or a slice, got {shown(index)}")


def _what(what: Any) -> Any:
    if eqx.is_array(what):
        raise ValueError(f"a record is of populations, of a variable or of a function, got {shown(what)}")
    return tuple(what) if isinstance(what, list) else what


def _events(events: Any) -> int | None:
    return None if events is None else whole_number(events, "events of a record", least=1, most=2**31 - 2)


def _dtype(dtype: Any) -> Any:
    try:
        return None if dtype is None else jax.dtypes.canonicalize_dtype(dtype)
    except TypeError:
        raise ValueError(f"dtype of a record must be one of NumPy's or JAX's, got {shown(dtype)}") from None


class Record(Module):
    """What to record, how often, of whom. A bare string, list or function in `record=` stands for `Record(it)`.

    **Arguments:**

    - `what`: populations whose spikes to record (a list of names; `True` for all, or for a lone one); the name of a
      state variable, e.g. `"E.v"`; or a function of the node's state that returns an array or a pytree of arrays.
    - `every`: record after every so many steps, default 1; spikes are recorded in every step.
    - `index`: only these neurons (integers, a mask with a truth value for each, or a slice), default all.
    - `dtype`: of what is stored, default that of the model. `bool` makes a spike raster four times smaller, but has no
      gradient. Variables are stored as floating-point numbers only.
    - `events`: spikes as a list of events with room for so many spikes of each population, a `brainsim.Spikes`, instead
      of a raster: for large networks, where a raster of every neuron in every step takes most of memory and time. A
      run with more spikes warns, and the list says so (`overflow`). It is made of integers: there is no gradient.

    **Raises:** `ValueError` for an `every` or `events` that is not a positive whole number, an `index` that is none,
    and a `dtype` that would lose digits.

    ```python
    >>> import brainsim as bs
    >>> cells = bs.Population(100, bs.LIF())
    >>> run = bs.simulate(cells, 10.0, dt=0.1, record=dict(v=bs.Record("v", every=10, index=[0, 5])))
    >>> run["v"].shape, run.times("v")[:2].tolist()
    ((10, 2), [1.0, 2.0])

    ```
    """

    what: Any = static(converter=_what)
    every: int = static(1, converter=lambda n: whole_number(n, "every of a record, in steps,", least=1))
    index: tuple[int, ...] | tuple[bool, ...] | slice | None = static(None, converter=_index)
    dtype: Any = static(None, converter=_dtype)
    events: int | None = static(None, converter=_events)

    def __check_init__(self):
        if self.events is not None and (not self.of_spikes or self.dtype is not None):
            raise ValueError(f"events= is for spikes, and without dtype=; got {self.what!r} and dtype={self.dtype!r}")
        if self.dtype is not None and not self.of_spikes and not jnp.issubdtype(self.dtype, jnp.floating):
            if isinstance(self.what, str):
                raise ValueError(
                    f"dtype={self.dtype.name} would lose digits of {self.what!r}; available: floating-point types"
                )

    @property
    def of_spikes(self) -> bool:
        return self.what is True or isinstance(self.what, tuple)

    @property
    def places(self) -> np.ndarray | slice | None:
        """`index` as what indexes an array."""
        if not isinstance(self.index, tuple):
            return self.index
        return np.flatnonzero(self.index) if self.is_mask else np.asarray(self.index, np.intp)

    @property
    def is_mask(self) -> bool:
        """Whether `index` says of each neuron whether it is recorded."""
        return isinstance(self.index, tuple) and isinstance(next(iter(self.index), None), bool)

    def check_index(self, name: str, n: int) -> None:
        """**Raises:** `ValueError` if `index` does not fit `n` neurons."""
        if isinstance(self.index, slice) and n and not range(n)[self.index]:
            raise ValueError(f"{name}: {self.index} names none of the {n} neurons")
        if not isinstance(self.index, tuple):
            return
        if self.is_mask and len(self.index) != n:
            raise ValueError(f"{name}: the mask has {len(self.index)} values for {n} neurons")
        for i in self.index:
            if not -n <= i < n and not self.is_mask:
                raise ValueError(f"{name}: neuron {i} is out of range for {n} neurons")

    def checked(self, name: str, node: AbstractNode) -> "Record":
        """This record, if `node` has what it names; `ValueError` with what is available otherwise."""
        if self.of_spikes:
            sizes = node.sizes
            for population in () if self.what is True else self.what:
                if population not in sizes:
                    raise ValueError(f"record {name!r}: no population {population!r}; {choices(population, sizes)}")
            if self.every != 1:
                raise ValueError(f"record {name!r}: spikes are recorded in every step, got every={self.every}")
            widths = [sizes[p] for p in (sizes if self.what is True else self.what)]
        elif isinstance(self.what, str):
            if self.what not in node.variables:
                raise ValueError(f"record {name!r}: no state variable {self.what!r}; "
                                 f"{choices(self.what, node.variables)}")  # fmt: skip
            widths = [node.sizes.get(self.what.partition(".")[0], node.sizes.get("", 0))]
        elif callable(self.what):
            widths = []
        else:
            raise ValueError(f"record {name!r}: expected populations, the name of a variable or a function, "
                             f"got {self.what!r}")  # fmt: skip
        for n in widths:
            self.check_index(f"record {name!r}", n)
        return self

    def take(self, node: AbstractNode, state: Any, spikes: Any) -> PyTree:
        """The record's value, given the node's state and the spikes of the step that led to it."""
        if self.of_spikes and isinstance(spikes, dict):
            value = {p: spikes[p] for p in (spikes if self.what is True else self.what)}
        elif self.of_spikes:
            value = spikes
        else:
            value = node.read(state, self.what) if isinstance(self.what, str) else self.what(state)
        return jax.tree.map(self._part, value)

    def _part(self, x: Any) -> Any:
        """The neurons of `index`, in `dtype`, of one array."""
        if self.index is not None:
            if jnp.ndim(x) == 0:
                raise ValueError(
                    f"index={self.index} of a record needs arrays, but its function returned a single number"
                )
            self.check_index("record with a function", x.shape[0])
            x = x[self.places]
        if self.dtype is None:
            return x
        kinds = [jnp.bool_, jnp.integer, jnp.floating]  # each can be told as the next
        rank = lambda dtype: next((i for i, kind in enumerate(kinds) if jnp.issubdtype(dtype, kind)), len(kinds))
        x = jnp.asarray(x)
        if not self.of_spikes and rank(self.dtype) < rank(x.dtype):
            raise ValueError(f"dtype={self.dtype.name} of a record would lose digits of {x.dtype.name}")
        return x.astype(self.dtype)

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
            raise ValueError(f"nothing was recorded as {name!r}; {choices(name, self.records)}")
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
