"""Files of recordings and their mutants: damaged at random, from a number, or odd by structure."""

# pyright: reportArgumentType=false, reportIndexIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false

import contextlib
import datetime
import io
import random
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

from brainsim.io import Recording, write_recording

SECRET = 12345678.0  # what the files that mutants name are full of, and no recording may hold

# ---------------------------------------------------------------------------------------------------- originals


def originals(kind: str, folder: Path) -> list[bytes]:
    """Files that are right, small, and different."""
    rng = np.random.default_rng(0)
    cell = Recording(
        dt=0.1, stimulus=rng.normal(size=40), voltage=rng.normal(size=40) - 65, spike_times=[1.0, 2.5], source="made up"
    )
    if kind == "nwb":
        return [_nwb(folder / "made.nwb", table) for table in (True, False)]
    path = write_recording(cell, folder / f"made.{kind}")
    first = path.read_bytes()
    if kind == "csv":
        rows = "".join(f"{k / 20:.3f};{k};{-65 - k}\n" for k in range(40))
        return [first, f"time (s);current [nA];voltage [V]\r\n{rows}".encode()]
    stored = io.BytesIO()
    np.savez(stored, time_s=np.arange(40) * 1e-4, current_nA=np.ones(40, np.float32), note="x")
    return [first, stored.getvalue()]


def _nwb(path: Path, table: bool) -> bytes:
    import h5py
    import pynwb

    file = pynwb.NWBFile("made up", "id", datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))
    electrode = file.create_icephys_electrode(name="e", description="patch", device=file.create_device("rig"))
    common = dict(electrode=electrode, gain=1.0, rate=1e4, starting_time=0.0, sweep_number=np.uint64(1))
    given = pynwb.icephys.CurrentClampStimulusSeries(name="i1", data=np.arange(40.0), conversion=1e-12, **common)
    response = pynwb.icephys.CurrentClampSeries(name="v1", data=np.arange(40.0), conversion=1e-3, **common)
    if table:
        file.add_intracellular_recording(electrode=electrode, stimulus=given, response=response)
        file.add_unit(spike_times=[0.001, 0.002], obs_intervals=[[0.0, 0.004]])
    else:
        file.add_stimulus(given)
        file.add_acquisition(response)
    with pynwb.NWBHDF5IO(str(path), "w") as opened:
        opened.write(file, cache_spec=False)
    if not table:  # compressed, with time stamps
        with h5py.File(path, "r+") as h5:
            for series in (h5["acquisition/v1"], h5["stimulus/presentation/i1"]):
                attributes = dict(series["data"].attrs)
                del series["data"], series["starting_time"]
                series.create_dataset("data", data=np.arange(40.0), chunks=(16,), compression="gzip", shuffle=True)
                series["data"].attrs.update(attributes)
                series["timestamps"] = np.arange(40) * 1e-4
                series["timestamps"].attrs.update(interval=np.int32(1), unit="seconds")
    return path.read_bytes()


# ---------------------------------------------------------------------------------------------------- bytes

ODD = [
    0,
    1,
    7,
    0x7F,
    0xFF,
    0xFFFF,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
]


def damage(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to four random changes to bytes: flips, numbers in odd places, cuts, repeats, pieces of another file."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.randrange(len(data) + 1), int(2 ** rng.uniform(0, 10))
        way = rng.randrange(7)
        if way == 0 and data:
            for _ in range(rng.choice((1, 1, 3, 8))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif way == 1:
            number = rng.choice(ODD).to_bytes(8, rng.choice(("little", "big")))[: rng.choice((1, 2, 4, 8))]
            data[at : at + len(number)] = number
        elif way == 2:
            data[at : at + size] = bytes([rng.choice((0, 0xFF, rng.randrange(256)))]) * min(size, len(data) - at)
        elif way == 3:
            del data[at : at + size]
        elif way == 4:
            data[at:at] = data[at : at + size]
        elif way == 5:
            other = rng.choice(others)
            there = rng.randrange(len(other))
            piece = other[there : there + size]
            data[at : at + (len(piece) if rng.random() < 0.7 else 0)] = piece
        else:
            del data[at:]
    return bytes(data)


# ---------------------------------------------------------------------------------------------------- structure

CELLS = [
    "", "nan", "inf", "1e400", "-1e308", "0,1", "1_0", "x", "\0", "\x1b[2J", '"', '""', "1\n2", "\u202e1", "9" * 400,
    "-0", "0x10", "1e-320", "é", "\ufeff", "\r",
]  # fmt: skip
HEADERS = [
    "time_ms", "time", "time_h", "dt_ms", "t0_ms", "duration_ms", "voltage_mV", "current_pA", "current_uA/cm2",
    "spike_time_ms", "\x1b]0;x\x07_mV", "", "#", "$\\frac{$", "stimulus_", "(", "i_A", "v (", "t[s]]",
]  # fmt: skip


def odd_csv(rng: random.Random, made: list[bytes], _: Path) -> bytes:
    """A table with other cells, names, delimiters, ends of lines or remarks."""
    text = rng.choice(made).decode()
    for _ in range(rng.choice((1, 2, 5))):
        lines = text.split("\n")
        k = rng.randrange(len(lines))
        cells = lines[k].split(rng.choice((",", ";")))
        cells[rng.randrange(len(cells))] = rng.choice(HEADERS if rng.random() < 0.4 else CELLS)
        way = rng.randrange(8)
        if way < 4:
            lines[k] = rng.choice((",", ";", "\t", ",,")).join(cells) if way == 0 else ",".join(cells)
        elif way == 4:
            del lines[k : k + rng.choice((1, 3, 40))]
        elif way == 5:
            lines[k:k] = [rng.choice(lines)] * rng.choice((1, 2, 50))
        elif way == 6:
            lines[k:k] = [f"# {rng.choice(HEADERS)}: {rng.choice(CELLS)}"]
        else:
            lines[k] *= rng.choice((2, 100))
        text = rng.choice(("\n", "\n", "\n", "\r\n", "\r")).join(lines)[: 1 << 20]
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))


def odd_npz(rng: random.Random, made: list[bytes], _: Path) -> bytes:
    """An archive whose arrays declare something else, or whose own fields do."""
    file = io.BytesIO()
    way = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w", way) as out:
        with zipfile.ZipFile(io.BytesIO(rng.choice(made))) as old:
            for name in old.namelist():
                data = old.read(name)
                if rng.random() < 0.4:
                    data = _odd_array(rng)
                if rng.random() < 0.1:
                    name = f"{rng.choice(HEADERS)}.npy"
                if rng.random() > 0.05:
                    out.writestr(zipfile.ZipInfo(name), data, way)  # of 1980, so that the mutant is always the same
    data = bytearray(file.getvalue())
    if rng.random() < 0.5:  # a field of a member in the table of contents, or of that table's own end
        signature, fields = rng.choice(((b"PK\1\2", 42), (b"PK\3\4", 26), (b"PK\5\6", 18)))
        starts = [k for k in range(len(data)) if data[k : k + 4] == signature]
        if starts:
            at = rng.choice(starts) + rng.randrange(4, 4 + fields, 2)
            number = struct.pack("<Q", rng.choice(ODD))[: rng.choice((2, 4))]
            data[at : at + len(number)] = number
    return bytes(data)


SHAPES = [
    "(40,)", "()", "(0,)", "(-1,)", "(1099511627776,)", "(40, 1)", "(2, 20)", "(True,)", "(" * 300, "(40,", "[40]",
    "(1e3,)", "(9" + "9" * 30 + ",)",
]  # fmt: skip
TYPES = [
    "<f8", ">f8", "<f4", "<f2", "|O", "<U20", "|S8", "<M8[s]", "<c16", "|b1", "<i8", "<u2", "<f16", "|V8", "<U0", "x",
]  # fmt: skip


def _odd_array(rng: random.Random) -> bytes:
    header = f"{{'descr': {rng.choice(TYPES)!r}, 'fortran_order': {rng.choice(('True', 'False', '0'))}, "
    header += f"'shape': {rng.choice(SHAPES)}, {rng.choice(('', '', chr(39) + 'x' + chr(39) + ': 1,'))}}}\n"
    header = (rng.choice(("__import__('os').system('true')", header)) if rng.random() < 0.05 else header).encode()
    major = rng.choice((1, 1, 1, 2, 3, 4))
    length = len(header) if rng.random() < 0.9 else rng.choice(ODD) % 65536
    size = struct.pack("<H", length) if major == 1 else struct.pack("<I", length)
    data = rng.choice((bytes(320), bytes(8), b"", rng.randbytes(320), bytes(1 << 16)))
    return b"\x93NUMPY" + bytes([major, 0]) + size + header + data


def odd_nwb(rng: random.Random, made: list[bytes], folder: Path) -> bytes:
    """A file with other attributes, datasets and links: of other types and sizes, in loops, and to other files."""
    import h5py

    path = folder / "odd.nwb"
    path.write_bytes(rng.choice(made))
    with h5py.File(path, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 4))):
            objects: list = [file]
            file.visititems(lambda _, x, objects=objects: objects.append(x))
            series = [
                x for x in objects if x.name.startswith(("/acquisition", "/stimulus", "/units", "/general/intra"))
            ]
            here = rng.choice(series if series and rng.random() < 0.7 else objects)
            with contextlib.suppress(KeyError, ValueError, TypeError, OSError, RuntimeError, AttributeError):
                with np.errstate(all="ignore"):
                    _odd_object(rng, file, here, objects, folder)
    return path.read_bytes()


VALUES = [
    0, -1, 1e300, float("nan"), "", "x" * 3000, "V", "\x1b[2J", "$\\frac{$", b"\xff\xfe", [1.0, 2.0], [],
    np.uint64(2**64 - 1), True, "CurrentClampSeries", "TimeSeries", "core",
]  # fmt: skip


def _odd_object(rng, file, here, objects, folder: Path) -> None:
    import h5py

    way = rng.randrange(8)
    if way < 2 and len(here.attrs):
        name = rng.choice(list(here.attrs))
        del here.attrs[name]
        if rng.random() < 0.8:
            here.attrs[name] = rng.choice(objects).ref if rng.random() < 0.15 else rng.choice(VALUES)
        return
    parent, name = here.parent, here.name.rpartition("/")[2]
    attributes = dict(here.attrs)
    if way == 2:
        parent.move(name, rng.choice(("x", "data", "\u202ev", "a b")))
        return
    if here is file or not name:
        return
    del parent[name]
    if way == 3:
        other = str(folder / "secret.h5")
        link = rng.choice((h5py.ExternalLink(other, "/data"), h5py.ExternalLink(other, "/"), h5py.SoftLink("/nowhere"),
                           h5py.SoftLink("/"), h5py.SoftLink(parent.name)))  # fmt: skip
        parent[name] = link
    elif way == 4:
        parent[name] = rng.choice(objects)  # a hard link, perhaps a loop
    elif way >= 5:
        shape = rng.choice(((), (40,), (40,), (0,), (1 << 40,), (20, 2), (39,), None))
        kind = rng.choice(("<f8", "<f8", "<f4", "<i2", "<u8", "S8", "V3", h5py.string_dtype(), h5py.ref_dtype, "<f8"))
        options = {}
        if shape and rng.random() < 0.5:
            options = rng.choice((
                dict(chunks=(16,) * len(shape), compression="gzip"),
                dict(chunks=(1 << 20,) * len(shape)),
                dict(external=[(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)]),
                dict(chunks=(7,) * len(shape), fletcher32=True),
            ))  # fmt: skip
        if rng.random() < 0.1:
            layout = h5py.VirtualLayout((40,), "<f8")
            layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "data", (40,))
            new = parent.create_virtual_dataset(name, layout)
        else:
            empty = dict(data=h5py.Empty("<f8"))
            new = parent.create_dataset(name, **(empty if shape is None else dict(shape=shape, dtype=kind, **options)))
            if options.get("compression") and rng.random() < 0.5:
                new.id.write_direct_chunk((0,) * len(shape), zlib.compress(bytes(rng.choice((128, 1 << 22)))))
            elif "external" not in options and shape == (40,) and kind in ("<f8", "<f4") and rng.random() < 0.7:
                new[:] = rng.choice((np.arange(40) * 1e-4, np.nan, 1e308))
        new.attrs.update(attributes)


STRUCTURE = dict(npz=odd_npz, csv=odd_csv, nwb=odd_nwb)


def secrets(folder: Path, kind: str) -> None:
    """The files that mutants name."""
    (folder / "secret").write_bytes(np.full(1000, SECRET).tobytes())
    if kind == "nwb":
        import h5py

        with h5py.File(folder / "secret.h5", "w") as file:
            file["data"] = np.full(1000, SECRET)


def mutant(kind: str, k: int, made: list[bytes], folder: Path) -> bytes:
    """The k-th mutant: half of them by bytes, half by structure, some by both."""
    rng = random.Random(f"{kind}/{k}")
    data = rng.choice(made) if k % 2 else STRUCTURE[kind](rng, made, folder)
    return damage(data, rng, made) if k % 2 or rng.random() < 0.1 else data
