"""Spikes as a list of events: memory for the spikes there are, not for every neuron in every step."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from ._clock import label, times
from ._compat import is_traced
from ._typing import static


class Spikes(eqx.Module):
    """The spikes of a run as a list: in which step, and which neuron. What `Record(..., events=capacity)` records.

    In order of time and, within a step, of the neuron. Arrays have a fixed length, the capacity; only the first
    `count` entries are spikes. Integers, so there is no gradient: for that record the raster.

    - `steps`: the step that the spike ended, shape (capacity,): a spike in step k is stamped k·dt.
    - `neurons`: the neuron, as a column of the raster, shape (capacity,).
    - `count`: how many spikes there were, with those for which there was no room.
    - `start`: the step at which the run began.
    - `n`, `length`, `dt`: the numbers of neurons and of steps, and the time step in ms.

    ```python
    >>> import brainsim as bs
    >>> cells = bs.Population(2, bs.LIF())
    >>> run = bs.simulate(cells, 40.0, 0.1, [500.0, 900.0], dict(spikes=bs.Record(True, events=100)))
    >>> times, neurons = run.spikes.numpy()
    >>> times.tolist(), neurons.tolist()
    ([5.4, 12.8, 13.9, 20.2, 27.6, 29.8, 35.0], [1, 1, 0, 1, 1, 0, 1])

    ```
    """

    steps: UInt32[Array, "*batch capacity"]
    neurons: Int[Array, "*batch capacity"]
    count: Int[Array, "*batch"]
    start: UInt32[Array, "*batch"]
    n: int = static()
    length: int = static()
    dt: float = static()

    @property
    def capacity(self) -> int:
        return self.steps.shape[-1]

    @property
    def overflow(self) -> Bool[Array, "*batch"]:
        """Whether there were more spikes than the list has room for; the last ones are missing then."""
        return self.count > self.capacity

    @property
    def times(self) -> Any:
        """The time of each spike in ms; infinite where there is none.

        A NumPy array in double precision; inside of `jit` an array of JAX's default precision.
        """
        xp: Any = jnp if is_traced(self.steps) else np
        there = xp.arange(self.capacity, dtype=np.int32) < xp.asarray(self.count)[..., None]
        return xp.where(there, times(self.steps, self.dt), np.inf)

    def numpy(self) -> tuple[np.ndarray, np.ndarray]:
        """Times in ms and neurons of the spikes there are, as numpy arrays.

        **Raises:** `ValueError` for a list that overflowed, and for a batch of lists.
        """
        if np.ndim(self.count) and not is_traced(self.count):
            raise ValueError(
                f"a batch of {np.shape(self.count)} spike lists: take one, jax.tree.map(lambda x: x[0], y)"
            )
        if message := self.problem():
            raise ValueError(message)
        count = int(self.count)
        return label(np.asarray(self.steps)[:count], self.dt), np.asarray(self.neurons)[:count]

    def raster(self) -> np.ndarray:
        """The same spikes as a raster of booleans, shape (length, n). Errors as in `numpy`."""
        self.numpy()
        raster, count = np.zeros((self.length, self.n), bool), int(self.count)
        rows = np.asarray(self.steps)[:count].astype(np.int64) - int(self.start) - 1
        raster[rows, np.asarray(self.neurons)[:count]] = True
        return raster

    def problem(self) -> str:
        """What is wrong with the list, in one line: empty if nothing is."""
        if is_traced(self.count):
            raise ValueError("a list of spikes is read outside of jit, vmap and grad; inside, brainsim.rate takes it")
        most = int(np.max(self.count))
        if most <= self.capacity:
            return ""
        return f"there were {most} spikes, but the list has room for {self.capacity}: give events={most} or more"


def counts(spikes: Spikes) -> Float[Array, " n"]:
    """How often each neuron spiked; NaN if the list overflowed."""
    there = jnp.arange(spikes.capacity, dtype=jnp.int32) < spikes.count
    one: Any = there.astype(jnp.result_type(float))
    found = jnp.zeros(spikes.n, one.dtype).at[jnp.asarray(spikes.neurons)].add(one, mode="drop")
    return jnp.where(spikes.overflow, jnp.nan, found)
