"""Elementary functions that exponential integrators and rate equations need, accurate and fast on every backend."""

import jax.numpy as jnp
from jaxtyping import Array, Float

# 1/(k+1)! for the Taylor series of phi1; 14 terms are below double rounding for |z| < 1/2, 7 below single.
_TAYLOR = (1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880)
_TAYLOR64 = _TAYLOR + (1 / 3628800, 1 / 39916800, 1 / 479001600, 1 / 6227020800, 1 / 87178291200)


def phi1(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """(exp(z) - 1) / z, equal to 1 at z = 0; smooth, and accurate to a few units in the last place.

    `jnp.expm1` costs several times an `exp` on XLA's CPU backend, so: a polynomial near zero, the formula elsewhere.
    """
    near = jnp.abs(z) < 0.5
    small = jnp.where(near, z, 0)
    large = jnp.where(near, 1, z)
    polynomial = jnp.zeros_like(z)
    for c in reversed(_TAYLOR64 if z.dtype == jnp.float64 else _TAYLOR):
        polynomial = polynomial * small + c
    return jnp.where(near, polynomial, (jnp.exp(large) - 1) / large)


def exprel(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x / (1 - exp(-x)), equal to 1 at x = 0: the form of many voltage-dependent rates, without their singularity."""
    return 1 / phi1(-x)
