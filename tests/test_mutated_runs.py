"""Whatever has happened to the files of a run: its numbers, or one line; no code, no other file, and little memory."""

import pytest

pytest.importorskip("zarr")

from fuzz_runs import main, many


def test_a_mutated_run_is_read_as_it_was_or_refused(tmp_path):
    said = [what for _, what, _ in many(tmp_path, range(60))]
    assert {"read", "refused"} == set(said)


@pytest.mark.slow
def test_twenty_thousand_mutated_runs():
    result = main(20_000, 0)
    assert not result["wrong"] and result["read"] > 1000 and result["refused"] > 1000
    assert result["peak_bytes"] < 64 << 20
