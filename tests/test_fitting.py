"""Fits: they find what made the data, stay within bounds, never see what is held out, and say what they cannot know."""

import dataclasses
import io
import json
import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import brainsim as bs
from brainsim.fitting import _objective

DT = 0.1


def recorded(neuron, stimulus, *, noise=0.0, finer=1, unit="pA", dt=DT) -> Any:
    """A run, at `finer` steps per sample, as an amplifier with `noise` (mV) would have it: sample k at k dt."""
    n = len(stimulus)
    drive = np.repeat(stimulus, finer)[:, None]
    run = bs.simulate(bs.Population(1, neuron), n * dt, dt / finer, drive, dict(v="v", spikes=True))
    v = np.append(neuron.init(1)[0], run["v"][:-1, 0])[::finer] + noise * np.random.default_rng(1).normal(size=n)
    times = bs.spike_times(run.spikes, dt / finer)[0]
    return bs.io.Recording(dt=dt, stimulus=stimulus, voltage=v, spike_times=times, stimulus_unit=unit)


def current(mean, sd, n, seed=0):
    """A current that changes every 2 ms."""
    return np.repeat(mean + sd * np.random.default_rng(seed).normal(size=-(-n // 20)), 20)[:n]


def run_fit(model, recording, *, progress: Any = False, **options: Any) -> Any:
    return bs.fit(model, recording, progress=progress, **options)


def error(fit, true):
    """Relative error of each fitted parameter."""
    return {name: abs(float(p.value) / float(getattr(true, name)) - 1) for name, p in fit.params.items()}


# --- what made the data -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hodgkin_huxley_conductances():
    true = bs.HH(g_na=100.0, g_k=30.0)
    recording = recorded(true, current(8, 6, 1200), unit="uA/cm2", dt=0.05)
    assert len(recording.spike_times) >= 3
    fit = run_fit(bs.HH(), recording, free=dict(g_na=(20.0, 400.0), g_k=(5.0, 150.0)), starts=8)
    assert max(error(fit, true).values()) < 1e-3
    assert fit.params["g_na"].scale == "log" and fit.params["g_na"].unit == "mS/cm2"
    assert fit.loss < 1e-4 and fit.held_out < 1e-4


def test_leaky_integrate_and_fire():
    true = bs.LIF(c=200.0, tau=15.0, v_rest=-68.0, v_th=-50.0, v_reset=-60.0)
    recording = recorded(true, current(300, 250, 3000))
    free = dict(c=(50, 500), tau=(2, 60), v_rest=(-80, -55), v_th=(-58, -40), v_reset=(-75, -52))
    fit = run_fit(bs.LIF(), recording, free=free, starts=8)
    wrong = error(fit, true)
    assert wrong.pop("v_th") < 2e-3  # known to a fraction of a step's rise
    assert max(wrong.values()) < 1e-3
    assert fit.model.tau.dtype == jnp.float32


@pytest.mark.slow
def test_adaptive_exponential_with_noise_and_a_finer_step():
    """Nine parameters of an AdEx from one second with spikes, 0.3 mV of noise, made with steps four times finer."""
    true = bs.AdEx(c=200.0, g_l=12.0, e_l=-65.0, v_t=-48.0, delta_t=1.5, a=2.0, b=40.0, tau_w=100.0, v_reset=-58.0,
                   t_ref=2.0)  # fmt: skip
    recording = recorded(true, current(250, 200, 10000), noise=0.3, finer=4)
    assert len(recording.spike_times) >= 10
    free = dict(c=(50, 500), g_l=(2, 80), e_l=(-85, -55), v_t=(-60, -40), delta_t=(0.5, 5), a=(-5, 20), b=(1, 300),
                tau_w=(20, 500), v_reset=(-80, -50))  # fmt: skip
    fit = run_fit(bs.AdEx(t_ref=2.0), recording, free=free, starts=32)
    wrong = error(fit, true)
    assert max(wrong[name] for name in ("c", "g_l", "e_l", "v_t", "b", "tau_w", "v_reset")) < 0.05
    assert wrong["delta_t"] < 0.15 and wrong["a"] < 0.2
    assert fit.loss == pytest.approx(0.09, rel=0.1) and fit.held_out == pytest.approx(0.09, rel=0.1)  # the noise
    a = fit.params["a"]
    assert a.low < a.value < a.high and a.high - a.low < 2.0


def test_a_loss_of_ones_own_with_optax():
    """The steady potential of a LIF, by the gradient of `simulate`."""

    def loss(model, target):
        run = bs.simulate(bs.Population(1, model), 30.0, 0.5, 100.0, dict(v="v"))
        return jnp.mean((run["v"][-1] - target) ** 2)

    fit = run_fit(bs.LIF(), -65.0, free=dict(c=(50.0, 500.0)), loss=loss, optimizer=optax.adam(0.2), starts=4,
                 steps=60)  # fmt: skip
    tau = float(bs.LIF().tau)
    assert float(fit.params["c"].value) == pytest.approx(100 * tau * (1 - np.exp(-30 / tau)) / 5, rel=1e-2)
    assert fit.held_out is None and fit.output is None and np.isnan(fit.params["c"].low)


# --- a model that costs nothing, for everything else ------------------------------------------------------------------


class Line(eqx.Module):
    slope: bs.Param = bs.param(1.0, unit="mV/ms", doc="how steep")
    offset: bs.Param = bs.param(0.5, unit="mV", doc="where at 0")
    count: int = 3


def squares(model, recording):
    t = jnp.asarray(recording.times - recording.t0, float)
    data = jnp.asarray(recording.voltage, float)
    line = model.slope * t + model.offset
    return bs.losses.Terms(line, lambda x: (x - data) ** 2, jnp.ones_like(data))


def line(slope=2.0, offset=-1.0, n=100, noise=0.3, seed=0) -> Any:
    t = DT * np.arange(n)
    return bs.io.Recording(dt=DT, voltage=slope * t + offset + noise * np.random.default_rng(seed).normal(size=n))


BOUNDS = dict(slope=(0.1, 10.0), offset=(-5.0, 5.0))


def fit_line(data, **options):
    return run_fit(Line(), data, **(dict(free=BOUNDS, loss=squares, starts=4) | options))


def test_intervals_of_a_regression(x64):
    """Gauss-Newton with squares is ordinary least squares, and the interval is its standard error."""
    data = line(n=2000)
    fit = fit_line(data, holdout=0.0)
    x = np.stack([data.times, np.ones(2000)], 1)
    best, rest, *_ = np.linalg.lstsq(x, data.voltage, rcond=None)
    sd = np.sqrt(rest[0] / 1998 * np.diag(np.linalg.inv(x.T @ x)))
    for i, name in enumerate(BOUNDS):
        p = fit.params[name]
        assert float(p.value) == pytest.approx(best[i], abs=0.01 * sd[i])
        assert 0.99 < (p.high - p.low) / (2 * 1.96 * sd[i]) < 1.5  # the wider of two estimates of the same
    assert fit.loss == pytest.approx(rest[0] / 2000, rel=1e-6)


def test_intervals_are_wider_where_noise_is_correlated(x64):
    """Noise that keeps 0.9 of itself from bin to bin makes a mean sqrt(1.9 / 0.1) times as uncertain as white noise."""
    white = np.random.default_rng(5).normal(size=20000)
    noise = np.zeros(20000)
    for k in range(1, 20000):
        noise[k] = 0.9 * noise[k - 1] + white[k]
    p = fit_line(bs.io.Recording(dt=DT, voltage=noise), free=dict(offset=(-5.0, 5.0)), holdout=0.0,
                 loss=lambda m, r: squares(Line(jnp.zeros(()), m.offset), r)).params["offset"]  # fmt: skip
    naive = noise.std() / np.sqrt(20000)
    assert 3.0 < (p.high - p.low) / (2 * 1.96 * naive) < 6.0


def test_intervals_of_a_likelihood(x64):
    """A Poisson rate from its counts: the Fisher information of its logarithm is the number of counts."""
    counts = np.random.default_rng(3).poisson(0.7, 4000).astype(float)

    def likelihood(model, recording):
        rate = jnp.full(4000, 1.0) * jnp.log(model.slope)
        return bs.losses.Terms(rate, lambda r: jnp.exp(r) - counts * r, jnp.ones(4000), likelihood=True)

    fit = run_fit(Line(), None, free=dict(slope=(0.01, 10.0)), loss=likelihood, starts=3)
    p = fit.params["slope"]
    assert float(p.value) == pytest.approx(counts.mean(), rel=1e-4)
    assert 0.99 < np.log(p.high / p.low) / (2 * 1.96 / np.sqrt(counts.sum())) < 1.3


def test_what_cannot_be_known_is_said(x64):
    """Two parameters that act only through their product, and one that does nothing."""

    class Product(Line):
        idle: bs.Param = bs.param(1.0)

    def loss(model, recording):
        return squares(Line(slope=model.slope * model.offset, offset=jnp.asarray(-1.0)), recording)

    free = dict(slope=(0.1, 10.0), offset=(0.1, 10.0), idle=(0.0, 1.0))
    fit = run_fit(Product(), line(), free=free, loss=loss, starts=4)
    assert fit.params["slope"].note == "not determined within its bounds: trades off against offset"
    assert fit.params["offset"].note == "not determined within its bounds: trades off against slope"
    assert fit.params["idle"].note == "the loss does not depend on it"
    assert all(np.isnan(p.low) and np.isnan(p.high) for p in fit.params.values())
    assert float(fit.params["slope"].value * fit.params["offset"].value) == pytest.approx(2.0, rel=0.02)


def test_bounds_are_kept(x64):
    fit = fit_line(line(slope=20.0), starts=8)
    for name, (lower, upper) in BOUNDS.items():
        assert fit.finals[name].shape == (8,)
        assert ((lower < fit.finals[name]) & (fit.finals[name] < upper)).all()
    assert fit.params["slope"].note == "at its upper bound" and np.isnan(fit.params["slope"].high)


def test_the_held_out_part_is_never_seen():
    data = line()
    voltage = data.voltage.copy()
    voltage[80:] += 100.0
    one, other = (fit_line(r) for r in (data, dataclasses.replace(data, voltage=voltage)))
    assert one.split == other.split == 8.0
    for name in BOUNDS:
        assert one.params[name].value == other.params[name].value and one.params[name].low == other.params[name].low
    np.testing.assert_array_equal(one.history, other.history)
    assert one.loss == other.loss and other.held_out > 1000 * one.held_out
    halves = fit_line(data, split=5.0)
    assert halves.split == 5.0 and halves.loss != one.loss
    assert fit_line(data, holdout=0.0).held_out is None


def test_the_held_out_part_of_a_neuron_is_scored_with_its_past():
    recording = recorded(bs.LIF(tau=15.0), current(200, 100, 1000))
    voltage = recording.voltage.copy()
    voltage[850:] += 3.0
    recording = dataclasses.replace(recording, voltage=voltage)
    fit = run_fit(bs.LIF(), recording, free=dict(tau=(5.0, 50.0)), starts=2, steps=8)
    assert fit.loss < 1e-6 < 0.1 < fit.held_out  # nothing of the change is seen in training
    assert float(fit.params["tau"].value) == pytest.approx(15.0, rel=1e-4)
    assert fit.output.shape == (1000, 2)
    whole = fit.loss_fn(fit.model, recording)
    assert fit.held_out == pytest.approx(float(whole.mean(800)), rel=1e-4)


def test_the_same_key_the_same_fit():
    data = line()
    a, b, c = (fit_line(data, key=jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.history, b.history)
    assert a.history[0, 0] == c.history[0, 0]  # the model as it was given
    assert (a.history[1:, 0] != c.history[1:, 0]).all()


def test_starts_fill_the_bounds():
    fit = fit_line(line(), starts=50, steps=1, optimizer=optax.sgd(0.0))
    for name, (lower, upper) in BOUNDS.items():
        x = fit.finals[name][1:]
        s = np.log(x / lower) / np.log(upper / lower) if name == "slope" else (x - lower) / (upper - lower)
        assert np.abs(np.sort(s) - np.arange(1, 50) / 50).max() < 0.05
    assert fit.finals["slope"][0] == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("optimizer", [optax.adam(0.1), pytest.param(optax.lbfgs(), marks=pytest.mark.slow)])
def test_optimisers_agree(optimizer, x64):
    fit = fit_line(line(), optimizer=optimizer, steps=150, starts=2)
    best = fit_line(line())
    assert fit.loss == pytest.approx(best.loss, rel=1e-5)
    assert fit.params["slope"].low == pytest.approx(best.params["slope"].low, rel=1e-3)


def test_starts_in_groups_that_fit_the_memory(monkeypatch):
    whole = fit_line(line(), starts=7)
    monkeypatch.setattr(_objective, "_BYTES", 4 * 2 * 4 * 80 * 3)
    parts = fit_line(line(), starts=7)
    np.testing.assert_allclose(parts.history, whole.history, rtol=1e-5)


def test_an_array_of_parameters():
    class Steps(eqx.Module):
        level: bs.Param = bs.param(unit="mV")

    data = jnp.array([1.0, -2.0, 3.0])

    def loss(model, _):
        return bs.losses.Terms(model.level, lambda x: (x - data) ** 2, jnp.ones(3))

    fit = run_fit(Steps(jnp.zeros(3)), None, free=dict(level=(-5.0, 5.0)), loss=loss, starts=4)
    np.testing.assert_allclose(fit.params["level"].value, data, atol=1e-3)
    assert fit.finals["level"].shape == (4, 3) and fit.model.level.shape == (3,)


# --- NaN --------------------------------------------------------------------------------------------------------------


def nan_above(edge):
    return lambda model, _: jnp.where(model.slope > edge, jnp.nan, (model.slope - 3.0) ** 2)


def test_a_start_that_turns_nan_is_frozen_and_named(x64):
    fit = run_fit(Line(), None, free=dict(slope=(0.1, 10.0, "linear")), loss=nan_above(2.5), optimizer=optax.sgd(0.05),
                 starts=4, steps=100)  # fmt: skip
    assert len(fit.failures) == 4  # some at their first step, some on their way up
    found = [re.fullmatch(r"start (\d) died at step (\d+): no finite loss or gradient at slope = ([\d.]+) mV/ms", f)
             for f in fit.failures]  # fmt: skip
    assert all(float(f[3]) > 2.5 for f in found if f)
    assert sorted(int(f[1]) for f in found if f) == [0, 1, 2, 3]
    assert 2.0 < float(fit.params["slope"].value) <= 2.5  # the best before it
    assert np.isfinite(fit.loss) and np.isnan(fit.history[:, -1]).all()
    assert "start" in str(fit) and "and 3 more" in str(fit)


def test_gauss_newton_steps_around_nan(x64):
    def loss(model, recording):
        terms = squares(model, recording)
        return terms._replace(output=jnp.where(model.slope > 3.0, jnp.nan, terms.output))

    fit = fit_line(line(), loss=loss, starts=6)
    assert 0 < len(fit.failures) < 6 and all("died at step 1" in f for f in fit.failures)
    assert float(fit.params["slope"].value) == pytest.approx(2.0, rel=0.05)


def test_nothing_but_nan_is_an_error():
    with pytest.raises(ValueError, match=r"no start has a finite loss; the first was slope = 1 mV/ms: narrow") as e:
        bs.fit(Line(), None, free=dict(slope=(0.5, 5.0)), loss=nan_above(0.0), starts=3, steps=2)
    assert "\n" not in str(e.value)


def test_a_stage_that_fails_keeps_the_one_before():
    stages = [nan_above(9.0), nan_above(0.0)]
    fit = run_fit(Line(), None, free=dict(slope=(0.1, 4.0)), loss=stages, starts=3, steps=60)
    assert fit.notes == ("stage 2 of 2 found no finite loss; these are the parameters before it",)
    assert float(fit.params["slope"].value) == pytest.approx(3.0, rel=0.05)
    assert fit.stages == (0, 60) and fit.history.shape == (3, 61)


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_time_steps_other_than_the_recording_s():
    recording = recorded(bs.LIF(tau=15.0), current(200, 100, 1000))
    fit = run_fit(bs.LIF(), recording, free=dict(tau=(5.0, 50.0)), dt=0.2, starts=2, steps=8)
    assert fit.dt == 0.2 and fit.output.shape[0] == 500 and fit.split == pytest.approx(80.0)
    assert float(fit.params["tau"].value) == pytest.approx(15.0, rel=1e-3)


def test_progress_and_printing(capfd):
    calls = []
    fit = fit_line(line(), progress=lambda done, total: calls.append((done, total)))
    assert calls and all(0 < done <= total == 40 for done, total in calls)
    assert capfd.readouterr() == ("", "")
    text = str(fit)
    assert "slope (mV/ms)" in text and "95 %:" in text and "held out" in text
    plain = json.loads(json.dumps(fit.to_dict()))
    assert plain["params"]["slope"]["unit"] == "mV/ms" and plain["params"]["slope"]["doc"] == "how steep"
    assert plain["loss"] == fit.loss and len(plain["history"]) == 4


@pytest.mark.slow
def test_figures():
    recording = recorded(bs.LIF(tau=15.0), current(450, 100, 500))
    fits = [
        run_fit(bs.LIF(), recording, free=dict(tau=(5.0, 50.0)), starts=2, steps=3),
        run_fit(Line(), None, free=dict(slope=(0.1, 4.0)), loss=nan_above(9.0), starts=2, steps=3),
    ]
    for fit, panels in zip(fits, (5, 2), strict=True):
        figure = fit.plot()
        assert len(figure.axes) == panels
        file = io.BytesIO()
        figure.savefig(file)
        assert file.getvalue().startswith(b"\x89PNG")


def test_bounds_are_values_that_the_parameter_may_have():
    data = bs.io.Recording(dt=0.1, stimulus=np.zeros(20), voltage=np.zeros(20))
    for bounds in ((-50.0, -5.0), (-5.0, 5.0)):
        with pytest.raises(ValueError, match=r"the bounds of tau \(ms\) are -50? and -?5, but it must be positive"):
            bs.fit(bs.LIF(), data, free=dict(tau=bounds), progress=False)
    bs.fit(bs.LIF(), data, free=dict(tau=(0.0, 5.0)), starts=1, steps=1, progress=False)  # 0 is never reached


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(free={}), "free must name the parameters to fit, with bounds; available: slope (mV/ms), offset (mV)"),
        (dict(free=dict(tilt=(0, 1))), "no parameter 'tilt'; available: slope (mV/ms), offset (mV)"),
        (dict(free=dict(count=(0, 1))), "no parameter 'count'; available: slope (mV/ms), offset (mV)"),
        (
            dict(free=dict(slope=(2, 2))),
            "the bounds of slope (mV/ms) are empty: the lower, 2, is not below the upper, 2",
        ),
        (dict(free=dict(slope=(0, np.inf))), "the bounds of slope (mV/ms) must be finite, got 0 and inf"),
        (
            dict(free=dict(slope=3.0)),
            "free['slope'] must be (lower, upper) or (lower, upper, 'log' or 'linear'), got 3.0",
        ),
        (dict(free=dict(slope=(1, 2, "cubic"))), "free['slope'] must be (lower, upper) or"),
        (
            dict(free=dict(slope=(-1, 2, "log"))),
            "a logarithmic scale for slope (mV/ms) needs positive bounds, got -1 and 2",
        ),
        (dict(starts=0), "starts must be a whole number, at least 1, got 0"),
        (dict(steps=2.5), "steps must be a whole number, at least 1, got 2.5"),
        (dict(holdout=1.0), "holdout must be at least 0 and below 1, got 1"),
        (dict(split=50.0), "split at 50 ms is outside the recording, 0 to 10 ms"),
        (dict(dt=-1.0), "dt must be positive and finite, got -1 ms"),
        (dict(loss=3), "a loss must be a function, got 3"),
        (dict(loss=lambda m, r: m.slope * jnp.ones(2)), "a loss must return a number or brainsim.losses.Terms, got"),
        (dict(loss=lambda m, r: m.slope, optimizer=bs.fitting.GaussNewton()), "GaussNewton needs a loss that returns"),
    ],
)
def test_errors_say_what_was_given(options, message):
    given = dict(free=BOUNDS, loss=squares, starts=2) | options
    with pytest.raises(ValueError, match=re.escape(message)) as e:
        bs.fit(Line(), line(), **given)
    assert "\n" not in str(e.value)


def test_errors_of_recordings():
    with pytest.raises(ValueError, match=re.escape("not a file: bs.io.read_recording('cell.nwb') reads one")):
        bs.fit(Line(), "cell.nwb", free=BOUNDS)
    with pytest.raises(ValueError, match="split and dt need a recording, got NoneType"):
        bs.fit(Line(), None, free=BOUNDS, loss=squares, split=3.0)
    stimulus_only = bs.io.Recording(dt=DT, stimulus=np.ones(10))
    with pytest.raises(ValueError, match="loss must be a function of model and recording, or a list of them, got None"):
        bs.fit(Line(), stimulus_only, free=BOUNDS)
