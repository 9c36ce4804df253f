"""The command line: what it prints, what it writes, and that whatever a user gets wrong is one line and code 2."""

# pyright: reportArgumentType=false

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import brainsim
from brainsim import cli
from brainsim._fit_command._ask import bounds, values
from brainsim._output import Output, strict
from brainsim.io import Recording, write_recording


def _run(capsys, *argv: str) -> tuple[int, str, str]:
    code = cli.main(argv)
    said = capsys.readouterr()
    return code, said.out, said.err


def _refuses(capsys, *argv: str, words: tuple[str, ...] = ()) -> None:
    code, out, err = _run(capsys, *argv)
    assert code == 2 and out == ""
    assert err.startswith("brainsim: error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    for word in words:
        assert word in err, err


# ---------------------------------------------------------------------------------------------------- info


def test_info_says_what_is_there(capsys):
    code, out, err = _run(capsys, "info")
    assert code == 0 and err == ""
    for name in ("brainsim", "jax", "jaxlib", "equinox", "diffrax", "numpy", "python", "devices"):
        assert re.search(rf"^{name} +\S", out, re.M), name
    for name in ("CPU kernels", "GPU kernels", "figures", "NWB files", "runs on disk", "the demo"):
        assert re.search(rf"^{name} +(not )?there", out, re.M), name
    there = brainsim.ops.backend() == "ffi"
    assert ("CPU kernels    there: compiled C++" in out) == there
    if there:  # nothing to worry about: no other word for it
        assert "ffi" not in out and "plain JAX" not in out.split("GPU kernels")[0]


def test_info_as_json_agrees_with_the_library(capsys):
    code, out, _ = _run(capsys, "info", "--json")
    found = json.loads(out)
    assert code == 0 and found["versions"]["python"] == sys.version.split()[0]
    assert found["backend"]["kernels"] == brainsim.ops.backend()
    operators = found["backend"]["operators"]
    assert {operators.pop(f"procedural_{name}") for name in ("delays", "synapses")} == {"jax"}  # without a kernel
    assert set(operators.values()) == {brainsim.ops.backend()}
    assert found["backend"]["devices"]


def test_without_a_command_or_with_a_wrong_one(capsys):
    _refuses(capsys, words=("required", "info,demo,fit", "--help"))
    _refuses(capsys, "dmeo", words=("invalid choice: 'dmeo'", "info", "demo", "fit"))
    _refuses(capsys, "info", "--jsn", words=("unrecognized arguments: --jsn",))


@pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["fit", "--help"]])
def test_help(capsys, argv):
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    assert left.value.code == 0 and "usage: brainsim" in capsys.readouterr().out


def test_interrupt_is_one_line_and_code_130(capsys, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    demo = pytest.importorskip("brainsim._demo._run")
    monkeypatch.setattr(demo, "run_demo", interrupted)
    code, out, err = _run(capsys, "demo", "--out", str(tmp_path / "out"))
    assert (code, out, err) == (130, "", "brainsim: interrupted; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_exit_codes_of_the_program(tmp_path):
    def program(*argv):
        command = [sys.executable, "-c", "import sys; from brainsim.cli import main; sys.exit(main())", *argv]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, env=env)

    here = os.path.dirname(os.path.dirname(brainsim.__file__))
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    env = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}  # without a compiler there is one
    wrong = program("fit", "nothing.csv", "--model", "lif", "--free", "tau=1:50")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "brainsim: error: nothing.csv: no such file\n"
    assert program("info").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_traceback_on_request(monkeypatch):
    monkeypatch.setenv("BRAINSIM_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no such file"):
        cli.main(["fit", "nothing.csv", "--model", "lif", "--free", "tau=1:50"])


def test_warnings_are_one_line_too(capsys, monkeypatch):
    import warnings

    monkeypatch.setattr(cli, "_info", lambda _: warnings.warn("no kernels:\n  slow", stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = _run(capsys, "info")
    assert code == 0 and err == "brainsim: warning: no kernels: slow\n"


# ---------------------------------------------------------------------------------------------------- folders


def test_results_appear_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "out"
    with pytest.raises(RuntimeError), Output(target) as out:
        (out.folder / "half.txt").write_text("half")
        raise RuntimeError
    assert not target.exists() and list((tmp_path / "deep").iterdir()) == []
    with Output(target) as out:
        (out.folder / "a.txt").write_text("new")
        assert not target.exists()
    assert [p.name for p in target.iterdir()] == ["a.txt"]


def test_force_replaces_files_of_the_same_name_and_leaves_others(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ValueError, match="not empty; nothing was written"):
        Output(tmp_path)
    with Output(tmp_path, force=True) as out:
        (out.folder / "a.txt").write_text("new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "new", "mine.txt": "mine"}


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(ValueError, match="is a file, not a folder"):
        Output(tmp_path / "out", force=True)
    assert (tmp_path / "out").read_text() == "precious"


@pytest.mark.parametrize("command", [["demo"], ["fit", "nothing.csv", "--model", "lif", "--free", "tau=1:50"]])
def test_nothing_is_overwritten_and_that_is_found_out_first(capsys, tmp_path, command):
    (tmp_path / "report.json").write_text("precious")
    _refuses(capsys, *command, "--out", str(tmp_path), words=("not empty", "--force", "--out"))
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"report.json": "precious"}


def test_json_is_strict():
    given = dict(a=(1, np.float32(0.5)), b=np.array([1.0, np.nan]), c=float("inf"), d=np.int64(3), e=[True, None, "x"])
    assert strict(given) == dict(a=[1, 0.5], b=[1.0, None], c=None, d=3, e=[True, None, "x"])


# ---------------------------------------------------------------------------------------------------- asking for a fit


def test_bounds_and_values():
    assert bounds(["g_l=1:50,tau_w=10:500:log", "b=-1e2:200"]) == {
        "g_l": (1.0, 50.0),
        "tau_w": (10.0, 500.0, "log"),
        "b": (-100.0, 200.0),
    }
    assert values(["c=200, tau_w=1e2"]) == {"c": 200.0, "tau_w": 100.0}
    assert bounds(None) == {} and values(None) == {}


@pytest.fixture
def cell(tmp_path):
    """A short recording of a LIF neuron, as a CSV file."""
    import jax.numpy as jnp

    current = np.tile(np.repeat([0.0, 300.0, 450.0], 200), 2)
    lif = brainsim.Population(1, brainsim.LIF(tau=14.0, c=200.0))
    run = brainsim.simulate(lif, 120.0, dt=0.1, inputs=jnp.asarray(current)[:, None], record=dict(v="v", spikes=True))
    voltage = np.append(-70.0, np.asarray(run["v"])[:-1, 0])
    spikes = brainsim.spike_times(run.spikes, 0.1)[0]
    path = tmp_path / "cell.csv"
    write_recording(Recording(dt=0.1, stimulus=current, voltage=voltage, spike_times=spikes), path)
    return path


WRONG = [
    (["--model", "lfi", "--free", "tau=1:50"], ["unknown model 'lfi'", "adex", "hh", "izhikevich", "lif"]),
    (["--model", "lif"], ["--free is missing", "tau (ms)", "v_th (mV)"]),
    (["--model", "lif", "--free", "tauu=1:50"], ["no parameter 'tauu'", "tau (ms)"]),
    (["--model", "lif", "--free", "tau"], ["--free 'tau'", "name=low:high"]),
    (["--model", "lif", "--free", "tau=5"], ["tau=5", "tau=low:high"]),
    (["--model", "lif", "--free", "tau=50:1"], ["bounds are empty", "50 is not below 1"]),
    (["--model", "lif", "--free", "tau=1:1"], ["bounds are empty"]),
    (["--model", "lif", "--free", "tau=1:ten"], ["'ten' is not a finite number"]),
    (["--model", "lif", "--free", "tau=1:nan"], ["'nan' is not a finite number"]),
    (["--model", "lif", "--free", "tau=1:50:cubic"], ["unknown scale 'cubic'", "log, linear"]),
    (["--model", "lif", "--free", "tau=1:50", "--free", "tau=2:20"], ["tau: given twice"]),
    (["--model", "lif", "--free", "tau=1:50", "--fix", "tau=3"], ["both free and fixed"]),
    (["--model", "lif", "--free", "tau=1:50", "--fix", "g=3"], ["no parameter 'g'", "tau (ms)"]),
    (["--model", "lif", "--free", "tau=1:50", "--fix", "c=x"], ["'x' is not a finite number"]),
    (["--model", "hh", "--free", "g_na=50:200"], ["uA/cm2", "pA"]),
    (["--model", "lif", "--free", "tau=1:50", "--dt", "-0.1"], ["dt", "-0.1"]),
    (["--model", "lif", "--free", "tau=1:50", "--dt", "fast"], ["--dt", "'fast'"]),
    (["--model", "lif", "--free", "tau=1:50", "--starts", "0"], ["starts must be a whole number, at least 1, got 0"]),
    (["--model", "lif", "--free", "tau=1:50", "--starts", "many"], ["--starts", "'many'"]),
    (["--model", "lif", "--free", "tau=1:50", "--steps", "-3"], ["steps must be a whole number, at least 1, got -3"]),
    (["--model", "lif", "--free", "tau=1:50", "--holdout", "1.5"], ["holdout", "1.5"]),
    (["--model", "lif", "--free", "tau=1:50", "--loss", "energy"], ["'energy'", "voltage", "spikes"]),
    (["--model", "lif", "--free", "tau=1:50", "--sweep", "3"], ["'sweep' does not apply to .csv files"]),
    (["--model", "lif", "--free", "tau=1:50", "--stimulus", "i_pA"], ["no column 'i_pA'", "'current_pA'"]),
    (["--model", "lif", "--free", "tau=1:50", "--spikes", "none.txt"], ["none.txt: no such file"]),
]


@pytest.mark.parametrize("options, words", WRONG, ids=[" ".join(options[2:]) for options, _ in WRONG])
def test_fit_refuses(capsys, tmp_path, cell, options, words):
    out = tmp_path / "out"
    _refuses(capsys, "fit", str(cell), *options, "--out", str(out), words=tuple(words))
    assert not out.exists() and [p.name for p in tmp_path.iterdir()] == ["cell.csv"]


FILES = [
    ("", ["no header line"]),
    ("time_ms,current_pA,voltage_mV\n0,1,nan\n1,1,2\n", ["'voltage_mV'", "1 of 2 values are NaN"]),
    ("time_ms,current_pA,spike_time_ms\n0,1,1.5\n1,1,0.5\n", ["strictly increasing", "0.5 ms follows 1.5 ms"]),
    ("time_ms,current_pA,spike_time_ms\n0,1,0.5\n1,1,nan\n", ["'spike_time_ms'", "NaN"]),
    ("time_ms,current_pA,spike_time_ms\n0,1,0.5\n1,1,7\n", ["1 of 2 spike times lie outside", "0 to 2 ms"]),
    ("time_ms,voltage_mV,current_pA\n0,1,1\n1,1,\n", ["stimulus is shorter than the recording"]),
    ("time_ms,current_kg\n0,1\n1,1\n", ["unknown unit 'kg'", "A, uA, nA, pA"]),
    ("time_ms,current_pA,voltage_mV\n0,1,1\n1,1,1\n5,1,1\n", ["not uniform"]),
    ("time_ms,voltage_mV\n0,1\n1,1\n", ["no stimulus"]),
    ("time_ms,current_pA\n0,1\n1,1\n", ["the recording has no voltage", "a stimulus only"]),
]


@pytest.mark.parametrize("text, words", FILES)
def test_fit_refuses_files(capsys, tmp_path, text, words):
    path = tmp_path / "cell.csv"
    path.write_text(text)
    out = str(tmp_path / "out")
    _refuses(capsys, "fit", str(path), "--model", "lif", "--free", "tau=1:50", "--out", out, words=(*words, "cell.csv"))
    assert [p.name for p in tmp_path.iterdir()] == ["cell.csv"]


@pytest.mark.parametrize("name", ["cell.npz", "cell.nwb", "cell.csv", "cell.abf"])
def test_fit_refuses_corrupt_files(capsys, tmp_path, name):
    pytest.importorskip("pynwb")
    path = tmp_path / name
    path.write_bytes(bytes(range(128, 256)))
    _refuses(capsys, "fit", str(path), "--model", "lif", "--free", "tau=1:50", words=(name,))


# ---------------------------------------------------------------------------------------------------- a fit


def test_fit_writes_parameters_traces_figures_and_a_page(capsys, tmp_path, cell):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    options = ["--model", "lif", "--free", "tau=5:50", "--fix", "c=200", "--starts", "3", "--steps", "8"]
    code, said, err = _run(capsys, "fit", str(cell), *options, "--out", str(out))
    assert code == 0, err
    assert "tau (ms)" in said and str(out / "index.html") in said
    names = {"fit.json", "fit.npz", "index.html", "fit_trace.png", "fit_loss.png", "fit_parameters.png"}
    assert {p.name for p in out.iterdir()} == names

    found = json.loads((out / "fit.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    tau = found["params"]["tau"]
    assert tau["value"] == pytest.approx(14.0, rel=0.01) and tau["unit"] == "ms"
    assert (tau["lower"], tau["upper"]) == (5.0, 50.0)
    assert found["fixed"]["c"] == 200.0 and found["scores_held_out"]["rms_mv"] < 0.1
    assert found["versions"]["brainsim"] and found["recording"]["stimulus_unit"] == "pA"

    with np.load(out / "fit.npz", allow_pickle=False) as traces:
        assert traces["voltage_mV"].shape == traces["model_voltage_mV"].shape == (1200,)
        assert traces["model_time_ms"][0] == pytest.approx(0.1)

    page = (out / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|<script|<link", page)
    assert page.count("<img ") == 3 and "membrane time constant" in page
    assert "brainsim fit" in page and "bs.fit(model, recording, free=free" in page

    before = (out / "fit.json").read_text()
    _refuses(capsys, "fit", str(cell), *options, "--out", str(out), words=("not empty", "--force"))
    assert (out / "fit.json").read_text() == before


def test_coincidence_is_one_for_equal_trains_and_zero_for_chance():
    from brainsim._fit_command._score import coincidence

    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 1e6, 10000)) for _ in range(2)]
    assert coincidence(trains[0], trains[0], 1e6) == pytest.approx(1.0)
    assert coincidence(trains[0], trains[0] + 1.0, 1e6) > 0.99
    assert abs(coincidence(trains[0], trains[1], 1e6)) < 0.05
    assert np.isnan(coincidence(trains[0][:0], trains[1], 1e6))


@pytest.mark.slow
def test_fit_of_spikes_gives_bits_per_spike(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.normal(size=40), 50)
    rate = 0.02 * np.exp(1.2 * slow)  # 1/ms
    times = np.flatnonzero(rng.random(2000) < rate) + 1.0
    path = write_recording(Recording(dt=1.0, stimulus=100.0 * slow, spike_times=times), tmp_path / "cell.npz")
    options = ["--model", "escape", "--free", "v_th=-80:-40,delta_u=0.5:20", "--fix", "t_ref=0,tau=2"]
    _refuses(capsys, "fit", str(path), *options, "--loss", "voltage", words=("has no voltage", "spikes", "cell.npz"))
    out = tmp_path / "out"
    code, said, err = _run(capsys, "fit", str(path), *options, "--starts", "3", "--steps", "8", "--out", str(out))
    assert code == 0, err
    assert "held-out bits per spike" in said
    found = json.loads((out / "fit.json").read_text())
    assert 0.2 < found["scores_held_out"]["bits_per_spike"] < 2.0
    assert "Python" in (out / "index.html").read_text(encoding="utf-8")


def test_bits_per_spike_of_a_constant_rate_are_zero():
    from types import SimpleNamespace

    from brainsim._fit_command._score import bits_per_spike

    spikes = np.arange(25.0, 1000.0, 50.0)
    recording = Recording(dt=1.0, stimulus=np.zeros(1000), spike_times=spikes)
    poisson = brainsim.neurons.EscapeLIF(v_th=-70.0, tau_0=50.0, t_ref=0.0)
    fit = SimpleNamespace(model=poisson, split=800.0)
    assert bits_per_spike(fit, recording, brainsim.losses.spike_log_likelihood) == pytest.approx(0.0, abs=1e-5)
