"""The event-driven product with a sparse matrix in compressed rows (CSR), closed under differentiation.

Three primitives, all derivatives of the one trilinear form  sum_s spikes[pre(s)] · weight[s] · values[post(s)]  over
the synapses s, so the derivatives and transposes of each are the other two:

- *scatter*: spikes, weight -> events[post]. Event-driven: rows whose spike is zero are never read.
- *gather*: values, weight -> [pre], the transpose with respect to the spikes.
- *outer*: spikes, values -> [synapse], the transpose with respect to the weights. Event-driven.

Operands carry two batch axes, spikes [G, B, pre], values [G, B, post], weight [G, synapse]: G groups that have their
own weights, and B vectors that share them. So `vmap` over any of them stays one call.

With `masked=True`, scatter and gather have one more operand, `relevant` [G, B, pre] (bool): the rows that a gather
reads, the others being zero. A scatter hands it to the gather that is its transpose, and does nothing else with it:
whoever gives it says that the spikes of other rows have no derivative, so that theirs need not be computed.
"""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np

from .. import _compat
from . import _csr_plain as plain
from ._library import define_kernel, load

# ---- rules of scatter and of gather


def _product_abstract(x, *rest, n_out, masked=False):
    return _compat.ShapedArray((*x.shape[:2], n_out), x.dtype)


def _product_axes(x, *rest, masked=False, **params):
    weight = ["g"] * (len(rest) - 2 - masked)
    return ["gb", *weight, "", "", *["gb"] * masked], ["gb"]


def _product_jvp(primals, tangents, *, primitive, n_out, masked=False):
    x = primals[0]
    dx, *dweight = tangents[: len(primals) - 2 - masked]
    out = primitive().bind(*primals, n_out=n_out, masked=masked)
    terms = []
    if not isinstance(dx, _compat.Zero):
        terms.append(primitive().bind(dx, *primals[1:], n_out=n_out, masked=masked))
    if dweight and not isinstance(dweight[0], _compat.Zero):
        terms.append(primitive().bind(x, dweight[0], *primals[2:], n_out=n_out, masked=masked))
    return out, sum(terms[1:], terms[0])


def _product_transpose(ct, x, *rest, adjoint, n_out, masked=False):
    nothing = [None] * (len(rest) + 1)
    if isinstance(ct, _compat.Zero):
        return nothing
    indices, indptr = rest[-2 - masked : len(rest) - masked]
    if masked and adjoint() is scatter:  # of `gather`: what it left out did not depend on `x`
        ct = jnp.where(rest[-1], ct, 0)
    if _compat.is_undefined_primal(x):
        return [adjoint().bind(ct, *rest, n_out=x.aval.shape[-1], masked=masked), *nothing[1:]]
    ends = (x, ct) if adjoint() is gather else (ct, x)  # spikes, values
    return [None, outer.bind(*ends, indices, indptr), *nothing[2:]]


def _product_batch(operands, dims, *, primitive, n_out, masked=False):
    bind = ft.partial(primitive().bind, n_out=n_out, masked=masked)
    mask, mask_dim = (operands[-1:], dims[-1:]) if masked else ((), ())
    x, *weight, indices, indptr = operands[: len(operands) - masked]
    x_dim, *weight_dim, indices_dim, indptr_dim = dims[: len(operands) - masked]
    if indices_dim is not None or indptr_dim is not None:
        return _one_by_one(bind, operands, dims)
    size = next(n.shape[d] for n, d in zip(operands, dims, strict=True) if d is not None)
    grouped = bool(weight) and weight_dim[0] is not None  # more groups; else more vectors in each group
    axis = 0 if grouped else 1
    merged = lambda v, d: _merge(jnp.moveaxis(_front(v, d, size), 0, axis), axis)
    if grouped:
        weight = [_merge(_front(weight[0], weight_dim[0], size), 0)]
    out = bind(merged(x, x_dim), *weight, indices, indptr, *(merged(m, d) for m, d in zip(mask, mask_dim, strict=True)))
    shape = x.shape if x_dim is None else x.shape[:x_dim] + x.shape[x_dim + 1 :]
    return out.reshape(*shape[:axis], size, *shape[axis:2], n_out), axis


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


def _one_by_one(bind, operands, dims, results=None):
    """A batch of different sparsity patterns: one after the other; `results` is their number, if there is not one."""
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    mapped = [_front(x, d, size) for x, d in zip(operands, dims, strict=True) if d is not None]

    def one(batched):
        batched = iter(batched)
        return bind(*(x if d is None else next(batched) for x, d in zip(operands, dims, strict=True)))

    return jax.lax.map(one, mapped), 0 if results is None else [0] * results


# ---- the primitives


def _kernel(name):
    """Chooses the compiled kernel: there is one for float32 and float64, with weights and without."""

    def target(x, *rest, masked=False, **params):
        unit = "_unit" * (len(rest) == 2 + masked)
        return name + "_relevant" * masked + unit if x.dtype in (np.float32, np.float64) else None

    return target


def _without_mask(*operands, masked=False, **params):
    return operands[: len(operands) - masked]


def _scatter_kernel(*avals, masked=False, **params):
    return _kernel("brainsim_csr_scatter")(*_without_mask(*avals, masked=masked))


scatter = _compat.define_primitive(
    "brainsim_csr_scatter",
    abstract=_product_abstract,
    reference=plain.scatter,
    jvp=ft.partial(_product_jvp, primitive=lambda: scatter),
    transpose=ft.partial(_product_transpose, adjoint=lambda: gather),
    batch=ft.partial(_product_batch, primitive=lambda: scatter),
    axes=_product_axes,
)
gather = _compat.define_primitive(
    "brainsim_csr_gather",
    abstract=_product_abstract,
    reference=plain.gather,
    jvp=ft.partial(_product_jvp, primitive=lambda: gather),
    transpose=ft.partial(_product_transpose, adjoint=lambda: scatter),
    batch=ft.partial(_product_batch, primitive=lambda: gather),
    axes=_product_axes,
)
outer = _compat.define_primitive(
    "brainsim_csr_outer",
    abstract=_outer_abstract,
    reference=plain.outer,
    jvp=_outer_jvp,
    transpose=_outer_transpose,
    batch=_outer_batch,
    axes=lambda *operands: (["gb", "gb", "", ""], ["g"]),
)

define_kernel(scatter, _scatter_kernel, operands=_without_mask)
define_kernel(gather, _kernel("brainsim_csr_gather"))
define_kernel(outer, _kernel("brainsim_csr_outer"))
if not load():  # XLA runs scatters on a CPU one entry at a time: rather find the spikes first
    _compat.define_call(scatter, plain.scatter_events, platform="cpu")
