"""The event-driven product with a sparse matrix in compressed rows (CSR), and its transposes."""

import functools as ft
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from . import _csr_narrow as narrow, _csr_primitives as primitives

Index: TypeAlias = Int[Array | np.ndarray, " n"]


def csr_matvec(
    spikes: ArrayLike,
    weight: ArrayLike,
    indices: Index,
    indptr: Index,
    n_post: int,
    *,
    relevant: Bool[Array, " pre"] | None = None,
) -> Float[Array, " post"]:
    r"""The events that spikes cause: a sparse matrix in compressed rows, applied from the left to a spike vector.

    $$\text{events}_j = \sum_i \sum_{s \in \text{row } i,\ \text{indices}_s = j} \text{spikes}_i \, \text{weight}_s$$

    Rows of neurons that do not spike are not read, so the cost is proportional to the synapses of those that do. Spikes
    may be graded: their values are carried as they are. Differentiable in `spikes` and `weight`, any number of times,
    in forward and reverse mode.

    **Arguments:**

    - `spikes`: one value per presynaptic neuron, [pre]; zero is no spike.
    - `weight`: one for all synapses, or one per synapse, [nnz]; of the type of the spikes, or bfloat16 for float32
        spikes (two bytes less to read per synapse; sums are float32).
    - `indices`: the postsynaptic neuron of every synapse, int32 [nnz], row after row. An entry outside [0, n_post)
        contributes nothing, so it may serve as padding.
    - `indptr`: where each row starts and the last one ends, int32 [pre + 1]. Synapses after the last row are padding.
    - `n_post`: the number of postsynaptic neurons.
    - `relevant`: which spikes have a derivative, bool [pre]; default all. It changes no value: reverse mode leaves out
        the others, so its cost is proportional to the synapses of these. Their derivative must be zero further up.

    **Raises:** `ValueError` if shapes or types do not fit.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> indices, indptr = jnp.array([1, 2, 0]), jnp.array([0, 2, 3])  # 0 -> 1, 0 -> 2, 1 -> 0
    >>> bs.ops.csr_matvec(jnp.array([1.0, 0.0]), jnp.array([5.0, 6.0, 7.0]), indices, indptr, n_post=4)
    Array([0., 5., 6., 0.], dtype=float32)

    ```
    """
    spikes, weight = _checked("csr_matvec", "spikes", spikes, weight, indices, indptr, len(indptr) - 1)
    if relevant is None:
        return _apply(primitives.scatter, spikes, weight, indices, indptr, n_post)
    if relevant.shape != spikes.shape or relevant.dtype != bool:
        raise ValueError(
            f"csr_matvec: relevant is {relevant.dtype}{list(relevant.shape)}, expected bool{list(spikes.shape)}"
        )
    return _apply(primitives.scatter, spikes, weight, indices, indptr, n_post, relevant)


def csr_rmatvec(values: ArrayLike, weight: ArrayLike, indices: Index, indptr: Index) -> Float[Array, " pre"]:
    """What each presynaptic neuron finds at its targets: the transpose of `csr_matvec` with respect to the spikes.

    $$y_i = \\sum_{s \\in \\text{row } i} \\text{weight}_s \\, \\text{values}_{\\text{indices}_s}$$

    **Arguments:** as in `csr_matvec`, with `values`, one per postsynaptic neuron, [post].

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> indices, indptr = jnp.array([1, 2, 0]), jnp.array([0, 2, 3])
    >>> bs.ops.csr_rmatvec(jnp.array([1.0, 10.0, 100.0]), 2.0, indices, indptr)
    Array([220.,   2.], dtype=float32)

    ```
    """
    values, weight = _checked("csr_rmatvec", "values", values, weight, indices, indptr, None)
    return _apply(primitives.gather, values, weight, indices, indptr, len(indptr) - 1)


def csr_outer(spikes: ArrayLike, values: ArrayLike, indices: Index, indptr: Index) -> Float[Array, " nnz"]:
    """The product of the values at both ends of every synapse: the transpose of `csr_matvec` in the weights.

    $$y_s = \\text{spikes}_{\\text{pre}(s)} \\, \\text{values}_{\\text{post}(s)}$$

    **Arguments:** `spikes` [pre] and `values` [post], and the synapses as in `csr_matvec`; padding yields 0.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> indices, indptr = jnp.array([1, 2, 0]), jnp.array([0, 2, 3])
    >>> bs.ops.csr_outer(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0, 5.0]), indices, indptr)
    Array([4., 5., 6.], dtype=float32)

    ```
    """
    spikes, _ = _checked("csr_outer", "spikes", spikes, 1.0, indices, indptr, len(indptr) - 1)
    values = jnp.asarray(values)
    if values.dtype != spikes.dtype or values.ndim != 1:
        raise ValueError(
            f"csr_outer: values are {values.dtype}{list(values.shape)}, expected {spikes.dtype} with one axis"
        )
    return primitives.outer.bind(spikes[None, None], values[None, None], indices, indptr)[0]


def _checked(name, role, x, weight, indices, indptr, size):
    """`x` and `weight` as arrays of one floating-point type, with all shapes checked."""
    x, weight = jnp.asarray(x), weight if isinstance(weight, (bool, int, float)) else jnp.asarray(weight)
    dtype = jnp.result_type(float) if isinstance(weight, (bool, int, float)) else weight.dtype
    if not jnp.issubdtype(x.dtype, jnp.inexact):  # boolean spikes
        x = x.astype(dtype)
    weight = jnp.asarray(weight, dtype=x.dtype if isinstance(weight, (bool, int, float)) or weight.weak_type else None)
    if weight.dtype != x.dtype and (x.dtype, weight.dtype) != (jnp.float32, jnp.bfloat16):
        raise ValueError(f"{name}: {role} are {x.dtype}, but the weight is {weight.dtype}")
    if indices.dtype != np.int32 or indptr.dtype != np.int32 or indices.ndim != 1 or indptr.ndim != 1:
        raise ValueError(
            f"{name}: indices and indptr must be int32 with one axis, "
            f"not {indices.dtype}{list(indices.shape)} and {indptr.dtype}{list(indptr.shape)}"
        )
    if x.ndim != 1 or (size is not None and x.shape != (size,)):
        raise ValueError(f"{name}: {role} have shape {list(x.shape)}, expected [{'n_post' if size is None else size}]")
    if weight.shape not in ((), indices.shape):
        raise ValueError(f"{name}: the weight has shape {list(weight.shape)}, expected [] or [{indices.size}]")
    return x, weight


def _apply(primitive, x, weight, indices, indptr, n_out, relevant=None):
    """A product of one vector. A weight common to all synapses stays outside: a sum of spikes, times the weight."""
    mask = [] if relevant is None else [relevant[None, None]]
    if weight.ndim and weight.dtype != x.dtype:  # these have no masked form, and a mask only saves work
        primitive, mask = narrow.scatter if primitive is primitives.scatter else narrow.gather, []
        bind = ft.partial(primitive.bind, n_out=n_out)
    else:
        bind = ft.partial(primitive.bind, n_out=n_out, masked=bool(mask))
    if weight.ndim == 0:
        return weight.astype(x.dtype) * bind(x[None, None], indices, indptr, *mask)[0, 0]
    return bind(x[None, None], weight[None], indices, indptr, *mask)[0, 0]
