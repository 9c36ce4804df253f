"""The voltage loss: zero at the truth, a free run without coupling, smooth through spikes, blind around them."""

import dataclasses
from typing import Any

import diffrax
import jax
import numpy as np
import pytest
from rows import rows

import brainsim as bs

DT = 0.1


def recorded(neuron, stimulus, unit="pA", dt=DT, solver=None) -> Any:
    """A run as an amplifier would have it: sample k is the value at k dt."""
    n = len(stimulus)
    run = bs.simulate(bs.Population(1, neuron), n * dt, dt, stimulus[:, None], dict(v="v", spikes=True), solver=solver)
    v = np.append(neuron.init(1)[0], run["v"][:-1, 0])
    times = bs.spike_times(run.spikes, dt)[0]
    return bs.io.Recording(dt=dt, stimulus=stimulus, voltage=v, spike_times=times, stimulus_unit=unit)


def current(mean, sd, n, seed=0):
    """A current that changes every 2 ms."""
    levels = mean + sd * np.random.default_rng(seed).normal(size=-(-n // 20))
    return np.repeat(levels, 20)[:n]


CELLS = {
    "LIF": (bs.LIF(), current(450, 150, 1500), "pA"),
    "AdEx": (bs.AdEx(t_ref=1.0), current(800, 200, 1500), "pA"),
    "Izhikevich": (bs.Izhikevich(), current(8, 3, 1500), "pA"),
    "HH": (bs.HH(), current(8, 4, 800), "uA/cm2"),
}


def double(neuron):
    return jax.tree.map(lambda x: x.astype(float) if isinstance(x, jax.Array) else x, neuron)


@pytest.mark.parametrize("name", rows(CELLS, long={"HH", "AdEx"}))
def test_nothing_is_left_at_the_truth(name, precision):
    neuron, stimulus, unit = CELLS[name]
    neuron = double(neuron) if precision == 64 else neuron
    recording = recorded(neuron, stimulus, unit)
    assert len(recording.spike_times) >= 2
    for coupling in (0.0, 0.1, 2.0):
        terms = bs.losses.voltage_mse(neuron, recording, coupling=coupling)
        cost = np.asarray(terms.cost(terms.output))
        voltage = cost if cost.ndim == 1 else cost[:, 0]
        assert voltage.sum() / terms.weight.sum() < (1e-5 if precision == 32 else 1e-18)
        assert (cost.ndim == 2) == (name == "LIF")
        if name == "LIF":  # half a step before a spike the potential is within half a step of the threshold
            assert 0 < cost[:, 1].max() < (0.5 * DT * 4.0) ** 2


def test_without_coupling_it_is_a_free_run(x64):
    recording = recorded(bs.HH(), current(8, 4, 400), "uA/cm2")
    other = bs.HH(g_k=40.0)
    free = bs.simulate(bs.Population(1, other), 40.0, DT, recording.stimulus[:, None], dict(v="v"))["v"][:-1, 0]
    expected = float(np.mean((free - recording.voltage[1:]) ** 2))
    assert float(bs.losses.voltage_mse(other, recording, coupling=0.0).mean()) == pytest.approx(expected, rel=1e-9)


def test_full_coupling_is_a_step_ahead(x64):
    """With v corrected all the way, the error is that of a step from the recorded voltage."""
    recording = recorded(bs.LIF(v_th=0.0), current(200, 100, 300))
    v, i = recording.voltage, recording.stimulus
    decay = np.exp(-DT / 20.0)
    ahead = v[:-1] * decay + (1 - decay) * (-70 + 20.0 / 250 * i[:-1])
    expected = np.mean((ahead - v[1:]) ** 2)
    loss = bs.losses.voltage_mse(bs.LIF(tau=20.0), recording, coupling=1e3)
    assert float(loss.mean()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "parameter", "solver"),
    [("LIF", "v_th", None),
     *(pytest.param(*row, marks=pytest.mark.slow) for row in [
         ("AdEx", "delta_t", None), ("AdEx", "tau_w", diffrax.Heun()),
         ("Izhikevich", "b", None), ("HH", "g_na", None)])],
)  # fmt: skip
def test_gradients_through_spikes(name, parameter, solver, x64):
    """Both modes against central differences, at parameters that are not the truth."""
    neuron, stimulus, unit = CELLS[name]
    neuron = double(neuron)
    recording = recorded(neuron, stimulus, unit).slice(0.0, 40.0)
    assert len(recording.spike_times)
    loss = lambda x: bs.losses.voltage_mse(bs.with_params(neuron, {parameter: x}), recording, solver=solver).mean()
    x = 1.05 * getattr(neuron, parameter)
    h = 1e-6 * x
    expected = (loss(x + h) - loss(x - h)) / (2 * h)
    assert expected != 0
    assert float(jax.jacfwd(loss)(x)) == pytest.approx(float(expected), rel=1e-5)
    assert float(jax.grad(loss)(x)) == pytest.approx(float(expected), rel=1e-5)


def test_the_samples_around_spikes_do_not_count():
    neuron, stimulus, unit = CELLS["AdEx"]
    recording = recorded(neuron, stimulus, unit)
    neuron = bs.with_params(neuron, tau_w=100.0)
    voltage, at = recording.voltage.copy(), np.ceil(recording.spike_times / DT - 1e-6).astype(int)
    for k in at:
        voltage[k : k + 21] = 35.0  # what comes before is an upstroke, which moves w
    spoilt = dataclasses.replace(recording, voltage=voltage)
    loss, same = (bs.losses.voltage_mse(neuron, r) for r in (recording, spoilt))
    assert 0 < loss.mean() == same.mean()
    narrow = bs.losses.voltage_mse(neuron, spoilt, mask=(1.0, 1.9))
    assert narrow.weight.sum() == loss.weight.sum() + len(at)
    assert narrow.mean() > 1.0
    late = bs.losses.voltage_mse(neuron, recording, skip=50.0)
    assert late.weight[:499].sum() == 0 and late.weight[499] == 1  # the sample at 50 ms ends step 499


def test_spikes_are_found_in_the_voltage():
    neuron, stimulus, unit = CELLS["AdEx"]
    recording = recorded(neuron, stimulus, unit)
    voltage, at = recording.voltage.copy(), np.ceil(recording.spike_times / DT - 1e-6).astype(int)
    voltage[at] = 30.0
    untold = dataclasses.replace(recording, voltage=voltage, spike_times=None)
    told, found = (bs.losses.voltage_mse(neuron, r) for r in (recording, untold))
    np.testing.assert_array_equal(told.weight, found.weight)
    assert told.mean() == found.mean()


def test_a_runaway_upstroke_does_not_overflow():
    """Single precision, a threshold far below what was recorded, and the sharpest upstroke."""
    recording = recorded(*CELLS["AdEx"])
    bad = bs.AdEx(v_t=-60.0, delta_t=0.5, g_l=5.0, c=100.0)
    loss = lambda m: bs.losses.voltage_mse(m, recording, coupling=2.0).mean()
    value, gradient = jax.value_and_grad(loss)(bad)
    assert np.isfinite(value)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
    assert gradient.v_t != 0 and gradient.delta_t != 0


def test_errors_say_what_is_missing():
    recording = recorded(*CELLS["LIF"])
    no_voltage = dataclasses.replace(recording, voltage=None)
    no_stimulus = dataclasses.replace(recording, stimulus=None)
    for model, data, message in [
        (bs.Population(1, bs.LIF()), recording, "compares one neuron with a variable 'v', got Population"),
        (bs.LIF(), no_voltage, "needs a voltage and a stimulus; the recording has no voltage"),
        (bs.LIF(), no_stimulus, "needs a voltage and a stimulus; the recording has no stimulus"),
        (bs.HH(), recording, "HH takes a current in uA/cm2, the recording's stimulus is in pA"),
        (bs.LIF(), dataclasses.replace(recording, stimulus_unit="uA/cm2"), "LIF takes a current in pA, .* in uA/cm2"),
    ]:
        with pytest.raises(ValueError, match=message):
            bs.losses.voltage_mse(model, data)
    with pytest.raises(ValueError, match="no sample is farther than 500 ms before and 2 ms after a spike"):
        bs.losses.voltage_mse(bs.LIF(), recording, mask=(500.0, 2.0))
