"""Layouts beside compressed rows: kernels against plain JAX and against matrices, and laws of what is regenerated."""

import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_ops import MAPPED, assert_all_close, derivatives, smooth
from tolerances import assert_close

import brainsim as bs
from brainsim._compat import as_jax
from brainsim.ops import _dense, _fan_out, _philox, _procedural, _procedural_plain

ROOT = Path(__file__).resolve().parent.parent
SIZES = [(0, 1), (1, 1), (1, 7), (9, 6), (33, 1), (600, 40), (7, 0)]
ACTIVE = [0.0, 0.01, 0.5, 1.0]
SETTINGS = hypothesis.settings(max_examples=25, deadline=None)
ALWAYS = hypothesis.given(
    sizes=st.sampled_from(SIZES),
    active=st.sampled_from(ACTIVE),
    dtype=st.sampled_from(["float32", "float64"]),
    groups=st.integers(1, 2),
    batch=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)


def sparse(rng, shape, active, dtype):
    return (rng.normal(size=shape) * (rng.random(shape) < active)).astype(dtype)


@pytest.fixture
def always_events(monkeypatch):
    """The kernels also where XLA's dense products would be chosen."""
    monkeypatch.setattr(_dense, "_SPARSE", dict(dense=1.0, convolution=1.0))


# ---- fixed fan-out, dense, convolution


@SETTINGS
@ALWAYS
def test_fan_out_is_its_matrix(sizes, active, dtype, groups, batch, seed):
    with jax.enable_x64(True):
        rng, (n_pre, n_post) = np.random.default_rng(seed), sizes
        k = int(rng.integers(0, 7))
        indices = rng.integers(-1, n_post + 1, (n_pre, k)).astype(np.int32)  # some of them padding
        x, w = sparse(rng, (groups, batch, n_pre), active, dtype), rng.normal(size=(groups, n_pre, k)).astype(dtype)
        matrix = np.zeros((2, groups, n_pre, n_post + 2), dtype)
        for g in range(groups):
            np.add.at(matrix[0, g], (np.arange(n_pre)[:, None], indices), w[g])
            np.add.at(matrix[1, g], (np.arange(n_pre)[:, None], indices), 1)
        for product, m in (((x, w, indices), matrix[0]), ((x, indices), matrix[1])):
            got = _fan_out.scatter.bind(*map(as_jax, product), n_out=n_post)
            assert_close(got, np.einsum("gbi,gij->gbj", x, m[..., :n_post]))


@SETTINGS
@ALWAYS
def test_dense_is_a_product(sizes, active, dtype, groups, batch, seed):
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_dense, "_SPARSE", dict(dense=1.0, convolution=1.0))
        rng = np.random.default_rng(seed)
        x = sparse(rng, (groups, batch, sizes[0]), active, dtype)
        w = rng.normal(size=(groups, *sizes)).astype(dtype)
        assert_close(_dense.dense.bind(as_jax(x), as_jax(w)), np.einsum("gbi,gij->gbj", x, w))


GEOMETRIES = [  # image, kernel, stride, padding
    ((3, 4, 2), (2, 3, 4), (1, 1), ((0, 0), (0, 0))),
    ((5, 4, 1), (3, 2, 2), (2, 3), ((1, 2), (0, 1))),
    ((6, 6, 3), (1, 1, 1), (2, 1), ((0, 0), (0, 0))),
    ((2, 2, 1), (3, 3, 1), (1, 1), ((0, 0), (0, 0))),  # the kernel is larger than the image
    ((1, 1, 1), (3, 3, 2), (1, 2), ((2, 2), (1, 1))),
    ((0, 3, 1), (1, 2, 1), (1, 1), ((0, 0), (0, 0))),
]


@SETTINGS
@hypothesis.given(
    geometry=st.sampled_from(GEOMETRIES),
    active=st.sampled_from(ACTIVE),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_convolution_is_its_matrix(geometry, active, dtype, seed):
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_dense, "_SPARSE", dict(dense=1.0, convolution=1.0))
        rng, (image, kernel, stride, padding) = np.random.default_rng(seed), geometry
        weight = rng.normal(size=(*kernel[:2], image[2], kernel[2])).astype(dtype)
        connect = bs.Convolution(as_jax(weight), image[:2], stride=stride, padding=padding)
        x = sparse(rng, (1, 2, connect.n_pre), active, dtype)
        matrix = np.zeros((*image, *connect.out), dtype)
        for y, u, k, m in np.ndindex(*connect.out[:2], *kernel[:2]):
            at = y * stride[0] + k - padding[0][0], u * stride[1] + m - padding[1][0]
            if 0 <= at[0] < image[0] and 0 <= at[1] < image[1]:
                matrix[(*at, slice(None), y, u)] = weight[k, m]
        matrix = matrix.reshape(connect.n_pre, connect.n_post)
        out = _dense.convolved.bind(as_jax(x), connect.weight[None], shape=connect.shape)
        assert_close(out, x @ matrix)


@pytest.mark.parametrize("kind", ["events", "dense"])
def test_sparse_and_dense_batches_agree(kind, monkeypatch, x64):
    """XLA's products where much is not zero, the kernels where little is: the same result and derivatives."""
    monkeypatch.setitem(_dense._SPARSE, "dense", 1.0 if kind == "events" else -1.0)
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(3, 9)), rng.normal(size=(3, 9, 5))
    mapped = lambda f: jax.jit(jax.vmap(derivatives(smooth(f), MAPPED)))(x, w)
    assert_all_close(mapped(bs.ops.dense_matvec), mapped(lambda x, w: x @ w))


FAN = np.random.default_rng(0).integers(0, 6, (9, 3)).astype(np.int32)
SHAPE = bs.ops.ConvolutionShape((3, 3, 1), (2, 2, 3), (2, 1), ((1, 0), (0, 1)))


def fan_out_matrix(w):
    return jnp.zeros((9, 6), w.dtype).at[jnp.arange(9)[:, None], FAN].add(w)


PRODUCTS = {
    "fan-out": ((9, 3), lambda x, w: bs.ops.fan_out_matvec(x, w, FAN, 6), lambda x, w: x @ fan_out_matrix(w)),
    "dense": ((9, 4), bs.ops.dense_matvec, lambda x, w: x @ w),
    "convolution": (
        SHAPE.weights,
        lambda x, w: bs.ops.convolution(x, w, SHAPE),
        lambda x, w: x @ bs.Convolution(w, (3, 3), stride=(2, 1), padding=((1, 0), (0, 1))).as_dense(),
    ),
}


@pytest.mark.parametrize("axes", [None, (0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("kind", PRODUCTS)
def test_products_in_every_transformation(kind, axes, always_events, x64):
    shape, product, twin = PRODUCTS[kind]
    rng = np.random.default_rng(1)
    x, w = sparse(rng, (2, 9), 0.5, float), rng.normal(size=(2, *shape))
    args = [v if axes and axes[i] == 0 else v[0] for i, v in enumerate((x, w))]
    which = MAPPED if axes else ("value", "reverse", "forward over reverse", "product with the Hessian")
    run = lambda f: jax.jit(jax.vmap(derivatives(smooth(f), which), axes) if axes else derivatives(smooth(f), which))(
        *args
    )
    assert_all_close(run(product), run(twin))


def test_one_call_for_a_batch(x64):
    mapped = jax.vmap(jax.vmap(lambda x, w: bs.ops.fan_out_matvec(x, w, FAN, 6), (0, None)), (None, 0))
    jaxpr = str(jax.make_jaxpr(mapped)(np.ones((4, 9)), np.ones((2, 9, 3))))
    assert jaxpr.count("brainsim_fan_out_scatter") == 1 and "scan" not in jaxpr


# ---- bfloat16 weights


def narrow_csr(x, w):
    return bs.ops.csr_matvec(x, w.reshape(-1), FAN.reshape(-1), np.arange(0, 28, 3, dtype=np.int32), 6)


NARROW = {**PRODUCTS, "csr": ((9, 3), narrow_csr, PRODUCTS["fan-out"][2])}


@pytest.mark.parametrize("kind", NARROW)
def test_bfloat16_weights(kind, always_events, x32):
    """Products are those of the widened weights, in float32; the gradient is rounded once, at the end."""
    shape, product, twin = NARROW[kind]
    rng = np.random.default_rng(2)
    x, dx = as_jax(sparse(rng, 9, 0.5, np.float32)), jnp.asarray(rng.normal(size=9), jnp.float32)
    w = jnp.asarray(rng.normal(size=shape), jnp.bfloat16)
    wide = lambda x, w: twin(x, w.astype(jnp.float32))
    both = lambda f: jax.jit(
        lambda x, w: (f(x, w), jax.grad(smooth(f), (0, 1))(x, w), jax.jvp(jax.grad(smooth(f)), (x, w), (dx, w))[1])
    )(x, w)
    got, expected = both(product), both(wide)
    assert got[0].dtype == jnp.float32 and got[1][1].dtype == jnp.bfloat16
    assert_close((got[0], got[1][0], got[2]), (expected[0], expected[1][0], expected[2]))
    np.testing.assert_allclose(np.float32(got[1][1]), np.float32(expected[1][1]), rtol=2**-7)  # bfloat16 has 8 bits


@pytest.mark.parametrize("kind", NARROW)
def test_bfloat16_weights_go_with_float32(kind, x64):
    shape, product, _ = NARROW[kind]
    with pytest.raises(ValueError, match="float64, but the weight is bfloat16"):
        product(jnp.ones(9, jnp.float64), jnp.ones(shape, jnp.bfloat16))


def test_layouts_keep_bfloat16(x32):
    w = jnp.ones((9, 3), jnp.bfloat16)
    for connect in (
        bs.FanOut(w, FAN, 6),
        bs.Dense(w),
        bs.CSR(w.reshape(-1), FAN.reshape(-1), np.arange(0, 28, 3), 9, 6),
    ):
        assert connect.weight.dtype == jnp.bfloat16 and connect(jnp.ones(9)).dtype == jnp.float32
        assert float(connect(jnp.ones(9)).sum()) == 27.0


# ---- procedural: the kernels are the plain twins

NONE = np.zeros(0, np.uint32)


def patterns(n_pre, n_post, rng):
    """Every kind of row, with a table for it."""
    pattern = lambda *args, **options: bs.ops.ProceduralPattern(n_pre, n_post, *args, **options)
    k, few = int(rng.integers(0, n_post + 1)), int(rng.integers(0, 20)) if n_post else 0
    table = np.sort(rng.integers(0, 2**32, n_post - k, dtype=np.uint32))
    per_row = rng.multinomial(3 * n_post, [1 / max(n_pre, 1)] * n_pre) if n_pre else np.zeros(0, int)
    starts = np.concatenate([[0], np.cumsum(per_row)]).astype(np.uint32)
    return [
        (pattern("different", n_post, k, k), NONE),
        (pattern("different", n_post, k, n_post), table),
        (pattern("independent", n_post, few, few), NONE),
        (pattern("of all", int(starts[-1]), 0, int(per_row.max(initial=0)), 3), starts),
        *([(pattern("different", n_post - 1, k - 1, k - 1, skip=True), NONE)] if k else []),
    ]


@hypothesis.settings(max_examples=10, deadline=None)
@hypothesis.given(
    sizes=st.sampled_from([(0, 3), (1, 300), (40, 40), (3, 0)]),
    active=st.sampled_from(ACTIVE),
    noise=st.sampled_from(["none", "uniform", "normal"]),
    which=st.integers(0, 4),
    batch=st.sampled_from([0, 2]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_kernels_regenerate_the_same_synapses(sizes, active, noise, which, batch, dtype, seed):
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        made = patterns(*sizes, np.random.default_rng(0))
        pattern, table = made[which % len(made)]
        words = as_jax(rng.integers(0, 2**32, 2, dtype=np.uint32))
        x = as_jax(sparse(rng, (batch, sizes[0]), active, dtype))
        params = dict(pattern=pattern.checked(), noise=noise)
        out = _procedural.scatter.bind(x, words, as_jax(table), **params)
        assert_close(out, jax.jit(lambda x: _procedural_plain.scatter(x, words, as_jax(table), **params))(x))
        v = jnp.asarray(rng.normal(size=out.shape), dtype)
        found = _procedural.gather.bind(v, words, as_jax(table), **params)
        assert_close(found, jax.jit(lambda v: _procedural_plain.gather(v, words, as_jax(table), **params))(v))


def build(rule, n_pre, n_post, seed=0, same=False) -> bs.Regenerated:
    return bs.Procedural(rule).build(jax.random.key(seed), n_pre, n_post, same=same)


def synapses(connect, noise: Any = "none"):
    """(row, target, noise) of the synapses there are."""
    s = bs.ops.procedural_synapses(connect.seed, connect.table, connect.pattern, noise)
    real = np.asarray(s.real)
    return np.nonzero(real)[0], np.asarray(s.targets)[real], None if s.noise is None else np.asarray(s.noise)[real]


def counts(connect):
    matrix = np.zeros((connect.n_pre, connect.n_post), int)
    np.add.at(matrix, synapses(connect)[:2], 1)
    return matrix


def within(observed, expected, variance, sd=5.0):
    """Every observed number is within `sd` standard deviations of the expected one (for fixed seeds: no flakes)."""
    np.testing.assert_array_less(np.abs(np.asarray(observed) - expected), sd * np.sqrt(variance) + 1e-9)


# ---- procedural: laws


def test_philox_known_answers():
    """The test vectors that Salmon et al. publish with Random123."""
    zero = jnp.zeros(1, jnp.uint32)
    drawn = _philox.philox(jnp.zeros(2, jnp.uint32), zero, zero, 0)
    assert [int(w[0]) for w in drawn] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.parametrize("domain", [1, 2, 5, 64, 65, 1000])
def test_permutations(domain):
    keys = as_jax(np.random.default_rng(0).integers(0, 2**32, (_philox.rounds(domain), 1), dtype=np.uint32))
    image = jax.jit(lambda x: _philox.permuted(x, keys, domain))(jnp.arange(domain, dtype=jnp.uint32))
    assert sorted(image.tolist()) == list(range(domain))


@pytest.mark.parametrize("n, k", [(5, 2), (5, 3), (16, 2), (70, 2)])
def test_subsets_are_all_equally_likely(n, k):
    """Each pair, or triple, of targets; not only each target."""
    rows = 30000
    target = synapses(build(bs.FixedOutDegree(k), rows, n))[1].reshape(rows, k)
    _, number = np.unique(np.sort(target, axis=1), axis=0, return_counts=True)
    cells = len(number)
    assert cells == {(5, 2): 10, (5, 3): 10, (16, 2): 120, (70, 2): 2415}[n, k]
    chi = ((number - rows / cells) ** 2 / (rows / cells)).sum()
    within(chi, cells - 1, 2 * (cells - 1))


@pytest.mark.parametrize("p", [0.05, 0.5, 0.97])
def test_probability_is_bernoulli_for_each_pair(p):
    """Degrees are binomial on both sides, in mean and variance, and neighbouring pairs are not correlated."""
    n_pre, n_post = 3000, 40
    x = counts(build(bs.FixedProbability(p), n_pre, n_post))
    assert x.max() == 1
    within(x.sum(axis=0), n_pre * p, n_pre * p * (1 - p))
    for axis, n, size in ((1, n_post, n_pre), (0, n_pre, n_post)):
        degree, variance = x.sum(axis=axis), n * p * (1 - p)
        within(degree.mean(), n * p, variance / size)
        within(degree.var(ddof=1), variance, 3 / (size - 1) * variance**2)
    within((x[:, 1:] * x[:, :-1]).mean(), p**2, p**2 * (1 - p**2) / x.size * 3)


@pytest.mark.parametrize("k, multapses", [(3, False), (3, True), (20, True)])
def test_out_degree(k, multapses):
    x = counts(
        build(bs.FixedOutDegree(k, multapses=multapses, autapses=False), 2000, 2000 if k > 9 else 12, same=k > 9)
    )
    assert (x.sum(axis=1) == k).all() and (x.max() > 1) == multapses
    assert k < 9 or np.trace(x) == 0
    within(x.sum(axis=0), x.sum() / x.shape[1], x.sum() / x.shape[1])


def test_in_degree():
    """Exact at every target; sources are multinomial, as if each were drawn by itself."""
    n_pre, n_post, k = 50, 2000, 7
    x = counts(build(bs.FixedInDegree(k, multapses=True), n_pre, n_post))
    assert (x.sum(axis=0) == k).all() and x.max() > 1
    within(x.sum(axis=1), k * n_post / n_pre, k * n_post / n_pre)
    within((x**2).mean(), k / n_pre + k * (k - 1) / n_pre**2, 4 * k / n_pre / x.size)


@pytest.mark.parametrize("p, n", [(0.0, 5), (1.0, 5), (0.3, 0), (1e-9, 3), (0.999999, 3)])
def test_probabilities_at_their_ends(p, n):
    assert counts(build(bs.FixedProbability(p), 20, n)).sum() == (20 * n if p > 0.5 else 0)


def test_noise_has_its_distribution():
    rule = lambda w: build(bs.FixedOutDegree(50, weight=w), 2000, 100)
    n = 100_000
    u = synapses(rule(bs.Uniform(0.0, 1.0)), "uniform")[2]
    assert u.min() >= 0 and u.max() < 1
    within(np.histogram(u, 50, (0, 1))[0], n / 50, n / 50)
    z = synapses(rule(bs.Normal(0.0, 1.0)), "normal")[2]
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        within((z**power).mean(), moment, variance / n)
    for x in (u, z):
        within(np.corrcoef(x[1:], x[:-1])[0, 1], 0, 1 / n)


def test_normal_noise_are_quantiles(precision):
    """From the middle over the seams at 0.075 and 0.925 to both ends."""
    middle, seam, ends = 2**31 + np.arange(-2, 2), 322122547 + np.arange(-2, 2), np.array([0, 1, 1000])
    word = np.unique(
        np.concatenate([middle, seam, ends, 2**32 - 1 - seam, 2**32 - 1 - ends, np.arange(0, 2**32, 2**25)])
    )
    tail = np.minimum(word, 2**32 - 1 - word)
    quantile = [
        math.copysign(NormalDist().inv_cdf((t + 0.5) / 2**32), w - 2**31) for t, w in zip(tail, word, strict=True)
    ]
    got = _procedural_plain._normal(jnp.asarray(word, jnp.uint32), jnp.result_type(float))
    np.testing.assert_allclose(got, quantile, rtol=2e-7 if precision == 64 else 1e-6)
    assert (np.diff(got) >= 0).all()


def test_a_function_of_the_key_and_the_row():
    rule = bs.FixedProbability(0.2)
    a, b, c = (counts(build(rule, n, 50, seed)) for n, seed in ((30, 1), (90, 1), (30, 2)))
    assert (a == b[:30]).all() and (a != c).any()


def test_precisions_have_one_matrix():
    dense = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            connect = build(bs.FixedProbability(0.3, weight=bs.Normal(np.float32(2.0), np.float32(0.5))), 40, 30)
            dense.append(np.asarray(connect.as_dense(), np.float32))
    np.testing.assert_allclose(*dense, rtol=1e-4, atol=1e-5)  # a normal number of float32 has lost some digits


def test_a_sweep_of_seeds(x32):
    """Networks of one size in a batch: a seed each."""
    made = [build(bs.FixedOutDegree(3, weight=2.0), 9, 6, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *made)
    x = jnp.arange(9.0)
    assert_close(jax.jit(jax.vmap(lambda c: c(x)))(stacked), jnp.stack([x @ c.as_dense() for c in made]))


def test_derivatives_with_respect_to_parameters(x64):
    """Those of the reparameterised weights, against finite differences."""
    connect = build(bs.FixedProbability(0.4, weight=bs.Normal(1.0, 0.5)), 9, 6)
    x = as_jax(sparse(np.random.default_rng(0), 9, 0.5, float))
    loss = lambda mean, sd: jnp.sum(
        jnp.sin(bs.Regenerated(bs.Normal(mean, sd), connect.seed, connect.table, connect.pattern)(x))
    )
    jax.test_util.check_grads(jax.jit(loss), (as_jax(1.0), as_jax(0.5)), order=2)
    assert min(abs(g) for g in jax.grad(loss, (0, 1))(1.0, 0.5)) > 1e-3


def test_no_derivative_with_respect_to_a_probability():
    events = lambda p: jnp.sum(build(bs.FixedProbability(p), 9, 6)(jnp.ones(9)))
    with pytest.raises(ValueError, match="nothing has a derivative in it"):
        jax.grad(events)(0.5)
    with pytest.raises(TypeError):  # nor with respect to the seed
        connect = build(bs.FixedProbability(0.5), 9, 6)
        jax.grad(lambda s: jnp.sum(bs.ops.procedural_matvec(jnp.ones(9), s, connect.table, connect.pattern)))(
            connect.seed
        )


def test_a_network_like_any_other(x32):
    """Spike for spike what the same matrix stored gives."""
    cell = bs.Population(40, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0)))
    connect = build(bs.FixedProbability(0.2, weight=30.0), 40, 40)
    drive = np.linspace(300.0, 600.0, 40)
    run = lambda c: bs.simulate(
        bs.Network(dict(E=cell), [bs.Projection("E", "E.exc", c, delay=0.5)]),
        50.0, 0.1, inputs=dict(E=drive), record=dict(spikes=["E"]),
    ).spikes["E"]  # fmt: skip
    spikes = run(connect)
    assert spikes.sum() > 50 and (spikes == run(bs.CSR.from_dense(connect.as_dense()))).all()


def test_fan_out_with_delays_of_single_synapses(x32):
    """Wherever a list of synapses is needed, it is compressed rows."""
    fan_out = bs.FanOut(2.0, FAN % 9, 9)
    assert_close(fan_out.as_csr().as_dense(), fan_out.as_dense())
    cell = bs.Population(9, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0)))
    rule, late = bs.FixedOutDegree(3, weight=2.0), lambda rng, n: rng.choice([0.5, 1.0], n)
    net = bs.Network(dict(E=cell), [bs.Projection("E", "E.exc", rule, delay=late)], key=jax.random.key(0))
    assert net.synapses("E->E.exc").delay.shape == (27,)
    assert bs.LearnableDelays(fan_out, 0.5, max_delay=1.0).n_post == 9


# ---- errors and the sanitisers


def pattern(**change):
    good = dict(n_pre=3, n_post=4, partners="different", domain=4, degree=2, most=2)
    return bs.ops.ProceduralPattern(**{**good, **change})


SEED = np.zeros(2, np.uint32)
SEND = bs.ops.procedural_matvec
FAN_OUT = bs.ops.fan_out_matvec


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: bs.Procedural(bs.OneToOne()), "FixedOutDegree and FixedInDegree, got OneToOne"),
        (lambda: bs.Procedural(bs.FixedInDegree(2)), "with multapses=True only"),
        (lambda: bs.Procedural(bs.FixedOutDegree(2, weight=bs.Normal(1.0, 1.0, low=0.0))), "a truncated normal is not"),
        (lambda: bs.Procedural(bs.FixedOutDegree(2, weight=bs.Normal(1.0, -1.0))), "sd must be at least 0"),
        (lambda: bs.Procedural(bs.FixedOutDegree(2, weight=lambda rng, n: rng.random(n))), "not a function"),
        (lambda: bs.Procedural(bs.FixedOutDegree(2, weight=[1.0, 2.0])), "the weight has shape"),
        (lambda: bs.Procedural(bs.FixedOutDegree(2, weight=np.nan)), "weights must be finite, number 0 is nan"),
        (lambda: build(bs.FixedOutDegree(5), 3, 4), "k is 5, but there are only 4 neurons to choose from; multapses="),
        (lambda: build(bs.FixedInDegree(2, multapses=True, autapses=False), 3, 3, same=True), "leave out autapses"),
        (lambda: build(bs.FixedInDegree(2, multapses=True), 0, 3), "only 0 neurons"),
        (lambda: build(bs.FixedInDegree(3000, multapses=True), 3, 10**6), "limited to"),
        (lambda: pattern(partners="some").checked(), "partners are 'some'; available: different"),
        (lambda: pattern(domain=5).checked(), "do not fit the targets"),
        (lambda: pattern(most=5, degree=5).checked(), "do not fit the targets"),
        (lambda: pattern(n_pre=2**31).checked(), "between 0 and"),
        (lambda: SEND(np.ones(2), SEED, NONE, pattern()), r"spikes have shape \[2\], expected \[3\]"),
        (lambda: SEND(np.ones(3), SEED, NONE, pattern(), wrong("red")), "noise is 'red'; available"),
        (lambda: SEND(np.ones(3), SEED[:1], NONE, pattern()), r"seed must be uint32\[2\]"),
        (lambda: SEND(np.ones(3), SEED, NONE, pattern(partners="of all")), r"must be uint32\[4\]"),
        (lambda: FAN_OUT(np.ones(3), 1.0, np.zeros((2, 2), np.int32), 3), r"shape \[3\], expected \[2\]"),
        (lambda: FAN_OUT(np.ones(2), np.ones(2), np.zeros((2, 2), np.int32), 3), r"expected \[\] or \[2, 2\]"),
        (lambda: FAN_OUT(np.ones(2), 1.0, np.zeros((2, 2)), 3), "indices must be int32"),
        (lambda: bs.ops.dense_matvec(np.ones(2), np.ones((3, 2))), r"\[pre\] and \[pre, post\]"),
        (lambda: bs.ops.convolution(np.ones(8), np.ones((2, 2, 1, 3)), SHAPE), r"expected \[3, 3, 1\]"),
        (lambda: bs.FanOut([[1.0]], [[3]], 3), r"indices\[0\] is 3, allowed are 0 to 2"),
        (lambda: bs.FanOut(1.0, [0, 1], 3), r"shape \[2\], expected \[pre, k\]"),
        (lambda: bs.Convolution(np.ones((2, 2)), (3, 3)), r"expected \[ky, kx, in, out\]"),
        (lambda: bs.Convolution(np.ones((1, 1, 1, 1)), (3, 3), stride=0), "stride must be one or two whole numbers"),
        (lambda: bs.Convolution(np.ones((1, 1, 1, 1)), (3, 3), padding="full"), "'same', got 'full'"),
        (lambda: bs.Convolution(np.full((1, 1, 1, 1), np.inf), (3, 3)), "finite"),
    ],
)  # fmt: skip
def test_errors(make, message):
    with pytest.raises(ValueError, match=message) as e:
        make()
    assert "\n" not in str(e.value)


def wrong(x) -> Any:
    """What a type checker would refuse."""
    return x
