"""Which flags XLA knows: it aborts the process at the first one that it does not know."""

import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any


def known_flags(flags: Sequence[str], cache: Any = None, attempt: Callable[[Sequence[str]], str | None] | None = None):
    """Those of `flags`, e.g. `"xla_cpu_use_thunk_runtime=true"`, that this XLA takes, in the same order.

    Another process tries (`attempt`), and `cache`, pytest's, remembers for the next session.
    """
    key = f"xla_flags/{importlib.metadata.version('jaxlib')}/{'&'.join(flags)}"
    known = cache.get(key, None) if cache else None
    if known is None:
        known = _found(list(flags), attempt or _attempt)
        if cache:
            cache.set(key, known)
    return known


def _found(flags: list[str], attempt: Callable[[Sequence[str]], str | None]) -> list[str]:
    while flags and (complaint := attempt(flags)) is not None:
        unknown = set(re.findall(r"--(\w+)", complaint))
        fewer = [flag for flag in flags if flag.partition("=")[0] not in unknown]
        flags = fewer if len(fewer) < len(flags) else []  # it failed of something else
    return flags


def _attempt(flags: Sequence[str]) -> str | None:
    """What a process with these flags dies of, None if it lives."""
    env = os.environ | {"XLA_FLAGS": " ".join(f"--{flag}" for flag in flags), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env=env, capture_output=True, text=True)
    return run.stderr if run.returncode else None
