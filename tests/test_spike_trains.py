"""Events at given times arrive at the step that they are given for, and what never arrives is never lost silently."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs

SILENT = bs.LIF(v_th=1e9, v_rest=0.0, v_reset=0.0, tau=1e9)


def counted(cell, n=1):
    """Cells whose potential is the number of events so far."""
    return bs.Population(n, cell, dict(exc=bs.DeltaCurrent()))


def arrivals(times, n, steps, dt, first=0, weight=1.0):
    """What arrives in each step."""
    train = bs.SpikeTrain(times, weight).prepare(dt=dt)
    return np.asarray(jax.jit(jax.vmap(lambda k: train.at(k, dt, n)))(first + jnp.arange(steps, dtype=jnp.uint32)))


@pytest.mark.parametrize("dt, most", [(0.005, 60_000), (0.01, 300_000), (0.02, 200_000), (0.03, 90_000), (0.1, 10**6)])
def test_an_event_at_a_multiple_of_dt_arrives_there(dt, most, x32):
    """Every one of 1,000 over minutes, and a year later: in float32 none of the later ones is a multiple of dt."""
    for first in (0, 3_000_000_000):
        steps = first + np.sort(np.random.default_rng(0).choice(np.arange(1, most), 1000, replace=False))
        decimals = [float(f"{k * round(dt * 1000) / 1000:.3f}") for k in steps.tolist()]
        found = np.asarray(bs.SpikeTrain(decimals).prepare(dt=dt).steps).ravel()[:1000]
        np.testing.assert_array_equal(found, steps)


def test_an_event_of_a_run_that_starts_late(x32):
    run = bs.simulate(counted(SILENT), 0.05, 0.01, dict(exc=bs.SpikeTrain([2048.37])), dict(v="v"), start=2048.34)
    late = run.times("v")[np.flatnonzero(run["v"][:, 0])[0]]
    assert late == 2048.37
    # A time that was rounded to float32 is that multiple of dt, too.
    for times in (jnp.array([2048.37]), np.array([2048.37], np.float32)):
        assert bs.SpikeTrain(times).prepare(dt=0.01).steps.tolist() == [[204837]]
    assert jax.jit(lambda t: bs.SpikeTrain(t).prepare(dt=0.01).steps)(jnp.array([2048.37, 0.121])).tolist() == [
        [13, 204837]
    ]


@pytest.mark.parametrize("many", [False, True])
def test_each_neuron_has_its_own_events(many, x32):
    """Few are looked at, many are searched for: against a sum over all."""
    rng = np.random.default_rng(1)
    lists = [rng.integers(1, 60, size).astype(float) for size in ((300, 0, 137) if many else (3, 0, 2))]
    expected = np.stack([np.bincount(x.astype(int), minlength=61)[1:] for x in lists], 1)
    weight = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(arrivals([list(x) for x in lists], 3, 60, 1.0, weight=weight), expected * weight)
    padded = np.full((3, 310), np.inf)
    for row, x in zip(padded, lists, strict=True):
        row[: len(x)] = x
    np.testing.assert_array_equal(arrivals(padded, 3, 60, 1.0), expected)
    # One list is for all neurons.
    np.testing.assert_array_equal(arrivals(list(lists[0]), 3, 60, 1.0), np.repeat(expected[:, :1], 3, 1))


def test_a_run_with_many_events_in_parts_batches_and_derivatives(x32):
    """The same as rows of an array."""
    rng = np.random.default_rng(2)
    times = [rng.integers(1, 60, 190) / 10 for _ in range(2)]
    rows = np.stack([np.bincount(np.rint(10 * x).astype(int), minlength=61)[1:] for x in times], 1)
    cell = counted(bs.LIF(v_th=1e9), 2)
    run = lambda events, t=6.0, **at: bs.simulate(cell, t, 0.1, dict(exc=events), dict(v="v"), **at)
    whole = run(jnp.asarray(rows, jnp.float32))["v"]
    train = bs.SpikeTrain(times)
    first = run(train, 2.0)
    parts = jnp.concatenate([first["v"], run(train, 4.0, state=first.state)["v"]])
    np.testing.assert_allclose(parts, whole, rtol=1e-5)

    loss = lambda w: run(bs.SpikeTrain(times, w))["v"].sum()
    values, slopes = jax.vmap(jax.value_and_grad(loss))(jnp.array([0.5, 1.0]))
    assert float(values[1]) == pytest.approx(float(whole.sum()), rel=1e-5)
    assert float(slopes[0]) == pytest.approx(float(values[1] - values[0]) / 0.5, rel=1e-3)  # it is linear


def test_exact_events_of_each_neuron(x64):
    """In `simulate_events`, too."""
    cell = bs.Population(2, bs.LIF(v_rest=0.0, v_reset=0.0, v_th=5.0), dict(d=bs.DeltaCurrent()))
    train = bs.SpikeTrain([[1.234, 4.0], [6.5]], 6.0)
    times = bs.simulate_events(cell, 9.0, dict(d=train), max_spikes=3).times
    np.testing.assert_allclose(times, [[1.234, 4.0, np.inf], [6.5, np.inf, np.inf]])


@pytest.mark.parametrize("times, message", [
    ([1.0, 0.0], "positive, got 0 ms at index 1"),
    ([-3.0], "positive, got -3 ms"),
    ([1.0, np.nan], "positive, got nan ms at index 1"),
    ([[1.0], [np.nan, 2.0]], r"positive, got nan ms at index \(1, 0\)"),
    ("early", "a number or an array in ms, got 'early'"),
    (np.ones((2, 2, 2)), "shape"),
])  # fmt: skip
def test_what_is_no_time_of_an_event_is_refused(times, message):
    with pytest.raises(ValueError, match=f"SpikeTrain: times must .*{message}"):
        bs.SpikeTrain(times)


def test_rows_for_other_neurons_are_refused():
    train = bs.SpikeTrain([[1.0], [2.0]])
    with pytest.raises(ValueError, match="input 'exc' has times for 2 neurons, but there are 3"):
        bs.simulate(counted(SILENT, 3), 1.0, 0.1, dict(exc=train))
    with pytest.raises(ValueError, match=r"input 'exc' has rates of shape \(2,\), but there are 3 neurons"):
        bs.simulate(counted(SILENT, 3), 1.0, 0.1, dict(exc=bs.Poisson(np.ones(2), key=jax.random.key(0))))


def test_windows_of_random_events_are_exact_after_any_time(x32):
    """From the step that begins at `start` to the last that begins before `stop`, after hours as at once."""
    for k in (0, 3_000_000_000):
        t = lambda steps: float(f"{(k + steps) / 100:.2f}")  # noqa: B023
        drive = bs.Bernoulli(1e9, key=jax.random.key(0), start=t(3), stop=t(6))  # in every step
        prepared = drive.prepare(dt=0.01)
        events = [float(prepared.at(jnp.uint32(k + i), 0.01, 1)[0]) for i in range(8)]
        assert events == [0, 0, 0, 1, 1, 1, 0, 0]
        assert float(drive.log_prob(8, 0.01, 1, first=k)[0]) == 0.0
