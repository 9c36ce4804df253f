"""The benchmarks run at tiny sizes without other simulators, and what they share computes what it says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("[a-z]*.py"))
TINY = {
    "coba.py": "--sizes 40 80 --peers none --duration 5 --runs 1",
    "cuba.py": "--sizes 40 --peers none --duration 5 --runs 1",
    "coba_hh.py": "--sizes 40 --peers none --duration 5 --runs 1",
    "brunel.py": "--sizes 50 --peers none --duration 5 --runs 1",
    "operators.py": "--cases tiny --calls 2 --runs 1",
    "compile.py": "--peers none --runs 1",
    "gradient.py": "--neurons 40 --steps 20 40 --runs 1",
    "sweep.py": "--sets 2 --neurons 40 --duration 5 --runs 1",
}


def run(script, *arguments):
    """The JSON on the last line of a script's standard output."""
    done = subprocess.run([sys.executable, FOLDER / script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def shared(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_arguments_are_read(script):
    assert script[:-3] in run(script, "--help")


@pytest.mark.slow
@pytest.mark.parametrize("script", TINY)
def test_runs_at_a_tiny_size(script):
    report = json.loads(run(script, *TINY[script].split()).splitlines()[-1])
    assert report["benchmark"] == script[:-3]
    assert {"median_s", "machine", "versions", "commit", "date"} <= report.keys()


@pytest.mark.slow
def test_rates_of_coba():
    """One seed of the network at its full size: the script runs to its end, and says what it found."""
    command = [sys.executable, FOLDER / "coba_rates.py", "--seeds", "1"]
    done = subprocess.run(command, capture_output=True, text=True)  # its status is that of the mean over many seeds
    assert done.stdout, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["mean"]
    assert 15 < found["rate_e_hz"] < 27 and 15 < found["rate_i_hz"] < 27 and 1.4 < found["cv_isi_e"] < 1.9


def test_a_network_is_timed_and_described(tmp_path):
    out = run("coba.py", *"--sizes 40 --peers none --methods euler --duration 5 --runs 1".split())
    report = json.loads(out.splitlines()[-1])
    assert report["median_s"]["brainsim"]["euler float32"]["40"] > 0
    assert report["network"]["40"] == dict(neurons=40, duration_ms=5.0, dt_ms=0.1)
    assert report["statistics"]["rates_hz"]["brainsim"]["euler float32"]["40"].keys() == {"E", "I"}
    assert report["ratio"] == {}


def test_tables_are_those_of_the_results():
    run("table.py", "--check")


def test_rates_and_irregularity(shared):
    from _worker import spike_statistics

    regular, late = np.arange(5.0, 1000.0, 5.0), np.full(3, 900.0)
    found = spike_statistics(
        np.concatenate([regular, late]), np.concatenate([np.zeros(199), [1, 1, 2]]).astype(int), 4, 1000.0
    )
    assert found == dict(rate_hz=202 / 4, cv_isi=0.0, spikes=202)  # only the first has five intervals


def test_work_takes_turns_and_stops_at_its_budget(shared):
    from _report import interleaved

    calls = []

    def work(name, seconds):
        return lambda: calls.append(name) or seconds

    took = interleaved(2, dict(quick=work("quick", 1.0), slow=work("slow", 70.0)), budget=60.0)
    assert calls == ["quick", "slow", "quick", "quick"]
    assert took == dict(quick=[1.0, 1.0], slow=[70.0])


def test_networks_keep_their_inputs_when_scaled(shared):
    from _models import MODELS

    coba, brunel = MODELS["coba"].scaled(40_000), MODELS["brunel"].scaled(1_250)
    assert (coba.neurons, coba.n_i) == (40_000, 8_000)
    assert coba.p * coba.neurons == pytest.approx(80.0)
    assert (brunel.k_e, brunel.k_i) == (100, 25)
    assert brunel.k_e * brunel.j == pytest.approx(1_000 * 0.1)
