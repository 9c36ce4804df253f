"""What ``brainsim info`` says of a part that is missing: the command that adds it, as one types it."""

import importlib.metadata
import json
import re
import sys
import types
from pathlib import Path

import pytest

import brainsim as bs
from brainsim import _parts, _version, cli
from brainsim.ops import _library

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def installed_from(monkeypatch):
    """A function that makes believe that brainsim was installed from somewhere (PEP 610), or not at all."""

    def set_origin(origin):
        def distribution(_):
            if origin is None:
                raise importlib.metadata.PackageNotFoundError
            return types.SimpleNamespace(version="1.2", read_text=lambda _: json.dumps(origin) if origin else None)

        monkeypatch.setattr(importlib.metadata, "distribution", distribution)

    return set_origin


@pytest.mark.parametrize("origin, end", [
    ({"url": "file:///a%20b/c", "dir_info": {}}, "--force-reinstall --no-deps '/a b/c'"),
    ({"url": "file:///c", "dir_info": {"editable": True}}, "--force-reinstall --no-deps -e /c"),
    ({"url": "https://x.org/r", "vcs_info": {"vcs": "git"}}, "--force-reinstall --no-deps git+https://x.org/r"),
    ({}, "--force-reinstall --no-deps --no-cache-dir --no-binary brainsim brainsim==1.2"),
    (None, f"-m pip install {Path(bs.__file__).parent.parent}"),
])  # fmt: skip
def test_command_that_compiles_again(origin, end, installed_from):
    installed_from(origin)
    assert _parts.reinstall().endswith(end)


def test_without_kernels(monkeypatch, installed_from):
    installed_from({"url": "file:///c", "dir_info": {}})
    monkeypatch.setattr(_library, "library", lambda: None)
    monkeypatch.setattr(_library, "cuda_library", lambda: None)
    monkeypatch.setattr(_parts, "has_gpu", lambda: False)
    monkeypatch.setattr(_parts.shutil, "which", lambda _: None)
    cpu, gpu = _parts.kernels("jax")
    assert not cpu.there and "many times slower" in cpu.says
    assert cpu.add.startswith("install a C++17 compiler") and cpu.add.endswith("/c")
    assert not gpu.there and "nor needed" in gpu.says
    assert gpu.add.startswith("install nvcc") and "BRAINSIM_CUDA=ON" in gpu.add


def test_packages_that_are_missing():
    found = {"matplotlib": "3.1", "zarr": None}
    there, missing = _parts.optional(found, {"matplotlib": "plot", "zarr": "io"})
    assert there == ("figures", True, "there: matplotlib 3.1", "")
    assert missing.name == "runs on disk" and missing.add == f"{_parts.pip()} 'brainsim[io]'"


def test_python_is_the_one_that_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert _parts.pip() == ".venv/bin/python -m pip install"
    monkeypatch.setattr(sys, "executable", "/some where/python")
    assert _parts.pip() == "'/some where/python' -m pip install"


def test_version(capsys, monkeypatch, tmp_path):
    stated = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert stated and bs.__version__ == stated.group(1)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"brainsim {bs.__version__}\n"
    # A source tree knows its own version, whatever is installed.
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "brainsim"\nversion = "7.8"\n')
    monkeypatch.setattr(_version, "__file__", str(tmp_path / "brainsim/_version.py"))
    assert _version._version() == "7.8"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "7.8"\n')
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"that of {name}")
    assert _version._version() == "that of brainsim"
