"""The CUDA twins of the compiled kernels, without a GPU: their sources run on a CPU, compile, and are what JAX calls.

What runs is every line of a kernel, thread after thread; races, and the device itself, are beyond these tests.
"""

import os
import shutil
import subprocess
import sys
import types

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from emulated import ROOT, SOURCES, built, register
from tolerances import assert_close

import brainsim as bs
from brainsim import _compat, _info, _numerics
from brainsim.ops import (
    _arrivals_primitives as arrivals,
    _at_spikes,
    _blocks,
    _csr_narrow as narrow,
    _csr_primitives as csr,
    _csr_through as through,
    _dense,
    _events,
    _fan_out,
    _library,
    _poisson,
    _procedural,
    _procedural_late as late,
)

NVCC = shutil.which("nvcc")
needs_compilers = pytest.mark.skipif(
    shutil.which("g++") is None or bs.ops.backend() != "ffi", reason="needs g++ and the compiled kernels"
)
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The emulated twins, registered as `emulated_...`, built by one of the processes that run these tests."""
    here = tmp_path_factory.getbasetemp()
    folder = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "emulated_cuda"
    folder.mkdir(exist_ok=True)
    register(built(folder, *os.environ.get("BRAINSIM_EMULATED_FLAGS", "").split()))


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

# n_pre, n_post, groups, batch, and the part of neurons that spike
SETTINGS = [(60, 300, 2, 3, 0.3), (700, 40, 1, 1, 0.05), (9, 9, 1, 2, 1.0), (8, 5, 1, 1, 0.0), (1, 1, 1, 1, 1.0),
            (0, 3, 1, 1, 1.0), (5, 0, 1, 1, 1.0)]  # fmt: skip


class Draw:
    """Random operands of one setting. Some synapses lead nowhere; with `wild`, all index arrays hold anything."""

    def __init__(self, setting, dtype, wild=False):
        self.n_pre, self.n_post, self.groups, self.batch, self.active = setting
        self.rng, self.dtype, self.wild = np.random.default_rng(0), dtype, wild

    def values(self, *shape, dtype=None):
        return self.rng.normal(size=shape).astype(dtype or self.dtype)

    def spikes(self, *shape):
        return np.where(self.rng.random(shape) < self.active, self.rng.normal(size=shape), 0).astype(self.dtype)

    def integers(self, low, high, shape):
        extreme = [-(2**31), -5, 0, 3, 60, 10**6, 2**31 - 1]
        x = self.rng.choice(extreme, shape) if self.wild else self.rng.integers(low, high, shape)
        return np.asarray(x, np.int32)

    def starts(self, n_rows, most):
        """Where rows begin, and the number of synapses, of which the last three belong to no row."""
        ends = np.cumsum(self.rng.integers(0, most + 1, n_rows))
        starts = np.array([0, *ends], np.int32)
        return (self.integers(0, 1, starts.shape) if self.wild else starts), int(starts[-1]) + 3

    def lead(self):
        return self.groups, self.batch

    def pattern(self):
        indptr, nnz = self.starts(self.n_pre, 2 * self.n_post)
        return self.integers(-1, self.n_post + 1, nnz), indptr


def csr_case(primitive, *, unit=False, masked=False, type_of_weight=None):
    def case(d: Draw):
        if unit and d.groups > 1:
            d.groups, d.batch = 1, 6
        indices, indptr = d.pattern()
        weight = [] if unit else [d.values(d.groups, len(indices), dtype=type_of_weight)]
        n_in, n_out = (d.n_pre, d.n_post) if primitive in (csr.scatter, narrow.scatter) else (d.n_post, d.n_pre)
        vector = d.spikes if n_in == d.n_pre and n_out == d.n_post else d.values
        relevant = [d.rng.random((*d.lead(), n_out)) < 0.5] if masked else []
        params = {"masked": masked} if primitive in (csr.scatter, csr.gather) else {}
        return primitive, [vector(*d.lead(), n_in), *weight, indices, indptr, *relevant], {"n_out": n_out, **params}

    return case


def outer_case(d):
    return csr.outer, [d.spikes(*d.lead(), d.n_pre), d.values(*d.lead(), d.n_post), *d.pattern()], {}


def accumulate_case(d):
    _, (spikes, values, *pattern), _ = outer_case(d)
    return through.accumulate, [d.values(d.groups, len(pattern[0])), spikes, values, *pattern], {}


def fan_out_case(unit):
    def case(d):
        indices = d.integers(-1, d.n_post + 1, (d.n_pre, 7))
        weight = [] if unit else [d.values(d.groups, d.n_pre, 7)]
        return _fan_out.scatter, [d.spikes(*d.lead(), d.n_pre), *weight, indices], {"n_out": d.n_post}

    return case


def dense_case(d):
    return _dense.dense, [d.spikes(*d.lead(), d.n_pre), d.values(d.groups, d.n_pre, d.n_post)], {}


def convolution_case(d):
    shape = bs.ops.ConvolutionShape((d.n_pre % 7, 6, 2), (3, 2, d.n_post % 4), (2, 1), ((1, 2), (0, 1)))
    image, weight = d.spikes(*d.lead(), int(np.prod(shape.image))), d.values(d.groups, *shape.weights)
    return _dense.convolved, [image, weight], {"shape": shape}


def hints_of(history, size):
    """With room for a part of the spikes: some rows have hints that can be used."""
    hints = np.zeros((*history.shape[:3], size), np.int32)
    for row in np.ndindex(history.shape[:3]):
        found = np.flatnonzero(history[row])
        hints[row][0] = len(found)
        hints[row][1 : 1 + len(found)] = found[: size - 1]
    return hints


def arrivals_case(primitive, *, unit=False):
    def case(d):
        slots, rows = 3, 5
        flat, nnz = d.starts(d.n_pre * slots, 4)
        at = np.arange(d.n_pre)[:, None] * slots + np.arange(slots + 1)
        pattern = [d.integers(-1, d.n_post + 1, nnz), flat[at].reshape(d.n_pre, slots + 1)]
        pattern += [d.integers(0, rows, slots), d.integers(0, 90, d.lead())]
        history, values = d.spikes(*d.lead(), rows, d.n_pre), d.values(*d.lead(), d.n_post)
        hints = d.integers(0, 1, (*d.lead(), rows, d.n_pre // 3 + 1)) if d.wild else hints_of(history, d.n_pre // 3 + 1)
        weight = [] if unit else [d.values(d.groups, nnz)]
        if primitive is arrivals.add:
            return primitive, [values, history, hints, *weight, *pattern], {}
        if primitive is arrivals.gather:
            return primitive, [values, *weight, *pattern], {"n_rows": rows}
        return primitive, [history, hints, values, *pattern], {}

    return case


def compact_case(d):
    return arrivals.compact, [d.spikes(d.groups * d.batch, d.n_pre)], {"size": d.n_post}


def append_case(d):
    lists = np.zeros((d.groups, d.n_post + 1, 2), np.int32)
    lists[:, 0, 0] = d.integers(-1, 4, d.groups)
    return _events.append, [lists, d.spikes(d.groups, d.n_pre), d.integers(0, 9, (d.groups,))], {}


def at_spikes_case(d):
    n = d.n_pre
    arrays = [d.values(n), d.values(n, dtype=jnp.float32), d.integers(0, 9, n)]
    new = [d.values(1), d.values(n, dtype=jnp.float32), d.integers(0, 9, n)]
    lists = [np.zeros((d.n_post + 1, 2), np.int32), np.array([[2**31 - 1, 0], [0, 0]], np.int32)]
    params = {"n_arrays": 3, "parts": ((0, n // 2), (n // 2, n - n // 2)), "timed": 1}
    return _at_spikes._at_spikes, [d.spikes(n), *arrays, *new, *lists, np.int32(2**31 - 2)], params


def counts_case(process):
    def case(d):
        n = d.n_post if d.n_post else 1
        words = d.rng.integers(0, 2**32, (d.groups, 2)).astype(np.uint32)
        top = 40 if process == "poisson" else 1.2
        mean = (d.rng.uniform(-0.05, 1, (d.groups, 1 if d.batch == 2 else n)) * top).astype(d.dtype)
        return _poisson.counts, [words, words[:, :1], mean], {"n": n, "process": process}

    return case


def procedural_pattern(d):
    """A pattern and its kind of noise, and the random words that the synapses come from."""
    kind = ("different", "independent", "of all")[d.n_pre % 3]
    noise = ("none", "uniform", "normal")[d.n_post % 3]
    skip = kind == "different" and d.n_pre == d.n_post
    domain = d.n_post * 2 if kind == "of all" else d.n_post - skip
    table = [0, *np.sort(d.rng.integers(0, domain + 1, d.n_pre))] if kind == "of all" else [10**9, 3 * 10**9]
    most = min(d.n_post - skip, 20) if kind == "different" else 20
    pattern = _procedural.ProceduralPattern(d.n_pre, d.n_post, kind, domain, min(most, 4), most, fan_in=2, skip=skip)
    return pattern, noise, [np.array([5, 6], np.uint32), np.array(table, np.uint32)]


def procedural_case(primitive):
    def case(d):
        pattern, noise, words = procedural_pattern(d)
        shape = (d.n_pre,) if primitive is _procedural.scatter else (d.n_post, 1 + (noise != "none"))
        vector = d.spikes if primitive is _procedural.scatter else d.values
        return primitive, [vector(d.groups * d.batch, *shape), *words], {"pattern": pattern, "noise": noise}

    return case


def late_case(primitive):
    """With delays of 2 to 11 steps, some of them rare, in a ring with a row to spare."""

    def case(d):
        pattern, noise, words = procedural_pattern(d)
        batch = d.groups * d.batch
        ring = d.values(batch, 12, d.n_post)
        sent = [d.spikes(batch, d.n_pre, 1 + (noise != "none"))] if primitive is late.send else []
        delays = np.array([0, 10**8, 2 * 10**9, 4 * 10**9], np.uint32)[d.n_pre % 4 :]
        params = {"pattern": pattern, "noise": noise, "least": 2, "stride": 2}
        return primitive, [ring, *sent, *words, delays, np.int32(1000 * d.rng.integers(-1, 2) + 7)], params

    return case


def blocks_case(d):
    blocks, places = [], []
    for source, (each, first_pre, target, first_post) in enumerate([(True, 0, 1, 0), (False, 1, 0, 4)]):
        indices, indptr = d.pattern()
        blocks += [indices, indptr, d.values(len(indices) if each else 1)]
        places.append(_blocks.Place(source, first_pre, target, first_post, d.n_post, each))
    ends = [d.values(d.n_post + 4), d.values(d.n_post), d.spikes(d.n_pre), d.spikes(d.n_pre + 3)]
    return _blocks._blocks, [*blocks, *ends], {"places": tuple(places), "n_targets": 2}


def exponential_case(d):
    n = d.n_pre + 256  # below, XLA computes it
    return _numerics._exponential_step, [d.values(n), d.values(n) * 3, d.values(n)], {}


CASES = {
    "csr_scatter": csr_case(csr.scatter),
    "csr_scatter_unit": csr_case(csr.scatter, unit=True),
    "csr_scatter_narrow": csr_case(narrow.scatter, type_of_weight=jnp.bfloat16),
    "csr_gather": csr_case(csr.gather),
    "csr_gather_unit": csr_case(csr.gather, unit=True),
    "csr_gather_narrow": csr_case(narrow.gather, type_of_weight=jnp.bfloat16),
    "csr_gather_relevant": csr_case(csr.gather, masked=True),
    "csr_gather_relevant_unit": csr_case(csr.gather, masked=True, unit=True),
    "csr_outer": outer_case,
    "csr_accumulate": accumulate_case,
    "fan_out_scatter": fan_out_case(unit=False),
    "fan_out_scatter_unit": fan_out_case(unit=True),
    "dense_scatter": dense_case,
    "convolution_scatter": convolution_case,
    "arrivals_add": arrivals_case(arrivals.add),
    "arrivals_add_unit": arrivals_case(arrivals.add, unit=True),
    "arrivals_gather": arrivals_case(arrivals.gather),
    "arrivals_gather_unit": arrivals_case(arrivals.gather, unit=True),
    "arrivals_outer": arrivals_case(arrivals.outer),
    "compact": compact_case,
    "append_events": append_case,
    "at_spikes": at_spikes_case,
    "poisson": counts_case("poisson"),
    "bernoulli": counts_case("bernoulli"),
    "procedural_scatter": procedural_case(_procedural.scatter),
    "procedural_gather": procedural_case(_procedural.gather),
    "procedural_send": late_case(late.send),
    "procedural_collect": late_case(late.collect),
    "blocks": blocks_case,
    "exponential_step": exponential_case,
}
INDEXED = ["csr_scatter", "csr_gather_narrow", "csr_outer", "fan_out_scatter", "arrivals_add", "arrivals_gather",
           "append_events", "blocks"]  # fmt: skip


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


@pytest.mark.skipif(_library.cuda_library() is None, reason="there are no CUDA kernels here")
def test_programs_for_gpus_call_the_twins(x32):
    found = exported(lambda x, m: network(x, m), jnp.ones((2, 2)), jnp.float32(0.5))
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
    ("PJRT C API\ncuda 13000", True, "compiled CUDA kernel"),
    ("PJRT C API\ncuda 13000", False, "plain JAX"),
    ("PJRT C API\nrocm 60000", True, "plain JAX"),
])  # fmt: skip
def test_info_on_a_gpu(version, there, said, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(_compat, "get_backend", lambda: types.SimpleNamespace(platform_version=version))
    monkeypatch.setattr(_library, "load_cuda", lambda: there)
    assert f"  csr_matvec           {said}" in _info.lines(_info.info())


# ---- the CUDA compiler


@needs_nvcc
@pytest.mark.skipif(os.environ.get("BRAINSIM_CUDA", "ON") != "ON", reason="they were left out")
@pytest.mark.skipif(os.environ.get("BRAINSIM_REQUIRE_FFI") != "1", reason="BRAINSIM_REQUIRE_FFI is not set")
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
