"""Statistics of spike trains and traces: arrays in, arrays out."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float


def spike_times(spikes: ArrayLike, dt: float, start: float = 0.0) -> list[np.ndarray]:
    """The spike times of each neuron: the end of each step in which it spiked.

    **Arguments:**

    - `spikes`: raster, shape (steps, n), nonzero where a neuron spiked.
    - `dt`: time step, ms.
    - `start`: time at which the raster begins, default 0 ms.

    **Returns:** one array of times (ms) for each of the n neurons.

    ```python
    >>> import brainsim as bs, numpy as np
    >>> bs.spike_times(np.eye(3)[:, :2], dt=0.1)
    [array([0.1]), array([0.2])]

    ```
    """
    spikes = np.asarray(spikes)
    steps, neurons = np.nonzero(spikes)
    # Multiples of dt, rounded to the last digits that mean something: 3 * 0.1 is printed as 0.3.
    times = np.round(start + (steps + 1) * dt, 9)
    order = np.argsort(neurons, kind="stable")
    return np.split(times[order], np.cumsum(np.bincount(neurons, minlength=spikes.shape[1]))[:-1])


def rate(spikes: Float[Array, "steps n"], dt: float) -> Float[Array, " n"]:
    """The mean firing rate of each neuron in Hz: spikes per second of raster. Differentiable.

    **Arguments:**

    - `spikes`: raster, shape (steps, n).
    - `dt`: time step, ms.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> bs.rate(jnp.ones((10, 2)).at[:5].set(0.0), dt=1.0).tolist()
    [500.0, 500.0]

    ```
    """
    spikes = jnp.asarray(spikes)
    counts = spikes.sum(0, dtype=jnp.result_type(float))
    return counts / (spikes.shape[0] * dt * 1e-3)


def cv_isi(times: list[np.ndarray], start: float = 0.0, minimum: int = 5) -> float:
    """The coefficient of variation (sd / mean) of interspike intervals, averaged over neurons.

    **Arguments:**

    - `times`: spike times of each neuron, ms.
    - `start`: leave out spikes before this time, default 0 ms.
    - `minimum`: leave out neurons with fewer intervals, default 5.

    **Returns:** the mean over neurons; NaN if none has enough intervals.

    ```python
    >>> import brainsim as bs, numpy as np
    >>> bs.cv_isi([np.arange(10.0)])
    0.0

    ```
    """
    intervals = [np.diff(t[t >= start]) for t in times]
    values = [i.std() / i.mean() for i in intervals if len(i) >= minimum]
    return float(np.mean(values)) if values else float("nan")
