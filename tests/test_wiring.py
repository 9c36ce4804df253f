"""Wiring rules: the laws of their distributions, their options, and their errors."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim.synapses import _draw, _total_number


def built(rule, n_pre, n_post, seed=0, same=False):
    return rule.build(jax.random.key(seed), n_pre, n_post, same=same)


def counts(connect):
    """How many synapses go from each neuron to each: the matrix of a CSR or FanOut, in NumPy."""
    matrix = np.zeros((connect.n_pre, connect.n_post), int)
    degree = connect.indices.shape[1] if isinstance(connect, bs.FanOut) else np.diff(connect.indptr)
    np.add.at(matrix, (np.repeat(np.arange(connect.n_pre), degree), np.asarray(connect.indices).ravel()), 1)
    return matrix


def matrix(connect):
    """`as_dense`, without compiling a program for every number of synapses."""
    return counts(connect) if isinstance(connect, bs.CSR | bs.FanOut) else np.asarray(connect.as_dense())


def within(observed, expected, variance, sd=5.0):
    """Every observed number is within `sd` standard deviations of the expected one (for fixed seeds: no flakes)."""
    np.testing.assert_array_less(np.abs(np.asarray(observed) - expected), sd * np.sqrt(variance) + 1e-9)


# ---- distributions


@pytest.mark.parametrize("p", [0.05, 0.5, 0.97])
def test_fixed_probability_is_bernoulli_for_each_pair(p):
    n_pre, n_post, trials = 30, 20, 200
    total = np.sum([counts(built(bs.FixedProbability(p), n_pre, n_post, seed)) for seed in range(trials)], axis=0)
    assert total.max() <= trials
    within(total, trials * p, trials * p * (1 - p))  # each pair
    within(total.sum(), total.size * trials * p, total.size * trials * p * (1 - p))


def test_fixed_probability_pairs_are_independent():
    """Degrees are binomial on both sides, and neighbouring pairs are not correlated."""
    p, n = 0.2, 300
    x = counts(built(bs.FixedProbability(p), n, n))
    for axis in (0, 1):
        degree = x.sum(axis=axis)
        within(degree.var(ddof=1), n * p * (1 - p), 2 / (n - 1) * (n * p * (1 - p)) ** 2)
        neighbours = np.moveaxis(x, axis, 0)
        within((neighbours[1:] * neighbours[:-1]).mean(), p**2, p**2 * (1 - p**2) / x.size * 3)


@pytest.mark.parametrize("p, expected", [(0.0, 0), (1.0, 12)])
def test_fixed_probability_at_its_ends(p, expected):
    assert counts(built(bs.FixedProbability(p), 3, 4)).sum() == expected
    assert built(bs.FixedProbability(p), 3, 4).indices.size == expected


@pytest.mark.parametrize("k", [0, 1, 7, 18, 20])
@pytest.mark.parametrize("multapses", [False, True])
@pytest.mark.parametrize("rule", [bs.FixedOutDegree, bs.FixedInDegree])
def test_fixed_degrees(rule, multapses, k):
    """The degree is exact; partners are uniform; multapses come only if allowed."""
    rows, n, trials = 15, 20, 100
    axis = 1 if rule is bs.FixedOutDegree else 0
    sizes = (rows, n) if axis == 1 else (n, rows)
    total, most = np.zeros(sizes, int), 0
    for seed in range(trials):
        x = counts(built(rule(k, multapses=multapses), *sizes, seed))
        assert (x.sum(axis=axis) == k).all()
        total, most = total + x, max(most, x.max())
    each = k / n * (1 - 1 / n if multapses else (1 - k / n))
    within(total, trials * k / n, trials * each)
    assert most <= 1 or multapses
    assert not multapses or most > 1 or k < 2


@pytest.mark.parametrize("multapses, n", [(True, 0), (True, 150), (False, 150), (False, 300)])
def test_fixed_total_number(multapses, n):
    """The total is exact, every pair is as likely, and so is every pair of neighbours; rows ascend."""
    n_pre, n_post, trials = 15, 20, 200
    size, total, both = n_pre * n_post, np.zeros((n_pre, n_post), int), 0
    for seed in range(trials):
        connect = built(bs.FixedTotalNumber(n, multapses=multapses), n_pre, n_post, seed)
        x = counts(connect)
        assert x.sum() == n == connect.indices.size and (multapses or x.max(initial=0) <= 1)
        rises = np.diff(np.asarray(connect.indices)) >= 0
        assert rises[np.setdiff1d(np.arange(n - 1), np.asarray(connect.indptr)[1:-1] - 1)].all()
        total, both = total + x, both + (x[:, 1:] * x[:, :-1]).mean()
    each = n / size * (1 - 1 / size if multapses else 1 - n / size)
    within(total, trials * n / size, trials * each)
    expected = n * (n - 1) / (size**2 if multapses else size * (size - 1))  # E[x_i x_j] for i != j
    within(both, trials * expected, trials * max(expected, 1e-9) * 3 / size)


def test_fixed_total_number_in_blocks(monkeypatch):
    """The blocks in which rows are sorted change nothing."""
    rule = bs.FixedTotalNumber(5000, autapses=False)
    whole = built(rule, 100, 100, same=True)
    monkeypatch.setattr(_total_number, "_SORTED", 60)
    pieces = built(rule, 100, 100, same=True)
    assert np.array_equal(whole.indices, pieces.indices) and np.array_equal(whole.indptr, pieces.indptr)


def test_subsets_are_all_equally_likely():
    """Not only is each element uniform: so is each of the 10 pairs of 5."""
    rows = np.arange(20000, dtype=np.uint64)
    seed = _draw.seed_of(jax.random.key(0))
    for k in (2, 3):  # 3 of 5 are drawn as those 2 that are left out
        drawn = _draw.subsets(seed, rows, 5, k)
        _, number = np.unique(drawn, axis=0, return_counts=True)
        assert len(number) == 10
        within(number, len(rows) / 10, len(rows) * 0.1 * 0.9)


# ---- random numbers


def test_uniforms_are_uniform():
    u = _draw.uniforms(_draw.seed_of(jax.random.key(1)), np.arange(300, dtype=np.uint64), 501)
    assert u.shape == (300, 501) and u.min() >= 0 and u.max() < 1
    number, _ = np.histogram(u, 50, (0, 1))
    within(number, u.size / 50, u.size / 50)
    for a, b in ((u[:, 1:], u[:, :-1]), (u[1:], u[:-1])):
        within(np.corrcoef(a.ravel(), b.ravel())[0, 1], 0, 1 / a.size)


def test_philox_known_answers():
    """The test vectors that Salmon et al. publish with Random123, for the first words of the block."""
    seed: Any = type("Seed", (), {"generate_state": lambda self, n, t: np.array([0, 0], np.uint32)})()
    expected = (0x6627E8D5 << 32 | 0xE169C58D) >> 11, (0xBC57AC4C << 32 | 0x9B00DBD8) >> 11
    got = _draw.uniforms(seed, np.zeros(1, np.uint64), 2)[0]
    assert (got * 2**53).astype(np.uint64).tolist() == list(expected)


def test_rows_do_not_depend_on_one_another():
    seed = _draw.seed_of(jax.random.key(0))
    rows = np.arange(100, dtype=np.uint64)
    some = rows[[3, 97, 40]]
    assert (_draw.uniforms(seed, rows, 7)[some] == _draw.uniforms(seed, some, 9)[:, :7]).all()
    assert (_draw.subsets(seed, rows, 30, 4)[some] == _draw.subsets(seed, some, 30, 4)).all()
    big, small = (built(bs.FixedProbability(0.1), n, 50) for n in (70, 30))
    assert (counts(big)[:30] == counts(small)).all()


@pytest.mark.parametrize(
    "rule",
    [
        bs.FixedProbability(0.1, weight=lambda rng, n: rng.normal(size=n)),
        bs.FixedOutDegree(5, weight=lambda rng, n: rng.normal(size=n)),
        bs.FixedInDegree(5, weight=lambda rng, n: rng.normal(size=n)),
        bs.FixedTotalNumber(200, weight=lambda rng, n: rng.normal(size=n)),
    ],
)
def test_a_network_is_a_function_of_its_key(rule):
    a, b, c = (built(rule, 50, 40, seed) for seed in (1, 1, 2))
    assert np.array_equal(a.indices, b.indices) and np.array_equal(a.weight, b.weight)
    assert not np.array_equal(a.indices, c.indices)
    assert not np.isin(a.weight, c.weight).any()


def test_keys_of_any_kind():
    new, old = jax.random.key(7), jax.random.PRNGKey(7)
    wide = jax.random.key(7, impl="rbg")
    rule = bs.FixedProbability(0.1)
    builds = [counts(rule.build(key, 50, 40, same=False)) for key in (new, old, wide)]
    assert (builds[0] == builds[1]).all() and (builds[0] != builds[2]).any()


# ---- options


@pytest.mark.parametrize("autapses", [True, False])
@pytest.mark.parametrize(
    "rule",
    [
        lambda **a: bs.FixedProbability(0.5, **a),
        lambda **a: bs.FixedOutDegree(9, **a),
        lambda **a: bs.FixedOutDegree(9, multapses=True, **a),
        lambda **a: bs.FixedInDegree(9, **a),
        lambda **a: bs.FixedInDegree(9, multapses=True, **a),
        lambda **a: bs.FixedTotalNumber(60, **a),
        lambda **a: bs.FixedTotalNumber(60, multapses=False, **a),
        lambda **a: bs.AllToAll(**a),
        lambda **a: bs.AllToAll(lambda rng, n: rng.random(n), **a),
    ],
)
def test_autapses(rule, autapses):
    """Left out only between a population and itself, and then neuron n - 1 is still reached."""
    for same in (True, False):
        total = np.sum([matrix(built(rule(autapses=autapses), 10, 10, seed, same)) != 0 for seed in range(40)], axis=0)
        none = same and not autapses
        assert (np.diag(total) == 0).all() if none else (np.diag(total) > 0).all()
        assert (total[~np.eye(10, dtype=bool)] > 0).all()


def test_one_to_one_and_all_to_all(precision):
    assert built(bs.OneToOne(2.0), 3, 3).as_dense().tolist() == np.diag([2.0] * 3).tolist()
    assert built(bs.OneToOne([1.0, 2.0, 3.0]), 3, 3).as_dense().tolist() == np.diag([1.0, 2.0, 3.0]).tolist()
    assert built(bs.AllToAll(2.0), 2, 3).as_dense().tolist() == np.full((2, 3), 2.0).tolist()
    drawn = built(bs.AllToAll(lambda rng, n: np.arange(n)), 2, 3)
    assert drawn.as_dense().tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_random_weights(precision):
    rule = bs.FixedProbability(0.3, weight=lambda rng, n: rng.normal(5.0, 2.0, n))
    weight = np.asarray(built(rule, 100, 100).weight)
    assert weight.dtype == jnp.result_type(float)
    within(weight.mean(), 5.0, 4.0 / weight.size)


def test_weight_of_a_rule_can_be_differentiated(x64):
    def total(w):
        return jnp.sum(built(bs.FixedOutDegree(3, weight=w), 4, 5)(jnp.ones(4)))

    assert float(jax.grad(total)(2.0)) == 12.0


def test_from_arrays():
    rule = bs.FromArrays([2, 0, 2], [1, 0, 1], [1.0, 2.0, 3.0])
    assert built(rule, 3, 2).as_dense().tolist() == [[2.0, 0.0], [0.0, 0.0], [0.0, 4.0]]
    assert built(bs.FromArrays([], []), 3, 2).as_dense().sum() == 0


def test_empty_populations():
    for rule in (
        bs.FixedProbability(0.5),
        bs.FixedOutDegree(0),
        bs.FixedInDegree(0),
        bs.FixedTotalNumber(0),
        bs.AllToAll(),
    ):
        for sizes in ((0, 3), (3, 0), (0, 0)):
            assert built(rule, *sizes).as_dense().shape == sizes


# ---- errors


def wrong(x) -> Any:
    """What a type checker would refuse."""
    return x


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: bs.FixedProbability(1.5), "p must be between 0 and 1, got 1.5"),
        (lambda: bs.FixedProbability(float("nan")), "p must be between 0 and 1, got nan"),
        (lambda: bs.FixedProbability(wrong("often")), "p must be a number, got 'often'"),
        (lambda: bs.FixedOutDegree(-1), "k must be a whole number, at least 0, got -1"),
        (lambda: bs.FixedInDegree(wrong(2.5)), "k must be a whole number, at least 0, got 2.5"),
        (lambda: bs.FixedInDegree(2, multapses=wrong("yes")), "multapses must be True or False, got 'yes'"),
        (lambda: built(bs.FixedOutDegree(5), 3, 4), "k is 5, but there are only 4 neurons to choose from; multapses="),
        (lambda: built(bs.FixedInDegree(4, autapses=False), 4, 4, same=True), "only 3 neurons to choose from"),
        (lambda: built(bs.FixedInDegree(4, multapses=True), 0, 4), "only 0 neurons to choose from"),
        (lambda: bs.FixedTotalNumber(wrong(2.5)), "n must be a whole number, at least 0, got 2.5"),
        (lambda: built(bs.FixedTotalNumber(1), 0, 4), "n is 1, but there are only 0 pairs of neurons"),
        (lambda: built(bs.FixedTotalNumber(13, multapses=False), 3, 4), "only 12 pairs of neurons; multapses="),
        (lambda: built(bs.FixedTotalNumber(7, multapses=False, autapses=False), 3, 3, same=True), "only 6 pairs"),
        (lambda: built(bs.OneToOne(), 3, 4), "must have one size, they have 3 and 4 neurons"),
        (lambda: built(bs.OneToOne([1.0, 2.0]), 3, 3), r"shape \[2\], expected a number, 3 numbers, or a function"),
        (lambda: built(bs.FixedProbability(0.5, weight=[1.0]), 3, 3), r"shape \[1\], expected a number or a function"),
        (lambda: built(bs.FixedProbability(0.5, weight=np.nan), 3, 3), "weights must be finite"),
        (lambda: built(bs.FixedOutDegree(2, lambda rng, n: 1.0), 3, 3), r"returned shape \[\], expected \[6\]"),
        (lambda: bs.FromArrays([0, 1], [0]), r"shapes \[2\] and \[1\], expected lists of one length"),
        (lambda: built(bs.FromArrays([0, 9], [0, 0]), 3, 3), r"pre\[1\] is 9, allowed are 0 to 2"),
        (lambda: built(bs.FromArrays([0.5], [0]), 3, 3), "pre must be whole numbers"),
        (lambda: jax.jit(lambda k: bs.FixedProbability(0.5).build(k, 3, 3, same=False).weight)(jax.random.key(0)),
         "build the network outside of jit"),
    ],
)  # fmt: skip
def test_errors(make, message):
    with pytest.raises(ValueError, match=message) as e:
        make()
    assert "\n" not in str(e.value).split("\n---")[0]


@pytest.mark.parametrize("n, limit", [(4000, 0.2), (40000, 2.0)])
@pytest.mark.parametrize("rule", [bs.FixedProbability, bs.FixedOutDegree, bs.FixedInDegree, bs.FixedTotalNumber])
def test_speed(rule, n, limit):
    """80 synapses per neuron, in processor time and with room to spare for a slow machine."""
    rule = rule({bs.FixedProbability: 80 / n, bs.FixedTotalNumber: 80 * n}.get(rule, 80))
    spent = []
    for _ in range(2):
        start = time.process_time()
        built(rule, n, n, same=True)
        spent.append(time.process_time() - start)
    assert min(spent) < 2 * limit


# ---- distributions of weights


def test_normal_and_uniform_have_their_moments_and_bounds():
    rng, n = np.random.default_rng(0), 100_000
    x = bs.Normal(-3.0, 0.5)(rng, n)
    within(x.mean(), -3.0, 0.25 / n)
    within(x.var(), 0.25, 2 * 0.25**2 / n)
    x = bs.Normal(1.0, 1.0, low=0.0, high=2.0)(rng, n)  # symmetric about its mean
    assert 0 <= x.min() and x.max() <= 2
    within(x.mean(), 1.0, x.var() / n)
    x = bs.Uniform(-1.0, 3.0)(rng, n)
    assert -1 <= x.min() and x.max() < 3
    within(x.mean(), 1.0, 16 / 12 / n)


def test_a_rule_draws_its_weights_from_a_distribution():
    connect = built(bs.FixedProbability(0.5, weight=bs.Normal(6.0, 0.6, low=0.0)), 100, 100)
    assert connect.weight.shape == connect.indices.shape and abs(float(connect.weight.mean()) - 6.0) < 0.05


def test_distribution_errors():
    with pytest.raises(ValueError, match="Normal: sd must be at least 0"):
        bs.Normal(1.0, -1.0)(np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match="next to nothing"):
        bs.Normal(0.0, 0.01, low=5.0)(np.random.default_rng(0), 3)
