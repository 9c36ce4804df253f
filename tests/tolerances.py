"""Tolerances, chosen once per dtype."""

import jax
import jax.numpy as jnp
import numpy as np

# What a few hundred roundings leave of the last digits; `chaotic` is for thousands of steps through spikes.
RTOL = {"bfloat16": 2**-7, "float32": 1e-5, "float64": 1e-11}
CHAOTIC = {"float32": 2e-3, "float64": 1e-8}


def assert_close(got, expected, *, chaotic: bool = False) -> None:
    """Same structure, shapes and dtypes, and values within the tolerance of their dtype, relative to the largest."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        a, b = _as_carried(a), _as_carried(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            np.testing.assert_array_equal(a, b)
            continue
        rtol = (CHAOTIC if chaotic else RTOL)[a.dtype.name]
        scale = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)


def _as_carried(x):
    """As an array of the type that JAX has for it, which takes no program."""
    return x if isinstance(x, jax.Array) else np.asarray(x).astype(jax.dtypes.canonicalize_dtype(np.asarray(x).dtype))
