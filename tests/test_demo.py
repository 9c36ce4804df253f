"""The demo as a user runs it, in its small version; and that the code on its page runs and does what was done."""

# pyright: reportAttributeAccessIssue=false

import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import cli
from brainsim._demo import _snippets
from brainsim._demo._coba import network, simulate_coba, with_weights
from brainsim._demo._sweep import sweep_weights


def _same(a, b):
    """Whether two networks, or parts of them, have the same parameters and connections."""
    arrays = [jax.tree.leaves(eqx.filter(net, eqx.is_array)) for net in (a, b)]
    return len(arrays[0]) == len(arrays[1]) and all(np.array_equal(x, y) for x, y in zip(*arrays, strict=True))


@pytest.mark.slow
def test_demo_in_its_small_version(capsys, tmp_path):
    pytest.importorskip("nitime")
    out = tmp_path / "demo"
    assert cli.main(["demo", "--quick", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"wrote {out / 'index.html'}\n"
    assert [line[:3] for line in said.err.splitlines()] == [
        "1/4",
        "2/4",
        "3/4",
        "4/4",
    ]  # no terminal: a line for each part
    found = json.loads((out / "report.json").read_text())
    for part in ("recording_1", "recording_2", "transfer"):
        assert np.isfinite([found["locust"][part]["bits_per_spike"][who] for who in ("model", "glm")]).all()
    assert 5.0 < found["coba"]["rate_e_hz"] < 60.0 and found["coba"]["neurons"] == 400
    assert found["sweep"]["shape"] == [3, 3] and found["backend"]["kernels"] == bs.ops.backend()
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("<img ") == len(list(out.glob("*.png"))) == 9


def test_network_has_the_rates_and_the_numbers_it_reports():
    steps = []
    coba = simulate_coba(n_e=320, n_i=80, duration=200.0, repeats=1, progress=lambda *said: steps.append(said))
    assert len(coba.spike_times) == len(coba.spike_ids) and coba.spike_times.max() <= 200.0
    ours = np.sum(coba.spike_ids < 320) / 320 / 0.2
    assert coba.rate_e_hz == pytest.approx(ours)
    binned = np.sum(coba.rate_e) * 320 * 5e-3 + np.sum(coba.rate_i) * 80 * 5e-3
    assert binned == pytest.approx(len(coba.spike_times))
    assert 0.1 * 400 * 0.15 * 400 < coba.synapses < 0.3 * 400 * 400
    assert steps[0][0] == 0 and steps[-1][0] == steps[-1][1]


def test_weights_are_those_asked_for():
    net = with_weights(network(80, 20), 3.0, 20.0)
    assert {name: float(p.connect.weight) for name, p in net.projections.items()} == dict(EE=3, EI=3, IE=20, II=20)


def test_sweep_is_a_loop_over_networks():
    net = network(80, 20)
    found = sweep_weights(net, points=2, duration=20.0, skipped=5.0)
    assert found.rate_hz.shape == (2, 2) and found.n == 100

    @eqx.filter_jit
    def one(w_exc, w_inh):
        drive, record = dict(E=200.0, I=200.0), dict(spikes=True)
        return bs.simulate(with_weights(net, w_exc, w_inh), 20.0, 0.1, drive, record, key=jax.random.key(2)).spikes

    for i, w_exc in enumerate(found.w_exc):
        for j, w_inh in enumerate(found.w_inh):
            run = one(jnp.asarray(w_exc, float), jnp.asarray(w_inh, float))
            spikes = np.concatenate([run["E"], run["I"]], axis=1)[50:]
            assert found.rate_hz[i, j] == pytest.approx(spikes.sum() / 100 / 0.015, rel=1e-5)


def test_the_network_on_the_page_is_the_network_of_the_demo():
    names: dict[str, Any] = dict(bs=bs, jax=jax)
    exec(_snippets.NETWORK.replace("1000.0", "10.0"), names)  # the same, for a shorter time
    nets = names["net"], network()
    assert _same(*(net.projections for net in nets))
    assert _same(*({k: (p.neuron, p.receptors) for k, p in net.populations.items()} for net in nets))
    assert _same(*(net.init(dt=0.1, key=jax.random.key(2)) for net in nets))
    assert names["run"].spikes["E"].shape == (100, 3200)


def test_the_sweep_on_the_page_runs():
    names: dict[str, Any] = dict(bs=bs, jax=jax, jnp=jnp, net=network(80, 20))
    exec(_snippets.SWEEP.replace("12)", "2)").replace("200.0, dt", "60.0, dt"), names)
    assert names["rates"].result.shape == (2, 2) and names["rates"].result.attrs["units"] == "Hz"
    assert names["rates"].w_exc.values.tolist() == [2.0, 7.5]


@pytest.mark.slow
def test_the_fit_on_the_page_runs():
    pytest.importorskip("nitime")
    from brainsim._demo._locust import FREE, load_recording

    whole = load_recording(1)
    names: dict[str, Any] = dict(bs=bs, np=np, FREE=FREE, level=whole.stimulus, spikes=whole.spike_times)
    for ours, small in (("dt=0.25", "dt=1.0"), ("resample(0.25)", "resample(1.0)"), ("=32", "=2"), ("=12", "=2")):
        assert ours in _snippets.FIT
        names["text"] = names.get("text", _snippets.FIT).replace(ours, small)
    exec(names["text"], names)
    assert names["probability"].shape == (10000,) and np.isfinite(float(names["bits"]))
