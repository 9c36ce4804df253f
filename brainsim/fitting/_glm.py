"""The point-process GLM: the regression that a mechanistic model of spikes has to be measured against."""

import dataclasses
from typing import final

import numpy as np


def raised_cosines(count: int, length: int, offset: float = 2.0) -> np.ndarray:
    """Bumps on a logarithmic axis of lags 1 to `length`, narrow for short lags: a basis of shape (length, count).

    Pillow, Shlens, Paninski, Sher, Litke, Chichilnisky & Simoncelli (2008), Nature 454:995, doi:10.1038/nature07140.
    """
    x = np.log(np.arange(1, length + 1) + offset)
    centres = np.linspace(x[0], x[-1], count + 2)[:count]  # the last bump ends at the last lag
    angle = (x[:, None] - centres) * np.pi / (2 * (centres[1] - centres[0]))
    return 0.5 * (1 + np.cos(np.clip(angle, -np.pi, np.pi)))


@final
@dataclasses.dataclass(frozen=True, eq=False)
class GLM:
    """A fitted GLM: see `fit_glm`.

    - `constant`: log-odds of a spike where all features are at their training mean.
    - `weights`, `mean`, `scale`: of the features, shape (features,); features are standardised before weighting.
    - `stimulus_basis`, `history_basis`: shapes (lags, functions).
    """

    constant: float
    weights: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    stimulus_basis: np.ndarray
    history_basis: np.ndarray

    @property
    def parameters(self) -> int:
        """The number of fitted parameters."""
        return 1 + len(self.weights)

    def probability(self, stimulus: np.ndarray, fired: np.ndarray) -> np.ndarray:
        """The probability of a spike in each bin, given the stimulus up to it and the spikes before it."""
        z = (_features(stimulus, fired, self.stimulus_basis, self.history_basis) - self.mean) / self.scale
        return _sigmoid(self.constant + z @ self.weights)


def fit_glm(
    stimulus: np.ndarray,
    fired: np.ndarray,
    *,
    stimulus_lags: int = 30,
    stimulus_functions: int = 12,
    history_lags: int = 60,
    history_functions: int = 10,
    ridge: float = 1.0,
    train: int | None = None,
) -> GLM:
    """A logistic regression of spikes on stimulus, squared stimulus and spike history.

        logit P(spike in bin t) = c + sum_i k1(i) s(t - i) + k2(i) s(t - i)² + sum_(i > 0) h(i) y(t - i)

    The filters are sums of raised cosines on a logarithmic axis; a ridge keeps the weights of standardised features
    small. Newton's method, a dozen steps.

    **Arguments:**

    - `stimulus`: shape (bins,), about its mean: the square is taken as it is.
    - `fired`: shape (bins,), nonzero in bins with a spike.
    - `stimulus_lags`, `stimulus_functions`: bins and basis functions of k1 and of k2, default 30 and 12; the lags
      begin with the bin itself.
    - `history_lags`, `history_functions`: those of h, default 60 and 10; the lags begin with the bin before.
    - `ridge`: half of it times the sum of squared weights is added to the negative log-likelihood, default 1.
    - `train`: fit to so many bins from the start; default all.

    **Returns:** a `GLM`.

    **Raises:** `ValueError` if stimulus and spikes differ in shape, or there is no spike or no bin without one to fit.

    ```python
    >>> import brainsim as bs, numpy as np
    >>> from brainsim.fitting._glm import fit_glm
    >>> rng = np.random.default_rng(0)
    >>> s = rng.normal(size=20000)
    >>> fired = rng.random(20000) < 1 / (1 + np.exp(3 - np.append(0, s[:-1])))  # follows the bin before
    >>> glm = fit_glm(s, fired)
    >>> bool(np.corrcoef(glm.probability(s, fired)[1:], s[:-1])[0, 1] > 0.8)
    True

    ```

    Truccolo, Eden, Fellows, Donoghue & Brown (2005), Journal of Neurophysiology 93:1074, doi:10.1152/jn.00697.2004;
    Pillow et al. (2008), Nature 454:995, doi:10.1038/nature07140.
    """
    stimulus, fired = np.asarray(stimulus, float), np.asarray(fired) != 0
    if stimulus.shape != fired.shape or stimulus.ndim != 1:
        raise ValueError(f"stimulus and spikes must have one shape (bins,), got {stimulus.shape} and {fired.shape}")
    bases = raised_cosines(stimulus_functions, stimulus_lags), raised_cosines(history_functions, history_lags)
    x, y = _features(stimulus, fired, *bases)[:train], fired[:train].astype(float)
    if not 0 < y.mean() < 1:
        raise ValueError(f"a GLM needs bins with and without a spike, got {int(y.sum())} spikes in {len(y)} bins")
    mean, scale = x.mean(0), np.maximum(x.std(0), 1e-12)
    z = np.column_stack([np.ones(len(x)), (x - mean) / scale])
    penalty = np.diag(np.r_[0.0, np.full(x.shape[1], ridge)])
    w = np.r_[np.log(y.mean() / (1 - y.mean())), np.zeros(x.shape[1])]
    cost = lambda w: np.logaddexp(0, z @ w).sum() - y @ z @ w + 0.5 * w @ penalty @ w
    now = cost(w)
    for _ in range(100):
        p = _sigmoid(z @ w)
        step = np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z + penalty, z.T @ (p - y) + penalty @ w)
        while (new := cost(w - step)) > now + 1e-9 * abs(now):  # Newton overshoots where the data are separable
            step = step / 2
        w, now = w - step, new
        if np.abs(step).max() < 1e-8:
            break
    return GLM(float(w[0]), w[1:], mean, scale, *bases)


def _features(stimulus: np.ndarray, fired: np.ndarray, basis: np.ndarray, history: np.ndarray) -> np.ndarray:
    """Stimulus, its square and past spikes, filtered causally by each basis function: shape (bins, features)."""
    n = len(stimulus)
    now = lambda x, b: np.convolve(x, b)[:n]
    past = lambda x, b: np.append(0.0, now(x, b)[:-1])
    columns = [now(x, b) for x in (stimulus, stimulus**2) for b in basis.T]
    return np.column_stack(columns + [past(fired.astype(float), b) for b in history.T])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
