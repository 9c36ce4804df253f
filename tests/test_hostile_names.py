"""Names out of files are shown as text, and folders are replaced whole or not at all."""

import os
import shutil
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from brainsim import cli
from brainsim._output import Output
from brainsim._text import label, printable
from brainsim.io import Recording, RecordingError, read_recording

NAMES = [
    r"$\frac{$",
    r"a\$b$",
    "$" * 7,
    "\x1b]0;title\x07\x1b[2J",
    "two\nlines\r\u2028three\v",
    "\u202emV\u200f",
    "<script>alert(1)</script>",
    "x" * 10**6,
    "\ud800",
    "a{b}_c^d\\",
    "",
    "current µA/cm²",
    "no\u00a0break",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_names_are_shown_in_one_line_as_text(name):
    shown = printable(name, 60)
    assert len(shown) <= 60 + 9 * 60 and "\n" not in shown
    assert shown.isprintable()
    shown.encode()
    cell = Recording(dt=1.0, stimulus=[0.0], stimulus_name=name, source=name)
    assert repr(cell).isprintable() and len(repr(cell)) < 5000
    assert str(RecordingError(name)).isprintable() and len(str(RecordingError(name))) < 20100


def test_what_is_plain_stays_as_it_is():
    for name in ("current", "sound level (dB)", "Strom in µA/cm²", "電流"):
        assert printable(name) == label(name) == name


def test_every_name_can_be_drawn_and_stands_on_a_page():
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from brainsim._fit_command._figures import rate
    from brainsim._pages import escape
    from brainsim.plotting import LIGHT

    fit = SimpleNamespace(split=None, output=None)
    for name in NAMES:
        cell = Recording(dt=1.0, stimulus=np.zeros(3), spike_times=[1.0], stimulus_name=name, stimulus_unit=name)
        figure = rate(fit, cell, LIGHT)  # pyright: ignore[reportArgumentType]
        with warnings.catch_warnings(action="ignore"):
            FigureCanvasAgg(figure).get_renderer()
            extent = figure.axes[0].yaxis.label.get_window_extent()  # parses the text, as drawing does
        assert extent.height < 1000
        page = escape(name)
        assert not set("<>\x1b\u202e\ud800") & set(page)


def test_escape_sequences_do_not_reach_the_terminal(capsys, tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text("time_ms,\x1b[2J\u202ecurrent_kA\n0,1\n1,1\n", encoding="utf-8")
    assert cli.main(["fit", str(path), "--model", "lif", "--free", "tau=1:50", "--out", str(tmp_path / "out")]) == 2
    assert cli.main(["fit", "\x1b[2J.csv", "--model", "\x1b[2J"]) == 2
    said = capsys.readouterr().err
    assert "\\x1b[2J" in said and said.replace("\n", "").isprintable()
    with pytest.raises(RecordingError) as caught:
        read_recording(tmp_path / "\x1b[2J.csv")
    assert str(caught.value).isprintable()


# ---------------------------------------------------------------------------------------------------- folders


def holds(folder):
    return {p.name: p.read_text() if p.is_file() else "a folder" for p in folder.iterdir()}


def test_a_folder_in_the_way_is_found_out_first(capsys, tmp_path):
    for name in ("fit.json", "fit_loss.png"):
        out = tmp_path / f"out-{name}"
        (out / name).mkdir(parents=True)
        (out / "fit.npz").write_text("old")
        if name != "fit.json":
            (out / "fit.json").write_text("old")
        before = holds(out)
        options = ["--model", "lif", "--free", "tau=1:50", "--out", str(out), "--force"]
        assert cli.main(["fit", "nothing.csv", *options]) == 2
        said = capsys.readouterr().err
        assert f"{name}: is a folder" in said and "nothing was written" in said
        assert holds(out) == before


def test_only_files_written_before_are_replaced(tmp_path):
    (tmp_path / "index.html").write_text("my site")
    with pytest.raises(ValueError, match=r"index\.html: is not replaced.*fit\.json"):
        Output(tmp_path, force=True, writes=("fit.json", "index.html"))
    (tmp_path / "fit.json").write_text("{}")
    with Output(tmp_path, force=True, writes=("fit.json", "index.html")) as out:
        (out.folder / "index.html").write_text("new")
        (out.folder / "fit.json").write_text("[]")
    assert holds(tmp_path) == {"index.html": "new", "fit.json": "[]"}


@pytest.mark.parametrize("moment", range(6))
def test_what_a_killed_process_began_to_replace_the_next_one_ends(tmp_path, monkeypatch, moment):
    there, left, names = tmp_path / "there", tmp_path / "left", ("fit.json", "fit.npz", "index.html")
    (there / "out").mkdir(parents=True)
    for name in (*names, "mine.txt"):
        (there / "out" / name).write_text("old")
    rename, done = os.rename, []

    def watched(a, b):
        if len(done) == moment:  # what a process leaves that is killed here
            shutil.copytree(there, left)
        done.append(rename(a, b))

    monkeypatch.setattr(os, "rename", watched)
    with Output(there / "out", force=True, writes=names) as out:
        for name in names:
            (out.folder / name).write_text("new")
    monkeypatch.undo()
    with Output(left / "out", force=True, writes=names) as out:
        (out.folder / "fit.json").write_text("newer")
    assert holds(left / "out") == {"fit.json": "newer", "fit.npz": "new", "index.html": "new", "mine.txt": "old"}
    assert [p.name for p in left.iterdir()] == ["out"]


@pytest.mark.parametrize("there", [True, False])
def test_all_files_are_replaced_or_none(tmp_path, monkeypatch, there):

    target, rename, calls = tmp_path / "out", os.rename, []
    before = {"a.txt": "old", "mine.txt": "mine"} if there else {}
    if there:
        target.mkdir()
        for name, text in before.items():
            (target / name).write_text(text)

    def failing(a, b):
        calls.append(a)
        if str(a).endswith("c.txt"):
            raise OSError(28, "No space left on device")
        rename(a, b)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="No space"), Output(target, force=True) as out:
        for name in "abc":
            (out.folder / f"{name}.txt").write_text("new")
    assert len(calls) == 4 if there else 3
    assert holds(target) == before if there else not target.exists()
    assert [p.name for p in tmp_path.iterdir()] == (["out"] if there else [])
