"""The benchmarks of whole networks: the same network in several simulators, which take turns on one core."""

import json
import subprocess
import sys
import time
from typing import Any, NamedTuple

from _models import MODELS
from _peers import REQUIREMENTS, python_of
from _report import HERE, common_arguments, finish, interleaved, median, nested, rounded, say

PEERS = tuple(REQUIREMENTS)


class Entrant(NamedTuple):
    """One simulator with one method."""

    simulator: str
    method: str
    dtype: str


class Worker:
    """An entrant in a process of its own (see `_worker.py`), with the network in one size; ready when this returns."""

    def __init__(self, entrant: Entrant, arguments: list[str]):
        self.entrant = entrant
        self.processor_seconds: list[float] = []
        simulator, method, dtype = entrant
        self.name = f"{simulator} {method} {dtype}"
        say(f"building {self.name}: {' '.join(arguments)}")
        start = time.perf_counter()
        python = sys.executable if simulator == "brainsim" else python_of(simulator)
        command = [python, str(HERE / f"_{simulator}.py"), "--method", method, "--dtype", dtype, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE)
        self.about = self._answer()
        say(f"  ready after {time.perf_counter() - start:.1f} s")

    def ask(self, request: str) -> dict:
        print(request, file=self.process.stdin, flush=True)
        return self._answer()

    def run(self) -> float:
        took = self.ask("run")
        self.processor_seconds.append(took["processor_seconds"])
        return took["seconds"]

    def _answer(self) -> dict:
        for line in self.process.stdout or ():  # libraries may print; answers are JSON objects
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.name} stopped with exit code {self.process.wait()}; see above")

    def close(self) -> None:
        self.process.communicate()


def network_benchmark(network: str, description: str | None, entrants: list[Entrant], sizes: dict[int, float]) -> None:
    """The main function of a benchmark.

    **Arguments:**

    - `network`: a name in `_models.MODELS`.
    - `entrants`: who can take part, first brainsim with the method that ratios refer to.
    - `sizes`: numbers of neurons, and the duration of a run with so many in ms.
    """
    parser = common_arguments(description)
    parser.add_argument("--sizes", type=int, nargs="+", default=[next(iter(sizes))], help=f"neurons, of {list(sizes)}")
    parser.add_argument("--peers", nargs="+", default=["all"], choices=["all", "none", *PEERS])
    parser.add_argument("--methods", nargs="+", help="only these methods (default: all)")
    parser.add_argument("--duration", type=float, help="ms, for all sizes")
    parser.add_argument("--budget", type=float, default=60.0, help="s for the runs of one simulator (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    wanted = {"brainsim"} | (set(PEERS) if "all" in args.peers else set(args.peers))
    taking_part = [e for e in entrants if e.simulator in wanted and (args.methods is None or e.method in args.methods)]

    rows: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    versions: dict[str, dict] = {}
    networks = {}
    for size in args.sizes:
        model = MODELS[network].scaled(size)
        duration = args.duration or sizes.get(size, 1000.0)
        networks[str(size)] = dict(neurons=model.neurons, duration_ms=duration, dt_ms=model.dt)
        common = dict(network=network, neurons=size, core=args.core, seed=args.seed, duration=duration)
        workers = [Worker(e, [f"--{k}={v}" for k, v in common.items()]) for e in taking_part]
        seconds = interleaved(args.runs, {w.name: w.run for w in workers}, args.budget)
        ours = {w.entrant.method: median(seconds[w.name]) for w in workers if w.entrant.simulator == "brainsim"}
        reference = next(iter(ours.values()), None)
        processor = {w.name: median(w.processor_seconds[-len(seconds[w.name]) :]) for w in workers}
        our_processor = next((processor[w.name] for w in workers if w.entrant.simulator == "brainsim"), None)
        for w in workers:
            path = (w.entrant.simulator, f"{w.entrant.method} {w.entrant.dtype}", str(size))
            took, found = median(seconds[w.name]), w.ask("statistics")
            same = ours.get(w.entrant.method)
            peer = w.entrant.simulator != "brainsim"
            values = dict(
                median_s=took,
                minimum_s=rounded(min(seconds[w.name])),
                processor_s=processor[w.name],
                ratio=rounded(took / reference) if peer and reference else None,
                ratio_same_method=rounded(took / same) if peer and same else None,
                processor_ratio=rounded(processor[w.name] / our_processor) if peer and our_processor else None,
                runs=len(seconds[w.name]),
                rates_hz={p: found[p]["rate_hz"] for p in found},
                cv_isi={p: found[p]["cv_isi"] for p in found},
                about={k: v for k, v in w.about.items() if k != "versions"},
            )
            for name, value in values.items():
                rows.setdefault(name, []).append((path, value))
            versions[w.entrant.simulator] = w.about["versions"]
            say(f"{w.name:44s} {took:8.4g} s  ratio {values['ratio'] or 1}  {values['rates_hz']}  {values['cv_isi']}")
            w.close()
    report = dict(benchmark=network, network=networks, **{name: nested(values) for name, values in rows.items()})
    report["statistics"] = dict(rates_hz=report.pop("rates_hz"), cv_isi=report.pop("cv_isi"))
    finish(dict(report, versions=versions), args.save, args.core)
