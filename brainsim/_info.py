"""What ``brainsim info`` says: versions, devices, what is there, what is not, and the command that adds it."""

import importlib.metadata
import inspect
import platform
from typing import Any

from ._version import __version__

_PACKAGES = ("jax", "jaxlib", "equinox", "diffrax", "optax", "numpy")
_PLAIN = ("procedural_delays", "procedural_synapses")  # operators that are quick without a compiled kernel
_OPTIONAL = {"matplotlib": "plot", "pynwb": "io", "zarr": "io", "nitime": "demo"}


def versions() -> dict[str, str]:
    """Versions of brainsim, of Python and of the packages that results depend on."""
    found = {name: _version(name) or "not installed" for name in _PACKAGES}
    return {"brainsim": __version__} | found | {"python": platform.python_version()}


def backend() -> dict[str, Any]:
    """Devices, and for each event-driven operator whether a compiled kernel or plain JAX computes it."""
    import jax

    from . import _compat, ops
    from .ops._library import cuda_library, load_cuda

    kernels = "jax"
    if jax.default_backend() == "cpu":
        kernels = ops.backend()
    elif _compat.is_cuda() and load_cuda():
        kernels = "cuda"
    operators = sorted(name for name, x in vars(ops).items() if inspect.isfunction(x) and name != "backend")
    return {
        "kernels": kernels,
        "cuda": cuda_library() is not None,
        "operators": {name: "jax" if name in _PLAIN else kernels for name in operators},
        "devices": [str(device) for device in jax.devices()],
        "float": "float64" if jax.config.jax_enable_x64 else "float32",  # pyright: ignore[reportAttributeAccessIssue]
    }


def machine() -> str:
    """The machine in a few words."""
    import os

    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{count} CPU core{'s' if count != 1 else ''}, {platform.machine()}, {platform.system()}"


def info() -> dict[str, Any]:
    """All of it, as a dict for JSON."""
    from ._parts import kernels, optional

    found = {
        "versions": versions(),
        "machine": machine(),
        "backend": backend(),
        "optional": {name: _version(name) for name in _OPTIONAL},
    }
    parts = [*kernels(found["backend"]["kernels"]), *optional(found["optional"], _OPTIONAL)]
    return found | {"parts": [part._asdict() for part in parts]}


def lines(found: dict[str, Any]) -> list[str]:
    """`info()` for people."""
    back = found["backend"]
    text = [f"{name:<14} {version}" for name, version in found["versions"].items()]
    text += ["", f"{'machine':<14} {found['machine']}", f"{'devices':<14} {', '.join(back['devices'])}"]
    text += [f"{'precision':<14} {back['float']}", ""]
    for part in found["parts"]:
        text.append(f"{part['name']:<14} {part['says']}")
        if part["add"]:
            text.append(f"{'':<14} to add: {part['add']}")
    return text


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
