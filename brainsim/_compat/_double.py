"""Functions that are computed in double precision, whatever JAX's default is.

`jax.enable_x64` holds while a function is traced. But much of what JAX makes of an operation it makes later: its
derivative, its batch, its lowering; and there it takes its default for granted. So a function is one operation, all of
whose rules are applied where double precision is switched on.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ._devices import varying
from ._primitives import ShapedArray, Zero, define_primitive, is_undefined_primal
from ._programs import as_function
from ._tracing import is_traced


@contextlib.contextmanager
def double() -> Iterator[None]:
    """Where double precision is switched on, and mixes with single."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def in_double(f: Callable[..., Any], *args: Any) -> Any:
    """f(*args), traced and computed where double precision is switched on; the results must not be double any more.

    Arrays that `f` holds, traced ones too, are as good as arguments.
    """
    args = jax.tree.map(jnp.asarray, args)
    with double():
        closed, shape = jax.make_jaxpr(f, return_shape=True)(*args)
        held, given = [x for x in closed.consts if is_traced(x)], jax.tree.leaves(args)
        # What prints, say, and what varies from device to device inside of `shard_map`, goes into no other program.
        if closed.effects or any(varying(x) for x in (*held, *given)):
            return f(*args)

        def program(held: Sequence[Any], given: Sequence[Any]) -> list[Any]:
            rest = iter(held)
            consts = [next(rest) if is_traced(x) else x for x in closed.consts]
            return as_function(closed.replace(consts=consts))(*given)

        jaxpr = jax.make_jaxpr(program)(held, given)
    return jax.tree.structure(shape).unflatten(_computed.bind(*held, *given, jaxpr=jaxpr))


def _abstract(*avals, jaxpr):
    return [ShapedArray(x.shape, x.dtype) for x in jaxpr.out_avals]


def _axes(*avals, jaxpr):
    return [""] * len(avals), [""] * len(jaxpr.out_avals)


def _reference(*operands, jaxpr):
    return as_function(jaxpr)(*operands)


def _jvp(primals, tangents, *, jaxpr):
    moving = [i for i, t in enumerate(tangents) if not isinstance(t, Zero)]

    def tangent(primals: Sequence[Any], given: Sequence[Any]) -> list[Any]:
        at = lambda *values: as_function(jaxpr)(*_with(primals, moving, values))
        return jax.jvp(at, [primals[i] for i in moving], given)[1]

    given = [tangents[i] for i in moving]
    with double():
        program = jax.make_jaxpr(tangent)(list(primals), given)
    return _computed.bind(*primals, jaxpr=jaxpr), _computed.bind(*primals, *given, jaxpr=program)


def _transpose(cotangents, *operands, jaxpr):
    linear = [i for i, x in enumerate(operands) if is_undefined_primal(x)]
    known = [x for x in operands if not is_undefined_primal(x)]
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    types = [shape(operands[i].aval) for i in linear]

    def back(known: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
        rest = iter(known)
        fixed = [None if i in linear else next(rest) for i in range(len(operands))]
        forth = lambda *values: as_function(jaxpr)(*_with(fixed, linear, values))
        return jax.linear_transpose(forth, *types)(cotangents)

    given = [jnp.zeros_like(shape(ct.aval)) if isinstance(ct, Zero) else ct for ct in cotangents]
    with double():
        program = jax.make_jaxpr(back)(known, given)
    return _with([None] * len(operands), linear, _computed.bind(*known, *given, jaxpr=program))


def _batch(operands, dims, *, jaxpr):
    with double():
        program = jax.make_jaxpr(jax.vmap(as_function(jaxpr), in_axes=tuple(dims)))(*operands)
    return _computed.bind(*operands, jaxpr=program), [0] * len(program.out_avals)


def _with(values: Sequence[Any], places: Sequence[int], others: Sequence[Any]) -> list[Any]:
    """The values with others in some places."""
    changed = dict(zip(places, others, strict=True))
    return [changed.get(i, x) for i, x in enumerate(values)]


_computed = define_primitive(
    "brainsim_in_double",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    axes=_axes,
    multiple_results=True,
    double=True,
)
