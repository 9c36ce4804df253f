"""A network that is run inside of `jit`, `vmap` or `grad`: as fast as outside, and the same results and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import apart
from rows import rows
from test_together import DT, INPUTS, NETWORKS, assert_same, run
from tolerances import assert_close

import brainsim as bs
from brainsim import _simulate

WEIGHTS = ["E->E.exc.connect.weight", "E->I.exc.connect.weight"]


def rate(weight, net, inputs=None, gain=None):
    """The spikes of E, and a smooth function of the voltages, so that derivatives see both."""
    net = bs.with_params(net, dict.fromkeys(WEIGHTS, weight))
    total = lambda s: s.populations["E"].neuron.v.sum() * (1.0 if gain is None else gain)
    out = bs.simulate(net, 10.0, DT, inputs or dict(E=200.0, I=180.0), dict(spikes=["E"], total=total),
                      key=jax.random.key(1))  # fmt: skip
    return out.spikes["E"].sum() + 1e-3 * out["total"].sum()


def program(fn, *args):
    return str(jax.make_jaxpr(fn)(*args))


def test_jitted_runs_step_groups(x64):
    net = NETWORKS["alike"]()
    assert_same(jax.jit(lambda: run(net, INPUTS["numbers"]()))(), run(net, INPUTS["numbers"]()))
    text = program(lambda w: rate(w, net), 2.0)
    assert text.count("brainsim_blocks[") == 1 and "csr_scatter" not in text


def test_parameters_that_are_traced(x64):
    """Populations with one and the same traced parameter are alike, those with two are not."""
    net, alone = NETWORKS["alike"](), NETWORKS["noise"]()

    def go(net, tau_e, tau_i):
        net = bs.with_params(net, {"E.neuron.tau": tau_e, "I.neuron.tau": tau_i})
        return bs.simulate(net, 10.0, DT, dict(E=200.0, I=180.0), dict(spikes=["E", "I"], v="I.v"),
                           key=jax.random.key(1)).records  # fmt: skip

    steps = lambda fn, *args: program(fn, *args).count("brainsim_exponential_step ")
    tau = jnp.asarray(18.0)
    assert steps(lambda x: go(net, x, x), tau) == 1
    assert steps(lambda x, y: go(net, x, y), tau, tau) == steps(lambda x: go(alone, x, x), tau) == 2
    for one in (lambda x: go(net, x, x), lambda x: go(net, x, x + 2), lambda x: go(net, 20.0, x)):
        assert_close(jax.jit(one)(tau), apart(one)(tau), chaotic=True)


@pytest.mark.parametrize(
    "name", rows(["alike", "one weight per synapse", "delays of single synapses"], long={"one weight per synapse"})
)
def test_batches_are_their_runs(name, x64):
    """Over initial states: spikes, rasters, traces and final states are those of one run after the other."""
    net, inputs = NETWORKS[name](), INPUTS["numbers"]()
    starts = [bs.simulate(net, 1.0, DT, key=jax.random.key(i)).state for i in range(3)]
    together = jax.jit(jax.vmap(lambda s: run(net, inputs, s)))(jax.tree.map(lambda *x: jnp.stack(x), *starts))
    for i, start in enumerate(starts):
        assert_same(jax.tree.map(lambda x: x[i], together), run(net, inputs, start))  # noqa: B023


def test_a_batch_is_one_call(x32):
    net = NETWORKS["alike"]()
    weights = jnp.linspace(1.0, 4.0, 3)
    many = jax.vmap(lambda w: rate(w, net))
    text = program(many, weights)
    assert text.count("brainsim_blocks[") == 1 and "csr_scatter" not in text
    assert_close(many(weights), jnp.stack([rate(w, net) for w in weights]), chaotic=True)


@pytest.mark.slow
def test_derivatives_are_those_of_populations_apart(x64):
    """Whatever is taken of a traced run; and the value beside a gradient is the same."""
    net, w = NETWORKS["compact surrogate"](), jnp.asarray(2.0)
    f = lambda w: rate(w, net)
    value, slope = apart(jax.value_and_grad(f))(w)
    assert float(slope) != 0
    assert_close(jax.value_and_grad(jax.jit(f))(w), (value, slope))
    assert "brainsim_blocks" not in program(jax.grad(jax.jit(f)), w)


@pytest.mark.slow
@pytest.mark.parametrize(
    "derivative",
    [
        lambda f: jax.grad(f),
        lambda f: jax.jit(jax.grad(jax.checkpoint(f))),
        lambda f: lambda w: jax.jvp(jax.jit(f), (w,), (jnp.ones(()),))[1],
        lambda f: lambda w: jax.jacfwd(jax.vmap(f))(jnp.stack([w, w]))[1, 1],
        lambda f: lambda w: jax.vmap(jax.grad(f))(jnp.stack([w, w]))[1],
    ],
)  # fmt: skip
def test_orders_of_transformations(derivative, x64):
    net, w = NETWORKS["compact surrogate"](), jnp.asarray(2.0)
    f = lambda w: rate(w, net)
    assert_close(derivative(f)(w), apart(jax.grad(f))(w))


@pytest.mark.slow
def test_the_fast_program_has_the_same_derivative(x64, monkeypatch):
    """JAX may forget that there are two programs."""
    net, w = NETWORKS["compact surrogate"](), jnp.asarray(2.0)
    f = lambda w: rate(w, net)
    slope = apart(jax.grad(f))(w)
    monkeypatch.setattr(_simulate, "unless_differentiated", lambda fast, plain, *args: fast(*args))
    assert "brainsim_blocks" in program(jax.jit(f), w)
    assert_close(jax.grad(f)(w), slope)


@pytest.mark.slow
def test_second_derivatives(x64):
    net, w = NETWORKS["compact surrogate"](), jnp.asarray(2.0)
    f = lambda w: rate(w, net)
    assert_close(jax.hessian(jax.jit(f))(w), apart(jax.hessian(f))(w))


@pytest.mark.parametrize("held", rows(["an input", "a record"], long={"an input"}))
def test_functions_that_hold_what_is_traced(held, x64):
    """A function of the user's may use a value that is being differentiated, which nobody handed over."""
    net = NETWORKS["alike"]()

    def f(x):
        if held == "an input":
            return rate(2.0, net, dict(E=lambda t: 200.0 + x * jnp.sin(t), I=180.0))
        return rate(2.0, net, gain=x)

    x = jnp.asarray(1.5)
    value, slope = apart(jax.value_and_grad(f))(x)
    assert float(slope) != 0
    assert_close(jax.value_and_grad(jax.jit(f))(x), (value, slope))
    assert_close(jax.jit(jax.vmap(f))(jnp.stack([x, x])), jnp.stack([value, value]))


@pytest.mark.slow
def test_integers_and_keys_pass_through(x32):
    """What has no derivative stands beside what has one."""
    net = NETWORKS["noise"]()

    def f(w, seed):
        moved = bs.with_params(net, dict.fromkeys(WEIGHTS, w))
        out = bs.simulate(moved, 5.0, DT, dict(E=300.0, I=200.0), dict(spikes=bs.Record(["E"], events=500), v="E.v"),
                          key=jax.random.key(seed))  # fmt: skip
        return out["v"].mean(), out.spikes["E"].count

    (value, count), slope = jax.jit(jax.value_and_grad(f, has_aux=True))(2.0, 3)
    assert_close((value, count), f(2.0, 3))
    assert np.isfinite(slope) and slope != 0


def cells(spread):
    """Cells whose voltages start at random, and what they start from."""
    return bs.Population(50, bs.LIF(), initial=dict(v=lambda key, n: -65.0 + spread * jax.random.normal(key, (n,))))


def test_initial_values_are_drawn_before_a_program_is_made(x32):
    """Where nothing that is being traced has to do with them; and they are the same ones in any case."""
    net = bs.Network(dict(E=cells(2.0), I=cells(3.0)))
    start = lambda key: bs.simulate(net, DT, DT, key=key, record=dict(v="E.v", w="I.v")).records
    key = jax.random.key(5)
    expected = start(key)
    for one in (jax.jit(lambda: start(key)), lambda: jax.jit(start)(key), lambda: jax.jit(jax.vmap(start))(key[None])):
        assert_close(jax.tree.map(lambda x: x.reshape(1, 50), one()), expected)
    assert "random_bits" not in program(lambda: start(key))
    assert "random_bits" in program(start, key)


def test_initial_values_may_be_differentiated(x64):
    """A function that draws them may hold what is being traced."""
    key = jax.random.key(5)
    drawn = jax.random.normal(jax.random.fold_in(jax.random.split(key)[1], 0), (50,))
    first = lambda spread: cells(spread).init(dt=DT, key=key).neuron.v.sum()
    for f in (first, jax.jit(first)):
        assert_close(jax.grad(f)(2.0), drawn.sum())
    assert_close(jax.jit(jax.vmap(first))(jnp.asarray([1.0, 2.0])), jnp.stack([first(1.0), first(2.0)]))
