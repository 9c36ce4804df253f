"""The small protocol between a benchmark and the simulators it times: the simulators' side.

Each simulator runs in a process of its own, with its own Python if need be, on one core. It builds and compiles, then
answers one line of JSON on standard output for each line it reads on standard input:

* `run`: simulate once, answer `{"seconds": ..., "processor_seconds": ...}`: wall time, and the processor's, which a
  busy machine disturbs less;
* `statistics`: answer what the last run gave, so that speed is never compared between different results;
* end of input: stop.

Only the standard library and numpy are used here, since the simulators' environments share nothing else.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from _models import MODELS, Balanced, Brunel


def arguments(
    description: str | None, methods: list[str], dtypes: list[str], networks: list[str]
) -> argparse.Namespace:
    """What every simulator is told; `model` is the network in its size. The first of each list is the default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--network", default=networks[0], choices=networks)
    parser.add_argument("--neurons", type=int, default=4000)
    parser.add_argument("--method", default=methods[0], choices=methods)
    parser.add_argument("--dtype", default=dtypes[0], choices=dtypes)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration", type=float, default=1000.0, help="ms")
    args = parser.parse_args()
    args.model = MODELS[args.network].scaled(args.neurons)
    return args


def microcircuit_arguments(description: str | None) -> argparse.Namespace:
    """What the workers of `microcircuit.py` are told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cores", type=int, nargs="+", required=True)
    for name in ("scale", "duration", "warmup"):
        parser.add_argument(f"--{name}", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args()


def pin(core: int) -> None:
    """Keep this process, and whatever it starts, on one core. Call before any library starts its threads."""
    os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Wall and processor time of the block, once it is over; that of programs it ran, such as compilers, included."""
    took: dict[str, float] = {}
    start, processor_start = time.perf_counter(), _processor()
    yield took
    took |= dict(seconds=time.perf_counter() - start, processor_seconds=_processor() - processor_start)


def _processor() -> float:
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def phases(**took: dict[str, float]) -> dict[str, float]:
    """`{"build_s": ..., "build_processor_s": ...}` from what `measured` gave."""
    wall = {f"{name}_s": round(t["seconds"], 3) for name, t in took.items()}
    return wall | {f"{name}_processor_s": round(t["processor_seconds"], 3) for name, t in took.items()}


def serve(about: dict[str, Any], run: Callable[[], dict], statistics: Callable[[], dict]) -> None:
    """Say what was built (`about`), then answer requests until the input ends."""
    answer = dict(run=run, statistics=statistics)
    _say(about)
    for line in sys.stdin:
        _say(answer[line.strip()]())


def _say(message: dict) -> None:
    print(json.dumps(message), flush=True)


def population_statistics(model: Balanced | Brunel, times: np.ndarray, neurons: np.ndarray, duration: float) -> dict:
    """`spike_statistics` of E and I, if neurons are counted through, first E."""
    excitatory = neurons < model.n_e
    return dict(
        E=spike_statistics(times[excitatory], neurons[excitatory], model.n_e, duration),
        I=spike_statistics(times[~excitatory], neurons[~excitatory] - model.n_e, model.n_i, duration),
    )


def spike_statistics(times: np.ndarray, neurons: np.ndarray, n: int, duration: float) -> dict:
    """Mean rate (Hz) and the mean coefficient of variation of the inter-spike intervals.

    The rate counts the whole run. The variation is the mean over neurons with at least five intervals after 200 ms.
    `times` are in ms, `neurons` are the indices (0 to n - 1) that fired at these times.
    """
    late = times >= 200.0
    order = np.lexsort((times[late], neurons[late]))
    trains = np.split(times[late][order], np.cumsum(np.bincount(neurons[late], minlength=n))[:-1])
    variations = [np.std(gaps) / np.mean(gaps) for gaps in map(np.diff, trains) if len(gaps) >= 5]
    return dict(
        rate_hz=round(len(times) / n / duration * 1e3, 3),
        cv_isi=round(float(np.mean(variations)), 3) if variations else None,
        spikes=len(times),
    )
