"""Every piece of Python in the documentation runs: docstrings, the pages' code blocks with their output, tutorials."""

import contextlib
import doctest
import importlib
import io
import os
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import brainsim as bs

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))
# The compiled library lies beside the Python files, where it looks like an extension module.
MODULES = [m.name for m in pkgutil.walk_packages(bs.__path__, "brainsim.") if "libbrainsim" not in m.name]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def jax_as_users_have_it():
    """The other tests are stricter than JAX is by default, and than optax allows."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


names = lambda paths: [str(p.relative_to(ROOT)) for p in paths]


def blocks(path):
    """The fenced blocks of a page in order: language, text, and the line on which the text begins."""
    text = path.read_text(encoding="utf-8")
    return [(m[1], m[2], text[: m.start(2)].count("\n")) for m in FENCE.finditer(text)]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        result = doctest.testmod(module, optionflags=FLAGS)
    assert not result.failed, output.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if any(b[0] == "python" for b in blocks(p))], ids=lambda p: p.name)
def test_page(page, tmp_path, monkeypatch):
    """All Python blocks of a page in one namespace; a `text` block that follows one is what it prints."""
    monkeypatch.chdir(tmp_path)
    found = blocks(page)
    namespace = {"__name__": page.stem}
    for (language, code, line), following in zip(found, [*found[1:], ("", "", 0)], strict=True):
        if language != "python":
            continue
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile("\n" * line + code, str(page), "exec"), namespace)
        if following[0] == "text":
            same = doctest.OutputChecker().check_output(following[1], output.getvalue(), FLAGS)
            assert same, f"{page.name}:{following[2]} says\n{following[1]}but it prints\n{output.getvalue()}"


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda p: p.stem)
def test_tutorial(tutorial, tmp_path):
    """Without a warning, and with a figure. In a process of its own: one of them switches to float64."""
    quiet = ["-W", "error", "-W", "ignore:brainsim runs without its compiled kernels:RuntimeWarning"]
    command = [sys.executable, *quiet, str(tutorial)]
    run = subprocess.run(command, cwd=tmp_path, env={**os.environ, "MPLBACKEND": "Agg"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = page if not path else (page.parent / path).resolve()
        assert there.exists(), f"{page.name} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{page.name} links to {target}; there are {sorted(anchors(there))}"


def anchors(page):
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", h.lower()).strip()) for h in headings}


def test_every_page_is_in_the_navigation():
    navigation = set(re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert navigation == {str(p.relative_to(ROOT / "docs")) for p in PAGES if ROOT / "docs" in p.parents}


def test_api_page_is_up_to_date(monkeypatch):
    """`python docs/api.py` writes docs/api.md from the package; a new public name changes it."""
    monkeypatch.setattr(sys, "argv", ["api.py"])
    generate = runpy.run_path(str(ROOT / "docs" / "api.py"))["page"]
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == generate(), "run: python docs/api.py"
