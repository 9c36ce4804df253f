"""Does brainsim's COBA network do what NEST's and Brian2's do? Rates and irregularity over seeds, as one line of JSON.

    python benchmarks/coba_rates.py --seeds 24

The reference is nine runs of NEST and Brian2 (mean and standard deviation over runs); every seed draws another network.
"""

import argparse
import json
import statistics
import sys

from _brainsim import drive, network, recorded, statistics as statistics_of
from _models import MODELS

COBA = MODELS["coba"]
DURATION = 1000.0  # ms

REFERENCE = dict(rate_e_hz=(21.4, 0.9), rate_i_hz=(21.2, 0.4), cv_isi_e=(1.63, 0.05))


def measure(seed: int) -> dict:
    """One second of the network drawn with `seed`."""
    import jax

    import brainsim as bs

    record = dict(spikes=recorded(["E", "I"], COBA.neurons, DURATION))
    inputs = drive(COBA, ["E", "I"], seed)
    run = bs.simulate(network(COBA, seed), DURATION, COBA.dt, inputs, record, key=jax.random.key(seed))
    found = statistics_of(COBA, run.spikes, DURATION)
    return dict(rate_e_hz=found["E"]["rate_hz"], rate_i_hz=found["I"]["rate_hz"], cv_isi_e=found["E"]["cv_isi"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=24, help="how many (default 24)")
    args = parser.parse_args()
    runs = []
    for seed in range(1, args.seeds + 1):
        runs.append(measure(seed))
        print(f"seed {seed}: {runs[-1]}", file=sys.stderr, flush=True)
    mean = {name: round(statistics.mean(r[name] for r in runs), 3) for name in REFERENCE}
    sd = {name: round(statistics.stdev(r[name] for r in runs), 3) if len(runs) > 1 else None for name in REFERENCE}
    within = {name: abs(mean[name] - target) <= spread for name, (target, spread) in REFERENCE.items()}
    print(json.dumps(dict(benchmark="coba_rates", mean=mean, sd=sd, reference=REFERENCE, within=within, runs=runs)))
    sys.exit(0 if all(within.values()) else 1)


if __name__ == "__main__":
    main()
