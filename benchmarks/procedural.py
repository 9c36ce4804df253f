"""A million neurons whose synapses are not stored: memory of the whole process, and time per synaptic event.

    python benchmarks/procedural.py [--neurons 1000000] [--synapses 100] [--rule out-degree] [--weight normal]

Leaky integrate-and-fire neurons at a few Hz, driven by currents that differ from neuron to neuron. The time of the
synapses is the difference to the same run without projection, in processor time. The last line is JSON.
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
    result = dict(
        machine=f"{platform.processor() or platform.machine()}, {platform.system()}",
        versions={m.__name__: m.__version__ for m in (jax, np)},
        neurons=a.neurons, synapses=a.neurons * a.synapses, rule=a.rule, weight=a.weight, duration_ms=a.duration,
        build_s=round(build, 3), run_s=round(spent, 3), run_without_synapses_s=round(without, 3),
        rate_hz=round(spikes / a.neurons / a.duration * 1000, 3),
        ns_per_event=round((spent - without) / (spikes * a.synapses) * 1e9, 2),
        peak_memory_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
    )  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
