"""Random numbers for wiring, on the host: each is a function of (seed, row, position) only.

So a row of a network does not change with the size of a block, the order of the rows, or the number of rows.
"""

import math
import os

import jax
import jax.numpy as jnp
import numpy as np

from .._compat import is_traced

_BLOCK = 1 << 15  # numbers drawn at a time: what fits into a core's cache


def seed_of(key: jax.Array) -> np.random.SeedSequence:
    """A seed for NumPy from a JAX key.

    **Raises:** `ValueError` if the key is traced: networks are drawn on the host, outside of `jit` and `vmap`.
    """
    if is_traced(key):
        raise ValueError("wiring is drawn on the host: build the network outside of jit, grad and vmap")
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return np.random.SeedSequence(np.asarray(key).ravel().tolist())


def check_room(rule: str, synapses: float, each: int = 32) -> None:
    """Whether so many synapses can be drawn and stored, at `each` bytes for one while they are drawn.

    **Raises:** `ValueError` with the estimate.
    """
    gigabytes, all_of_it = synapses * each / 1e9, memory() / 1e9
    if synapses >= 2**31:
        raise ValueError(
            f"{rule}: about {synapses:,.0f} synapses are more than 32 bits can count; Procedural stores none"
        )
    if gigabytes > all_of_it / 2:
        raise ValueError(
            f"{rule}: about {synapses:,.0f} synapses take {gigabytes:,.0f} GB while they are drawn, "
            f"more than half of this computer's {all_of_it:,.0f} GB; Procedural stores none"
        )


def memory() -> float:
    """The memory of this computer in bytes; infinite where it is not told."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return math.inf


def blocks(rows: int, width: int) -> list[np.ndarray]:
    """The numbers 0 to `rows` in pieces, so that pieces × `width` numbers fit into the cache."""
    size = max(1, _BLOCK // max(width, 1))
    return [np.arange(start, min(start + size, rows), dtype=np.uint64) for start in range(0, rows, size)]


def uniforms(seed: np.random.SeedSequence, rows: np.ndarray, count: int) -> np.ndarray:
    """Numbers in [0, 1) with 53 random bits, [len(rows), count]: those at (row, position) never change.

    The counter-based generator Philox 4x32-10 of Salmon et al. 2011, doi:10.1145/2063384.2063405.
    """
    low = np.uint64(0xFFFFFFFF)
    half = (count + 1) // 2
    k0, k1 = (int(k) for k in seed.generate_state(2, np.uint32))
    shape = (len(rows), half)
    c0 = np.broadcast_to(rows[:, None], shape)
    c1 = np.zeros(shape, np.uint64)
    c2 = np.broadcast_to(np.arange(half, dtype=np.uint64)[None, :], shape)
    c3 = np.zeros(shape, np.uint64)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = (b >> np.uint64(32)) ^ c1 ^ np.uint64(k0), b & low
        c2, c3 = (a >> np.uint64(32)) ^ c3 ^ np.uint64(k1), a & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    words = np.stack([(c0 << np.uint64(32)) | c1, (c2 << np.uint64(32)) | c3], axis=-1).reshape(len(rows), 2 * half)
    return (words[:, :count] >> np.uint64(11)) * 2.0**-53


def bernoulli(seed: np.random.SeedSequence, rows: np.ndarray, n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Each of `n` columns in each row with probability `p`: the columns, row after row and ascending, and their number.

    The gaps between hits are geometric, so the work is proportional to the hits: Batagelj & Brandes 2005,
    doi:10.1103/PhysRevE.71.036113.
    """
    if n == 0 or p == 0:
        return np.zeros(0, np.int64), np.zeros(len(rows), np.int64)
    count = int(n * p + 6 * math.sqrt(n * p * (1 - p))) + 8
    while True:
        if p == 1:
            gaps = np.zeros((len(rows), n + 1))
        else:
            gaps = np.floor(np.log1p(-uniforms(seed, rows, count)) / math.log1p(-p))
        columns = np.cumsum(gaps + 1, axis=1) - 1
        if (columns[:, -1] >= n).all():
            break
        count *= 2  # a row with very many hits: the same numbers again, and more
    hit = columns < n
    return columns[hit].astype(np.int64), hit.sum(axis=1)


def choices(seed: np.random.SeedSequence, rows: np.ndarray, n: int, k: int) -> np.ndarray:
    """`k` of `n` columns in each row, independently (a column may come twice), ascending: [len(rows), k]."""
    return np.sort((uniforms(seed, rows, k) * n).astype(np.int64), axis=1)


def subsets(seed: np.random.SeedSequence, rows: np.ndarray, n: int, k: int) -> np.ndarray:
    """`k` different ones of `n` columns in each row, every subset equally likely, ascending: [len(rows), k]."""
    if 2 * k > n:  # choose those left out
        keep = np.ones((len(rows), n), bool)
        np.put_along_axis(keep, subsets(seed, rows, n, n - k), False, axis=1)
        return np.nonzero(keep)[1].reshape(len(rows), k)
    count = int(-n * math.log1p(-k / n) + 6 * math.sqrt(k)) + 8 if k else 0
    while True:  # the first k different values of a sequence of independent ones
        drawn = (uniforms(seed, rows, count) * n).astype(np.int64)
        ordered = np.sort(drawn * count + np.arange(count)[None, :], axis=1)  # by value, then by position
        value, position = np.divmod(ordered, count) if count else (drawn, drawn)
        new = np.ones(value.shape, bool)
        new[:, 1:] = value[:, 1:] != value[:, :-1]
        first = np.zeros(value.shape, bool)
        np.put_along_axis(first, position, new, axis=1)
        rank = np.cumsum(first, axis=1)
        if k == 0 or (rank[:, -1] >= k).all():
            return np.sort(drawn[first & (rank <= k)].reshape(len(rows), k), axis=1)
        count *= 2
