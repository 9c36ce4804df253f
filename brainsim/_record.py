"""What a run records and what it returns."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from ._dynamics import AbstractNode
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

    **Raises:** `ValueError` for an `every` that is not a positive whole number.

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

    def __check_init__(self):
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ValueError(f"every must be a positive whole number of steps, got {self.every!r}")

    @property
    def of_spikes(self) -> bool:
        return self.what is True or isinstance(self.what, tuple)

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
        index = np.asarray(self.index) if isinstance(self.index, tuple) else self.index
        value = value if index is None else jax.tree.map(lambda x: x[index], value)
        return value if self.dtype is None else jax.tree.map(lambda x: x.astype(self.dtype), value)


class Snapshot(NamedTuple):
    """A node's state after `k` steps; hand it to `simulate(state=...)` to continue."""

    k: Int[Array, ""]
    node: Any


class Result(eqx.Module):
    """What a run returns: `result["v"]` is the record named v, with time along its first axis.

    - `state`: the final `Snapshot`; the next run can start there.
    - `dt`: the time step in ms.
    - `start`: the time in ms at which the run began.
    - `every`: how many steps lie between the rows of each record.
    """

    records: dict[str, PyTree]
    state: Snapshot
    start: Array
    dt: float = static()
    every: dict[str, int] = static()

    def __getitem__(self, name: str) -> Any:
        if name not in self.records:
            raise ValueError(f"nothing was recorded as {name!r}; available: {', '.join(self.records) or 'nothing'}")
        return self.records[name]

    @property
    def spikes(self) -> Any:
        """The record named `spikes`: an array (steps, n), or for a network a dict of them by population."""
        return self["spikes"]

    def times(self, name: str) -> Array:
        """The time (ms) of each row of a record: the end of the step after which it was taken."""
        rows = jax.tree.leaves(self[name])[0].shape[0]
        steps = jnp.arange(1, rows + 1) * self.every[name]
        return self.start + steps.astype(self.start.dtype) * self.dt
