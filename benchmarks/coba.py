"""COBA, 4,000 neurons for 1 s on one core: brainsim beside Brian2's C++ standalone, in the same run.

    python benchmarks/coba.py                        # all methods, 5 runs each
    python benchmarks/coba.py --methods exponential_euler --runs 9 --core 1

Progress goes to standard error; the last line of standard output is one JSON object. See README.md for what is timed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from _coba import COBA
from _peers import REQUIREMENTS, python_of

HERE = Path(__file__).resolve().parent
BRAINSIM_METHODS = ("exponential_euler", "euler")
BRIAN2_METHODS = ("exponential_euler", "euler", "rk4")


class Worker:
    """One simulator with one method, in a process of its own (see `_worker.py`); ready when this returns."""

    def __init__(self, simulator: str, method: str, dtype: str, python: str, arguments: list[str]):
        self.simulator, self.method = simulator, f"{method} {dtype}"
        self.seconds: list[float] = []
        self.processor_seconds: list[float] = []
        script = HERE / f"coba_{simulator}.py"
        command = [python, str(script), "--method", method, "--dtype", dtype, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE)
        self.about = self._answer()

    def ask(self, request: str) -> dict:
        print(request, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        for line in self.process.stdout or ():  # libraries may print; answers are JSON objects
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.simulator} ({self.method}) stopped with exit code {self.process.wait()}; see above")

    def close(self) -> None:
        self.process.communicate()


def say(*what: object) -> None:
    print(*what, file=sys.stderr, flush=True)


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        fields = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in fields.items()}
        if "model name" in fields:
            return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit that was measured, marked if the working tree differs from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(describe, cwd=HERE, capture_output=True, text=True).stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(BRIAN2_METHODS), choices=BRIAN2_METHODS)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each, after one that is not (default 5)")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core to pin everything to")
    parser.add_argument("--duration", type=float, default=COBA.duration, help="ms (default 1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brainsim-dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--peer-dtype", default="float64", choices=["float32", "float64"], help="default: float64")
    parser.add_argument("--peer-python", help="a Python that has brian2; default: one made in the cache")
    parser.add_argument("--no-peer", action="store_true", help="time brainsim only")
    args = parser.parse_args()
    if args.core not in os.sched_getaffinity(0):
        parser.error(f"core {args.core} is not available; available: {sorted(os.sched_getaffinity(0))}")

    common = ["--core", str(args.core), "--seed", str(args.seed), "--duration", str(args.duration)]
    wanted = [("brainsim", m, args.brainsim_dtype, sys.executable) for m in args.methods if m in BRAINSIM_METHODS]
    if not args.no_peer:
        peer = args.peer_python or python_of("brian2")
        wanted += [("brian2", m, args.peer_dtype, peer) for m in args.methods]

    workers = []
    for simulator, method, dtype, python in wanted:
        say(f"building {simulator}, {method}, {dtype} ...")
        start = time.perf_counter()
        workers.append(Worker(simulator, method, dtype, python, common))
        say(f"  ready after {time.perf_counter() - start:.1f} s")

    # One after the other and over again, so that a machine that slows down slows everyone down.
    for i in range(args.runs + 1):
        for worker in workers:
            took = worker.ask("run")
            say(f"run {i or 'to warm up'}: {worker.simulator:9s} {worker.method:28s} {took['seconds']:.3f} s")
            if i:
                worker.seconds.append(took["seconds"])
                worker.processor_seconds.append(took["processor_seconds"])

    found = {worker: worker.ask("statistics") for worker in workers}
    for worker in workers:
        worker.close()

    names = list(dict.fromkeys(w.simulator for w in workers))

    def table(value: Callable[[Worker], object]) -> dict:
        return {s: {w.method: value(w) for w in workers if w.simulator == s} for s in names}

    median = {w: statistics.median(w.seconds) for w in workers}
    processor = {w: statistics.median(w.processor_seconds) for w in workers}

    def ratios(times: dict[Worker, float]) -> dict[str, float]:
        """Each peer's method over brainsim's same method, or over its exponential Euler if it has not that method."""
        ours = {w.method.split()[0]: t for w, t in times.items() if w.simulator == "brainsim"}
        against = lambda w: ours.get(w.method.split()[0], ours.get("exponential_euler"))
        peers = [(w, t) for w in times if w.simulator != "brainsim" and (t := against(w))]
        return {f"{w.simulator} {w.method}": round(times[w] / t, 3) for w, t in peers}

    ratio = ratios(median)
    report = dict(
        benchmark="coba",
        network=dict(neurons=COBA.n_e + COBA.n_i, p=COBA.p, duration_ms=args.duration, dt_ms=COBA.dt),
        median_s=table(lambda w: round(median[w], 4)),
        ratio=ratio,
        processor_s=table(lambda w: round(processor[w], 4)),
        processor_ratio=ratios(processor),
        seconds=table(lambda w: [round(t, 4) for t in w.seconds]),
        rates_hz=table(lambda w: {p: found[w][p]["rate_hz"] for p in "EI"}),
        cv_isi=table(lambda w: {p: found[w][p]["cv_isi"] for p in "EI"}),
        machine=dict(
            cpu=cpu_model(),
            cores=os.cpu_count(),
            pinned_to=args.core,
            system=platform.platform(),
            load=[round(x, 2) for x in os.getloadavg()],
        ),
        about=table(lambda w: {k: v for k, v in w.about.items() if k != "versions"}),
        versions=dict(python=platform.python_version(), **{w.simulator: w.about["versions"] for w in workers}),
        peer_requirements=dict(brian2=REQUIREMENTS["brian2"]),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        commit=commit(),
    )
    say("")
    for worker in workers:
        against = ratio.get(worker.simulator + " " + worker.method)
        say(f"{worker.simulator:9s} {worker.method:28s} {median[worker]:.3f} s" + (f"  x {against}" if against else ""))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
