"""Mutated files for the readers: npz, CSV and NWB, damaged at random, from a seed, and by structure.

    python tests/fuzz_files.py npz --count 20000

reads so many mutants in a child process with bounded memory and a watchdog, and prints what became of them as JSON. A
mutant that crashes or hangs the child (libhdf5 is C) is counted, and the next one is read by a new child.
"""

# pyright: reportArgumentType=false, reportIndexIssue=false, reportAttributeAccessIssue=false

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from mutants import SECRET, mutant, originals, secrets

from brainsim.io import RecordingError, read_recording

FORMATS = ("npz", "csv", "nwb")
LIMIT = 2 << 30  # bytes of addresses beyond what the imports take
PATIENCE = 30  # s for one file
MUCH = 32 << 20  # bytes beside four times the size of the file
CODE = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")


def attempt(path: Path) -> str:
    """What became of a file: "read", "refused", or what went wrong."""
    try:
        with warnings.catch_warnings(action="ignore"):
            r = read_recording(path)
    except RecordingError as error:
        said = str(error)
        if not said.startswith(str(path)) or "\n" in said or not said.isprintable() or len(said) > 2000:
            return f"an odd message: {said!r}"
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    held = [x for x in (r.stimulus, r.voltage, r.spike_times) if x is not None]
    if any(np.isclose(np.abs(x[x != 0]), SECRET * scale).any() for x in held for scale in (1, 1e-3, 1e3, 1e-12, 1e12)):
        return "another file was read"
    return "read"


# ---------------------------------------------------------------------------------------------------- many, in a child


def child(kind: str, first: int, last: int, folder: Path) -> None:
    """Reads mutants and writes a line about each: its number before, what became of it and the peak memory after."""
    made, path = originals(kind, folder), folder / f"mutant.{kind}"
    secrets(folder, kind)
    ran = []
    for data in made:
        path.write_bytes(data)
        assert attempt(path) == "read", read_recording(path)
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses + LIMIT, addresses + LIMIT))
    sys.addaudithook(lambda event, args: ran.append(event) if event in CODE else None)
    for k in range(first, last):
        print(json.dumps([k]), flush=True)
        data = mutant(kind, k, made, folder)
        path.write_bytes(data)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _resident("VmRSS")
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)  # its default action ends the process, also within libhdf5
        said = attempt(path)
        signal.setitimer(signal.ITIMER_REAL, 0)
        more = _resident("VmHWM") - before
        print(json.dumps([k, said if not ran else f"code was run: {ran}", more, len(data)]), flush=True)
        ran.clear()


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def many(kind: str, count: int, keep: Path | None = None, first: int = 0) -> dict:
    """Counts of what became of `count` mutants."""
    result: dict = dict(
        format=kind, files=0, read=0, refused=0, wrong=[], crashes=[], much=[], noise=0, peak_bytes=0, seconds=0.0
    )
    began, k = time.monotonic(), first
    while k < first + count:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as noise:
            command = [sys.executable, __file__, kind, "--child", str(k), str(first + count), folder]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=noise, text=True)
            for line in process.stdout or ():
                k, *rest = json.loads(line)
                if rest:
                    said, result["peak_bytes"] = rest[0], max(result["peak_bytes"], rest[1])
                    result["files"] += 1
                    if rest[1] > 4 * rest[2] + MUCH:
                        result["much"].append([k, *rest])
                    if said in ("read", "refused"):
                        result[said] += 1
                    else:
                        result["wrong"].append([k, said[:300]])
                    if result["files"] % 1000 == 0:
                        print(json.dumps(result | dict(seconds=time.monotonic() - began)), file=sys.stderr, flush=True)
            code = process.wait()
            result["noise"] += noise.seek(0, 2)
            noise.seek(0)
            result["heard"] = (result.get("heard", "") + noise.read(1000).decode(errors="replace"))[:2000]
            if code:
                noise.seek(0)
                result["crashes"].append([k, code, noise.read().decode(errors="replace")[-300:]])
                result["files"] += 1
                if keep is not None:
                    keep.mkdir(exist_ok=True)
                    (keep / f"{k}.{kind}").write_bytes((Path(folder) / f"mutant.{kind}").read_bytes())
            k += 1
            if len(result["crashes"]) > 100:
                break
    return result | dict(seconds=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--keep", type=Path, help="folder for the mutants that crash the reader")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.format, int(asked.child[0]), int(asked.child[1]), Path(asked.child[2]))
    else:
        print(json.dumps(many(asked.format, asked.count, asked.keep, asked.first), indent=2))
