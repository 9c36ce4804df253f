"""Weights that pass through the steps of a loop, so that reverse mode adds up their gradient in place.

A loop's weights are constants of it. The cotangent of a constant is a sum over the steps, and every step would add an
array with one entry per synapse to it, nearly all of them zero. If the weights are instead *carried* by the loop, each
step receives the cotangent of what follows and adds to the rows that spiked, in the same buffer:

- *through*: spikes, weight, carried -> events, carried. Forwards, the product `scatter`; `carried` passes unchanged.
  By agreement it is the weights once more, and the one of the two whose derivative counts. Its value is never read,
  so that reverse mode need not keep it.
- *accumulate*: total, spikes, values -> total + outer(spikes, values), in place; the transpose of `through`.
"""

import functools as ft

import jax.numpy as jnp
import numpy as np

from .. import _compat
from . import _csr_plain as plain
from ._csr_primitives import _front, _merge, _one_by_one, gather, outer, scatter
from ._library import define_kernel

# ---- through


def _through_abstract(spikes, weight, carried, *rest, n_out, masked):
    return [_compat.ShapedArray((*spikes.shape[:2], n_out), spikes.dtype), carried]


def _through_axes(*operands, masked, **params):
    return ["gb", "g", "g", "", "", *["gb"] * masked], ["gb", "g"]


def _through_plain(spikes, weight, carried, *rest, n_out, masked):
    return [scatter.bind(spikes, weight, *rest, n_out=n_out, masked=masked), carried]


def _through_jvp(primals, tangents, *, n_out, masked):
    spikes, weight, _, indices, indptr, *_ = primals
    dspikes, _, dcarried = tangents[:3]
    out = through.bind(*primals, n_out=n_out, masked=masked)
    terms = []
    if not isinstance(dspikes, _compat.Zero):
        terms.append(scatter.bind(dspikes, weight, *primals[3:], n_out=n_out, masked=masked))
    if not isinstance(dcarried, _compat.Zero):
        more, dcarried = through.bind(spikes, dcarried, dcarried, indices, indptr, n_out=n_out, masked=False)
        terms.append(more)
    return out, [sum(terms[1:], terms[0]), dcarried]


def _through_transpose(cts, spikes, weight, carried, *rest, n_out, masked):
    ct, ct_carried = cts
    nothing = [None] * len(rest)
    if isinstance(ct, _compat.Zero):
        return [None, None, None if isinstance(ct_carried, _compat.Zero) else ct_carried, *nothing]
    if _compat.is_undefined_primal(spikes):
        return [gather.bind(ct, weight, *rest, n_out=spikes.aval.shape[-1], masked=masked), None, None, *nothing]
    ends = spikes, ct, *rest[:2]
    total = outer.bind(*ends) if isinstance(ct_carried, _compat.Zero) else accumulate.bind(ct_carried, *ends)
    return [None, None, total, *nothing]


def _through_batch(operands, dims, *, n_out, masked):
    bind = ft.partial(through.bind, n_out=n_out, masked=masked)
    if dims[3] is not None or dims[4] is not None:
        return _one_by_one(bind, operands, dims, results=2)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    grouped = dims[1] is not None or dims[2] is not None  # more groups; else more vectors in each group
    axis = 0 if grouped else 1
    merged = lambda i: _merge(jnp.moveaxis(_front(operands[i], dims[i], size), 0, axis), axis)
    weights = [merged(1), merged(2)] if grouped else operands[1:3]
    events, carried = bind(merged(0), *weights, *operands[3:5], *([merged(5)] if masked else []))
    shape = (events.shape[0] // size, *events.shape[1:]) if grouped else (*events.shape[:1], events.shape[1] // size)
    events = events.reshape(*((size, *shape) if grouped else (shape[0], size, shape[1], n_out)))
    return [events, carried.reshape(size, -1, carried.shape[-1]) if grouped else carried], [
        axis,
        0 if grouped else None,
    ]


def _through_dce(used, eqn):
    """Where the carried weights are not used further on, or not yet, it is a `scatter`."""
    if used[1] or not used[0]:
        return [any(used)] * len(eqn.invars), eqn if any(used) else None
    keep = [i != 2 for i in range(len(eqn.invars))]
    atoms = [x for x, k in zip(eqn.invars, keep, strict=True) if k]
    return keep, eqn.replace(primitive=scatter, invars=atoms, outvars=eqn.outvars[:1])


# ---- accumulate


def _accumulate_abstract(total, *_):
    return total


def _accumulate_jvp(primals, tangents):
    _, spikes, values, *pattern = primals
    dtotal, dspikes, dvalues = tangents[:3]
    change = None if isinstance(dtotal, _compat.Zero) else dtotal
    for tangent, ends in ((dspikes, (dspikes, values)), (dvalues, (spikes, dvalues))):
        if not isinstance(tangent, _compat.Zero):
            change = outer.bind(*ends, *pattern) if change is None else accumulate.bind(change, *ends, *pattern)
    return accumulate.bind(*primals), change


def _accumulate_transpose(ct, total, spikes, values, *pattern):
    if isinstance(ct, _compat.Zero):
        return [None] * 5
    undefined = _compat.is_undefined_primal
    return [
        ct if undefined(total) else None,
        gather.bind(values, ct, *pattern, n_out=spikes.aval.shape[-1]) if undefined(spikes) else None,
        scatter.bind(spikes, ct, *pattern, n_out=values.aval.shape[-1]) if undefined(values) else None,
        None,
        None,
    ]


def _accumulate_batch(operands, dims):
    if dims[3] is not None or dims[4] is not None:
        return _one_by_one(accumulate.bind, operands, dims)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    front = [_merge(_front(x, d, size), 0) for x, d in zip(operands[:3], dims[:3], strict=True)]
    out = accumulate.bind(*front, *operands[3:])
    return out.reshape(size, -1, out.shape[-1]), 0


# ---- the primitives

through = _compat.define_primitive(
    "brainsim_csr_through",
    abstract=_through_abstract,
    reference=_through_plain,
    jvp=_through_jvp,
    transpose=_through_transpose,
    batch=_through_batch,
    axes=_through_axes,
    multiple_results=True,
)
_compat.define_dce(through, _through_dce)

accumulate = _compat.define_primitive(
    "brainsim_csr_accumulate",
    abstract=_accumulate_abstract,
    reference=plain.accumulate,
    jvp=_accumulate_jvp,
    transpose=_accumulate_transpose,
    batch=_accumulate_batch,
    axes=lambda *operands: (["g", "gb", "gb", "", ""], ["g"]),
    adds_to=0,
)


def _accumulate_kernel(total, *_):
    return "brainsim_csr_accumulate" if total.dtype in (np.float32, np.float64) else None


define_kernel(accumulate, _accumulate_kernel, aliases={0: 0})
