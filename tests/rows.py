"""Rows of a table of which some run with the long tests."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def rows(values: Iterable[Any], long: Collection[Any]) -> list[Any]:
    """The values as parameters of a test; those that take seconds, and that the others nearly cover, are long."""
    return [pytest.param(x, marks=pytest.mark.slow) if x in long else x for x in values]


one_precision = pytest.mark.parametrize("precision", rows([64, 32], {32}), indirect=True)
"""Double precision in the fast tests, single precision in the long ones, too."""
