"""Merges sparse matrices into one whose rows are sorted by slot: how a network lays out synapses with delays.

On the host, while a network is built: a counting sort in C++, called through ctypes, or its twin in NumPy.
"""

import ctypes
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from ._library import library


class Block(NamedTuple):
    """One of the matrices: synapses in compressed rows, each with a slot; its columns begin at `offset`.

    `weight` is one for all, or an array [nnz]; `slots` is uint16 [nnz].
    """

    indptr: np.ndarray
    indices: np.ndarray
    slots: np.ndarray
    weight: Any
    offset: int


class Merged(NamedTuple):
    """`indptr` [n_pre, slots + 1], `indices` [nnz] and `weight` [nnz], or None if it was not asked for."""

    indptr: np.ndarray
    indices: np.ndarray
    weight: np.ndarray | None


def merge(blocks: Sequence[Block], n_slots: int, dtype: Any) -> Merged:
    """All entries of `blocks`, by row, then slot, then column (then block). Without a `dtype`, without weights.

    **Raises:** `ValueError` if there are more than 32-bit indices can count.
    """
    nnz = sum(len(b.indices) for b in blocks)
    if nnz > np.iinfo(np.int32).max:
        raise ValueError(f"{nnz:,} synapses with delays start from one population, more than 32-bit indices can count")
    compiled = library()
    if compiled is None:
        indptr, indices, order = merge_order(blocks, n_slots)
        return Merged(indptr, indices, None if dtype is None else _weights(blocks, dtype)[order])
    merged = _counting_sort(compiled, blocks, n_slots, nnz, dtype)
    if not is_sorted(merged.indptr, merged.indices):  # a matrix whose rows were not
        indptr, indices, order = merge_order(blocks, n_slots)
        return Merged(indptr, indices, None if dtype is None else _weights(blocks, dtype)[order])
    return merged


def merge_order(blocks: Sequence[Block], n_slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The twin of `merge` in NumPy: `indptr`, `indices`, and the order of the synapses, numbered block after block."""
    n_pre = len(blocks[0].indptr) - 1
    pre = np.concatenate([np.repeat(np.arange(n_pre), np.diff(b.indptr)) for b in blocks])
    slot = np.concatenate([b.slots for b in blocks])
    post = np.concatenate([b.indices + np.int32(b.offset) for b in blocks])
    order = np.lexsort((post, slot, pre))
    ends = np.cumsum(np.bincount(pre * n_slots + slot, minlength=n_pre * n_slots)).reshape(n_pre, n_slots)
    begin = np.concatenate([[0], ends[:-1, -1]]) if n_pre else np.zeros(0)
    return np.concatenate([begin[:, None], ends], axis=1).astype(np.int32), post[order].astype(np.int32), order


def is_sorted(indptr: np.ndarray, indices: np.ndarray) -> bool:
    """Whether every segment of `indices` is in ascending order."""
    falls = np.flatnonzero(indices[1:] < indices[:-1]) + 1
    return bool(np.isin(falls, indptr).all()) if falls.size else True


def adopt(x: np.ndarray) -> jax.Array:
    """`x` as a JAX array; one that `aligned` made is not copied on a CPU, so it must not be written to any more."""
    return jax.device_put(x, may_alias=True)


def aligned(n: int, dtype: Any) -> np.ndarray:
    """An array [n] that starts on a cache line, which XLA asks for."""
    size = n * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)


def _weights(blocks: Sequence[Block], dtype: Any) -> np.ndarray:
    return np.concatenate([np.broadcast_to(np.asarray(b.weight, dtype), b.indices.shape) for b in blocks])


def _counting_sort(compiled: ctypes.CDLL, blocks: Sequence[Block], n_slots: int, nnz: int, dtype: Any) -> Merged:
    n_pre = len(blocks[0].indptr) - 1
    table = aligned(n_pre * (n_slots + 1), np.int32)
    table[:] = 0
    indices, weight = aligned(nnz, np.int32), None if dtype is None else aligned(nnz, dtype)
    place = compiled.brainsim_merge_place_f64 if dtype == np.float64 else compiled.brainsim_merge_place_f32
    i64, i32 = ctypes.c_int64, ctypes.c_int32
    threads = min(8, os.cpu_count() or 1) if nnz > 1 << 20 else 1
    bounds = [n_pre * i // threads for i in range(threads + 1)]
    spans = list(itertools.pairwise(bounds))

    def count(block: Block, first: int, last: int) -> None:
        compiled.brainsim_merge_count(
            _int32(block.indptr), _slots(block), i64(len(block.indices)), i64(first), i64(last), i64(n_slots),
            _address(table),
        )  # fmt: skip

    def put(block: Block, each: np.ndarray | None, first: int, last: int) -> None:
        place(
            _int32(block.indptr), _int32(block.indices), _slots(block), _address(each), i64(len(block.indices)),
            i64(first), i64(last), i64(n_slots), i32(block.offset), i64(nnz), _address(table), _address(indices),
            _address(weight),
        )  # fmt: skip

    with ThreadPoolExecutor(threads) as pool:
        for block in blocks:
            list(pool.map(lambda span, block=block: count(block, *span), spans))
        compiled.brainsim_merge_begin(i64(n_pre), i64(n_slots), _address(table))
        for block in blocks:
            each = None if dtype is None else np.asarray(block.weight, dtype)
            each = None if each is None else np.ascontiguousarray(np.broadcast_to(each, block.indices.shape))
            list(pool.map(lambda span, block=block, each=each: put(block, each, *span), spans))
    compiled.brainsim_merge_end(i64(n_pre), i64(n_slots), _address(table))
    return Merged(table.reshape(n_pre, n_slots + 1), indices, weight)


def _address(x: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if x is None else x.ctypes.data)


def _int32(x: np.ndarray) -> ctypes.c_void_p:
    if x.dtype != np.int32 or not x.flags.c_contiguous:
        raise TypeError(f"expected contiguous int32, got {x.dtype}")
    return _address(x)


def _slots(block: Block) -> ctypes.c_void_p:
    if block.slots.dtype != np.uint16 or block.slots.shape != block.indices.shape or not block.slots.flags.c_contiguous:
        raise TypeError(f"expected contiguous uint16 of shape {block.indices.shape}, got {block.slots.dtype}")
    return _address(block.slots)
