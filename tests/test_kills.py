"""Processes killed at any moment, fifty times, while they run, sweep and fit: they end with the bits of others."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_durable_runs import assert_begins, assert_same, go
from test_durable_sweeps_and_fits import gauss_newton, same_fit, same_sweep, sweep

import brainsim as bs

CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from test_kills import work

def told(done, total):
    print(done, flush=True)
    time.sleep(0.02)

work({folder!r}, told)
"""


def work(folder, told=False):
    """A run, a sweep and a fit, each where it was left."""
    run = go(os.path.join(folder, "run"), resume=True, progress=told)
    swept = sweep(os.path.join(folder, "sweep"), resume=True, progress=told)
    return run, swept, gauss_newton(os.path.join(folder, "fit"), resume=True, progress=told)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_fifty_kills(tmp_path):
    folder, rng, kills, ends = tmp_path / "work", np.random.default_rng(), 0, 0
    whole, swept, fitted = go(), sweep(), gauss_newton()
    code = CHILD.format(tests=os.path.dirname(__file__), folder=str(folder))
    cache = dict(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "cache"), JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")
    while kills < 50:
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **cache, "PYTHONSAFEPATH": "1"},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(int(rng.integers(1, 12))):  # of what it says
            child.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        said = child.communicate()[1]
        assert child.returncode in (0, -signal.SIGKILL), said
        kills += child.returncode != 0
        if (folder / "run").exists():
            assert_begins(bs.open_run(folder / "run"), whole)
        if child.returncode == 0 or kills == 50:
            run, again, fit = work(folder)
            assert_same(run, whole)
            same_sweep(again, swept)
            same_fit(fit, fitted)
            assert sorted(os.listdir(folder)) == ["fit", "run", "sweep"] and not list(folder.rglob(".*"))
            shutil.rmtree(folder)
            ends += 1
    assert ends > 1
