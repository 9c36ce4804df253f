"""Numbers as JAX carries them, in 32 bits unless told otherwise; or one line where these would be other numbers."""

from typing import Any

import jax
import numpy as np

from ._compat import as_jax


def carried(what: str, given: Any) -> jax.Array:
    """`given`, an array or a list of numbers, as a JAX array.

    Whole numbers stay what they are. Fractions are rounded, as everywhere, but different ones stay different, and none
    becomes infinite or zero.

    **Raises:** `ValueError` for what is no number, and for numbers that would not stay themselves.
    """
    if isinstance(given, jax.Array):
        return given
    values = _asarray(given)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{what} must hold numbers, got {given!r}")
    if values.dtype.kind in "iu":
        return as_jax(values.astype(_whole(what, values)))
    with np.errstate(over="ignore"):
        rounded = values.astype(jax.dtypes.canonicalize_dtype(values.dtype))
    if values.dtype.kind == "f" and isinstance(given, list | tuple):
        changed = [x for x, y in zip(given, rounded, strict=True) if isinstance(x, int) and int(y) != x]
        _refuse(what, changed, f"a whole number that {rounded.dtype}, the type of all, does not hold")
    if rounded.dtype != values.dtype:
        _refuse(what, values[np.isfinite(values) & ~np.isfinite(rounded)], f"too large for {rounded.dtype}")
        _refuse(what, values[(values != 0) & (rounded == 0)], f"too small for {rounded.dtype}")
        if values.ndim == 1:
            ascending, dtype = np.unique(values), rounded.dtype
            same = np.flatnonzero(np.diff(ascending.astype(dtype)) == 0)
            _refuse(what, ascending[same], f"in {dtype} the same as another one")
    return as_jax(rounded)


def _asarray(given: Any) -> np.ndarray:
    try:
        return np.asarray(given)
    except ValueError:  # lists of different lengths
        return np.asarray(None)


def _whole(what: str, values: np.ndarray) -> np.dtype:
    """The type for whole numbers: the default one or, as seeds may need it, the unsigned one."""
    default = np.dtype(jax.dtypes.canonicalize_dtype(values.dtype))
    types = default, np.dtype(f"u{default.name.removeprefix('u')}")
    fits = [(values >= np.iinfo(t).min) & (values <= np.iinfo(t).max) for t in types]
    for dtype, there in zip(types, fits, strict=True):
        if there.all():
            return dtype
    neither = values[~fits[0] & ~fits[1]]
    _refuse(what, neither, f"no number of {8 * default.itemsize} bits")
    _refuse(what, values[~fits[1]], f"below zero, and {values.max()} no {default.name}")
    raise AssertionError


def _refuse(what: str, wrong: Any, why: str) -> None:
    if len(wrong):
        raise ValueError(f"{what}: {np.asarray(wrong).tolist()[0]!r} is {why}; "
                         "jax.config.update('jax_enable_x64', True) has numbers of 64 bits")  # fmt: skip
