"""Additive noise on affine flows: the exact mean and covariance at any dt, and derivatives through both."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from rows import rows
from tolerances import RTOL, assert_close

import brainsim as bs
from brainsim._propagator import integrals

PATHS = 100_000
CHAIN = np.array([[-1 / 0.3, 0.4, 0.0], [0.5, -1 / 20.0, 0.0], [0.0, 2.0, -1 / 20.0]])
PAIR = np.array([[-3.0, 2.0], [0.5, -0.7]])


def covariance(a, noise, t):
    """∫ exp(A s) noise exp(A s)ᵀ ds over [0, t] for a stable A: X - exp(A t) X exp(A t)ᵀ with A X + X Aᵀ = -noise."""
    x = scipy.linalg.solve_continuous_lyapunov(a, -noise)
    e = scipy.linalg.expm(a * t)
    return x - e @ x @ e.T


def chain(sigma=(1.0, 2.0), n=PATHS, tau=0.3):
    """Three variables of one unit, of which the first two have noise."""

    def field(t, y, p, i):
        x, z, u = y["x"], y["z"], y["u"]
        return dict(x=-x / p["tau"] + 0.4 * z + i, z=0.5 * x - z / 20, u=2 * z - u / 20)

    model = bs.neuron(field, guard=lambda y, p: y["x"] - 1e6, init=dict(x=1.0, z=-1.0, u=0.5), params=dict(tau=tau))
    return bs.Population(n, model, noise=dict(x=sigma[0], z=sigma[1]))


def pair(sigma=(1.0, 0.5)):
    """Two units that depend on one another, each with noise of its own."""
    model = bs.neuron(
        lambda t, y, p, i: dict(x=jnp.asarray(PAIR, y["x"].dtype) @ y["x"] + i),
        guard=lambda y, p: y["x"] - 1e6,
        init=dict(x=np.array([1.0, -1.0])),
        params={},
    )
    return bs.Population(2, model, noise=dict(x=jnp.asarray(sigma)))


def assert_normal(x, mean, cov):
    """Within three standard errors of their mean and of their covariance."""
    n = len(x)
    got = np.cov(x.T, bias=True)
    var = np.diag(cov)
    assert np.all(np.abs(x.mean(0) - mean) < 3 * np.sqrt(var / n))
    assert np.all(np.abs(got - cov) < 3 * np.sqrt((np.outer(var, var) + cov**2) / n))


@pytest.mark.parametrize("dt", rows([0.1, 1.0, 10.0], long={1.0}))
def test_variables_of_a_unit(dt, x32):
    run = bs.simulate(chain(), 2 * dt, dt, 0.3, dict(x="x", z="z", u="u"), key=jax.random.key(1))
    x = np.stack([run[name][-1].astype(float) for name in "xzu"], -1)
    b = np.array([0.3, 0, 0])
    still = -np.linalg.solve(CHAIN, b)
    mean = still + scipy.linalg.expm(CHAIN * 2 * dt) @ (np.array([1.0, -1.0, 0.5]) - still)
    assert_normal(x, mean, covariance(CHAIN, np.diag([1.0, 4.0, 0.0]), 2 * dt))


@pytest.mark.parametrize("dt", [0.1, 1.0, 10.0])
def test_units_that_depend_on_one_another(dt, x32):
    cells = pair()
    run = jax.jit(jax.vmap(lambda key: bs.simulate(cells, 2 * dt, dt, 0.3, dict(x="x"), key=key)["x"][-1]))
    x = np.asarray(run(jax.random.split(jax.random.key(0), PATHS)), float)
    still = -np.linalg.solve(PAIR, [0.3, 0.3])
    mean = still + scipy.linalg.expm(PAIR * 2 * dt) @ (np.array([1.0, -1.0]) - still)
    assert_normal(x, mean, covariance(PAIR, np.diag([1.0, 0.25]), 2 * dt))


@pytest.mark.slow
def test_the_mean_is_that_without_noise(x64):
    """Where sigma is zero, to 1e-10; the default solver is the exact one in any case."""
    record = dict(x="x", z="z", u="u")
    run = lambda cells: bs.simulate(cells, 2.0, 0.5, 0.3, record, key=jax.random.key(0)).records
    silent = bs.Population(2, chain(n=2).neuron)
    assert_close(run(chain((0.0, 0.0), 2)), run(silent))
    assert isinstance(chain(n=2).prepare(None, dt=0.5).solver, bs.Exact)
    assert isinstance(bs.Population(2, bs.LIF(), noise=dict(v=1.0)).prepare(None, dt=0.5).solver, bs.Exact)


STIFF = {
    "chain": CHAIN,
    "equal time constants": np.array([[-0.2, 1.0, 0.0], [0.0, -0.2, 1.0], [0.0, 0.0, -0.2]]),
    "a millionth and a thousand": np.array([[-1e6, 1.0, 0.0], [0.5, -1e-3, 0.0], [0.0, 1.0, -1e-3]]),
    "nearly at rest": np.diag([-1e-9, -1e-9, -1e-9]) + np.diag([1.0, 1.0], -1),
}


def test_integrals(precision):
    """To the last digits, small entries too, however stiff and however long the step."""
    dtype = jnp.result_type(float)
    a = np.stack([*STIFF.values()], -1)
    noise = np.diag([1.0, 4.0, 0.0])
    got = jax.jit(lambda a, dt: integrals(a, dt, [jnp.broadcast_to(jnp.asarray(noise, dtype)[..., None], a.shape)]))
    for dt in (0.1, 1.0, 10.0):
        q, (c,) = got(jnp.asarray(a, dtype), jnp.asarray(dt, dtype))
        for k, (name, b) in enumerate(STIFF.items()):
            # Block exponentials of a part of the step, which is short enough for them; doubled in double precision.
            halvings = max(0, int(np.ceil(np.log2(np.abs(b).sum(1).max() * dt))) + 4)
            h, zero = dt / 2**halvings, np.zeros((3, 3))
            e = scipy.linalg.expm(h * np.block([[-b, noise], [zero, b.T]]))
            phi = e[3:, 3:].T
            cov, mean = phi @ e[:3, 3:], scipy.linalg.expm(h * np.block([[b, np.eye(3)], [zero, zero]]))[:3, 3:]
            for _ in range(halvings):
                cov, mean = cov + phi @ cov @ phi.T, mean + mean @ b @ mean + mean
                phi = np.eye(3) + mean @ b
            rtol = 30 * RTOL[dtype.name]
            np.testing.assert_allclose(q[..., k], mean, rtol=rtol, atol=rtol * np.abs(mean).max() * 1e-3, err_msg=name)
            np.testing.assert_allclose(c[..., k], cov, rtol=rtol, atol=rtol * np.abs(cov).max() * 1e-3, err_msg=name)


def test_noise_leaves_the_response_as_it_is(x32):
    """A potential after one event of 500 pA: peak 0.538 mV, with and without noise that nobody sees."""

    def response(noise):
        cells = bs.Population(1, bs.LIF(), dict(exc=bs.ExpCurrent(tau=0.3)), noise=noise)
        events = dict(exc=bs.SpikeTrain([1.0], 500.0))
        return bs.simulate(cells, 5.0, 0.1, events, dict(v="v"), key=jax.random.key(0))["v"][:, 0] + 70

    quiet = response({})
    assert float(quiet.max()) == pytest.approx(0.5383, abs=1e-4)
    np.testing.assert_allclose(response(dict(v=1e-9)), quiet, atol=1e-5)


def finite(f, x, h=1e-5):
    return np.stack([(f(x + d) - f(x - d)) / (2 * h) for d in h * np.eye(len(x))])


@pytest.mark.slow
def test_derivatives(x64):
    """In sigma, zero included, and in a time constant: those of finite differences, forward and in reverse."""

    def end(p):
        model = bs.neuron(
            lambda t, y, p, i: dict(x=y["z"] - y["x"] / p["tau"], z=-y["z"] / 20),
            guard=lambda y, p: y["x"] - 1e6,
            init=dict(x=1.0, z=-1.0),
            params=dict(tau=p[1]),
        )
        cells = bs.Population(3, model, noise=dict(z=p[0]))
        run = bs.simulate(cells, 0.5, 0.25, record=dict(x="x"), key=jax.random.key(0))
        return run["x"][-1] @ jnp.array([1.0, 2.0, -1.0])

    both = jax.jit(jax.value_and_grad(end))
    forward = jax.jit(jax.jacfwd(end))
    for p in (jnp.array([1.0, 0.3]), jnp.array([0.0, 0.3])):
        expected = finite(lambda p: both(p)[0], p)
        assert np.all(expected != 0)
        for slope in (both(p)[1], forward(p)):
            np.testing.assert_allclose(slope, expected, rtol=1e-6)


@pytest.mark.slow
def test_derivatives_where_units_depend_on_one_another(x64):
    def end(sigma):
        return bs.simulate(pair(sigma), 1.0, 0.25, record=dict(x="x"), key=jax.random.key(0))["x"][-1, 0]

    both = jax.jit(jax.value_and_grad(end))
    sigma = jnp.array([1.0, 0.5])
    np.testing.assert_allclose(both(sigma)[1], finite(lambda s: both(s)[0], sigma), rtol=1e-6)


def test_a_draw_is_that_of_its_variable(x64):
    """It does not depend on which other variables have noise, or on how many units there are."""
    first = lambda cells: bs.simulate(cells, 0.2, 0.1, record=dict(x="x"), key=jax.random.key(3))["x"][0]
    one = bs.Population(5, chain(n=5).neuron, noise=dict(z=1.0))
    two = bs.Population(7, one.neuron, noise=dict(x=0.0, z=1.0))
    np.testing.assert_array_equal(first(one), first(two)[:5])


def test_the_path_is_that_of_other_solvers(x64):
    """Their increments are the same, so that they agree as dt falls."""
    run = lambda solver: bs.simulate(chain(n=20), 2.0, 0.01, record=dict(x="x"), solver=solver, key=jax.random.key(5))
    np.testing.assert_allclose(run(None)["x"], run(diffrax.Heun())["x"], atol=0.02)


def test_held_variables_stand_still(x32):
    """All neurons spike at once; while v is held, w goes on with the noise of its own and of nobody else."""
    model = bs.neuron(
        lambda t, y, p, i: dict(v=-y["v"] / 10 - y["w"], w=0.3 * y["v"] - y["w"] / 5),
        guard=lambda y, p: y["v"] - 10,
        reset=lambda y, p: dict(v=-5.0, w=0.0 * y["w"]),
        init=dict(v=100.0, w=0.0),
        params={},
        t_ref=50.0,
    )
    cells = bs.Population(PATHS, model, noise=dict(v=3.0, w=0.5))
    run = bs.simulate(cells, 8.0, 1.0, record=dict(v="v", w="w", spikes=True), key=jax.random.key(2))
    assert np.all(run.spikes[0] == 1) and np.all(run["v"] == -5)
    w = np.asarray(run["w"][-1], float)[:, None]
    decay = np.exp(-7 / 5)
    assert_normal(w, -7.5 * (1 - decay), np.array([[0.25 * 2.5 * (1 - decay**2)]]))
