"""One table of neurons, receptors and surrogates; a new one is one row, and then faces every test."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import rows
from tolerances import assert_close

import brainsim as bs


def functional_izhikevich():
    return bs.neuron(
        lambda t, y, p, i: dict(
            v=0.04 * y["v"] ** 2 + 5 * y["v"] + 140 - y["u"] + i, u=p["a"] * (p["b"] * y["v"] - y["u"])
        ),
        guard=lambda y, p: y["v"] - 30.0,
        reset=lambda y, p: dict(v=p["c"], u=y["u"] + p["d"]),
        init=dict(v=-65.0, u=-13.0),
        params=dict(a=0.02, b=0.2, c=-65.0, d=8.0),
    )


def functional_lif():
    return bs.neuron(
        lambda t, y, p, i: dict(v=(p["v_rest"] - y["v"]) / p["tau"] + i / p["c"]),
        guard=lambda y, p: y["v"] - p["v_th"],
        reset=lambda y, p: dict(v=p["v_rest"]),
        init=dict(v=-70.0),
        params=dict(v_rest=-70.0, tau=10.0, c=250.0, v_th=-55.0),
        t_ref=2.0,
    )


# name: constructor, a current that makes it fire, whether its flow is affine
NEURONS = {
    "LIF": (bs.LIF, 600.0, True),
    "AdEx": (bs.AdEx, 900.0, False),
    "Izhikevich": (bs.Izhikevich, 10.0, False),
    "HH": (bs.HH, 10.0, False),
    "HHTraub": (bs.HHTraub, 500.0, False),
    "functional LIF": (functional_lif, 600.0, True),
    "functional Izhikevich": (functional_izhikevich, 10.0, False),
}
# name: constructor, the weight of an event that depolarises by some mV, whether LIF with it is affine
RECEPTORS = {
    "DeltaCurrent": (bs.DeltaCurrent, 1.0, True),
    "DeltaConductance": (lambda: bs.DeltaConductance(e_rev=0.0), 0.02, True),
    "ExpCurrent": (bs.ExpCurrent, 100.0, True),
    "AlphaCurrent": (bs.AlphaCurrent, 100.0, True),
    "ExpConductance": (bs.ExpConductance, 2.0, False),
    "AlphaConductance": (bs.AlphaConductance, 2.0, False),
}
SURROGATES = [bs.SuperSpike, bs.FastSigmoid, bs.ArcTan, bs.Triangle, bs.Gaussian]

neurons = pytest.mark.parametrize("name", NEURONS)
# What is written as functions takes the same path as what is a class.
few_neurons = pytest.mark.parametrize(
    "name", rows(NEURONS, long={"HHTraub", "functional LIF", "functional Izhikevich"})
)
receptors = pytest.mark.parametrize("name", RECEPTORS)
surrogates = pytest.mark.parametrize("surrogate", SURROGATES)


def floats(model):
    return jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))


def cell(name, n=1):
    return bs.Population(n, NEURONS[name][0]())


@neurons
def test_derivative_is_like_the_state(name, precision):
    neuron = NEURONS[name][0]()
    y = neuron.init(3)
    dy = neuron.vector_field(0.0, y, jnp.zeros(3))
    like = lambda tree: [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]
    assert jax.tree.structure(dy) == jax.tree.structure(y) == jax.tree.structure(neuron.reset(y))
    assert like(dy) == like(y) == like(neuron.reset(y)) == [((3,), jnp.result_type(float))] * len(like(y))
    assert neuron.guard(y).shape == (3,)
    assert np.all(neuron.guard(y) < 0)


@neurons
def test_reset_lowers_the_guard_if_it_says_so(name, x64):
    neuron = NEURONS[name][0]()
    rest = neuron.init(1)
    raise_v = lambda v: {**rest, "v": v} if isinstance(rest, dict) else rest._replace(v=v)
    v = rest["v"] if isinstance(rest, dict) else rest.v
    y = raise_v(v - neuron.guard(rest))  # guards are v less a threshold
    np.testing.assert_allclose(neuron.guard(y), 0, atol=1e-12)
    after = neuron.reset(y)
    assert bool(neuron.guard(after)[0] < 0) == neuron.resets or not neuron.resets


@few_neurons
def test_exponential_euler_is_of_first_order_or_exact(name, x64):
    """Against a fine fifth-order solution, without spikes (a current below threshold)."""
    current = 0.2 * NEURONS[name][1]
    end = lambda solver, dt: bs.simulate(cell(name), 8.0, dt, current, dict(v="v"), solver=solver)["v"][-1, 0]
    exact = end(diffrax.Tsit5(), 0.01)
    errors = [abs(float(end(bs.ExponentialEuler(), dt) - exact)) for dt in (0.1, 0.05, 0.025)]
    if NEURONS[name][2]:
        assert max(errors) < 1e-9
    else:
        np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 2, atol=0.35)


@neurons
def test_exact_applies_to_affine_flows_only(name, x64):
    run = lambda solver: bs.simulate(cell(name), 5.0, 0.1, 100.0, dict(v="v"), solver=solver)["v"]
    if NEURONS[name][2]:
        assert_close(run(bs.Exact()), run(diffrax.Dopri8()))
    else:
        with pytest.raises(ValueError, match=r"Exact needs an affine flow, but the slope of .*v"):
            run(bs.Exact())


@neurons
def test_default_solver(name, x64):
    prepared = cell(name).prepare(None, dt=0.1)
    assert isinstance(prepared.solver, bs.Exact if NEURONS[name][2] else bs.ExponentialEuler)


@pytest.mark.slow
@neurons
def test_fires_and_matches_exact_events(name, x64):
    """On a fine grid the spikes come at the exact event times, up to the grid and the solver's error."""
    current = NEURONS[name][1]
    events = bs.simulate_events(NEURONS[name][0](), 40.0, current, max_spikes=20)
    # Its spikes are all flow: a first-order solver is late by a thousandth of the time that has passed.
    solver = diffrax.Heun() if name == "HHTraub" else None
    record = dict(spikes=bs.Record(True, dtype=bool))
    result = bs.simulate(cell(name), 40.0, 0.001, current, record, solver=solver)
    times = bs.spike_times(result.spikes, 0.001)[0]
    assert len(times) == int(events.count[0]) > 1
    np.testing.assert_allclose(times, events.times[0, : len(times)], atol=0.02)


@pytest.mark.slow
@neurons
def test_gradients_are_finite_and_reach_every_parameter_of_the_flow(name, x64):
    def loss(neuron):
        result = bs.simulate(bs.Population(2, neuron), 30.0, 0.05, NEURONS[name][1], dict(v="v", spikes=True))
        return jnp.mean(result["v"] ** 2) + result.spikes.sum()

    value, grads = eqx.filter_value_and_grad(loss)(NEURONS[name][0]())
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(g)) for g in floats(grads))
    assert sum(bool(np.any(g != 0)) for g in floats(grads)) >= len(floats(grads)) / 2


@pytest.mark.slow
@neurons
def test_gradient_below_threshold_agrees_with_finite_differences(name, x64):
    neuron = NEURONS[name][0]()
    params, static = eqx.partition(neuron, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def loss(flat):
        population = bs.Population(1, eqx.combine(unravel(flat), static))
        result = bs.simulate(population, 5.0, 0.05, 0.1 * NEURONS[name][1], dict(v="v"))
        return jnp.mean(result["v"])

    direction = jnp.asarray(np.random.default_rng(0).normal(size=flat.shape)) * jnp.maximum(jnp.abs(flat), 0.1)
    h = 1e-6
    finite = (loss(flat + h * direction) - loss(flat - h * direction)) / (2 * h)
    forward, reverse = jax.jit(lambda x: (jax.jvp(loss, (x,), (direction,))[1], jax.grad(loss)(x)))(flat)
    np.testing.assert_allclose(jnp.vdot(reverse, direction), finite, rtol=1e-5)
    np.testing.assert_allclose(forward, finite, rtol=1e-5)


@few_neurons
def test_vmap_over_parameters_is_a_loop(name, x64):
    neuron = NEURONS[name][0]()
    run = lambda m: bs.simulate(bs.Population(2, m), 20.0, 0.1, NEURONS[name][1], dict(v="v", spikes=True)).records
    scale = lambda s: jax.tree.map(lambda x: x * s if eqx.is_inexact_array(x) else x, neuron)
    scales = jnp.array([0.99, 1.0, 1.01])
    batched = eqx.filter_vmap(lambda s: run(scale(s)))(scales)
    for i, s in enumerate(scales):
        assert_close(jax.tree.map(lambda x, i=i: x[i], batched), run(scale(s)), chaotic=True)


@few_neurons
def test_parameters_per_neuron_equal_separate_neurons(name, x64):
    """Also: a permutation of the neurons permutes the result."""
    neuron = NEURONS[name][0]()
    factors = np.array([0.98, 1.0, 1.02])
    scaled = lambda f: jax.tree.map(lambda x: x * jnp.asarray(f, x.dtype) if eqx.is_inexact_array(x) else x, neuron)
    run = lambda m, n: bs.simulate(bs.Population(n, m), 20.0, 0.1, NEURONS[name][1], dict(v="v"))["v"]
    together = run(scaled(factors), 3)
    for i, f in enumerate(factors):
        assert_close(together[:, i], run(scaled(f), 1)[:, 0], chaotic=True)
    assert_close(run(scaled(factors[::-1]), 3), together[:, ::-1], chaotic=True)


@neurons
def test_new_parameter_values_do_not_retrace(name, x64):
    traces = []

    @eqx.filter_jit
    def run(population):
        traces.append(1)
        return bs.simulate(population, 5.0, 0.1, NEURONS[name][1], dict(v="v"))["v"]

    neuron = NEURONS[name][0]()
    for s in (1.0, 1.1, 1.2):
        run(bs.Population(1, jax.tree.map(lambda x, s=s: x * s if eqx.is_inexact_array(x) else x, neuron)))
    assert len(traces) == 1


@few_neurons
def test_split_run_is_bitwise_one_run(name, x32):
    population, current = cell(name, 2), NEURONS[name][1]
    record = dict(v="v", spikes=True)
    whole = bs.simulate(population, 30.0, 0.1, current, record)
    first = bs.simulate(population, 12.0, 0.1, current, record)
    second = bs.simulate(population, 18.0, 0.1, current, record, state=first.state)
    np.testing.assert_array_equal(np.concatenate([first["v"], second["v"]]), whole["v"])
    np.testing.assert_array_equal(np.concatenate([first.spikes, second.spikes]), whole.spikes)
    assert float(second.times("v")[0]) == pytest.approx(12.1)


@receptors
def test_response_scales_with_the_weight_and_ends(name, x64):
    make, weight, _ = RECEPTORS[name]
    population = bs.Population(1, bs.LIF(v_th=1e3), dict(syn=make()))

    def response(w):
        events = dict(syn=bs.SpikeTrain([1.0], w))
        return bs.simulate(population, 200.0, 0.1, events, dict(v="v"))["v"][:, 0] + 70.0

    one, small = response(weight), response(1e-3 * weight)
    assert np.all(one[:9] == 0) and one.max() > 0.1
    assert abs(float(one[-1])) < 1e-3
    np.testing.assert_allclose(small * 1e3, response(2e-3 * weight) / 2e-3 * 1.0, rtol=0.02, atol=2e-2 * one.max())


@pytest.mark.parametrize("name", rows(RECEPTORS, long={"ExpCurrent", "AlphaCurrent"}))
def test_gradient_of_a_response(name, x64):
    make, weight, _ = RECEPTORS[name]

    def peak(w, receptor):
        population = bs.Population(1, bs.LIF(v_th=1e3), dict(syn=receptor))
        events = dict(syn=bs.SpikeTrain([1.0], w))
        return bs.simulate(population, 10.0, 0.1, events, dict(v="v"))["v"].sum()

    h = 1e-5 * weight
    finite = (peak(weight + h, make()) - peak(weight - h, make())) / (2 * h)
    slope, grads = eqx.filter_grad(lambda both: peak(*both))((jnp.asarray(weight), make()))
    np.testing.assert_allclose(slope, finite, rtol=1e-6)
    assert all(np.isfinite(g) and g != 0 for g in floats(grads))


@receptors
def test_solvers_agree(name, x64):
    make, weight, affine = RECEPTORS[name]
    population = bs.Population(1, bs.LIF(), dict(syn=make()))
    events = dict(syn=bs.SpikeTrain([1.0, 2.5], weight), current=300.0)
    run = lambda solver: bs.simulate(population, 20.0, 0.05, events, dict(v="v"), solver=solver)["v"]
    if affine:
        assert_close(run(bs.Exact()), run(diffrax.Dopri8()))
    errors = [abs(run(bs.ExponentialEuler()) - run(diffrax.Dopri8())).max()]
    assert errors[0] < 0.05


@pytest.mark.slow
@receptors
def test_exact_events_with_receptors(name, x64):
    """Arrivals between grid points are exact; on a grid that has them both kinds of run agree."""
    make, weight, _ = RECEPTORS[name]
    population = bs.Population(2, bs.LIF(), dict(syn=make()))
    inputs = dict(syn=bs.SpikeTrain([1.0, 2.5], 3 * weight), current=500.0)
    events = bs.simulate_events(population, 40.0, inputs, max_spikes=10)
    result = bs.simulate(population, 40.0, 0.002, inputs, dict(spikes=True), solver=diffrax.Tsit5())
    for i in range(2):
        times = bs.spike_times(result.spikes, 0.002)[i]
        assert len(times) == int(events.count[i]) > 1
        np.testing.assert_allclose(times, events.times[i, : len(times)], atol=0.012)


@surrogates
def test_surrogate(surrogate, precision):
    spike = surrogate(beta=2.0)
    x = jnp.linspace(-3.0, 3.0, 61)
    np.testing.assert_array_equal(spike(x), np.asarray(x) >= 0)
    slope = jax.vmap(jax.grad(spike))(x)
    np.testing.assert_allclose(slope, spike.derivative(x), rtol=1e-6)
    assert np.all(slope >= 0) and slope.argmax() == 30
    np.testing.assert_allclose(slope, slope[::-1], rtol=1e-4, atol=1e-6)
    assert jax.grad(lambda s: s(jnp.asarray(0.3)).sum())(spike).beta == 0  # the value does not depend on the slope


@surrogates
def test_surrogate_has_area_one(surrogate, x64):
    """All but SuperSpike, whose height is 1."""
    spike = surrogate(beta=2.0)
    u = jnp.linspace(-1 + 1e-6, 1 - 1e-6, 200_001)  # x = u / (1 - u²) covers the real line
    x, dx = u / (1 - u**2), (1 + u**2) / (1 - u**2) ** 2
    area = float(jnp.trapezoid(spike.derivative(x) * dx, u))
    assert area == pytest.approx(1.0, rel=1e-3)  # SuperSpike: 2 / beta = 1 at beta = 2
    assert surrogate is not bs.SuperSpike or spike.derivative(jnp.zeros(())) == 1
