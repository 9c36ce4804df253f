"""Runs, sweeps and fits killed at any moment, fifty times: they end with the bits of uninterrupted ones."""

import multiprocessing
import os
import shutil
import signal
import sys
import time

import jax
import numpy as np
import pytest
from test_durable_runs import assert_begins, assert_same, go
from test_durable_sweeps_and_fits import gauss_newton, same_fit, same_sweep, sweep

import brainsim as bs
from brainsim.fitting import _search

WORK = dict(run=(go, assert_same), sweep=(sweep, same_sweep), fit=(gauss_newton, same_fit))
KILLS = int(os.environ.get("BRAINSIM_KILLS", 17))  # of each


def child(verb, folder, cache, said):
    """`verb` where it was left, in a process that says how far it is; each step of a fit is kept."""
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    _search._EVERY = 0.0

    def told(done, total):
        said.send(done)
        time.sleep(0.02)

    WORK[verb][0](folder, resume=True, progress=told)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("verb", WORK)
def test_kills(verb, tmp_path):
    again, same = WORK[verb]
    whole, folder, rng, kills = again(), tmp_path / "work" / verb, np.random.default_rng(), 0
    folder.parent.mkdir()
    processes = multiprocessing.get_context("forkserver")  # they begin with everything imported
    processes.set_forkserver_preload(["brainsim", "xarray", "zarr"])
    while kills < KILLS:
        said, to_say = processes.Pipe(duplex=False)
        process = processes.Process(target=child, args=(verb, str(folder), str(tmp_path / "cache"), to_say))
        process.start()
        to_say.close()
        try:
            for _ in range(int(rng.integers(0, 7))):
                said.recv()
        except EOFError:  # it came to its end
            process.join()
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        kills += process.exitcode != 0
        if verb == "run" and folder.exists():
            assert_begins(bs.open_run(folder), whole)
        if process.exitcode == 0 or kills % 6 == 0 or kills == KILLS:  # now and then to the end
            same(again(folder, resume=True), whole)
            assert os.listdir(folder.parent) == [verb] and not list(folder.rglob(".*"))
            shutil.rmtree(folder)
