"""What every benchmark says about where, when and with what it ran, and how a result becomes one line of JSON."""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def say(*what: object) -> None:
    """Progress, on standard error."""
    print(*what, file=sys.stderr, flush=True)


def common_arguments(description: str | None, runs: int = 5) -> argparse.ArgumentParser:
    """A parser with the arguments that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=runs, help=f"timed runs of each (default {runs})")
    parser.add_argument("--core", type=int, default=max(cores()), choices=cores(), help="the core to pin everything to")
    parser.add_argument("--save", metavar="NAME", help="also write the result to results/NAME.json")
    return parser


def cores() -> list[int]:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        fields = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in fields.items()}
        if "model name" in fields:
            return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"
    return platform.processor() or platform.machine()


def machine(core: int | None = None) -> dict[str, Any]:
    return dict(
        cpu=cpu_model(),
        cores=os.cpu_count(),
        pinned_to=core,
        system=platform.platform(),
        load=[round(x, 2) for x in os.getloadavg()],
    )


def commit() -> str:
    """The commit that was measured, marked if the code of brainsim or of the benchmarks differs from it."""
    git = lambda *command: subprocess.run(["git", *command], cwd=HERE, capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--", "../brainsim", "*.py")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if changed else "")


def nested(rows: Iterable[tuple[tuple[str, ...], Any]]) -> dict:
    """`{a: {b: value}}` from `((a, b), value)`; values that are None are left out."""
    tree: dict = {}
    for path, value in rows:
        if value is not None:
            branch = tree
            for name in path[:-1]:
                branch = branch.setdefault(name, {})
            branch[path[-1]] = value
    return tree


def rounded(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def interleaved(runs: int, work: dict[str, Callable[[], float]], budget: float = 60.0) -> dict[str, list[float]]:
    """Seconds of each, `runs` times in turn after one time that does not count, so that all see the same disturbances.

    Work of which `budget` seconds are used up is not done again; it counts from its first time on.
    """
    first: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for i in range(runs + 1):
        for name, do in work.items():
            spent = first.get(name, 0.0) + sum(seconds[name])
            if i and spent + spent / i > budget:
                continue
            took = do()
            say(f"run {i or 'to warm up'}: {name:44s} {took:.4g} s")
            if i:
                seconds[name].append(took)
            else:
                first[name] = took
    return {name: s or [first[name]] for name, s in seconds.items()}


def median(values: Iterable[float]) -> float:
    return rounded(statistics.median(values))


def finish(report: dict[str, Any], save: str | None, core: int | None = None) -> None:
    """Print the result as the last line of standard output, with machine, date and commit; keep it if asked to."""
    full = dict(
        report,
        machine=machine(core),
        date=datetime.date.today().isoformat(),
        python=platform.python_version(),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        commit=commit(),
    )
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{save}.json").write_text(json.dumps(full, indent=1) + "\n")
    print(json.dumps(full), flush=True)
