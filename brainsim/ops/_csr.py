"""The event-driven product with a sparse matrix in compressed rows (CSR), and its transposes."""

import functools as ft
from typing import TypeAlias

import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._typing import whole_number
from . import _csr_narrow as narrow, _csr_primitives as primitives
from ._operands import real, typed, vector_and_weight

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
    name, n_post = "csr_matvec", whole_number(n_post, "csr_matvec: n_post", least=0, most=2**31 - 1)
    spikes, weight = _checked(name, "spikes", spikes, weight, indices, indptr, True)
    if relevant is not None:
        relevant = typed(f"{name}: relevant", relevant, bool, *spikes.shape)
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
    values, weight = _checked("csr_rmatvec", "values", values, weight, indices, indptr, False)
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
    spikes, _ = _checked("csr_outer", "spikes", spikes, 1.0, indices, indptr, True)
    values = real("csr_outer: values", values)
    if values.dtype != spikes.dtype or values.ndim != 1:
        raise ValueError(
            f"csr_outer: values are {values.dtype}{list(values.shape)}, expected {spikes.dtype} with one axis"
        )
    return primitives.outer.bind(spikes[None, None], values[None, None], indices, indptr)[0]


def _checked(name, role, x, weight, indices, indptr, by_row):
    """`x`, whose entries belong to the rows or to what these point at, and `weight`, if all types and shapes fit."""
    x, weight = vector_and_weight(name, role, x, weight)
    typed(f"{name}: indices", indices, np.int32, "nnz")
    rows = len(typed(f"{name}: indptr", indptr, np.int32, "pre + 1")) - 1
    if rows < 0:
        raise ValueError(f"{name}: indptr is empty; without rows it is [0]")
    if x.ndim != 1 or (by_row and x.shape != (rows,)):
        raise ValueError(f"{name}: {role} have shape {list(x.shape)}, expected [{rows if by_row else 'n_post'}]")
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
