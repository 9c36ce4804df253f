"""A column of a table on disk: a zarr array, a file with a checksum for each block of rows, read when asked for."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._durable import drop_partials, read, remove

MOST = 2**22  # bytes of a block, unless a single row has more
_BLOCK = re.compile(r"c\.(\d+)[.0]*")


class Column(NamedTuple):
    """Rows of one type and shape, in blocks of `length` rows in the files c.0, c.1 ... (.0 for each axis of a row).

    A block is what zarr makes of it: numbers, little-endian; compressed by zstd, unless it is one row of more than 4
    MiB, so that no small file can become large in memory; and their CRC-32C.
    """

    folder: Path
    dtype: np.dtype
    row: tuple[int, ...]
    length: int

    @property
    def nbytes(self) -> int:
        """Of a block, uncompressed."""
        return self.length * int(np.prod(self.row, dtype=object)) * self.dtype.itemsize

    @property
    def compressed(self) -> bool:
        return self.nbytes <= MOST

    @property
    def compressors(self) -> tuple[Any, ...]:
        """What zarr shall call the two steps after that to bytes."""
        from zarr.codecs import Crc32cCodec, ZstdCodec

        return (ZstdCodec(level=0), Crc32cCodec()) if self.compressed else (Crc32cCodec(),)

    def file(self, i: int) -> Path:
        return self.folder / ".".join(["c", str(i), *"0" * len(self.row)])

    def count(self, rows: int) -> int:
        """In how many files so many rows are."""
        return -(-rows // self.length) if self.nbytes else 0

    def files(self, start: int, values: np.ndarray) -> Iterator[tuple[Path, bytes]]:
        """The files of rows from `start` on, which is the first of a block."""
        for i in range(self.count(len(values))):
            block = np.zeros((self.length, *self.row), self.dtype)
            part = values[i * self.length : (i + 1) * self.length]
            block[: len(part)] = part
            yield self.file(start // self.length + i), self._encoded(block)

    def _encoded(self, block: np.ndarray) -> bytes:
        from numcodecs import CRC32C, Zstd

        data = block.astype(self.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8)
        return bytes(CRC32C(location="end").encode(Zstd(level=0).encode(data) if self.compressed else data))

    def block(self, i: int) -> np.ndarray:
        """The rows of a block.

        **Raises:** `ValueError` if its file is missing or damaged.
        """
        from numcodecs import CRC32C, Zstd

        try:
            data: Any = CRC32C(location="end").decode(read(self.file(i)))
            if self.compressed:
                data = Zstd().decode(data, out=np.empty(self.nbytes, np.uint8))  # refuses to write beyond its end
            found = np.frombuffer(data, self.dtype.newbyteorder("<")).astype(self.dtype, copy=False)
            return found.reshape(self.length, *self.row)
        except (OSError, ValueError, RuntimeError) as error:  # of this, numcodecs raises the last
            raise ValueError(self._damaged(i, isinstance(error, FileNotFoundError))) from None

    def _damaged(self, i: int, missing: bool = False) -> str:
        return f"{self.file(i)}: is {'missing' if missing else 'damaged'}, and with it rows of the run"

    def rows(self, wanted: range) -> np.ndarray:
        """Rows by number, in ascending order."""
        out, at = np.empty((len(wanted), *self.row), self.dtype), 0
        while at < len(wanted) and self.nbytes:
            i, first = divmod(wanted[at], self.length)
            part = self.block(i)[first :: wanted.step][: len(wanted) - at]
            out[at : at + len(part)] = part
            at += len(part)
        return out

    def check(self, rows: int, total: int) -> None:
        """`ValueError` unless the files of the first `rows` rows are there, and the complete ones add up to `total`."""
        complete, found = rows // self.length, 0
        for i in range(self.count(rows)):
            try:
                at = os.lstat(self.file(i))
            except OSError:
                raise ValueError(self._damaged(i, True)) from None
            if not stat.S_ISREG(at.st_mode) or not at.st_size or not (self.compressed or at.st_size == self.nbytes + 4):
                raise ValueError(self._damaged(i))
            found += summand(i, self._end(i), at.st_size) if i < complete else 0
        if found % 2**61 != (total if self.nbytes else 0):  # not all that there was: which one?
            for i in range(complete):
                self.block(i)
            raise ValueError(f"{self.folder}: its files are not those that were written")
        if rows % self.length and self.nbytes:  # the one that may have been written when the run ended
            self.block(complete)

    def _end(self, i: int) -> bytes:
        """The checksum at the end of a block."""
        try:
            with open(self.file(i), "rb") as file:
                file.seek(-4, os.SEEK_END)
                return file.read(4)
        except OSError:
            raise ValueError(self._damaged(i)) from None

    def drop(self, rows: int) -> None:
        """Removes files of later rows, and what an interrupted write left."""
        drop_partials(self.folder)
        for name in os.listdir(self.folder):
            found = _BLOCK.fullmatch(name)
            if found and int(found[1]) >= self.count(rows):
                remove(self.folder / name)


def summand(i: int, data: bytes, size: int | None = None) -> int:
    """What block i adds to a sum that tells contents, sizes and places apart; `data` may be the end of it alone."""
    return (i + 1) * (int.from_bytes(data[-4:], "little") + (len(data) if size is None else size))


def lazy(column: Column, rows: int) -> Any:
    """The first rows as what an `xarray.Variable` can hold, which reads them when they are looked at, and once."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Rows(BackendArray):
        shape = (rows, *column.row)
        dtype = column.dtype

        def __getitem__(self, key):
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._get)

        def _get(self, key):
            first, *rest = key
            wanted = range(rows)[first]
            one = isinstance(wanted, int)
            found = column.rows(range(wanted, wanted + 1) if one else wanted)[(slice(None), *rest)]
            return found[0] if one else found

    found: Any = indexing.LazilyIndexedArray(Rows())
    return indexing.MemoryCachedArray(indexing.CopyOnWriteArray(found))
