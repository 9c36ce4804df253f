"""Two programs for one function: the one that runs, and the one that is differentiated."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from ._compat import as_function, is_traced


def unless_differentiated(fast: Callable[..., PyTree], plain: Callable[..., PyTree], *args: PyTree) -> PyTree:
    """`fast(*args)`, but where a derivative is taken, `plain(*args)` and its derivative.

    Both compute the same: `fast` in a loop that nobody differentiates, `plain` in one that reverse mode goes through.
    `fast` has to have the same derivatives all the same: JAX forgets such rules in some nested transformations.
    """
    closed, shape, rest = eqx.filter_make_jaxpr(fast)(*args)
    if any(is_traced(x) for x in closed.consts):  # a function of the user's holds something that is being traced
        return plain(*args)
    arrays, other = eqx.partition(args, eqx.is_array)
    leaves, tree = jax.tree.flatten(arrays)

    def derivative(primals: Any, tangents: Any) -> tuple[Any, Any]:
        moving = [i for i, x in enumerate(tangents) if not isinstance(x, jax.custom_derivatives.SymbolicZero)]

        def at(*values: Any) -> list[Any]:
            given = list(primals)
            for i, x in zip(moving, values, strict=True):
                given[i] = x
            return jax.tree.leaves(eqx.filter(plain(*eqx.combine(tree.unflatten(given), other)), eqx.is_array))

        return jax.jvp(at, [primals[i] for i in moving], [tangents[i] for i in moving])

    run = jax.custom_jvp(lambda *leaves: as_function(closed)(*leaves))
    run.defjvp(derivative, symbolic_zeros=True)
    return eqx.combine(jax.tree.structure(shape).unflatten(run(*leaves)), rest)
