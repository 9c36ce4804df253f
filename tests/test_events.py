"""Exact spike times against closed forms."""

import math

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs

LIF = dict(tau=10.0, v_rest=0.0, v_reset=0.0, v_th=15.0, c=10.0, t_ref=2.0)  # drive in mV is the current in pA


def interval(drive, tau=10.0, v_th=15.0, t_ref=2.0):
    """From reset to reset: t_ref + tau log(drive / (drive - v_th)), the first without t_ref."""
    return t_ref + tau * jnp.log(drive / (drive - v_th))


def test_spike_times_of_lif(x64):
    events = bs.simulate_events(bs.LIF(**LIF), 100.0, 40.0, max_spikes=20)
    expected = np.arange(1, 15 + 1) * float(interval(40.0)) - 2.0
    assert int(events.count[0]) == np.sum(expected < 100) and bool(events.complete)
    n = int(events.count[0])
    np.testing.assert_allclose(events.times[0, :n], expected[:n], atol=1e-8)
    assert np.all(np.isinf(events.times[0, n:]))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_derivatives_of_spike_times(mode, x64):
    """With respect to the current and every parameter, to 1e-8."""

    def second(drive, tau, v_th, t_ref):
        neuron = bs.LIF(**{**LIF, "tau": tau, "c": 10.0, "v_th": v_th, "t_ref": t_ref})
        adjoint = diffrax.ForwardMode() if mode == "forward" else None
        return bs.simulate_events(neuron, 30.0, drive * 10.0 / tau, max_spikes=2, adjoint=adjoint).times[0, 1]

    at = tuple(map(jnp.asarray, (40.0, 10.0, 15.0, 2.0)))
    closed = lambda *p: 2 * interval(*p) - p[3]
    got = (jax.jacfwd if mode == "forward" else jax.jacrev)(second, argnums=(0, 1, 2, 3))(*at)
    np.testing.assert_allclose(got, jax.grad(closed, argnums=(0, 1, 2, 3))(*at), atol=1e-8)


@pytest.mark.slow
def test_small_population_and_simultaneous_spikes(x64):
    """Each neuron has its own times; two equal ones spike together and both are counted."""
    drive = np.array([40.0, 25.0, 40.0])
    events = bs.simulate_events(bs.Population(3, bs.LIF(**LIF)), 50.0, drive, max_spikes=10)
    for i, d in enumerate(drive):
        expected = np.arange(1, 11) * float(interval(d)) - 2.0
        n = int(np.sum(expected < 50))
        assert int(events.count[i]) == n
        np.testing.assert_allclose(events.times[i, :n], expected[:n], atol=1e-6)


def test_room_for_spikes_is_a_flag(x64):
    events = bs.simulate_events(bs.LIF(**LIF), 100.0, 40.0, max_spikes=3)
    assert int(events.count[0]) == 3 and not bool(events.complete)


@pytest.mark.slow
def test_vmap(x64):
    first = lambda d: bs.simulate_events(bs.LIF(**LIF), 15.0, d, max_spikes=1).times[0, 0]
    np.testing.assert_allclose(
        jax.vmap(first)(jnp.array([20.0, 40.0])), [10 * math.log(4), 10 * math.log(1.6)], atol=1e-8
    )


def test_a_delta_arrival_that_reaches_threshold_spikes_at_once(x64):
    cell = bs.Population(1, bs.LIF(**LIF), dict(d=bs.DeltaCurrent()))
    events = bs.simulate_events(cell, 10.0, dict(d=bs.SpikeTrain([1.234, 2.0, 5.0], 20.0)), max_spikes=5)
    # The one at 2.0 meets a refractory neuron and is lost.
    np.testing.assert_allclose(events.times[0, :2], [1.234, 5.0], atol=1e-12)
    assert int(events.count[0]) == 2


def test_float32(x32):
    events = bs.simulate_events(bs.LIF(**LIF), 20.0, 40.0, max_spikes=5)
    assert events.times.dtype == jnp.float32
    np.testing.assert_allclose(events.times[0, :3], [4.700036, 11.400072, 18.100109], atol=1e-4)


@pytest.mark.slow
def test_gradient_through_a_neuron_from_functions(x64):
    neuron = bs.neuron(
        lambda t, y, p, i: dict(v=(i - y["v"]) / p["tau"]),
        guard=lambda y, p: y["v"] - p["v_th"],
        reset=lambda y, p: dict(v=0.0),
        init=dict(v=0.0),
        params=dict(tau=10.0, v_th=15.0),
    )
    grads = eqx.filter_grad(lambda m: bs.simulate_events(m, 8.0, 40.0, max_spikes=1).times[0, 0])(neuron)
    np.testing.assert_allclose(grads.params["v_th"], 10 / 25, atol=1e-8)
    np.testing.assert_allclose(grads.params["tau"], math.log(1.6), atol=1e-8)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(duration=0.0), "the duration must be positive"),
        (dict(max_spikes=0), "max_spikes must be a whole number, at least 1, got 0"),
        (dict(inputs=dict(exc=1.0)), "input to unknown 'exc'; available: current"),
    ],
)
def test_bad_input(kwargs, message, x64):
    with pytest.raises(ValueError, match=message):
        bs.simulate_events(bs.LIF(), **{**dict(duration=10.0, max_spikes=2), **kwargs})


def test_noise_is_refused(x64):
    with pytest.raises(ValueError, match="exact events need a flow without noise"):
        bs.simulate_events(bs.Population(1, bs.LIF(), noise=dict(v=1.0)), 10.0, max_spikes=2)
