"""What is known of the transformations under way."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

try:
    from jax._src.core import trace_state_clean as _clean
except ImportError:  # the public name says only whether two states are the same; brainsim is imported in a clean one
    from jax.extend.core import get_opaque_trace_state as _state

    _OUTERMOST: Any = _state()

    def _clean() -> bool:
        return _state() == _OUTERMOST


try:
    from jax.core import eval_context as _now
except ImportError:
    _now = jax.ensure_compile_time_eval


def is_traced(x: Any) -> bool:
    """Whether the values of `x` are unknown for now, inside of `jit`, `vmap`, `grad` and the like."""
    return isinstance(x, Tracer)


def as_jax(x: Any) -> jax.Array:
    """`jnp.asarray(x)`; for an array of NumPy's some versions of it compile a program for each shape, this does not.

    Such an array is copied: with a type given JAX may keep its memory, which its owner may change.
    """
    if not isinstance(x, np.ndarray):
        return jnp.asarray(x)
    dtype = jax.dtypes.canonicalize_dtype(x.dtype)
    return jnp.asarray(x.astype(dtype), dtype)


def is_outermost() -> bool:
    """Whether no transformation is under way: what is called now is run, not traced."""
    return _clean()


def zeros(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """`jnp.zeros`; where nothing is being traced NumPy makes them, in half the time."""
    return as_jax(np.zeros(shape, dtype)) if is_outermost() else jnp.zeros(shape, dtype)


def at_once(f: Callable[..., Any], *args: Any) -> Any:
    """`f(*args)`, computed now instead of by the program that is being traced, if it has nothing to do with that.

    A program takes a long time to compile, and what is computed now has been compiled before, as often as not.
    """
    if is_outermost() or any(is_traced(x) for x in jax.tree.leaves(args)):
        return f(*args)
    if any(is_traced(x) for x in jax.make_jaxpr(f)(*args).consts):  # `f` itself holds something that is being traced
        return f(*args)
    with _now():
        return f(*args)
