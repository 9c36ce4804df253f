"""Part 3: the rate of the network over its excitatory and inhibitory weight, many networks in one vmapped run."""

import time

import jax.numpy as jnp
import numpy as np

from .._network import Network
from ..observables import rate
from ..sweeping import Axis, sweep
from ._bar import Report, silent
from ._coba import DT, run, with_weights
from ._results import SweepResult


def sweep_weights(
    net: Network,
    *,
    points: int = 12,
    duration: float = 200.0,
    skipped: float = 50.0,
    progress: Report = silent,
) -> SweepResult:
    """The mean rate over all neurons from `skipped` to `duration` ms, on a grid of `points` x `points` weights."""

    def mean_rate(w_exc, w_inh):
        spikes = run(with_weights(net, w_exc, w_inh), duration)
        both = jnp.concatenate([spikes["E"], spikes["I"]], axis=1)
        return rate(both[round(skipped / DT) :], DT).mean()

    w_exc = np.linspace(2.0, 7.5, points)  # of 12 points, the ninth is the network of part 2
    w_inh = np.linspace(22.0, 121.0, points)  # and here the sixth
    progress(0, points**2, "compiling")
    start = time.perf_counter()
    data = sweep(
        mean_rate,
        w_exc=Axis(w_exc, "nS", "excitatory weight"),
        w_inh=Axis(w_inh, "nS", "inhibitory weight"),
        chunk=points,
        units=dict(result="Hz"),
        progress=lambda done, total: progress(done, total, f"{done} of {total} networks"),
    )
    seconds = time.perf_counter() - start
    n = sum(net.sizes.values())
    return SweepResult(w_exc, w_inh, data.result.values.astype(float), n, duration, skipped, DT, seconds)
