"""The rule of `vmap` that the products with delays share."""

import jax
import jax.numpy as jnp

_PATTERN = 3  # indices, indptr and steps: the operands before the last, k, which no batch may change


def batched(operands, dims, *, bind, weights_at=(), summed=False, results=None):
    """A batch as more groups, where the weights differ (or the result is a sum over vectors), else as more vectors.

    `weights_at` are the numbers of the operands that are weights, if there are any; `results` is the number of results,
    if there is not one.
    """
    pattern = slice(len(operands) - 1 - _PATTERN, len(operands) - 1)
    if any(d is not None for d in dims[pattern]):
        return _one_by_one(bind, operands, dims, results)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    axis = 0 if summed or any(dims[i] is not None for i in weights_at) else 1
    merged = []
    for i, (x, d) in enumerate(zip(operands, dims, strict=True)):
        if pattern.start <= i < pattern.stop or (axis == 1 and i in weights_at):
            merged.append(x)
            continue
        x = jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        x = jnp.moveaxis(x, 0, axis)
        merged.append(x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :]))
    split = lambda x: x.reshape(*x.shape[:axis], size, x.shape[axis] // size, *x.shape[axis + 1 :])
    if results is None:
        return split(bind(*merged)), axis
    out = bind(*merged)
    shared = [axis == 1 and x.ndim == 2 for x in out]  # weights, which come out as they went in
    return [x if s else split(x) for x, s in zip(out, shared, strict=True)], [None if s else axis for s in shared]


def _one_by_one(bind, operands, dims, results=None):
    """A batch of different sparsity patterns: one after the other; `results` is their number, if there is not one."""
    mapped = [jnp.moveaxis(x, d, 0) for x, d in zip(operands, dims, strict=True) if d is not None]

    def one(given):
        given = iter(given)
        return bind(*(x if d is None else next(given) for x, d in zip(operands, dims, strict=True)))

    return jax.lax.map(one, mapped), 0 if results is None else [0] * results
