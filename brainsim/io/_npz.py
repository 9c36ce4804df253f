"""Archives of numpy arrays. Headers are read first, and of the arrays only those that are asked for."""

import io
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from .._text import printable
from ._blocks import BLOCK, blocks
from ._columns import NOTES, Columns, Stored
from ._limits import affordable
from ._recording import RecordingError

_DIRECTORY = 1 << 20  # bytes of a table of contents: some 10,000 arrays
_TEXT = 1 << 16  # bytes of a text
_HEADERS: dict[tuple[int, int], Callable] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_T = TypeVar("_T")


class _Archive(io.FileIO):
    """A file of which nobody reads a table of contents at once that is longer than any should be."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = _DIRECTORY + 1 if size is None or size < 0 else min(size, _DIRECTORY + 1)
        if len(data := io.FileIO.read(self, most) or b"") > _DIRECTORY:
            raise zipfile.BadZipFile("a table of contents that is too long")
        return data


def read_npz(path: Path) -> Columns:
    """The names of the arrays, and their texts. Nothing pickled is ever read."""
    infos = _try(path, lambda: _open(path, lambda archive: archive.infolist()))
    keys = [info.filename.removesuffix(".npy") for info in infos]
    if len(set(keys)) < len(keys):
        raise RecordingError(f"{path}: not a readable npz file (two arrays have the same name)")
    members = dict(zip(keys, infos, strict=True))

    def arrays(names: Sequence[str]) -> dict[str, Stored]:
        read = lambda archive: {name: _array(path, archive, members[name]) for name in names}
        return _try(path, lambda: _open(path, read))

    def text(key: str) -> str | None:
        value = arrays([key])[key].values
        return None if value.dtype.kind not in "US" else value.astype(str)[0].item()

    texts = {key: _try(path, lambda key=key: text(key)) for key in NOTES if key in members}
    notes = {key: said for key, said in texts.items() if said is not None}
    return Columns([key for key in keys if key not in notes], notes, arrays)


def _open(path: Path, read: Callable[[zipfile.ZipFile], _T]) -> _T:
    with _Archive(path) as stream, zipfile.ZipFile(stream) as archive:
        return read(archive)


def _try(path: Path, read: Callable[[], _T]) -> _T:
    """`read()`; what zipfile, zlib and numpy's header reader raise for bytes that make no sense is one line."""
    try:
        return read()
    except RecordingError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise RecordingError(
            f"{path}: not a readable npz file of plain arrays (corrupt, or it holds objects): {printable(said, 160)}"
        ) from None


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Stored:
    """One array, at least one-dimensional."""
    what = f"array '{info.filename.removesuffix('.npy')}'"
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        way = "encrypted" if info.flag_bits & 1 else "compressed in a way that numpy does not write"
        raise RecordingError(f"{path}: not a readable npz file: {what} is {way}")
    with archive.open(info) as stream:
        shape, _, dtype = _header(stream)
        count = math.prod(shape)
        if dtype.hasobject or dtype.kind not in "fiubUS" or not dtype.itemsize or any(n < 0 for n in shape):
            raise RecordingError(f"{path}: not a readable npz file of plain arrays: {what} has type {dtype}")
        if len(shape) > 1:
            raise RecordingError(f"{path}: {what} has shape {shape}; one channel, shape (n,), is needed")
        if dtype.kind in "US" and count * dtype.itemsize > _TEXT:
            raise RecordingError(f"{path}: {what} is a text of {count * dtype.itemsize:,} bytes; at most {_TEXT:,}")
        affordable(path, count, what, wide=dtype.itemsize)
        if stream.tell() + count * dtype.itemsize != info.file_size:
            raise RecordingError(f"{path}: not a readable npz file: {what} has fewer or more numbers than it declares")
        values = np.empty(count, dtype if dtype.kind in "US" else float)
        piece = np.empty(min(count, BLOCK), dtype)
        for block in blocks(count):
            part = piece[: block.stop - block.start]
            _fill(stream, part.view(np.uint8).data)
            values[block] = part
        if stream.read(1):
            raise EOFError("more data than declared")
    return Stored(values, dtype)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version: Any = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the npy format")
    return _HEADERS[version](stream)


def _fill(stream: IO[bytes], into: memoryview) -> None:
    """Reads exactly as much as `into` holds, piece by piece: a damaged length allocates nothing."""
    at = 0
    while at < len(into):
        piece = stream.read(min(len(into) - at, _DIRECTORY))
        if not piece:
            raise EOFError("the data end early")
        into[at : at + len(piece)] = piece
        at += len(piece)
