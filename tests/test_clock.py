"""A float32 holds no time for long: steps are counted, and after a year functions of time are as exact as at once."""

import math
from fractions import Fraction

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs

DT = 0.01
LATE = [10**9, 3_153_600_000]  # steps: four months and a year; whole periods of 10 ms
WAVE = lambda t: 300.0 * jnp.sin(2 * jnp.pi * t / 10.0)


def driven(n=1):
    """Cells that never spike."""
    return bs.Population(n, bs.LIF(v_th=1e9), dict(exc=bs.DeltaCurrent()))


def timed():
    """A neuron whose equations know the time, and a receptor that does not."""
    flow = lambda t, y, p, i: dict(
        v=jnp.sin(2 * jnp.pi * t / p["period"]) - y["v"] / p["tau"] + i, u=(y["v"] - y["u"]) / p["tau"]
    )
    guard = lambda y, p: y["v"] - 1e9
    model = bs.neuron(flow, guard=guard, init=dict(v=0.0, u=0.0), params=dict(tau=5.0, period=10.0))
    return bs.Population(1, model, dict(exc=bs.DeltaCurrent()))


@pytest.mark.parametrize(
    "cell, inputs, solver",
    [
        (driven, WAVE, None),
        (driven, WAVE, diffrax.Heun()),  # between the ends of a step, too
        (driven, lambda t: jnp.where(t % 10.0 < 5.0, jnp.float32(300.0), 0.0), None),
        (driven, lambda t: jnp.interp(t % 10.0, jnp.array([0.0, 4.0, 10.0]), jnp.array([0.0, 300.0, 0.0])), None),
        (timed, 0.0, None),
        (timed, WAVE, diffrax.Heun()),
    ],
)
def test_after_any_number_of_steps_a_function_of_time_does_what_it_does_at_first(cell, inputs, solver, x32):
    cell = cell()
    run = lambda start: bs.simulate(cell, 10.0, DT, inputs, dict(v="v"), start=start, solver=solver)["v"]
    at_first = np.asarray(run(0.0))
    assert np.ptp(at_first) > 1.0
    for k in LATE:
        np.testing.assert_allclose(run(k * DT), at_first, atol=1e-4 * np.ptp(at_first), rtol=0)


def test_jit_vmap_and_derivatives_go_through_functions_of_time(x32):
    """In a wave's amplitude and a model's period, in both modes; after 10^9 steps as in double precision."""
    start = LATE[0] * DT

    def last(amplitude, period):
        wave = lambda t: amplitude * jnp.sin(t * (2 * jnp.pi / 7.0)) ** 2
        model = bs.with_params(timed(), period=period)
        return bs.simulate(model, 3 * DT, DT, wave, dict(v="v"), start=start)["v"][-1, 0]

    def both(*at):
        return jax.value_and_grad(last, (0, 1))(*at), jax.jvp(last, at, (jnp.ones_like(at[0]), jnp.ones_like(at[1])))

    several = jax.jit(jax.vmap(both, in_axes=(0, None)))
    got = several(jnp.array([100.0, 300.0]), jnp.array(8.0))
    with jax.enable_x64(True):
        expected = several(jnp.array([100.0, 300.0]), jnp.array(8.0))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=2e-5)


def many(t):
    """What JAX derives, batches or lowers late, and with its default precision in mind: a value for each."""
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), (t * 100).astype(jnp.int32)))
    table = jnp.array([0.0, 1.0, 4.0, 10.0])
    return jnp.stack([
        jnp.piecewise(t % 10, [t % 10 < 2, t % 10 >= 2], [lambda t: t, lambda t: t**2]),
        jnp.select([t % 10 < 0.02, t % 10 < 5], [1.0, 2.0], 0.0),
        jnp.where(jnp.argmax(jnp.stack([jnp.sin(t), jnp.cos(t)])) == 0, 1.0, 2.0),
        jnp.tanh(noise),
        jnp.interp(t % 10, table, table[::-1]) + table[jnp.digitize(t % 10, table)],
        jax.scipy.special.i0e(t % 10) + jax.scipy.special.gammainc(2.0, t % 10),
        jax.lax.cond(t % 10 < 0.02, jnp.sin, jnp.cos, t),
        jax.scipy.linalg.expm(jnp.ones((2, 2)) * jnp.sin(t))[0, 0],
    ])  # fmt: skip


@pytest.mark.slow
def test_whatever_a_function_of_time_does_it_is_in_double_precision(x32):
    """In batches and backwards, too; after 10^9 steps as where all is in double precision."""

    def last(amplitude):
        run = bs.simulate(driven(8), 4 * DT, DT, lambda t: amplitude * many(t), dict(v="v"), start=LATE[0] * DT)
        return (run["v"][-1] ** 2).sum()

    several = jax.jit(jax.vmap(jax.value_and_grad(last)))
    given = np.array([[100.0], [200.0]]) * np.ones(8)
    got = several(jnp.asarray(given, jnp.float32))
    with jax.enable_x64(True):
        expected = several(jnp.asarray(given))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_a_function_that_mixes_precisions_is_told_so(x32):
    on = jnp.ones(3)
    run = lambda f: bs.simulate(bs.Population(3, bs.LIF()), 0.2, 0.1, f, dict(v="v"))
    with pytest.raises(ValueError, match=r"a function of time is computed in double precision.*jnp.where") as e:
        run(lambda t: jax.lax.cond(t < 5, lambda: jnp.zeros(3), lambda: on))
    assert "\n" not in str(e.value)
    run(lambda t: jax.lax.cond(t < 5, lambda: jnp.zeros(3, on.dtype), lambda: on))
    run(lambda t: jnp.where(t < 5, jnp.zeros(3), on))


@pytest.mark.parametrize("f", [lambda t: 100.0 if t > 5 else 0.0, lambda t: math.sin(t), lambda t: np.sin(t)])
def test_a_function_that_has_to_know_the_time_is_told_what_to_write(f, precision):
    with pytest.raises(ValueError, match=r"a function of time is traced: write jnp.where.*jnp.sin\(t\)") as e:
        bs.simulate(bs.Population(1, bs.LIF()), 0.2, 0.1, f)
    assert "\n" not in str(e.value)


def test_functions_of_time_over_devices(x32):
    mesh = jax.make_mesh((2,), ("part",), axis_types=(jax.sharding.AxisType.Auto,))

    def loss(amplitude, period):
        wave = lambda t: amplitude[0] * jnp.sin(2 * jnp.pi * t / period)
        return bs.simulate(driven(), 2 * DT, DT, wave, dict(v="v"))["v"].sum() ** 2

    spec, one = jax.sharding.PartitionSpec("part"), jax.sharding.PartitionSpec()
    parts = lambda a, p: jax.lax.psum(loss(a, p), "part")
    split = jax.shard_map(jax.grad(parts, (0, 1)), mesh=mesh, in_specs=(spec, one), out_specs=(spec, one))
    amplitude, period = jnp.array([100.0, 300.0]), jnp.array(10.0)
    each = [jax.grad(loss, (0, 1))(amplitude[i : i + 1], period) for i in (0, 1)]
    got = jax.jit(split)(amplitude, period)
    np.testing.assert_allclose(got[0], [x[0][0] for x in each], rtol=1e-4)
    np.testing.assert_allclose(got[1], sum(x[1] for x in each), rtol=1e-4)


@pytest.mark.parametrize("dt", [0.1, 0.03])
def test_labels_are_the_numbers_nearest_to_multiples_of_dt(dt, x32):
    k = LATE[1]
    run = bs.simulate(driven(), 10 * dt, dt, record=dict(v="v", s=bs.Record("v", every=5)), start=k * dt)
    exact = lambda steps: [float(int(k + i) * Fraction(str(dt))) for i in steps]
    assert run.times("v").tolist() == exact(range(1, 11)) and run.times("s").tolist() == exact([5, 10])
    assert float(run.start) == exact([0])[0] and int(run.state.k) == k + 10
    with jax.enable_x64(True):  # in a program, where functions of time are given these numbers, too
        assert jax.jit(lambda run: run.times("v"))(run).tolist() == exact(range(1, 11))


def test_spikes_have_exact_times(x32):
    cell = bs.Population(2, bs.LIF())
    spikes = bs.simulate(cell, 20.0, 0.1, 900.0, dict(s=bs.Record(True, events=9)), start=LATE[1] * 0.1)["s"]
    early = bs.simulate(cell, 20.0, 0.1, 900.0, dict(s=bs.Record(True, events=9)))["s"]
    shift = lambda times: [float(Fraction(str(t)) + Fraction(LATE[1], 10)) for t in times.tolist()]
    assert spikes.numpy()[0].tolist() == shift(early.numpy()[0]) and int(early.count) == 4
    assert spikes.times[:4].tolist() == spikes.numpy()[0].tolist() and np.isinf(spikes.times[4:]).all()
    np.testing.assert_array_equal(spikes.raster(), early.raster())
    listed, seen = bs.spike_times(spikes), bs.spike_times(spikes.raster(), 0.1, LATE[1] * 0.1)
    assert [x.tolist() for x in seen] == [x.tolist() for x in listed]
    run = bs.run(cell, 20.0, 0.1, 900.0, dict(s=True), start=LATE[1] * 0.1, chunk=5.0, progress=False)
    assert run["s"].numpy()[0].tolist() == spikes.numpy()[0].tolist()
    np.testing.assert_array_equal(run["s"].raster(), early.raster())


def test_spikes_on_their_way_and_draws_pass_the_sign_bit(x32):
    """Across step 2^31 a run with delays does what it does at first, and random numbers are new ones."""
    cell = bs.Population(20, bs.LIF(), dict(exc=bs.ExpCurrent()))
    link = lambda delay: bs.Projection("E", "E.exc", bs.FixedProbability(0.3, 50.0), delay)
    net = bs.Network(dict(E=cell), [link(0.7), link(bs.Uniform(0.3, 1.2))], key=jax.random.key(0))
    inputs = dict(E=np.linspace(500.0, 900.0, 20))
    run = lambda k, t=20.0, **state: bs.simulate(net, t, 0.1, inputs, dict(s=["E"]), **state)["s"]["E"]
    at_first, across = run(0), bs.simulate(net, 20.0, 0.1, inputs, dict(s=["E"]), start=(2**31 - 100) * 0.1)
    assert at_first.sum() > 30
    np.testing.assert_array_equal(across["s"]["E"], at_first)

    drive = bs.Poisson(5000.0, key=jax.random.key(1))
    noisy = bs.Population(50, bs.LIF(v_th=1e9), dict(exc=bs.DeltaCurrent()), noise=dict(v=1.0))
    seen = []
    for k in (0, 2**31 - 5, 2**31, 2**32 - 20):
        at = bs.simulate(noisy, 1.0, 0.1, dict(exc=drive), dict(v="v"), start=k * 0.1, key=jax.random.key(2))
        seen.append(np.asarray(at["v"]))
    np.testing.assert_allclose(seen[1][5:] - seen[1][4], seen[2][:5] + 70.0, atol=2.0)  # the same draws, another start
    assert len({x.tobytes() for x in seen}) == 4


def test_a_run_ends_before_the_last_step_that_can_be_counted():
    with pytest.raises(ValueError, match=r"counted up to 4,294,967,294, but the run would reach step 4,294,967,305"):
        bs.simulate(driven(), 2.0, 0.1, start=(2**32 - 11) * 0.1)
    for start, message in (
        (0.05, "not a whole number of steps"),
        (-0.1, "not be before 0"),
        (np.nan, "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            bs.simulate(driven(), 2.0, 0.1, start=start)
