"""The loops of the kernels on valid and on wild input, under the address and the undefined-behaviour sanitiser."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = sorted(path.stem for path in (ROOT / "tests").glob("*_fuzz.cc"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_under_sanitisers(name, tmp_path):
    # The Poisson kernel converts numbers that may be anything; -O0 would make its many draws slow.
    optimised, more = ("-O1", ",float-cast-overflow") if name == "poisson_fuzz" else ("-O0", "")
    flags = ["-std=c++17", "-pthread", optimised, f"-fsanitize=address,undefined{more}", "-fno-sanitize-recover=all"]
    program = tmp_path / "fuzz"
    source = [str(ROOT / f"tests/{name}.cc"), "-I", str(ROOT / "brainsim/ops/csrc"), "-o", str(program)]
    built = subprocess.run(["g++", *flags, *source], capture_output=True, text=True, timeout=120)
    if "cannot find -l" in built.stderr:
        pytest.skip("this compiler comes without sanitisers")
    assert built.returncode == 0, built.stderr
    run = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert run.stdout == "ok\n", run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_threads_do_not_race(tmp_path):
    program = tmp_path / "fuzz"
    source = [str(ROOT / "tests/shared_fuzz.cc"), "-I", str(ROOT / "brainsim/ops/csrc"), "-o", str(program)]
    flags = ["-std=c++17", "-pthread", "-O1", "-fsanitize=thread"]
    built = subprocess.run(["g++", *flags, *source], capture_output=True, text=True, timeout=120)
    if "cannot find -l" in built.stderr or "cannot find lib" in built.stderr:
        pytest.skip("this compiler comes without sanitisers")
    assert built.returncode == 0, built.stderr
    run = subprocess.run([program], capture_output=True, text=True, timeout=120)
    if "unexpected memory mapping" in run.stderr:
        pytest.skip("the sanitiser cannot run with this kernel's layout of memory")
    assert run.stdout == "ok\n", run.stdout + run.stderr


def test_every_program_is_found():
    assert {"arrivals_fuzz", "csr_fuzz", "events_fuzz", "layouts_fuzz", "poisson_fuzz", "shared_fuzz"} <= set(PROGRAMS)
