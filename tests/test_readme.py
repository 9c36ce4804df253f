"""The commands of README.md are what a new user types: they stay whole, and name things that exist."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SHAPE = re.compile(
    r"python3 -m venv \.venv && \.venv/bin/pip install (?:--no-compile )?'\.\[(\w+)\]' && \.venv/bin/(.+)"
)


def command(name):
    """The command that follows the marker `<!-- command: name -->`; exactly one line."""
    found = re.findall(rf"<!-- command: {name} -->\n```bash\n(.*?)\n```", README, re.DOTALL)
    assert len(found) == 1 and "\n" not in found[0]
    return found[0]


@pytest.mark.parametrize("name, runs", [("demo", "brainsim demo"), ("tests", "python -m pytest")])
def test_commands_are_one_line_each_and_use_extras_that_exist(name, runs):
    match = SHAPE.fullmatch(command(name))
    assert match, command(name)
    assert match[1] in PROJECT["optional-dependencies"]
    assert match[2] == runs
    assert "brainsim" in PROJECT["scripts"]


def test_ci_runs_the_command_of_the_readme():
    shown = subprocess.run(["bash", ROOT / ".ci" / "run", "--show"], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [command("tests")]


def test_readme_is_short():
    assert len(README.splitlines()) < 120
    assert (ROOT / "docs" / "images" / "overview.png").stat().st_size < 300_000
