"""Named arrays and facts in one file with a checksum, made of nothing but JSON and numbers."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_MAGIC = b"brainsim-1\n"
_DIGEST = 32
_TYPES = {np.dtype(x).str for x in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")}


def pack(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """`about`, which JSON can hold, and `arrays` as bytes: a line of JSON, the numbers, a BLAKE2b checksum."""
    arrays = {name: np.asarray(x, order="C") for name, x in (arrays or {}).items()}
    shapes = {name: [x.dtype.newbyteorder("<").str, list(x.shape)] for name, x in arrays.items()}
    head = json.dumps({"about": about, "arrays": shapes}).encode() + b"\n"
    numbers = (x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes() for x in arrays.values())
    body = b"".join([_MAGIC, head, *numbers])
    return body + hashlib.blake2b(body, digest_size=_DIGEST).digest()


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `pack` was given.

    **Raises:** `ValueError` for anything else; nothing is allocated that the file does not hold.
    """
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if not body.startswith(_MAGIC):
        raise ValueError("not a file of this version of brainsim")
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        raise ValueError("its checksum is wrong")
    head, _, _ = body[len(_MAGIC) :].partition(b"\n")
    at, arrays = len(_MAGIC) + len(head) + 1, {}
    try:
        found = json.loads(head)
        for name, (dtype, shape) in found["arrays"].items():
            if dtype not in _TYPES or not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError(f"array {name!r}")
            count = math.prod(shape)
            if count * np.dtype(dtype).itemsize > len(body) - at:
                raise ValueError(f"array {name!r} is longer than the file")
            arrays[name] = np.frombuffer(body, dtype, count, at).reshape(shape)
            at += arrays[name].nbytes
        return dict(found["about"]), arrays
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"its header is wrong ({' '.join(str(error).split())[:80]})") from None
