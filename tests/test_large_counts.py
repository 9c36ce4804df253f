"""Counts of large means, and tables that make longer rows than the pattern has: right, or one clear line."""

import jax
import jax.numpy as jnp
import needs
import numpy as np
import pytest
import scipy.stats

import brainsim as bs
from brainsim.ops import _poisson

MEANS = np.array([65536.0, 65537.0, 1e5, 1e7, 1e9, 1e12])
KEY = jnp.array([[3, 4]], jnp.uint32)


def operands(mean):
    return KEY, jnp.array([[5]], jnp.uint32), jnp.asarray(mean, float)[None]


@needs.kernels
def test_kernel_and_plain_jax_count_alike(x64):
    """One mean for all, one for each, and both in blocks of 32; only the first is drawn in parts."""
    static = dict(n=70, process="poisson")
    kernel = jax.jit(lambda *x: _poisson.counts.bind(*x, **static))
    plain = jax.jit(lambda *x: _poisson.plain(*x, **static))
    mixed = np.where(np.arange(70) < 40, 1e5, np.resize([3.0, 1e7, 0.0, -1.0, 2.0**54], 70))
    for mean in (*(np.full(70, m) for m in MEANS[1:]), mixed):
        got, expected = kernel(*operands(mean)), plain(*operands(mean))
        np.testing.assert_array_equal(got, expected)
    assert np.isnan(got[0, 43]) and np.isnan(got[0, 44])  # no means


@needs.kernels
def test_distribution(x64):
    """Kolmogorov and Smirnov's distance of 40,000 counts, which is 1.63 / 200 in a hundredth of all samples."""
    n = 40_000
    for mean in MEANS[1:4]:
        counts = np.asarray(bs.ops.poisson_counts(jax.random.key(1), 2, float(mean), n))
        assert (counts == np.floor(counts)).all()
        values, at = np.unique(counts, return_index=False, return_counts=True)
        empirical = np.cumsum(at) / n
        assert np.abs(empirical - scipy.stats.poisson.cdf(values, mean)).max() < 1.63 / np.sqrt(n)
    for mean in MEANS[4:]:  # beyond the reach of tables: mean and variance, within four standard errors
        z = (np.asarray(bs.ops.poisson_counts(jax.random.key(1), 2, float(mean), n)) - mean) / np.sqrt(mean)
        assert abs(z.mean()) < 4 / np.sqrt(n) and abs(z.var() - 1) < 4 * np.sqrt(2 / n)


@pytest.mark.parametrize("mean", [-1.0, np.nan, 1e17, np.array([1.0, -2.0, 3.0])])
def test_what_is_no_mean_is_refused(mean):
    with pytest.raises(ValueError, match=r"poisson_counts: the mean is .*, expected 0 to 2\^53"):
        bs.ops.poisson_counts(jax.random.key(0), 0, mean, 3)
    with pytest.raises(ValueError, match=r"bernoulli_counts: the probability is .*, expected 0 or more"):
        bs.ops.bernoulli_counts(jax.random.key(0), 0, -np.abs(mean), 3)
    constant = jnp.asarray(mean, float)
    with pytest.raises(ValueError, match="expected 0 to"):  # also where the step is traced
        jax.jit(lambda step: bs.ops.poisson_counts(jax.random.key(0), step, constant, 3))(1)
    assert np.isnan(jax.jit(lambda m: bs.ops.poisson_counts(jax.random.key(0), 0, m, 3))(mean)).any()


@pytest.mark.parametrize("partners, most, table, longest", [
    ("different", 2, [7, 8], 4),
    ("independent", 3, [7, 8, 9], 5),
    ("of all", 2, [0, 2, 6, 8], 4),
])  # fmt: skip
def test_rows_longer_than_the_pattern_are_refused(partners, most, table, longest):
    pattern = bs.ops.ProceduralPattern(3, 4, partners, 4 if partners != "of all" else 8, 2, most, fan_in=2)
    seed, table = jnp.array([1, 2], jnp.uint32), jnp.array(table, jnp.uint32)
    for product in (
        lambda: bs.ops.procedural_matvec(jnp.ones(3), seed, table, pattern),
        lambda: bs.ops.procedural_rmatvec(jnp.ones(4), seed, table, pattern),
        lambda: bs.ops.procedural_synapses(seed, table, pattern),
    ):
        with pytest.raises(ValueError, match=f"rows of up to {longest} synapses, the pattern's most is {most}"):
            product()


def test_rows_as_long_as_the_pattern_are_the_same_everywhere(x32):
    """`procedural_synapses` shows what `procedural_matvec` delivers: rows of the table, of all lengths up to `most`."""
    seed, table = jnp.array([1, 2], jnp.uint32), jnp.array([0, 1, 6, 8], jnp.uint32)
    pattern = bs.ops.ProceduralPattern(3, 4, "of all", 8, 1, 5, fan_in=2)
    synapses = bs.ops.procedural_synapses(seed, table, pattern)
    for row in range(3):
        events = bs.ops.procedural_matvec(jnp.zeros(3).at[row].set(1.0), seed, table, pattern)
        found = np.bincount(np.asarray(synapses.targets)[row][np.asarray(synapses.real)[row]], minlength=4)
        np.testing.assert_array_equal(events, found)
        assert found.sum() == [1, 5, 2][row]
