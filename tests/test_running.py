"""Long runs: the same bits as one `simulate`, whatever the chunks, the crashes and the place where records go."""

import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import rows

import brainsim as bs

xr = pytest.importorskip("xarray")
zarr = pytest.importorskip("zarr")

DURATION, DT = 30.3, 0.1  # 303 steps: no chunk below divides it


def model():
    cells = lambda noise: bs.Population(4, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)), noise=noise)
    connect = bs.Projection("E", "I.exc", bs.Dense(jnp.full((4, 4), 2e3)), delay=2.5)
    return bs.Network(dict(E=cells(dict(v=1.0)), I=cells({})), [connect])


def total(state):
    return dict(v=state.populations["E"].neuron.v.sum(), g=state.populations["I"].receptors["exc"].i)


def current(t):
    """A function with a name, so that all tests run one compiled program."""
    return 300.0 * jnp.sin(t / 5.0)


def settings(duration=DURATION):
    rows = 700.0 + 300.0 * np.sin(np.arange(round(duration / DT)) / 20.0)[:, None]
    drive = bs.Poisson(rate=500.0, weight=90.0, key=jax.random.key(3))
    return dict(
        duration=duration,
        dt=DT,
        inputs={"E": rows, "I": current, "E.exc": drive},
        record=dict(
            spikes=["E", "I"],
            few=bs.Record(["E"], events=500, index=[3, 0]),
            v="E.v",
            slow=bs.Record("I.v", every=5, index=[1]),
            total=bs.Record(total, every=5),
        ),
        key=jax.random.key(0),
    )


@pytest.fixture(scope="module")
def whole():
    """One uninterrupted `simulate`."""
    return bs.simulate(model(), **settings())


def assert_same(run, whole):
    """The same bits, spikes as lists."""
    assert run.complete and run.names == tuple(settings()["record"])
    for population, raster in whole.spikes.items():
        assert np.asarray(raster).sum() > 3
        np.testing.assert_array_equal(run.spikes[population].raster(), np.asarray(raster) > 0)
    np.testing.assert_array_equal(run["few"]["E"].raster(), whole["few"]["E"].raster())
    for name in ("v", "slow"):
        np.testing.assert_array_equal(run[name].values, whole[name])
        np.testing.assert_allclose(run.times(name), whole.times(name), rtol=1e-6)
    for part, value in whole["total"].items():
        np.testing.assert_array_equal(run["total"][part].values, value)
    if run.snapshot is not None:
        same = lambda a, b: np.testing.assert_array_equal(_data(a), _data(b))
        jax.tree.map(same, run.state, whole.state)


def _data(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


@pytest.mark.parametrize("chunk", rows([None, 0.1, 5.0], long={5.0}))
def test_chunks_change_nothing(chunk, whole):
    told = []
    run = bs.run(model(), **settings(), chunk=chunk, progress=lambda done, total: told.append((done, total)))
    assert_same(run, whole)
    assert told[0] == (0, 303) and told[-1] == (303, 303) and len(told) > (2 if chunk else 1)


def test_on_disk(whole, tmp_path):
    out = tmp_path / "deep" / "run"
    run = bs.run(model(), **settings(), out=out, chunk=5.0, units=dict(total="arbitrary"))
    assert_same(run, whole)
    opened = bs.open_run(out)
    assert_same(opened, whole)
    assert repr(opened) == f"Run(30.3 ms at dt 0.1 ms, spikes, few, v, slow, total, in {out})"
    with pytest.raises(ValueError, match="no state without its model"):
        _ = opened.state
    assert sorted(os.listdir(tmp_path / "deep")) == ["run"]
    # xarray and zarr read it without brainsim, with names and units
    v = xr.open_zarr(out / "records.zarr", group="v", consolidated=False)
    assert v["v"].dims == ("time", "neuron") and v["v"].units == "mV" and v["time"].units == "ms"
    np.testing.assert_array_equal(v["v"].sel(neuron=2), whole["v"][:, 2])
    assert xr.open_zarr(out / "records.zarr", group="slow", consolidated=False)["neuron"].values.tolist() == [1]
    spikes = zarr.open_group(out / "records.zarr", mode="r")["spikes/E"]
    assert spikes["time"].metadata.dimension_names == ("event",) and spikes["time"].attrs["units"] == "ms"
    assert spikes["time"].shape == spikes["neuron"].shape == (np.asarray(whole.spikes["E"]).sum(),)
    tree = xr.open_datatree(out / "records.zarr", engine="zarr", consolidated=False)
    assert {"/spikes/E", "/spikes/I", "/v", "/total/g"} <= set(tree.groups)
    assert tree["total/g"]["total"].units == "arbitrary"
    with pytest.raises(ValueError, match="no table 'w'; available: spikes/E, spikes/I, few/E, v, slow, total"):
        run.dataset("w")
    with pytest.raises(ValueError, match="nothing was recorded as 'w'; available: spikes, few, v, slow, total"):
        _ = run["w"]


def test_a_list_grows_until_no_spike_is_lost():
    cells = bs.Population(4, bs.LIF())
    some = bs.Record(lambda state: state.neuron.v, index=[1])
    record = dict(spikes=bs.Record(True, events=2), raster=True, some=some)
    run = bs.run(cells, 60.0, 0.1, 3000.0, record, chunk=20.0)
    assert run["some"].dims == ("time", "axis_1") and run["some"].shape == (600, 1)
    assert run.spikes.raster().sum() > 30 and not run.spikes.overflow
    np.testing.assert_array_equal(run.spikes.raster(), run["raster"].raster())


CHILD = """
import os, signal, sys, threading, time
sys.path.insert(0, {tests!r})
import jax
import brainsim as bs
import test_running

seen = []

def told(done, total):
    seen.append(done)  # first, what was done before
    if len(seen) == 2:
        threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL)).start()
    time.sleep(0.1)

bs.run(test_running.model(), **test_running.settings(), out={out!r}, chunk=5.0, resume=True, progress=told)
"""


def killed(out, delay, tmp_path):
    """The exit code of a process that runs the model and is killed `delay` s after its first chunk, or later."""
    code = CHILD.format(tests=os.path.dirname(__file__), delay=delay, out=str(out))
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_sigkill_is_resumed_with_the_same_bits(whole, tmp_path):
    """Also: what another process calls the same model is called the same here."""
    out = tmp_path / "run"
    assert killed(out, np.random.default_rng().uniform(0.05, 0.2), tmp_path) == -signal.SIGKILL
    assert 0 < bs.open_run(out).done < 303
    assert_same(bs.run(model(), **settings(), out=out, chunk=5.0, resume=True), whole)


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal: a test run in the background is started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_a_valid_result(whole, interruptible, tmp_path):
    out = tmp_path / "run"
    press = lambda done, total: done and done < total and os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted at 5 ms of 30.3 ms; .*resume=True continues it"):
        bs.run(model(), **settings(), out=out, chunk=5.0, progress=press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert bs.open_run(out).duration == 5.0
    assert_same(bs.run(model(), **settings(), out=out, chunk=5.0, resume=True), whole)
    with pytest.warns(RuntimeWarning, match="interrupted at 5 ms of 30.3 ms"):
        part = bs.run(model(), **settings(), chunk=5.0, progress=press)
    np.testing.assert_array_equal(part["v"].values, whole["v"][:50])


def lone(neuron=None, **change):
    given = dict(duration=20.0, dt=0.1, inputs=600.0, record=dict(spikes=True, v="v"))
    return (bs.Population(2, bs.LIF() if neuron is None else neuron),), given | change


def test_a_run_can_be_made_longer(x64, tmp_path):
    out = tmp_path / "run"
    (cells,), given = lone()
    bs.run(cells, **given, out=out)
    longer = bs.run(cells, **(given | dict(duration=40.0)), out=out, resume=True)
    follow = bs.run(cells, **given, state=longer.state)
    expected = bs.simulate(cells, **(given | dict(duration=60.0)))
    np.testing.assert_array_equal(np.concatenate([longer["v"].values, follow["v"].values]), expected["v"])
    np.testing.assert_array_equal(longer.spikes.raster(), np.asarray(expected.spikes[:400]) > 0)
    np.testing.assert_array_equal(follow.spikes.raster(), np.asarray(expected.spikes[400:]) > 0)
    assert follow.times("v")[0] == 40.1 and follow.spikes.numpy()[0].min() > 40.0
    assert bs.open_run(out).complete and bs.open_run(out).duration == 40.0
    with pytest.raises(ValueError, match="has 40 ms already, more than 20 ms"):
        bs.run(cells, **given, out=out, resume=True)


OTHERS = {
    "dt": (dict(dt=0.05), "dt is 0.05 ms, but the run has 0.1 ms"),
    "record": (dict(record=dict(v="v")), "the records are v=v, every=1, dtype=None, but the run has spikes="),
    "every": (dict(record=dict(spikes=True, v=bs.Record("v", every=2))), "v=v, every=2"),
    "parameter": (dict(neuron=bs.LIF(tau=11.0)), "neuron.tau has another value than in the run"),
    "input": (dict(inputs=601.0), "inputs.current has another value than in the run"),
    "solver": (dict(solver=bs.ExponentialEuler()), "the model's equations, inputs or recorded functions"),
    "state": (dict(state=True), "state.k has another value than in the run"),
    "model": (dict(neuron=bs.AdEx()), "is only in the new model"),
}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run on disk with which nothing else fits."""
    out = tmp_path_factory.mktemp("short") / "run"
    (cells,), given = lone()
    return out, bs.run(cells, **given, out=out)


@pytest.mark.parametrize("case", OTHERS)
def test_another_run_is_not_resumed(case, short):
    out, run = short
    change, message = OTHERS[case]
    (cells,), given = lone(**(change | (dict(state=run.state) if "state" in change else {})))
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="cannot be resumed: .*" + message) as error:
        bs.run(cells, **given, out=out, resume=True)
    assert "\n" not in str(error.value)
    assert before == {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_another_function_is_not_resumed(tmp_path):
    """A function is what it computes, not its name."""
    scaled = lambda factor: lambda t: factor * jnp.sin(t)
    go = lambda f, **more: bs.run(bs.Population(1, bs.LIF()), 1.0, 0.1, f, dict(v="v"), out=tmp_path / "run", **more)
    go(scaled(2.0))
    go(scaled(2.0), resume=True)
    with pytest.raises(ValueError, match="the model's equations, inputs or recorded functions"):
        go(scaled(3.0), resume=True)


def test_what_is_there_is_not_overwritten(short, tmp_path):
    out, run = short
    (cells,), given = lone()
    with pytest.raises(ValueError, match=r"run: exists; nothing was written \(resume=True continues"):
        bs.run(cells, **given, out=out)
    np.testing.assert_array_equal(bs.open_run(out)["v"].values, run["v"].values)
    (tmp_path / "thesis.tex").write_text("years of work")
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(ValueError, match="exists and is not a run of brainsim; nothing was written"):
            bs.run(cells, **given, out=path, overwrite=True)
        with pytest.raises(ValueError, match="not a run of brainsim"):
            bs.open_run(path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    other = tmp_path / "run"
    bs.run(cells, **given, out=other)
    bs.run(cells, **(given | dict(inputs=900.0)), out=other, overwrite=True)
    expected = bs.simulate(cells, 20.0, 0.1, 900.0, dict(spikes=True, v="v"))
    np.testing.assert_array_equal(bs.open_run(other)["v"].values, expected["v"])
    assert sorted(os.listdir(tmp_path)) == ["run", "thesis.tex"]


ERRORS = {
    "jit": (lambda: jax.jit(lambda: bs.run(*lone()[0], **lone()[1]).dt)(), "inside of jit, grad or vmap use simulate"),
    "units": (lambda: bs.run(*lone()[0], **lone()[1], units=dict(w="mV")), "unknown record 'w'; available: spikes, v"),
    "resume": (lambda: bs.run(*lone()[0], **lone()[1], resume=True), "give out=PATH"),
    "chunk": (lambda: bs.run(*lone()[0], **lone()[1], chunk=0.03), "the chunk, 0.03 ms, is not a positive whole"),
    "name": (
        lambda: bs.run(*lone()[0], 1.0, 0.1, record=dict(time="v"), out="nowhere"),
        "'time' cannot name a record on disk",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value) and not os.listdir(tmp_path)


def test_without_zarr(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    (cells,), given = lone()
    with pytest.raises(ValueError, match=r"runs on disk need zarr: pip install 'brainsim\[io\]'"):
        bs.run(cells, **given, out=tmp_path / "run")


def test_nwb(short, tmp_path):
    pytest.importorskip("pynwb")
    out, run = short
    file = bs.open_run(out).to_nwb(tmp_path / "run.nwb")
    recording = bs.io.read_recording(file, sweep=1, unit=1)
    np.testing.assert_allclose(recording.voltage, run["v"].values[:, 1], rtol=1e-6)
    np.testing.assert_allclose(recording.spike_times, bs.spike_times(run.spikes)[1])
    assert recording.t0 == pytest.approx(0.1) and recording.dt == pytest.approx(0.1)
    with pytest.raises(ValueError, match="the file exists; nothing was written"):
        run.to_nwb(file)
    run.to_nwb(file, overwrite=True)
    with pytest.raises(ValueError, match="name of an NWB file ends in"):
        run.to_nwb(tmp_path / "run.h5")
    with pytest.raises(ValueError, match="the path of an NWB file must be a path, got 3"):
        run.to_nwb(3)
    with pytest.raises(ValueError, match="there is no folder"):
        run.to_nwb(tmp_path / "nowhere" / "run.nwb")


def test_nwb_of_a_network(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    run = bs.run(model(), **settings())
    with pynwb.NWBHDF5IO(str(run.to_nwb(tmp_path / "net.nwb")), "r") as io:
        nwb = io.read()
        units = nwb.units.to_dataframe()
        assert units.groupby(["record", "population"]).size().to_dict() == dict(
            zip([("few", "E"), ("spikes", "E"), ("spikes", "I")], [2, 4, 4], strict=True)
        )
        assert units[units.record == "few"].neuron.tolist() == [3, 0]
        assert nwb.acquisition["total_g"].data.shape == (60, 4) and nwb.acquisition["slow_1"].rate == 2000.0
