"""The microcircuit in NEST: the worker of `microcircuit.py`, which see. Built as NEST's own example of it is."""

import json
import os
import sys

import _worker


def main() -> None:
    args = _worker.microcircuit_arguments(__doc__)
    os.sched_setaffinity(0, args.cores)
    plain = json.loads(sys.stdin.readline())

    import nest  # pyright: ignore[reportMissingImports]
    import numpy as np
    from microcircuit import peak_memory_gb

    nest.set_verbosity("M_ERROR")
    nest.set(resolution=0.1, local_num_threads=len(args.cores), rng_seed=args.seed)
    random = nest.random

    with _worker.measured() as build:
        cells, recorders = [], {}
        for i, (name, n) in enumerate(zip(plain["populations"], plain["sizes"], strict=True)):
            group = nest.Create("iaf_psc_exp", n, dict(plain["neuron"], I_e=plain["current"][i]))
            group.V_m = random.normal(plain["start_mean"][i], plain["start_sd"][i])
            recorders[name] = nest.Create("spike_recorder")
            nest.Connect(group, recorders[name])
            drive = nest.Create("poisson_generator", params=dict(rate=plain["drive_hz"][i]))
            nest.Connect(drive, group, syn_spec=dict(weight=plain["drive_weight"], delay=1.5))
            cells.append(group)
        for i, post in enumerate(cells):
            for j, pre in enumerate(cells):
                if not plain["synapses"][i][j]:
                    continue
                w, d = plain["weights"][i][j], plain["delays"][j]
                normal = random.normal(w, abs(w) * plain["weight_sd"])
                low, high = (0.0, 1e9) if w > 0 else (-1e9, 0.0)
                weight = nest.math.redraw(normal, min=low, max=high)
                delay = nest.math.redraw(random.normal(d, d * plain["delay_sd"]), min=0.05, max=1e9)
                rule = dict(rule="fixed_total_number", N=plain["synapses"][i][j])
                nest.Connect(pre, post, rule, dict(weight=weight, delay=delay))
        nest.Prepare()
    counts: dict[str, int] = {}

    def run() -> dict:
        before = {name: r.n_events for name, r in recorders.items()}
        with _worker.measured() as took:
            nest.Run(args.duration)
        counts.update({name: r.n_events - before[name] for name, r in recorders.items()})
        return took

    nest.Run(args.warmup)

    def statistics() -> dict:
        sizes = zip(plain["populations"], plain["sizes"], strict=True)
        rates = {name: round(counts[name] / n / args.duration * 1e3, 3) for name, n in sizes}
        return dict(rates_hz=rates, peak_memory_gb=peak_memory_gb())

    versions = dict(nest=nest.__version__, numpy=np.__version__)
    _worker.serve(dict(versions=versions, threads=len(args.cores), **_worker.phases(build=build)), run, statistics)


if __name__ == "__main__":
    main()
