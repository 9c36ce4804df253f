"""The CUDA twins of the compiled kernels, without a GPU: their sources run on a CPU, compile, and are what JAX calls.

What runs is every line of a kernel, thread after thread; races, and the device itself, are beyond these tests.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import types

import jax
import jax.export
import jax.extend.backend
import jax.numpy as jnp
import pytest
from cuda_cases import CASES, INDEXED, SETTINGS, Draw
from emulated import ROOT, SOURCES, built, register
from tolerances import assert_close

import brainsim as bs
from brainsim import _info, _parts
from brainsim.ops import (
    _dense,
    _library,
)

NVCC = shutil.which("nvcc")
needs_compilers = pytest.mark.skipif(
    shutil.which("g++") is None or bs.ops.backend() != "ffi", reason="needs g++ and the compiled kernels"
)
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The emulated twins, registered as `emulated_...`, built by one of the processes; its path."""
    here = tmp_path_factory.getbasetemp()
    folder = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "emulated_cuda"
    folder.mkdir(exist_ok=True)
    path = built(folder, *os.environ.get("BRAINSIM_EMULATED_FLAGS", "").split())
    register(path)
    return path


@pytest.fixture
def twins(library, monkeypatch):
    """A function that runs another one with the twins in place of the C++ kernels, and says which were called."""
    real = jax.ffi.ffi_call

    def run(function, *operands):
        called = set()

        def ffi_call(name, *args, **kwargs):
            called.add(name)
            return real("emulated_" + name, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(jax.ffi, "ffi_call", ffi_call)
            return jax.jit(lambda *xs: function(*xs))(*operands), called

    return run


# ---- the same results as the C++ kernels, which other tests compare with plain JAX


def test_every_kernel_has_a_twin_and_a_case():
    assert {f"brainsim_{name}" for name in CASES} == set(_library._TARGETS)
    text = "".join(path.read_text() for path in SOURCES.glob("*.cu"))
    assert all(f"{name}," in text for name in _library._TARGETS)


def compare(name, twins, dtype, wild=False):
    """Runs a twin and the C++ kernel on all settings, as one program each: compiling takes longer than they do."""
    drawn = [CASES[name](Draw(setting, dtype, wild)) for setting in SETTINGS]
    operands = [x for _, x, _ in drawn]

    def all_settings(operands):
        return [primitive.bind(*x, **params) for (primitive, _, params), x in zip(drawn, operands, strict=True)]

    expected = jax.jit(all_settings)(operands)
    got, called = twins(all_settings, operands)
    assert f"brainsim_{name}" in called
    if not (wild and name == "arrivals_add"):  # there threads of the C++ kernel rely on sorted rows
        assert_close(got, expected, chaotic=wild)  # wild rows are long: many numbers of both signs


@needs_compilers
@pytest.mark.parametrize("name", CASES)
def test_twins_agree_with_kernels(name, twins, monkeypatch, x64):
    monkeypatch.setattr(_dense, "_SPARSE", {"dense": 2.0, "convolution": 2.0})  # events, however many
    compare(name, twins, jnp.float32 if name.endswith("narrow") else jnp.float64)


@needs_compilers
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("narrow")])
def test_twins_agree_with_kernels_in_single_precision(name, twins, monkeypatch, x32):
    monkeypatch.setattr(_dense, "_SPARSE", {"dense": 2.0, "convolution": 2.0})
    compare(name, twins, jnp.float32)


@needs_compilers
@pytest.mark.parametrize("name", INDEXED)
def test_wild_indices_are_clamped_alike(name, twins, x32):
    compare(name, twins, jnp.float32, wild=True)


@needs_compilers
@pytest.mark.slow
def test_twins_leave_no_array():
    """The same once more under the address sanitiser, which has to be there before Python is."""
    of_compiler = lambda name: subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip()
    libraries = of_compiler("libasan.so"), of_compiler("libstdc++.so.6")
    if not all(map(os.path.isabs, libraries)):
        pytest.skip("this compiler comes without sanitisers")
    here = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    environment = {**here, "LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}
    environment |= {"BRAINSIM_EMULATED_FLAGS": "-fsanitize=address"}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-s", "-p", "no:cacheprovider", __file__]
    command += ["-k", "agree_with_kernels or clamped_alike", "-m", "not slow"]
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr


def refused(run, *args):
    with pytest.raises(Exception) as caught:
        run(*args)
    return str(caught.value).split("\n")[0]


@needs_compilers
@pytest.mark.parametrize("target, shapes, message", [
    ("csr_scatter", [(2,), (3,), (3,), (4,)], "indptr must have n_pre + 1 entries"),
    ("csr_scatter", [(2,), (4,), (3,), (3,)], "one entry per synapse"),
    ("csr_scatter_narrow", [(2,), (3,), (3,), (3,)], "weights must be bfloat16"),
    ("fan_out_scatter_unit", [(2,), (3, 4)], "one row of indices per neuron"),
    ("dense_scatter", [(2,), (3, 5)], "do not fit"),
    ("arrivals_add_unit", [(5,), (4, 2), (4, 0), (3,), (2, 1), (2,), ()], "slots + 1"),
    ("append_events", [(3, 1), (2,), ()], "expected a list"),
    ("poisson", [(2,), (1,), (1,)], "must be uint32"),
])  # fmt: skip
def test_twins_refuse_what_the_kernels_refuse(target, shapes, message, library, x32):
    integers = {"csr": (2, 3), "fan": (1,), "arr": (2, 3, 4, 5, 6), "app": (0, 2)}.get(target[:3], ())
    operands = [jnp.zeros(s, jnp.int32 if i in integers else jnp.float32) for i, s in enumerate(shapes)]
    result = jax.ShapeDtypeStruct(shapes[0] if target == "append_events" else (5,), operands[0].dtype)
    call = lambda name: jax.jit(jax.ffi.ffi_call(f"{name}{target}", result))(*operands).block_until_ready()
    said = refused(call, "emulated_brainsim_")
    assert message in said
    assert said == refused(call, "brainsim_")


# ---- what JAX calls on a GPU


def network(spikes, mean):
    """Operators of all kinds: with attributes, with aliases, and in a batch."""
    indices, indptr = jnp.zeros(4, jnp.int32), jnp.asarray([0, 1, 4], jnp.int32)
    events = jax.vmap(lambda x: bs.ops.csr_matvec(x, jnp.ones(4), indices, indptr, 3))(spikes)
    fan_out = bs.ops.fan_out_matvec(spikes[0], 1.0, jnp.zeros((2, 2), jnp.int32), 3)
    counts = bs.ops.poisson_counts(jax.random.key(0), 1, mean, n=3)
    listed = bs.ops.append_events(bs.ops.empty_events(5), events[0], jnp.int32(1))
    return events, fan_out, counts, listed


TARGETS = ("csr_scatter", "fan_out_scatter_unit", "poisson", "append_events")


def exported(function, *operands):
    names = _library._TARGETS
    checks = [jax.export.DisabledSafetyCheck.custom_call(name) for name in names]
    program = jax.export.export(jax.jit(function), platforms=["cuda"], disabled_checks=checks)(*operands)
    return {name for name in names if f"@{name}(" in program.mlir_module()}


@needs_compilers
def test_programs_for_gpus_call_the_twins(library, monkeypatch, x32):
    monkeypatch.setattr(_library, "cuda_library", lambda: library)  # of the same interface, and not called here
    _library.load_cuda.cache_clear()
    try:
        found = exported(lambda x, m: network(x, m), jnp.ones((2, 2)), jnp.float32(0.5))
    finally:
        _library.load_cuda.cache_clear()
    assert found == {f"brainsim_{name}" for name in TARGETS}


def test_programs_for_gpus_without_twins_are_plain(monkeypatch, x32):
    monkeypatch.setattr(_library, "cuda_library", lambda: None)
    _library.load_cuda.cache_clear()
    try:
        assert exported(lambda x, m: network(x, m), jnp.ones((2, 2)), jnp.float32(0.5)) == set()
    finally:
        _library.load_cuda.cache_clear()


def test_a_library_for_gpus_of_another_version(monkeypatch, tmp_path):
    """It is not used, and brainsim says so."""
    (tmp_path / "text.so").write_text("not a library")
    monkeypatch.setattr(_library, "cuda_library", lambda: tmp_path / "text.so")
    with pytest.warns(RuntimeWarning, match="without its CUDA kernels"):
        assert not _library.load_cuda.__wrapped__()


@pytest.mark.parametrize("version, there, said", [
    ("PJRT C API\ncuda 13000", True, "there: compiled CUDA"),
    ("PJRT C API\ncuda 13000", False, "not there: GPUs run plain JAX"),
    ("PJRT C API\nrocm 60000", True, "there, but this machine has no NVIDIA GPU"),
])  # fmt: skip
def test_info_on_a_gpu(version, there, said, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax.extend.backend, "get_backend", lambda: types.SimpleNamespace(platform_version=version))
    monkeypatch.setattr(_library, "load_cuda", lambda: there)
    monkeypatch.setattr(_library, "cuda_library", lambda: pathlib.Path("library") if there else None)
    monkeypatch.setattr(_parts, "has_gpu", lambda: "cuda" in version)
    text = _info.lines(_info.info())
    assert any(line.startswith(f"GPU kernels    {said}") for line in text), text
    assert there or any("BRAINSIM_CUDA=ON" in line for line in text)


# ---- the CUDA compiler


@needs_nvcc
@pytest.mark.skipif(os.environ.get("BRAINSIM_CUDA") != "ON", reason="they are built if BRAINSIM_CUDA is ON")
def test_twins_are_there_if_required():
    assert _library.cuda_library() is not None


@needs_nvcc
@pytest.mark.slow
def test_twins_compile_without_a_warning(tmp_path):
    flags = ["-std=c++17", "-arch=sm_80", "-fmad=false", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-fPIC"]
    command = [NVCC, *flags, "-isystem", jax.ffi.include_dir(), "-c", str(SOURCES / "all.cu"), "-o", "all.o"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr


def test_all_sources_are_compiled():
    included = set((SOURCES / "all.cu").read_text().split('"')[1::2])
    assert included == {path.name for path in SOURCES.glob("*.cu")} - {"all.cu"}
