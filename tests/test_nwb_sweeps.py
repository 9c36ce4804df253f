"""NWB files: each sweep has its own stimulus or none, and nothing comes from outside the file or from nowhere."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

import datetime
import zlib

import numpy as np
import pytest
from memory import peak

from brainsim.io import RecordingError, read_recording
from brainsim.io._sweeps import sweeps

pynwb = pytest.importorskip("pynwb")
h5py = pytest.importorskip("h5py")

RATE = 1e4


def built(responses=(), stimuli=(), rows=()):
    """An NWB file in memory; series as (name, electrode, options), rows as (response, stimulus or None, options)."""
    file = pynwb.NWBFile("made up", "id", datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))
    device, cells, made = file.create_device("rig"), {}, {}

    def series(kind, name, cell, n=20, **options):
        if cell not in cells:
            cells[cell] = file.create_icephys_electrode(name=cell, description="patch", device=device)
        if "timestamps" not in options:
            options = dict(rate=RATE, starting_time=0.0) | options
        value = float(name[-1])
        made[name] = kind(name=name, data=np.full(n, value), electrode=cells[cell], gain=1.0, **options)
        return made[name]

    for name, cell, options in responses:
        kind = pynwb.icephys.IZeroClampSeries if name.startswith("zero") else pynwb.icephys.CurrentClampSeries
        file.add_acquisition(series(kind, name, cell, conversion=1e-3, **options))
    for name, cell, options in stimuli:
        file.add_stimulus(series(pynwb.icephys.CurrentClampStimulusSeries, name, cell, conversion=1e-12, **options))
    for response, stimulus, options in rows:
        given = {} if stimulus is None else dict(stimulus=made[stimulus])
        file.add_intracellular_recording(
            electrode=made[response].electrode, response=made[response], **given, **options
        )
    return file


def written(path, *args, **options):
    """The same at `path`."""
    with pynwb.NWBHDF5IO(str(path), "w") as opened:
        opened.write(built(*args, **options), cache_spec=False)
    return path


def stimulus_of(path, sweep, **options):
    """The number in the name of the stimulus that a sweep was given, or None."""
    r = read_recording(path, sweep=sweep, **options)
    assert r.voltage[0] == float(sweep[-1])  # mV, as in the name
    assert ("without a stimulus" in r.source) == (r.stimulus is None)
    return None if r.stimulus is None else round(float(r.stimulus[0]))


def refuses(path, *words, **options):
    with pytest.raises(RecordingError) as caught:
        read_recording(path, **options)
    said = str(caught.value)
    assert "\n" not in said and said.isprintable()
    for word in (path.name, *words):
        assert word in said, said


def test_which_stimulus_belongs_to_which_sweep():
    at = lambda t: dict(starting_time=t)
    number = lambda k: dict(sweep_number=np.uint64(k))
    stamps = lambda t: dict(timestamps=t + np.arange(20) / RATE)
    file = built(
        responses=[
            ("v1", "A", number(1)), ("v2", "A", number(2)), ("v3", "B", number(2)), ("v4", "B", number(4)),
            ("w1", "C", at(1.0)), ("w2", "C", at(2.0)), ("w3", "C", at(3.0)),
            ("x1", "D", stamps(1.0)), ("x2", "D", stamps(1.0 + 20 / RATE)),
            ("zero1", "E", at(0.0)),
        ],
        stimuli=[
            ("i2", "A", number(2)), ("i1", "A", number(1)), ("i4", "B", number(4) | at(9.0)),
            ("j3", "C", at(3.0)), ("j1", "C", at(1.0)),
            ("k2", "D", stamps(1.0 + 20 / RATE)), ("k1", "D", stamps(1.0)),
            ("l1", "E", at(0.0)),
        ],
    )  # fmt: skip
    belongs = {s.response.series.name: [t.series.name for t in s.stimuli] for s in sweeps(file)}
    # v3 is of another cell than i2, and sweeps of 2 ms follow one another without a pause in x
    assert belongs == dict(
        v1=["i1"], v2=["i2"], v3=[], v4=["i4"], w1=["j1"], w2=[], w3=["j3"], x1=["k1"], x2=["k2"], zero1=[]
    )


def test_what_the_file_does_not_tell_is_not_guessed(tmp_path):
    path = written(
        tmp_path / "a.nwb",
        responses=[("v1", "A", {}), ("v2", "A", {})],
        stimuli=[("i1", "A", {}), ("i2", "A", {}), ("j1", "B", {})],
    )
    refuses(path, "2 stimuli may belong to 'v2'", "'i1', 'i2'", "stimulus=", sweep="v2")
    refuses(path, "'j1' is no stimulus of 'v2'", "'i1', 'i2'", sweep="v2", stimulus="j1")
    assert stimulus_of(path, "v1", stimulus="i2") == 2


def test_the_table_of_recordings_comes_first(tmp_path):
    same = dict(sweep_number=np.uint64(1))
    path = written(
        tmp_path / "a.nwb",
        responses=[("v1", "A", same), ("v2", "A", {}), ("v3", "A", {}), ("v4", "A", dict(starting_time=5.0))],
        stimuli=[("i1", "A", same), ("i2", "A", {}), ("i4", "A", dict(starting_time=5.0))],
        rows=[("v1", "i2", {}), ("v2", None, {}), ("v3", "i1", {})],
    )
    assert [stimulus_of(path, f"v{k}") for k in (1, 2, 3, 4)] == [2, None, 1, 4]  # the last is in no row


def test_a_bias_current_is_not_passed_over_in_silence(tmp_path):
    responses = [("v1", "A", dict(bias_current=5e-11)), ("v2", "A", dict(bias_current=np.nan)), ("v3", "A", {})]
    path = written(tmp_path / "a.nwb", responses=responses, stimuli=[])
    said = [read_recording(path, sweep=k).source for k in range(3)]
    assert ["beside a bias current of 50 pA" in x for x in said] == [True, False, False]


def test_a_row_may_be_a_part_of_a_series(tmp_path):
    part = lambda k: dict(start_index=5 * k, index_count=5)
    parts = lambda k: {f"{what}_{x}": n for what in ("response", "stimulus") for x, n in part(k).items()}
    path = written(
        tmp_path / "a.nwb",
        responses=[("v1", "A", dict(sweep_number=np.uint64(7)))],
        stimuli=[("i1", "A", {})],
        rows=[("v1", "i1", parts(k)) for k in range(4)],
    )
    r = read_recording(path, sweep=2)
    assert (r.n, r.t0) == (5, pytest.approx(1.0))


def retimed(content, path, times):
    """The plain file with time stamps instead of a rate."""
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        for series in (file["acquisition/v1"], file["stimulus/presentation/i1"]):
            del series["starting_time"]
            series["timestamps"] = times
            series["timestamps"].attrs.update(interval=np.int32(1), unit="seconds")
    return path


@pytest.mark.filterwarnings("ignore")  # pynwb warns of too few times
def test_clocks(tmp_path, plain):
    single = (60.0 + np.arange(20) / 20e3).astype(np.float32)
    rounded = np.round(np.arange(20) / 30e3, 6)
    for times, dt in ((single, 0.05), (rounded, 1 / 30)):
        r = read_recording(retimed(plain, tmp_path / "a.nwb", times))
        assert r.dt == pytest.approx(dt, rel=5e-3) and r.t0 == 1e3 * times[0]
    refuses(retimed(plain, tmp_path / "a.nwb", rounded[:2]), "2 times, but 20 samples")
    refuses(retimed(plain, tmp_path / "a.nwb", np.delete(np.arange(21) / 30e3, 7)), "not uniform")


# ---------------------------------------------------------------------------------------------------- hostile files

SECRET = b"12345678" * 20


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A file with one sweep, its bytes."""
    path = written(tmp_path_factory.mktemp("nwb") / "a.nwb", [("v1", "A", {})], [("i1", "A", {})])
    return path.read_bytes()


def replace(file, make):
    """Puts another dataset in the place of the voltage."""
    old = file["acquisition/v1/data"]
    attributes = dict(old.attrs)
    del file["acquisition/v1/data"]
    new = make(file["acquisition/v1"])
    if new is not None:
        new.attrs.update(attributes)


def outside(file, secret):
    replace(file, lambda group: group.create_dataset("data", (20,), "<f8", external=[(secret, 0, 160)]))


def linked(file, secret):
    with h5py.File(secret + ".h5", "w") as other:
        other["data"] = np.arange(20.0)
    replace(file, lambda group: group.__setitem__("data", h5py.ExternalLink(secret + ".h5", "data")))


def virtual(file, secret):
    with h5py.File(secret + ".h5", "w") as other:
        other["data"] = np.arange(20.0)
    layout = h5py.VirtualLayout((20,), "<f8")
    layout[:] = h5py.VirtualSource(secret + ".h5", "data", (20,))
    replace(file, lambda group: group.create_virtual_dataset("data", layout))


def soft(file, secret):
    """A soft link to an external one that stands elsewhere."""
    linked(file, secret)
    file["general/far"] = file["acquisition/v1"].get("data", getlink=True)
    del file["acquisition/v1/data"]
    file["acquisition/v1/data"] = h5py.SoftLink("/general/far")


def referred(file, secret):
    """Reachable by a reference only: no link leads there."""
    hidden = file.create_group("hidden")
    hidden["v"] = h5py.ExternalLink(secret + ".h5", "/")
    file.attrs["target"] = hidden.ref
    h5py.h5o.link(hidden.id, file["general"].id, b"x")
    del file["hidden"]


@pytest.mark.parametrize("make", [outside, linked, virtual, soft, referred])
def test_nothing_comes_from_another_file(tmp_path, plain, make):
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    path = tmp_path / "a.nwb"
    path.write_bytes(plain)
    with h5py.File(path, "r+") as file:
        make(file, str(secret))
    refuses(path, "only this one is read")


def huge(group):
    return group.create_dataset("data", (1 << 40,), "<f8")  # contiguous, nothing written


def sparse(group):
    return group.create_dataset("data", (1 << 24,), "<f8", chunks=(1 << 10,))


def bomb(group):
    new = group.create_dataset("data", (1 << 26,), "<f8", chunks=(1 << 20,), compression="gzip")
    chunk = zlib.compress(bytes(1 << 23), 1)
    for k in range(1 << 6):
        new.id.write_direct_chunk((k << 20,), chunk)
    return new


def swollen(group):
    """A chunk of 160 bytes that unpacks to 16 MiB."""
    new = group.create_dataset("data", (20,), "<f8", chunks=(20,), compression="gzip")
    new.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 24), 1))
    return new


def wide(group):
    return group.create_dataset("data", (), "S2000000")


def text(group):
    return group.create_dataset("data", data=["a"] * 20)


@pytest.mark.parametrize(
    "make, words",
    [
        (huge, ["declares"]),
        (sparse, ["which are not in the file"]),
        (bomb, ["declares 67,108,864 numbers", "less compression"]),
        (swollen, ["a chunk that unpacks to more than its 160 bytes"]),
        (wide, ["reasonable size"]),
        (text, ["numbers of one channel"]),
    ],
)
def test_what_is_declared_is_not_believed(tmp_path, plain, make, words):
    path = tmp_path / "a.nwb"
    path.write_bytes(plain)
    with h5py.File(path, "r+") as file:
        replace(file, make)
    refuses(path, *words)


def test_compressed_series_are_read(tmp_path, plain):
    path, values = tmp_path / "a.nwb", np.arange(1000.0)
    path.write_bytes(plain)
    with h5py.File(path, "r+") as file:
        options = dict(chunks=(64,), compression="gzip", shuffle=True, fletcher32=True)
        replace(file, lambda group: group.create_dataset("data", data=values, **options))
        del file["stimulus/presentation/i1"]
    np.testing.assert_allclose(read_recording(path).voltage, values)


@pytest.mark.parametrize(
    "rate, said", [(0.0, "not a readable NWB"), (np.nan, "a rate of nan Hz"), (1e300, "dt must lie")]
)
def test_rates(tmp_path, plain, rate, said):
    path = tmp_path / "a.nwb"
    path.write_bytes(plain)
    with h5py.File(path, "r+") as file:
        file["acquisition/v1/starting_time"].attrs["rate"] = rate
        del file["stimulus/presentation/i1"]
    refuses(path, said)


def test_damaged_files_are_quiet(tmp_path, plain):
    for k, content in enumerate([b"", plain[:100], plain[:-1000], plain[:48] + b"\xff" * 64 + plain[112:]]):
        (tmp_path / f"{k}.nwb").write_bytes(content)
        refuses(tmp_path / f"{k}.nwb")


def test_a_heap_that_libhdf5_would_never_leave(tmp_path, plain):
    start = plain.index(b"GCOL") + 16  # its first object: index and size become 0
    (tmp_path / "a.nwb").write_bytes(plain[:start] + bytes(16) + plain[start + 16 :])
    refuses(tmp_path / "a.nwb", "the heap of texts at byte", "is corrupt")


@pytest.mark.parametrize("make", [lambda file: file["acquisition"], lambda file: h5py.SoftLink("/acquisition")])
def test_links_in_a_circle(tmp_path, plain, make):
    path = tmp_path / "a.nwb"
    path.write_bytes(plain)
    with h5py.File(path, "r+") as file:
        file["acquisition/v1/again"] = make(file)
    refuses(path, "lead in a circle")


def test_a_type_of_variable_length_that_libhdf5_would_crash_on(tmp_path, plain):
    string = bytes([0x19, 0x01])  # class and version, and that it is a string
    start = plain.index(b"object_id\0")
    start = plain.index(string, start)
    (tmp_path / "a.nwb").write_bytes(plain[: start + 1] + b"\x09" + plain[start + 2 :])
    refuses(tmp_path / "a.nwb", "has a type of no known kind")


def test_a_sweep_takes_the_memory_of_its_numbers(tmp_path):
    def needed(n):
        file = written(tmp_path / f"{n}.nwb", responses=[("v1", "A", dict(sweep_number=np.uint64(1)))])
        with h5py.File(file, "r+") as opened:
            where = opened["acquisition/v1"]
            about = dict(where["data"].attrs)
            del where["data"]
            where["data"] = np.zeros(n, np.int16)
            where["data"].attrs.update(about)
        return peak(file)

    needed(20)  # what is imported and kept at the first time
    n = 1 << 20
    assert needed(n) - needed(20) < 1.1 * 8 * n
