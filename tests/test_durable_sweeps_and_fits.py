"""Sweeps and fits lose at most what they were at, and end with the bits of uninterrupted ones."""

import os
import shutil

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from crashes import Stopped, power_loss, watch

import brainsim as bs
from brainsim.fitting import _search


def wave(x, y):
    return dict(a=jnp.sin(x) * y, b=jnp.stack([x, y]).astype(jnp.bfloat16))


def sweep(out=None, x=6, **options):
    given = dict(axes=dict(x=np.linspace(0, 1, x), y=[1.0, 2.0]), chunk=2, progress=False) | options
    return bs.sweep(wave, given.pop("axes"), out=out, **given)


def same_sweep(a, b):
    assert a.sizes == b.sizes and list(a) == list(b) and list(a.coords) == list(b.coords)
    for name in [*a, *a.coords]:  # as bytes: xarray does not compare bfloat16
        assert a[name].dtype == b[name].dtype and a[name].values.tobytes() == b[name].values.tobytes()


def decay(model, data):
    t = jnp.arange(4.0)
    return bs.losses.Terms(model.c * jnp.exp(-t / model.tau), lambda x: (x - data) ** 2, jnp.ones(4))


def error(model, data):
    return jnp.sum((model.tau - data) ** 2)


def fit(loss, optimizer, out, high=50.0, **options):
    """Two stages of the simplest loss there is."""
    given = dict(free=dict(tau=(5.0, high)), loss=[loss] * 2, optimizer=optimizer, starts=3, steps=4, progress=False)
    return bs.fit(bs.LIF(), jnp.arange(4.0), out=out, **given | options)


def gauss_newton(out=None, **options):
    return fit(decay, None, out, **options)


def adam(out=None, **options):
    return fit(error, optax.adam(0.1), out, **options)


def same_fit(a, b):
    a, b = a.to_dict(), b.to_dict()
    assert a.pop("seconds") >= 0 and b.pop("seconds") >= 0 and a == b


WORK = {
    "sweep": (sweep, same_sweep),
    "fit by Gauss-Newton steps": (gauss_newton, same_fit),
    "fit by gradients": (adam, same_fit),
}


@pytest.fixture(scope="module", params=WORK)
def work(request):
    """What does some work, what compares its results, and the result of an uninterrupted one."""
    go, assert_same = WORK[request.param]
    return request.param, go, assert_same, go()


@pytest.fixture(autouse=True)
def every_step_is_kept(monkeypatch):
    monkeypatch.setattr(_search, "_EVERY", 0.0)


@pytest.fixture
def log(work, tmp_path, monkeypatch):
    """All that is done to the disk by it."""
    (tmp_path / "source").mkdir()
    with monkeypatch.context() as patch:
        disk = watch(patch)
        work[1](tmp_path / "source" / "work")
    return disk.log


def moments(log, count):
    return np.random.default_rng(0).integers(len(log) + 1, size=count)


def test_a_power_loss_takes_nothing_that_was_there(work, log, tmp_path, monkeypatch):
    _, go, assert_same, whole = work
    rng = np.random.default_rng(1)
    with monkeypatch.context() as patch:
        watch(patch)
        for moment in moments(log, 5):
            power_loss(log[:moment], str(tmp_path / "source"), str(tmp_path / "left"), rng)
            assert_same(go(tmp_path / "left" / "work", resume=True), whole)
            assert os.listdir(tmp_path / "left") == ["work"]
            shutil.rmtree(tmp_path / "left")


def test_a_process_that_ends_takes_nothing_that_was_there(work, log, tmp_path, monkeypatch):
    """Again and again, until it is done."""
    _, go, assert_same, whole = work
    ends = 0
    while True:
        try:
            with monkeypatch.context() as patch:
                watch(patch, 10 + len(log) // 4)
                result = go(tmp_path / "work", resume=True)
                break
        except Stopped:
            ends += 1
    assert ends > 1
    assert_same(result, whole)
    assert sorted(os.listdir(tmp_path)) == ["source", "work"] and not list(tmp_path.rglob(".*"))


def test_one_writer_nothing_overwritten_nothing_else_resumed(work, tmp_path):
    name, go, assert_same, whole = work
    kind = name.split()[0]
    out, said = tmp_path / "work", []

    def second(done, total):
        with pytest.raises(ValueError, match=f"is being written by process {os.getpid()}"):
            go(out, resume=True)
        said.append(done)

    assert_same(go(out, progress=second), whole)
    assert said
    with pytest.raises(ValueError, match="work: exists; nothing was written"):
        go(out)
    with pytest.raises(ValueError, match=r"give out=PATH"):
        go(resume=True)
    with pytest.raises(
        ValueError, match=r"cannot be resumed: .*, but the (sweep|fit) has |another value than in the sweep"
    ):
        go(out, resume=True, **OTHERS[kind])
    disappear = lambda done, total: shutil.rmtree(out, ignore_errors=True)
    with pytest.raises(OSError, match=r"work: was removed or moved while it was written; .*resume=True"):
        go(out, overwrite=True, progress=disappear)
    if name == "fit by Gauss-Newton steps":  # its tolerance is in no program
        go(out)
        with pytest.raises(ValueError, match=r"the method is GaussNewton.*1e-09.*, but the fit has GaussNewton"):
            fit(decay, bs.fitting.GaussNewton(tolerance=1e-9), out, resume=True)
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    assert_same(go(thesis), whole)  # an empty folder is as good as none
    shutil.rmtree(thesis)
    thesis.mkdir()
    (thesis / "thesis.tex").write_text("years of work")
    for options in (dict(overwrite=True), {}):
        with pytest.raises(ValueError, match=f"exists and is not a {kind} of brainsim; nothing was written"):
            go(thesis, **options)
    assert os.listdir(thesis) == ["thesis.tex"]


OTHERS = {"fit": dict(high=49.0), "sweep": dict(axes=dict(x=np.linspace(0, 2, 6), y=[1.0, 2.0]))}


def test_chunks_of_a_sweep_are_taken_from_disk_and_damaged_ones_done_again(tmp_path):
    whole = sweep(tmp_path / "sweep")
    files = sorted((tmp_path / "sweep").glob("points-*"))
    assert len(files) == 6
    written = [file.stat().st_mtime_ns for file in files]
    files[1].write_bytes(files[1].read_bytes()[:-1])
    files[3].unlink()
    same_sweep(sweep(tmp_path / "sweep", resume=True), whole)
    again = [file.stat().st_mtime_ns for file in files]
    assert [a == b for a, b in zip(written, again, strict=True)] == [True, False, True, False, True, True]
    with pytest.raises(ValueError, match="the points are 12, 3 at once, but the sweep has 12, 2 at once"):
        sweep(tmp_path / "sweep", resume=True, chunk=3)
