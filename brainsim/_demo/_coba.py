"""Part 2: the network of Vogels and Abbott (2005) with conductance-based synapses ("COBA"), and its statistics."""

import time
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._network import Network
from .._parameters import with_params
from .._record import Record
from .._simulate import simulate
from ..networks import coba
from ..observables import cv_isi, spike_times
from ..synapses import CSR
from ._bar import Report, silent
from ._results import CobaResult

DT = 0.1  # ms
CURRENT = 200.0  # pA


def network(n_e: int = 3200, n_i: int = 800, *, seed: int = 1) -> Network:
    """The network: each neuron hears 64 excitatory and 16 inhibitory ones on average, whatever the size."""
    return coba(n_e, n_i, current=CURRENT, delay=DT, key=jax.random.key(seed)).network


def with_weights(net: Network, w_exc: Any, w_inh: Any) -> Network:
    """The same network with other weights, nS."""
    weights = dict(EE=w_exc, EI=w_exc, IE=w_inh, II=w_inh)
    return with_params(net, {f"{name}.connect.weight": w for name, w in weights.items()})


def run(net: Network, duration: float) -> dict[str, jax.Array]:
    """Spike rasters of both populations: True where a neuron spiked, shape (steps, n)."""
    result = simulate(
        net,
        duration,
        dt=DT,
        inputs=dict(E=CURRENT, I=CURRENT),
        record=dict(spikes=Record(["E", "I"], dtype=bool)),
        key=jax.random.key(2),
    )
    return result.spikes


def simulate_coba(
    *, n_e: int = 3200, n_i: int = 800, duration: float = 1000.0, repeats: int = 3, progress: Report = silent
) -> CobaResult:
    """Builds, compiles and runs the network; the time of one run is the median of `repeats`."""
    stages = 2 + repeats
    progress(0, stages, "wiring the network")
    t0 = time.perf_counter()
    net = jax.block_until_ready(network(n_e, n_i))
    t1 = time.perf_counter()
    progress(1, stages, "compiling")
    compiled = eqx.filter_jit(lambda net: run(net, duration)).lower(net).compile()
    t2 = time.perf_counter()
    times, spikes = [], {}
    for k in range(repeats):
        progress(2 + k, stages, f"simulating {duration / 1e3:g} s of {n_e + n_i:,} neurons")
        start = time.perf_counter()
        spikes = jax.block_until_ready(compiled(net))
        times.append(time.perf_counter() - start)
    progress(stages, stages, "simulated")
    synapses = sum(p.connect.indices.size for p in net.projections.values() if isinstance(p.connect, CSR))
    return _summary({k: np.asarray(v) for k, v in spikes.items()}, duration, synapses, (t1 - t0, t2 - t1, times))


def _summary(spikes: dict[str, np.ndarray], duration: float, synapses: int, seconds) -> CobaResult:
    build, compilation, runs = seconds
    n_e, n_i = spikes["E"].shape[1], spikes["I"].shape[1]
    both = np.concatenate([spikes["E"], spikes["I"]], axis=1)
    steps, ids = np.nonzero(both)
    width = 5.0 if duration >= 100.0 else duration / 20
    edges = np.arange(0.0, duration + 0.5 * width, width)
    # a spike is stamped with the end of its step; the middle of the step keeps it off the edges of the bins
    rates = lambda n, of: np.histogram((steps[of] + 0.5) * DT, edges)[0] / (n * width * 1e-3)
    late = min(200.0, 0.2 * duration)
    return CobaResult(
        n_e=n_e,
        n_i=n_i,
        synapses=synapses,
        duration=duration,
        dt=DT,
        spike_times=(steps + 1) * DT,
        spike_ids=ids,
        rate_times=0.5 * (edges[1:] + edges[:-1]),
        rate_e=rates(n_e, ids < n_e),
        rate_i=rates(n_i, ids >= n_e),
        rate_e_hz=float(np.mean(spikes["E"].sum(0)) / duration * 1e3),
        rate_i_hz=float(np.mean(spikes["I"].sum(0)) / duration * 1e3),
        cv_isi=cv_isi(spike_times(both, DT), start=late, minimum=5),
        seconds_build=build,
        seconds_compile=compilation,
        seconds_run=float(np.median(runs)),
    )
