"""Elementary functions that exponential integrators and rate equations need, accurate and fast on every backend."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._compat import Zero
from .ops._exponential_step import define_exponential_step


class _Format(NamedTuple):
    """What range reduction needs to know of a floating-point format."""

    log2_high: float  # log 2 in two parts: multiples of the first by a small integer are exact
    log2_low: float
    largest: float  # exponents beyond overflow
    magic: float  # 1.5 * 2^p: adding it leaves an integer in the low bits
    integer: np.dtype
    mantissa: int
    one: int  # the bits of 1.0
    terms: int  # of the Taylor series of phi1, enough for |r| <= log(2) / 2


_FORMATS = {
    "float32": _Format(0.693359375, -2.12194440e-4, 87.0, 12582912.0, np.dtype("int32"), 23, 0x3F800000, 7),
    "float64": _Format(
        0.6931471803691238, 1.9082149292705877e-10, 708.0, 6755399441055744.0, np.dtype("int64"), 52, 0x3FF << 52, 14
    ),
}


def phi1(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """(exp(z) - 1) / z, equal to 1 at z = 0: the average of exp over [0, z]."""
    return phi1_times(z, jnp.ones_like(z))


@jax.custom_jvp
def phi1_times(z: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x (exp(z) - 1) / z, to about one unit in the last place for every z (saturated where exp(z) would overflow)."""
    return _plain_phi1_times(z, x)


def exponential_step(y: Float[Array, "..."], z: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """y + x (exp(z) - 1) / z, by a compiled kernel where there is one and the arrays are large.

    This is for a z that varies all the time. One that does not, XLA computes once, outside of the loop, if it is given
    y + `phi1_times(z, x)`; it cannot do so with a kernel.
    """
    if not y.shape == z.shape == x.shape:
        return y + phi1_times(z, x)
    return _exponential_step.bind(y, z, x)


def _plain_phi1_times(z: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """In plain JAX, for every backend.

    `jnp.expm1` costs two to three times as much on XLA's CPU backend. Here exp(z) - 1 = 2^k (exp(r) - 1) + 2^k - 1 with
    z = k log 2 + r, one polynomial and one division. The division is the last operation on purpose: XLA's CPU backend
    computes again, in every loop that uses it, whatever it thinks cheap; a quotient is computed once.

    Cody & Waite (1980), Software Manual for the Elementary Functions, Prentice-Hall.
    """
    f = _FORMATS[z.dtype.name]
    number = lambda value: np.asarray(value, z.dtype)
    bounded = jnp.where(z < -f.largest, number(-f.largest), z)
    bounded = jnp.where(bounded > f.largest, number(f.largest), bounded)
    k = jnp.round(bounded * number(1 / math.log(2)))
    r = bounded - k * number(f.log2_high) - k * number(f.log2_low)
    bits = jax.lax.bitcast_convert_type(k + number(f.magic), f.integer)  # cheaper than a checked conversion
    power = jax.lax.bitcast_convert_type((bits << f.mantissa) + np.asarray(f.one, f.integer), z.dtype)
    series = _taylor(r, f.terms)
    near = k == 0
    return jnp.where(near, series, power * (r * series) + (power - 1)) * x / jnp.where(near, 1, z)


@phi1_times.defjvp
def _phi1_times_jvp(primals, tangents):
    (z, x), (dz, dx) = primals, tangents
    return phi1_times(z, x), phi1_times(z, dx) + x * _phi1_slope(z) * dz


def _exponential_step_jvp(primals, tangents):
    # Tangents only multiply: reverse mode transposes what is done to them, and a kernel has no transpose.
    (y, z, x), (dy, dz, dx) = primals, tangents
    terms = [] if isinstance(dy, Zero) else [dy]
    if not isinstance(dx, Zero):
        terms.append(_exponential_step.bind(jnp.zeros_like(z), z, jnp.ones_like(z)) * dx)
    if not isinstance(dz, Zero):
        terms.append(x * _phi1_slope(z) * dz)
    return _exponential_step.bind(y, z, x), sum(terms[1:], terms[0])


_exponential_step = define_exponential_step(lambda y, z, x: y + _plain_phi1_times(z, x), _exponential_step_jvp)


def _phi1_slope(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """d phi1 / dz = (exp(z) - phi1(z)) / z, by its series near 0."""
    f = _FORMATS[z.dtype.name]
    near = jnp.abs(z) < 0.5
    small, large = jnp.where(near, z, 0), jnp.where(near, 1, z)
    series = _horner(small, [(k + 1) / math.factorial(k + 2) for k in range(f.terms + 2)])
    return jnp.where(near, series, (jnp.exp(jnp.minimum(large, f.largest)) - phi1(large)) / large)


def _taylor(r: Float[Array, "..."], terms: int) -> Float[Array, "..."]:
    """The first terms of phi1(r) = Σ r^k / (k + 1)!, even and odd ones apart: two short chains, not a long one."""
    c = [1 / math.factorial(k + 1) for k in range(terms)]
    r2 = r * r
    return _horner(r2, c[0::2]) + _horner(r2, c[1::2]) * r


def _horner(x: Float[Array, "..."], coefficients: list[float]) -> Float[Array, "..."]:
    result = jnp.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * x + np.asarray(c, x.dtype)
    return result


def exprel(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x / (1 - exp(-x)), equal to 1 at x = 0: the form of many voltage-dependent rates, without their singularity."""
    return 1 / phi1(-x)
