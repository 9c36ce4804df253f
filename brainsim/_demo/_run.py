"""The three parts of the demo, one after the other."""

import time
from pathlib import Path

from .._info import backend, machine, versions
from ._bar import Bar
from ._coba import network, simulate_coba
from ._locust import fit_locust
from ._page import write_page
from ._report import write_report
from ._results import DemoResult
from ._sweep import sweep_weights


def run_demo(out: Path, *, quick: bool = False) -> Path:
    """Runs the demo and writes its figures, report.json and index.html into the folder `out`.

    **Arguments**

    - `out`: a folder that exists.
    - `quick`: a small version of everything, in seconds instead of minutes; its numbers mean little.

    **Returns** the path of the page.
    """
    start = time.perf_counter()
    with Bar("1/4 fit a real neuron   ") as bar:
        locust = fit_locust(quick=quick, progress=bar)
    with Bar("2/4 simulate a network  ") as bar:
        coba = simulate_coba(n_e=320, n_i=80, duration=250.0, progress=bar) if quick else simulate_coba(progress=bar)
    with Bar("3/4 sweep its weights   ") as bar:
        if quick:
            sweep = sweep_weights(network(320, 80), points=3, duration=60.0, skipped=10.0, progress=bar)
        else:
            sweep = sweep_weights(network(), progress=bar)
    what = backend()
    result = DemoResult(
        locust=locust,
        coba=coba,
        sweep=sweep,
        versions=versions(),
        backend=what,
        machine=machine(),
        seconds=time.perf_counter() - start,
    )
    with Bar("4/4 draw figures, page  ") as bar:
        page = write_page(result, out, progress=bar)
        write_report(result, out / "report.json")
    return page
