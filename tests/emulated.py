"""The CUDA twins of the kernels, compiled by a C++ compiler to run on a CPU: see emulated_cuda/cuda_runtime.h."""

import ctypes
import fcntl
import os
import subprocess
from pathlib import Path

import jax

from brainsim.ops import _library

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "brainsim/ops/csrc/cuda"


def built(folder: Path, *flags: str) -> Path:
    """The library of emulated twins in `folder`; processes that ask for it at the same time build it once."""
    path = folder / "libemulated_cuda.so"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            command = ["g++", "-std=c++17", "-O0", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", *flags]
            paths = ["-I", str(ROOT / "tests/emulated_cuda"), "-isystem", jax.ffi.include_dir()]
            source = ["-x", "c++", str(SOURCES / "all.cu"), "-o", f"{path}.part"]
            run = subprocess.run([*command, *paths, *source], capture_output=True, text=True, timeout=300)
            assert run.returncode == 0, run.stderr
            os.rename(f"{path}.part", path)
    return path


def register(path: Path, prefix: str = "emulated_") -> None:
    """Makes every twin known to XLA as an operator for CPUs, under its name with a prefix."""
    library = ctypes.CDLL(str(path))
    for name in _library._TARGETS:
        jax.ffi.register_ffi_target(prefix + name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
