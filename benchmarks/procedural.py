"""A million neurons whose synapses are not stored: memory of the whole process, and time per synaptic event.

    python benchmarks/procedural.py [--neurons 1000000] [--synapses 100] [--rule out-degree] [--weight normal]

Leaky integrate-and-fire neurons at a few Hz, driven by currents that differ from neuron to neuron. All times are
processor times. `ns_per_event` is that of the product alone: with as many random spikes as there are in 10 steps of the
run, less the time without spikes. The last line is JSON.
"""

import argparse
import json
import platform
import resource
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import brainsim as bs

DT = 0.1


def network(neurons: int, synapses: int, rule: str, weight: str, connected: bool) -> bs.Network:
    w = bs.Normal(0.2, 0.02) if weight == "normal" else 0.2
    rules = dict(
        probability=lambda: bs.FixedProbability(synapses / neurons, weight=w),
        outdegree=lambda: bs.FixedOutDegree(synapses, weight=w),
        indegree=lambda: bs.FixedInDegree(synapses, weight=w, multapses=True),
    )
    cells = bs.Population(
        neurons,
        bs.LIF(tau=20.0, t_ref=5.0),
        dict(exc=bs.ExpCurrent(tau=5.0)),
        initial=dict(v=lambda key, n: jax.random.uniform(key, (n,), minval=-70.0, maxval=-55.0)),
    )
    projection = bs.Projection("E", "E.exc", bs.Procedural(rules[rule.replace("-", "")]()), delay=1.5)
    return bs.Network(dict(E=cells), [projection] if connected else [], key=jax.random.key(0))


def timed(net: bs.Network, current: Any, duration: float, repeats: int) -> tuple[float, float]:
    """Least processor seconds of some runs after the first, and the number of spikes."""
    spiked = lambda s: jnp.sum(s.populations["E"].refractory == 50)  # those that have all of 5 ms before them
    spent = []
    for _ in range(repeats + 1):
        start = time.process_time()
        run = bs.simulate(net, duration, DT, inputs=dict(E=current), record=dict(n=spiked), key=jax.random.key(1))
        spikes = float(run["n"].sum())
        spent.append(time.process_time() - start)
    return min(spent[1:]), spikes


def per_event(connect: Any, rate_hz: float, synapses: int) -> float:
    """Nanoseconds per synaptic event of the product alone."""
    spiking = max(1, round(connect.n_pre * rate_hz * 1e-3 * DT * 10))
    spikes = np.zeros(connect.n_pre, np.float32)
    spikes[np.random.default_rng(1).choice(connect.n_pre, spiking, replace=False)] = 1
    product, least = jax.jit(lambda c, x: c(x)), []
    for x in (jnp.asarray(spikes), jnp.zeros(connect.n_pre)):
        product(connect, x).block_until_ready()
        spent = []
        for _ in range(20):
            start = time.process_time()
            product(connect, x).block_until_ready()
            spent.append(time.process_time() - start)
        least.append(min(spent))
    return (least[0] - least[1]) / (spiking * synapses) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--neurons", type=int, default=1_000_000)
    parser.add_argument("--synapses", type=int, default=100)
    parser.add_argument("--rule", default="probability", choices=["probability", "out-degree", "in-degree"])
    parser.add_argument("--weight", default="one", choices=["one", "normal"])
    parser.add_argument("--duration", type=float, default=100.0)
    parser.add_argument("--repeats", type=int, default=2)
    a = parser.parse_args()
    current = jnp.asarray(np.random.default_rng(0).normal(160.0, 80.0, a.neurons), jnp.float32)
    start = time.perf_counter()
    net = network(a.neurons, a.synapses, a.rule, a.weight, True)
    build = time.perf_counter() - start
    without, _ = timed(network(a.neurons, a.synapses, a.rule, a.weight, False), current, a.duration, a.repeats)
    spent, spikes = timed(net, current, a.duration, a.repeats)
    rate = spikes / a.neurons / a.duration * 1000
    connect = net.projections["E->E.exc"].connect
    result = dict(
        benchmark="procedural",
        machine=f"{platform.processor() or platform.machine()}, {platform.system()}",
        versions={m.__name__: m.__version__ for m in (jax, np)},
        neurons=a.neurons, synapses=a.neurons * a.synapses, rule=a.rule, weight=a.weight, duration_ms=a.duration,
        build_s=round(build, 3), run_s=round(spent, 3), run_without_synapses_s=round(without, 3),
        rate_hz=round(rate, 3), ns_per_event=round(per_event(connect, rate, a.synapses), 2),
        peak_memory_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
    )  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
