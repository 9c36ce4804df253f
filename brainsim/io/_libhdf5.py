"""Faults of libhdf5 (2.0 and before), which is C: files that it never leaves, and such that end the process.

A global heap collection is "GCOL", a version and its size, then objects of an index and a size; index 0 is free. The
library goes from one object to the next by their sizes, for ever if that of a free one is 0. And it calls the functions
of a type of variable length without a look at whether it is one of the two kinds that it has functions for.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py

from ._recording import RecordingError

_BLOCK = 4 << 20
_MOST = 1 << 30  # bytes that are searched: the heaps of larger files are trusted beyond that
_HEAD = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HHIQ")


def leave_no_loop(path: Path) -> None:
    """Refuses a file that would keep libhdf5 waiting for ever."""
    with open(path, "rb") as file:
        for at in _heaps(file):
            file.seek(at)
            if len(head := file.read(_HEAD.size)) < _HEAD.size or head[4] != 1:
                continue
            whole = _HEAD.unpack(head)[2]
            objects, here = file.read(min(max(whole - _HEAD.size, 0), _BLOCK)), 0
            while here <= len(objects) - _OBJECT.size:
                index, _, _, size = _OBJECT.unpack_from(objects, here)
                if index == 0 and size == 0:
                    raise RecordingError(
                        f"{path}: not a readable NWB file (the heap of texts at byte {at:,} is corrupt)"
                    )
                here += -(-size // 8) * 8 + _OBJECT.size if index else size


def _heaps(file: IO[bytes]) -> Iterator[int]:
    """Where collections begin."""
    start, tail = 0, b""
    while start < _MOST:
        file.seek(start)
        block = tail + file.read(_BLOCK)
        if len(block) < 4 or len(block) == len(tail):
            return
        found = block.find(b"GCOL")
        while found >= 0:
            yield start - len(tail) + found
            found = block.find(b"GCOL", found + 1)
        start, tail = start - len(tail) + len(block), block[-3:]


def known_type(path: Path, kind: Any, where: str) -> None:
    """Refuses a type that holds one of variable length which is neither a sequence nor a string."""
    what = kind.get_class()
    if what == h5py.h5t.COMPOUND:
        for k in range(kind.get_nmembers()):
            known_type(path, kind.get_member_type(k), where)
    elif what in (h5py.h5t.VLEN, h5py.h5t.ARRAY):
        if what == h5py.h5t.VLEN and kind.encode()[3] & 0x0F > 1:  # two bytes, the class, and then its kind
            raise RecordingError(f"{path}: not a readable NWB file ({where} has a type of no known kind)")
        known_type(path, kind.get_super(), where)
