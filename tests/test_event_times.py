"""Exact events are each neuron's own: whoever else spikes, whatever arrives, however steep the upstroke."""

import json
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import rows

import brainsim as bs

NEST = json.loads((Path(__file__).parent / "reference" / "nest_adex.json").read_text())


def test_each_neuron_has_its_own_threshold(precision):
    """One starts above it and spikes at once, one is reset to above it and fires whenever it may, one has neither."""
    neuron = bs.neuron(
        lambda t, y, p, i: dict(v=(i - y["v"]) / 10.0),
        guard=lambda y, p: y["v"] - 15.0,
        reset=lambda y, p: dict(v=p["v_reset"]),
        init=dict(v=np.array([0.0, 16.0, 0.0, 0.0])),
        params=dict(v_reset=np.array([0.0, 0.0, 16.0, 16.0])),
        t_ref=np.array([2.0, 2.0, 2.0, 0.0]),
    )
    events = bs.simulate_events(bs.Population(4, neuron), 60.0, 20.0, max_spikes=24)
    first = 10 * np.log(4)
    close = dict(rtol=1e-9 if precision == 64 else 2e-5)
    np.testing.assert_allclose(events.times[0, :3], first + np.arange(3) * (first + 2), **close)
    np.testing.assert_allclose(events.times[1, :4], np.arange(4) * (first + 2), **close)
    np.testing.assert_allclose(events.times[2, :24], first + 2 * np.arange(24), **close)
    np.testing.assert_allclose(events.times[3], first, **close)  # for ever at one time: there is no room for that
    assert events.count.tolist() == [3, 4, 24, 24]
    assert not bool(events.complete)


def test_an_arrival_at_the_time_of_a_spike_is_delivered(x64):
    """After it: v = t reaches 5 at 5, 10 and 15, where 1 mV comes at once and then more than threshold in the end."""
    neuron = bs.LIF(tau=jnp.inf, c=1.0, v_rest=0.0, v_reset=0.0, v_th=5.0, t_ref=0.0)
    cells = bs.Population(2, neuron, dict(one=bs.DeltaCurrent(), slow=bs.ExpCurrent(tau=5.0)))
    inputs = dict(current=1.0, one=bs.SpikeTrain([15.0], [1.0]), slow=bs.SpikeTrain([[15.0], [16.0]], [1.0, 0.0]))
    events = bs.simulate_events(cells, 19.0, inputs, max_spikes=6)
    interval = events.times[0, 3] - 15.0
    np.testing.assert_allclose(events.times[:, :3], [[5, 10, 15]] * 2, atol=1e-9)
    np.testing.assert_allclose(1 + interval + 5 * (1 - jnp.exp(-interval / 5)), 5, atol=1e-9)
    np.testing.assert_allclose(events.times[1, 3], 19, atol=1e-9)  # at the very end
    assert bool(events.complete) and events.count.tolist() == [4, 4]


@pytest.mark.parametrize("slope", [lambda v: jnp.array([1.0, 2.0]) - v, lambda v: v.mean() - v])
def test_neurons_that_do_not_stand_alone_are_refused(slope, x64):
    neuron = bs.neuron(
        lambda t, y, p, i: dict(v=slope(y["v"])),
        guard=lambda y, p: y["v"] - p["v_th"],
        init=dict(v=0.0),
        params=dict(v_th=np.array([3.0, 4.0])),
    )
    with pytest.raises(ValueError, match="what differs between them must be a parameter, and none may depend on"):
        bs.simulate_events(bs.Population(2, neuron), 10.0, max_spikes=1)


def adex(per_cell):
    names = dict(c="C_m", g_l="g_L", e_l="E_L", v_t="V_th", delta_t="Delta_T", v_reset="V_reset", v_peak="V_peak")
    return bs.AdEx(**{ours: per_cell(theirs) for ours, theirs in names.items()},
                   **{x: per_cell(x) for x in ("a", "b", "tau_w")})  # fmt: skip


@pytest.mark.parametrize("precision", rows([32, 64], long={64}), indirect=True)
def test_random_adex_cells_fire_when_those_of_nest_do(precision):
    """NEST's times are the exact ones, rounded up to its grid; float32 has its rounding besides."""
    params = [cell["params"] for cell in NEST["cells"]]
    per_cell = lambda name: np.array([p[name] for p in params])
    cells = bs.Population(len(params), adex(per_cell))
    events = bs.simulate_events(cells, NEST["duration"], per_cell("I_e"), max_spikes=48)
    assert bool(events.complete)
    slack = 1e-6 if precision == 64 else 1e-3
    for times, count, cell in zip(events.times, events.count, NEST["cells"], strict=True):
        assert int(count) == len(cell["spikes"])
        late = np.array(cell["spikes"]) - np.asarray(times[:count], float)
        assert late.min() > -slack and late.max() < NEST["dt"] + slack


def spike_times(drive, delta_t, b, t_ref, adjoint=None):
    neuron = bs.AdEx(v_peak=20.0, delta_t=delta_t, b=b, t_ref=t_ref)
    return bs.simulate_events(neuron, 50.0, drive, max_spikes=3, adjoint=adjoint).times[0, :2]


AT = (800.0, 1.5, 80.5, 1.0)


@pytest.mark.slow
def test_forward_derivatives_through_upstrokes_are_finite_differences(x64):
    """Of the times of two spikes, the second behind a peak at which v grows by 1e16 mV/ms."""
    steps = np.diag([1e-2, 1e-5, 1e-2, 1e-5])
    points = np.array(AT) + np.concatenate([np.zeros((4, 4)), steps, -steps])  # one program has all it takes
    directions = np.concatenate([np.eye(4)] * 3)
    along = lambda p, d: jax.jvp(lambda p: spike_times(*p, adjoint=diffrax.ForwardMode()), (p,), (d,))
    times, got = jax.vmap(along)(jnp.asarray(points), jnp.asarray(directions))
    finite = (times[4:8] - times[8:]) / (2 * np.diag(steps)[:, None])
    np.testing.assert_allclose(got[:4], finite, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_forward_and_reverse_derivatives_through_upstrokes_agree(precision):
    forward = jax.jacfwd(lambda p: spike_times(*p, adjoint=diffrax.ForwardMode()))(jnp.array(AT))
    reverse = jax.jacrev(lambda p: spike_times(*p))(jnp.array(AT))
    np.testing.assert_allclose(reverse, forward, rtol=1e-8 if precision == 64 else 2e-3, atol=1e-9)
