"""Programs as JAX writes them down (jaxprs): reading and evaluating them."""

import contextlib
import functools as ft
from collections.abc import Callable, Sequence
from typing import Any

try:
    from jax.extend.core import jaxpr_as_fun
except ImportError:
    jaxpr_as_fun = None


def is_literal(atom: Any) -> bool:
    """Whether an operand in a jaxpr is a constant that is written there."""
    return hasattr(atom, "val")


def evaluate(eqn: Any, values: Sequence[Any]) -> list[Any]:
    """The results of an equation of a jaxpr for operands with these values."""
    context = getattr(eqn, "ctx", None)
    params = eqn.params
    if hasattr(eqn.primitive, "get_bind_params"):
        params = eqn.primitive.get_bind_params(params)
    with contextlib.nullcontext() if context is None else context.manager:
        results = eqn.primitive.bind(*values, **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def as_function(closed: Any) -> Callable[..., list[Any]]:
    """A closed jaxpr as a function of its operands, which returns the list of its results."""
    return ft.partial(_run, closed) if jaxpr_as_fun is None else jaxpr_as_fun(closed)


def _run(closed: Any, *operands: Any) -> list[Any]:
    jaxpr = closed.jaxpr
    env = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    env.update(zip(jaxpr.invars, operands, strict=True))
    read = lambda atom: atom.val if is_literal(atom) else env[atom]
    for eqn in jaxpr.eqns:
        env.update(zip(eqn.outvars, evaluate(eqn, [read(x) for x in eqn.invars]), strict=True))
    return [read(x) for x in jaxpr.outvars]
