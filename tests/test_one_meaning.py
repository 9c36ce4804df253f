"""What a number means does not depend on what is recorded, on the size of a step or on another input."""

import operator
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs


@pytest.mark.parametrize("n", [3, 600])
def test_what_is_recorded_changes_no_spike(n, x32):
    """A spike is a value of the surrogate that is not zero, a negative one too, however few neurons there are."""
    neuron = bs.LIF(surrogate=lambda x: jnp.where(jnp.abs(x) < 1, x, 0), t_ref=0.5)
    receptors = dict(exc=bs.ExpCurrent(tau=5.0))
    cells = bs.Population(n, neuron, receptors, initial=dict(v=np.linspace(-70, -55, n)))
    back = bs.Projection("A", "B.exc", bs.OneToOne(weight=50.0), delay=0.1)
    net = bs.Network(dict(A=cells, B=cells), [back], key=jax.random.key(0))
    inputs, last = dict(A=1500.0, B=1400.0), lambda run: (run["A"][-1], run["B"][-1])
    v = dict(A="A.v", B="B.v")
    alone = last(bs.simulate(net, 5.0, 0.1, inputs, v))
    for spikes in (bs.Record(["A"]), bs.Record(["A"], events=100 * n)):
        recorded = bs.simulate(net, 5.0, 0.1, inputs, {**v, "spikes": spikes})
        np.testing.assert_array_equal(last(recorded), alone)


def test_refractoriness_is_rounded_up_as_in_nest(x32):
    """The steps that NEST 3.10 counts at a resolution of 0.1 ms."""
    t_ref = [0.0, 0.05, 0.2, 0.21, 0.25, 0.26, 0.3, 0.35, 2.0, 1.9]
    cells = bs.Population(10, bs.LIF(t_ref=t_ref))
    assert cells.pause(0.1).tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 20, 19]


def delayed(delay, **options):
    cells = bs.Population(2, bs.LIF(v_reset=-80.0), dict(exc=bs.ExpCurrent(tau=1.0)))
    connect = bs.FromArrays([0, 1], [1, 0], weight=1000.0)
    return bs.Network(dict(A=cells), [bs.Projection("A", "A.exc", connect, delay, **options)], key=jax.random.key(0))


def test_given_delays_are_exact_or_refused(x32):
    exact = delayed(np.array([0.14, 0.3]), resolution=0.02).synapses("A->A.exc").delay
    np.testing.assert_allclose(exact, [0.14, 0.3], rtol=1e-12)
    float32 = delayed(np.array([0.7, 0.3], np.float32)).synapses("A->A.exc").delay
    np.testing.assert_allclose(float32, [0.7, 0.3], rtol=1e-12)
    with pytest.raises(ValueError, match=r"delay number 1, 0\.14 ms, is no multiple of the resolution, 0\.1 ms"):
        delayed([0.3, 0.14])


def test_any_name_of_a_variable(x32):
    """Keywords of functions inside, too: y, t, self, and the names of what is recorded."""
    names = ["y", "t", "self", "values", "name", "spikes", "current", "v"]
    neuron = bs.neuron(
        lambda t, y, p, i: {x: (i - y[x]) / p["self"] for x in names},
        guard=lambda y, p: y["y"] - 0.9,
        reset=lambda y, p: dict(y=0.0, self=1.0),
        init=dict.fromkeys(names, 0.0),
        params=dict(self=1.0, y=2.0),
        held=tuple(names),
        t_ref=1.0,
    )
    cells = bs.Population(2, neuron, dict(exc=bs.DeltaCurrent()), initial=dict(y=0.5), noise=dict(t=1e-3))
    run = bs.simulate(cells, 5.0, 0.1, 1.0, {x: x for x in names}, key=jax.random.key(0))
    assert float(run["y"].max()) < 0.9 < float(run["t"].max())
    with pytest.raises(ValueError, match=r"'a\.b' cannot name a variable"):
        bs.Population(1, bs.neuron(lambda t, y, p, i: y, guard=lambda y, p: y["a.b"], init={"a.b": 0.0}, params={}))


def test_variation_of_intervals_of_what_holds_spikes(x32):
    raster = np.random.default_rng(0).random((4000, 3)) < 0.02
    times = bs.spike_times(raster, 0.5)
    steps, neurons = np.nonzero(raster)
    listed = bs.Spikes(steps + 1, neurons, len(steps), 0, n=3, length=4000, dt=0.5)
    expected = np.mean([np.diff(t[t >= 100]).std() / np.diff(t[t >= 100]).mean() for t in times])
    for spikes in (raster, jnp.asarray(raster), raster * 2.5):
        assert bs.cv_isi(spikes, 0.5, 100.0) == pytest.approx(expected, rel=1e-12)
    assert bs.cv_isi(listed, start=100.0) == bs.cv_isi(times, start=100.0) == bs.cv_isi(times, 100.0)
    assert bs.cv_isi(times, 100.0) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="a raster does not know its time step"):
        bs.cv_isi(raster)
    with pytest.raises(ValueError, match="spike times needs no dt"):
        bs.cv_isi(times, 0.5, 100.0)
    with pytest.raises(ValueError, match=r"need a raster, of shape \(steps, n\)"):
        bs.cv_isi(times[0], 0.5)


def test_every_name_of_the_page_of_names_is_there():
    page = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
    names = re.findall(r"^\| `bs\.([\w.]+)`", page, re.MULTILINE)
    assert "plotting.raster" in names
    assert not [name for name in names if operator.attrgetter(name)(bs) is None]
    with pytest.raises(AttributeError, match="module 'brainsim' has no attribute 'plot'"):
        bs.plot  # noqa: B018


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1, 2**31], [1, 2**31]),
        ([2**32 - 1, 0], [2**32 - 1, 0]),
        ([0, 2**32], "axis 'x': 4294967296 is no number of 32 bits"),
        ([-1, 2**31], "-1 is below zero, and 2147483648 no int32"),
        (np.array([2**40], np.uint64), "1099511627776 is no number of 32 bits"),
        ([0.5, 2**24 + 1], "16777217 is a whole number that float32, the type of all, does not hold"),
        ([2.0**24, 2.0**24 + 1], "16777216.0 is in float32 the same as another one"),
        ([1e39], r"1e\+39 is too large for float32"),
        ([1e-50, 1.0], "1e-50 is too small for float32"),
        ([0.1, np.inf, 0.1], [np.float32(0.1), np.inf, np.float32(0.1)]),
    ],
)
def test_axes_of_sweeps_have_the_numbers_given(values, expected, x32):
    """Whole numbers to the last digit; of fractions, what is told apart."""
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            bs.sweep(lambda x: x, x=values, progress=False)
    else:
        found = bs.sweep(lambda x: x, x=values, progress=False).result.values
        assert found.tolist() == expected


def test_inputs_with_one_key_are_independent(x32):
    """In any program: keys in it or traced. The first of them draws what it draws alone."""
    receptors = {name: bs.ExpCurrent(tau=0.01) for name in "abc"}
    cells = bs.Population(50, bs.LIF(), receptors)
    record = {name: f"{name}.i" for name in "abc"}

    def run(key, other, names="abc"):
        keys = dict(a=key, b=key, c=other)
        inputs = {name: bs.Poisson(2000.0, key=keys[name]) for name in reversed(names)}
        return jax.tree.map(jnp.round, bs.simulate(cells, 10.0, 0.1, inputs, record).records)

    key = jax.random.key(3)
    found = run(key, jax.random.key(3))
    counts = np.stack([np.asarray(found[name]).ravel() for name in "abc"])
    assert np.all(counts.mean(1) > 0.1) and np.all(np.abs(np.corrcoef(counts) - np.eye(3)) < 0.05)
    for name, x in jax.jit(run)(key, jax.random.key(3)).items():
        np.testing.assert_array_equal(x, found[name])
    np.testing.assert_array_equal(run(key, key, "a")["a"], found["a"])
    for i in range(3):  # nor is any that draws with a key that users make
        other = run(key, jax.random.fold_in(key, i))
        assert abs(np.corrcoef(*(np.asarray(other[name]).ravel() for name in "bc"))[0, 1]) < 0.05
