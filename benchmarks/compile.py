"""What a user waits for before the first result: import, wiring, compilation; each in a new process, on one core.

    python benchmarks/compile.py
    python benchmarks/compile.py --runs 1 --peers none

For COBA with 4,000 neurons beside the other simulators, and for eight populations with 64 projections (`layers`). The
first call traces, compiles and runs 100 ms; the second runs them only; `compile_s` is the difference. Brian2's compiler
runs while it builds. Processor times, which a busy machine disturbs less, have names with `processor`.
"""

import statistics

from _report import common_arguments, finish, nested, rounded, say
from _run import PEERS, Entrant, Worker

ENTRANTS = {
    "coba": [
        Entrant("brainsim", "exponential_euler", "float32"),
        Entrant("brian2", "exponential_euler", "float64"),
        Entrant("brainpy", "exponential_euler", "float32"),
        Entrant("nest", "rkf45", "float64"),
    ],
    "layers": [Entrant("brainsim", "exact", "float32")],
}


def measure(entrant: Entrant, network: str, core: int) -> dict[str, float]:
    """Seconds of each phase of one new process."""
    worker = Worker(entrant, [f"--network={network}", "--neurons=4000", f"--core={core}", "--duration=100"])
    took = {k: v for k, v in worker.about.items() if k.endswith("_s")}
    second = worker.ask("run")
    worker.close()
    took |= dict(second_s=second["seconds"], second_processor_s=second["processor_seconds"])
    if "first_s" in took and entrant.simulator != "brian2":  # which compiles when it builds
        took["compile_s"] = took["first_s"] - took["second_s"]
        took["compile_processor_s"] = took["first_processor_s"] - took["second_processor_s"]
    versions[entrant.simulator] = worker.about["versions"]
    return took


versions: dict[str, dict] = {}


def main() -> None:
    parser = common_arguments(__doc__, runs=3)
    parser.add_argument("--peers", nargs="+", default=["all"], choices=["all", "none", *PEERS])
    parser.add_argument("--networks", nargs="+", default=list(ENTRANTS), choices=list(ENTRANTS))
    args = parser.parse_args()
    wanted = {"brainsim"} | (set(PEERS) if "all" in args.peers else set(args.peers))
    rows = []
    for network in args.networks:
        for entrant in ENTRANTS[network]:
            if entrant.simulator in wanted:
                runs = [measure(entrant, network, args.core) for _ in range(args.runs)]
                for phase in runs[0]:
                    value = rounded(statistics.median(run[phase] for run in runs))
                    say(f"{network:8s} {entrant.simulator:10s} {phase:22s} {value:8.3g} s")
                    rows.append(((network, entrant.simulator, phase), value))
    finish(dict(benchmark="compile", median_s=nested(rows), versions=versions), args.save, args.core)


if __name__ == "__main__":
    main()
