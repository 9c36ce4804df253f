"""HDF5 files of strangers: nothing from outside the file, and of each dataset what is stored, not what it declares."""

import graphlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ._libhdf5 import known_type
from ._limits import affordable
from ._recording import RecordingError

_OBJECTS = 100_000  # groups, datasets and types in a file
_SMALL = 1 << 20  # bytes of a value that is read before anybody asked for it
_DEFLATE, _FLETCHER32 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32


def inspect(path: Path, file: h5py.File) -> None:
    """Walks over all objects of a file, following no link, and refuses what lies outside of it or is too large.

    The readers above it follow links by themselves, and read small values and columns of texts when they open a file.

    **Raises** `RecordingError`: an external link, external or virtual storage, links in a circle, too many objects,
    values that are larger than what is stored.
    """
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise RecordingError(f"{path}: not a readable NWB file (addresses or lengths in it do not have 8 bytes)")
    below: dict[tuple, set[tuple]] = {}  # what the links of each object lead to
    soft, queue = [], [file["/"]]
    while queue:
        here: Any = queue.pop()
        if (key := _key(here)) in below:
            continue
        below[key] = set()
        if len(below) + len(queue) > _OBJECTS:
            raise RecordingError(f"{path}: more than {_OBJECTS:,} objects in the file")
        queue += _attributes(path, file, here)
        if isinstance(here, h5py.Group):
            soft += [(key, here, name) for name in _links(path, here, h5py.SoftLink)]
            inside = [here[name] for name in _links(path, here, h5py.HardLink)]
            below[key].update(map(_key, inside))
            queue += inside
        elif isinstance(here, h5py.Dataset):
            _inside(path, here)
            _eager(path, here)
    for key, group, name in soft:  # now that none of them leads out of the file
        if (target := group.get(name)) is not None:
            below[key].add(_key(target))
    try:
        graphlib.TopologicalSorter(below).prepare()
    except graphlib.CycleError:
        raise RecordingError(f"{path}: links in the file lead in a circle") from None


def _key(here: Any) -> tuple:
    about = h5py.h5g.get_objinfo(here.id)
    return about.fileno, about.objno


def _links(path: Path, group: h5py.Group, kind: type) -> Iterator[str]:
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink | h5py.SoftLink):
            raise RecordingError(f"{path}: '{group.name}/{name}' is a link to another file; only this one is read")
        if isinstance(link, kind):
            yield str(name)


def _attributes(path: Path, file: h5py.File, here: Any) -> Iterator[Any]:
    """Refuses large attributes; yields the objects that others refer to, which no link may lead to."""
    for name in here.attrs:
        attribute = here.attrs.get_id(name)
        known_type(path, attribute.get_type(), f"attribute '{name}' of '{here.name}'")
        size = attribute.get_type().get_size() * math.prod(attribute.shape)
        if size > _SMALL:
            raise RecordingError(f"{path}: attribute '{name}' of '{here.name}' declares {size:,} bytes")
        if h5py.check_ref_dtype(attribute.dtype) is not None:
            for reference in np.ravel(here.attrs[name]):
                if reference:
                    yield file[reference]


def _inside(path: Path, dataset: h5py.Dataset) -> None:
    if dataset.is_virtual or dataset.id.get_create_plist().get_external_count():
        raise RecordingError(f"{path}: '{dataset.name}' keeps its data in another file; only this one is read")


def _eager(path: Path, dataset: h5py.Dataset) -> None:
    """What pynwb reads when it opens a file: single values, texts, and tables of references."""
    known_type(path, dataset.id.get_type(), f"'{dataset.name}'")
    if dataset.shape is None:
        return
    if dataset.shape == ():
        if dataset.id.get_type().get_size() > _SMALL or h5py.check_ref_dtype(dataset.dtype) is not None:
            raise RecordingError(f"{path}: '{dataset.name}' is no number and no text of a reasonable size")
    elif dataset.dtype.kind in "OV":
        stored(path, dataset)


def stored(path: Path, dataset: h5py.Dataset, start: int = 0, stop: int | None = None) -> tuple[int, int]:
    """The rows from `start` to `stop` that there are, after a look at whether all of their data are in the file.

    **Raises** `RecordingError`: more is declared than was written, or than a file of this size should unpack to.
    """
    _inside(path, dataset)
    what, shape = f"'{dataset.name}'", dataset.shape
    if not shape:
        raise RecordingError(f"{path}: {what} is not a series of values")
    start, stop, _ = slice(start, stop).indices(shape[0])
    stop = max(start, stop)
    if start == stop:
        return start, stop
    wide, size = dataset.id.get_type().get_size(), path.stat().st_size
    affordable(path, (stop - start) * math.prod(shape[1:]), what, wide=wide)
    absent = RecordingError(f"{path}: {what} declares {shape} values, which are not in the file")
    if dataset.chunks is None:
        if not wide * math.prod(shape) <= dataset.id.get_storage_size() <= size:
            raise absent
        return start, stop
    affordable(path, math.prod(dataset.chunks), f"a chunk of {what}", wide=wide)
    per = dataset.chunks[0]
    expected = -(-stop // per) - start // per
    for n, chunk in zip(shape[1:], dataset.chunks[1:], strict=True):
        expected *= -(-n // chunk)
    if expected > size:
        raise absent
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    chunks = [chunk for chunk in chunks if start // per * per <= chunk.chunk_offset[0] < stop]
    if len(chunks) != expected or sum(chunk.size for chunk in chunks) > size:
        raise absent
    _unpacked(path, dataset, [chunk.chunk_offset for chunk in chunks], wide * math.prod(dataset.chunks))
    return start, stop


def _unpacked(path: Path, dataset: h5py.Dataset, offsets: list[tuple[int, ...]], size: int) -> None:
    """Refuses chunks that unpack to more than their `size`, which HDF5 would unpack whole."""
    created = dataset.id.get_create_plist()
    filters = [created.get_filter(k)[0] for k in range(created.get_nfilters())]
    if _DEFLATE not in filters:
        return
    deflate, last = filters.index(_DEFLATE), len(filters) - 1
    for offset in offsets:
        mask, data = dataset.id.read_direct_chunk(offset)
        if mask & 1 << deflate:
            continue
        if last > deflate and filters[last] == _FLETCHER32:
            data = data[:-4]
        elif last > deflate:
            continue
        if len(zlib.decompressobj().decompress(data, size + _SMALL)) >= size + _SMALL:
            raise RecordingError(f"{path}: '{dataset.name}' has a chunk that unpacks to more than its {size:,} bytes")


def numbers(path: Path, dataset: Any, start: int = 0, stop: int | None = None) -> np.ndarray:
    """The numbers of one channel from `start` to `stop`, as float64, once they are known to be there."""
    if not isinstance(dataset, h5py.Dataset):
        raise RecordingError(f"{path}: {type(dataset).__name__} where a dataset of numbers belongs")
    if dataset.dtype.kind not in "fiub" or len(dataset.shape or ()) != 1:
        raise RecordingError(
            f"{path}: '{dataset.name}' has shape {dataset.shape} and type {dataset.dtype}; numbers of one channel, "
            "shape (n,), are needed"
        )
    start, stop = stored(path, dataset, start, stop)
    values = np.empty(stop - start)
    if values.size:
        dataset.read_direct(values, np.s_[start:stop])
    return values
