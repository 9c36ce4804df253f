"""The event-driven product with a sparse matrix of synapses with delays, closed under differentiation.

Three primitives, all derivatives of one trilinear form over the synapses s of all slots d,

    sum_s history[(k - steps[d(s)]) mod R, pre(s)] · weight[s] · values[post(s)]

so the derivatives and transposes of each are the other two:

- *add*: start, history, weight -> start + events[post]. Event-driven.
- *gather*: values, weight -> [R, pre], the transpose with respect to the history.
- *outer*: history, values -> [synapse], the transpose with respect to the weights. Event-driven.
- *collect*: total, values, weight -> total + gather, where `relevant`.

*add* starts from a vector so that several matrices can add up in one, in place. Hints (see `spike_list`) go with a
history that they were made from; any other history, such as a tangent, goes with none, an array of length 0.

`relevant` [G, B, R, pre] (bool) are the entries of the history that have a derivative; with no rows, all have. An *add*
hands it to its transpose, and does nothing else with it: whoever gives it says that other entries have none.

Operands carry two batch axes, as in `_csr_primitives`: G groups that have their own weights, B vectors that share them.
"""

import functools as ft

import jax.numpy as jnp
import numpy as np

from .. import _compat
from . import _arrivals_plain as plain
from ._arrivals_batch import batched
from ._library import define_kernel


def no_hints(history):
    return jnp.zeros((*history.shape[:3], 0), jnp.int32)


def all_relevant(history):
    return jnp.zeros((*history.shape[:2], 0, history.shape[3]), bool)


def _sum(terms):
    return sum(terms[1:], terms[0])


# ---- add


def _add_abstract(start, *_):
    return _compat.ShapedArray(start.shape, start.dtype)


def _add_jvp(primals, tangents):
    start, history, hints, relevant, *weight, indices, indptr, steps, k = primals
    dstart, dhistory, _, _, *dweight = tangents[: 4 + len(weight)]
    pattern = indices, indptr, steps, k
    out = add.bind(*primals)
    tangent = jnp.zeros_like(start) if isinstance(dstart, _compat.Zero) else dstart
    if not isinstance(dhistory, _compat.Zero):
        tangent = add.bind(tangent, dhistory, no_hints(dhistory), relevant, *weight, *pattern)
    if dweight and not isinstance(dweight[0], _compat.Zero):
        tangent = add.bind(tangent, history, hints, relevant, dweight[0], *pattern)
    return out, tangent


def _add_transpose(ct, start, history, hints, relevant, *rest):
    *weight, indices, indptr, steps, k = rest
    results = [None] * (4 + len(rest))
    if isinstance(ct, _compat.Zero):
        return results
    pattern = indices, indptr, steps, k
    if _compat.is_undefined_primal(start):
        results[0] = ct
    if _compat.is_undefined_primal(history):
        results[1] = gathered(ct, history.aval, relevant, *weight, *pattern)
    elif weight and _compat.is_undefined_primal(weight[0]):
        results[4] = outer.bind(history, hints, ct, *pattern)
    return results


def gathered(values, history, relevant, *rest):
    """The transpose of `add` with respect to a history of this type."""
    if relevant.shape[2] == 0:
        return gather.bind(values, *rest, n_rows=history.shape[2])
    return collect.bind(jnp.zeros(history.shape, history.dtype), values, relevant, *rest)


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
        zero = jnp.zeros(values.aval.shape, ct.dtype)
        results[0] = add.bind(zero, ct, no_hints(ct), all_relevant(ct), *weight, *pattern)
    else:
        results[1] = outer.bind(ct, no_hints(ct), values, *pattern)
    return results


# ---- outer


def _outer_abstract(history, hints, values, indices, *_):
    return _compat.ShapedArray((history.shape[0], indices.shape[0]), history.dtype)


def _outer_jvp(primals, tangents):
    history, hints, values, *pattern = primals
    dhistory, _, dvalues = tangents[:3]
    terms = []
    if not isinstance(dhistory, _compat.Zero):
        terms.append(outer.bind(dhistory, no_hints(dhistory), values, *pattern))
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
        zero = jnp.zeros(values.aval.shape, ct.dtype)
        results[2] = add.bind(zero, history, hints, all_relevant(history), ct, *pattern)
    return results


# ---- collect


def _collect_abstract(total, *_):
    return _compat.ShapedArray(total.shape, total.dtype)


def _collect_jvp(primals, tangents):
    total, values, relevant, *weight, indices, indptr, steps, k = primals
    dtotal, dvalues, _, *dweight = tangents[: 3 + len(weight)]
    pattern = indices, indptr, steps, k
    change = jnp.zeros_like(total) if isinstance(dtotal, _compat.Zero) else dtotal
    if not isinstance(dvalues, _compat.Zero):
        change = collect.bind(change, dvalues, relevant, *weight, *pattern)
    if dweight and not isinstance(dweight[0], _compat.Zero):
        change = collect.bind(change, values, relevant, dweight[0], *pattern)
    return collect.bind(*primals), change


def _collect_transpose(ct, total, values, relevant, *rest):
    *weight, indices, indptr, steps, k = rest
    results = [None] * (3 + len(rest))
    if isinstance(ct, _compat.Zero):
        return results
    pattern = indices, indptr, steps, k
    if _compat.is_undefined_primal(total):
        results[0] = ct
    if relevant.shape[2]:  # what was left out did not depend on anything
        ct = jnp.where(relevant, ct, 0)
    if _compat.is_undefined_primal(values):
        zero = jnp.zeros(values.aval.shape, ct.dtype)
        results[1] = add.bind(zero, ct, no_hints(ct), relevant, *weight, *pattern)
    elif weight and _compat.is_undefined_primal(weight[0]):
        results[3] = outer.bind(ct, no_hints(ct), values, *pattern)
    return results


# ---- batches


def _add_batch(operands, dims):
    return batched(operands, dims, bind=add.bind, weights_at=(4,) if len(operands) == 9 else ())


def _gather_batch(operands, dims, *, n_rows):
    bind = ft.partial(gather.bind, n_rows=n_rows)
    return batched(operands, dims, bind=bind, weights_at=(1,) if len(operands) == 6 else ())


def _outer_batch(operands, dims):
    return batched(operands, dims, bind=outer.bind, summed=True)


def _collect_batch(operands, dims):
    return batched(operands, dims, bind=collect.bind, weights_at=(3,) if len(operands) == 8 else ())


def axes(*leading, result="gb"):
    """Names of batch axes, of these operands first, then perhaps of weights, the pattern, and k."""
    weight = lambda n: ["g"] * (n - len(leading) - 4)
    return lambda *operands, **params: ([*leading, *weight(len(operands)), "", "", "", "gb"], [result])


# ---- the primitives

add = _compat.define_primitive(
    "brainsim_arrivals_add",
    abstract=_add_abstract,
    reference=plain.add,
    jvp=_add_jvp,
    transpose=_add_transpose,
    batch=_add_batch,
    axes=axes("gb", "gb", "gb", "gb"),
)
gather = _compat.define_primitive(
    "brainsim_arrivals_gather",
    abstract=_gather_abstract,
    reference=plain.gather,
    jvp=_gather_jvp,
    transpose=_gather_transpose,
    batch=_gather_batch,
    axes=axes("gb"),
)
outer = _compat.define_primitive(
    "brainsim_arrivals_outer",
    abstract=_outer_abstract,
    reference=plain.outer,
    jvp=_outer_jvp,
    transpose=_outer_transpose,
    batch=_outer_batch,
    axes=axes("gb", "gb", "gb", result="g"),
)
collect = _compat.define_primitive(
    "brainsim_arrivals_collect",
    abstract=_collect_abstract,
    reference=plain.collect,
    jvp=_collect_jvp,
    transpose=_collect_transpose,
    batch=_collect_batch,
    axes=axes("gb", "gb", "gb"),
)


def _kernel(name, weighted_size=None):
    """Chooses the compiled kernel for float32 and float64; the form with weights has `weighted_size` operands."""

    def target(*avals, **params):
        unit = weighted_size is not None and len(avals) != weighted_size
        return name + "_unit" * unit if avals[0].dtype in (np.float32, np.float64) else None

    return target


def _without_relevant(start, history, hints, relevant, *rest):
    return start, history, hints, *rest


define_kernel(add, _kernel("brainsim_arrivals_add", 9), aliases={0: 0}, operands=_without_relevant)
define_kernel(gather, _kernel("brainsim_arrivals_gather", 6))
define_kernel(outer, _kernel("brainsim_arrivals_outer"))
define_kernel(collect, _kernel("brainsim_arrivals_collect", 8), aliases={0: 0})
