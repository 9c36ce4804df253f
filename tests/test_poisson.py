"""Random events: the distribution, independence, and that a draw depends on the key, the step and the neuron only."""

import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import needs
import numpy as np
import pytest
import scipy.stats
from tolerances import assert_close

import brainsim as bs
from brainsim._compat import as_jax
from brainsim.ops import _poisson

KEY = jax.random.key(3)
many = jax.jit(jax.vmap(bs.ops.poisson_counts, (None, 0, None, None)), static_argnums=3)
MEANS = [0.0, 1e-3, 0.7, 2.56, 15.9, 16.1, 70.0]


def operands(mean, steps=(5, 6)):
    """What the primitive takes, for two steps."""
    step = jnp.asarray(steps, jnp.uint32)[:, None]
    key = jnp.broadcast_to(jax.random.key_data(KEY), (len(steps), 2))
    return key, step, jnp.broadcast_to(jnp.asarray(mean, float), (len(steps), jnp.size(mean)))


# ---- the kernel against plain JAX


@pytest.mark.parametrize("process", ["poisson", "bernoulli"])
@pytest.mark.parametrize("n", [1, 32, 101])
def test_kernel_and_plain_jax_draw_the_same_integers(process, n, precision):
    static = dict(n=n, process=process)
    kernel = jax.jit(lambda *x: _poisson.counts.bind(*x, **static))
    plain = jax.jit(lambda *x: _poisson.plain(*x, **static))
    mixed = np.where(np.arange(n) % 64 < 32, 1.5, np.linspace(0.0, 40.0, n))  # blocks of one mean and of many
    broken = np.where(np.arange(n) % 2, -1.0, np.nan)
    for mean in (*MEANS, mixed, mixed / 40, np.full(n, 0.3), broken, 1e9, -0.1, np.nan, np.inf):
        got, expected = kernel(*operands(mean)), plain(*operands(mean))
        assert got.dtype == expected.dtype == jnp.result_type(float)
        np.testing.assert_array_equal(got, expected)


def test_a_table_and_a_search_give_the_same_integers(precision):
    """One mean for all neurons is a table; one per neuron is a search, unless a block's are equal."""
    for mean in MEANS:
        one = bs.ops.poisson_counts(KEY, 3, mean, 100)
        each = bs.ops.poisson_counts(KEY, 3, jnp.full(100, mean).at[::32].set(5.0), 100)
        others = np.arange(100) % 32 != 0
        np.testing.assert_array_equal(one[others], each[others])


def test_philox_known_answer():
    """The first test vectors that Salmon et al. publish with Random123: all zero, and all ones."""
    with jax.enable_x64(True):
        zero = jnp.zeros((), jnp.uint64)
        word = _poisson._philox(jnp.zeros(2, jnp.uint32), zero, 0, 0, 32)
    assert [int(x) for x in word[::8]] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@needs.kernels
def test_kernels_refuse_shapes_that_do_not_fit(x32):
    out = jax.ShapeDtypeStruct((2, 10), jnp.float32)
    call = lambda *args: jax.ffi.ffi_call("brainsim_poisson", out)(*args).block_until_ready()
    u, f = (lambda *n: jnp.zeros(n, jnp.uint32)), (lambda *n: jnp.zeros(n, jnp.float32))
    assert call(u(2, 2), u(2, 1), f(2, 1)).shape == (2, 10)
    for wrong in ((u(1, 2), u(2, 1), f(2, 1)), (u(2, 2), u(2, 1), f(2, 3)), (u(2, 2), u(3, 1), f(2, 1)),
                  (u(2, 2), u(0, 1), f(2, 1)), (f(2, 2), u(2, 1), f(2, 1)), (u(2, 2), u(2, 1), u(2, 1))):  # fmt: skip
        with pytest.raises(Exception, match="brainsim Poisson"):
            call(*wrong)


# ---- the distribution


def p_value(draws, distribution):
    """Of a chi-square test, with bins of ten expected draws or more."""
    k = np.arange(distribution.ppf(1e-9), distribution.ppf(1 - 1e-9) + 1)
    k = k[distribution.pmf(k) * draws.size >= 10]
    observed = np.array([(draws < k[0]).sum(), *((draws == i).sum() for i in k), (draws > k[-1]).sum()])
    expected = draws.size * np.array([distribution.cdf(k[0] - 1), *distribution.pmf(k), distribution.sf(k[-1])])
    some = expected > 1e-3
    assert observed[~some].sum() == 0
    statistic = ((observed - expected)[some] ** 2 / expected[some]).sum()
    return scipy.stats.chi2.sf(statistic, some.sum() - 1)


@pytest.mark.parametrize("mean", [0.01, 0.7, 2.56, 10.0, 15.9, 16.1, 70.0, 1000.0])
def test_counts_have_the_poisson_distribution(mean, precision):
    draws = np.asarray(many(KEY, jnp.arange(20), mean, 10_000))
    assert np.all(draws == np.round(draws)) and draws.dtype == jnp.result_type(float)
    assert abs(draws.mean() - mean) < 4.5 * np.sqrt(mean / draws.size)
    assert abs(draws.var() - mean) < 4.5 * np.sqrt((mean + 2 * mean**2) / draws.size)
    assert p_value(draws, scipy.stats.poisson(mean)) > 1e-3


def test_one_mean_per_neuron(precision):
    mean = np.repeat([0.1, 1.3, 5.0, 30.0], 50)
    draws = np.asarray(many(KEY, jnp.arange(1000), np.random.default_rng(0).permuted(mean), 200))
    order = np.argsort(np.random.default_rng(0).permuted(mean), kind="stable")
    for i, m in enumerate((0.1, 1.3, 5.0, 30.0)):
        assert p_value(draws[:, order[50 * i : 50 * (i + 1)]], scipy.stats.poisson(m)) > 1e-3


def test_bernoulli_events(precision):
    hit = jax.vmap(lambda k: bs.ops.bernoulli_counts(KEY, k, 0.03, 1000))(jnp.arange(100))
    assert set(np.unique(hit)) == {0.0, 1.0}
    assert abs(float(hit.sum()) - 3000) < 4.5 * np.sqrt(3000)


def test_draws_are_independent():
    """Across neurons and across steps, at every distance that the layout of the generator could show."""
    draws = np.asarray(many(KEY, jnp.arange(2000), 1.0, 300)) - 1.0
    for axis, lags in ((1, (1, 2, 7, 8, 9, 16, 24, 31, 32, 33, 64, 128)), (0, (1, 2, 3, 4, 8, 16, 256, 1024))):
        x = np.moveaxis(draws, axis, 0)
        for lag in lags:
            products = x[lag:] * x[:-lag]
            assert abs(products.mean()) < 4.5 / np.sqrt(products.size), (axis, lag)
    other = np.asarray(many(jax.random.key(4), jnp.arange(2000), 1.0, 300)) - 1.0
    assert abs((draws * other).mean()) < 4.5 / np.sqrt(draws.size)


# ---- what a draw depends on


def test_a_draw_depends_on_key_step_and_neuron_only(precision):
    whole = many(KEY, jnp.arange(10), 2.0, 100)
    np.testing.assert_array_equal(many(KEY, jnp.arange(4, 7), 2.0, 100), whole[4:7])  # other steps
    np.testing.assert_array_equal(many(KEY, jnp.arange(10), 2.0, 41), whole[:, :41])  # other neurons
    np.testing.assert_array_equal(bs.ops.poisson_counts(KEY, 3, 2.0, 100), whole[3])  # without a batch
    keys = jax.random.split(jax.random.key(0), 3)
    means = jnp.array([[0.5], [2.0]])
    both = jax.vmap(lambda m: jax.vmap(lambda key: bs.ops.poisson_counts(key, 3, m[0], 40))(keys))(means)
    for i in range(2):
        for j in range(3):
            np.testing.assert_array_equal(both[i, j], bs.ops.poisson_counts(keys[j], 3, means[i, 0], 40))
    assert not np.array_equal(both[1, 0], both[1, 1])
    each = jax.vmap(lambda m: bs.ops.poisson_counts(KEY, 3, m, 40), in_axes=1)(jnp.ones((40, 2)))
    np.testing.assert_array_equal(each[1], bs.ops.poisson_counts(KEY, 3, 1.0, 40))


def test_keys_of_any_kind():
    new, old, wide = jax.random.key(7), jax.random.PRNGKey(7), jax.random.key(7, impl="rbg")
    draws = [np.asarray(bs.ops.poisson_counts(key, 0, 2.0, 100)) for key in (new, old, wide)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


def test_the_draws_of_a_program_without_kernels(tmp_path):
    """In a process that finds only plain JAX."""
    code = (
        "import pathlib, warnings; warnings.simplefilter('ignore'); is_file = pathlib.Path.is_file\n"
        "pathlib.Path.is_file = lambda p: 'brainsim_kernels' not in p.name and is_file(p)\n"
        "import brainsim as bs, jax, numpy as np; assert bs.ops.backend() == 'jax'\n"
        "print(np.asarray(bs.ops.poisson_counts(jax.random.key(3), 7, 2.5, 200)).astype(int).tolist())"
    )
    env = {**os.environ, "BRAINSIM_REQUIRE_FFI": "0", "PYTHONSAFEPATH": "1"}
    argv = [sys.executable, "-c", code]
    run = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=120)
    ours = np.asarray(bs.ops.poisson_counts(KEY, 7, 2.5, 200)).astype(int).tolist()
    assert run.stdout.strip() == str(ours), run.stderr


# ---- as inputs


def population(n=200, **lif):
    return bs.Population(n, bs.LIF(**lif), dict(exc=bs.ExpCurrent(tau=2.0)))


@pytest.mark.parametrize("process", [bs.Poisson, bs.Bernoulli])
def test_events_stay_within_their_window(process, x32):
    drive = process(rate=2000.0, key=KEY, start=0.3, stop=0.7)
    at = jax.jit(lambda k: drive.at(k, 0.1, 500).sum())
    assert [bool(at(jnp.int32(k)) > 0) for k in range(10)] == [3 <= k < 7 for k in range(10)]


@pytest.mark.parametrize("process", [bs.Poisson, bs.Bernoulli])
def test_gradient_in_the_rate(process, x64):
    """None by default; pathwise, that of the mean, and the value is the same."""

    def events(rate, gradient):
        drive = process(rate=rate, weight=20.0, key=KEY, gradient=gradient)
        return jnp.sin(drive.at(jnp.int32(3), 0.1, 50)).sum()

    def twin(rate):
        off = process(rate=2000.0, weight=20.0, key=KEY).at(jnp.int32(3), 0.1, 50) - 20.0 * 0.2
        return jnp.sin(20.0 * rate * 1e-4 + off).sum()

    assert jax.grad(events)(2000.0, None) == 0
    assert float(events(2000.0, None)) == float(events(2000.0, "pathwise"))
    for transform in (jax.grad, jax.jacfwd):
        assert_close(transform(events)(2000.0, "pathwise"), jax.grad(twin)(2000.0))
    weight = lambda w: process(rate=2000.0, weight=w, key=KEY).at(jnp.int32(3), 0.1, 50).sum()
    assert float(jax.grad(weight)(1.0)) == float(weight(1.0))


def test_gradient_in_the_rate_through_a_run(x64):
    """Potentials below threshold are linear in the events: the derivative is that of a constant input, dt · weight."""

    def mean_v(exc):
        cells = bs.Population(20, bs.LIF(v_th=1e3), dict(exc=bs.ExpCurrent(tau=2.0)))
        return bs.simulate(cells, 10.0, 0.1, dict(exc=exc), dict(v="v"))["v"].mean()

    drive = bs.Poisson(rate=2000.0, weight=20.0, key=KEY, gradient="pathwise")
    slope = jax.grad(lambda rate: mean_v(eqx.tree_at(lambda d: d.rate, drive, rate)))(drive.rate)
    assert_close(slope, jax.grad(lambda rate: mean_v(20.0 * 1e-4 * rate))(drive.rate))


def test_a_run_in_pieces_and_in_batches_has_the_same_events(x32):
    drive = bs.Poisson(rate=8000.0, weight=60.0, key=KEY)
    run = lambda steps, drive, **kw: bs.simulate(population(), steps, 0.1, dict(exc=drive), dict(spikes=True), **kw)
    whole = run(20.0, drive)
    assert whole.spikes.sum() > 50
    first = run(10.0, drive)
    rest = run(10.0, drive, state=first.state)
    np.testing.assert_array_equal(np.concatenate([first.spikes, rest.spikes]), whole.spikes)
    rates = jnp.array([6000.0, 8000.0])
    batched = jax.vmap(lambda r: run(20.0, eqx.tree_at(lambda d: d.rate, drive, r)).spikes)(rates)
    np.testing.assert_array_equal(batched[1], whole.spikes)


def test_errors():
    with pytest.raises(ValueError, match="gradient must be None or 'pathwise', got 'score'"):
        bs.Poisson(rate=1.0, key=KEY, gradient="score")
    with pytest.raises(ValueError, match=r"the mean has shape \[3\], expected \[\] or \[4\]"):
        bs.ops.poisson_counts(KEY, 0, jnp.ones(3), 4)


@pytest.mark.parametrize("dt", [0.01, 0.02, 0.1])
@pytest.mark.parametrize("start", [0.3, 250.1, 5000.3])
def test_windows_begin_and_end_with_the_right_step(dt, start, x32):
    """However late: single precision has no digit of dt left there."""
    drive = bs.Poisson(rate=1e6, key=KEY, start=start, stop=start + 10 * dt)
    first = round(start / dt)
    steps = jnp.arange(first - 3, first + 13)
    active = [bool(drive.at(k, dt, 50).sum() > 0) for k in steps]
    assert active == [first <= k < first + 10 for k in steps.tolist()]


# ---- the score


@pytest.mark.parametrize("kind", [bs.Poisson, bs.Bernoulli])
def test_score_gives_the_gradient_without_bias(kind, x64):
    """Of the mean square of the number of events, which is known, for two rates at once."""
    rate, steps, n, dt = np.array([2000.0, 500.0]), 7, 40_000, 0.1
    rates, m = as_jax(np.repeat(rate, n)), rate * dt * 1e-3
    drive = kind(rates, key=KEY, start=0.1, stop=0.6)  # steps 1 to 5
    draws = np.stack([drive.at(as_jax(k), dt, 2 * n) for k in range(steps)])
    total = draws.sum(axis=0)
    assert (draws[0] == 0).all() and (draws[6] == 0).all()
    log_prob = lambda rates: kind(rates, key=KEY, start=0.1, stop=0.6).log_prob(steps - 1, dt, 2 * n, first=1)
    sum_of_log_prob = jax.jit(jax.value_and_grad(lambda rates: log_prob(rates).sum()))
    value, score = sum_of_log_prob(rates)
    pmf = scipy.stats.poisson.logpmf if kind is bs.Poisson else scipy.stats.bernoulli.logpmf
    assert_close(float(value), float(pmf(draws[1:6], np.repeat(m, n)).sum()))
    estimate = (total**2 * np.asarray(score)).reshape(2, n)
    exact = (2 * 25 * m + 5 if kind is bs.Poisson else 5 + 40 * m) * dt * 1e-3  # of (5 m)^2 + 5 m, or 5 m + 20 m^2
    np.testing.assert_array_less(abs(estimate.mean(axis=1) - exact), 5 * estimate.std(axis=1) / np.sqrt(n))
    assert (5 * estimate.std(axis=1) / np.sqrt(n) < 0.2 * exact).all()


def test_score_at_the_ends(x64):
    """Where nothing is random there is no score, and no NaN."""
    for drive in (lambda r: bs.Poisson(r, key=KEY), lambda r: bs.Bernoulli(r, key=KEY)):
        grad = jax.jit(jax.grad(lambda r, drive=drive: drive(r).log_prob(3, 0.1, 2).sum()))
        assert grad(0.0) == 0 and np.isfinite(grad(10_000.0))
    assert grad(10_000.0) == 0 and grad(2e4) == 0
