"""The wiring rule that fixes the number of synapses of a whole projection."""

from typing import Any

import equinox as eqx
import numpy as np

from .._dynamics import AbstractRule
from .._typing import truth, whole_number
from . import _draw
from ._wiring import Weight, _csr, rule_weight

_SORTED = 1 << 18  # synapses sorted at a time: what fits into a core's cache


class FixedTotalNumber(AbstractRule):
    """Exactly `n` synapses, each from a neuron and to a neuron that are drawn uniformly (NEST's fixed_total_number).

    **Arguments:**

    - `n`: synapses of the projection.
    - `weight`: a number, or a function `weight(rng, size)`.
    - `autapses`: whether a neuron may be connected to itself.
    - `multapses`: whether two neurons may have more than one synapse; without, every set of `n` pairs is as likely.

    **Raises:** `ValueError` if `n` is not a whole number, or (when built) exceeds the pairs or the memory that there
    are.

    ```python
    >>> import brainsim as bs, jax
    >>> connect = bs.FixedTotalNumber(1000, weight=2.0).build(jax.random.key(0), 30, 20, same=False)
    >>> float(connect.as_dense().sum())
    2000.0

    ```
    """

    n: int = eqx.field(static=True)
    weight: Weight
    autapses: bool = eqx.field(static=True)
    multapses: bool = eqx.field(static=True)

    def __init__(self, n: int, weight: Weight = 1.0, *, autapses: bool = True, multapses: bool = True):
        self.n = whole_number(n, "FixedTotalNumber: n", least=0)
        self.weight = rule_weight("FixedTotalNumber", weight)
        self.autapses = truth(autapses, "FixedTotalNumber: autapses")
        self.multapses = truth(multapses, "FixedTotalNumber: multapses")

    def build(self, key, n_pre, n_post, *, same):
        skip = same and not self.autapses
        width = max(n_post - skip, 0)
        if self.n > (n_pre * width if not self.multapses else self.n * (n_pre * width > 0)):
            hint = "" if self.multapses else "; multapses=True allows more"
            raise ValueError(
                f"FixedTotalNumber: n is {self.n}, but there are only {n_pre * width} pairs of neurons{hint}"
            )
        _draw.check_room("FixedTotalNumber", self.n, 24 if callable(self.weight) or not self.multapses else 12)
        rng = np.random.Generator(np.random.Philox(_draw.seed_of(key)))
        draw = _with_multapses if self.multapses else _without_multapses
        post, degree = draw(rng, self.n, n_pre, width)
        if skip:
            post += post >= np.repeat(np.arange(n_pre, dtype=np.int32), degree)
        return _csr("FixedTotalNumber", self.weight, key, post, degree, n_post)


def _with_multapses(rng: np.random.Generator, n: int, n_pre: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The targets, row after row and ascending, and the number in each row.

    Sources drawn independently fall on the rows in multinomial numbers; given these, targets are independent.
    """
    degree = rng.multinomial(n, np.full(n_pre, 1 / n_pre)) if n_pre else np.zeros(0, np.int64)
    post = rng.integers(0, width, n, dtype=np.int32) if n else np.zeros(0, np.int32)
    end = np.cumsum(degree)
    first = 0
    while first < n_pre:  # rows that fit into the cache, and whose (row, target) pairs are numbers of 32 bits
        start = end[first] - degree[first]
        last = max(int(np.searchsorted(end, start + _SORTED, side="right")), first + 1)
        last = min(last, first + max((2**32 - 1) // max(width, 1), 1))
        row = np.repeat(np.arange(last - first, dtype=np.uint32) * np.uint32(width), degree[first:last])
        piece = post[start : end[last - 1]]
        piece[:] = np.sort(piece.view(np.uint32) + row) - row
        first = last
    return post, degree


def _without_multapses(rng: np.random.Generator, n: int, n_pre: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """As above, with different pairs."""
    pairs: Any = np.sort(rng.choice(n_pre * width, n, replace=False, shuffle=False)) if n else np.zeros(0, np.int64)
    pre, post = np.divmod(pairs, max(width, 1))
    return post.astype(np.int32), np.bincount(pre, minlength=n_pre)
