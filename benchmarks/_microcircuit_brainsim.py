"""The microcircuit in brainsim: the worker of `microcircuit.py`, which see."""

import os
import sys
from typing import Any

import _worker


def main() -> None:
    args = _worker.microcircuit_arguments(__doc__)
    os.sched_setaffinity(0, args.cores)  # before JAX, which starts as many threads as it finds cores
    sys.stdin.readline()  # the network in plain numbers: brainsim has its own

    import jax
    import numpy as np
    from microcircuit import peak_memory_gb

    import brainsim as bs

    with _worker.measured() as build:
        net, inputs = bs.networks.microcircuit(args.scale, key=jax.random.key(args.seed))
        jax.block_until_ready(net)
    room = {name: max(1000, round(n * 15e-3 * args.duration)) for name, n in net.sizes.items()}  # for 15 Hz
    record = {name: bs.Record([name], events=events) for name, events in room.items()}
    last: dict[str, Any] = {}

    def simulate(duration: float) -> Any:
        state: dict[str, Any] = dict(state=last["run"].state) if "run" in last else dict(key=jax.random.key(args.seed))
        return jax.block_until_ready(bs.simulate(net, duration, 0.1, inputs, record, **state))

    def run() -> dict:
        with _worker.measured() as took:
            last["run"] = simulate(args.duration)
        return took

    with _worker.measured() as first:
        last["run"] = simulate(args.warmup)

    def statistics() -> dict:
        counts = {name: len(last["run"][name][name].numpy()[0]) for name in net.sizes}
        rates = {name: round(counts[name] / n / args.duration * 1e3, 3) for name, n in net.sizes.items()}
        return dict(rates_hz=rates, peak_memory_gb=peak_memory_gb())

    arrays = [x for bundle in net.bundles.values() for x in jax.tree.leaves(bundle) if hasattr(x, "nbytes")]
    synapses = sum(bundle.indices.size for bundle in net.bundles.values())
    versions = dict(brainsim=bs.__version__, jax=jax.__version__, numpy=np.__version__)
    about = dict(
        versions=versions,
        kernels=bs.ops.backend(),
        bytes_per_synapse=round(sum(x.nbytes for x in arrays) / synapses, 2),
        **_worker.phases(build=build, first=first),
    )
    _worker.serve(about, run, statistics)


if __name__ == "__main__":
    main()
