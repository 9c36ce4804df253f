"""Weights with delays that pass through the steps of a loop, and with them the history: as in `_csr_through`.

- *through*: start, history, weight, passing, carried -> start + events, passing, carried. Forwards it is `add`, and the
  other two pass unchanged. By agreement they are the history and the weights once more, and of each two the ones whose
  derivative counts. Their values are never read, so that reverse mode need not keep them.
- *accumulate*: sum, history, values -> sum + outer(history, values), in place; the transpose with respect to `carried`.

The transpose with respect to `passing` is `collect`, which adds to the cotangent of the history in place. That has an
entry for each neuron and each step of the longest delay: one more of that size in every step would cost more than the
events.
"""

import jax.numpy as jnp
import numpy as np

from .. import _compat
from . import _arrivals_plain as plain
from ._arrivals_batch import batched
from ._arrivals_primitives import (
    add,
    all_relevant,
    axes,
    collect,
    gather,
    gathered,
    no_hints,
    outer,
)
from ._library import define_kernel

# ---- through


def _through_abstract(start, history, hints, relevant, weight, passing, carried, *pattern):
    return [start, passing, carried]


def _through_plain(start, history, hints, relevant, weight, passing, carried, *pattern):
    return [add.bind(start, history, hints, relevant, weight, *pattern), passing, carried]


def _through_jvp(primals, tangents):
    start, history, hints, relevant, weight, _, _, *pattern = primals
    dstart, dpassing, dcarried = tangents[0], *tangents[5:7]
    change = jnp.zeros_like(start) if isinstance(dstart, _compat.Zero) else dstart
    if not isinstance(dpassing, _compat.Zero):
        given = dpassing, no_hints(dpassing), relevant, weight
        change, dpassing, _ = through.bind(change, *given, dpassing, weight, *pattern)
    if not isinstance(dcarried, _compat.Zero):
        given = history, hints, relevant, dcarried
        change, _, dcarried = through.bind(change, *given, history, dcarried, *pattern)
    return through.bind(*primals), [change, dpassing, dcarried]


def _through_transpose(cts, start, history, hints, relevant, weight, passing, carried, *pattern):
    ct, ct_passing, ct_carried = cts
    undefined, zero = _compat.is_undefined_primal, lambda x: isinstance(x, _compat.Zero)
    results = [ct if undefined(start) and not zero(ct) else None, *[None] * 10]
    if undefined(passing):
        results[5] = None if zero(ct_passing) else ct_passing
        if undefined(history) and not zero(ct):
            given = relevant, weight, *pattern
            new = lambda: gathered(ct, passing.aval, *given)
            results[5] = new() if zero(ct_passing) else collect.bind(ct_passing, ct, *given)
    if undefined(carried):
        results[6] = None if zero(ct_carried) else ct_carried
        if undefined(weight) and not zero(ct):
            ends = history, hints, ct, *pattern
            results[6] = outer.bind(*ends) if zero(ct_carried) else accumulate.bind(ct_carried, *ends)
    return results


def _through_batch(operands, dims):
    return batched(operands, dims, bind=through.bind, weights_at=(4, 6), results=3)


def _through_dce(used, eqn):
    """Where neither history nor weights are used further on it is an `add`."""
    if used[1] or used[2] or not used[0]:
        return [any(used)] * len(eqn.invars), eqn if any(used) else None
    keep = [i not in (5, 6) for i in range(len(eqn.invars))]
    atoms = [x for x, k in zip(eqn.invars, keep, strict=True) if k]
    return keep, eqn.replace(primitive=add, invars=atoms, outvars=eqn.outvars[:1])


# ---- accumulate


def _accumulate_abstract(total, *_):
    return _compat.ShapedArray(total.shape, total.dtype)


def _accumulate_jvp(primals, tangents):
    total, history, hints, values, *pattern = primals
    dtotal, dhistory, _, dvalues = tangents[:4]
    change = jnp.zeros_like(total) if isinstance(dtotal, _compat.Zero) else dtotal
    if not isinstance(dhistory, _compat.Zero):
        change = accumulate.bind(change, dhistory, no_hints(dhistory), values, *pattern)
    if not isinstance(dvalues, _compat.Zero):
        change = accumulate.bind(change, history, hints, dvalues, *pattern)
    return accumulate.bind(*primals), change


def _accumulate_transpose(ct, total, history, hints, values, *pattern):
    results = [None] * (4 + len(pattern))
    if isinstance(ct, _compat.Zero):
        return results
    if _compat.is_undefined_primal(total):
        results[0] = ct
    if _compat.is_undefined_primal(history):
        results[1] = gather.bind(values, ct, *pattern, n_rows=history.aval.shape[2])
    elif _compat.is_undefined_primal(values):
        zero = jnp.zeros(values.aval.shape, ct.dtype)
        results[3] = add.bind(zero, history, hints, all_relevant(history), ct, *pattern)
    return results


def _accumulate_batch(operands, dims):
    return batched(operands, dims, bind=accumulate.bind, summed=True)


# ---- the primitives

through = _compat.define_primitive(
    "brainsim_arrivals_through",
    abstract=_through_abstract,
    reference=_through_plain,
    jvp=_through_jvp,
    transpose=_through_transpose,
    batch=_through_batch,
    axes=lambda *operands: (["gb", "gb", "gb", "gb", "g", "gb", "g", "", "", "", "gb"], ["gb", "gb", "g"]),
    multiple_results=True,
)
_compat.define_dce(through, _through_dce)

accumulate = _compat.define_primitive(
    "brainsim_arrivals_accumulate",
    abstract=_accumulate_abstract,
    reference=plain.accumulate,
    jvp=_accumulate_jvp,
    transpose=_accumulate_transpose,
    batch=_accumulate_batch,
    axes=axes("g", "gb", "gb", "gb", result="g"),
    adds_to=0,
)


def _accumulate_kernel(total, *_):
    return "brainsim_arrivals_accumulate" if total.dtype in (np.float32, np.float64) else None


define_kernel(accumulate, _accumulate_kernel, aliases={0: 0})
