"""Networks: wiring by name, statistics of COBA, gradients; and what is said of wrong wiring."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import load

import brainsim as bs


def coba(scale=1.0, key=0, surrogate=None, p=0.02):
    n_e, n_i = round(3200 * scale), round(800 * scale)
    return bs.networks.coba(n_e, n_i, p=p, surrogate=surrogate, key=jax.random.key(key)).network


DRIVE = dict(E=200.0, I=200.0)


@pytest.mark.slow
def test_coba_statistics(x32):
    """Mean over two seeds within three standard errors of NEST and Brian2."""
    expected = load("nest_coba_summary")
    record = dict(spikes=bs.Record(["E", "I"], dtype=bool))
    runs = [bs.simulate(coba(key=s), 1000.0, 0.1, DRIVE, record, key=jax.random.key(s)).spikes for s in (1, 2)]
    rate = lambda p: np.mean([bs.rate(r[p], 0.1).mean() for r in runs])
    cv = lambda p: np.mean([bs.cv_isi(bs.spike_times(r[p], 0.1), 200.0) for r in runs])
    for got, name in ((rate("E"), "exc_rate_hz"), (rate("I"), "inh_rate_hz"), (cv("E"), "exc_cv"), (cv("I"), "inh_cv")):
        mean, sd = expected[name]
        assert abs(got - mean) < 3 * sd / np.sqrt(2), (name, got)


# What the mean rate of 100 ms does when a weight is changed by 10 % up and down, in Hz/nS: mean over 6 networks and 8
# initial states each, standard errors 2 to 4 % (brainsim 0.1.0, float32, November 2026).
SLOPES = dict(EE=10.66, EI=-7.23, IE=-0.851, II=0.549)


@pytest.mark.slow
def test_gradient_of_the_rate_reaches_every_float_leaf(x32):
    """Of the whole network, by default: finite, of the right sign and within a factor of five of the true size."""
    net = coba(key=1)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def mean_rate(net, key):
        spikes = bs.simulate(net, 100.0, 0.1, DRIVE, dict(spikes=["E", "I"]), key=key).spikes
        return (spikes["E"].sum() + spikes["I"].sum()) / 4000 / 0.1

    found = [mean_rate(net, jax.random.key(k)) for k in range(4)]
    grads = [g for _, g in found]
    assert all(10 < float(value) < 40 for value, _ in found)
    leaves = jax.tree.leaves(eqx.filter(grads[0], eqx.is_inexact_array))
    assert len(leaves) == len(jax.tree.leaves(eqx.filter(net, eqx.is_inexact_array)))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(grads))
    for name, true in SLOPES.items():
        mean = np.mean([float(g.projections[name].connect.weight) for g in grads])
        assert 0.2 < mean / true < 5, (name, mean, true)


@pytest.mark.slow
def test_gradient_agrees_with_finite_differences_where_nothing_spikes(x64):
    """The smooth sub-model: graded events in, membrane potentials out, through weights, receptors and delays."""
    net = coba(scale=0.01, p=0.5, surrogate=bs.Triangle())  # of compact support: 0 so far from threshold
    net = eqx.tree_at(lambda n: [p.neuron.v_th for p in n.populations.values()], net, replace_fn=lambda x: x + 1e3)
    params, static = eqx.partition(net, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    events = np.random.default_rng(0).uniform(size=(100, 32))

    def loss(flat):
        net = eqx.combine(unravel(flat), static)
        inputs = {**DRIVE, "E.exc": events, "E.inh": 2 * events}
        return jnp.mean(bs.simulate(net, 10.0, 0.1, inputs, dict(v="E.v"), key=jax.random.key(1))["v"])

    direction = jnp.asarray(np.random.default_rng(1).normal(size=flat.shape)) * jnp.maximum(jnp.abs(flat), 0.1)
    h = 1e-6
    finite = (loss(flat + h * direction) - loss(flat - h * direction)) / (2 * h)
    np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(flat), direction), finite, rtol=1e-6)


def test_graded_spikes_through_a_network_match_a_dense_twin(x64):
    """Sparse and dense connectivity give the same network, in value and gradient."""
    weight = np.where(np.random.default_rng(0).uniform(size=(20, 20)) < 0.3, 80.0, 0.0)

    def run(connect):
        cells = bs.Population(20, bs.LIF(), dict(exc=bs.ExpCurrent(tau=3.0)))
        net = bs.Network(dict(P=cells), [bs.Projection("P", "P.exc", connect, delay=0.5)])
        result = bs.simulate(net, 40.0, 0.1, dict(P=np.linspace(300, 800, 20)), dict(v="P.v", spikes=True))
        return result["v"].mean(), result.spikes["P"].sum()

    sparse, dense = bs.CSR.from_dense(weight), bs.Dense(weight)
    np.testing.assert_allclose(run(sparse), run(dense), rtol=1e-12)
    g_sparse = eqx.filter_grad(lambda c: run(c)[0])(sparse)
    g_dense = eqx.filter_grad(lambda c: run(c)[0])(dense)
    np.testing.assert_allclose(g_sparse.weight, np.asarray(g_dense.weight)[weight != 0], rtol=1e-8)


def pair(**projection):
    cells = bs.Population(3, bs.LIF(), dict(exc=bs.ExpCurrent()))
    p = {**dict(pre="A", post="B.exc", connect=bs.Full(1.0, 3, 3), delay=1.0), **projection}
    return bs.Network(dict(A=cells, B=cells), [bs.Projection(**p)])


ERRORS = {
    "population": (dict(pre="C"), r"goes from 'C' to 'B.exc', but the network has \{'A': \['exc'\], 'B': \['exc'\]\}"),
    "receptor": (dict(post="B.inh"), "goes from 'A' to 'B.inh', but the network has"),
    "no receptor": (dict(post="B"), "a projection ends at a receptor, 'population.receptor'; got 'B'"),
    "delay": (dict(delay=0.0), "the delay must be positive, got 0.0 ms"),
    "nan delay": (dict(delay=float("nan")), "the delay must be positive"),
    "size": (dict(connect=bs.Full(1.0, 3, 4)), "connects 3 to 4 neurons, but its populations have 3 and 3"),
    "rule": (dict(connect=bs.FixedProbability(0.5, weight=1.0)), "has a wiring rule; Network"),
    "connect": (dict(connect="all"), "`connect` must be a wiring rule or a connectivity, got 'all'"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_wiring(case):
    kwargs, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as e:
        pair(**kwargs)
    assert "\n" not in str(e.value)


def test_delay_must_fit_the_step():
    with pytest.raises(ValueError, match=r"1\.05 ms, is not a positive whole number of steps of dt = 0\.1 ms"):
        bs.simulate(pair(delay=1.05), 1.0, 0.1)
    with pytest.raises(ValueError, match="is not a positive whole number of steps of dt = 2 ms"):
        bs.simulate(pair(delay=1.0), 2.0, 2.0)


def test_unknown_population_of_a_solver():
    with pytest.raises(ValueError, match="solver for unknown population 'C'; available: A, B"):
        bs.simulate(pair(), 1.0, 0.1, solver=dict(C=bs.Exact()))


def test_names_of_projections():
    cells = bs.Population(3, bs.LIF(), dict(exc=bs.ExpCurrent()))
    twice = [bs.Projection("A", "A.exc", bs.Full(1.0, 3, 3), delay=1.0)] * 2
    assert list(bs.Network(dict(A=cells), twice).projections) == ["A->A.exc", "A->A.exc#2"]


def test_synapses_of_what_has_no_list(x32):
    cells = bs.Population(9, bs.LIF(), dict(exc=bs.ExpCurrent()))
    rule = bs.Procedural(bs.FixedProbability(0.5, weight=1.0))
    net = bs.Network(dict(E=cells), [bs.Projection("E", "E.exc", rule, delay=0.1)], key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"'E->E.exc' has no list of its synapses, being a Regenerated; .*as_dense"):
        net.synapses("E->E.exc")
