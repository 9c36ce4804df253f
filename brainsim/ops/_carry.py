"""A step of a loop rewritten to carry its weights: see `_csr_through` and `_arrivals_through`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array, PyTree

from .. import _compat
from .._quantity import shown
from ._arrivals_primitives import add
from ._arrivals_through import through as arrivals_through
from ._csr_primitives import scatter
from ._csr_through import through
from ._fan_out import scatter as fan_out, starts


def _csr_twin(carried: Array, spikes: Array, weight: Array, *rest: Array, **params: Any) -> list[Array]:
    return through.bind(spikes, weight, carried, *rest, **{"masked": False, **params})


def _fan_out_twin(carried: Array, spikes: Array, weight: Array, indices: Array, *, n_out: int) -> list[Array]:
    """In compressed rows, where the gradient is added row by row."""
    flat = lambda w: w.reshape(w.shape[0], -1)
    rows = indices.reshape(-1), starts(indices)
    return through.bind(spikes, flat(weight), flat(carried), *rows, n_out=n_out, masked=False)


def _arrivals_twin(carried: Array, start: Array, history: Array, hints: Array, relevant: Array, weight: Array,
                   *pattern: Array) -> list[Array]:  # fmt: skip
    events, history, carried = arrivals_through.bind(
        start, history, hints, relevant, weight, history, carried, *pattern
    )
    return [events, carried, history]


# Products with a weight, their twins that carry it, and the numbers of the operands that are the weight and, if the
# twin's third result takes its place in what follows, the history of spikes.
_TWINS: dict[Any, tuple[Callable[..., list[Array]], int, int | None]] = {
    scatter: (_csr_twin, 1, None),
    fan_out: (_fan_out_twin, 1, None),
    add: (_arrivals_twin, 4, 1),
}


def carry_weights(step: Callable[..., PyTree]) -> Callable[..., tuple[PyTree, list[Array]]]:
    """`step(weights, *args)` as a function `(weights, carried, *args) -> (its result, carried)`.

    `weights` is a list of arrays, and `carried` is the same list; it passes through every product of a spike vector
    with one of the weights, and its derivative stands for theirs. In a `scan` that carries it, reverse mode adds the
    gradient of the weights in place, row by row where there are spikes, instead of one whole array at every step.
    A history of spikes passes through the products with delays likewise. Whatever else is done with a weight is
    differentiated as ever.
    """

    if not callable(step) or isinstance(step, type):
        raise ValueError(f"carry_weights takes a function of the weights and more, got {shown(step)}")

    def carrying(weights: Sequence[Array], carried: Sequence[Array], *args: PyTree) -> tuple[PyTree, list[Array]]:
        closed, shape = jax.make_jaxpr(step, return_shape=True)(list(weights), *args)
        jaxpr, rows = closed.jaxpr, list(carried)
        env = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        env.update(zip(jaxpr.invars, jax.tree.leaves((list(weights), args)), strict=True))
        which = {var: i for i, var in enumerate(jaxpr.invars[: len(rows)])}  # variables that hold a weight
        same: dict[Any, Any] = {}  # variables that hold the values of another one in another shape
        for eqn in jaxpr.eqns:
            values = [x.val if _compat.is_literal(x) else env[x] for x in eqn.invars]
            first = [None if _compat.is_literal(x) else same.get(x, x) for x in eqn.invars]
            twin, at, past = _TWINS.get(eqn.primitive, (None, 0, None))
            i = which.get(first[at]) if twin is not None and at < len(first) else None
            if twin is not None and i is not None and values[at].dtype == values[0].dtype:
                events, passed, *history = twin(rows[i].reshape(values[at].shape), *values, **eqn.params)
                rows[i], results = passed.reshape(rows[i].shape), [events]
                if past is not None and first[past] is not None:
                    env[first[past]] = history[0].reshape(env[first[past]].shape)
            else:
                results = _compat.evaluate(eqn, values)
                if eqn.primitive.name in ("reshape", "broadcast_in_dim") and first[0] is not None:
                    if results[0].size == values[0].size:  # a batch axis in front
                        same[eqn.outvars[0]] = first[0]
            env.update(zip(eqn.outvars, results, strict=True))
        out = [x.val if _compat.is_literal(x) else env[x] for x in jaxpr.outvars]
        return jax.tree.unflatten(jax.tree.structure(shape), out), rows

    return carrying
