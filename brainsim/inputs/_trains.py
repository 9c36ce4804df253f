"""Events at given times."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from .._clock import LAST, first_step
from .._compat import as_jax, is_traced
from .._quantity import magnitude, shown
from .._typing import Param, param
from ._abstract import AbstractInput, check_rows


def _filled_up(times: Any) -> Any:
    """Times of events; of lists of such, one for each neuron, an array, filled up with infinite ones."""
    is_row = lambda x: isinstance(x, list | tuple) or np.ndim(x) == 1
    if not isinstance(times, list | tuple) or not any(map(is_row, times)):
        return times
    rows = [magnitude(row, "ms") for row in times]
    xp: Any = jnp if any(isinstance(x, jax.Array) for x in jax.tree.leaves(rows)) else np
    try:
        rows = [xp.atleast_1d(xp.asarray(row, float)) for row in rows]
        longest = max(len(row) for row in rows)
        return xp.stack([xp.pad(row, (0, longest - len(row)), constant_values=np.inf) for row in rows])
    except (TypeError, ValueError):
        raise ValueError(f"SpikeTrain: times must be a list of times or of such lists, got {shown(times)}") from None


class SpikeTrain(AbstractInput):
    """Events at given times (ms): an event at t arrives in the step that ends at t, as a spike stamped t would.

    **Arguments:**

    - `times`: in ms, positive. A list is for all neurons; a list of lists, or an array (n, m), has the times of each
      neuron. Infinite times stand for no event, and fill up rows of an array. Each is rounded up to the next multiple
      of dt. Numbers and NumPy arrays are kept in double precision; a JAX array stays one, which
      `brainsim.simulate_events` is differentiable in.
    - `weight`: of one event, in the unit of the receptor that it is given to.

    Events before a run begins or after it ends are those of other parts of a longer run: there is none of them in it.

    **Raises:** `ValueError` for a time that is not positive or NaN.

    ```python
    >>> import brainsim as bs
    >>> cells = bs.Population(2, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)))
    >>> train = bs.SpikeTrain([[3.0], [2.9, 3.0]], weight=100.0)
    >>> run = bs.simulate(cells, 10.0, dt=0.1, inputs=dict(exc=train), record=dict(i="exc.i"))
    >>> run["i"][28:30].round(2).tolist()
    [[0.0, 100.0], [100.0, 195.1199951171875]]

    ```
    """

    times: Any = param(unit="ms", doc="arrival times", domain="(0, inf]", double=True)
    weight: Param = param(1.0, doc="weight of one event")

    def __init__(self, times: Any, weight: Any = 1.0):
        self.times, self.weight = _filled_up(times), weight

    def __check_init__(self):
        if self.times.ndim > 2:
            raise ValueError(f"SpikeTrain: times must have shape (m,) or (n, m), got {self.times.shape}")

    def prepare(self, *, dt):
        xp: Any = jnp if is_traced(self.times) else np  # sorted once, outside of the program if possible
        steps = first_step(self.times, dt)
        steps = xp.where(steps < np.uint32(LAST), steps, 0)  # nothing arrives at the end of step 0
        order = xp.argsort(steps.ravel())
        neurons = None
        if steps.ndim == 2:
            rows = np.broadcast_to(np.arange(len(steps), dtype=np.int32)[:, None], steps.shape)
            neurons = as_jax(rows.ravel()[order])
        blocks = steps.ravel()[order][None]
        if blocks.size > _BLOCK:
            blocks = xp.pad(blocks[0], (0, -blocks.size % _BLOCK), constant_values=np.uint32(LAST + 1))
            blocks = blocks.reshape(-1, _BLOCK)
        return _Arrivals(as_jax(blocks), neurons, self.weight)

    def check(self, n):
        if self.times.ndim == 2 and len(self.times) != n:
            raise ValueError(f"has times for {len(self.times)} neurons, but there are {n}")
        check_rows(n, weights=self.weight)

    def at(self, k, dt, n):
        self.check(n)
        return self.prepare(dt=dt).at(k, dt, n)


_BLOCK = 256  # events that are looked at one by one; of more, only the first of each block, and then one block


class _Arrivals(AbstractInput):
    """Events by the step at whose end they arrive, ascending, and, if not all are for all neurons, by the neuron."""

    steps: UInt32[Array, "blocks events"]
    neurons: Int[Array, " events"] | None
    weight: Param

    def at(self, k, dt, n):
        end, none = k.astype(self.steps.dtype) + 1, jnp.zeros(n, jnp.int32)
        if len(self.steps) == 1:
            here = (self.steps[0] == end).astype(jnp.int32)
            count = jnp.sum(here, dtype=jnp.int32) if self.neurons is None else none.at[self.neurons].add(here)
        else:
            first, last = self._before(end), self._before(end + 1)
            count = last - first
            if (neurons := self.neurons) is not None:
                count = jax.lax.fori_loop(first, last, lambda i, count: count.at[neurons[i]].add(1), none)
        return jnp.broadcast_to(self.weight * count.astype(self.weight.dtype), (n,))

    def _before(self, step: Array) -> Array:
        """The number of events before a step: in all blocks that end before it, and in the one that it falls into."""
        block = jnp.maximum(jnp.sum(self.steps[:, 0] < step, dtype=jnp.int32) - 1, 0)
        return block * _BLOCK + jnp.sum(self.steps[block] < step, dtype=jnp.int32)
