"""Nothing is lost and nothing wrong is called complete: whenever a process or a machine stops, whoever else writes."""

import errno
import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from crashes import Stopped, power_loss, watch

import brainsim as bs
from brainsim import _durable, _fingerprint
from brainsim.running import _checkpoint, _sink
from brainsim.running._store import DiskStore

zarr = pytest.importorskip("zarr")

CHUNK = 0.4


def cells():
    return bs.Population(3, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)), noise=dict(v=1.0))


def go(out=None, chunks=8, **options):
    """A run that takes no time, with a trace and spikes."""
    steady = dict(inputs=9000.0, record=dict(v="v", spikes=True), key=jax.random.key(1), chunk=CHUNK, progress=False)
    return bs.run(cells(), chunks * CHUNK, 0.1, out=out, **steady | options)


def assert_begins(run, whole):
    """What is there of `run` is what `whole` begins with."""
    assert len(run["v"]) == run.done
    np.testing.assert_array_equal(run["v"].values, whole["v"].values[: run.done])
    (times, neurons), (all_times, all_neurons) = run.spikes.numpy(), whole.spikes.numpy()
    there = all_times <= run.done * 0.1 + 1e-9
    np.testing.assert_array_equal(times, all_times[there])
    np.testing.assert_array_equal(neurons, all_neurons[there])


def assert_same(run, whole):
    assert run.complete and run.done == whole.done
    assert_begins(run, whole)


@pytest.fixture(scope="module")
def whole():
    run = go()
    assert len(run.spikes.numpy()[0]) > 3
    return run


def power_losses(chunks, moments, tmp_path, monkeypatch):
    whole, rng, opened, source = go(chunks=chunks), np.random.default_rng(0), 0, tmp_path / "source"
    source.mkdir()
    with monkeypatch.context() as patch:
        disk = watch(patch)
        go(source / "run", chunks)
        for moment in np.sort(rng.integers(len(disk.log) + 1, size=moments)):
            target = tmp_path / f"{moment}-{rng.integers(10**9)}"
            power_loss(disk.log[:moment], str(source), str(target), rng)
            if (target / "run").exists():
                part = bs.open_run(target / "run")
                assert_begins(part, whole)
                opened += 1
            assert_same(go(target / "run", chunks, resume=True), whole)
            assert_same(bs.open_run(target / "run"), whole)
            assert os.listdir(target) == ["run"]
            shutil.rmtree(target)
    assert opened > moments / 4


def test_a_power_loss_takes_nothing_that_was_there(tmp_path, monkeypatch):
    power_losses(4, 10, tmp_path, monkeypatch)


@pytest.mark.slow
def test_fifty_power_losses_in_two_hundred_chunks(tmp_path, monkeypatch):
    power_losses(200, 50, tmp_path, monkeypatch)


def test_without_synchronising_a_power_loss_would_show(tmp_path, monkeypatch):
    """The tests above can fail."""
    monkeypatch.setattr(_durable, "_flush", lambda file: None)
    with pytest.raises((ValueError, AssertionError)):
        power_losses(4, 10, tmp_path, monkeypatch)


def test_a_process_that_ends_takes_nothing_that_was_there(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        disk = watch(patch)
        go(tmp_path / "run", 4)
    shutil.rmtree(tmp_path / "run")
    for moment in range(0, len(disk.log), len(disk.log) // 7):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            watch(patch, moment)
            go(tmp_path / "run", 4)
        if (tmp_path / "run").exists():
            assert_begins(bs.open_run(tmp_path / "run"), whole)
        assert_same(go(tmp_path / "run", resume=True), whole)  # and goes on beyond what was asked for at first
        assert os.listdir(tmp_path) == ["run"] and not list((tmp_path / "run").rglob(".*"))
        shutil.rmtree(tmp_path / "run")


# --- one writer at a time -------------------------------------------------------------------------------------------


def test_a_second_writer_gets_one_line(whole, tmp_path):
    """Also in another process, and whether it resumes or overwrites; readers are free to look."""
    out, seen = tmp_path / "run", []
    code = f"from brainsim._durable import Lock; from pathlib import Path; Lock(Path({str(out)!r}))"

    def second(done, total):
        if not done or seen:
            return
        for options in (dict(resume=True), dict(overwrite=True)):
            with pytest.raises(
                ValueError, match=rf"is being written by process {os.getpid()} on .*nothing was written"
            ):
                go(out, **options)
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
        seen.append(child.stderr.splitlines()[-1])
        assert_begins(bs.open_run(out), whole)

    assert_same(go(out, progress=second), whole)
    assert "is being written by process" in seen[0]
    assert_same(go(out, resume=True), whole)  # nobody writes now


def test_whoever_comes_second_to_make_it_gets_one_line(tmp_path, monkeypatch):
    out, create = tmp_path / "run", _sink.create

    def late(*arguments):
        monkeypatch.setattr(_sink, "create", create)
        go(out)
        return create(*arguments)

    monkeypatch.setattr(_sink, "create", late)
    with pytest.raises(ValueError, match="run: exists; nothing was written"):
        go(out)
    assert bs.open_run(out).complete and os.listdir(tmp_path) == ["run"]


def test_debris_of_dead_processes_goes_and_other_files_stay(tmp_path):
    names = [".run-0123abcd", ".run-0123abce", ".run-notes", ".run-0123abcf", "run.txt"]
    for name in names[:-1]:
        (tmp_path / name).mkdir()
    (tmp_path / names[-1]).write_text("mine")
    (tmp_path / ".run-0123abcd" / "lock").write_text("process 1 on a machine")
    (tmp_path / ".run-notes" / "lock").write_text("")
    (tmp_path / ".run-0123abce" / "thesis.tex").write_text("mine")
    with _durable.Lock(tmp_path / ".run-0123abcf"):
        go(tmp_path / "run")
    assert sorted(os.listdir(tmp_path)) == sorted([*names[1:], "run"])


# --- what is missing, damaged or another's ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    out = tmp_path_factory.mktemp("kept") / "run"
    go(out)
    return out


@pytest.fixture
def stored(kept, tmp_path):
    """A run that a test may harm."""
    return shutil.copytree(kept, tmp_path / "run")


def remove(file):
    file.unlink()


def empty(file):
    file.write_bytes(b"")


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def link(file):
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


FILES = ["records.zarr/v/v/c.1.0", "records.zarr/spikes/neuron/c.0", "checkpoint.brainsim", "run.brainsim"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", [remove, empty, cut, link])
def test_what_is_missing_is_found_when_a_run_is_opened(harm, file, stored):
    harm(stored / file)
    for look in (bs.open_run, lambda path: go(path, resume=True)):
        with pytest.raises(ValueError, match=r"missing|damaged|not a run of brainsim") as error:
            look(stored)
        assert "\n" not in str(error.value) and str(stored) in str(error.value)


@pytest.mark.parametrize("place", ["records.zarr", "records.zarr/spikes", "records.zarr/v/v"])
def test_links_in_a_store_are_not_followed(place, stored, tmp_path):
    """Another run's rows are neither read nor written through them."""
    go(tmp_path / "other", inputs=5000.0)
    before = {path: path.read_bytes() for path in (tmp_path / "other").rglob("*") if path.is_file()}
    shutil.rmtree(stored / place)
    (stored / place).symlink_to(tmp_path / "other" / place)
    for look in (bs.open_run, lambda path: go(path, chunks=10, resume=True)):
        with pytest.raises(ValueError, match="is not a folder of the run"):
            look(stored)
    assert before == {path: path.read_bytes() for path in (tmp_path / "other").rglob("*") if path.is_file()}


def test_a_flipped_bit_is_found(stored):
    file = stored / "records.zarr/v/v/c.1.0"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    run = bs.open_run(stored)
    assert run["v"][:4].values.size
    with pytest.raises(ValueError, match=r"c\.1\.0: is damaged, and with it rows of the run"):
        _ = run["v"].values


def test_what_zarr_says_about_a_store_is_not_believed(stored, whole):
    """A group of the second format with a filter that would run code, and arrays of 7 TiB."""
    evil = dict(zarr_format=2, shape=[2**40], chunks=[2**40], dtype="|O", fill_value=None, order="C", compressor=None)
    for header in list(stored.rglob("zarr.json")):
        header.unlink()
        (header.parent / ".zgroup").write_text('{"zarr_format": 2}')
        (header.parent / ".zarray").write_text(json.dumps(evil | dict(filters=[dict(id="pickle")])))
    assert_same(bs.open_run(stored), whole)
    assert go(stored, chunks=10, resume=True).complete
    names = zarr.open_group(stored / "records.zarr", mode="r", zarr_format=3)["v/v"]
    np.testing.assert_array_equal(names[:32], whole["v"].values)


def test_a_folder_that_disappears_is_reported(tmp_path):
    out, other = tmp_path / "run", tmp_path / "other"
    go(other)
    for move in (shutil.rmtree, lambda path: (path.rename(tmp_path / "moved"), shutil.copytree(other, path))):
        disappear = lambda done, total, move=move: move(out) if done == 8 else None
        with pytest.raises(OSError, match=r"run: was removed or moved while it was written; 0.8 ms of 3.2 ms are"):
            go(out, progress=disappear)
    assert bs.open_run(other).complete


def test_a_full_disk_stops_a_run_that_can_be_resumed(whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    for moment in (10, 50, 70, 117):
        with monkeypatch.context() as patch:
            disk = watch(patch)

            def write(file, data, disk=disk, moment=moment):
                if len(disk.log) > moment:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return type(disk).write(disk, file, data)

            disk.write = write
            with pytest.raises((OSError, ValueError), match=r"run: cannot be written \(No space left on device\)") as e:
                go(out, resume=True)
            assert "\n" not in str(e.value)
        if out.exists():
            assert_begins(bs.open_run(out), whole)
            assert not list(out.rglob(".*"))
    assert_same(go(out, resume=True), whole)


def test_a_run_is_read_while_it_is_written(whole, tmp_path):
    """Tables are as long as the last checkpoint says, whichever of them has been written since."""
    out, lengths = tmp_path / "run", []
    append = DiskStore.append

    def looked_at(self, added):
        for table, columns in added.items():
            append(self, {table: columns})
            run = bs.open_run(out)
            assert_begins(run, whole)
            lengths.append(len(run["v"]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiskStore, "append", looked_at)
        go(out)
    assert len(set(lengths)) == 8 and len(lengths) == 8 * 2
    opened = bs.open_run(out)
    go(out, overwrite=True, inputs=0.0)
    with pytest.raises(ValueError, match="was removed or replaced since it was opened"):
        opened["v"]


def test_a_run_that_was_being_overwritten_is_still_there(stored, tmp_path, monkeypatch):
    """Where the process was killed between the two moves, the next one that writes there moves the old run back."""
    there, left, replace = stored.parent, tmp_path / "left", os.replace

    def watched(a, b):
        replace(a, b)
        if os.path.basename(b) == "old":
            shutil.copytree(there, left, ignore=shutil.ignore_patterns("left"))

    whole = bs.open_run(stored)["v"].values
    monkeypatch.setattr(os, "replace", watched)
    go(stored, overwrite=True, inputs=0.0)
    monkeypatch.undo()
    assert not (left / "run").exists()
    _durable.clean(left / "run")
    np.testing.assert_array_equal(bs.open_run(left / "run")["v"].values, whole)
    assert os.listdir(left) == ["run"]


def test_blocks_in_each_other_s_place_are_not_what_was_written(stored):
    """Each is whole; with any of its sizes."""
    for column in ("v/v", "spikes/time"):
        files = sorted((stored / "records.zarr" / column).glob("c.*"), key=lambda f: int(f.name.split(".")[1]))
        if len(files) < 3:
            continue
        a, b = files[0].read_bytes(), files[1].read_bytes()
        files[0].write_bytes(b)
        files[1].write_bytes(a)
        with pytest.raises(ValueError, match="its files are not those that were written"):
            bs.open_run(stored)
        with pytest.raises(ValueError, match="its files are not those that were written"):
            go(stored, chunks=10, resume=True)
        files[0].write_bytes(a)
        files[1].write_bytes(b)
    bs.open_run(stored)


def test_resumed_only_with_the_same_bits(stored, monkeypatch):
    """Whatever compiles and runs a program is part of what is compared."""
    now = _fingerprint.machine()
    assert "brainsim" not in now and all(isinstance(x, str) for x in now.values())
    for name in now:
        monkeypatch.setattr(_checkpoint, "machine", lambda name=name: now | {name: "another"})
        with pytest.raises(ValueError, match=f"{name}: now another, then .*which resume='anyway' accepts"):
            go(stored, chunks=10, resume=True)
    assert go(stored, chunks=10, resume="anyway").complete
    monkeypatch.setattr(_checkpoint, "machine", lambda: now | {"the number of cores": "another"})
    other = stored.with_name("other")
    go(other, chunks=2, inputs=lambda t: 9000.0)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="the model's equations, inputs or recorded functions are not those of"):
        go(other, chunks=4, resume="anyway", inputs=lambda t: 8000.0)
    assert go(other, chunks=4, resume="anyway", inputs=lambda t: 9000.0).complete
    with pytest.raises(ValueError, match=r"inputs.current has another value"):
        go(stored, chunks=10, resume="anyway", inputs=1.0)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    with pytest.raises(ValueError, match="XLA_FLAGS: now --xla_cpu_max_isa=AVX2, then "):
        go(stored, chunks=10, resume=True)
    with pytest.raises(ValueError, match="resume must be True, False or 'anyway', got 'yes'"):
        go(stored, resume="yes")


def test_other_units_are_not_resumed(stored):
    with pytest.raises(ValueError, match="the units are v=V, but the run has"):
        go(stored, resume=True, units=dict(v="V"))


def test_names_that_read_alike_are_kept_apart(tmp_path):
    """`a.b`, and `b` in `a`."""
    both = lambda state: dict(a=dict(b=state.neuron.v.sum()), **{"a.b": state.neuron.v})
    run = go(tmp_path / "run", record=dict(x=bs.Record(both, every=2)))
    for found in (run["x"], bs.open_run(tmp_path / "run")["x"]):
        assert found["['a.b']"].shape == (16, 3) and found["['a']['b']"].shape == (16,)
        np.testing.assert_allclose(found["['a.b']"].sum("axis_1"), found["['a']['b']"], rtol=1e-6)


def test_a_part_with_a_slash_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"record 'x': '../up' cannot name a part on disk; no slash"):
        go(tmp_path / "run", record=dict(x=lambda state: {"../up": state.neuron.v}))
    assert not os.listdir(tmp_path)
