"""The version of brainsim, of these very sources: also where another one is installed, or none."""

import importlib.metadata
import tomllib
from pathlib import Path


def _version() -> str:
    """The version in the `pyproject.toml` beside this package, if this is a source tree; else the installed one."""
    project = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if project.is_file():
        found = tomllib.loads(project.read_text("utf-8")).get("project", {})
        if found.get("name") == "brainsim":
            return found["version"]
    return importlib.metadata.version("brainsim")


__version__ = _version()
