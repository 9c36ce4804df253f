"""The event-driven product with delays against a dense matrix for each delay: values, and every transformation."""

import functools as ft
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.test_util
import needs
import numpy as np
import pytest
from rows import one_precision
from tolerances import assert_close

import brainsim as bs
from brainsim._compat import as_jax, is_traced
from brainsim.ops import _arrivals_plain, _arrivals_primitives, _arrivals_through

ROOT = Path(__file__).resolve().parent.parent


class Synapses:
    """A random pattern, duplicates and empty segments among it, and its dense twin: one matrix for each slot."""

    def __init__(self, n_pre, n_post, steps=(1, 3, 4), rows=4, most=3, seed=0):
        rng = np.random.default_rng(seed)
        degree = rng.integers(0, most + 1, (n_pre, len(steps))) if n_post else np.zeros((n_pre, len(steps)), int)
        self.n_pre, self.n_post, self.nnz, self.rows = n_pre, n_post, int(degree.sum()), rows
        self.steps = np.array(steps, np.int32)
        pre, slot = np.meshgrid(np.arange(n_pre), np.arange(len(steps)), indexing="ij")
        self.pre, self.slot = np.repeat(pre.ravel(), degree.ravel()), np.repeat(slot.ravel(), degree.ravel())
        post = rng.integers(0, max(n_post, 1), self.nnz)
        self.indices = post[np.lexsort((post, self.slot, self.pre))].astype(np.int32)
        last = np.cumsum(degree.sum(axis=1), dtype=np.int32)[:, None]
        inner = np.concatenate([[0], np.cumsum(degree)])[:-1].reshape(n_pre, len(steps))
        self.indptr = np.concatenate([inner, last], axis=1).astype(np.int32)
        self.rng = rng

    def dense(self, weight):
        """[slot, pre, post]"""
        shape = len(self.steps), self.n_pre, self.n_post
        if not is_traced(weight):  # NumPy needs no program
            matrices, weight = np.zeros(shape, weight.dtype), np.asarray(weight)
            np.add.at(matrices, (self.slot, self.pre, self.indices), weight)
            return matrices
        return jnp.zeros(shape, weight.dtype).at[self.slot, self.pre, self.indices].add(weight)

    def hints(self, history, size):
        return jax.jit(jax.vmap(lambda row: bs.ops.spike_list(row, size)))(history)

    def product(self, history, weight, k=7, hinted=5):
        hints = None if hinted is None else self.hints(history, hinted)
        pattern = self.indices, self.indptr, self.steps
        return bs.ops.arrivals(history, weight, *pattern, k, n_post=self.n_post, hints=hints)

    def dense_product(self, history, weight, k=7):
        traced = is_traced(history) or is_traced(weight) or is_traced(k)
        xp, history = (jnp, history) if traced else (np, np.asarray(history))
        return xp.einsum("di,dij->j", history[(k - self.steps) % self.rows], self.dense(weight))

    def history(self, *batch, active=0.5):
        """Graded values, half of them zero."""
        shape = (*batch, self.rows, self.n_pre)
        return jnp.asarray(self.rng.normal(size=shape) * (self.rng.random(shape) < active), jnp.result_type(float))

    def weight(self, *batch):
        return jnp.asarray(self.rng.normal(size=(*batch, self.nnz)), jnp.result_type(float))


def smooth(product):
    """A scalar function of the events whose derivatives of any order are dense."""
    return lambda *args: jnp.sum(jnp.sin(product(*args)))


# ---- values


@pytest.mark.parametrize("hinted", [None, 1, 200])
@pytest.mark.parametrize("sizes", [(7, 5), (100, 37), (1, 1), (0, 3), (3, 0)])
@one_precision
def test_agrees_with_the_matrices(sizes, hinted, precision):
    s = Synapses(*sizes)
    history, weight = s.history(), s.weight()
    for k in (0, 2, 1001):
        assert_close(s.product(history, weight, k, hinted), s.dense_product(history, weight, k))
    one = jnp.asarray(1.5, weight.dtype)
    assert_close(s.product(history, one, 3, hinted), s.dense_product(history, one, 3))


@hypothesis.settings(max_examples=6, deadline=None)
@hypothesis.given(
    shape=st.sampled_from([(1, 1, 3), (2, 40, 9), (33, 2, 3), (600, 40, 9)]),
    active=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
    k=st.integers(0, 30),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.slow
def test_any_pattern_and_any_spikes(shape, active, steps, k, seed):
    with jax.enable_x64(True):
        n_pre, n_post, most = shape
        s = Synapses(n_pre, n_post, sorted(steps), rows=max(steps), most=most, seed=seed)
        history, weight = s.history(active=active), s.weight()
        assert_close(s.product(history, weight, k, 20), s.dense_product(history, weight, k))


def test_start_is_added_to(precision):
    s = Synapses(20, 6)
    history, weight, start = s.history(), s.weight(), jnp.arange(6.0)
    for w in (weight, as_jax(0.5)):
        got = bs.ops.arrivals(history, w, s.indices, s.indptr, s.steps, 5, start=start)
        assert_close(got, start + s.dense_product(history, w, 5))


def test_a_hint_is_no_more_than_a_hint(x64):
    """Wrong and superfluous hints add nothing: the value is that of the history."""
    s = Synapses(20, 6)
    history, weight = s.history(), s.weight()
    wild = jnp.array([[3, -7, 99, 2**31 - 1]] * s.rows, jnp.int32)
    pattern = s.indices, s.indptr, s.steps
    call = lambda history, hints: bs.ops.arrivals(history, weight, *pattern, 5, n_post=6, hints=hints)
    if bs.ops.backend() == "ffi":  # the plain lowering does not look at hints
        assert call(history, wild).tolist() == [0.0] * 6
    everyone = jnp.asarray([[20, *range(20)]] * s.rows, jnp.int32)
    assert_close(call(history, everyone), s.dense_product(history, weight, 5))


@pytest.mark.parametrize("n", [1, 7, 33, 1000])
@one_precision
def test_spike_list(n, precision):
    rng = np.random.default_rng(0)
    spikes = rng.normal(size=n) * (rng.random(n) < 0.3)
    found = np.flatnonzero(spikes)
    for size in (0, 1, 5, n + 1):
        expected = np.zeros(size, np.int32)
        expected[:1], expected[1 : 1 + len(found)] = len(found), found[: max(size - 1, 0)]
        np.testing.assert_array_equal(bs.ops.spike_list(as_jax(spikes), size), expected)
        np.testing.assert_array_equal(_arrivals_plain.compact(as_jax(spikes)[None], size=size)[0], expected)


def test_spike_list_carries_no_gradient_and_maps(x64):
    f = lambda x: jnp.sum(x**2) + bs.ops.spike_list(x, 3).sum().astype(x.dtype)
    assert jax.grad(f)(jnp.array([0.0, 2.0])).tolist() == [0.0, 4.0]
    many = jnp.array([[0.0, 1.0], [1.0, 1.0]])
    assert jax.vmap(lambda x: bs.ops.spike_list(x, 3))(many).tolist() == [[1, 1, 0], [2, 0, 1]]


def test_rows_without_spike_are_not_read(x64):
    weight, pattern = jnp.array([jnp.inf, 1.0]), (np.zeros(2, np.int32), np.array([[0, 1], [1, 2]], np.int32))
    history = jnp.array([[0.0, 1.0]])
    assert bs.ops.arrivals(history, weight, *pattern, np.ones(1, np.int32), 1, n_post=1).tolist() == [1.0]


@needs.kernels
def test_threads_change_no_bit(x32):
    """A step with enough events for several threads, which split the neurons; a batch is split between vectors."""
    s = Synapses(300, 64, most=400)
    history, weight = s.history(), s.weight()
    assert s.nnz > 2**16  # worth threads, see arrivals.cc
    many = s.product(history, weight, hinted=400)
    alone = jax.vmap(lambda x: s.product(x, weight, hinted=400))(jnp.stack([history] * 2))  # one thread for each vector
    np.testing.assert_array_equal(many, alone[0])
    assert_close(many, s.dense_product(history, weight))


# ---- the kernels and their twins in plain JAX


@pytest.mark.parametrize(
    "groups, batch", [(2, 3), *(pytest.param(*x, marks=pytest.mark.slow) for x in [(1, 1), (1, 3)])]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_plain_twins(groups, batch, weighted, x64):
    s = Synapses(50, 20, most=20)
    history, weight = s.history(groups, batch), [s.weight(groups)] if weighted else []
    values = jnp.asarray(s.rng.normal(size=(groups, batch, s.n_post)), history.dtype)
    hints = jax.vmap(jax.vmap(lambda h: s.hints(h, 10)))(history)
    k = jnp.arange(3, 3 + groups * batch, dtype=jnp.int32).reshape(groups, batch)
    pattern = as_jax(s.indices), as_jax(s.indptr), as_jax(s.steps), k
    total, everyone = s.history(groups, batch), jnp.zeros((groups, batch, 0, s.n_pre), bool)
    some = as_jax(s.rng.random(history.shape) < 0.3)
    got = {}
    for name, module, args, kwargs in (
        ("add", _arrivals_primitives, (values, history, hints, some, *weight, *pattern), {}),
        ("gather", _arrivals_primitives, (values, *weight, *pattern), dict(n_rows=s.rows)),
        ("outer", _arrivals_primitives, (history, hints, values, *pattern), {}),
        ("collect", _arrivals_primitives, (total, values, everyone, *weight, *pattern), {}),
        ("accumulate", _arrivals_through, (s.weight(groups), history, hints, values, *pattern), {}),
        ("collect", _arrivals_primitives, (total, values, some, *weight, *pattern), {}),
    ):
        got[name] = getattr(module, name).bind(*args, **kwargs)
        assert_close(got[name], jax.jit(ft.partial(getattr(_arrivals_plain, name), **kwargs))(*args))
    assert_close(got["collect"], total + jnp.where(some, got["gather"], 0))


@pytest.mark.parametrize("n_pre, n_post, nnz", [(70, 3, 200), (0, 3, 5), (5, 0, 7)])
def test_wild_patterns_are_survived(n_pre, n_post, nnz, precision):
    """Index arrays that are not a pattern at all: the products may be anything, but do not leave their arrays."""
    rng = np.random.default_rng(0)
    ones = lambda *n: jnp.ones(n, jnp.result_type(float))
    for _ in range(50):
        wild = lambda *size: jnp.asarray(rng.choice([-(2**31), -5, 0, 3, 60, 10**6, 2**31 - 1], size), jnp.int32)
        pattern = wild(nnz), wild(n_pre, 3), wild(2), wild(1, 1)
        history, hints, values, weight = ones(1, 1, 4, n_pre), wild(1, 1, 4, 5), ones(1, 1, n_post), ones(1, nnz)
        some = as_jax(rng.random(history.shape) < 0.5)
        add = _arrivals_primitives.add.bind(values, history, hints, some, weight, *pattern)
        found = _arrivals_primitives.gather.bind(values, weight, *pattern, n_rows=4)
        outer = _arrivals_primitives.outer.bind(history, hints, values, *pattern)
        more = _arrivals_primitives.collect.bind(history, values, some, weight, *pattern)
        sums = _arrivals_through.accumulate.bind(weight, history, hints, values, *pattern)
        assert all((np.asarray(x) >= 1).all() for x in (add, more, sums))
        assert all((np.asarray(x) >= 0).all() for x in (found, outer))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            dict(history=np.ones((2, 3, 1), np.float32)),
            r"the history must be floats \[rows, pre\], not float32\[2, 3, 1\]",
        ),
        (dict(weight=np.ones(3, np.float32)), r"the weight has shape \[3\], expected \[\] or \[2\]"),
        (dict(weight=np.ones(2, np.float16)), "spikes are float32, but the weight is float16"),
        (dict(indices=np.zeros(2, np.int64)), r"indices must be int32\[nnz\], not int64\[2\]"),
        (dict(indptr=np.zeros((3, 2), np.int32)), r"indptr must be int32\[3, 3\], not int32\[3, 2\]"),
        (dict(n_post=None), "give either n_post or start"),
        (dict(hints=np.zeros((3, 4), np.int32)), r"hints must be int32\[2, size\]"),
        (dict(relevant=np.ones((2, 3), np.float32)), r"relevant must be bool\[2, 3\], not float32\[2, 3\]"),
        (dict(relevant=np.ones((1, 3), bool)), r"relevant must be bool\[2, 3\], not bool\[1, 3\]"),
    ],
)
def test_errors_say_what_is_wrong(change, message, x32):
    good = dict(history=np.ones((2, 3), np.float32), weight=np.ones(2, np.float32), indices=np.zeros(2, np.int32))
    good |= dict(indptr=np.zeros((3, 3), np.int32), steps=np.ones(2, np.int32), k=1, n_post=1)
    with pytest.raises(ValueError, match=message):
        bs.ops.arrivals(**{**good, **change})


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
MAPPED = "value", "reverse", "product with the Hessian"


def derivatives(f, which=tuple(DERIVATIVES)):
    """All of them at once, so that they are compiled together."""
    return lambda *args: {name: DERIVATIVES[name](f)(*args) for name in which}


@pytest.mark.parametrize("scalar", [False, True])
def test_derivatives(scalar, precision):
    s = Synapses(5, 4)
    history, weight = s.history(), as_jax(0.7) if scalar else s.weight()
    got, expected = (jax.jit(derivatives(smooth(f)))(history, weight) for f in (s.product, s.dense_product))
    for name in expected:
        assert_close(got[name], expected[name])


def test_against_finite_differences(x64):
    s = Synapses(5, 4)
    jax.test_util.check_grads(jax.jit(smooth(s.product)), (s.history(), s.weight()), order=2)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("scalar", [False, True])
def test_vmap(axes, scalar, x64):
    s = Synapses(9, 6)
    history, weight = s.history(4), s.weight(4)[:, 0] if scalar else s.weight(4)
    args = [x if axis == 0 else x[0] for x, axis in zip((history, weight), axes, strict=True)]
    mapped = lambda f: jax.jit(jax.vmap(derivatives(smooth(f), MAPPED), axes))(*args)
    assert_close(mapped(s.product), mapped(s.dense_product))


def test_vmap_of_vmap_and_of_steps(x64):
    s = Synapses(9, 6)
    args = s.history(3, 2), s.weight(3), jnp.arange(6, dtype=jnp.int32).reshape(3, 2)
    f = lambda product: lambda x, w, k: derivatives(smooth(lambda x, w: product(x, w, k)), MAPPED[:2])(x, w)
    mapped = lambda product: jax.jit(jax.vmap(jax.vmap(f(product), (0, None, 0)), (0, 0, 0)))(*args)
    assert_close(mapped(s.product), mapped(s.dense_product))


def test_vmap_is_one_call(x64):
    s = Synapses(9, 6)
    jaxpr = str(jax.make_jaxpr(jax.vmap(jax.vmap(s.product, (0, None)), (None, 0)))(s.history(4), s.weight(3)))
    assert jaxpr.count("brainsim_arrivals_add") == 1
    assert "scan" not in jaxpr and "while" not in jaxpr


def test_batch_of_patterns(x64):
    nets = [Synapses(9, 6, seed=i) for i in range(3)]
    nnz = max(s.nnz for s in nets)
    pad = lambda x: np.concatenate([x, np.zeros(nnz - len(x), x.dtype)])
    history, weight = nets[0].history(), as_jax(nets[0].rng.normal(size=(3, nnz)))
    product = lambda w, i, p: bs.ops.arrivals(history, w, i, p, nets[0].steps, 5, n_post=6)
    stack = lambda f: jnp.stack([as_jax(f(s)) for s in nets])
    args = weight, stack(lambda s: pad(s.indices)), stack(lambda s: s.indptr)
    got = jax.jit(jax.vmap(lambda *a: (product(*a), jax.grad(smooth(product))(*a))))(*args)
    for i, s in enumerate(nets):
        dense = lambda w, s=s: s.dense_product(history, w, 5)
        w = weight[i, : s.nnz]
        assert_close((got[0][i], got[1][i, : s.nnz]), (dense(w), jax.grad(smooth(dense))(w)))


def test_scan(x64):
    """A recurrent network whose history is carried, through every transformation of the loop."""
    s = Synapses(8, 8)
    weight = s.weight()

    def run(product):
        def final(x, w, remat=False):
            def step(history, k):
                new = jnp.tanh(product(history, w, k)) + x
                return history.at[k % s.rows].set(new), None

            step = jax.checkpoint(step) if remat else step
            history = jnp.zeros((s.rows, 8)).at[0].set(x)
            return jnp.sum(jax.lax.scan(step, history, jnp.arange(1, 8, dtype=jnp.int32))[0] ** 2)

        grad = jax.grad(final, (0, 1))
        return lambda x, w: {
            **derivatives(final, MAPPED)(x, w),
            "remat": jax.grad(ft.partial(final, remat=True), (0, 1))(x, w),
            "vmap of reverse": jax.vmap(grad, (None, 0))(x, jnp.stack([w, 2.0 * w])),
        }

    x = jnp.linspace(-1.0, 1.0, 8)
    got, expected = (jax.jit(run(f))(x, weight) for f in (s.product, s.dense_product))
    assert_close(got, expected, chaotic=True)
