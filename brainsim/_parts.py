"""The parts of an installation that may be missing: what each is for, in plain words, and the command that adds it."""

import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

_USES = {
    "matplotlib": "figures",
    "pynwb": "NWB files",
    "zarr": "runs on disk",
    "nitime": "the demo",
}
_COMPILER = "a C++17 compiler (Debian, Ubuntu: apt install g++; macOS: xcode-select --install)"


class Part(NamedTuple):
    """A part, whether it is there, what that means, and the command that adds it (empty if there is nothing to add)."""

    name: str
    there: bool
    says: str
    add: str = ""


def kernels(running: str) -> Iterator[Part]:
    """The compiled kernels, for CPUs and for NVIDIA's GPUs, given what runs: `"ffi"`, `"cuda"` or `"jax"`."""
    import jax

    from . import _compat
    from .ops._library import cuda_library, library

    if library() is not None:
        yield Part("CPU kernels", True, "there: compiled C++, networks run at full speed")
    else:
        missing = [] if _found("c++", "g++", "clang++") else [f"install {_COMPILER}"]
        says = "not there: plain JAX takes their place, many times slower for networks"
        yield Part("CPU kernels", False, says, ", then ".join([*missing, reinstall()]))

    gpu, built = has_gpu(), cuda_library() is not None
    if running == "cuda":
        yield Part("GPU kernels", True, "there: compiled CUDA, called by programs for this GPU")
    elif built and jax.default_backend() == "gpu" and _compat.is_cuda():
        yield Part("GPU kernels", False, "there, but not those of these sources", f"BRAINSIM_CUDA=ON {reinstall()}")
    elif built and not gpu:
        yield Part("GPU kernels", True, "there, but this machine has no NVIDIA GPU")
    elif built:
        says = "there, but JAX does not use the GPU of this machine"
        yield Part("GPU kernels", True, says, f"{pip()} 'jax[cuda13]' (an older driver: 'jax[cuda12]')")
    else:
        says = "not there: GPUs run plain JAX" if gpu else "not there, nor needed: this machine has no NVIDIA GPU"
        missing = [] if _found("nvcc", "/usr/local/cuda/bin/nvcc") else ["install nvcc, CUDA's compiler"]
        yield Part("GPU kernels", False, says, ", then ".join([*missing, f"BRAINSIM_CUDA=ON {reinstall()}"]))


def optional(found: dict[str, str | None], extras: dict[str, str]) -> Iterator[Part]:
    """Packages that parts need, with their versions (None: not installed) and the extras that bring them."""
    for package, version in found.items():
        if version is not None:
            yield Part(_USES[package], True, f"there: {package} {version}")
        else:
            yield Part(_USES[package], False, f"not there: needs {package}", f"{pip()} 'brainsim[{extras[package]}]'")


def has_gpu() -> bool:
    """Whether this machine has a GPU of NVIDIA, and its driver."""
    if any(Path("/proc/driver/nvidia/gpus").glob("*")):
        return True
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU" in listed.stdout


def pip() -> str:
    """The command that installs into the environment that runs this, as one would type it here."""
    python, here = sys.executable, os.getcwd() + os.sep
    python = python[len(here) :] if python.startswith(here) else python
    return f"{shlex.quote(python)} -m pip install"


def reinstall() -> str:
    """The command that compiles brainsim again: where it was installed from (PEP 610), or this source tree."""
    try:
        distribution = importlib.metadata.distribution("brainsim")
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except importlib.metadata.PackageNotFoundError:
        return f"{pip()} {shlex.quote(str(Path(__file__).resolve().parent.parent))}"
    command = f"{pip()} --force-reinstall --no-deps"
    if "dir_info" in origin:
        folder = shlex.quote(url2pathname(urlsplit(origin["url"]).path))
        return f"{command} {'-e ' * bool(origin['dir_info'].get('editable'))}{folder}"
    if "vcs_info" in origin:
        return f"{command} {shlex.quote(origin['vcs_info']['vcs'] + '+' + origin['url'])}"
    return f"{command} --no-cache-dir --no-binary brainsim brainsim=={distribution.version}"


def _found(*programs: str) -> bool:
    return any(shutil.which(program) for program in programs)
