"""Mutated runs on disk: files damaged at random, from a seed; others with right checksums and odd contents; links.

    python tests/fuzz_runs.py --count 20000

opens, reads and now and then resumes so many mutants with bounded memory, and prints what became of them as JSON.
"""

import argparse
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from mutants import ODD, SECRET, damage
from numcodecs import CRC32C, Zstd

import brainsim as bs
from brainsim._packed import pack, unpack

CODE = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "exec")
LIMIT = 256 << 20  # bytes of addresses beyond what a run takes that is right
VALUES = [
    *ODD,
    -1,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    None,
    True,
    "",
    "..",
    "../other",
    "a/b",
    "\0",
    "x" * 500,
    [],
    {},
]
VALUES += ["float64", "object", "|O", "V8", [2**40], [1, 2, 3], [-1], {"a": 1}, 10**30, "\x1b[2J", "time", "v"]


def go(out, **options):
    given = dict(inputs=9000.0, record=dict(v="v", spikes=True), key=jax.random.key(1), chunk=0.4, progress=False)
    cells = bs.Population(3, bs.LIF(), noise=dict(v=1.0))
    return bs.run(cells, 1.6, 0.1, out=out, **given | options)


def numbers(run):
    return [run["v"].values, run.times("v"), *run.spikes.numpy(), run.spikes.raster()]


def made(folder: Path) -> Path:
    """A run, and beside it files that nobody who reads it may read or change."""
    go(folder / "run")
    secret = np.full((4, 3), SECRET, np.float32)
    data = CRC32C(location="end").encode(Zstd(level=0).encode(secret.view(np.uint8).reshape(-1)))
    (folder / "secret").mkdir()
    for name in ("c.0.0", "c.1.0", "c.0", "zarr.json", "run.brainsim", "checkpoint.brainsim", "lock"):
        (folder / "secret" / name).write_bytes(bytes(data))
    return folder / "run"


# ---------------------------------------------------------------------------------------------------- mutants


def mutate(run: Path, rng: random.Random) -> bool:
    """Changes a run; whether its numbers must be those that they were, if it can be read."""
    files = sorted(p for p in run.rglob("*") if p.is_file())
    for _ in range(rng.choice((1, 1, 2, 3))):
        file = rng.choice(files)
        if not file.is_file() or file.resolve() != file.absolute():
            continue
        way, data = rng.randrange(10), file.read_bytes()
        if way < 4:
            other = rng.choice(files)
            file.write_bytes(damage(data, rng, [other.read_bytes() if other.is_file() else b"x"]))
        elif way == 4:
            file.unlink()
        elif way == 5:
            file.unlink()
            file.symlink_to(run.parent / "secret" / file.name)
        elif way == 6:
            place = rng.choice([file.parent, file])
            if place != run and not place.is_symlink():
                shutil.rmtree(place) if place.is_dir() else place.unlink()
                way = rng.randrange(3)
                place.symlink_to(run.parent / "secret") if way == 0 else place.mkdir() if way == 1 else os.mkfifo(place)
        elif way == 7:
            (file.parent / ".zarray").write_text(
                '{"zarr_format": 2, "filters": [{"id": "pickle"}], "shape": [1099511627776]}'
            )
        else:
            return _sealed(rng.choice([f for f in files if f.suffix == ".brainsim" or f.name.startswith("c.")]), rng)
    return True


def _sealed(file: Path, rng: random.Random) -> bool:
    """Something odd with a right checksum."""
    if not file.is_file() or file.resolve() != file.absolute():
        return True
    if file.suffix != ".brainsim":
        size = rng.choice((0, 1, 47, 48, 49, 2**16 * 8, 2**22, 2**26))
        data = Zstd(level=0).encode(bytes(size)) if rng.random() < 0.7 else damage(file.read_bytes()[:-4], rng, [b"x"])
        if rng.random() < 0.3:
            data = bytearray(data)
            data[4:5] = b"\xc0" if len(data) > 14 else data[4:5]  # the size in 8 bytes
            data[5:13] = rng.choice(ODD).to_bytes(8, "little")
        file.write_bytes(bytes(CRC32C(location="end").encode(bytes(data) or b"x")))
        return False
    try:
        about, arrays = unpack(file.read_bytes())
    except ValueError:
        return True
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = about
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
                at = at[key]
                continue
            if rng.random() < 0.2 and isinstance(at, dict):
                del at[key]
            else:
                at[key] = rng.choice(VALUES)
            break
    data = pack(about, arrays)
    if rng.random() < 0.3:  # the header as text, with arrays that say that they are something else
        import hashlib

        body = data[:-32]
        old, new = rng.choice([(b'"<f4"', b'"|O"'), (b"[3]", b"[1099511627776]"), (b"[]", b"[7]"), (b"{", b"[" * 9999)])
        body = body.replace(old, new) if rng.random() < 0.7 else b"brainsim-1\n" + damage(body[11:], rng, [b"{}"])
        data = body + hashlib.blake2b(body, digest_size=32).digest()
    file.write_bytes(data)
    return False


# ---------------------------------------------------------------------------------------------------- their fate


def attempt(run: Path, right: list[np.ndarray], same: bool, resumed: bool = False) -> str:
    """What became of a mutant: "read", "refused", or what went wrong."""
    try:
        found = go(run, resume="anyway") if resumed else bs.open_run(run)
        got = numbers(found)
    except (ValueError, OSError) as error:
        said = str(error)
        fine = type(error) in (ValueError, OSError) and "\n" not in said and said.startswith(str(run.parent))
        return "refused" if fine and len(said) < 2000 else f"an odd message: {type(error).__name__}: {said}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if any((np.asarray(x, float) == SECRET).any() for x in got):
        return "another file was read"
    if same and not all(np.array_equal(a, b) for a, b in zip(got, right, strict=True)):
        return "wrong numbers"
    return "read"


def many(folder: Path, seeds, resumes: int = 50):
    """Yields the number of each mutant and what became of it."""
    run = made(folder)
    right, copy = numbers(bs.open_run(run)), folder / "copy"
    shutil.copytree(run, copy)
    secrets = {p: p.read_bytes() for p in (folder / "secret").iterdir()}
    for seed in seeds:
        rng = random.Random(seed)
        same = mutate(run, rng)
        size = sum(p.stat().st_size for p in run.rglob("*") if p.is_file())
        said = attempt(run, right, same, resumed=seed % resumes == 0)
        if secrets != {p: p.read_bytes() for p in (folder / "secret").iterdir()}:
            said = "another file was changed"
            for path, data in secrets.items():
                path.write_bytes(data)
        yield seed, said, size
        shutil.rmtree(run)
        shutil.copytree(copy, run)


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def main(count: int, first: int) -> dict:
    result: dict = dict(files=0, read=0, refused=0, wrong=[], peak_bytes=0)
    began, ran, before = time.monotonic(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        mutants = many(Path(folder), range(first, first + count))
        for seed, said, _ in mutants:
            result["files"] += 1
            if ran:
                said = f"code was run: {ran}"
                ran.clear()
            if said in ("read", "refused"):
                result[said] += 1
            else:
                result["wrong"].append([seed, said[:300]])
            if seed == first + 100:  # by now all that is imported late is there
                addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (addresses + LIMIT, addresses + LIMIT))
                sys.addaudithook(lambda event, args: ran.append(event) if event in CODE[:-1] else None)
            if seed > first + 100:
                result["peak_bytes"] = max(result["peak_bytes"], _resident("VmHWM") - before)
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before = _resident("VmRSS")
    return result | dict(seconds=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    asked = parser.parse_args()
    print(json.dumps(main(asked.count, asked.first), indent=2))
