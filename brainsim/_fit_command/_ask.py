"""What the command line asks for: names with bounds or values, checked before anything else happens."""

import math
from collections.abc import Iterable


def bounds(texts: Iterable[str] | None) -> dict[str, tuple]:
    """``["g_l=1:50,tau_w=10:500:log", "b=0:200"]`` as names with (lower, upper) or (lower, upper, scale)."""
    free: dict[str, tuple] = {}
    for name, text in _pairs("--free", texts, "name=low:high"):
        parts = text.split(":")
        if len(parts) not in (2, 3):
            raise ValueError(f"--free {name}={text}: expected {name}=low:high, or {name}=low:high:log (or linear)")
        low, high = (_number("--free", name, x) for x in parts[:2])
        if not low < high:
            raise ValueError(f"--free {name}={text}: the bounds are empty, {low:g} is not below {high:g}")
        if len(parts) == 3 and parts[2] not in ("log", "linear"):
            raise ValueError(f"--free {name}={text}: unknown scale '{parts[2]}'; available are log, linear")
        _once("--free", name, free)
        free[name] = (low, high, *parts[2:])
    return free


def values(texts: Iterable[str] | None) -> dict[str, float]:
    """``["c=200,tau_w=100"]`` as names with values."""
    fixed: dict[str, float] = {}
    for name, text in _pairs("--fix", texts, "name=value"):
        _once("--fix", name, fixed)
        fixed[name] = _number("--fix", name, text)
    return fixed


def _pairs(option: str, texts: Iterable[str] | None, form: str):
    for text in texts or ():
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, equals, value = (x.strip() for x in part.partition("="))
            if not (name and equals and value):
                raise ValueError(f"{option} '{part}': expected {form}, several separated by commas")
            yield name, value


def _number(option: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{option} {name}: '{text}' is not a finite number")
    return value


def _once(option: str, name: str, seen: dict) -> None:
    if name in seen:
        raise ValueError(f"{option} {name}: given twice")
