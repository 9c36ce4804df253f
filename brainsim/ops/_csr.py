"""The event-driven product with a sparse matrix in compressed rows (CSR), closed under differentiation.

Three primitives, all derivatives of the one trilinear form  sum_s spikes[pre(s)] · weight[s] · values[post(s)]  over
the synapses s, so the derivatives and transposes of each are the other two:

- *scatter*: spikes, weight -> events[post]. Event-driven: rows whose spike is zero are never read.
- *gather*: values, weight -> [pre], the transpose with respect to the spikes.
- *outer*: spikes, values -> [synapse], the transpose with respect to the weights. Event-driven.

Operands carry two batch axes, spikes [G, B, pre], values [G, B, post], weight [G, synapse]: G groups that have their
own weights, and B vectors that share them. So `vmap` over any of them stays one call.
"""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .. import _compat
from ._library import load


def csr_matvec(
    spikes: ArrayLike, weight: ArrayLike, indices: Int[Array, " nnz"], indptr: Int[Array, " pre+1"], n_post: int
) -> Float[Array, " post"]:
    r"""The events that spikes cause: a sparse matrix in compressed rows, applied from the left to a spike vector.

    $$\text{events}_j = \sum_i \sum_{s \in \text{row } i,\ \text{indices}_s = j} \text{spikes}_i \, \text{weight}_s$$

    Rows of neurons that do not spike are not read, so the cost is proportional to the synapses of those that do. Spikes
    may be graded: their values are carried as they are. Differentiable in `spikes` and `weight`, any number of times,
    in forward and reverse mode.

    **Arguments:**

    - `spikes`: one value per presynaptic neuron, [pre]; zero is no spike.
    - `weight`: one for all synapses, or one per synapse, [nnz].
    - `indices`: the postsynaptic neuron of every synapse, int32 [nnz], row after row. An entry outside [0, n_post)
        contributes nothing, so it may serve as padding.
    - `indptr`: where each row starts and the last one ends, int32 [pre + 1]. Synapses after the last row are padding.
    - `n_post`: the number of postsynaptic neurons.

    **Raises:** `ValueError` if shapes or types do not fit.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> indices, indptr = jnp.array([1, 2, 0]), jnp.array([0, 2, 3])  # 0 -> 1, 0 -> 2, 1 -> 0
    >>> bs.ops.csr_matvec(jnp.array([1.0, 0.0]), jnp.array([5.0, 6.0, 7.0]), indices, indptr, n_post=4)
    Array([0., 5., 6., 0.], dtype=float32)

    ```
    """
    spikes, weight = _checked("csr_matvec", "spikes", spikes, weight, indices, indptr, len(indptr) - 1)
    return _apply(_scatter, spikes, weight, indices, indptr, n_post)


def csr_rmatvec(
    values: ArrayLike, weight: ArrayLike, indices: Int[Array, " nnz"], indptr: Int[Array, " pre+1"]
) -> Float[Array, " pre"]:
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
    return _apply(_gather, values, weight, indices, indptr, len(indptr) - 1)


def csr_outer(
    spikes: ArrayLike, values: ArrayLike, indices: Int[Array, " nnz"], indptr: Int[Array, " pre+1"]
) -> Float[Array, " nnz"]:
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
    return _outer.bind(spikes[None, None], values[None, None], indices, indptr)[0]


def _checked(name, role, x, weight, indices, indptr, size):
    """`x` and `weight` as arrays of one floating-point type, with all shapes checked."""
    x, weight = jnp.asarray(x), weight if isinstance(weight, (bool, int, float)) else jnp.asarray(weight)
    dtype = jnp.result_type(float) if isinstance(weight, (bool, int, float)) else weight.dtype
    if not jnp.issubdtype(x.dtype, jnp.inexact):  # boolean spikes
        x = x.astype(dtype)
    weight = jnp.asarray(weight, dtype=x.dtype if isinstance(weight, (bool, int, float)) or weight.weak_type else None)
    if weight.dtype != x.dtype:
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


def _apply(primitive, x, weight, indices, indptr, n_out):
    """A product of one vector. A weight common to all synapses stays outside: a sum of spikes, times the weight."""
    if weight.ndim == 0:
        return weight * primitive.bind(x[None, None], indices, indptr, n_out=n_out)[0, 0]
    return primitive.bind(x[None, None], weight[None], indices, indptr, n_out=n_out)[0, 0]


# ------------------------------------------------------------------------------------------- reference, in plain JAX


def _synapses(indices, indptr, n_post):
    """pre[s], post[s] and whether synapse s is one at all (or padding); pre and post are within range in any case."""
    n_pre = len(indptr) - 1
    pre = jnp.cumsum(jnp.zeros(len(indices), indptr.dtype).at[indptr].add(1, mode="drop"), dtype=indptr.dtype) - 1
    real = (pre >= 0) & (pre < n_pre) & (indices >= 0) & (indices < n_post)
    return jnp.where(real, pre, 0), jnp.where(real, indices, 0), real


def _spread(values, at, real, n_out):
    """out[..., at[s]] += values[..., s] over the real synapses."""
    at = jnp.where(real, at, n_out)  # out of range, hence dropped
    return jnp.zeros((*values.shape[:-1], n_out), values.dtype).at[..., at].add(values, mode="drop")


def _scatter_reference(spikes, *rest, n_out):
    *weight, indices, indptr = rest
    if spikes.shape[-1] == 0 or n_out == 0:
        return jnp.zeros((*spikes.shape[:-1], n_out), spikes.dtype)
    pre, post, real = _synapses(indices, indptr, n_out)
    spike = spikes[..., pre]
    # Where there is no spike nothing is delivered, not even an infinite weight times zero.
    sent = jnp.where(spike != 0, spike * weight[0][:, None, :], 0) if weight else spike
    return _spread(sent, post, real, n_out)


def _gather_reference(values, *rest, n_out):
    *weight, indices, indptr = rest
    if values.shape[-1] == 0 or n_out == 0:
        return jnp.zeros((*values.shape[:-1], n_out), values.dtype)
    pre, post, real = _synapses(indices, indptr, values.shape[-1])
    found = values[..., post] * weight[0][:, None, :] if weight else values[..., post]
    return _spread(found, pre, real, n_out)


def _outer_reference(spikes, values, indices, indptr):
    if spikes.shape[-1] == 0 or values.shape[-1] == 0:
        return jnp.zeros((len(spikes), len(indices)), spikes.dtype)
    pre, post, real = _synapses(indices, indptr, values.shape[-1])
    spike = spikes[..., pre]
    return jnp.where(real & (spike != 0), spike * values[..., post], 0).sum(axis=1)


# ------------------------------------------------------------------------------------- rules of scatter and of gather


def _product_abstract(x, *rest, n_out):
    return _compat.ShapedArray((*x.shape[:2], n_out), x.dtype)


def _product_jvp(primals, tangents, *, primitive, n_out):
    bind = ft.partial(primitive().bind, n_out=n_out)
    x, *weight, indices, indptr = primals
    dx, *dweight, _, _ = tangents
    out = bind(*primals)
    terms = []
    if not isinstance(dx, _compat.Zero):
        terms.append(bind(dx, *weight, indices, indptr))
    if dweight and not isinstance(dweight[0], _compat.Zero):
        terms.append(bind(x, dweight[0], indices, indptr))
    return out, sum(terms[1:], terms[0])


def _product_transpose(ct, x, *rest, adjoint, n_out):
    *weight, indices, indptr = rest
    nothing = [None] * (len(rest) + 1)
    if isinstance(ct, _compat.Zero):
        return nothing
    if _compat.is_undefined_primal(x):
        return [adjoint().bind(ct, *weight, indices, indptr, n_out=x.aval.shape[-1]), *nothing[1:]]
    ends = (x, ct) if adjoint() is _gather else (ct, x)  # spikes, values
    return [None, _outer.bind(*ends, indices, indptr), None, None]


def _product_batch(operands, dims, *, primitive, n_out):
    x, *weight, indices, indptr = operands
    x_dim, *weight_dim, indices_dim, indptr_dim = dims
    bind = ft.partial(primitive().bind, n_out=n_out)
    if indices_dim is not None or indptr_dim is not None:
        return _one_by_one(bind, operands, dims)
    if weight and weight_dim[0] is not None:  # more groups
        size = weight[0].shape[weight_dim[0]]
        x, w = _front(x, x_dim, size), _front(weight[0], weight_dim[0], size)
        out = bind(_merge(x, 0), _merge(w, 0), indices, indptr)
        return out.reshape(*x.shape[:3], n_out), 0
    size = x.shape[x_dim]  # more vectors in each group
    x = jnp.moveaxis(x, x_dim, 1)
    out = bind(_merge(x, 1), *weight, indices, indptr)
    return out.reshape(*x.shape[:3], n_out), 1


# ---------------------------------------------------------------------------------------------------- rules of outer


def _outer_abstract(spikes, values, indices, indptr):
    return _compat.ShapedArray((spikes.shape[0], indices.shape[0]), spikes.dtype)


def _outer_jvp(primals, tangents):
    spikes, values, indices, indptr = primals
    dspikes, dvalues, _, _ = tangents
    terms = []
    if not isinstance(dspikes, _compat.Zero):
        terms.append(_outer.bind(dspikes, values, indices, indptr))
    if not isinstance(dvalues, _compat.Zero):
        terms.append(_outer.bind(spikes, dvalues, indices, indptr))
    return _outer.bind(*primals), sum(terms[1:], terms[0])


def _outer_transpose(ct, spikes, values, indices, indptr):
    if isinstance(ct, _compat.Zero):
        return [None] * 4
    if _compat.is_undefined_primal(spikes):
        return [_gather.bind(values, ct, indices, indptr, n_out=spikes.aval.shape[-1]), None, None, None]
    return [None, _scatter.bind(spikes, ct, indices, indptr, n_out=values.aval.shape[-1]), None, None]


def _outer_batch(operands, dims):
    if dims[2] is not None or dims[3] is not None:
        return _one_by_one(_outer.bind, operands, dims)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    spikes, values = (_front(x, d, size) for x, d in zip(operands[:2], dims[:2], strict=True))
    out = _outer.bind(_merge(spikes, 0), _merge(values, 0), *operands[2:])
    return out.reshape(*spikes.shape[:2], out.shape[-1]), 0


def _front(x, dim, size):
    """`x` with its batch axis in front; repeated if it has none."""
    return jnp.broadcast_to(x, (size, *x.shape)) if dim is None else jnp.moveaxis(x, dim, 0)


def _merge(x, axis):
    """`x` with `axis` and the one after it as one axis."""
    return x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])


def _one_by_one(bind, operands, dims):
    """A batch of different sparsity patterns: one after the other."""
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    mapped = [_front(x, d, size) for x, d in zip(operands, dims, strict=True) if d is not None]

    def one(batched):
        batched = iter(batched)
        return bind(*(x if d is None else next(batched) for x, d in zip(operands, dims, strict=True)))

    return jax.lax.map(one, mapped), 0


# ------------------------------------------------------------------------------------------------------- primitives


def _kernel(name):
    """Chooses the compiled kernel: there is one for float32 and float64, with weights and without."""

    def target(x, *rest, **params):
        return name + "_unit" * (len(rest) == 2) if x.dtype in (np.float32, np.float64) else None

    return target


_scatter = _compat.define_primitive(
    "brainsim_csr_scatter",
    abstract=_product_abstract,
    reference=_scatter_reference,
    jvp=ft.partial(_product_jvp, primitive=lambda: _scatter),
    transpose=ft.partial(_product_transpose, adjoint=lambda: _gather),
    batch=ft.partial(_product_batch, primitive=lambda: _scatter),
)
_gather = _compat.define_primitive(
    "brainsim_csr_gather",
    abstract=_product_abstract,
    reference=_gather_reference,
    jvp=ft.partial(_product_jvp, primitive=lambda: _gather),
    transpose=ft.partial(_product_transpose, adjoint=lambda: _scatter),
    batch=ft.partial(_product_batch, primitive=lambda: _gather),
)
_outer = _compat.define_primitive(
    "brainsim_csr_outer",
    abstract=_outer_abstract,
    reference=_outer_reference,
    jvp=_outer_jvp,
    transpose=_outer_transpose,
    batch=_outer_batch,
)

if load():
    _compat.define_kernel(_scatter, _scatter_reference, _kernel("brainsim_csr_scatter"))
    _compat.define_kernel(_gather, _gather_reference, _kernel("brainsim_csr_gather"))
    _compat.define_kernel(_outer, _outer_reference, _kernel("brainsim_csr_outer"))
