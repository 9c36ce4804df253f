"""What determines the bits of a result: values, the program, and what compiles and runs it."""

import functools as ft
import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._compat import cpu_options
from ._leaves import named, plain
from ._quantity import shown
from .ops import backend
from .ops._library import cuda_library, library

ANYWAY = "anyway"
"""What `resume=` is to go on although another machine, or other versions, may give other last bits."""


def asked(resume: Any) -> bool | str:
    """`resume` as given; `ValueError` for what is neither a truth value nor `ANYWAY`."""
    if not isinstance(resume, bool | np.bool_) and not (isinstance(resume, str) and resume == ANYWAY):
        raise ValueError(f"resume must be True, False or {ANYWAY!r}, got {shown(resume)}")
    return resume if isinstance(resume, str) else bool(resume)


def values(**trees: Any) -> dict[str, str]:
    """A digest of every array in some trees, by the name of the tree and its own."""
    path = lambda prefix, name: f"{prefix}.{name}" if prefix and name else prefix or name
    return {
        path(prefix, name): _digest_of(plain(x))
        for prefix, tree in trees.items()
        for name, x in named(tree).items()
        if isinstance(x, jax.Array | np.ndarray | np.generic)
    }


def program(*texts: str) -> str:
    """A digest of programs, as XLA gets them."""
    return digest("\0".join(texts).encode())


def digest(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _digest_of(x: np.ndarray) -> str:
    return digest(f"{x.dtype}{x.shape}".encode() + np.ascontiguousarray(x).tobytes())


def machine() -> dict[str, str]:
    """What else determines bits: versions, flags, the device, its instructions, and how many cores share a sum."""
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kernels = {"cpu": library, "gpu": cuda_library}.get(device.platform, lambda: None)()
    file = getattr(kernels, "_name", kernels)
    instructions: Any = np.show_config(mode="dicts")
    return {
        "JAX": jax.__version__,
        "jaxlib": version("jaxlib"),
        "XLA_FLAGS": " ".join(sorted(os.environ.get("XLA_FLAGS", "").split())),
        "the compiler's options": ", ".join(f"{k}={v}" for k, v in sorted(cpu_options(wide=True).items())),
        "the precision": str(jnp.result_type(float)),
        "the device": f"{device.device_kind} ({device.client.platform_version})",
        "the processor": " ".join([platform.machine(), *instructions.get("SIMD Extensions", {}).get("found", [])]),
        "the number of cores": str(cores),
        "the C library": " ".join(platform.libc_ver()),
        "the compiled kernels": f"{backend()} {_file_digest(Path(file)) if file else ''}".strip(),
    }


@ft.cache
def _file_digest(path: Path) -> str:
    return digest(path.read_bytes())[:8]


# What is known to leave the text of a program as it is.
_NOT_IN_PROGRAMS = {"XLA_FLAGS", "the compiler's options", "the processor", "the number of cores", "the C library"}


def difference(now: Mapping[str, Any], then: Mapping[str, Any], what: str, resume: Any) -> str:
    """What keeps a piece of work from being resumed, in one line; empty if nothing does.

    A fingerprint has `values` and `program`, as above, `machine()`, and facts that are compared as they are said:
    `{"dt is": "0.1 ms"}`. Another machine is no obstacle for `resume="anyway"`, and another program neither, where it
    may be the machine's: that of another JAX, say.
    """
    for name in now:
        if name not in ("values", "program", "machine") and now[name] != then.get(name):
            return f"{name} {now[name]}, but {what} has {then.get(name)}"
    a, b = now["values"], then["values"]
    if other := [name for name in {**a, **b} if name not in a or name not in b]:
        return f"{other[0]} is only in the {'new' if other[0] in a else 'old'} model"
    if other := [name for name in a if a[name] != b[name]]:
        return f"{other[0]} has another value than in {what}" + (f" (and {len(other) - 1} more)" if other[1:] else "")
    another = f"the model's equations, inputs or recorded functions are not those of {what}"
    a, b = now["machine"], then["machine"]
    if other := [name for name in {**a, **b} if a.get(name) != b.get(name)]:
        if resume == ANYWAY:
            return another if set(other) <= _NOT_IN_PROGRAMS and now["program"] != then["program"] else ""
        mine, theirs = (x.get(other[0]) or "nothing" for x in (a, b))
        return f"{other[0]}: now {mine}, then {theirs}; last bits may differ, which resume={ANYWAY!r} accepts"
    return another if now["program"] != then["program"] else ""
