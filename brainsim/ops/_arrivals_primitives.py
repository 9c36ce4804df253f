"""The event-driven product with a sparse matrix of synapses with delays, closed under differentiation.

Three primitives, all derivatives of one trilinear form over the synapses s of all slots d,

    sum_s history[(k - steps[d(s)]) mod R, pre(s)] · weight[s] · values[post(s)]

so the derivatives and transposes of each are the other two:

- *add*: start, history, weight -> start + events[post]. Event-driven.
- *gather*: values, weight -> [R, pre], the transpose with respect to the history.
- *outer*: history, values -> [synapse], the transpose with respect to the weights. Event-driven.

*add* starts from a vector so that several matrices can add up in one, in place. Hints (see `spike_list`) go with a
history that they were made from; any other history, such as a tangent, goes with none, an array of length 0.

Operands carry two batch axes, as in `_csr_primitives`: G groups that have their own weights, B vectors that share them.
"""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np

from .. import _compat
from . import _arrivals_plain as plain
from ._library import define_kernel


def _no_hints(history):
    return jnp.zeros((*history.shape[:3], 0), jnp.int32)


def _sum(terms):
    return sum(terms[1:], terms[0])


# ---- add


def _add_abstract(start, *_):
    return _compat.ShapedArray(start.shape, start.dtype)


def _add_jvp(primals, tangents):
    start, history, hints, *weight, indices, indptr, steps, k = primals
    dstart, dhistory, _, *dweight = tangents[: 3 + len(weight)]
    pattern = indices, indptr, steps, k
    out = add.bind(*primals)
    tangent = jnp.zeros_like(start) if isinstance(dstart, _compat.Zero) else dstart
    if not isinstance(dhistory, _compat.Zero):
        tangent = add.bind(tangent, dhistory, _no_hints(dhistory), *weight, *pattern)
    if dweight and not isinstance(dweight[0], _compat.Zero):
        tangent = add.bind(tangent, history, hints, dweight[0], *pattern)
    return out, tangent


def _add_transpose(ct, start, history, hints, *rest):
    *weight, indices, indptr, steps, k = rest
    results = [None] * (3 + len(rest))
    if isinstance(ct, _compat.Zero):
        return results
    pattern = indices, indptr, steps, k
    if _compat.is_undefined_primal(start):
        results[0] = ct
    if _compat.is_undefined_primal(history):
        results[1] = gather.bind(ct, *weight, *pattern, n_rows=history.aval.shape[2])
    elif weight and _compat.is_undefined_primal(weight[0]):
        results[3] = outer.bind(history, hints, ct, *pattern)
    return results


# ---- gather


def _gather_abstract(values, *rest, n_rows):
    return _compat.ShapedArray((*values.shape[:2], n_rows, rest[-3].shape[0]), values.dtype)


def _gather_jvp(primals, tangents, *, n_rows):
    values, *rest = primals
    dvalues, *dweight = tangents[:-4]
    terms = []
    if not isinstance(dvalues, _compat.Zero):
        terms.append(gather.bind(dvalues, *rest, n_rows=n_rows))
    if dweight and not isinstance(dweight[0], _compat.Zero):
        terms.append(gather.bind(values, dweight[0], *rest[1:], n_rows=n_rows))
    return gather.bind(*primals, n_rows=n_rows), _sum(terms)


def _gather_transpose(ct, values, *rest, n_rows):
    *weight, indices, indptr, steps, k = rest
    results = [None] * (1 + len(rest))
    if isinstance(ct, _compat.Zero):
        return results
    pattern = indices, indptr, steps, k
    if _compat.is_undefined_primal(values):
        results[0] = add.bind(jnp.zeros(values.aval.shape, ct.dtype), ct, _no_hints(ct), *weight, *pattern)
    else:
        results[1] = outer.bind(ct, _no_hints(ct), values, *pattern)
    return results


# ---- outer


def _outer_abstract(history, hints, values, indices, *_):
    return _compat.ShapedArray((history.shape[0], indices.shape[0]), history.dtype)


def _outer_jvp(primals, tangents):
    history, hints, values, *pattern = primals
    dhistory, _, dvalues = tangents[:3]
    terms = []
    if not isinstance(dhistory, _compat.Zero):
        terms.append(outer.bind(dhistory, _no_hints(dhistory), values, *pattern))
    if not isinstance(dvalues, _compat.Zero):
        terms.append(outer.bind(history, hints, dvalues, *pattern))
    return outer.bind(*primals), _sum(terms)


def _outer_transpose(ct, history, hints, values, *pattern):
    results = [None] * (3 + len(pattern))
    if isinstance(ct, _compat.Zero):
        return results
    if _compat.is_undefined_primal(history):
        results[0] = gather.bind(values, ct, *pattern, n_rows=history.aval.shape[2])
    else:
        results[2] = add.bind(jnp.zeros(values.aval.shape, ct.dtype), history, hints, ct, *pattern)
    return results


# ---- batches

_PATTERN = 3  # indices, indptr and steps: the operands before the last, k, which no batch may change


def _batch(operands, dims, *, bind, weight_at=None, summed=False):
    """A batch as more groups, where the weights differ (or the result is a sum over vectors), else as more vectors.

    `weight_at` is the number of the operand that is the weight, if there is one.
    """
    pattern = slice(len(operands) - 1 - _PATTERN, len(operands) - 1)
    if any(d is not None for d in dims[pattern]):
        return _one_by_one(bind, operands, dims)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    axis = 0 if summed or (weight_at is not None and dims[weight_at] is not None) else 1
    merged = []
    for i, (x, d) in enumerate(zip(operands, dims, strict=True)):
        if pattern.start <= i < pattern.stop or (axis == 1 and i == weight_at):
            merged.append(x)
            continue
        x = jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        x = jnp.moveaxis(x, 0, axis)
        merged.append(x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :]))
    out = bind(*merged)
    return out.reshape(*out.shape[:axis], size, out.shape[axis] // size, *out.shape[axis + 1 :]), axis


def _one_by_one(bind, operands, dims):
    """A batch of different sparsity patterns: one after the other."""
    mapped = [jnp.moveaxis(x, d, 0) for x, d in zip(operands, dims, strict=True) if d is not None]

    def one(batched):
        batched = iter(batched)
        return bind(*(x if d is None else next(batched) for x, d in zip(operands, dims, strict=True)))

    return jax.lax.map(one, mapped), 0


def _add_batch(operands, dims):
    return _batch(operands, dims, bind=add.bind, weight_at=3 if len(operands) == 8 else None)


def _gather_batch(operands, dims, *, n_rows):
    bind = ft.partial(gather.bind, n_rows=n_rows)
    return _batch(operands, dims, bind=bind, weight_at=1 if len(operands) == 6 else None)


def _outer_batch(operands, dims):
    return _batch(operands, dims, bind=outer.bind, summed=True)


# ---- spike lists


def _compact_abstract(values, *, size):
    return _compat.ShapedArray((values.shape[0], size), np.dtype(np.int32))


def _compact_jvp(primals, tangents, *, size):
    out = compact.bind(*primals, size=size)
    return out, _compat.Zero(_compat.ShapedArray(out.shape, jax.dtypes.float0))


def _compact_transpose(ct, values, *, size):
    return [None]


def _compact_batch(operands, dims, *, size):
    (values,) = operands
    values = jnp.moveaxis(values, dims[0], 0)
    out = compact.bind(values.reshape(-1, values.shape[-1]), size=size)
    return out.reshape(*values.shape[:2], size), 0


# ---- the primitives

add = _compat.define_primitive(
    "brainsim_arrivals_add",
    abstract=_add_abstract,
    reference=plain.add,
    jvp=_add_jvp,
    transpose=_add_transpose,
    batch=_add_batch,
)
gather = _compat.define_primitive(
    "brainsim_arrivals_gather",
    abstract=_gather_abstract,
    reference=plain.gather,
    jvp=_gather_jvp,
    transpose=_gather_transpose,
    batch=_gather_batch,
)
outer = _compat.define_primitive(
    "brainsim_arrivals_outer",
    abstract=_outer_abstract,
    reference=plain.outer,
    jvp=_outer_jvp,
    transpose=_outer_transpose,
    batch=_outer_batch,
)
compact = _compat.define_primitive(
    "brainsim_compact",
    abstract=_compact_abstract,
    reference=plain.compact,
    jvp=_compact_jvp,
    transpose=_compact_transpose,
    batch=_compact_batch,
)


def _kernel(name, plain_size=None):
    """Chooses the compiled kernel for float32 and float64; the form without weights has `plain_size` operands."""

    def target(x, *rest, **params):
        return name + "_unit" * (1 + len(rest) == plain_size) if x.dtype in (np.float32, np.float64) else None

    return target


def _batch_axes(n_leading, rest):
    """How many batch axes each operand has: `n_leading` ones first, then perhaps weights, the pattern, and k."""
    return lambda n: (*n_leading, *[1] * (n - len(n_leading) - rest), *[0] * (rest - 1), 2)


define_kernel(add, _kernel("brainsim_arrivals_add", 7), batch_axes=_batch_axes((2, 2, 2), 4), aliases={0: 0})
define_kernel(gather, _kernel("brainsim_arrivals_gather", 5), batch_axes=_batch_axes((2,), 4))
define_kernel(outer, _kernel("brainsim_arrivals_outer"), batch_axes=_batch_axes((2, 2, 2), 4))
define_kernel(compact, _kernel("brainsim_compact"), batch_axes=lambda n: (1,))
