"""Scores of predicted spikes, and the GLM: on data whose answer is known."""

import numpy as np
import pytest

from brainsim.fitting._glm import fit_glm, raised_cosines
from brainsim.observables import bits, bits_per_spike, bootstrap_ratio, rescaled_intervals


def modulated(seed=0, n=50_000):
    """Spikes in bins with a probability that wanders, and that probability."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(2.5 - 1.5 * np.sin(np.arange(n) / 40.0)))
    return p, rng.random(n) < p


def test_bits_of_the_truth_are_the_information():
    p, fired = modulated()
    p0 = p.mean()
    expected = (p * np.log2(p / p0) + (1 - p) * np.log2((1 - p) / (1 - p0))).sum() / p.sum()
    assert bits_per_spike(p, fired, p0) == pytest.approx(expected, abs=0.02)
    assert bits_per_spike(np.full_like(p, p0), fired, p0) == 0
    assert bits_per_spike(np.roll(p, 60), fired, p0) < 0
    assert bits(p, fired, p0).sum() / fired.sum() == pytest.approx(bits_per_spike(p, fired, p0))


def test_bits_errors():
    with pytest.raises(ValueError, match="one shape"):
        bits_per_spike(np.array([0.1, 0.2]), np.ones(1), 0.1)
    with pytest.raises(ValueError, match="0 spikes"):
        bits_per_spike(np.array([0.1, 0.2]), np.zeros(2), 0.1)
    for p, p0 in (([0.1, 1.0], 0.1), ([0.0, 0.5], 0.1), ([0.1, 0.5], 0.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            bits_per_spike(np.array(p), np.array([1, 0]), p0)


def test_rescaled_intervals_are_uniform_if_the_prediction_is_right():
    """Kolmogorov-Smirnov: inside the band of 1 % for the truth, far outside for a constant rate or twice the rate."""
    p, fired = modulated()
    grid = lambda u: (np.arange(len(u)) + 0.5) / len(u)
    distance = lambda p: np.abs(np.sort(u := rescaled_intervals(p, fired)) - grid(u)).max() * np.sqrt(len(u))
    assert distance(p) < 1.63
    assert distance(np.full_like(p, p.mean())) > 5
    assert distance(np.minimum(2 * p, 0.99)) > 5
    assert len(rescaled_intervals(p, fired)) == fired.sum() - 1


def test_rescaled_intervals_do_not_mind_wide_bins():
    """With half of the bins holding a spike the continuous formula fails; the drawn time within the bin mends that."""
    fired = np.random.default_rng(1).random(40_000) < 0.5
    u = np.sort(rescaled_intervals(np.full(40_000, 0.5), fired))
    assert np.abs(u - (np.arange(len(u)) + 0.5) / len(u)).max() * np.sqrt(len(u)) < 1.63


def test_bootstrap_covers_the_truth():
    """In 95 of 100 series whose bins are correlated over a tenth of a block; too seldom with blocks of one bin."""
    rng = np.random.default_rng(2)
    covered = {1: 0, 100: 0}
    for k in range(200):
        x = np.convolve(rng.normal(size=4009), np.full(10, 0.1), "valid")
        for block in covered:
            low, high = bootstrap_ratio(x + 2.0, np.ones(4000), block, draws=100 if block == 1 else 300, seed=k)
            covered[block] += low < 2.0 < high
    assert 176 <= covered[100] <= 199
    assert covered[1] < 120


def test_bootstrap_of_a_ratio_and_its_errors():
    assert bootstrap_ratio(np.ones(50), np.full(50, 4.0), 7) == (0.25, 0.25)
    for a, b, block in ((np.ones(9), np.ones(9), 5), (np.ones(9), np.ones(8), 2)):
        with pytest.raises(ValueError, match="two blocks"):
            bootstrap_ratio(a, b, block)


def test_raised_cosines_tile_the_lags():
    basis = raised_cosines(10, 60)
    assert basis.shape == (60, 10) and basis.min() >= 0 and basis.max() <= 1
    assert (np.diff(basis.argmax(0)) > 0).all()
    first, last = basis[:, 1].argmax() + 1, basis[:, -2].argmax() - 1
    np.testing.assert_allclose(basis.sum(1)[first:last], 2.0, rtol=1e-9)  # between the ends they sum to a constant
    assert basis[-1].max() < 0.05


def glm_data(n=40_000, seed=4):
    """Spikes from a GLM with a stimulus filter, a quadratic filter and refractoriness; also its probabilities."""
    rng = np.random.default_rng(seed)
    s = rng.normal(size=n)
    basis = raised_cosines(12, 30)
    filtered = lambda x, *weights: np.convolve(x, basis[:, 4 : 4 + len(weights)] @ weights)[:n]
    drive = filtered(s, 0.9, 0.4, -0.7) + filtered(s**2, 0.0, 0.2)
    history = raised_cosines(10, 60)[:, :4] @ [-4.0, -2.0, -1.0, 0.4]
    p, y = np.zeros(n), np.zeros(n)
    for t in range(n):
        past = y[max(0, t - 60) : t][::-1]
        p[t] = 1 / (1 + np.exp(3.2 - drive[t] - past @ history[: len(past)]))
        y[t] = rng.random() < p[t]
    return s, y, p


@pytest.fixture(scope="module")
def glm_case():
    return glm_data()


def test_glm_finds_the_truth(glm_case):
    """Held out, it has 98 % of the information of the model behind the data; without the history it has not."""
    s, y, p = glm_case
    cut, p0 = 30_000, y[:30_000].mean()
    score = lambda q: bits_per_spike(q[cut:], y[cut:], p0)
    glm = fit_glm(s, y, train=cut)
    assert glm.parameters == 35
    assert 0.98 * score(p) < score(glm.probability(s, y)) <= 1.01 * score(p)
    blind = glm.probability(s, np.zeros_like(y))
    assert score(np.clip(blind, 1e-9, 1 - 1e-9)) < 0.9 * score(p)


def test_glm_fits_the_training_part_only(glm_case):
    s, y, _ = glm_case
    other = np.where(np.arange(len(y)) < 10_000, y, 1 - y)
    np.testing.assert_array_equal(fit_glm(s, y, train=10_000).weights, fit_glm(s, other, train=10_000).weights)


def test_glm_is_causal(glm_case):
    """A spike changes the probability of later bins only, the stimulus that of its own bin and later ones."""
    s, y, _ = (x[:3000] for x in glm_case)
    glm = fit_glm(s, y)
    before = glm.probability(s, y)
    spiked, louder = y.copy(), s.copy()
    spiked[1000], louder[1000] = 1 - y[1000], s[1000] + 1.0
    changed = lambda after: np.flatnonzero(before != after)
    assert changed(glm.probability(s, spiked))[0] == 1001
    assert changed(glm.probability(louder, y))[0] == 1000


def test_glm_of_separable_data_stays_finite():
    """Spikes that the stimulus tells without fail: the ridge keeps the weights finite."""
    s = np.tile(np.r_[np.zeros(49), 10.0], 40)
    p = fit_glm(s, s > 5).probability(s, s > 5)
    assert np.isfinite(p).all() and p[s > 5][1:].min() > 0.8 and p[s < 5].max() < 0.2


def test_glm_errors():
    with pytest.raises(ValueError, match="one shape"):
        fit_glm(np.zeros(10), np.zeros(9))
    with pytest.raises(ValueError, match="0 spikes in 10 bins"):
        fit_glm(np.zeros(10), np.zeros(10))
