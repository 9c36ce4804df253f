"""The runner: recording, inputs, continuation, checkpointing, transformations; and what it says to bad input."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import rows
from tolerances import assert_close

import brainsim as bs

CURRENT = np.array([500.0, 700.0, 900.0])


def cells(**kwargs):
    return bs.Population(3, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)), **kwargs)


def test_every_and_index_are_slices_of_the_full_record(x64):
    record = dict(
        v="v",
        v7=bs.Record("v", every=7),
        v14=bs.Record("v", every=14, index=[2, 0]),
        i=bs.Record("exc.i", index=slice(1, None)),
        total=bs.Record(lambda s: s.neuron.v.sum(), every=7),
        spikes=True,
    )
    run = bs.simulate(cells(), 10.3, 0.1, CURRENT, record)  # 103 steps: 7 and 14 leave a rest
    v = np.asarray(run["v"])
    assert v.shape == (103, 3) and run.spikes.shape == (103, 3)
    np.testing.assert_array_equal(run["v7"], v[6::7])
    np.testing.assert_array_equal(run["v14"], v[13::14][:, [2, 0]])
    np.testing.assert_allclose(run["total"], v[6::7].sum(1), rtol=1e-14)
    assert run["i"].shape == (103, 2)
    np.testing.assert_allclose(run.times("v14"), 1.4 * np.arange(1, 8))


@pytest.mark.parametrize("steps, every, checkpoint", [(970, 1, (1000, 50)), (700, 1, [1000, 500]), (970, 10, [50, 25])])
def test_lists_of_checkpoints_run_every_step(steps, every, checkpoint, x64):
    """Also where they are longer than the run, or no multiples of the recording interval."""
    record = dict(v=bs.Record("v", every=every))
    run = lambda **kwargs: bs.simulate(cells(), steps * 0.1, 0.1, 600.0, record, **kwargs)
    got, expected = run(checkpoint=checkpoint), run()
    assert int(got.state.k) == steps
    np.testing.assert_array_equal(got["v"], expected["v"])


@pytest.mark.parametrize("checkpoint", rows([1, 3, 10, 100, 1000], long={1, 10, 1000}))
def test_checkpointing_changes_nothing(checkpoint, x64):
    """Also for a number of steps with a rest: values to the bit, gradients to rounding."""

    def run(current, checkpoint):
        return bs.simulate(cells(), 10.1, 0.1, current, dict(v="v", spikes=True), checkpoint=checkpoint)

    current = jnp.asarray(CURRENT)
    loss = lambda c, n: (run(c, n)["v"] ** 2).mean() + run(c, n).spikes.sum()
    np.testing.assert_array_equal(run(current, checkpoint)["v"], run(current, None)["v"])
    assert_close(jax.grad(loss)(current, checkpoint), jax.grad(loss)(current, None), chaotic=True)


def test_kinds_of_input_agree(x64):
    run = lambda current: bs.simulate(cells(), 5.0, 0.1, current, dict(v="v"))["v"]
    expected = run(600.0)
    rows = np.full((50, 1), 600.0)
    for current in (
        np.full(3, 600.0),
        rows,
        np.broadcast_to(rows, (50, 3)),
        lambda t: 600.0 + 0 * t,
        dict(current=600.0),
    ):
        assert_close(run(current), expected)


def test_a_function_of_time_is_evaluated_where_the_solver_asks(x64):
    """A fifth-order solver keeps its order for a current that varies within the step."""
    cell = bs.Population(1, bs.LIF())
    current = lambda t: 300.0 * jnp.sin(2 * jnp.pi * t / 7.0)
    end = lambda dt: float(bs.simulate(cell, 8.0, dt, current, dict(v="v"), solver=diffrax.Tsit5())["v"][-1, 0])
    errors = [abs(end(dt) - end(0.01)) for dt in (0.8, 0.4)]
    assert errors[0] / errors[1] > 2**4.3


def test_events_of_several_sources_add_up(x64):
    events = np.zeros((40, 3))
    events[9] = 100.0
    twice = bs.simulate(cells(), 4.0, 0.1, dict(exc=2 * events), dict(v="v"))["v"]
    other = bs.Population(1, bs.LIF(v_th=-69.5, t_ref=50.0))
    net = bs.Network(
        dict(other=other, cells=cells()), [bs.Projection("other", "cells.exc", bs.Full(100.0, 1, 3), delay=0.5)]
    )
    kick = np.zeros((40, 1))
    kick[4] = 1e5  # a spike stamped 0.5, arriving at 1.0 like the events of row 9
    both = bs.simulate(net, 4.0, 0.1, {"other": kick, "cells.exc": events}, dict(v="cells.v"))["v"]
    assert_close(both, twice)


def test_spike_trains_and_poisson_inputs(x64):
    train = bs.SpikeTrain([1.0, 1.04, 2.5], weight=100.0)
    rows = np.zeros((40, 1))
    rows[9] = rows[10] = rows[24] = 100.0
    run = lambda events: bs.simulate(cells(), 4.0, 0.1, dict(exc=events), dict(v="v"))["v"]
    assert_close(run(train), run(rows))
    drive = bs.Poisson(rate=5000.0, weight=2.0, key=jax.random.key(1))
    cell = bs.Population(1000, bs.LIF(v_th=1e3), dict(exc=bs.ExpCurrent(tau=2.0)))
    i = np.asarray(bs.simulate(cell, 100.0, 0.1, dict(exc=drive), dict(i="exc.i"))["i"])[200:]
    # Campbell: mean rate * weight * tau; at the end of a step of dt, tau becomes dt / (1 - exp(-dt / tau)).
    assert i.mean() == pytest.approx(5.0 * 2.0 * 0.1 / (1 - np.exp(-0.05)), rel=0.01)
    assert i.var() == pytest.approx(0.5 * 2.0**2 / (1 - np.exp(-0.1)), rel=0.02)


def test_poisson_draws_do_not_depend_on_the_number_of_neurons(x64):
    drive = bs.Poisson(rate=5000.0, key=jax.random.key(1))
    few, many = drive.at(jnp.int32(7), 0.1, 10), drive.at(jnp.int32(7), 0.1, 1000)
    np.testing.assert_array_equal(few, many[:10])


def test_vmap_jit_and_grad_compose(x64):
    def rate(current):
        spikes = bs.simulate(cells(), 50.0, 0.1, current, dict(spikes=True)).spikes
        return bs.rate(spikes, 0.1).mean()

    currents = jnp.array([450.0, 600.0, 800.0])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(rate)))(currents)
    assert np.all(np.diff(values) > 0) and np.all(slopes > 0)
    np.testing.assert_allclose(values, [rate(c) for c in currents])


def test_repeated_calls_do_not_retrace(x64):
    traces = []

    class Counted(bs.AbstractSurrogate):
        beta: bs.Param = bs.param(1.0)

        def derivative(self, x):
            traces.append(1)
            return jnp.exp(-jnp.abs(x) * self.beta)

    for tau in (10.0, 12.0, 14.0):
        bs.simulate(bs.Population(1, bs.LIF(tau=tau, surrogate=Counted())), 5.0, 0.1, 500.0)
        if tau == 10.0:
            first = len(traces)
    assert len(traces) == first > 0


def test_ornstein_uhlenbeck_variance_is_exact_at_any_step(x64):
    """tau dv = -(v - v_rest) dt + ..: stationary variance sigma² tau / 2, with a step as long as tau."""
    cell = bs.Population(4000, bs.LIF(tau=5.0, v_th=1e3), noise=dict(v=2.0))
    for dt in (5.0, 0.5):
        v = np.asarray(bs.simulate(cell, 100.0, dt, record=dict(v="v"), key=jax.random.key(3))["v"])
        v = v[v.shape[0] // 2 :: max(1, round(20 / dt))]
        assert v.mean() == pytest.approx(-70.0, abs=0.1)
        assert v.var() == pytest.approx(2.0**2 * 5.0 / 2, rel=0.03)


@pytest.mark.parametrize("solver", [diffrax.Euler, diffrax.Heun, diffrax.EulerHeun])
def test_noise_with_diffrax_solvers(solver, x64):
    """Additive noise: every SDE solver follows the same Brownian path, and they agree as dt falls."""
    cell = bs.Population(50, bs.LIF(tau=10.0, v_th=1e3), noise=dict(v=1.0))
    run = lambda solver: bs.simulate(cell, 20.0, 0.02, 100.0, dict(v="v"), solver=solver, key=jax.random.key(5))["v"]
    np.testing.assert_allclose(run(solver()), run(bs.ExponentialEuler()), atol=0.02)


def test_noise_of_a_neuron_is_its_own(x64):
    run = lambda n: bs.simulate(
        bs.Population(n, bs.LIF(v_th=1e3), noise=dict(v=1.0)), 2.0, 0.1, record=dict(v="v"), key=jax.random.key(0)
    )["v"]
    np.testing.assert_array_equal(run(5), run(50)[:, :5])


def test_refractory_neurons_stand_still_under_noise_and_input(x64):
    cell = bs.Population(20, bs.LIF(t_ref=3.0), dict(d=bs.DeltaCurrent()), noise=dict(v=3.0))
    events = np.full((300, 1), 0.1)
    run = bs.simulate(cell, 30.0, 0.1, dict(current=900.0, d=events), dict(v="v", spikes=True), key=jax.random.key(0))
    v, spikes = np.asarray(run["v"]), np.asarray(run.spikes)
    steps, who = np.nonzero(spikes[:-31])
    assert len(steps) > 20
    for k, i in zip(steps, who, strict=True):
        assert np.all(v[k : k + 31, i] == -70.0) and v[k + 31, i] != -70.0


def test_exact_with_adaptation_that_flows_while_v_is_held(x64):
    """A refractory neuron whose adaptation goes on: `Exact` agrees with a Runge-Kutta method."""
    neuron = bs.neuron(
        lambda t, y, p, i: dict(v=-y["v"] / p["tau"] - y["w"] + i, w=(p["a"] * y["v"] - y["w"]) / p["tau_w"]),
        guard=lambda y, p: y["v"] - 10.0,
        reset=lambda y, p: dict(v=p["v_reset"], w=y["w"] + p["b"]),
        init=dict(v=0.0, w=0.0),
        params=dict(tau=10.0, a=0.02, tau_w=30.0, b=0.1, v_reset=-5.0),
        t_ref=4.0,
    )
    run = lambda solver: bs.simulate(bs.Population(1, neuron), 100.0, 0.1, 2.0, dict(v="v", w="w"), solver=solver)
    exact, other = run(bs.Exact()), run(diffrax.Dopri8())
    assert_close(exact.records, other.records, chaotic=True)
    assert np.asarray(exact["w"]).max() > 0.1


def test_split_network_run_is_bitwise_one_run(precision):
    """With delays longer than the first part: what is on its way arrives after the break."""
    net = bs.Network(
        dict(E=cells(), I=cells()),
        [
            bs.Projection("E", "I.exc", bs.Dense(jnp.full((3, 3), 300.0)), delay=2.5),
            bs.Projection("I", "E.exc", bs.Dense(jnp.full((3, 3), 100.0)), delay=0.1),
        ],
    )
    inputs, record = dict(E=CURRENT), dict(v="I.v", spikes=True)
    whole = bs.simulate(net, 20.0, 0.1, inputs, record)
    first = bs.simulate(net, 6.3, 0.1, inputs, record)
    second = bs.simulate(net, 13.7, 0.1, inputs, record, state=first.state)
    for a, b, c in zip(*(jax.tree.leaves(r.records) for r in (first, second, whole)), strict=True):
        np.testing.assert_array_equal(np.concatenate([a, b]), c)


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_delay_is_kept_to_the_step(steps, x64):
    """A spike in step k arrives at k + d, for several delays from one population at once."""
    source = bs.Population(1, bs.LIF(v_th=-69.5, t_ref=50.0))
    target = bs.Population(1, bs.LIF(), dict(a=bs.ExpCurrent(tau=2.0), b=bs.ExpCurrent(tau=2.0)))
    net = bs.Network(
        dict(source=source, target=target),
        dict(
            varied=bs.Projection("source", "target.a", bs.OneToOne(weight=1.0), delay=0.1 * steps),
            fixed=bs.Projection("source", "target.b", bs.OneToOne(weight=1.0), delay=1.1),
        ),
        key=jax.random.key(0),
    )
    kick = np.zeros((50, 1))
    kick[4] = 1e5
    run = bs.simulate(net, 5.0, 0.1, dict(source=kick), dict(s=["source"], a="target.a.i", b="target.b.i"))
    spike = int(np.flatnonzero(run["s"]["source"][:, 0])[0])
    assert int(np.flatnonzero(run["a"][:, 0])[0]) == spike + steps
    assert int(np.flatnonzero(run["b"][:, 0])[0]) == spike + 11


ERRORS = {
    "duration": (
        dict(duration=10.03),
        "the duration, 10.03 ms, is not a positive whole number of steps of dt = 0.1 ms",
    ),
    "negative duration": (dict(duration=-1.0), "the duration must be positive and finite, got -1 ms"),
    "negative dt": (dict(dt=-0.1), "dt must be positive and finite, got -0.1 ms"),
    "unknown input": (dict(inputs=dict(inh=1.0)), "input to unknown 'inh'; available: current, exc"),
    "shape of an input": (dict(inputs=np.zeros(7)), r"input 'current' must be a number or have shape \(3,\)"),
    "events as a function": (dict(inputs=dict(exc=lambda t: t)), "input 'exc' takes events per step"),
    "unknown variable": (dict(record=dict(x="w")), "record 'x': no state variable 'w'; available: v, exc.i"),
    "unknown population": (dict(record=dict(x=["E"])), "record 'x': no population 'E'; available: "),
    "no record": (dict(record=dict(x=3)), "record 'x': expected populations, the name of a variable or a function"),
    "index": (dict(record=dict(x=bs.Record("v", index=[3]))), "record 'x': neuron 3 is out of range for 3 neurons"),
    "every": (dict(record=dict(a=bs.Record("v", every=2), b=bs.Record("v", every=3))), "multiples of one another"),
    "too long": (dict(record=dict(a=bs.Record("v", every=200))), "nothing would be recorded: every = 200"),
    "checkpoint": (dict(checkpoint=0), "checkpoint, in steps, must be a whole number, at least 1, got 0"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input(case, x64):
    kwargs, message = ERRORS[case]
    with pytest.raises(ValueError, match=message) as e:
        bs.simulate(cells(), **{**dict(duration=10.0, dt=0.1), **kwargs})
    assert "\n" not in str(e.value)


BUILD_ERRORS = {
    "no neurons": (lambda: bs.Population(0, bs.LIF()), "n of a population must be a whole number, at least 1, got 0"),
    "parameters per neuron": (
        lambda: bs.Population(3, bs.LIF(tau=np.ones(4))),
        r"scalars or have shape \(3,\), but tau of the neuron has shape \(4,\)",
    ),
    "initial": (lambda: cells(initial=dict(w=1.0)), "initial names 'w', which is not a variable .* available: v"),
    "noise": (
        lambda: cells(noise=dict(v=np.ones(2))),
        r"noise\['v'\] must be a scalar or have shape \(3,\), got \(2,\)",
    ),
    "key": (lambda: bs.simulate(cells(noise=dict(v=1.0)), 1.0, 0.1), "needs a key"),
    "receptor": (lambda: bs.Population(1, bs.LIF(), dict(exc=3)), "receptor 'exc' must be a receptor"),
    "held": (
        lambda: bs.neuron(lambda t, y, p, i: y, guard=lambda y, p: y["x"], init=dict(x=0.0), params={}, held=("v",)),
        "held variable 'v' is not a state variable; available: x",
    ),
    "flow": (
        lambda: bs.neuron(lambda t, y, p, i: dict(u=y["v"]), guard=lambda y, p: y["v"], init=dict(v=0.0), params={}),
        "flow must return",
    ),
    "quantity": (
        lambda: bs.LIF(tau=WrongUnit()),
        "LIF: tau must have a unit that can be expressed in 'ms', got a mass",
    ),
    "text": (lambda: bs.LIF(tau="ten"), "LIF: tau must be a number or an array in ms, got 'ten'"),
}


class WrongUnit:
    """A quantity, by duck, that cannot be a time."""

    units = "kg"

    def __repr__(self):
        return "a mass"

    def to(self, unit):
        raise TypeError("a mass is not a time")


@pytest.mark.parametrize("case", BUILD_ERRORS)
def test_bad_models(case, x64):
    make, message = BUILD_ERRORS[case]
    with pytest.raises(ValueError, match=message) as e:
        make()
    assert "\n" not in str(e.value)


def test_quantities_are_converted_at_the_door(x64):
    class Seconds:
        """What pint, astropy and quantities have in common."""

        units = "s"

        def __init__(self, value):
            self.magnitude = value

        def to(self, unit):
            assert unit == "ms"
            return Seconds(1e3 * self.magnitude)

    neuron = bs.LIF(tau=Seconds(0.02))
    assert float(neuron.tau) == pytest.approx(20.0)
    assert bs.units(neuron)["tau"] == "ms" and bs.docs(neuron)["tau"] == "membrane time constant"
    assert eqx.filter_grad(lambda m: m.tau**2)(neuron).tau == pytest.approx(40.0)


def test_alike_neurons_share_a_propagator(x64):
    """And those whose parameters differ do not."""
    receptors = dict(exc=bs.ExpCurrent(tau=5.0))
    sizes = lambda cell: {x.shape for x in jax.tree.leaves(bs.Population(7, cell, receptors).prepare(None, dt=0.1))}
    assert sizes(bs.LIF()) == {(1,)}
    assert sizes(bs.LIF(tau=jnp.linspace(5.0, 20.0, 7))) == {(7,)}
