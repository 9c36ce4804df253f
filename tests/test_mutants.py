"""Whatever is in a file, reading it ends in a recording or in one line; `fuzz_files.py` tries many more."""

import pytest
from fuzz_files import attempt
from mutants import mutant, originals, secrets


@pytest.mark.parametrize("kind, count", [("npz", 300), ("csv", 300), ("nwb", 24)])
def test_mutants_are_read_or_refused(tmp_path, kind, count):
    if kind == "nwb":
        pytest.importorskip("pynwb")
    made, path = originals(kind, tmp_path), tmp_path / f"mutant.{kind}"
    secrets(tmp_path, kind)
    became = {}
    for k, data in [*((-1, data) for data in made), *((k, mutant(kind, k, made, tmp_path)) for k in range(count))]:
        path.write_bytes(data)
        became.setdefault(attempt(path), []).append(k)
    assert set(became) == {"read", "refused"}, became
    assert len(became["refused"]) > count / 2 and became["read"][:2] == [-1, -1]
