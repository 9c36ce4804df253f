"""Recordings: what may be said about one, and that files give back what was written, in the right units."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportArgumentType=false
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false

import datetime

import numpy as np
import pytest

from brainsim.io import Recording, RecordingError, read_recording, write_recording


def _recording(**changes) -> Recording:
    rng = np.random.default_rng(0)
    given = dict(
        dt=0.05,
        t0=12.5,
        stimulus=rng.normal(size=400),
        voltage=-65.0 + rng.normal(size=400),
        spike_times=[12.5, 13.025, 20.0, 32.5],
        source="made up",
        stimulus_name="noise",
    )
    return Recording(**{**given, **changes})


def _same(a: Recording, b: Recording) -> None:
    for name in ("stimulus", "voltage", "spike_times"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            np.testing.assert_array_equal(x, y, err_msg=name)
    for name in ("t0", "stimulus_unit", "stimulus_name", "source"):
        assert getattr(a, name) == getattr(b, name), name
    assert a.dt == pytest.approx(b.dt, rel=1e-12) and a.duration == pytest.approx(b.duration, rel=1e-12)


def _refuses(call, *words: str) -> None:
    with pytest.raises(RecordingError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# ---------------------------------------------------------------------------------------------------- the record


def test_time_base():
    r = _recording()
    assert (r.n, r.duration, r.end) == (400, 20.0, 32.5)
    assert r.times[0] == 12.5 and r.times[-1] == pytest.approx(32.45)
    assert r.rate == pytest.approx(200.0)
    assert Recording(dt=1.0, voltage=[0.0]).rate is None


def test_arrays_cannot_be_changed_and_are_copies():
    mine = np.zeros(5)
    r = Recording(dt=0.1, stimulus=mine)
    mine[:] = 1.0
    assert r.stimulus is not None and r.stimulus.sum() == 0.0
    with pytest.raises(ValueError, match="read-only"):
        r.stimulus[0] = 1.0
    with pytest.raises(AttributeError):
        r.dt = 0.2


@pytest.mark.parametrize("cut", [12.55, 13.0, 20.0, 25.0, 32.45])
def test_split_loses_and_doubles_nothing(cut):
    r = _recording()
    a, b = r.split(cut)
    for name in ("stimulus", "voltage", "spike_times"):
        np.testing.assert_array_equal(np.concatenate([getattr(a, name), getattr(b, name)]), getattr(r, name))
    assert a.t0 == r.t0 and a.end == pytest.approx(b.t0) and b.end == pytest.approx(r.end)
    assert a.source == r.source and b.stimulus_name == r.stimulus_name


def test_a_spike_on_the_cut_belongs_to_the_step_that_ends_there():
    a, b = _recording().split(20.0)
    assert a.spike_times.tolist() == [12.5, 13.025, 20.0] and b.spike_times.tolist() == [32.5]


def test_counts_use_the_convention_of_a_time_step():
    r = Recording(dt=0.1, duration=4.0, spike_times=[0.0, 1.0, 1.0000001, 2.5, 4.0])
    assert r.counts(1.0).tolist() == [3, 0, 1, 1]  # the third is 1 ms but for rounding
    assert Recording(dt=0.1, duration=4.0, spike_times=[1.0, 1.1, 2.0]).counts(1.0).tolist() == [1, 2, 0, 0]
    _refuses(lambda: Recording(dt=0.1, voltage=[0.0]).counts(1.0), "no spike times")


@pytest.mark.parametrize("dt", [0.01, 0.05, 0.1, 0.13, 1.0, 20.0])
def test_resampling_keeps_the_integral_of_the_stimulus(dt):
    r = _recording()
    new = r.resample(dt)
    covered = int(np.floor(20.0 / dt + 1e-9)) * dt
    assert new.n == round(covered / dt) and new.duration == pytest.approx(covered)
    full = np.interp(covered, 0.05 * np.arange(401), np.concatenate([[0.0], np.cumsum(r.stimulus) * 0.05]))
    assert new.stimulus.sum() * dt == pytest.approx(full, abs=1e-9)


def test_resampling_by_a_whole_factor_is_a_mean_and_a_pick():
    r = _recording()
    new = r.resample(0.2)
    np.testing.assert_allclose(new.stimulus, r.stimulus.reshape(-1, 4).mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(new.voltage, r.voltage[::4], atol=1e-9)
    np.testing.assert_array_equal(new.spike_times, r.spike_times)
    same = r.resample(r.dt)
    np.testing.assert_allclose(same.stimulus, r.stimulus, atol=1e-9)
    np.testing.assert_allclose(same.voltage, r.voltage, atol=1e-9)


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(dt=0.0), ["dt must be positive", "0 ms"]),
        (dict(dt=-0.1), ["dt must be positive", "-0.1 ms"]),
        (dict(dt=float("nan")), ["dt must be finite"]),
        (dict(t0=float("inf")), ["t0 must be finite"]),
        (dict(duration=-5.0), ["duration must be positive"]),
        (dict(stimulus=None, voltage=None, spike_times=None), ["at least one of stimulus, voltage, spike_times"]),
        (dict(stimulus=None, voltage=None), ["spike times alone needs its duration"]),
        (dict(stimulus=np.zeros((400, 2))), ["stimulus must have shape (n,)", "(400, 2)"]),
        (dict(voltage=[]), ["voltage is empty"]),
        (
            dict(stimulus=np.zeros(300)),
            ["stimulus is shorter than the recording", "300 samples (15 ms)", "400 (20 ms)"],
        ),
        (dict(stimulus=np.zeros(500)), ["stimulus is longer than the recording"]),
        (dict(voltage=None, duration=25.0), ["stimulus is shorter", "500 (25 ms)"]),
        (dict(voltage=np.r_[np.zeros(7), np.nan, np.zeros(392)]), ["voltage", "1 of 400", "nan at index 7"]),
        (dict(stimulus=np.full(400, np.inf)), ["stimulus", "400 of 400"]),
        (dict(spike_times=[13.0, np.nan]), ["spike_times", "nan at index 1"]),
        (dict(spike_times=[14.0, 13.0]), ["strictly increasing", "index 1", "13 ms follows 14 ms"]),
        (dict(spike_times=[14.0, 14.0]), ["strictly increasing", "14 ms follows 14 ms"]),
        (dict(spike_times=[1.0, 14.0]), ["1 of 2 spike times lie outside", "12.5 to 32.5 ms", "1 ms"]),
        (dict(spike_times=[14000.0]), ["outside the recording", "wrong unit", "stimulus shorter"]),
    ],
)
def test_refuses(changes, words):
    _refuses(lambda: _recording(**changes), *words)


def test_refuses_parts_that_are_not_there():
    r = _recording()
    _refuses(lambda: r.slice(0.0, 20.0), "slice 0 to 20 ms", "12.5 to 32.5 ms")
    _refuses(lambda: r.slice(20.0, 15.0), "slice 20 to 15 ms")
    _refuses(lambda: r.split(12.5), "split at 12.5 ms is outside")
    _refuses(lambda: r.split(99.0), "split at 99 ms is outside", "12.5 to 32.5 ms")
    _refuses(lambda: r.resample(0.0), "0 < dt <= duration")
    _refuses(lambda: r.resample(21.0), "0 < dt <= duration")


# ---------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(stimulus=None),
        dict(voltage=None, spike_times=None),
        dict(stimulus_unit="dB", stimulus_name="sound", voltage=None),
        dict(stimulus_unit="uA/cm2"),
        dict(stimulus=None, voltage=None, duration=20.0),
        dict(spike_times=[]),
    ],
    ids=["all", "no stimulus", "stimulus alone", "sound", "density", "spikes alone", "silent"],
)
def test_round_trip(tmp_path, suffix, changes):
    r = _recording(**changes)
    back = read_recording(write_recording(r, tmp_path / f"cell{suffix}"))
    _same(r, back)


def test_twenty_kilohertz_times_survive_csv(tmp_path):
    r = Recording(dt=0.05, stimulus=np.arange(20000.0), t0=0.1)
    back = read_recording(write_recording(r, tmp_path / "long.csv"))
    assert back.dt == 0.05 and back.n == 20000


def test_writing_never_overwrites_unless_told(tmp_path):
    r, path = _recording(), tmp_path / "cell.npz"
    path.write_text("precious")
    _refuses(lambda: write_recording(r, path), "the file exists", "overwrite=True")
    assert path.read_text() == "precious"
    write_recording(r, path, overwrite=True)
    _same(r, read_recording(path))
    assert [p.name for p in tmp_path.iterdir()] == ["cell.npz"]


def test_writing_refuses(tmp_path):
    _refuses(lambda: write_recording(_recording(), tmp_path / "cell.mat"), "'.mat'", ".npz, .csv")
    _refuses(lambda: write_recording(_recording(), tmp_path / "no" / "cell.npz"), "there is no folder")


# ---------------------------------------------------------------------------------------------------- tables

TABLE = "{time},{current},{voltage}\n0,0.5,-0.07\n{step},0.25,-0.06\n{step2},0.125,-0.05\n"


def _table(tmp_path, text: str, name: str = "cell.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "time, factor", [("time_ms", 1.0), ("time (s)", 1e3), ("t_us", 1e-3), ("Time [msec]", 1.0), ("times_seconds", 1e3)]
)
@pytest.mark.parametrize(
    "current, to_pa", [("current_pA", 1.0), ("current (nA)", 1e3), ("I_uA", 1e6), ("injected_current_A", 1e12)]
)
@pytest.mark.parametrize("voltage, to_mv", [("voltage_mV", 1.0), ("Vm [V]", 1e3), ("v_uV", 1e-3)])
def test_units_are_converted(tmp_path, time, factor, current, to_pa, voltage, to_mv):
    step = 0.1 / factor
    path = _table(
        tmp_path, TABLE.format(time=time, current=current, voltage=voltage, step=f"{step:.9g}", step2=f"{2 * step:.9g}")
    )
    r = read_recording(path)
    assert r.dt == pytest.approx(0.1, rel=1e-12) and r.stimulus_unit == "pA"
    np.testing.assert_allclose(r.stimulus, np.array([0.5, 0.25, 0.125]) * to_pa)
    np.testing.assert_allclose(r.voltage, np.array([-0.07, -0.06, -0.05]) * to_mv)


@pytest.mark.parametrize("unit", ["uA/cm2", "µA/cm²", "uA_per_cm2"])
def test_current_density_and_other_stimuli(tmp_path, unit):
    r = read_recording(_table(tmp_path, f"time_ms\tcurrent_{unit}\n0\t1\n1\t2\n", "cell.tsv"))
    assert (r.stimulus_unit, r.stimulus.tolist()) == ("uA/cm2", [1.0, 2.0])
    r = read_recording(_table(tmp_path, "time_ms;sound_dB\n0;1\n1;2\n"))
    assert (r.stimulus_unit, r.stimulus_name) == ("dB", "sound")


def test_spike_times_beside_or_in_their_own_file(tmp_path):
    text = "time_ms,current_pA,spike_time_s\n0,1,0.0005\n1,1,0.0015\n2,1,\n3,1,\n"
    assert read_recording(_table(tmp_path, text)).spike_times.tolist() == [0.5, 1.5]
    path = _table(tmp_path, "time_ms,current_pA\n0,1\n1,1\n")
    spikes = _table(tmp_path, "# sorted by hand\nspike_time_us\n500\n1500\n", "spikes.txt")
    assert read_recording(path, spikes=spikes).spike_times.tolist() == [0.5, 1.5]
    alone = read_recording(spikes, duration=10.0)
    assert alone.duration == 10.0 and alone.stimulus is None


def test_other_columns_and_chosen_columns(tmp_path):
    path = _table(tmp_path, "trial,time_ms,current_pA,i_nA,probe_mV\n1,0,1,2,-60\n1,1,1,2,-61\n")
    _refuses(lambda: read_recording(path), "2 stimulus columns", "'current_pA', 'i_nA'", "stimulus=")
    r = read_recording(path, stimulus="i_nA", voltage="probe_mV")
    assert r.stimulus.tolist() == [2000.0, 2000.0] and r.voltage.tolist() == [-60.0, -61.0]
    _refuses(lambda: read_recording(path, stimulus="nope_pA"), "no column 'nope_pA'", "'trial', 'time_ms'")


def test_npz_of_another_program(tmp_path):
    path = tmp_path / "cell.npz"
    np.savez(path, dt_us=50, current_nA=np.ones(4), voltage_V=np.full(4, -0.07), note="x", trial=np.arange(3))
    r = read_recording(path)
    assert (r.dt, r.stimulus.tolist(), r.voltage.tolist()) == (0.05, [1000.0] * 4, [-70.0] * 4)
    assert r.source == str(path)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["no header line", "time_ms,current_pA,voltage_mV"]),
        ("time_ms,a_b\n0,1\n", ["no stimulus, voltage or spike times", "'time_ms', 'a_b'"]),
        ("time_ms,current_pA\n0,1\n1,x\n", ["'current_pA'", "line 3", "'x' is not a number"]),
        ("time_ms,current_pA\n0,\n1,2\n", ["'current_pA'", "line 2", "the cell is empty"]),
        ("time_ms,current_pA\n0,1\n1,nan\n", ["'current_pA'", "1 of 2 values are NaN", "row 2"]),
        ("time_ms,current_kA\n0,1\n1,1\n", ["'current_kA'", "unknown unit 'kA'", "A, uA, nA, pA"]),
        ("time_ms,current_mV\n0,1\n1,1\n", ["'current_mV'", "not a unit of current"]),
        ("time_ms,voltage\n0,1\n1,1\n", ["'voltage'", "no unit", "V, mV, uV", "voltage_mV"]),
        ("time_h,current_pA\n0,1\n1,1\n", ["'time_h'", "unknown unit 'h'", "s, ms, us"]),
        ("time,current_pA\n0,1\n1,1\n", ["'time'", "no unit", "time_ms"]),
        ("current_pA\n0\n1\n", ["no time base", "dt"]),
        ("time_ms,current_pA\n0,1\n", ["at least 2 values"]),
        ("time_ms,current_pA\n0,1\n1,1\n2,1\n4,1\n", ["not uniform", "after 2 ms it is 2 ms"]),
        ("time_ms,current_pA\n2,1\n1,1\n0,1\n", ["not uniform"]),
        ("time_ms,current_pA,current_pA\n0,1,1\n", ["same name"]),
        ("time_ms,current_pA,voltage_mV\n0,1,1\n1,1,1\n2,,1\n", ["stimulus is shorter than the recording"]),
        ("time_ms,current_pA,spike_time_ms\n0,1,1.5\n1,1,0.5\n", ["strictly increasing"]),
        ("time_ms,current_pA,spike_time_ms\n0,1,1.5\n1,1,9.5\n", ["1 of 2 spike times lie outside", "0 to 2 ms"]),
        ("# dt_ms: fast\ncurrent_pA\n1\n", ["'dt_ms' must be a number", "'fast'"]),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, words):
    path = _table(tmp_path, text)
    _refuses(lambda: read_recording(path), str(path), *words)


def test_files_that_cannot_be_read(tmp_path):
    _refuses(lambda: read_recording(tmp_path / "nothing.csv"), "nothing.csv", "no such file")
    _refuses(lambda: read_recording(tmp_path), "not a file")
    other = tmp_path / "cell.abf"
    other.write_bytes(b"ABF2")
    _refuses(lambda: read_recording(other), "'.abf'", ".nwb, .csv, .tsv, .txt, .npz")
    for name, words in [
        ("c.csv", "not a text table"),
        ("c.npz", "not a readable npz"),
        ("c.nwb", "not a readable NWB"),
    ]:
        path = tmp_path / name
        path.write_bytes(bytes(range(128, 256)) * 4)
        _refuses(lambda path=path: read_recording(path), name, words)
    whole = write_recording(_recording(), tmp_path / "cell.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole.read_bytes()[:-200])
    _refuses(lambda: read_recording(cut), "cut.npz", "not a readable npz")


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "cell.npz"
    np.savez(path, current_pA=np.array([{}, {}], dtype=object), dt_ms=0.1)
    _refuses(lambda: read_recording(path), "not a readable npz file of plain arrays")


def test_options_that_do_not_apply_or_contradict(tmp_path):
    path = _table(tmp_path, "time_ms,current_pA\n0,1\n1,1\n")
    _refuses(lambda: read_recording(path, sweep=3), "'sweep' does not apply to .csv files")
    _refuses(lambda: read_recording(path, dt=0.5), "dt was given as 0.5 ms", "steps by 1 ms")
    _refuses(lambda: read_recording(path, duration=5.0), "stimulus is shorter", "5 (5 ms)")
    _refuses(lambda: read_recording(path, spikes=tmp_path / "none.txt"), "none.txt", "no such file")
    bad = _table(tmp_path, "when\n1\n", "spikes.txt")
    _refuses(lambda: read_recording(path, spikes=bad), "no column of spike times among 'when'", "spike_time_ms")


# ---------------------------------------------------------------------------------------------------- NWB


@pytest.fixture
def nwb(tmp_path):
    """Writes an NWB file with sweeps of 20 samples at 10 kHz, one second apart, and a units table."""
    pynwb = pytest.importorskip("pynwb")

    def write(
        sweeps=1, units=(), table=True, numbers=True, rate=1e4, stimulus_samples=20, stimulus_rate=None, times=None
    ):
        start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
        file = pynwb.NWBFile("made up", "id", start)
        device = file.create_device("rig")
        electrode = file.create_icephys_electrode(name="pipette", description="patch", device=device)
        for k in range(sweeps):
            common = dict(electrode=electrode, gain=1.0, sweep_number=np.uint64(10 + k) if numbers else None)
            base = dict(rate=rate, starting_time=float(k)) if times is None else dict(timestamps=np.asarray(times))
            given = pynwb.icephys.CurrentClampStimulusSeries(
                name=f"stimulus_{k}",
                data=np.arange(float(stimulus_samples)) + k,
                conversion=1e-9,
                **common,
                **(base | ({} if stimulus_rate is None else dict(rate=stimulus_rate))),
            )
            response = pynwb.icephys.CurrentClampSeries(
                name=f"sweep_{k}", data=np.arange(20.0), conversion=1e-3, offset=-0.07, **common, **base
            )
            if table:
                file.add_intracellular_recording(electrode=electrode, stimulus=given, response=response)
            else:
                file.add_stimulus(given)
                file.add_acquisition(response)
        for spikes in units:
            file.add_unit(spike_times=spikes, obs_intervals=[[0.0, 2.0]])
        path = tmp_path / "cell.nwb"
        with pynwb.NWBHDF5IO(str(path), "w") as io:
            io.write(file)
        return path

    return write


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("numbers", [True, False])
def test_nwb_sweep(nwb, table, numbers):
    path = nwb(table=table, numbers=numbers, units=[[0.0005, 0.0015]])
    r = read_recording(path)
    assert (r.dt, r.t0, r.n, r.stimulus_unit) == (pytest.approx(0.1), 0.0, 20, "pA")
    np.testing.assert_allclose(r.voltage, np.arange(20.0) - 70.0)  # data * conversion + offset, V to mV
    np.testing.assert_allclose(r.stimulus, 1000.0 * np.arange(20.0))  # nA to pA
    np.testing.assert_allclose(r.spike_times, [0.5, 1.5])
    assert "cell.nwb" in r.source and "sweep_0" in r.source


@pytest.mark.parametrize("table", [True, False])
def test_nwb_several_sweeps(nwb, table):
    path = nwb(sweeps=3, table=table, units=[[0.001, 1.0005, 2.001]])
    _refuses(lambda: read_recording(path), "3 sweeps", "sweep=", "10 (sweep_0), 11 (sweep_1), 12 (sweep_2)")
    _refuses(lambda: read_recording(path, sweep=7), "no sweep 7", "10 (sweep_0)")
    for asked in (11, "11", "sweep_1"):
        r = read_recording(path, sweep=asked)
        assert r.t0 == 1000.0 and r.stimulus[0] == pytest.approx(1000.0)
        np.testing.assert_allclose(r.spike_times, [1000.5])


def test_nwb_time_stamps(nwb):
    r = read_recording(nwb(times=5.0 + 1e-4 * np.arange(20)))
    assert (r.dt, r.t0) == (pytest.approx(0.1, rel=1e-9), 5000.0)
    path = nwb(times=np.r_[np.arange(19), 30.0] * 1e-4)
    _refuses(lambda: read_recording(path), "'sweep_0'", "time base is not uniform")


def test_nwb_units_alone(nwb):
    path = nwb(sweeps=0, units=[[0.1, 0.2], [0.3]])
    _refuses(lambda: read_recording(path), "2 units", "unit=", "0, 1")
    _refuses(lambda: read_recording(path, unit=5), "no unit 5", "0, 1")
    r = read_recording(path, unit=1)
    assert (r.duration, r.spike_times.tolist(), r.stimulus) == (2000.0, [300.0], None)
    assert read_recording(path, unit=1, duration=500.0).duration == 500.0


def test_nwb_that_cannot_be_used(nwb):
    _refuses(lambda: read_recording(nwb(stimulus_samples=15)), "stimulus is shorter than the recording", "15 samples")
    _refuses(lambda: read_recording(nwb(stimulus_rate=2e4)), "different sampling intervals", "0.1 and 0.05 ms")
    _refuses(lambda: read_recording(nwb(units=[[0.001, 0.5]])), "1 of 2 spike times lie outside", "0 to 2 ms")
    _refuses(lambda: read_recording(nwb(units=[[0.0015, 0.0005]])), "strictly increasing")
    _refuses(lambda: read_recording(nwb(sweeps=0)), "no CurrentClampSeries, no stimulus and no units")
    _refuses(lambda: read_recording(nwb(sweeps=0), sweep=1), "sweep 1 was asked for", "no CurrentClampSeries")
    _refuses(lambda: read_recording(nwb(), unit=0), "unit 0 was asked for", "no units")
    _refuses(lambda: read_recording(nwb(), dt=0.1), "'dt' does not apply to .nwb files")


def test_nwb_without_pynwb_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pynwb", None)
    path = tmp_path / "cell.nwb"
    path.write_bytes(b"x")
    _refuses(lambda: read_recording(path), "needs pynwb", "pip install 'brainsim[io]'")
