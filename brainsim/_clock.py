"""The time of a step: k · dt, for as many steps as 32 bits can count, in float32 as well.

A float32 tells 10 ms from 10.01 ms, but not 1 h from 1 h and 0.1 ms. So steps are counted, and the time is in double
precision wherever it is seen: in labels, which are NumPy arrays, and in the functions of time that users write, which
are evaluated in double precision and whose results are then rounded. Models, whose equations rarely know the time, are
not slowed down by that.
"""

import functools as ft
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt32

from ._compat import in_double, is_traced
from ._quantity import numbers
from ._shapes import arrays_of, filled, remembered

LAST = 2**32 - 2  # the highest number of a step: there is room for the next one


def label(k: Any, dt: float) -> np.ndarray:
    """The times of the steps `k` in ms: the numbers nearest to k times the decimal fraction that `dt` is written as.

    So step 3 of 0.1 ms ends at 0.3, where 3 * 0.1 is 0.30000000000000004.
    """
    top, bottom = _fraction(float(dt))
    return np.asarray(k).astype(np.float64) * top / bottom


def times(k: Any, dt: float) -> Any:
    """`label`; in a traced program an array of JAX's default precision, as good as that is."""
    if not is_traced(k):
        return label(k, dt)
    dtype = jnp.result_type(float)
    with jax.enable_x64(True):
        return _time(k, dt).astype(dtype)


@ft.cache
def _fraction(dt: float) -> tuple[float, float]:
    """Two numbers whose quotient times any number of steps is rounded once; dt and 1 if it has too many digits."""
    exact = Fraction(repr(dt))
    if exact.numerator * LAST < 2**53 and exact.denominator < 2**53:
        return float(exact.numerator), float(exact.denominator)
    return dt, 1.0


def _time(k: Shaped[Array, "..."], dt: float) -> Float[Array, "..."]:
    """`label` in a program, where double precision is switched on."""
    top, bottom = _fraction(float(dt))
    n = k.astype(jnp.float64) * top
    # Instead of dividing by a constant XLA would multiply by its reciprocal, which rounds twice: this is none to it.
    return n / jnp.maximum(-n, bottom)


def first_step(time: Any, dt: float) -> Any:
    """The number of the first step that does not begin before `time`, in ms: at most `LAST`.

    A time that is a multiple of dt, but for the rounding of the precision that it has, is that multiple. The numbers
    are a NumPy array, if the time is not traced.
    """
    xp: Any = jnp if is_traced(time) else np
    digits = float(jnp.finfo(time.dtype).eps)
    with jax.enable_x64(True):
        steps = xp.asarray(jax.lax.stop_gradient(time) if is_traced(time) else time).astype(np.float64) / dt
        steps = xp.ceil(steps - xp.minimum(1e-3 + digits * xp.abs(steps), 0.5))
        return xp.clip(steps, 0, LAST).astype(np.uint32)


class Moment(NamedTuple):
    """The time `s` ms after the beginning of step `k`. As a solver has it: it begins every step at s = 0."""

    k: UInt32[Array, ""]
    dt: float
    s: Any

    def single(self) -> Float[Array, ""]:
        """In the precision of the state."""
        return self.k.astype(self.s.dtype) * self.dt + self.s

    def double(self) -> Float[Array, ""]:
        return _time(self.k, self.dt) + self.s.astype(jnp.float64)

    def of(self, f: Callable[..., Any], *args: Any) -> Any:
        """f(t, *args) in double precision; what is double in the result, or whole, becomes what the state is."""
        if self.s.dtype == jnp.float64:
            return f(self.double(), *args)

        def rounded(k: Array, s: Array, *args: Any) -> Any:
            try:
                return jax.tree.map(self._rounded, f(Moment(k, self.dt, s).double(), *args))
            except TypeError as error:
                if "float64" not in str(error) or "float32" not in str(error):
                    raise
                raise ValueError("a function of time is computed in double precision, which new arrays have there and "
                                 "others have not; use jnp.where, or give them one type, say jnp.zeros(3, x.dtype): "
                                 + " ".join(str(error).split())[:300]) from error  # fmt: skip

        return in_double(rounded, self.k, self.s, *args)

    def _rounded(self, x: Any) -> Array:
        x = jnp.asarray(x)
        return x if jnp.issubdtype(x.dtype, jnp.inexact) and x.dtype.itemsize <= 4 else x.astype(self.s.dtype)


def input_at(f: Callable[[Any], Any], t: Any) -> Any:
    """The value of a function of time; at a `Moment`, computed in double precision.

    **Raises:** `ValueError` for a quantity, and for a function that has to know the time, as `if t > 5` has.
    """
    return t.of(lambda t: _told(f, t)) if isinstance(t, Moment) else _told(f, t)


def _told(f: Callable[[Any], Any], t: Any) -> Any:
    try:
        value = f(t)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise ValueError("a function of time is traced: write jnp.where(t > 5, 1.0, 0.0) in place of `if t > 5`, and "
                         "jnp.sin(t) in place of math.sin(t) or np.sin(t)") from error  # fmt: skip
    try:
        return numbers(value)
    except ValueError as error:
        raise ValueError(f"a function of time {error}") from None


def flow_at(f: Callable[..., Any], t: Any, *args: Any) -> Any:
    """A model's vector field f(t, *args); at a `Moment`, computed in double precision if it looks at the time."""
    if not isinstance(t, Moment):
        return f(t, *args)
    return t.of(f, *args) if remembered(_reads_time, (f, args)) else f(t.single(), *args)


@ft.lru_cache(maxsize=256)
def _reads_time(shapes: tuple[Any, ...], tree: Any) -> bool:
    """Whether the program of a vector field f(t, *args) has any use for t."""

    def flow(t: Array, arrays: list[Array]) -> Any:
        f, args = filled(shapes, tree, arrays)
        return f(t, *args)

    jaxpr = jax.make_jaxpr(flow)(jax.ShapeDtypeStruct((), jnp.result_type(float)), arrays_of(shapes)).jaxpr
    used = [*jaxpr.outvars, *(atom for eqn in jaxpr.eqns for atom in eqn.invars)]
    return any(atom is jaxpr.invars[0] for atom in used)
