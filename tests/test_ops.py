"""The event-driven product against a dense matrix: values, and every transformation of JAX."""

import ctypes
import functools as ft
import os
import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.test_util
import needs
import numpy as np
import pytest
from tolerances import assert_close

import brainsim as bs
from brainsim._compat import as_jax
from brainsim.ops import _blocks, _csr_plain, _csr_primitives, _library

ROOT = Path(__file__).resolve().parent.parent


class Synapses:
    """A random sparse pattern with rows of 0 to `most` synapses, duplicates among them, and its dense twin."""

    def __init__(self, n_pre, n_post, most=4, seed=0):
        rng = np.random.default_rng(seed)
        degree = rng.integers(0, most + 1, n_pre) if n_post else np.zeros(n_pre, int)
        self.n_pre, self.n_post, self.nnz = n_pre, n_post, int(degree.sum())
        self.pre = np.repeat(np.arange(n_pre), degree)
        self.indices = jnp.asarray(rng.integers(0, max(n_post, 1), self.nnz), jnp.int32)
        self.indptr = jnp.asarray(np.concatenate([[0], np.cumsum(degree)]), jnp.int32)
        self.rng = rng

    def dense(self, weight):
        return jnp.zeros((self.n_pre, self.n_post), weight.dtype).at[self.pre, self.indices].add(weight)

    def matrix(self, weight):
        """`dense`, in NumPy."""
        matrix = np.zeros((self.n_pre, self.n_post), np.asarray(weight).dtype)
        np.add.at(matrix, (self.pre, np.asarray(self.indices)), np.asarray(weight))
        return matrix

    def matvec(self, spikes, weight):
        return bs.ops.csr_matvec(spikes, weight, self.indices, self.indptr, self.n_post)

    def dense_matvec(self, spikes, weight):
        return spikes @ self.dense(weight)

    def spikes(self, *batch):
        """Graded values, half of them zero."""
        shape = (*batch, self.n_pre)
        return jnp.asarray(self.rng.normal(size=shape) * (self.rng.random(shape) < 0.5), jnp.result_type(float))

    def weight(self, *batch):
        return jnp.asarray(self.rng.normal(size=(*batch, self.nnz)), jnp.result_type(float))


def smooth(product):
    """A scalar function of the events whose derivatives of any order are dense."""
    return lambda *args: jnp.sum(jnp.sin(product(*args)))


# ---- values


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("sizes", [(7, 5), (100, 37), (1, 1), (0, 3), (3, 0), (1000, 3)])
def test_products_agree_with_the_matrix(sizes, scalar, precision):
    s = Synapses(*sizes)
    spikes, weight = s.spikes(), np.asarray(1.5, s.weight().dtype) if scalar else s.weight()
    values = s.rng.normal(size=s.n_post).astype(spikes.dtype)
    matrix = s.matrix(weight)
    assert_close(s.matvec(spikes, weight), np.asarray(spikes) @ matrix)
    assert_close(bs.ops.csr_rmatvec(values, weight, s.indices, s.indptr), matrix @ values)
    outer = np.asarray(spikes)[s.pre] * values[np.asarray(s.indices)]
    assert_close(bs.ops.csr_outer(spikes, values, s.indices, s.indptr), outer)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    shape=st.sampled_from([(0, 1, 1), (1, 1, 3), (2, 40, 9), (33, 2, 3), (600, 40, 9)]),
    active=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_pattern_and_any_spikes(shape, active, dtype, seed):
    with jax.enable_x64(True):
        n_pre, n_post, most = shape
        s = Synapses(n_pre, n_post, most, seed)
        spikes = (s.rng.normal(size=s.n_pre) * (s.rng.random(s.n_pre) < active)).astype(dtype)
        weight = s.rng.normal(size=n_pre * most).astype(dtype)  # room for the fullest rows: the rest is padding
        indices = np.pad(np.asarray(s.indices), (0, len(weight) - s.nnz))
        got = bs.ops.csr_matvec(spikes, weight, indices, np.asarray(s.indptr), s.n_post)
        assert_close(got, spikes @ s.matrix(weight[: s.nnz]))


def test_graded_values_are_carried_as_they_are(x64):
    s = Synapses(3, 3)
    indices, indptr = jnp.array([0, 1, 2], jnp.int32), jnp.array([0, 1, 2, 3], jnp.int32)
    spikes = jnp.array([1e-300, -2.5, jnp.inf])
    assert bs.ops.csr_matvec(spikes, jnp.ones(s.n_pre), indices, indptr, 3).tolist() == [1e-300, -2.5, jnp.inf]
    nan = bs.ops.csr_matvec(jnp.array([0.0, jnp.nan, 0.0]), 1.0, indices, indptr, 3)
    assert np.isnan(nan).tolist() == [False, True, False]


def test_boolean_spikes_count(precision):
    s = Synapses(20, 10)
    spikes, weight = s.rng.random(20) < 0.5, s.weight()
    assert_close(s.matvec(spikes, weight), spikes.astype(weight.dtype) @ s.matrix(weight))


def test_rows_without_spike_are_not_read(precision):
    weight = jnp.array([jnp.inf, 1.0])
    args = jnp.array([0, 0], jnp.int32), jnp.array([0, 1, 2], jnp.int32)
    spikes = jnp.array([0.0, 1.0])
    assert bs.ops.csr_matvec(spikes, weight, *args, 1).tolist() == [1.0]
    plain = jax.jit(lambda x, w: _csr_plain.scatter(x, w, *args, n_out=1))
    assert plain(spikes[None, None], weight[None]).tolist() == [[[1.0]]]


@pytest.mark.parametrize("lead", ["negative", "n_post", "after the last row"])
def test_padding_contributes_nothing(lead, precision):
    bad = {"negative": -1, "n_post": 3, "after the last row": 2}[lead]
    indices = jnp.array([0, 2, bad, bad], jnp.int32)
    indptr = jnp.array([0, 1, 2] if lead == "after the last row" else [0, 1, 4], jnp.int32)
    spikes, weight, values = jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0, 5.0, 6.0]), jnp.array([1.0, 10.0, 100.0])
    assert bs.ops.csr_matvec(spikes, weight, indices, indptr, 3).tolist() == [3.0, 0.0, 8.0]
    assert bs.ops.csr_rmatvec(values, weight, indices, indptr).tolist() == [3.0, 400.0]
    assert bs.ops.csr_outer(spikes, values, indices, indptr).tolist() == [1.0, 200.0, 0.0, 0.0]


# ---- the kernels and their twins in plain JAX


@pytest.mark.parametrize("groups, batch", [(1, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_plain_twins(groups, batch, weighted, x64):
    s = Synapses(50, 20, most=40)
    plain = lambda name, **n: jax.jit(lambda *args: getattr(_csr_plain, name)(*args, **n))
    spikes, weight = s.spikes(groups, batch), [s.weight(groups)] if weighted else []
    values = jnp.asarray(s.rng.normal(size=(groups, batch, s.n_post)), spikes.dtype)
    pattern = s.indices, s.indptr
    if weighted or groups == 1:
        events = _csr_primitives.scatter.bind(spikes, *weight, *pattern, n_out=s.n_post)
        assert_close(events, plain("scatter", n_out=s.n_post)(spikes, *weight, *pattern))
        assert_close(events, plain("scatter_events", n_out=s.n_post)(spikes, *weight, *pattern))
        found = _csr_primitives.gather.bind(values, *weight, *pattern, n_out=s.n_pre)
        assert_close(found, plain("gather", n_out=s.n_pre)(values, *weight, *pattern))
    outer = _csr_primitives.outer.bind(spikes, values, *pattern)
    assert_close(outer, plain("outer")(spikes, values, *pattern))


def test_other_types_use_plain_jax(x32):
    s = Synapses(30, 8)
    spikes = (s.rng.random(30) < 0.5).astype(jnp.bfloat16)
    events = jax.jit(s.matvec)(spikes, np.ones((), jnp.bfloat16))
    assert events.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(events, np.float32), spikes.astype(np.float32) @ s.matrix(np.float32(1)))


@pytest.mark.parametrize("n_pre, n_post, nnz", [(70, 3, 200), (0, 3, 5), (5, 0, 7)])
def test_wild_patterns_are_survived(n_pre, n_post, nnz, precision):
    """Index arrays that are not a pattern at all: the products may be anything, but do not leave their arrays."""
    rng = np.random.default_rng(0)
    ones = lambda n: np.ones(n, jnp.result_type(float))
    for _ in range(50):
        wild = lambda size: rng.choice([-(2**31), -5, 0, 3, 60, 10**6, 2**31 - 1], size).astype(np.int32)
        indices, indptr = wild(nnz), wild(n_pre + 1)
        assert (np.asarray(bs.ops.csr_matvec(ones(n_pre), ones(nnz), indices, indptr, n_post)) >= 0).all()
        assert (np.asarray(bs.ops.csr_rmatvec(ones(n_post), ones(nnz), indices, indptr)) >= 0).all()
        assert (np.asarray(bs.ops.csr_outer(ones(n_pre), ones(n_post), indices, indptr)) >= 0).all()


@needs.kernels
def test_kernels_refuse_shapes_that_do_not_fit(x32):
    shape = lambda *n: jax.ShapeDtypeStruct(n, jnp.float32)
    i = lambda n: jnp.zeros(n, jnp.int32)
    call = lambda name, out, *args: jax.ffi.ffi_call(name, out)(*args).block_until_ready()
    x = lambda *n: jnp.zeros(n, jnp.float32)
    good = x(1, 1, 4), x(1, 6), i(6), i(5)
    assert call("brainsim_csr_scatter", shape(1, 1, 3), *good).shape == (1, 1, 3)
    for out, args in [
        (shape(1, 2, 3), good),
        (shape(1, 3), good),
        (shape(1, 1, 3), (x(1, 1, 4), x(1, 5), i(6), i(5))),
        (shape(1, 1, 3), (x(1, 1, 4), x(1, 6), i(6), i(4))),
        (shape(1, 1, 3), (x(1, 1, 4), x(1, 6), x(6), i(5))),
        (shape(1, 1, 3), (x(1, 1, 4).astype(jnp.bfloat16), x(1, 6), i(6), i(5))),
    ]:
        with pytest.raises(Exception, match="brainsim CSR"):
            call("brainsim_csr_scatter", out, *args)
    with pytest.raises(Exception, match="brainsim CSR"):
        call("brainsim_csr_outer", shape(1, 5), x(1, 1, 4), x(1, 1, 3), i(6), i(5))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(spikes=np.ones(4)), r"spikes have shape \[4\], expected \[3\]"),
        (dict(weight=np.ones(3)), r"the weight has shape \[3\], expected \[\] or \[2\]"),
        (dict(weight=jnp.ones(2, jnp.float16)), "spikes are float32, but the weight is float16"),
        (dict(indices=np.zeros(2, np.int64)), "must be int32"),
        (dict(indptr=np.zeros((4, 1), np.int32)), r"indptr must be int32\[pre \+ 1\], not int32\[4, 1\]"),
    ],
)
def test_errors_say_what_is_wrong(change, message, x32):
    good = dict(spikes=np.ones(3, np.float32), weight=np.ones(2, np.float32), indices=np.zeros(2, np.int32))
    args = {**good, "indptr": np.array([0, 1, 2, 2], np.int32), "n_post": 1, **change}
    args["spikes"] = jnp.asarray(args["spikes"], jnp.float32)
    with pytest.raises(ValueError, match=message):
        bs.ops.csr_matvec(**args)


# ---- transformations

DERIVATIVES = {
    "value": lambda f: f,
    "reverse": lambda f: jax.grad(f, (0, 1)),
    "forward": lambda f: jax.jacfwd(f, (0, 1)),
    "forward over reverse": lambda f: jax.jacfwd(jax.grad(f, (0, 1)), (0, 1)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f, (0, 1)), (0, 1)),
    "reverse over reverse": lambda f: jax.jacrev(jax.grad(f, (0, 1)), (0, 1)),
    "product with the Hessian": lambda f: lambda x, w: jax.jvp(jax.grad(f, (0, 1)), (x, w), (x, w))[1],
}


def derivatives(f, which=tuple(DERIVATIVES)):
    """All of them at once, so that they are compiled together."""
    return lambda *args: {name: DERIVATIVES[name](f)(*args) for name in which}


def assert_all_close(got, expected, **options):
    for name in expected:
        try:
            assert_close(got[name], expected[name], **options)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from None


@pytest.mark.parametrize("scalar", [False, True])
def test_derivatives(scalar, precision):
    s = Synapses(9, 6)
    spikes, weight = s.spikes(), as_jax(0.7) if scalar else s.weight()
    got, expected = (jax.jit(derivatives(smooth(f)))(spikes, weight) for f in (s.matvec, s.dense_matvec))
    assert_all_close(got, expected)


def test_against_finite_differences(x64):
    s = Synapses(5, 4)
    jax.test_util.check_grads(jax.jit(smooth(s.matvec)), (s.spikes(), s.weight()), order=2)


MAPPED = "value", "reverse", "product with the Hessian"


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("scalar", [False, True])
def test_vmap(axes, scalar, precision):
    s = Synapses(9, 6)
    spikes, weight = s.spikes(4), s.weight(4)[:, 0] if scalar else s.weight(4)
    args = [x if axis == 0 else x[0] for x, axis in zip((spikes, weight), axes, strict=True)]
    mapped = lambda f: jax.jit(jax.vmap(derivatives(smooth(f), MAPPED), axes))(*args)
    assert_all_close(mapped(s.matvec), mapped(s.dense_matvec))


@pytest.mark.parametrize("inner", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("outer", [(0, None), (None, 0), (0, 0)])
def test_vmap_of_vmap(inner, outer, x64):
    s = Synapses(9, 6)
    shape = lambda i: ((3,) if outer[i] == 0 else ()) + ((2,) if inner[i] == 0 else ())
    args = s.spikes(*shape(0)), s.weight(*shape(1))
    mapped = lambda f: jax.jit(jax.vmap(jax.vmap(derivatives(smooth(f), MAPPED[:2]), inner), outer))(*args)
    assert_all_close(mapped(s.matvec), mapped(s.dense_matvec))


def test_batch_axis_anywhere(x64):
    s = Synapses(9, 6)
    spikes, weight = s.spikes(4), s.weight(4)
    got = jax.jit(jax.vmap(s.matvec, (1, 1), 1))(spikes.T, weight.T)
    expected = [np.asarray(x) @ s.matrix(w) for x, w in zip(spikes, weight, strict=True)]
    assert_close(got, np.stack(expected, axis=1))


def test_vmap_is_one_call(x64):
    """Not a loop over the batch: the mapped program holds the primitive once, and no loop."""
    s = Synapses(9, 6)
    jaxpr = str(jax.make_jaxpr(jax.vmap(jax.vmap(s.matvec, (0, None)), (None, 0)))(s.spikes(4), s.weight(3)))
    assert jaxpr.count("brainsim_csr_scatter") == 1
    assert "scan" not in jaxpr and "while" not in jaxpr


def test_batch_of_patterns(x64):
    """Networks of one size and number of synapses, but different wiring."""
    nets = [Synapses(9, 6, seed=i) for i in range(3)]
    nnz = max(s.nnz for s in nets)
    pad = lambda x: jnp.concatenate([x, jnp.zeros(nnz - len(x), x.dtype)])
    stack = lambda f: jnp.stack([f(s) for s in nets])
    weight, spikes = [s.weight() for s in nets], nets[0].spikes()
    indices, indptr = stack(lambda s: pad(s.indices)), stack(lambda s: s.indptr)
    product = lambda x, w, i, p: bs.ops.csr_matvec(x, w, i, p, 6)
    stacked = jnp.stack([pad(w) for w in weight])
    got = jax.jit(jax.vmap(product, (None, 0, 0, 0)))(spikes, stacked, indices, indptr)
    assert_close(got, np.stack([np.asarray(spikes) @ s.matrix(w) for s, w in zip(nets, weight, strict=True)]))
    grad = jax.jit(jax.vmap(jax.grad(smooth(product), (0, 1)), (None, 0, 0, 0)))(spikes, stacked, indices, indptr)
    for i, (s, w) in enumerate(zip(nets, weight, strict=True)):
        dense = jax.jit(jax.grad(smooth(s.dense_matvec), (0, 1)))(spikes, w)
        assert_close((grad[0][i], grad[1][i][: s.nnz]), dense)


def test_scan(precision):
    """A recurrent network: the product inside of a loop, through every transformation of the loop."""
    s = Synapses(8, 8)
    spikes, weight = s.spikes(), s.weight()

    def run(product):
        def final(x, w, remat=False):
            step = lambda y, _: (jnp.tanh(product(y, w)) + x, None)
            return jnp.sum(jax.lax.scan(jax.checkpoint(step) if remat else step, x, None, length=5)[0] ** 2)

        grad = jax.grad(final, (0, 1))
        return lambda x, w: {
            **derivatives(final, MAPPED)(x, w),
            "remat": jax.grad(ft.partial(final, remat=True), (0, 1))(x, w),
            "vmap of reverse": jax.vmap(grad, (None, 0))(x, jnp.stack([w, 2.0 * w])),
        }

    got, expected = (jax.jit(run(f))(spikes, weight) for f in (s.matvec, s.dense_matvec))
    assert_all_close(got, expected, chaotic=True)


def test_linear_transpose_and_linearize(x64):
    s = Synapses(9, 6)
    spikes, weight = s.spikes(), s.weight()
    ct = s.matvec(spikes, weight)

    def both(product):
        transpose = lambda f, x: (jax.linear_transpose(f, x)(ct), jax.linearize(f, x)[1](x))
        return transpose(lambda x: product(x, weight), spikes), transpose(lambda w: product(spikes, w), weight)

    assert_close(jax.jit(lambda: both(s.matvec))(), jax.jit(lambda: both(s.dense_matvec))())


def test_filter_transformations(x64):
    s = Synapses(9, 6)
    connect = bs.CSR(s.weight(), s.indices, s.indptr, 9, 6)
    grad = eqx.filter_jit(eqx.filter_grad(lambda c, x: jnp.sum(c(x) ** 2)))(connect, s.spikes())
    assert grad.weight.shape == (s.nnz,) and grad.indices is None


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
def test_postsynaptic_halves_on_two_devices(x64):
    """`shard_map` with each device holding the synapses onto its half of the neurons."""
    halves = [Synapses(10, 4, seed=i) for i in range(2)]
    nnz = max(s.nnz for s in halves)
    pad = lambda x, fill: jnp.concatenate([x, jnp.full(nnz - len(x), fill, x.dtype)])
    weights, spikes = [s.weight() for s in halves], halves[0].spikes()
    mesh = jax.make_mesh((2,), ("post",))
    spec = jax.sharding.PartitionSpec("post")
    local = lambda x, w, i, p: bs.ops.csr_matvec(x, w[0], i[0], p[0], 4)
    sharded = jax.shard_map(
        local, mesh=mesh, in_specs=(jax.sharding.PartitionSpec(), spec, spec, spec), out_specs=spec, check_vma=False
    )
    place = lambda rows: jax.device_put(np.stack(rows), jax.sharding.NamedSharding(mesh, spec))
    got = jax.jit(sharded)(
        jax.device_put(spikes, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())),
        place([pad(w, 0) for w in weights]),
        place([pad(s.indices, -1) for s in halves]),
        place([s.indptr for s in halves]),
    )
    expected = [np.asarray(spikes) @ s.matrix(w) for s, w in zip(halves, weights, strict=True)]
    assert_close(np.asarray(got), np.concatenate(expected))


# ---- the library


@pytest.mark.skipif(os.environ.get("BRAINSIM_REQUIRE_FFI") != "1", reason="BRAINSIM_REQUIRE_FFI is not set")
def test_kernels_are_there_if_required():
    assert bs.ops.backend() == "ffi"


def test_abi_of_the_sources():
    for name, file in (("brainsim_abi", "csr.cc"), ("brainsim_cuda_abi", "cuda/csr.cu")):
        exported = re.search(name + r'\(\) { return "(.*)"; }', (ROOT / "brainsim/ops/csrc" / file).read_text())
        assert exported and exported.group(1) == _library._ABI


def test_library_that_is_missing_or_foreign(tmp_path):
    assert "was not built" in str(_library._open(tmp_path / "none.so"))
    (tmp_path / "text.so").write_text("not a library")
    assert "cannot be loaded" in str(_library._open(tmp_path / "text.so"))


@needs.kernels
def test_library_of_another_version(monkeypatch):
    path = next(p for p in _library._places(_library._FILE) if p.is_file())
    assert isinstance(_library._open(path), ctypes.CDLL)
    monkeypatch.setattr(_library, "_interface", lambda: -1)
    assert "--no-build-isolation" in str(_library._open(path))
    monkeypatch.setattr(_library, "_ABI", "another")
    assert "these sources need 'another'" in str(_library._open(path))


WITHOUT = """
import sys, warnings, pathlib
is_file = pathlib.Path.is_file
pathlib.Path.is_file = lambda p: "brainsim_kernels" not in p.name and is_file(p)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import brainsim as bs, jax.numpy as jnp
ours = [str(w.message) for w in caught if w.category is RuntimeWarning and "brainsim" in str(w.message)]
events = bs.ops.csr_matvec(jnp.ones(1), 2.0, jnp.zeros(1, jnp.int32), jnp.array([0, 1], jnp.int32), 1)
print(bs.ops.backend(), len(ours), chr(10) in ours[0], events.tolist())
"""


@pytest.mark.parametrize("required", ["0", "1"])
def test_without_the_library(required, tmp_path):
    """One warning of one line, and plain JAX; or an error, if so required."""
    environment = {**os.environ, "BRAINSIM_REQUIRE_FFI": required, "PYTHONSAFEPATH": "1"}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    if required == "1":
        assert run.returncode == 1 and "ImportError: brainsim runs without its compiled kernels" in run.stderr
    else:
        assert run.stdout.split("\n")[0] == "jax 1 False [2.0]", run.stderr


# ---- threads


@needs.kernels
@pytest.mark.parametrize("ordered", [True, False])
def test_threads_change_no_bit(ordered, x32):
    """Threads split the neurons of one vector, if rows are sorted; a batch they split between vectors."""
    n_pre, n_post, k = 1200, 500, 80  # worth threads, see csr_shared.h
    rng = np.random.default_rng(0)
    indices = rng.integers(0, n_post, (n_pre, k), np.int32)
    if ordered:
        indices.sort(axis=1)
    indices, indptr = indices.reshape(-1), np.arange(n_pre + 1, dtype=np.int32) * k
    spikes, weight = (jnp.asarray(rng.normal(size=n), jnp.float32) for n in (n_pre, n_pre * k))
    product = lambda x: bs.ops.csr_matvec(x, weight, indices, indptr, n_post)
    one = product(spikes)
    # By one thread for each vector, or all by the same one.
    alone = jax.vmap(product)(jnp.stack([spikes] * 2))
    np.testing.assert_array_equal(one, alone[0])
    np.testing.assert_array_equal(one, jax.vmap(product)(jnp.stack([spikes] * 200))[-1])

    # Two halves of the rows, in one call: the second adds to what the first has added.
    half, synapses = n_pre // 2, n_pre * k // 2
    blocks = [
        (indices[:synapses], indptr[: half + 1], weight[:synapses]),
        (indices[synapses:], indptr[: half + 1], weight[synapses:]),
    ]
    places = [_blocks.Place(0, first, 0, 3, n_post, True) for first in (0, half)]
    (got,) = _blocks.deliver_blocks([spikes], blocks, places, [jnp.zeros(n_post + 5)])
    assert_close(got[3:-2], one)
    assert not got[:3].any() and not got[-2:].any()
    (got,) = _blocks.deliver_blocks(
        [spikes], [(indices, indptr, weight)], [_blocks.Place(0, 0, 0, 3, n_post, True)], [jnp.zeros(n_post + 5)]
    )
    np.testing.assert_array_equal(got[3:-2], one)


@needs.kernels
def test_threads_gather_the_same_bits(x32):
    n_pre, n_post, k = 1200, 500, 240
    rng = np.random.default_rng(0)
    indices, indptr = rng.integers(0, n_post, n_pre * k, np.int32), np.arange(n_pre + 1, dtype=np.int32) * k
    values, weight = (jnp.asarray(rng.normal(size=n), jnp.float32) for n in (n_post, n_pre * k))
    whole = bs.ops.csr_rmatvec(values, weight, indices, indptr)
    for i in (0, 599, 600, n_pre - 1):  # too few for threads
        part = slice(i * k, (i + 1) * k)
        np.testing.assert_array_equal(bs.ops.csr_rmatvec(values, weight[part], indices[part], indptr[:2])[0], whole[i])
