"""Shapes, units and `param`, the one field helper.

Units are those of the field's simulators and are consistent, so no factor appears in any equation:
ms, mV, pA, pF, nS (nS·mV = pA, pA/pF = mV/ms), rates in Hz, and for membranes uF/cm2, mS/cm2, uA/cm2.
A quantity that carries another unit is converted, or refused, once: when it is handed to `param`.
"""

import functools as ft
import math
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ._compat import as_jax, is_traced
from ._domain import FINITE, POSITIVE, Interval, check
from ._quantity import magnitude as magnitude, numbers, shown
from ._text import choices

State: TypeAlias = PyTree[Array]
"""The state of a dynamical system: a NamedTuple (classes) or a dict (models from functions) of arrays."""

if TYPE_CHECKING:
    # What goes in is a number, an array or a quantity, what is there is an array: type checkers know no such field.
    Param: TypeAlias = Any
else:
    Param: TypeAlias = Float[Array, "*n"]
"""A parameter: a scalar shared by all units, or one value per unit."""


def as_float(value: Any, what: str = "a value", unit: str | None = None, domain: str | None = None) -> Array:
    """`value` as a strongly typed floating-point array of JAX's default precision (an inexact array stays as it is).

    Quantities are converted to `unit`; if that is not known here, they are refused. `domain`, an interval such as
    `"(0, inf]"`, holds for values that are not traced; default anything, NaN included.

    **Raises:** `ValueError` for anything but real numbers, and numbers outside the domain.
    """
    try:
        return _as_float(value, unit, domain)
    except ValueError as e:
        raise ValueError(f"{what} {e}") from None


def _as_float(value: Any, unit: str | None, domain: str | None) -> Array:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating) and not value.weak_type:
        if domain is not None:
            check(value, domain, unit or "")
        return value
    if isinstance(value, bool | np.bool_):
        raise ValueError(f"must be a number, got {value}")
    dtype, value = jnp.result_type(float), numbers(value, unit)
    if type(value) is float and abs(value) < 1e38:  # most are; any type holds this
        if domain is not None:
            check(value, domain, unit or "")
        return as_jax(dtype.type(value))
    try:
        if any(map(is_traced, jax.tree.leaves(value) if isinstance(value, list | tuple) else (value,))):
            return jnp.asarray(value, dtype=dtype)
        with np.errstate(over="ignore"):  # what overflows is infinite, which the domain allows or not
            value = np.asarray(value).astype(dtype)  # NumPy converts at once; JAX compiles a program for each shape
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"must be a number or an array, got {shown(value)}") from None
    if domain is not None:
        check(value, domain, unit or "")
    return jnp.asarray(value, dtype)  # a copy that nobody else has


def as_double(value: Any, what: str, unit: str | None, domain: str) -> Any:
    """`value` as a floating-point array, of NumPy's and in double precision unless it is one of JAX's.

    Errors as of `as_float`.
    """
    try:
        return _as_double(value, unit, domain)
    except ValueError as e:
        raise ValueError(f"{what} {e}") from None


def _as_double(value: Any, unit: str | None, domain: str) -> Any:
    """A NumPy array in double precision, or one that has been in float32; JAX's arrays as `_as_float` has them."""
    value = numbers(value, unit)
    if isinstance(value, bool | np.bool_) or any(isinstance(x, jax.Array) for x in jax.tree.leaves(value)):
        return _as_float(value, unit, domain)
    try:
        found = np.asarray(value)
        found = found.astype(np.float32 if found.dtype == np.float32 else np.float64)  # a copy
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"must be a number or an array, got {shown(value)}") from None
    check(found, domain, unit or "")
    return found


def number(value: Any, what: str, *, unit: str | None = None, domain: str = FINITE) -> float:
    """`value`, a single number that is not traced, as a Python float in `unit`.

    A NumPy or JAX scalar of less than double precision stands for the decimal that it prints as: `float32(0.1)` is 0.1,
    not 0.10000000149, of which no duration is a whole number.

    **Raises:** `ValueError` for anything else, and for numbers outside `domain`.
    """
    value = value if type(value) in (float, int) else _single(value, what, unit)
    try:
        result = float(str(value)) if isinstance(value, np.floating) else float(value)
    except OverflowError:
        raise ValueError(f"{what} must fit into a double, got {shown(value)}") from None
    try:
        check(result, domain, unit or "")
    except ValueError as e:
        raise ValueError(f"{what} {e}") from None
    return result


def whole_number(value: Any, what: str, *, least: int | None = None, most: int | None = None) -> int:
    """`value`, of any type of whole numbers, as a Python integer.

    **Raises:** `ValueError` for anything else, and for numbers below `least` or above `most`.
    """
    bound = "" if least is None else f", at least {least:,}"
    try:
        result = operator.index(_single(value, what))
        if most is not None and result > most:
            bound = f", at most {most:,}"
        elif least is None or result >= least:
            return result
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{what} must be a whole number{bound}, got {shown(value)}")


def _single(value: Any, what: str, unit: str | None = None) -> Any:
    """One number that is there to be looked at, of Python's or NumPy's types."""
    if is_traced(value):
        raise ValueError(f"{what} is part of the program and cannot be traced; give a number, got {shown(value)}")
    try:
        single = numbers(value, unit, "a number")
    except ValueError as e:
        raise ValueError(f"{what} {e}") from None
    if isinstance(single, np.ndarray | jax.Array) and single.ndim == 0:
        single = np.asarray(single)[()]
    if isinstance(single, bool | np.bool_ | list | tuple | np.ndarray | jax.Array):
        raise ValueError(f"{what} must be a single number, got {shown(value)}")
    return single


def check_key(key: Any, what: str) -> None:
    """**Raises:** `ValueError` unless `key` is a random key, or several."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or (dtype == jnp.uint32 and key.ndim)):
        raise ValueError(f"{what} must be a random key, jax.random.key(seed), got {shown(key)}")


def as_path(value: Any, what: str) -> Path:
    """`value` as a path.

    **Raises:** `ValueError` for what is none.
    """
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise ValueError(f"{what} must be a path, got {shown(value)}")
    return Path(value)


def truth(value: Any, what: str) -> bool:
    """`value`, if it is True or False.

    **Raises:** `ValueError` for anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{what} must be True or False, got {shown(value)}")
    return bool(value)


def param(default: Any = ..., *, unit: str = "", doc: str = "", domain: str = FINITE, double: bool = False) -> Any:
    """A parameter field of a model: converted to an array, checked, with its unit and meaning recorded.

    A Python float in a module would get no gradient and would retrace at every new value; an array does neither.

    **Arguments:**

    - `default`: the value if none is given; without it the parameter is required.
    - `unit`: the unit in which the number is meant, e.g. `"mV"`. Quantities in other units are converted to it.
    - `doc`: what the parameter means, in a few words.
    - `domain`: the values that it may have, an interval: `"(0, inf)"` is positive, `"[0, inf]"` may be zero or
      infinite; default all finite numbers. Traced values are not checked.
    - `double`: keep what is no JAX array as a NumPy array in double precision, for times: of 2048.37 ms a float32 holds
      2048.3701. It has no gradient then.

    ```python
    >>> import brainsim as bs, equinox as eqx
    >>> class Leak(eqx.Module):
    ...     g: bs.Param = bs.param(10.0, unit="nS", doc="leak conductance", domain="[0, inf)")
    >>> float(Leak().g)
    10.0
    >>> bs.units(Leak()), bs.domains(Leak())
    ({'g': 'nS'}, {'g': '[0, inf)'})
    >>> Leak(g=-1.0)
    Traceback (most recent call last):
    ValueError: Leak: g must be at least 0 and finite, got -1 nS

    ```
    """
    for name, text in (("unit", unit), ("doc", doc), ("domain", domain)):
        if not isinstance(text, str):
            raise ValueError(f"param: {name} must be text, got {shown(text)}")
    Interval.parse(domain)
    double = truth(double, "param: double")
    return eqx.field(
        converter=_Convert(unit, domain, _as_double if double else _as_float),
        metadata={"unit": unit, "doc": doc, "domain": domain, "double": double},
        **({} if default is ... else {"default": default}),
    )


class _Convert:
    """The converter of a `param` field (a class, so that its representation in error messages is readable)."""

    def __init__(self, unit: str, domain: str, convert: Callable[..., Any]):
        self.unit, self.domain, self.convert = unit, domain, convert

    def __call__(self, value: Any) -> Any:
        try:
            return self.convert(value, self.unit or None, self.domain)
        except ValueError as e:
            raise ValueError(f"{self.name} {e}") from None

    @ft.cached_property
    def name(self) -> str:
        """`"LIF: tau"`, looked up when there is something to say about it: a converter is not told whose it is."""
        for module in _subclasses(eqx.Module):
            for name, field in vars(module).get("__dataclass_fields__", {}).items():
                if field.metadata.get("converter") is self:
                    return f"{module.__name__}: {name}"
        return "a parameter"


def _subclasses(cls: type) -> Iterator[type]:
    for sub in type.__subclasses__(cls):
        yield sub
        yield from _subclasses(sub)


def _fields(module: Any) -> dict[str, Any]:
    if not isinstance(module, eqx.Module) and not (isinstance(module, type) and issubclass(module, eqx.Module)):
        raise ValueError(f"only models have parameters with units, got {shown(module)}")
    return module.__dataclass_fields__


def units(module: eqx.Module) -> dict[str, str]:
    """The unit of every parameter of `module`, by name."""
    return {k: f.metadata["unit"] for k, f in _fields(module).items() if "unit" in f.metadata}


def docs(module: eqx.Module) -> dict[str, str]:
    """The meaning of every parameter of `module`, by name."""
    return {k: f.metadata["doc"] for k, f in _fields(module).items() if "doc" in f.metadata}


def domains(module: eqx.Module) -> dict[str, str]:
    """The values that every parameter of `module` may have, as an interval, by name."""
    return {k: f.metadata["domain"] for k, f in _fields(module).items() if "domain" in f.metadata}


def variables(y: State) -> tuple[str, ...]:
    """The names of the variables of a state record (NamedTuple or dict)."""
    return tuple(y) if isinstance(y, dict) else tuple(y._fields)


def get(y: State, name: str) -> Array:
    """The variable `name` of a state record.

    **Raises:** `ValueError` naming the variables there are.
    """
    if name not in variables(y):
        raise ValueError(f"no state variable {name!r}; {choices(name, variables(y))}")
    return y[name] if isinstance(y, dict) else getattr(y, name)


def put(y: State, /, **values: Any) -> State:
    """A copy of the state record `y` with the named variables replaced."""
    for name in values:
        get(y, name)
    return {**y, **values} if isinstance(y, dict) else y._replace(**values)


def static(default: Any = ..., *, converter: Callable | None = None) -> Any:
    """A field that is part of the model's structure (a name, a count, a choice): changing it recompiles."""
    kwargs = {} if default is ... else {"default": default}
    if converter is not None:
        kwargs["converter"] = converter
    return eqx.field(static=True, **kwargs)


def whole_up(steps: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """A time in steps, rounded up; one that is whole but for rounding stays."""
    return jnp.ceil(steps - jnp.minimum(1e-3 + 4 * jnp.finfo(steps.dtype).eps * steps, 0.5))


def whole(duration: float, dt: float, what: str) -> int:
    """`duration` (ms) as a positive whole number of steps of `dt` (ms)."""
    dt = number(dt, "dt", unit="ms", domain=POSITIVE)
    duration = number(duration, what, unit="ms", domain=POSITIVE)
    ratio = duration / dt
    steps = round(ratio) if math.isfinite(ratio) else 0
    if steps < 1 or abs(steps * dt - duration) > 1e-6 * max(dt, duration):
        raise ValueError(f"{what}, {duration:g} ms, is not a positive whole number of steps of dt = {dt:g} ms")
    return steps
