"""Finds the compiled operators and hands them to XLA; without them, the plain-JAX lowerings do the work."""

import ctypes
import functools as ft
import importlib.metadata
import importlib.resources
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from .. import _compat

# Equal to `brainsim_abi()` and `brainsim_cuda_abi()` of the libraries that belong to these sources (csrc/csr.cc and
# csrc/cuda/csr.cu): change all together.
_ABI = "19"
_FILE = {"darwin": "libbrainsim_kernels.dylib", "win32": "brainsim_kernels.dll"}.get(
    sys.platform, "libbrainsim_kernels.so"
)
_CUDA_FILE = "libbrainsim_cuda.so"
_TARGETS = (
    "brainsim_at_spikes",
    "brainsim_blocks",
    "brainsim_csr_scatter",
    "brainsim_csr_scatter_narrow",
    "brainsim_csr_scatter_unit",
    "brainsim_csr_gather",
    "brainsim_csr_gather_narrow",
    "brainsim_csr_gather_unit",
    "brainsim_csr_outer",
    "brainsim_convolution_scatter",
    "brainsim_dense_scatter",
    "brainsim_fan_out_scatter",
    "brainsim_fan_out_scatter_unit",
    "brainsim_csr_gather_relevant",
    "brainsim_csr_gather_relevant_unit",
    "brainsim_csr_accumulate",
    "brainsim_exponential_step",
    "brainsim_procedural_gather",
    "brainsim_procedural_scatter",
    "brainsim_procedural_collect",
    "brainsim_procedural_send",
    "brainsim_poisson",
    "brainsim_bernoulli",
    "brainsim_arrivals_add",
    "brainsim_arrivals_add_unit",
    "brainsim_arrivals_gather",
    "brainsim_arrivals_gather_unit",
    "brainsim_arrivals_outer",
    "brainsim_arrivals_accumulate",
    "brainsim_arrivals_collect",
    "brainsim_arrivals_collect_unit",
    "brainsim_compact",
    "brainsim_append_events",
)


def _places(name: str) -> Iterator[Path]:
    """Where a library may be: in this package, or, if this is a source tree, in the installed distribution."""
    # Not __file__: in an editable install the library lies in another directory than the Python files.
    with importlib.resources.as_file(importlib.resources.files("brainsim").joinpath("ops", name)) as path:
        yield Path(path)
    try:
        yield Path(str(importlib.metadata.distribution("brainsim").locate_file(f"brainsim/ops/{name}")))
    except importlib.metadata.PackageNotFoundError:
        return


def _open(path: Path, version: str = "brainsim_abi") -> ctypes.CDLL | str:
    """The library at `path`, whose function `version` says what it belongs to; or why it is not used."""
    if not path.is_file():
        return f"{path.name} was not built (no C++ compiler, or brainsim is not installed)"
    try:
        library = ctypes.CDLL(str(path))
        function = getattr(library, version)
        function.restype = ctypes.c_char_p
        abi = function().decode()
    except (OSError, AttributeError) as e:
        return f"{path} cannot be loaded ({e})"
    if abi != _ABI:
        return f"{path} is of version {abi!r}, these sources need {_ABI!r}"
    if _compiled_for(library) > _interface():
        return f"{path} was compiled with the headers of a newer jaxlib; add --no-build-isolation to what follows"
    return library


def _compiled_for(library: ctypes.CDLL) -> int:
    """The version of XLA's C interface that a library is for. An XLA that is older would not even start with it."""
    return getattr(library, "brainsim_xla", lambda: 0)()


def _interface() -> int:
    """The version of the C interface of this XLA, which takes libraries for older ones, too."""
    header = (Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h").read_text()
    major, minor = (re.search(rf"#define XLA_FFI_API_{part} (\d+)", header) for part in ("MAJOR", "MINOR"))
    return 1000 * int(major[1]) + int(minor[1]) if major and minor else sys.maxsize


def _register(found: ctypes.CDLL, platform: str) -> None:
    for name in _TARGETS:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(found, name)), platform=platform)


def load() -> bool:
    """Registers the compiled operators with XLA, once; False, with a warning, if there are none."""
    return library() is not None


@ft.cache
def library() -> ctypes.CDLL | None:
    """The library of compiled operators, which are registered with XLA; None, with a warning, if there is none.

    **Raises:** `ImportError` instead of the warning if the environment variable `BRAINSIM_REQUIRE_FFI` is 1.
    """
    reason = ""
    for path in _places(_FILE):
        found = _open(path)
        if isinstance(found, ctypes.CDLL):
            _register(found, "cpu")
            return found
        reason = reason or found
    message = (
        f"brainsim runs without its compiled kernels, many times slower: {reason}. "
        "Install a C++17 compiler, then `pip install --force-reinstall --no-deps brainsim`"
    )
    if os.environ.get("BRAINSIM_REQUIRE_FFI") == "1":
        raise ImportError(message + " (BRAINSIM_REQUIRE_FFI=1 makes this an error).")
    warnings.warn(message + ".", RuntimeWarning, stacklevel=3)
    return None


def cuda_library() -> Path | None:
    """Where the CUDA twins of the compiled operators are; None if there was no CUDA compiler to build them."""
    return next((path for path in _places(_CUDA_FILE) if path.is_file()), None)


@ft.cache
def load_cuda() -> bool:
    """Registers the CUDA twins with XLA, once; False if there are none, or, with a warning, if they are not usable.

    It is first called when a program is compiled for a GPU: to open the library takes its time.
    """
    path = cuda_library()
    if path is None:
        return False
    found = _open(path, "brainsim_cuda_abi")
    if isinstance(found, str):
        warnings.warn(f"brainsim runs without its CUDA kernels: {found}.", RuntimeWarning, stacklevel=2)
        return False
    _register(found, "CUDA")
    return True


def define_kernel(primitive: _compat.Primitive, kernel: Callable[..., str | None], **options: Any) -> None:
    """Lowers `primitive` to a compiled operator, on CPUs and on GPUs (see `_compat.define_lowering`)."""
    for platform, available in _PLATFORMS.items():
        _compat.define_lowering(primitive, kernel, platform=platform, available=available, **options)


def define_call(primitive: _compat.Primitive, call: Callable[..., Any]) -> None:
    """Lowers `primitive` to a function that calls compiled operators, on CPUs and on GPUs (see `_compat`)."""
    for platform, available in _PLATFORMS.items():
        _compat.define_call(primitive, call, platform=platform, available=available)


_PLATFORMS = {"cpu": load, "cuda": load_cuda}


def backend() -> str:
    """What computes the event-driven operators on CPUs: `"ffi"` (compiled kernels) or `"jax"` (plain JAX).

    ```python
    >>> import brainsim as bs
    >>> bs.ops.backend() in ("ffi", "jax")
    True

    ```
    """
    return "ffi" if load() else "jax"
