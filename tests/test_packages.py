"""What a package index gets: a source distribution that can be built and tested, and wheels that run where they say."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="paths are those of POSIX")]
LEFT_OUT = {".git", ".venv", ".gitignore", ".github", ".pre-commit-config.yaml"}

# A spike over two synapses, a step of a network, and what runs them.
USE = """
import pathlib, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import brainsim as bs, jax, jax.numpy as jnp
folder = pathlib.Path(bs.__file__).parent
assert folder.is_relative_to(sys.prefix) and not (folder / "ops/csrc").exists(), folder
events = bs.ops.csr_matvec(jnp.ones(1), 2.0, jnp.zeros(2, jnp.int32), jnp.array([0, 2], jnp.int32), 1)
counts = bs.ops.poisson_counts(jax.random.key(0), 1, 2.5, 4)
said = [str(w.message) for w in caught if "without its compiled kernels" in str(w.message)]
print(bs.__version__, bs.ops.backend(), len(said), *events.tolist(), *counts.astype(int).tolist())
"""


def run(command, cwd, **environment):
    """The output of a command, which must succeed."""
    here = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BRAINSIM_REQUIRE_FFI")}
    done = subprocess.run(command, cwd=cwd, env=here | environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def environment(folder):
    """The Python of a new environment, which finds brainsim's dependencies, but no brainsim, where they are here."""
    run([sys.executable, "-m", "venv", str(folder)], folder.parent)
    python = folder / "bin/python"
    own = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    theirs = [path for path in sys.path if path.endswith("site-packages")] or [sysconfig.get_path("purelib")]
    (own / "dependencies.pth").write_text("\n".join(theirs) + "\n")
    return python


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """A Python with the build backend, which comes from the package index."""
    folder = tmp_path_factory.mktemp("builder")
    python = environment(folder / "venv")
    needed = ["scikit-build-core>=0.11", *(name for name in ("cmake", "ninja") if shutil.which(name) is None)]
    found = subprocess.run([python, "-m", "pip", "install", *needed], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip("there is no package index here")
    return python


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The files under version control, or all of this source distribution."""
    folder = tmp_path_factory.mktemp("tree") / "brainsim"
    if (ROOT / ".git").exists() and shutil.which("git"):
        names = run(["git", "-c", "safe.directory=*", "ls-files", "-z"], ROOT).strip("\0").split("\0")
        for name in filter(lambda name: (ROOT / name).is_file(), names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    else:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".venv", "__pycache__", "*.so", ".*_cache"))
    return folder


@pytest.fixture(scope="module")
def sdist(builder, source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    program = f"from scikit_build_core.build import build_sdist; build_sdist({str(folder)!r})"
    run([builder, "-c", program], source)
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder / path.name.removesuffix(".tar.gz")


def wheel(builder, source, folder, **environment):
    run(
        [builder, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), "."],
        source,
        **environment,
    )
    (path,) = folder.glob("*.whl")
    return path


def installed(path, folder):
    """What `USE` prints in a new environment with this wheel."""
    python = environment(folder)
    run([python, "-m", "pip", "install", "--no-deps", "--no-index", "--ignore-installed", str(path)], folder)
    said = run([folder / "bin/brainsim", "info"], folder, PYTHONWARNINGS="ignore")
    return run([python, "-c", USE], folder).split(), said


def metadata(text):
    found = Parser().parsestr(text)
    assert found["Name"] == "brainsim" and found["License-Expression"] == "Apache-2.0"
    assert found.get_all("License-File") == ["LICENSE"] and found["Summary"] and found["Requires-Python"] == ">=3.11"
    assert found["Description-Content-Type"] == "text/markdown" and "# brainsim" in str(found.get_payload())
    assert len(found.get_all("Classifier") or ()) > 8 and len(found.get_all("Requires-Dist") or ()) > 8
    return found["Version"]


def test_the_source_distribution_has_what_builds_and_tests_it(sdist, source):
    files = lambda folder: {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    expected = {name for name in files(source) if Path(name).parts[0] not in LEFT_OUT}
    assert files(sdist) == expected | {"PKG-INFO"}
    metadata((sdist / "PKG-INFO").read_text("utf-8"))


def test_a_wheel_of_the_source_distribution_runs_compiled_kernels(builder, sdist, tmp_path):
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("needs a C++ compiler")
    path = wheel(builder, sdist, tmp_path / "dist")
    assert re.fullmatch(r"brainsim-[\d.]+-py3-none-(linux|macosx)_\w+\.whl", path.name)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (record,) = (name for name in names if name.endswith("/METADATA"))
        version = metadata(archive.read(record).decode())
    folders = {name.split("/")[0] for name in names}
    assert folders == {"brainsim", f"brainsim-{version}.dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in names) and "brainsim/py.typed" in names
    assert not any("csrc" in name or name.endswith((".h", ".cc", ".cu")) for name in names)
    out, said = installed(path, tmp_path / "venv")
    assert out[:4] == [version, "ffi", "0", "4.0"] and "CPU kernels    there" in said


def test_without_a_compiler_the_wheel_is_pure_python_and_says_so(builder, source, tmp_path):
    path = wheel(builder, source, tmp_path / "dist", CXX="/nonexistent/c++")
    assert re.fullmatch(r"brainsim-[\d.]+-py3-none-any\.whl", path.name)
    with zipfile.ZipFile(path) as archive:
        assert not any(name.endswith((".so", ".dylib")) for name in archive.namelist())
    out, said = installed(path, tmp_path / "venv")
    assert out[1:4] == ["jax", "1", "4.0"]
    assert "CPU kernels    not there" in said and "to add: " in said
