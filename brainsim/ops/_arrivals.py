"""The event-driven product with a sparse matrix of synapses that each have their own delay."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._compat import as_jax
from .._typing import whole_number
from . import _arrivals_primitives as primitives
from ._operands import real, single_step, typed, vector_and_weight
from ._spike_lists import compact

Index: TypeAlias = Int[Array | np.ndarray, "..."]


def arrivals(
    history: Float[Array, "rows pre"],
    weight: ArrayLike,
    indices: Index,
    indptr: Index,
    steps: Index,
    k: ArrayLike,
    *,
    n_post: int | None = None,
    start: Float[Array, " post"] | None = None,
    hints: Int[Array, "rows size"] | None = None,
    relevant: Bool[Array, "rows pre"] | None = None,
) -> Float[Array, " post"]:
    r"""The events that arrive in step k, over synapses that differ in delay.

    $$\text{events}_j = \sum_d \sum_i \text{history}_{(k - \text{steps}_d) \bmod R,\, i}
        \sum_{s \in \text{segment } (i, d),\ \text{indices}_s = j} \text{weight}_s$$

    The synapses of a presynaptic neuron are sorted by delay, so that in each step those of one delay are read, for
    every neuron that spiked that long ago: the cost is proportional to the arriving events. Differentiable in
    `history`, `weight` and `start`, any number of times, in forward and reverse mode.

    **Arguments:**

    - `history`: the spikes of the last R steps, [R, pre]: those of step j in row j mod R. They may be graded; zero is
        no spike. R is at least the longest delay.
    - `weight`: one for all synapses, or one per synapse, [nnz].
    - `indices`: the postsynaptic neuron of every synapse, int32 [nnz]: by presynaptic neuron, then slot, then ascending
        (threads look for their part of a segment by bisection).
    - `indptr`: where in `indices` each slot of each neuron begins, and the last one ends, int32 [pre, slots + 1].
    - `steps`: the delay of each slot in steps, int32 [slots].
    - `k`: the number of the step in which the events arrive.
    - `n_post`: the number of postsynaptic neurons; or
    - `start`: what the events are added to, [post], default zeros.
    - `hints`: the `spike_list` of each row of `history`, int32 [R, size]; saves searching the history for spikes.
    - `relevant`: which entries of the history have a derivative, bool [R, pre]; default all. It changes no value:
        reverse mode leaves out the others.

    **Raises:** `ValueError` if shapes or types do not fit.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> history = jnp.array([[1.0], [0.0], [0.0], [0.0]])  # neuron 0 spiked in step 0; synapses onto 1, 2 and 0
    >>> indices, indptr, steps = jnp.array([1, 2, 0]), jnp.array([[0, 2, 3]]), jnp.array([1, 3])
    >>> [bs.ops.arrivals(history, 5.0, indices, indptr, steps, k, n_post=3).tolist() for k in (1, 2, 3)]
    [[0.0, 5.0, 5.0], [0.0, 0.0, 0.0], [5.0, 0.0, 0.0]]

    ```
    """
    history = real("arrivals: the history", history)
    dtype = history.dtype
    if history.ndim != 2 or not jnp.issubdtype(dtype, jnp.floating) or history.shape[0] < 1:
        raise ValueError(f"arrivals: the history must be floats [rows, pre], not {dtype}{list(history.shape)}")
    typed("arrivals: indices", indices, np.int32, "nnz")
    typed("arrivals: steps", steps, np.int32, "slots")
    typed("arrivals: indptr", indptr, np.int32, history.shape[1], steps.size + 1)
    if (n_post is None) == (start is None):
        raise ValueError("arrivals: give either n_post or start")
    if start is None:
        start = jnp.zeros(whole_number(n_post, "arrivals: n_post", least=0, most=2**31 - 1), dtype)
    start = real("arrivals: start", start)
    history, weight = vector_and_weight("arrivals", "spikes", history, weight)
    if start.ndim != 1:
        raise ValueError(f"arrivals: start must be [post], got {list(start.shape)}")
    if start.dtype != dtype or weight.dtype != dtype:
        raise ValueError(f"arrivals: the history is {dtype}, start {start.dtype} and the weight {weight.dtype}")
    if weight.shape not in ((), indices.shape):
        raise ValueError(f"arrivals: the weight has shape {list(weight.shape)}, expected [] or [{indices.size}]")
    if hints is None:
        hints = jnp.zeros((history.shape[0], 0), jnp.int32)
    typed("arrivals: hints", hints, np.int32, history.shape[0], "size")
    if relevant is None:
        relevant = jnp.zeros((0, history.shape[1]), bool)
    else:
        typed("arrivals: relevant", relevant, bool, *history.shape)
    k = single_step("arrivals", k)[None, None]
    pattern = as_jax(indices), as_jax(indptr), as_jax(steps), k
    batch = lambda x: x[None, None]
    past = batch(history), batch(hints), batch(relevant)
    if weight.ndim:
        return primitives.add.bind(batch(start), *past, weight[None], *pattern)[0, 0]
    # A weight common to all synapses stays outside: a sum of spikes, times the weight.
    spikes = primitives.add.bind(batch(jnp.zeros_like(start)), *past, *pattern)[0, 0]
    return start + weight * spikes


def spike_list(spikes: Float[Array, " n"], size: int) -> Int[Array, " size"]:
    """The number of neurons whose value is not zero, and then as many of them as fit, ascending; the rest is 0.

    Carries no gradient.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> bs.ops.spike_list(jnp.array([0.0, 1.0, 0.0, 0.5]), size=4).tolist()
    [2, 1, 3, 0]

    ```
    """
    spikes = real("spike_list: spikes", spikes)
    if spikes.ndim != 1:
        raise ValueError(f"spike_list: spikes must be [n], got {list(spikes.shape)}")
    size = whole_number(size, "spike_list: the size", least=0, most=2**31 - 1)
    return compact.bind(jax.lax.stop_gradient(spikes)[None], size=size)[0]
