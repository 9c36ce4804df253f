"""Shapes, units and `param`, the one field helper.

Units are those of the field's simulators and are consistent, so no factor appears in any equation:
ms, mV, pA, pF, nS (nS·mV = pA, pA/pF = mV/ms), rates in Hz, and for membranes uF/cm2, mS/cm2, uA/cm2.
A quantity that carries another unit is converted, or refused, once: when it is handed to `param`.
"""

import functools as ft
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

State: TypeAlias = PyTree[Array]
"""The state of a dynamical system: a NamedTuple (classes) or a dict (models from functions) of arrays."""

if TYPE_CHECKING:
    # What goes in is a number, an array or a quantity, what is there is an array: type checkers know no such field.
    Param: TypeAlias = Any
else:
    Param: TypeAlias = Float[Array, "*n"]
"""A parameter: a scalar shared by all units, or one value per unit."""


def as_float(value: Any) -> Array:
    """`value` as a strongly typed floating-point array of JAX's default precision (an inexact array stays as it is)."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.inexact) and not value.weak_type:
        return value
    dtype = jnp.result_type(float)
    # NumPy converts at once; JAX would compile a program for every shape.
    return jnp.asarray(value.astype(dtype) if isinstance(value, np.ndarray) else value, dtype=dtype)


def magnitude(value: Any, unit: str) -> Any:
    """The number that `value` is when expressed in `unit`; a plain number or array passes unchanged.

    Works with any quantity object that can convert itself: pint and astropy (`.to`), quantities (`.rescale`),
    brainunit and saiunit (`.to_decimal`).

    **Raises:** `ValueError` if the quantity cannot be expressed in `unit`.
    """
    try:
        if hasattr(value, "to_decimal"):  # brainunit, saiunit: units are objects of the quantity's own package
            import importlib

            package = importlib.import_module(type(value).__module__.split(".")[0])
            return value.to_decimal(_unit_object(package, unit))
        if hasattr(value, "rescale"):  # quantities, neo
            return value.rescale(unit).magnitude
        if hasattr(value, "to") and hasattr(value, "unit"):  # astropy
            return value.to(unit).value
        if hasattr(value, "to") and hasattr(value, "units"):  # pint
            return value.to(unit).magnitude
    except Exception as e:
        raise ValueError(f"cannot express {value} in {unit!r}: {e}") from None
    return value


def _unit_object(package: Any, unit: str) -> Any:
    """`"mS/cm**2"` as a product of the unit objects that `package` exports."""
    numerator, *denominators = unit.replace("cm2", "cm**2").split("/")
    parse = lambda name: getattr(package, name.split("**")[0]) ** int([*name.split("**"), "1"][1])
    return ft.reduce(lambda u, d: u / parse(d), denominators, parse(numerator))


def param(default: Any = ..., *, unit: str = "", doc: str = "") -> Any:
    """A parameter field of a model: converted to an array, with its unit and meaning recorded.

    A Python float in a module would get no gradient and would retrace at every new value; an array does neither.

    **Arguments:**

    - `default`: the value if none is given; without it the parameter is required.
    - `unit`: the unit in which the number is meant, e.g. `"mV"`. Quantities in other units are converted to it.
    - `doc`: what the parameter means, in a few words.

    ```python
    >>> import brainsim as bs, equinox as eqx
    >>> class Leak(eqx.Module):
    ...     g: bs.Param = bs.param(10.0, unit="nS", doc="leak conductance")
    >>> float(Leak().g)
    10.0
    >>> bs.units(Leak())
    {'g': 'nS'}

    ```
    """
    return eqx.field(
        converter=_Convert(unit),
        metadata={"unit": unit, "doc": doc},
        **({} if default is ... else {"default": default}),
    )


class _Convert:
    """The converter of a `param` field (a class, so that its representation in error messages is readable)."""

    def __init__(self, unit: str):
        self.unit = unit

    def __call__(self, value: Any) -> Any:
        value = magnitude(value, self.unit)
        try:
            return as_float(value)
        except (TypeError, ValueError):
            raise ValueError(f"expected a number or an array in {self.unit!r}, got {value!r}") from None


def units(module: eqx.Module) -> dict[str, str]:
    """The unit of every parameter of `module`, by name."""
    return {k: f.metadata["unit"] for k, f in module.__dataclass_fields__.items() if "unit" in f.metadata}


def docs(module: eqx.Module) -> dict[str, str]:
    """The meaning of every parameter of `module`, by name."""
    return {k: f.metadata["doc"] for k, f in module.__dataclass_fields__.items() if "doc" in f.metadata}


def variables(y: State) -> tuple[str, ...]:
    """The names of the variables of a state record (NamedTuple or dict)."""
    return tuple(y) if isinstance(y, dict) else tuple(y._fields)


def get(y: State, name: str) -> Array:
    """The variable `name` of a state record.

    **Raises:** `ValueError` naming the variables there are.
    """
    if name not in variables(y):
        raise ValueError(f"no state variable {name!r}; available: {', '.join(variables(y)) or 'none'}")
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


def whole(duration: float, dt: float, what: str) -> int:
    """`duration` (ms) as a positive whole number of steps of `dt` (ms)."""
    if not (isinstance(dt, int | float) and dt > 0 and math.isfinite(dt)):
        raise ValueError(f"dt must be a positive number of ms, got {dt!r}")
    if not (math.isfinite(duration) and duration > 0):
        raise ValueError(f"{what} must be positive, got {duration} ms")
    steps = round(duration / dt)
    if steps < 1 or abs(steps * dt - duration) > 1e-6 * max(dt, duration):
        raise ValueError(f"{what}, {duration:g} ms, is not a positive whole number of steps of dt = {dt:g} ms")
    return steps
