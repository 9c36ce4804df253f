"""Questions about equations, which the shapes of their parameters answer, asked once: to trace takes milliseconds."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array


def remembered(question: Callable[..., Any], module: Any, *args: Any) -> Any:
    """`question(shapes, tree, *args)` of the module; `question` is a `functools.lru_cache`."""
    leaves, tree = jax.tree.flatten(module)
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) if eqx.is_array(x) else x for x in leaves)
    try:
        return question(shapes, tree, *args)
    except TypeError:  # a static field that cannot be hashed, and so not be remembered
        return question.__wrapped__(shapes, tree, *args)  # pyright: ignore[reportFunctionMemberAccess]


def arrays_of(shapes: tuple[Any, ...]) -> list[jax.ShapeDtypeStruct]:
    """The leaves that are arrays."""
    return [x for x in shapes if isinstance(x, jax.ShapeDtypeStruct)]


def filled(shapes: tuple[Any, ...], tree: Any, arrays: Sequence[Array]) -> Any:
    """The module with these arrays."""
    rest = iter(arrays)
    return tree.unflatten([next(rest) if isinstance(x, jax.ShapeDtypeStruct) else x for x in shapes])
