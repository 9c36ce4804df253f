"""The squid axon against NEURON and an exact solution: order of every solver, spike times, sensitivities."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest
from reference import load
from rows import rows

import brainsim as bs

REFERENCE = load("neuron_hh")
EXACT = REFERENCE["independent_reference"]


def step_current(dt, duration=100.0):
    """10 uA/cm2 from 5 to 95 ms, one row a step."""
    start = np.arange(round(duration / dt)) * dt
    return jnp.asarray(np.where((start > 5 - 1e-9) & (start < 95 - 1e-9), 10.0, 0.0)[:, None])


def upward_crossings(v, dt):
    """Interpolated crossings of 0 mV in a trace whose first value is at time 0."""
    k = np.flatnonzero((v[:-1] < 0) & (v[1:] >= 0))
    return (k + v[k] / (v[k] - v[k + 1])) * dt


def trace(neuron, dt, solver, duration=100.0):
    cell = bs.Population(1, neuron)
    return bs.simulate(cell, duration, dt, step_current(dt, duration), dict(v="v"), solver=solver)["v"][:, 0]


tight = dict(rtol=1e-10, atol=1e-10)
SOLVERS = {
    "exponential Euler": (bs.ExponentialEuler, 1, 0.0125),
    "Euler": (diffrax.Euler, 1, 0.0125),
    "implicit Euler": (lambda: diffrax.ImplicitEuler(root_finder=optimistix.Newton(**tight)), 1, 0.0125),
    "Heun": (diffrax.Heun, 2, 0.0125),
    "midpoint": (diffrax.Midpoint, 2, 0.0125),
    "Ralston": (diffrax.Ralston, 2, 0.0125),
    "Bosh3": (diffrax.Bosh3, 3, 0.025),
    "Tsit5": (diffrax.Tsit5, 5, 0.05),
    "Dopri5": (diffrax.Dopri5, 5, 0.05),
    "Kvaerno3": (lambda: diffrax.Kvaerno3(root_finder=optimistix.Newton(**tight)), 3, 0.025),
}


@pytest.fixture(scope="module")
def v_12ms():
    """The membrane potential at 12 ms, past the first spike, from a solver and step that leave no error to see."""
    with jax.enable_x64(True):
        return float(trace(bs.HH(), 0.0025, diffrax.Dopri8(), 12.0)[-1])


@pytest.mark.parametrize("name", rows(SOLVERS, long=set(SOLVERS) - {"exponential Euler", "Heun", "Tsit5"}))
def test_order_of_convergence(name, v_12ms, x64):
    make, order, dt = SOLVERS[name]
    steps = np.array([dt, dt / 2, dt / 4])
    errors = [abs(float(trace(bs.HH(), h, make(), 12.0)[-1]) - v_12ms) for h in steps]
    observed = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order - 0.35 < observed < order + 0.85, errors  # Tsit5 and Dopri5 do better than their order here


def test_spike_times_and_voltages(x64):
    v = np.asarray(trace(bs.HH(), 0.01, diffrax.Tsit5()))
    expected = np.array(EXACT["v_at_integer_ms"][1:])
    np.testing.assert_allclose(v[99::100], expected, atol=2e-5)
    crossings = upward_crossings(np.concatenate([[-65.0], v]), 0.01)
    # Linear interpolation of an upstroke of 400 mV/ms over 0.01 ms is good to about 2e-5 ms.
    np.testing.assert_allclose(crossings, EXACT["spike_times_up_cross_0mV_ms"], atol=1e-4)


def test_exact_spike_times(x64):
    current = lambda t: jnp.where((t >= 5) & (t < 95), 10.0, 0.0)
    events = bs.simulate_events(bs.HH(), 100.0, current, max_spikes=10, max_step=0.5)
    assert int(events.count[0]) == 7 and bool(events.complete)
    np.testing.assert_allclose(events.times[0, :7], EXACT["spike_times_up_cross_0mV_ms"], atol=2e-6)


def test_first_order_spike_times(x64):
    """Exponential Euler at the customary dt 0.025 ms is late by 0.2 ms a spike; the error falls with dt.

    The seventh spike is left out: exactly, it comes 0.07 ms before the current ends; when it is late, after that.
    """
    exact = np.array(EXACT["spike_times_up_cross_0mV_ms"])[:6]
    late = {}
    for dt in (0.025, 0.0125):
        v = np.asarray(trace(bs.HH(), dt, bs.ExponentialEuler()))
        late[dt] = upward_crossings(np.concatenate([[-65.0], v]), dt)[:6] - exact
    assert 0 < late[0.025].min() and late[0.025].max() < 1.1
    np.testing.assert_allclose(late[0.025] / late[0.0125], 2, atol=0.15)


def test_gates_at_rest(x64):
    y = bs.HH().init(1)
    np.testing.assert_allclose([y.m[0], y.h[0], y.n[0]], [EXACT["gates_at_rest"][x] for x in "mhn"], atol=1e-9)


NAMES = dict(gNa="g_na", gK="g_k", gL="g_l", C="c")


@pytest.mark.slow
@pytest.mark.parametrize("solver, dt", [(diffrax.Heun, 0.0125), (diffrax.Tsit5, 0.025)])
@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_sensitivities(solver, dt, mode, x64):
    """dV/dg at 20, 50 and 90 ms within 1 % of the exact ones; a first-order solver at dt 0.025 is off by up to 27 %."""
    at = np.array([20.0, 50.0, 90.0])

    def v_at(values):
        neuron = bs.HH(**dict(zip(NAMES.values(), values, strict=True)))
        return trace(neuron, dt, solver())[np.round(at / dt).astype(int) - 1]

    nominal = [jnp.asarray(EXACT["sensitivities"]["nominal"][k]) for k in NAMES]
    jacobian = (jax.jacrev if mode == "reverse" else jax.jacfwd)(v_at)(nominal)
    for name, got in zip(NAMES, jacobian, strict=True):
        np.testing.assert_allclose(got, EXACT["sensitivities"]["values"][name]["dV_at_20_50_90ms"], rtol=0.01)


@pytest.mark.slow
def test_sensitivities_of_exact_spike_times(x64):
    current = lambda t: jnp.where((t >= 5) & (t < 95), 10.0, 0.0)

    def first_spikes(neuron):
        return bs.simulate_events(neuron, 25.0, current, max_spikes=2, max_step=0.5).times[0]

    jacobian = eqx.filter_jacrev(first_spikes)(bs.HH())
    for name, ours in NAMES.items():
        expected = EXACT["sensitivities"]["values"][name]["dT_spike"][:2]
        np.testing.assert_allclose(getattr(jacobian, ours), expected, rtol=1e-4)
