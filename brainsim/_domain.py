"""Domains: which values a number may have, written as intervals, and the checks of concrete values against them.

Values are checked once, when they are handed over. What is traced has no value yet and passes.
"""

import functools as ft
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from ._compat import is_traced


class Interval(NamedTuple):
    """The numbers between two bounds; a closed bound belongs to them."""

    low: float
    high: float
    low_closed: bool
    high_closed: bool

    @staticmethod
    @ft.cache
    def parse(text: str) -> "Interval":
        """`"(0, inf]"`: positive, infinity included. A square bracket closes a bound, a round one leaves it out."""
        try:
            low, high = (float(x) for x in text[1:-1].split(","))
            if text[0] in "[(" and text[-1] in "])" and low <= high:
                return Interval(low, high, text[0] == "[", text[-1] == "]")
        except (ValueError, IndexError):
            pass
        raise ValueError(f"a domain is an interval such as '(0, inf]', got {text!r}")

    def holds(self, x: Any) -> Any:
        """Where `x` is one of these numbers; NaN never is."""
        above = x >= self.low if self.low_closed else x > self.low
        return above & (x <= self.high if self.high_closed else x < self.high)

    def __str__(self) -> str:
        """What a number must be to lie here: `"positive and finite"`."""
        if self.low_closed and self.high_closed and math.isfinite(self.high - self.low):
            return f"between {self.low:g} and {self.high:g}"
        low = {(0, False): "positive", (-math.inf, True): "", (-math.inf, False): ""}.get(
            (self.low, self.low_closed), f"{'at least' if self.low_closed else 'above'} {self.low:g}"
        )
        high = {(math.inf, False): "finite", (math.inf, True): ""}.get(
            (self.high, self.high_closed), f"{'at most' if self.high_closed else 'below'} {self.high:g}"
        )
        return " and ".join(filter(None, (low, high))) or "a number"


ANY = "[-inf, inf]"
FINITE = "(-inf, inf)"
POSITIVE = "(0, inf)"


def known(value: Any) -> bool:
    """Whether the values of an array are there to be looked at: not traced, and on this computer."""
    return not is_traced(value) and not (isinstance(value, jax.Array) and not value.is_fully_addressable)


def check(value: Any, domain: str = FINITE, unit: str = "") -> None:
    """**Raises:** `ValueError` with what `value` must be and what it is, to follow a name; of an array, where."""
    interval = Interval.parse(domain)
    if type(value) in (float, int) and interval.holds(value):  # most are, and NumPy takes its time for one number
        return
    if not known(value):
        return
    if _is_far(value) and interval.holds(value).all():
        return
    x = np.asarray(value)
    inside = interval.holds(x)
    if not inside.all():
        raise ValueError(f"must be {interval}, got {worst(x, ~inside, unit)}")


def _is_far(value: Any) -> bool:
    """Whether an array is large and lies on an accelerator, where it is looked at rather than copied from there."""
    return isinstance(value, jax.Array) and value.size > 1 << 16 and all(d.platform != "cpu" for d in value.devices())


def worst(x: np.ndarray, wrong: np.ndarray, unit: str = "") -> str:
    """The first of the numbers that are wrong, and where it is."""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f" at index {at[0] if len(at) == 1 else at}" if at else ""
    return f"{float(x[at]):g} {unit}".rstrip() + place


def below(module: Any, low: str, high: str, *, equal: bool = False) -> None:
    """**Raises:** `ValueError` unless parameter `low` of a module is below parameter `high`, for every unit."""
    a, b = getattr(module, low), getattr(module, high)
    if not (known(a) and known(b)):
        return
    a, b = np.asarray(a), np.asarray(b)
    wrong = ~(a <= b if equal else a < b)
    if wrong.any():
        unit = module.__dataclass_fields__[low].metadata.get("unit", "")
        a, b = (worst(np.broadcast_to(x, wrong.shape), wrong, unit) for x in (a, b))
        name, relation = type(module).__name__, "at most" if equal else "below"
        raise ValueError(f"{name}: {low} must be {relation} {high}, got {low} = {a} and {high} = {b}")
