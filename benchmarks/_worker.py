"""The small protocol between a benchmark and the simulators it times.

Each simulator runs in a process of its own, with its own Python if need be, on one core. It builds and compiles, then
answers one line of JSON on standard output for each line it reads on standard input:

* `run`: simulate once, answer `{"seconds": ..., "processor_seconds": ...}`: wall time, and the processor's, which a
  busy machine disturbs less;
* `statistics`: answer what the last run gave, so that speed is never compared between different results;
* end of input: stop.

Only the standard library and numpy are used here, since the simulators' environments share nothing else.
"""

import json
import os
import sys
from collections.abc import Callable

import numpy as np


def pin(core: int) -> None:
    """Keep this process, and whatever it starts, on one core. Call before any library starts its threads."""
    os.sched_setaffinity(0, {core})


def serve(about: dict, run: Callable[[], dict], statistics: Callable[[], dict]) -> None:
    """Say what was built (`about`), then answer requests until the input ends."""
    answer = dict(run=run, statistics=statistics)
    _say(about)
    for line in sys.stdin:
        _say(answer[line.strip()]())


def _say(message: dict) -> None:
    print(json.dumps(message), flush=True)


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
