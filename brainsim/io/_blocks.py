"""Long arrays looked at piece by piece, so that a look takes no memory to speak of."""

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 16  # numbers


def blocks(count: int) -> Iterator[slice]:
    """`count` numbers in pieces, the last of which may be shorter."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def not_finite(values: np.ndarray) -> tuple[int, int]:
    """How many values are NaN or infinite, and the index of the first of them (0 if there is none)."""
    count, first = 0, 0
    for block in blocks(values.size):
        bad = ~np.isfinite(values[block])
        if (here := int(np.count_nonzero(bad))) and not count:
            first = block.start + int(np.argmax(bad))
        count += here
    return count, first
