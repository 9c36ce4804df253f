"""A file as named columns, of which only those asked for are read."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Stored(NamedTuple):
    """Numbers of a file as float64 that nobody else holds (or its texts), and the type they are stored in."""

    values: np.ndarray
    kind: np.dtype


class Columns(NamedTuple):
    """The names of the columns, the remarks beside them, and a function that reads some of them."""

    names: Sequence[str]
    notes: dict[str, str]
    read: Callable[[Sequence[str]], dict[str, Stored]]


# What is read of a file's texts: those that `write_recording` writes.
NOTES = ("dt_ms", "t0_ms", "duration_ms", "stimulus_name", "source")


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, the first of them if there are many."""
    more = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name[:60]}'" for name in names[:most]) + more or "none"
