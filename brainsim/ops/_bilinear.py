"""Primitives that are linear in a vector and in weights, with all transformations, from a few functions of their own.

Operands are x [G, B, ...], then weights [G, ...], if any, then index arrays: G groups that have their own weights, and
B vectors that share them. So `vmap` over either stays one call.
"""

import functools as ft
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .. import _compat
from ._csr_primitives import _front, _merge, _one_by_one


def define_bilinear(
    name: str,
    *,
    abstract: Callable[..., Any],
    reference: Callable[..., Any],
    to_vector: Callable[..., Any],
    to_weight: Callable[..., Any] | None = None,
    indices: int = 0,
) -> _compat.Primitive:
    """A primitive `f(x, *weight, *index arrays, **params)`, where `weight` may be left out.

    **Arguments:**

    - `abstract`, `reference`: shape and value of the result, as for `_compat.define_primitive`.
    - `to_vector(ct, *weight, *indices, like=, **params)`: the cotangent of x, of the shape of `like`.
    - `to_weight(x, ct, *indices, like=, **params)`: the cotangent of the weights.
    - `indices`: the number of index arrays.
    """

    def split(operands: Any) -> tuple[Any, Any, Any]:
        end = len(operands) - indices
        return operands[0], tuple(operands[1:end]), tuple(operands[end:])

    def jvp(primals, tangents, **params):
        x, weight, rest = split(primals)
        dx, dweight, _ = split(tangents)
        terms = []
        if not isinstance(dx, _compat.Zero):
            terms.append(primitive.bind(dx, *weight, *rest, **params))
        if dweight and not isinstance(dweight[0], _compat.Zero):
            terms.append(primitive.bind(x, dweight[0], *rest, **params))
        return primitive.bind(*primals, **params), sum(terms[1:], terms[0])

    def transpose(ct, *operands, **params):
        nothing = [None] * len(operands)
        x, weight, rest = split(operands)
        if isinstance(ct, _compat.Zero):
            return nothing
        if _compat.is_undefined_primal(x):
            return [to_vector(ct, *weight, *rest, like=x.aval, **params), *nothing[1:]]
        assert to_weight is not None
        return [None, to_weight(x, ct, *rest, like=weight[0].aval, **params), *nothing[2:]]

    def batch(operands, dims, **params):
        bind = ft.partial(primitive.bind, **params)
        x, weight, rest = split(operands)
        x_dim, weight_dim, rest_dims = split(dims)
        if any(d is not None for d in rest_dims):
            return _one_by_one(bind, operands, dims)
        if weight and weight_dim[0] is not None:  # more groups
            size = weight[0].shape[weight_dim[0]]
            x, w = _front(x, x_dim, size), _front(weight[0], weight_dim[0], size)
            out = bind(_merge(x, 0), _merge(w, 0), *rest)
            return out.reshape(*x.shape[:2], *out.shape[1:]), 0
        x = jnp.moveaxis(x, x_dim, 1)  # more vectors in each group
        out = bind(_merge(x, 1), *weight, *rest)
        return out.reshape(*x.shape[:3], *out.shape[2:]), 1

    def axes(*operands, **params):
        _, weight, rest = split(operands)
        return ["gb", *["g"] * len(weight), *[""] * len(rest)], ["gb"]

    primitive = _compat.define_primitive(
        name, abstract=abstract, reference=reference, jvp=jvp, transpose=transpose, batch=batch, axes=axes
    )
    return primitive
