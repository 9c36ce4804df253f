"""Numbers as users hand them over, with or without a unit, as plain numbers in the unit that is meant.

`numpy.asarray` and `float` drop a unit without a word. So what knows how to convert itself is converted, what is known
to be a plain number passes, and all else is refused: an array of a type that is not known here may carry a unit.
"""

import functools as ft
import importlib
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._text import printable


def magnitude(value: Any, unit: str) -> Any:
    """The number that `value` is when expressed in `unit`; what is no quantity passes unchanged.

    Works with any quantity object that can convert itself: pint and astropy (`.to`), quantities (`.rescale`),
    brainunit and saiunit (`.to_decimal`), and with lists of these. `unit` is a product of powers, `"mS/cm2"`.

    **Raises:** `ValueError` if the quantity cannot be expressed in `unit`, to follow a name.
    """
    if type(value) in (float, int):
        return value
    if isinstance(value, list | tuple):
        return value if set(map(type, value)) <= {float, int} else [magnitude(x, unit) for x in value]
    unit = unit.replace("cm2", "cm**2")
    try:
        if hasattr(value, "to_decimal"):  # brainunit, saiunit: units are objects of the quantity's own package
            package = importlib.import_module(type(value).__module__.split(".")[0])
            return value.to_decimal(_unit_object(package, unit))
        if hasattr(value, "rescale"):  # quantities, neo
            return np.asarray(value.rescale(unit or "dimensionless").magnitude)
        if hasattr(value, "to") and hasattr(value, "unit"):  # astropy
            return value.to(unit).value
        if hasattr(value, "to") and hasattr(value, "units"):  # pint
            return value.to(unit).magnitude
    except Exception as e:
        why = " ".join(str(e).split())
        raise ValueError(f"must have a unit that can be expressed in {unit!r}, got {shown(value)}: {why}") from None
    return value


def numbers(value: Any, unit: str | None = None, wanted: str = "a number or an array") -> Any:
    """`value` as a number, a list of numbers or an array, in `unit`; with no unit known, quantities are refused.

    **Raises:** `ValueError` with what `value` must be and what it is, to follow a name.
    """
    if type(value) in (float, int):
        return value
    value = _without_unit(value) if unit is None else magnitude(value, unit)
    if not _is_plain(value):
        meant = f" in {unit}" if unit else ""
        hint = "; its values as a NumPy array would do" if hasattr(value, "__array__") else ""
        raise ValueError(f"must be {wanted}{meant}, got {shown(value)}{hint}")
    return value


def _without_unit(value: Any) -> Any:
    try:
        return magnitude(value, "")
    except ValueError:
        raise ValueError(
            f"must be a plain number, in the unit that the model expects here, got the quantity {shown(value)}"
        ) from None


def _is_plain(value: Any) -> bool:
    """Whether this is known to be a real number without a unit, or an array or a list of such."""
    if type(value) in (float, int):
        return True
    if isinstance(value, list | tuple):
        return set(map(type, value)) <= {float, int} or all(map(_is_plain, value))
    if isinstance(value, jax.Array) or type(value) in (np.ndarray, np.memmap) or isinstance(value, np.generic):
        return any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
    return isinstance(value, Real)


def _unit_object(package: Any, unit: str) -> Any:
    """`"mS/cm**2"` as a product of the unit objects that `package` exports."""
    if not unit:
        return package.UNITLESS
    power = lambda text: text.strip().replace("**", "^").partition("^")
    named = lambda name: package.UNITLESS if name == "1" else getattr(package, name)
    factor = lambda name, _, exponent: named(name) ** int(exponent or 1)
    product = lambda text: ft.reduce(
        lambda a, b: a * b, (factor(*power(x)) for x in text.replace("**", "^").split("*"))
    )
    numerator, *denominators = unit.split("/")
    return ft.reduce(lambda a, b: a / b, map(product, denominators), product(numerator))


def shown(value: Any, most: int = 60) -> str:
    """`value` on one line of an error message."""
    return printable(" ".join(repr(value).split()), most)
