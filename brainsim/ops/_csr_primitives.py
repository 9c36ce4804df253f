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

from .. import _compat
from . import _csr_plain as plain
from ._library import load

# ---- rules of scatter and of gather


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
    ends = (x, ct) if adjoint() is gather else (ct, x)  # spikes, values
    return [None, outer.bind(*ends, indices, indptr), None, None]


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


# ---- rules of outer


def _outer_abstract(spikes, values, indices, indptr):
    return _compat.ShapedArray((spikes.shape[0], indices.shape[0]), spikes.dtype)


def _outer_jvp(primals, tangents):
    spikes, values, indices, indptr = primals
    dspikes, dvalues, _, _ = tangents
    terms = []
    if not isinstance(dspikes, _compat.Zero):
        terms.append(outer.bind(dspikes, values, indices, indptr))
    if not isinstance(dvalues, _compat.Zero):
        terms.append(outer.bind(spikes, dvalues, indices, indptr))
    return outer.bind(*primals), sum(terms[1:], terms[0])


def _outer_transpose(ct, spikes, values, indices, indptr):
    if isinstance(ct, _compat.Zero):
        return [None] * 4
    if _compat.is_undefined_primal(spikes):
        return [gather.bind(values, ct, indices, indptr, n_out=spikes.aval.shape[-1]), None, None, None]
    return [None, scatter.bind(spikes, ct, indices, indptr, n_out=values.aval.shape[-1]), None, None]


def _outer_batch(operands, dims):
    if dims[2] is not None or dims[3] is not None:
        return _one_by_one(outer.bind, operands, dims)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    spikes, values = (_front(x, d, size) for x, d in zip(operands[:2], dims[:2], strict=True))
    out = outer.bind(_merge(spikes, 0), _merge(values, 0), *operands[2:])
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


# ---- the primitives


def _kernel(name):
    """Chooses the compiled kernel: there is one for float32 and float64, with weights and without."""

    def target(x, *rest, **params):
        return name + "_unit" * (len(rest) == 2) if x.dtype in (np.float32, np.float64) else None

    return target


scatter = _compat.define_primitive(
    "brainsim_csr_scatter",
    abstract=_product_abstract,
    reference=plain.scatter,
    jvp=ft.partial(_product_jvp, primitive=lambda: scatter),
    transpose=ft.partial(_product_transpose, adjoint=lambda: gather),
    batch=ft.partial(_product_batch, primitive=lambda: scatter),
)
gather = _compat.define_primitive(
    "brainsim_csr_gather",
    abstract=_product_abstract,
    reference=plain.gather,
    jvp=ft.partial(_product_jvp, primitive=lambda: gather),
    transpose=ft.partial(_product_transpose, adjoint=lambda: scatter),
    batch=ft.partial(_product_batch, primitive=lambda: gather),
)
outer = _compat.define_primitive(
    "brainsim_csr_outer",
    abstract=_outer_abstract,
    reference=plain.outer,
    jvp=_outer_jvp,
    transpose=_outer_transpose,
    batch=_outer_batch,
)

if load():
    _compat.define_cpu_lowering(scatter, plain.scatter, _kernel("brainsim_csr_scatter"))
    _compat.define_cpu_lowering(gather, plain.gather, _kernel("brainsim_csr_gather"))
    _compat.define_cpu_lowering(outer, plain.outer, _kernel("brainsim_csr_outer"))
else:  # XLA runs scatters on a CPU one entry at a time: rather find the spikes first
    _compat.define_cpu_lowering(scatter, plain.scatter_events)
