""".ci/gpu: what is found is kept after every part, and no part takes the time of the others."""

import importlib.machinery
import importlib.util
import json
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / ".ci/gpu"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file() or sys.platform == "win32", reason="needs .ci, and process groups")


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("gpu_script", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_script", loader))  # pyright: ignore
    loader.exec_module(module)
    return module


def test_parts_are_kept_one_by_one(gpu, tmp_path, capsys):
    path = tmp_path / "out.json"
    report = gpu.Report(path, dry=False)
    found = lambda: json.loads(path.read_text())["parts"]
    report.part("good", 10, lambda s: gpu.run([sys.executable, "-c", "print('a'); print('{\"b\": 1}')"], s))
    assert found()["good"]["found"] == {"b": 1}
    report.part("bad", 10, lambda s: gpu.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], s))
    assert not found()["bad"]["passed"] and found()["bad"]["error"] == "exit code 3\nwhy"
    report.end = time.monotonic()
    report.part("late", 10, lambda _: pytest.fail("there was no time"))
    assert found()["late"]["error"] == "no time was left" and list(found()) == ["good", "bad", "late"]
    assert report.close() == 1
    assert capsys.readouterr().out == "1 of 3 parts passed; not: bad, late\n"


def test_what_takes_too_long_is_stopped_with_all_it_started(gpu, tmp_path):
    mark = tmp_path / "mark"
    child = f"import time; time.sleep(2); open({str(mark)!r}, 'w')"
    command = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(30)"
    with pytest.raises(RuntimeError, match="none, after 1 s"):
        gpu.run([sys.executable, "-c", command], 1)
    time.sleep(1.5)
    assert not mark.exists()


def test_the_parts_fit_their_machine(gpu):
    names = [name for name, _, _ in gpu.commands("python", dry=False)]
    assert {"twins", "coba 4,000", "coba 4,000,000", "microcircuit", "gradient", "sweep"} <= set(names)
    assert all(limit <= gpu.SECONDS / 3 for _, limit, _ in gpu.commands("python", dry=False))
    scripts = {Path(x) for _, _, command in gpu.commands("python", dry=False) for x in command if x.endswith(".py")}
    assert all((gpu.ROOT / path).is_file() for path in scripts)


@pytest.mark.slow
def test_dry_run(gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu", "--dry", "--here", str(tmp_path / "out.json")])
    code = gpu.main()
    found = json.loads((tmp_path / "out.json").read_text())["parts"]
    assert code == 0, {name: part.get("error") for name, part in found.items() if not part["passed"]}
    assert found["microcircuit"]["found"]["benchmark"] == "microcircuit"
    assert "skipped" in found["twins"]["found"]
