"""The cortical microcircuit of Potjans & Diesmann (2014) at any scale: brainsim, and NEST beside it.

    python benchmarks/microcircuit.py --scale 0.1
    python benchmarks/microcircuit.py --scale 0.2 --peers nest --runs 3
    python benchmarks/microcircuit.py --scale 1                             # 77,169 neurons, 299 million synapses

Half a second of warm-up, then runs of one second that go on where the last one ended, on all cores that are given.
Every spike is recorded. Memory is the highest of the whole process, drawing the network included.
"""

import json
import resource
import subprocess
import sys
import time
from typing import Any

from _peers import python_of
from _report import HERE, common_arguments, cores, finish, interleaved, median, rounded, say


class Worker:
    """One simulator in a process of its own, with its network built; answers as `_worker.py` says."""

    def __init__(self, simulator: str, arguments: list[str], numbers: str):
        say(f"building in {simulator}: {' '.join(arguments)}")
        start = time.perf_counter()
        python = sys.executable if simulator == "brainsim" else python_of(simulator)
        command = [python, str(HERE / f"_microcircuit_{simulator}.py"), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE)
        self.about = self.ask(numbers)
        say(f"  ready after {time.perf_counter() - start:.1f} s")

    def ask(self, request: str) -> dict:
        print(request, file=self.process.stdin, flush=True)
        for line in self.process.stdout or ():  # libraries may print; answers are JSON objects
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.process.args} stopped with exit code {self.process.wait()}; see above")

    def run(self) -> float:
        return self.ask("run")["seconds"]

    def close(self) -> None:
        self.process.communicate()


def numbers(scale: float) -> dict[str, Any]:
    """The network in plain numbers, for simulators that do not know brainsim's."""
    import math

    from brainsim.networks import _microcircuit as m

    root = math.sqrt(scale)
    return dict(
        populations=m.POPULATIONS,
        sizes=[max(1, round(n * scale)) for n in m.SIZES],
        synapses=[[round(n * scale * scale) for n in row] for row in m.synapse_numbers().tolist()],
        weights=(m.mean_weights() / root).tolist(),
        weight_sd=m.WEIGHT_SD,
        delays=[m.DELAY_E if name.endswith("E") else m.DELAY_I for name in m.POPULATIONS],
        delay_sd=m.DELAY_SD,
        current=m.direct_current(scale, "poisson").tolist(),
        drive_hz=[m.EXTERNAL_RATE * k * scale for k in m.EXTERNAL],
        drive_weight=m.psc() / root,
        start_mean=m.START_MEAN,
        start_sd=m.START_SD,
        neuron=dict(C_m=m.C, tau_m=m.TAU, tau_syn_ex=m.TAU_SYN, tau_syn_in=m.TAU_SYN, t_ref=2.0, E_L=-65.0,
                    V_reset=-65.0, V_th=-50.0),
    )  # fmt: skip


def main() -> None:
    parser = common_arguments(__doc__, runs=3)
    parser.add_argument("--scale", type=float, default=0.1, help="of neurons and synapses per neuron (default 0.1)")
    parser.add_argument("--peers", nargs="+", default=["none"], choices=["none", "nest"])
    parser.add_argument("--cores", type=int, nargs="+", default=cores(), help="cores to run on (default: all)")
    parser.add_argument("--duration", type=float, default=1000.0, help="ms of a run (default 1000)")
    parser.add_argument("--warmup", type=float, default=500.0, help="ms before the first (default 500)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    arguments = [
        *("--cores", *map(str, args.cores)),
        *("--scale", str(args.scale), "--duration", str(args.duration), "--warmup", str(args.warmup)),
        *("--seed", str(args.seed)),
    ]
    plain = numbers(args.scale)
    names = ["brainsim", *(p for p in args.peers if p != "none")]
    workers = {name: Worker(name, arguments, json.dumps(plain)) for name in names}
    seconds = interleaved(args.runs, {name: w.run for name, w in workers.items()}, budget=600.0)
    found = {name: w.ask("statistics") for name, w in workers.items()}
    for worker in workers.values():
        worker.close()
    per_second = {name: median(s) / args.duration * 1e3 for name, s in seconds.items()}
    synapses = sum(map(sum, plain["synapses"]))
    finish(
        dict(
            benchmark="microcircuit",
            network=dict(scale=args.scale, neurons=sum(plain["sizes"]), synapses=synapses),
            median_s={name: median(s) for name, s in seconds.items()},
            seconds_per_second={name: rounded(x) for name, x in per_second.items()},
            ratio={name: rounded(x / per_second["brainsim"]) for name, x in per_second.items() if name != "brainsim"},
            build_s={name: w.about["build_s"] for name, w in workers.items()},
            peak_memory_gb={name: found[name]["peak_memory_gb"] for name in names},
            bytes_per_synapse={name: w.about.get("bytes_per_synapse") for name, w in workers.items()},
            statistics=dict(rates_hz={name: found[name]["rates_hz"] for name in names}),
            cores=args.cores,
            versions={name: w.about["versions"] for name, w in workers.items()},
            about={name: {k: v for k, v in w.about.items() if k != "versions"} for name, w in workers.items()},
        ),
        args.save,
    )


def peak_memory_gb() -> float:
    """The highest memory of this process so far, in units of 10^9 bytes."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return rounded(size * (1 if sys.platform == "darwin" else 1024) / 1e9)


if __name__ == "__main__":
    main()
