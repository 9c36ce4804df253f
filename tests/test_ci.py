"""The clock of .ci/run: a slow machine leaves parts out, and says so in one line; it does not fail."""

import shutil
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parent.parent / ".ci"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None or not CI.is_dir(), reason="needs bash and .ci")

GOOD, BAD = "echo '3 passed, 1 skipped in 2.00s'", "echo '1 failed, 2 passed, 1 error in 2.00s'; exit 1"


def ci(text, seconds=0):
    """The exit code and the lines of a script that begins `seconds` after its start."""
    script = (
        f'set -euo pipefail; . "{CI}/parts.sh"; log=$(mktemp); trap "rm $log" EXIT; SECONDS={seconds}\n{text}\ntotal'
    )
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    return run.returncode, [line for line in run.stdout.splitlines() if line], run.stderr


def test_parts_are_counted_and_timed():
    code, lines, _ = ci(f'part tests bash -c "{GOOD}"\npart check true')
    assert code == 0 and lines[-1] == "4 passed, 0 failed"
    assert sum(line.startswith("-- ") and line.endswith(" s") for line in lines) == 2
    code, lines, _ = ci(f'part tests bash -c "{BAD}"\npart check false\npart tests false')
    assert code == 1 and lines[-1] == "2 passed, 4 failed"  # the last stopped before its summary


def test_no_part_begins_after_an_hour():
    code, lines, _ = ci(f'part tests bash -c "{GOOD}"\nSECONDS=3600\npart check false\npart tests .ci/newest', 3590)
    assert code == 0 and lines[-1] == "3 passed, 0 failed"
    assert lines[-2] == "left out, after 60 minutes: false;.ci/newest"


def test_what_still_runs_at_the_end_is_stopped_and_is_no_failure():
    code, lines, _ = ci(f'hour=9999 most=5001\npart tests bash -c "{GOOD}; sleep 30"\npart check sleep 30', 5000)
    assert code == 0 and lines[-1] == "3 passed, 0 failed"
    assert "the rest of bash -c" in lines[-2]


def test_what_cannot_run_here_is_left_out():
    code, lines, _ = ci("part tests bash -c 'echo .ci/newest: needs root; exit 75'")
    assert code == 0 and lines[-1] == "0 passed, 0 failed"
    assert "(.ci/newest: needs root)" in lines[-2]
