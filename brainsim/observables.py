"""Statistics of spike trains and traces: arrays in, arrays out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from ._clock import LAST, label
from ._quantity import numbers, shown
from ._spikes import Spikes, counts
from ._typing import number, whole_number


def spike_times(spikes: ArrayLike | Spikes, dt: float | None = None, start: float = 0.0) -> list[np.ndarray]:
    """The spike times of each neuron: the end of each step in which it spiked.

    **Arguments:**

    - `spikes`: raster, shape (steps, n), nonzero where a neuron spiked; or `brainsim.Spikes`, which know their times.
    - `dt`: time step of a raster, ms.
    - `start`: time at which a raster begins, default 0 ms.

    **Returns:** one array of times (ms) for each of the n neurons.

    **Raises:** `ValueError` for a raster without `dt`, and for a list that had too little room.

    ```python
    >>> import brainsim as bs, numpy as np
    >>> bs.spike_times(np.eye(3)[:, :2], dt=0.1)
    [array([0.1]), array([0.2])]

    ```
    """
    if isinstance(spikes, Spikes):
        n, (times, neurons) = spikes.n, spikes.numpy()
    else:
        raster, dt, start = np.asarray(_raster(spikes)), _needed(dt), number(start, "start", unit="ms")
        n, (steps, neurons) = raster.shape[1], np.nonzero(raster)
        if not abs(start) <= LAST * dt:
            raise ValueError(f"start must be within {LAST:,} steps of 0, got {start:g} ms with dt = {dt:g} ms")
        before = round(float(start) / dt)  # the number of steps, if they are whole ones
        times = label(before + steps + 1, dt) if label(before, dt) == start else start + label(steps + 1, dt)
    order = np.argsort(neurons, kind="stable")
    return np.split(times[order], np.cumsum(np.bincount(neurons, minlength=n))[:-1])


def rate(spikes: Float[Array, "steps n"] | Spikes, dt: float | None = None) -> Float[Array, " n"]:
    """The mean firing rate of each neuron in Hz: spikes per second. Of a raster, differentiable.

    **Arguments:**

    - `spikes`: raster, shape (steps, n); or `brainsim.Spikes`. The rates of a list that had too little room are NaN.
    - `dt`: time step of a raster, ms.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> bs.rate(jnp.ones((10, 2)).at[:5].set(0.0), dt=1.0).tolist()
    [500.0, 500.0]

    ```
    """
    if isinstance(spikes, Spikes):
        return counts(spikes) / (spikes.length * spikes.dt * 1e-3)
    raster, dt = jnp.asarray(_raster(spikes)), _needed(dt)
    floating = jnp.issubdtype(raster.dtype, jnp.floating)
    total = raster.sum(0, dtype=jnp.result_type(float)) if floating else _sum_of_rows(raster)
    return total / (raster.shape[0] * dt * 1e-3)


@jax.jit
def _sum_of_rows(raster: Shaped[Array, "steps n"]) -> Float[Array, " n"]:
    """The sum over steps. XLA's own sum of whole numbers and truth values takes up to 20 times as long on a CPU."""
    dtype = jnp.result_type(float)
    add = lambda total, row: (total + row.astype(dtype), None)
    loop = lambda x: jax.lax.scan(add, jnp.zeros_like(x, dtype, shape=x.shape[1:]), x)[0]
    return jax.lax.platform_dependent(raster, cpu=loop, default=lambda x: x.sum(0, dtype=dtype))


def _needed(dt: Any) -> float:
    if dt is None:
        raise ValueError("a raster does not know its time step: give dt, in ms")
    return number(dt, "dt", unit="ms", domain="(0, inf)")


def _raster(spikes: Any) -> Any:
    try:
        raster = spikes if hasattr(spikes, "dtype") else np.asarray(numbers(spikes))
    except (TypeError, ValueError):
        raster = np.zeros(())
    if raster.ndim != 2 or jnp.dtype(raster.dtype).kind in "USOc":
        raise ValueError(f"need a raster, of shape (steps, n), or spike times; got {shown(spikes)}")
    return raster


def cv_isi(
    spikes: ArrayLike | Spikes | list[np.ndarray],
    dt: float | None = None,
    start: float | None = None,
    minimum: int = 5,
) -> float:
    """The coefficient of variation (sd / mean) of interspike intervals, averaged over neurons.

    **Arguments:**

    - `spikes`: raster, shape (steps, n); `brainsim.Spikes`; or a list with the spike times of each neuron, ms.
    - `dt`: time step of a raster, ms. A list of times needs none: there the second argument is `start`.
    - `start`: leave out spikes before this time, default 0 ms.
    - `minimum`: leave out neurons with fewer intervals, default 5.

    **Returns:** the mean over neurons; NaN if none has enough intervals.

    **Raises:** `ValueError` for a raster without `dt` and for arrays that are no raster.

    ```python
    >>> import brainsim as bs, numpy as np
    >>> bs.cv_isi([np.arange(10.0)])
    0.0
    >>> bs.cv_isi(np.ones((10, 1)), dt=0.1) < 1e-9
    True

    ```
    """
    if isinstance(spikes, list | tuple):
        if dt is not None and start is not None:
            raise ValueError("a list of spike times needs no dt; for a raster give one array, of shape (steps, n)")
        times, start = [_times(t) for t in spikes], dt if start is None else start
    else:
        times = spike_times(spikes, dt)  # pyright: ignore[reportArgumentType] (no list is left)
    first = 0.0 if start is None else number(start, "start", unit="ms")
    minimum = whole_number(minimum, "minimum", least=1)
    intervals = [np.diff(t[t >= first]) for t in times]
    values = [i.std() / i.mean() for i in intervals if len(i) >= minimum]
    return float(np.mean(values)) if values else float("nan")


def _times(times: Any) -> np.ndarray:
    try:
        found = np.asarray(numbers(times, "ms"), float)
    except (TypeError, ValueError):
        found = np.zeros(())
    if found.ndim != 1:
        raise ValueError(f"a list holds the spike times of each neuron, arrays of one axis; got {shown(times)}")
    return found


def bits_per_spike(probability: ArrayLike, fired: ArrayLike, baseline: float) -> float:
    """How much better than a constant rate a model predicts spikes, bin by bin: log-likelihood in bits per spike.

        (1 / number of spikes) sum over bins of log2 P(bin) / P_0(bin)

    **Arguments:**

    - `probability`: of a spike in each bin, given what came before the bin, shape (bins,).
    - `fired`: nonzero in bins with a spike, shape (bins,).
    - `baseline`: probability of a spike in a bin at the constant rate, that of the training data.

    **Raises:** `ValueError` for shapes that differ, probabilities outside (0, 1), or no spike.

    ```python
    >>> import brainsim as bs
    >>> bs.observables.bits_per_spike([0.1, 0.4, 0.1, 0.1], [0, 1, 0, 0], baseline=0.1).__round__(3)
    2.0

    ```

    Pillow et al. (2008), Nature 454:995, doi:10.1038/nature07140; Paninski, Pillow & Lewi (2007), Progress in Brain
    Research 165:493, doi:10.1016/S0079-6123(06)65031-0.
    """
    return float(bits(probability, fired, baseline).sum() / np.count_nonzero(fired))


def bits(probability: ArrayLike, fired: ArrayLike, baseline: float) -> np.ndarray:
    """The bits that each bin contributes to `bits_per_spike`, before the division by the number of spikes.

    Arguments, errors and sources as there.

    ```python
    >>> import brainsim as bs
    >>> bs.observables.bits([0.2, 0.1], [1, 0], baseline=0.1).tolist()
    [1.0, 0.0]

    ```
    """
    p, fired = np.asarray(probability, float), np.asarray(fired).astype(bool)
    if p.shape != fired.shape or p.ndim != 1 or not fired.any():
        raise ValueError(f"need probabilities and spikes of one shape (bins,), with a spike somewhere; got shapes "
                         f"{p.shape} and {fired.shape} with {np.count_nonzero(fired)} spikes")  # fmt: skip
    if not (((p > 0) & (p < 1)).all() and 0 < baseline < 1):
        raise ValueError(f"probabilities must lie between 0 and 1; got {p.min():g} to {p.max():g} and {baseline:g}")
    return np.where(fired, np.log2(p / baseline), (np.log1p(-p) - np.log1p(-baseline)) / np.log(2))


def rescaled_intervals(probability: ArrayLike, fired: ArrayLike, seed: int = 0) -> np.ndarray:
    """Interspike intervals on the clock of the predicted rate, mapped to (0, 1): uniform if the prediction is right.

        u = 1 - exp(-sum of q from spike to spike),   q = -log(1 - p) in a bin without a spike

    The bin of a spike counts only up to a random time in it, drawn as the prediction has it; then the intervals are
    exactly uniform for bins of any width. Compare with `scipy.stats.kstest(u, "uniform")`, or by eye with the band
    1.36 / sqrt(n) about the diagonal.

    **Arguments:**

    - `probability`: of a spike in each bin, given what came before the bin, shape (bins,).
    - `fired`: nonzero in bins with a spike, shape (bins,).
    - `seed`: of the random times in bins, default 0.

    **Returns:** one number for each interval, shape (spikes - 1,).

    ```python
    >>> import brainsim as bs, numpy as np
    >>> fired = np.random.default_rng(1).random(100_000) < 0.1
    >>> u = bs.observables.rescaled_intervals(np.full(100_000, 0.1), fired)
    >>> np.quantile(u, [0.25, 0.5, 0.75]).round(2).tolist()
    [0.25, 0.5, 0.75]

    ```

    Brown, Barbieri, Ventura, Kass & Frank (2002), Neural Computation 14:325, doi:10.1162/08997660252741149; bins of
    finite width: Haslinger, Pipa & Brown (2010), Neural Computation 22:2477, doi:10.1162/NECO_a_00015.
    """
    p, spikes = np.asarray(probability, float), np.flatnonzero(fired)
    upto = np.append(0.0, np.cumsum(-np.log1p(-p)))  # before each bin
    part = -np.log1p(-np.random.default_rng(seed).random(len(spikes)) * p[spikes])
    return -np.expm1(-(upto[spikes[1:]] + part[1:] - upto[spikes[:-1] + 1]))


def bootstrap_ratio(
    numerator: ArrayLike, denominator: ArrayLike, block: int, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """An interval for sum(numerator) / sum(denominator) of a time series, by resampling blocks of consecutive bins.

    For bits per spike the numerator is `bits(...)`; for the lead of one model over another, the difference of theirs: a
    paired comparison. Blocks have to be longer than the bins remember each other.

    **Arguments:**

    - `numerator`, `denominator`: shape (bins,). An incomplete last block is joined to the one before it.
    - `block`: length of a block in bins.
    - `draws`, `level`, `seed`: of the bootstrap, default 2000, 95 % and 0.

    **Returns:** the lower and upper end of the percentile interval.

    **Raises:** `ValueError` if there are fewer than two blocks.

    ```python
    >>> import brainsim as bs, numpy as np
    >>> x = np.random.default_rng(0).normal(3.0, 1.0, 10_000)
    >>> low, high = bs.observables.bootstrap_ratio(x, np.ones(10_000), block=10)
    >>> bool(2.96 < low < 3.0 < high < 3.04)
    True

    ```

    Künsch (1989), Annals of Statistics 17:1217, doi:10.1214/aos/1176347265; Carlstein (1986), Annals of Statistics
    14:1171, doi:10.1214/aos/1176350057.
    """
    a, b = np.asarray(numerator, float), np.asarray(denominator, float)
    count = len(a) // block
    if count < 2 or a.shape != b.shape:
        raise ValueError(f"need equal shapes and two blocks of {block} bins or more, got {a.shape} and {b.shape}")
    starts = np.arange(count) * block
    a, b = np.add.reduceat(a, starts), np.add.reduceat(b, starts)
    picked = np.random.default_rng(seed).integers(count, size=(draws, count))
    tops, bottoms = a[picked].sum(1), b[picked].sum(1)
    ratios = tops[bottoms > 0] / bottoms[bottoms > 0]
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
