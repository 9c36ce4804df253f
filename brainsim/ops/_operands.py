"""What is handed to an operator: arrays of the types that it takes, or one line that says what came instead."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._compat import as_jax
from .._quantity import shown


def typed(what: str, x: Any, dtype: Any, *shape: int | str) -> Any:
    """`x`, if it is an array of this type and shape, in which a name stands for any number.

    **Raises:** `ValueError` if not.
    """
    if _is_typed(x) and x.dtype == dtype and len(shape) == x.ndim:
        if all(isinstance(n, str) or n == m for n, m in zip(shape, x.shape, strict=True)):
            return x
    expected = f"{np.dtype(dtype)}[{', '.join(map(str, shape))}]"
    raise ValueError(f"{what} must be {expected}, not {described(x)}")


def real(what: str, x: Any) -> Array:
    """`x` as an array of JAX's, if it consists of real numbers or truth values.

    **Raises:** `ValueError` if not.
    """
    try:
        array = as_jax(x)
        if any(jnp.issubdtype(array.dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
            return array
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{what} must be an array of real numbers, not {described(x)}")


def vector_and_weight(name: str, role: str, x: Any, weight: Any) -> tuple[Array, Array]:
    """Both as arrays of one floating-point type, except that the weight may be bfloat16 and the vector float32.

    **Raises:** `ValueError` for other types.
    """
    number = isinstance(weight, bool | int | float | np.bool_ | np.integer | np.floating)  # of the vector's type
    x, weight = real(f"{name}: {role}", x), weight if number else real(f"{name}: the weight", weight)
    if not jnp.issubdtype(x.dtype, jnp.inexact):  # boolean spikes
        dtype = jnp.result_type(float) if number or not jnp.issubdtype(weight.dtype, jnp.inexact) else weight.dtype
        x = x.astype(jnp.float32 if dtype == jnp.bfloat16 else dtype)
    weight = jnp.asarray(weight, dtype=x.dtype if number or weight.weak_type else None)
    if weight.dtype != x.dtype and (x.dtype, weight.dtype) != (jnp.float32, jnp.bfloat16):
        raise ValueError(f"{name}: {role} are {x.dtype}, but the weight is {weight.dtype}")
    return x, weight


def single_step(name: str, k: Any, dtype: Any = np.int32) -> Array:
    """The number of a step, in a type of integers.

    **Raises:** `ValueError` for what is none.
    """
    k = real(f"{name}: the step", k)
    if k.ndim or not jnp.issubdtype(k.dtype, np.integer):
        raise ValueError(f"{name}: the step must be a single whole number, not {described(k)}")
    return k.astype(dtype)


def described(x: Any) -> str:
    """An array by its type and shape, anything else as it is."""
    return f"{x.dtype}{list(x.shape)}" if _is_typed(x) else shown(x)


def _is_typed(x: Any) -> bool:
    return isinstance(x, np.ndarray | jax.Array)
