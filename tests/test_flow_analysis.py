"""What is read off a flow: which operations keep units apart, and what solvers and groups of populations make of it."""

import dataclasses

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from programs import apart
from tolerances import assert_close

import brainsim as bs
from brainsim._alike import independent
from brainsim._flow import structure

N = 4
MATRIX = np.array([[2.0, 0.5, 0, 0], [0, 2.0, 0.5, 0], [0, 0, 2.0, 0.5], [0, 0, 0, 2.0]])


def csr(v):
    indices, indptr = np.array([1, 2, 3, 0], np.int32), np.arange(N + 1, dtype=np.int32)
    return bs.ops.csr_matvec(v, jnp.ones(N, v.dtype), indices, indptr, n_post=N)


def custom(v):
    f = jax.custom_jvp(lambda x: x - x.mean())
    f.defjvp(lambda x, dx: (f(*x), dx[0]))
    return f(v)


MIXING = {
    "pad": lambda v: jax.lax.pad(v, jnp.zeros((), v.dtype), [(1, -1, 0)]),
    "triangular_solve": lambda v: jax.lax.linalg.triangular_solve(
        jnp.asarray(MATRIX, v.dtype), v[:, None], left_side=True
    )[:, 0],
    "tridiagonal_solve": lambda v: jax.lax.linalg.tridiagonal_solve(
        jnp.zeros_like(v), jnp.full_like(v, 2.0), jnp.ones_like(v), v[:, None]
    )[:, 0],
    "solve": lambda v: jnp.linalg.solve(jnp.asarray(MATRIX, v.dtype), v),
    "pure_callback": lambda v: jax.pure_callback(lambda x: np.roll(x, 1), jax.ShapeDtypeStruct(v.shape, v.dtype), v),
    "csr_matvec": csr,
    "dense_matvec": lambda v: bs.ops.dense_matvec(v, jnp.asarray(MATRIX, v.dtype)),
    "cumsum": jnp.cumsum,
    "sort": jnp.sort,
    "roll": lambda v: jnp.roll(v, 1),
    "rev": lambda v: v[::-1],
    "fft": lambda v: jnp.fft.ifft(jnp.fft.fft(v)).real,
    "while": lambda v: jax.lax.while_loop(lambda x: x[0] < 0, lambda x: x + 1, v),
    "scan": lambda v: jax.lax.scan(lambda c, x: (c + x, c + x), jnp.zeros((), v.dtype), v)[1],
    "cond": lambda v: jax.lax.cond(v[0] > 0, lambda x: x, lambda x: -x, v),
    "gather": lambda v: v[jnp.array([1, 0, 3, 2])],
    "an element": lambda v: v - v[0],
    "a slice": lambda v: jnp.concatenate([v[1:], v[:1]]),
    "dynamic slice": lambda v: v - jax.lax.dynamic_slice(v, (jnp.zeros((), jnp.int32),), (1,)),
    "scatter": lambda v: v.at[0].add(v[1]),
    "dot": lambda v: jnp.asarray(MATRIX, v.dtype) @ v,
    "conv": lambda v: jnp.convolve(v, jnp.ones(3, v.dtype), mode="same"),
    "reduce": lambda v: v - v.mean(),
    "max": lambda v: v - v.max(),
    "transpose": lambda v: jnp.stack([v] * N).T.sum(0) - v,
    "outer": lambda v: (v[:, None] - v[None]).sum(1),
    "reshape": lambda v: jnp.repeat(v.reshape(2, 2).sum(0), 2),
    "inside a call": lambda v: jax.jit(lambda x: x - x.mean())(v),
    "inside a checkpoint": lambda v: jax.checkpoint(lambda x: x - x.mean())(v),
    "inside a custom derivative": custom,
    "without a derivative": lambda v: v * jax.lax.stop_gradient(v.mean()),
}
APART = {
    "exp": jnp.exp,
    "pow": lambda v: v**3 + jnp.abs(v) ** 1.5,
    "tanh": jnp.tanh,
    "expit": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "erf": jax.scipy.special.erf,
    "where": lambda v: jnp.where(v > 0, v, 0.1 * v),
    "clip": lambda v: jnp.clip(v, 0, 1),
    "round": jnp.round,
    "call": jax.jit(jnp.sin),
    "checkpoint": jax.checkpoint(jnp.sin),
    "a parameter for each": lambda v: v * jnp.broadcast_to(jnp.asarray(2.0, v.dtype), v.shape),
    "stack and sum": lambda v: jnp.stack([v, 2 * v]).sum(0),
    "matrix over variables": lambda v: (jnp.asarray(MATRIX[:2, :3], v.dtype) @ jnp.stack([v, v * v, jnp.cos(v)]))[1],
    "axis of one": lambda v: (v[None, :] * 2.0)[0],
    "mapped": jax.vmap(lambda x: jnp.vdot(jnp.stack([x, x]), jnp.stack([x, 2 * x]))),
    "flipped along another axis": lambda v: jnp.stack([v, 2 * v])[::-1].cumsum(0)[1],
}


def flow(f):
    """A flow of two variables, the first of which is `f`'s."""
    return lambda y, t, i: dict(u=y["v"] - 0.5 * y["u"], v=f(y["v"]) - y["v"] + i)


def analysed(f, n=N):
    return structure(flow(f), dict(u=jnp.ones(n), v=jnp.ones(n)), jnp.zeros(()), jnp.ones(n))


def cell(f, start=(1.0, 0.0, 0.5, 0.2)):
    """A neuron that never spikes and relaxes to what `f` makes of its and the others' potentials."""
    field = lambda t, y, p, i: dict(v=(f(y["v"]) - y["v"]) / p["tau"] + i)
    start = jnp.asarray(start)
    return bs.neuron(field, guard=lambda y, p: y["v"] - 1e3, init=dict(v=start), params=dict(tau=2.0))


@pytest.mark.parametrize("name", MIXING)
def test_whatever_is_not_known_to_be_elementwise_couples(name, x64):
    assert analysed(MIXING[name]).coupled
    assert not independent(bs.Population(N, cell(MIXING[name])))


@pytest.mark.parametrize("name", APART)
def test_elementwise_operations_do_not(name, x64):
    got = analysed(APART[name])
    assert not got.coupled
    assert got.depends == ({0, 1}, {1})


NEURONS = {
    "LIF": (bs.LIF(), True),
    "AdEx": (bs.AdEx(), False),
    "Izhikevich": (bs.Izhikevich(), False),
    "HH": (bs.HH(), False),
    "HHTraub": (bs.HHTraub(), False),
    "EscapeLIF": (bs.neurons.EscapeLIF(), True),
    "GIF": (bs.neurons.GIF(), True),
    "AuditoryReceptor": (bs.neurons.AuditoryReceptor(), False),
    "functional": (cell(lambda v: 0 * v, 0.0), True),
}
RECEPTORS = {
    "DeltaCurrent": (bs.DeltaCurrent(), True),
    "DeltaConductance": (bs.DeltaConductance(), True),
    "ExpCurrent": (bs.ExpCurrent(), True),
    "AlphaCurrent": (bs.AlphaCurrent(), True),
    "ExpConductance": (bs.ExpConductance(), False),
    "AlphaConductance": (bs.AlphaConductance(), False),
}


@pytest.mark.parametrize("name", NEURONS)
def test_models_of_the_package_are_of_independent_units(name, x32):
    """So that they may be stepped in groups, and each has the solver that is best for it."""
    neuron, affine = NEURONS[name]
    each = jax.tree.map(lambda x: jnp.full(3, x) if eqx.is_inexact_array(x) and x.ndim == 0 else x, neuron)
    for model, n in ((neuron, 3), (neuron, 1), (each, 3)):
        assert independent(bs.Population(n, model, {k: r for k, (r, _) in RECEPTORS.items()}))
    for linear in (True, False):
        receptors = {k: r for k, (r, is_linear) in RECEPTORS.items() if is_linear or not linear}
        prepared = bs.Population(3, neuron, receptors).prepare(None, dt=0.1)
        assert isinstance(prepared.solver, bs.Exact if affine and linear else bs.ExponentialEuler)


def straight_through(v):
    f = jax.custom_jvp(lambda x: x * x)
    f.defjvp(lambda x, dx: (f(*x), dx[0]))
    return f(v)


SLOPES = {  # a function of state, time and input, and what its slopes vary with
    "linear": (lambda v, t, i: 2 * v + i, None),
    "input and time added": (lambda v, t, i: v + i**2 + jnp.sin(t), None),
    "a coupled one": (lambda v, t, i: csr(v) + v[::-1], None),
    "solved for": (lambda v, t, i: MIXING["triangular_solve"](v), None),
    "fft": (lambda v, t, i: MIXING["fft"](v), None),
    "chosen by a parameter": (lambda v, t, i: jnp.where(jnp.arange(N) > 1, v, 2 * v), None),
    "square": (lambda v, t, i: v * v, "the state"),
    "threshold": (lambda v, t, i: jnp.where(v > 0, 1.0, -1.0), "the state"),
    "round": (lambda v, t, i: jnp.round(v), "the state"),
    "an index": (lambda v, t, i: jnp.arange(4.0)[v.astype(int)], "the state"),
    "a derivative that is not its own": (lambda v, t, i: straight_through(v), "the state"),
    "no derivative": (lambda v, t, i: jax.lax.stop_gradient(v), "the state"),
    "quotient": (lambda v, t, i: i / v, "the state"),
    "callback": (lambda v, t, i: MIXING["pure_callback"](v), "the state"),
    "time": (lambda v, t, i: v * jnp.cos(t), "the time or the input"),
    "input": (lambda v, t, i: v * i, "the time or the input"),
    "chosen by the input": (lambda v, t, i: jnp.where(i > 0, v, 2 * v), "the time or the input"),
}


@pytest.mark.parametrize("name", SLOPES)
def test_what_slopes_vary_with(name, x64):
    f, expected = SLOPES[name]
    got = structure(lambda y, t, i: dict(v=f(y["v"], t, i)), dict(v=jnp.ones(N)), jnp.zeros(()), jnp.ones(N))
    assert got.varies == (expected,) and got.affine == (expected is None)


def test_a_slope_that_moves_with_the_input_is_not_for_exact(x64):
    """The channels of an auditory receptor relax the faster the more of them are open."""
    ears = bs.Population(1, bs.neurons.AuditoryReceptor())
    run = lambda solver: bs.simulate(ears, 10.0, 0.05, 1.0, dict(h="h"), solver=solver)["h"]
    np.testing.assert_allclose(run(None), run(diffrax.Dopri8()), atol=1e-6)
    with pytest.raises(ValueError, match=r"Exact needs an affine flow, but the slope of .*h.* depends on the time or"):
        run(bs.Exact())


MATRICES = {
    "ring": np.array([[0, 0.9], [0.9, 0]]),
    "stiff mean": np.full((3, 3), 100.0),
    "one way": np.array([[0.0, 0, 0], [5.0, 0, 0], [0, 70.0, 0]]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_exact_is_exact_for_coupled_units(name, x64):
    """exp(A dt), also where A is stiff and dt is long, with an input and with another variable that follows."""
    w = MATRICES[name]
    n = len(w)
    a = np.block([[w - np.eye(n) * (1 + w.sum(1)), np.zeros((n, n))], [np.eye(n), -0.5 * np.eye(n)]])

    def field(t, y, p, i):
        x = y["x"]
        return dict(x=jnp.asarray(w) @ x - x * (1 + w.sum(1)) + i, z=x - 0.5 * y["z"])

    start = np.linspace(1.0, -0.5, n)
    model = bs.neuron(field, guard=lambda y, p: y["x"] - 1e3, init=dict(x=start, z=0.2), params={})
    units = bs.Population(n, model)
    for dt in (1.0, 10.0):
        got = bs.simulate(units, 2 * dt, dt, 0.3, dict(x="x", z="z"))
        b, y = np.r_[np.full(n, 0.3), np.zeros(n)], np.r_[start, np.full(n, 0.2)]
        block = np.block([[a, b[:, None]], [np.zeros((1, 2 * n + 1))]])
        for k in range(2):
            y = (scipy.linalg.expm(block * dt) @ np.r_[y, 1])[:-1]
            np.testing.assert_allclose(np.r_[got["x"][k], got["z"][k]], y, rtol=1e-10, atol=1e-12)


def test_coupled_units_by_hand(x32):
    """The mean of two, to which both relax in 0.04 ms, over 0.1 ms; and a ring, exp([[-1, .9], [.9, -1]]) (1, 0)."""
    pair = cell(lambda v: v + (v.mean() - v) / 0.02, (0.0, 10.0))
    np.testing.assert_allclose(bs.simulate(bs.Population(2, pair), 1.0, 0.1, record=dict(v="v"))["v"][-1], 5.0, 1e-5)
    ring = cell(lambda v: -v + jnp.asarray([[0, 1.8], [1.8, 0]], v.dtype) @ v, (1.0, 0.0))
    got = bs.simulate(bs.Population(2, ring), 1.0, 1.0, record=dict(v="v"))["v"][0]
    np.testing.assert_allclose(got, [0.527203, 0.377634], rtol=1e-5)


def spiking(w):
    """Integrate-and-fire neurons with gap junctions."""

    def field(t, y, p, i):
        return dict(v=(p["rest"] - y["v"]) / p["tau"] + jnp.asarray(w) @ y["v"] - w.sum(1) * y["v"] + i)

    return bs.neuron(
        field,
        guard=lambda y, p: y["v"] + 55,
        reset=lambda y, p: dict(v=-70.0),
        init=dict(v=np.full(len(w), -70.0)),
        params=dict(rest=-70.0, tau=10.0),
        t_ref=1.0,
    )


def test_refractory_neurons_stand_still_while_coupled_ones_move(x64):
    w = np.array([[0, 0.3, 0.1], [0.2, 0, 0.1], [0.1, 0.1, 0.0]])
    cells = bs.Population(3, spiking(w))
    run = lambda solver: bs.simulate(
        cells, 20.0, 0.1, jnp.array([6.0, 4.0, 5.0]), dict(v="v", spikes=True), solver=solver
    )
    got, twin = run(None), run(diffrax.Dopri8())
    assert isinstance(cells.prepare(None, dt=0.1).free.solver, bs.Exact)
    assert got.spikes.sum() > 3
    assert_close(got.records, twin.records)


def test_exponential_euler_takes_the_own_slopes_of_coupled_units(x64):
    """dv/dt = tanh(W v) - v, one step by hand; and its order."""
    w = np.array([[0.5, 2.0, -1.0], [1.5, -0.5, 1.0], [0.3, 1.0, 0.2]])
    v = np.array([1.0, 0.0, 0.5])
    cells = bs.Population(3, cell(lambda v: jnp.tanh(jnp.asarray(w) @ v), v))
    run = lambda dt, solver=None: bs.simulate(cells, 1.0, dt, record=dict(v="v"), solver=solver)["v"]
    f = (np.tanh(w @ v) - v) / 2
    a = (np.diag(w) / np.cosh(w @ v) ** 2 - 1) / 2
    np.testing.assert_allclose(run(0.5)[0], v + f * np.expm1(a * 0.5) / a, rtol=1e-12)
    exact = run(0.1, diffrax.Dopri8())[-1]
    errors = [np.abs(run(dt)[-1] - exact).max() for dt in (0.1, 0.05)]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("share", [lambda v: v / v.size, lambda v: v * jnp.float32(1 / len(v)), lambda v: v**v.size])
def test_equations_that_read_how_many_neurons_there_are_are_not_independent(share, x32):
    """Two populations of two are stepped as one of four, exact events neuron by neuron."""
    cells = bs.Population(2, free(share, 2))
    assert not independent(cells)
    with pytest.raises(ValueError, match="simulate runs others"):
        bs.simulate_events(cells, 1.0, max_spikes=1)


def test_a_derivative_of_one_s_own_is_none_to_rely_on(x64):
    """What `custom_jvp` says may be anything, so such a flow has no exact solution; of `custom_vjp` there is none."""
    damped, clipped = jax.custom_jvp(lambda x: x), jax.custom_vjp(lambda x: x)
    damped.defjvp(lambda x, dx: (x[0], 0.1 * dx[0]))
    clipped.defvjp(lambda x: (x, None), lambda _, ct: (jnp.clip(ct, -1, 1),))
    silent = dict(guard=lambda y, p: -1.0 + 0 * y["v"], reset=lambda y, p: y, params={}, init=dict(v=1.0))
    cells = lambda f: bs.Population(1, bs.neuron(lambda t, y, p, i: dict(v=-f(y["v"])), **silent))
    run = lambda f, dt, solver=None: bs.simulate(cells(f), 1.0, dt, record=dict(v="v"), solver=solver)["v"][-1, 0]
    assert not isinstance(cells(damped).prepare(None, dt=0.1).solver, bs.Exact)
    with pytest.raises(ValueError, match="Exact"):
        run(damped, 0.1, bs.Exact())
    errors = [abs(run(damped, dt) - np.exp(-1)) for dt in (0.1, 0.05)]
    assert errors[0] < 0.03 and errors[0] / errors[1] == pytest.approx(2, abs=0.2)
    with pytest.raises(ValueError, match=r"slopes of the equations, which jax.custom_vjp has not in forward mode"):
        run(clipped, 0.1, bs.ExponentialEuler())
    assert run(clipped, 0.1) == pytest.approx(np.exp(-1), rel=2e-3)


def free(f, n):
    """`cell`, with no variable that is held after a spike."""
    return eqx.tree_at(lambda c: c.initial, dataclasses.replace(cell(f, 0.0), held=()), dict(v=jnp.zeros(n)))


def test_who_integrates_what(x32):
    """Up to 256 variables of all units there is a joint matrix; a solver of diffrax has no such bound."""
    prepare = lambda f, n, solver=None: bs.Population(n, free(f, n)).prepare(solver, dt=0.1).solver
    linear, bent = lambda v: v.mean() + 0 * v, lambda v: jnp.tanh(v.mean()) + 0 * v
    assert isinstance(prepare(linear, 256), bs.Exact)
    assert isinstance(prepare(bent, 256), bs.ExponentialEuler)
    assert isinstance(prepare(linear, 257), diffrax.Heun) and isinstance(prepare(bent, 257), diffrax.Heun)
    with pytest.raises(ValueError, match=r"Exact takes one matrix for all units .* up to 256 variables, not 257; use"):
        prepare(linear, 257, bs.Exact())
    with pytest.raises(ValueError, match="ExponentialEuler needs the own slope of every unit, but 257 units"):
        prepare(bent, 257, bs.ExponentialEuler())
    assert isinstance(prepare(linear, 300, diffrax.Euler()), diffrax.Euler)


def test_exact_events_are_of_independent_neurons(x64):
    with pytest.raises(ValueError, match="none may depend on another; simulate runs others"):
        bs.simulate_events(bs.Population(N, cell(MIXING["reduce"])), 1.0, max_spikes=2)


COUPLED = {
    "shift": (MIXING["pad"], N),
    "one, its mean": (lambda v: v.mean() + 0 * v, 1),
    "one, the first": (lambda v: v[:1] + 0 * v, 1),
    "their places": (lambda v: jnp.arange(v.shape[0], dtype=v.dtype), N),
    "their gains": (lambda v: jnp.array([1.0, 2.0, 3.0, 4.0], v.dtype) * v, N),
    "their number": (lambda v: jnp.ones_like(v).sum() + 0 * v, N),
}


def test_groups_do_not_mix_what_is_coupled(x64):
    """Populations that are alike but for their state, in one network and, traced, one by one."""
    populations = {}
    for name, (f, n) in COUPLED.items():
        model = cell(f, np.zeros(n))
        for k in (2.0, 3.0):
            populations[f"{name} {k:g}"] = bs.Population(n, model, initial=dict(v=np.linspace(k, 1.0, n)))
    net = bs.Network(populations)
    record = {k: f"{k}.v" for k in populations}
    run = lambda: bs.simulate(net, 3.0, 1.0, record=record, solver=diffrax.Euler()).records
    assert_close(run(), apart(run)())


def test_a_shift_by_hand(x32):
    """Three neurons, each following the one before, and the first a constant 1; Euler."""
    shifted = bs.neuron(
        lambda t, y, p, i: dict(v=(jax.lax.pad(y["v"], jnp.ones((), y["v"].dtype), [(1, -1, 0)]) - y["v"]) / p["tau"]),
        guard=lambda y, p: y["v"] - 1e3,
        init=dict(v=0.0),
        params=dict(tau=2.0),
    )
    cells = bs.Population(3, shifted)
    run = lambda node, name: bs.simulate(node, 3.0, 0.5, record=dict(v=name), solver=diffrax.Euler())["v"]
    alone = run(cells, "v")
    np.testing.assert_allclose(alone[0], [0.25, 0, 0])
    np.testing.assert_array_equal(run(bs.Network(dict(A=cells, B=cells)), "B.v"), alone)
