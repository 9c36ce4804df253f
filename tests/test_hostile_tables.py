"""Tables that are damaged, mean or odd end in one line, and cost no more memory than their size explains."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from memory import peak

from brainsim.io import Recording, RecordingError, read_recording, write_recording


def refuses(path, *words, **options):
    with pytest.raises(RecordingError) as caught:
        read_recording(path, **options)
    said = str(caught.value)
    assert "\n" not in said and said.isprintable() and len(said) < 1000
    for word in (path.name, *words):
        assert word in said, said


def table(tmp_path, content, name="cell.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def npy(shape, data=b"", descr="<f8", version=b"\x01\x00"):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little") + header + data


def archive(tmp_path, method=zipfile.ZIP_DEFLATED, **members):
    path = tmp_path / "cell.npz"
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def array(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


# ---------------------------------------------------------------------------------------------------- npz

VOLTS = array(np.zeros(100))


@pytest.mark.parametrize(
    "content, word",
    [
        (npy((1 << 40,)), "declares"),  # 8 TiB: nothing is allocated
        (npy((-1,)), "type"),
        (npy((100,), bytes(8)), "declares"),
        (npy((1,), bytes(800)), "declares"),
        (npy((100,), b"", "|O"), "type"),
        (npy((1,), bytes(8), "<M8[ns]"), "type"),
        (npy((10, 10), bytes(800)), "shape (10, 10)"),
        (npy((100,), bytes(800), version=b"\x09\x00"), "version"),
        (npy((1,), bytes(800), ("<f8", (100,))), "type"),
        (b"\x93NUMPY" + b"\x01\x00\xff\xff{", "corrupt"),
        (b"", "corrupt"),
        (b"\x93NUMPY\x01\x00" + (4000).to_bytes(2, "little") + b"[" * 4000, "corrupt"),
    ],
)
def test_headers_of_arrays_are_not_believed(tmp_path, content, word):
    refuses(archive(tmp_path, voltage_mV=content, dt_ms=array(0.1)), word)


def test_only_the_arrays_that_are_needed_are_read(tmp_path):
    path = archive(tmp_path, voltage_mV=VOLTS, dt_ms=array(0.1), movie=npy((1 << 40,)), label=npy((3,), b"", "|O"))
    assert read_recording(path).n == 100


def test_a_bomb_is_a_clear_no(tmp_path):
    path = archive(tmp_path, voltage_mV=npy((1 << 26,), bytes(1 << 20)), dt_ms=array(0.1))
    tracemalloc.start()
    refuses(path, "declares 67,108,864 numbers (0.5 GiB)", "less compression")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_what_was_written_is_read_however_well_it_would_compress(tmp_path, monkeypatch):
    for module in ("_limits", "_write"):
        monkeypatch.setattr(f"brainsim.io.{module}.FREE", 1 << 16)
    still = Recording(dt=0.1, stimulus=np.zeros(20000), voltage=np.full(20000, -65.0))
    path = write_recording(still, tmp_path / "still.npz")
    np.testing.assert_array_equal(read_recording(path).voltage, still.voltage)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_named(tmp_path, method):
    refuses(archive(tmp_path, method, voltage_mV=VOLTS), "compressed in a way that numpy does not write")


def damaged(tmp_path, old, new):
    whole = archive(tmp_path, voltage_mV=VOLTS, dt_ms=array(0.1)).read_bytes()
    assert old in whole
    return table(tmp_path, whole.replace(old, new), "cell.npz")


def test_damaged_archives(tmp_path):
    local, central = b"PK\x03\x04\x14\x00", b"PK\x01\x02\x14\x03\x14\x00"
    refuses(damaged(tmp_path, central + b"\0\0", central + b"\1\0"), "encrypted")
    refuses(damaged(tmp_path, central, central[:-2] + b"\xff\x00"), "zip file version")  # NotImplementedError
    refuses(damaged(tmp_path, local, b"PK\x03\x05\x14\x00"), "corrupt")
    whole = archive(tmp_path, voltage_mV=VOLTS, dt_ms=array(0.1)).read_bytes()
    start = whole.index(b"voltage_mV.npy") + 14
    refuses(table(tmp_path, whole[:start] + b"\xff" * 20 + whole[start + 20 :], "cell.npz"), "corrupt")  # zlib.error
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        refuses(table(tmp_path, whole[:size], "cell.npz"), "not a readable npz")


def test_a_table_of_contents_without_end(tmp_path):
    refuses(archive(tmp_path, **{f"a{k}_{'x' * 60000}": b"" for k in range(20)}), "table of contents")


def test_two_arrays_of_one_name(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = tmp_path / "cell.npz"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("voltage_mV.npy", VOLTS)
            file.writestr("voltage_mV.npy", VOLTS)
    refuses(path, "two arrays have the same name")


# ---------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    "content, words",
    [
        ("time_ms,current_pA\n0,1,0,2\n0,2,0,3\n", ["line 2 has 4 cells", "2 columns", "decimal commas"]),
        ("time_ms;current_pA\n0,1;5\n0,2;6\n", ["'0,1' is not a number", "decimal point"]),
        ("time_ms,current_pA\n0,1\n1,\0\n", ["line 3", "'\\x00' is not a number"]),
        ('time_ms,current_pA\n0,"1\n1,2\n', ["line 2"]),
        ("time_ms,current_pA\n" + "1" * (1 << 21), ["more than 1,048,576 characters"]),
        (",".join(f"column{k}" for k in range(5000)) + "\n1\n", ["... 4988 more"]),
        ("time_ms,\x1b[2Jcurrent_pA\u202e\n0,1\n", ["\\x1b[2Jcurrent_pA\\u202e"]),
        (b"\xff\xfet\0i\0m\0e\0", ["UTF-8"]),
        ("time_ms,current_pA\n0,1e999\n1,1\n", ["NaN or infinite"]),
    ],
)
def test_tables_that_make_no_sense(tmp_path, content, words):
    refuses(table(tmp_path, content), *words)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbftime_ms,current_pA\r\n0,1\r\n1,2\r\n",  # a mark of the byte order, as spreadsheets write it
        b"time_ms,current_pA\r0,1\r1,2\r",
        b'"time_ms","current_pA"\n"0","1"\n"1","2"\n\n\n',
        b"time_ms,current_pA,,\n0,1,,\n1,2,,",
        b"time_ms,current_pA,remark\n0,1,good\n1,2,\n",  # what is not asked for need not be numbers
    ],
)
def test_tables_that_look_odd(tmp_path, content):
    r = read_recording(table(tmp_path, content))
    assert (r.dt, r.stimulus.tolist()) == (1.0, [1.0, 2.0])


def test_a_table_takes_the_memory_of_its_numbers(tmp_path):
    path = table(tmp_path, "time_ms,current_pA,voltage_mV\n" + "".join(f"{k},200.5,-65.25\n" for k in range(100_000)))
    assert peak(path) < 100_000 * 3 * 8 + (2 << 20)


def test_an_archive_takes_the_memory_of_its_numbers(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, voltage_mV=np.arange(1 << 20, dtype=np.int16), dt_ms=0.1)
    assert peak(path) < 4.5 * path.stat().st_size  # four times as much is what float64 takes
    np.savez(path, voltage_mV=np.zeros(1 << 20), time_us=100 * np.arange(1 << 20, dtype=np.uint32))
    assert peak(path) < 1.5 * path.stat().st_size


def test_times_that_are_none_are_counted(tmp_path):
    times = "".join(f"{t},1\n" for t in (0.0, 0.1, "nan", 0.3, "inf"))
    with pytest.raises(RecordingError, match="column 'time_ms': 2 of 5 values are NaN or infinite, first at row 3"):
        read_recording(table(tmp_path, "time_ms,current_pA\n" + times))


def test_one_column_plays_one_part(tmp_path):
    path = table(tmp_path, "time_ms,x_mV\n0,1\n1,2\n")
    for options in (dict(stimulus="x_mV", voltage="x_mV"), dict(voltage="time_ms")):
        with pytest.raises(
            RecordingError, match=r"column '.*' cannot be .* and .* at once; there are 'time_ms', 'x_mV'"
        ):
            read_recording(path, **options)


# ---------------------------------------------------------------------------------------------------- not a file


def test_what_is_not_a_file_keeps_nobody_waiting(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    refuses(tmp_path / "folder.npz", "not a file, but a folder")
    refuses(tmp_path / "pipe.csv", "not a file, but a device or a pipe")
    refuses(tmp_path / "loop.csv", "cannot be read")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    refuses(tmp_path / "zero.csv", "not a file, but a device or a pipe")
    path = table(tmp_path, "time_ms,current_pA\n0,1\n1,1\n")
    for other, word in (("pipe.csv", "not a file"), ("none.csv", "no such file (spike times)")):
        with pytest.raises(RecordingError, match=word.replace("(", r"\(").replace(")", r"\)")):
            read_recording(path, spikes=tmp_path / other)
    for name in ("x\0.csv", "y" * 5000 + ".csv"):
        with pytest.raises(RecordingError, match=r"cannot be read|must be a path"):
            read_recording(name)


# ---------------------------------------------------------------------------------------------------- clocks


def clocked(tmp_path, times, samples=None, unit="ms", **options):
    path = tmp_path / "cell.npz"
    np.savez(path, **{f"time_{unit}": times, "voltage_mV": np.zeros(len(times) if samples is None else samples)})
    return read_recording(path, **options)


def test_times_are_as_regular_as_they_are_stored(tmp_path):
    exact = np.arange(3000) / 30.0  # ms, 30 kHz
    rounded = np.round(1e3 + exact, 3)
    assert clocked(tmp_path, rounded).dt == pytest.approx(1 / 30, rel=1e-4)
    assert clocked(tmp_path, rounded, dt=1 / 30).dt == 1 / 30
    text = "time_s,voltage_mV\n" + "".join(f"{t / 1e3:.6f},0\n" for t in exact)
    assert read_recording(table(tmp_path, text)).dt == pytest.approx(1 / 30, rel=1e-4)
    single = (60.0 + np.arange(3000) / 20e3).astype(np.float32)  # s: they are 0.004 ms apart
    assert clocked(tmp_path, single, unit="s").dt == pytest.approx(0.05, rel=1e-4)
    late = (200.0 + np.arange(3000) / 20e3).astype(np.float32)  # 0.015 ms apart: a third of a step
    assert clocked(tmp_path, late, unit="s", dt=0.05).dt == 0.05
    with pytest.raises(RecordingError, match=r"stored to 0\.015 ms only"):
        clocked(tmp_path, late, unit="s")


def test_a_gap_is_found_however_times_were_rounded(tmp_path):
    for step, digits in ((1 / 30, 3), (0.05, 2), (1.0, 0), (0.1, 6)):
        for gap in (1, 500, 998):
            times = np.round(step * np.delete(np.arange(1000), gap), digits)
            with pytest.raises(RecordingError, match=r"not uniform|dt was given"):
                clocked(tmp_path, times)
            with pytest.raises(RecordingError, match=r"not uniform|dt was given"):
                clocked(tmp_path, times, dt=step)
    slow = np.cumsum(np.linspace(0.0999, 0.1001, 5000))  # every interval is right to 0.1 %, the middle off by 2.5 steps
    with pytest.raises(RecordingError, match="depart by up to"):
        clocked(tmp_path, slow)


def test_there_are_as_many_times_as_samples(tmp_path):
    for times, samples in ((2, 102), (103, 102), (102, 2)):
        with pytest.raises(RecordingError, match=f"{times} times, but {samples} samples of the voltage"):
            clocked(tmp_path, np.arange(times), samples)


@pytest.mark.parametrize("dt", [0.0, -0.1, 1e-300, 1e308, np.nan, np.inf])
def test_sampling_intervals_are_possible_ones(tmp_path, dt):
    path = archive(tmp_path, voltage_mV=VOLTS, dt_ms=array(dt))
    refuses(path, "dt")
    path = archive(tmp_path, voltage_mV=VOLTS)
    with pytest.raises(RecordingError, match="dt"):
        read_recording(path, dt=dt)
    with pytest.raises(RecordingError, match="dt"):
        Recording(dt=dt, voltage=[0.0])


def test_clocks_count_every_step(tmp_path):
    refuses(archive(tmp_path, voltage_mV=VOLTS, dt_ms=array(0.1), t0_ms=array(1e300)), "cannot tell steps of 0.1 ms")
    with pytest.raises(RecordingError, match="cannot tell steps"):
        Recording(dt=0.1, spike_times=[1.0], duration=1e308)
