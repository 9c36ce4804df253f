"""Every test runs against the installed package, with strict promotion, warnings as errors and two virtual devices."""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

# `python -m pytest` puts the working directory first, which would import the source tree without its compiled kernels.
# An editable install comes after the site-packages folder, and stays.
ROOT = Path(__file__).resolve().parent.parent
installed = next((i for i, p in enumerate(sys.path) if p.endswith("site-packages")), len(sys.path))
sys.path[:] = [p for i, p in enumerate(sys.path) if i > installed or Path(p or ".").resolve() != ROOT]
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"

import jax  # noqa: E402
import pytest  # noqa: E402
from xla_flags import known_flags  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_traceback_in_locations_limit", 0)  # nobody reads where the operations of these programs stand

# Most of the suite's time is XLA's: it compiles a program or more for every test, most of which run for milliseconds.
QUICK = [
    "xla_backend_optimization_level=0",
    "xla_cpu_use_fusion_emitters=false",
    "xla_cpu_parallel_codegen_split_count=1",
]


def pytest_configure(config):
    """The fast tests have machine code that is made quickly; the slow ones, and what is timed, XLA's defaults."""
    if config.option.markexpr == "not slow" and not hasattr(config, "workerinput"):  # workers inherit the environment
        os.environ["XLA_FLAGS"] += "".join(f" --{flag}" for flag in known_flags(QUICK, getattr(config, "cache", None)))
    if not hasattr(config, "workerinput"):
        os.environ["BRAINSIM_TEST_PROGRAMS"] = tempfile.mkdtemp(prefix="brainsim-programs-")
    # What one test has compiled, another test and the other workers need not compile again.
    jax.config.update("jax_compilation_cache_dir", os.environ["BRAINSIM_TEST_PROGRAMS"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["BRAINSIM_TEST_PROGRAMS"], ignore_errors=True)


def pytest_collection_finish(session):
    """Tracing makes millions of small objects, few of them in cycles: they are searched for less often."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 1000)


@pytest.fixture
def x64():
    """Double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def x32():
    """Single precision."""
    with jax.enable_x64(False):
        yield


@pytest.fixture(params=[32, 64], ids=["float32", "float64"])
def precision(request):
    """Both precisions, one after the other."""
    with jax.enable_x64(request.param == 64):
        yield request.param


@pytest.fixture
def getkey():
    """A function that returns a new key at every call, the same ones in every run."""
    keys = iter(jax.random.split(jax.random.key(0), 1000))
    return lambda: next(keys)
