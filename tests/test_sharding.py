"""A batch in parts on several devices: values and derivatives are those of one device, and no part is ever gathered.

By `jax.shard_map` with its default checks, and by automatic sharding.
"""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from rows import rows
from tolerances import assert_close

import brainsim as bs
from brainsim import _compat
from brainsim.ops._blocks import Place

MESH = lambda: jax.make_mesh((2,), ("part",), axis_types=(AxisType.Auto,))


def place(spec):
    return NamedSharding(MESH(), spec)


def compiled(f, specs, *args):
    """What automatic sharding makes of `f(*args)`, of operands so placed; the program must not gather anything."""
    args = [jax.device_put(x, jax.tree.map(place, spec)) for x, spec in zip(args, specs, strict=True)]
    program = jax.jit(f).lower(*args).compile()
    assert not re.findall(r"= .* (?:all-gather|all-to-all|collective-permute)(?:-start)?\(", program.as_text())
    return program(*args)


# ---- every primitive


def cases():
    """By name: operands with two of each batch axis, and parameters."""
    rng = np.random.default_rng(0)
    x = lambda *shape: rng.normal(size=shape) * (rng.random(shape) < 0.7)
    spikes, values, weight, history = (lambda s=s: x(2, *s) for s in ((2, 4), (2, 3), (6,), (2, 3, 4)))
    rows = np.array([0, 2, 1, 0, 1, 2], np.int32), np.array([0, 2, 3, 5, 6], np.int32)
    late = rows[0], np.array([[0, 1, 2], [2, 2, 3], [3, 4, 5], [5, 6, 6]], np.int32), np.array([1, 3], np.int32)
    late = *late, np.full((2, 2), 5, np.int32)  # and k
    hints, mask = np.zeros((2, 2, 3, 0), np.int32), np.zeros((2, 2, 0, 4), bool)
    narrow = lambda x: (x.astype(np.float32), jnp.asarray(weight(), jnp.bfloat16), *rows)
    pixels = bs.ops.ConvolutionShape(image=(2, 2, 1), kernel=(2, 2, 1), padding=((1, 0), (1, 0)))
    pattern = bs.ops.ProceduralPattern(4, 3, "different", domain=3, degree=2, most=2)
    seed, none = np.array([1, 2], np.uint32), np.zeros(0, np.uint32)
    drawn, sent = dict(pattern=pattern, noise="none"), dict(pattern=pattern, noise="none", least=1, stride=1)
    ring, k, fired = x(2, 3, 3), np.int32(7), np.array([[0, 1, 1, 0], [1, 0, 0, 1.0]])
    table = {
        "spike": ((x(2, 3), x(2, 3)), {}),
        "exponential_step": ((x(2, 300), x(2, 300), x(2, 300)), {}),
        "csr_scatter": ((spikes(), weight(), *rows), dict(n_out=3)),
        "csr_gather": ((values(), weight(), *rows), dict(n_out=4)),
        "csr_outer": ((spikes(), values(), *rows), {}),
        "csr_scatter_narrow": (narrow(spikes()), dict(n_out=3)),
        "csr_gather_narrow": (narrow(values()), dict(n_out=4)),
        "csr_through": ((spikes(), *[weight()] * 2, *rows), dict(n_out=3, masked=False)),
        "csr_accumulate": ((weight(), spikes(), values(), *rows), {}),
        "dense_scatter": ((spikes(), x(2, 4, 3)), {}),
        "convolution_scatter": ((spikes(), x(2, 2, 2, 1, 1)), dict(shape=pixels)),
        "fan_out_scatter": ((spikes(), x(2, 4, 2), np.array([[0, 1], [2, 0], [1, 1], [2, 2]], "i4")), dict(n_out=3)),
        "arrivals_add": ((values(), history(), hints, mask, weight(), *late), {}),
        "arrivals_gather": ((values(), weight(), *late), dict(n_rows=3)),
        "arrivals_outer": ((history(), hints, values(), *late), {}),
        "arrivals_collect": ((history(), values(), mask, weight(), *late), {}),
        "arrivals_through": ((values(), history(), hints, mask, weight(), history(), weight(), *late), {}),
        "arrivals_accumulate": ((weight(), history(), hints, values(), *late), {}),
        "compact": ((fired,), dict(size=3)),
        "append_events": ((np.zeros((2, 6, 2), np.int32), fired, np.array([3, 4], np.int32)), {}),
        "at_spikes": ((fired, x(2, 4), x(1), k), dict(n_arrays=1, parts=(), timed=0)),
        "blocks": ((*rows, x(6), x(2, 3), x(2, 4)), dict(places=(Place(0, 0, 0, 0, 3, True),), n_targets=1)),
        "procedural_scatter": ((x(2, 4), seed, none), drawn),
        "procedural_gather": ((x(2, 3, 1), seed, none), drawn),
        "procedural_send": ((ring, x(2, 4, 1), seed, none, none, k), sent),
        "procedural_collect": ((ring, seed, none, none, k), sent),
        "counts": ((np.array([[1, 2], [3, 4]], np.uint32), np.array([[5], [6]], np.uint32), 1 + x(2, 1)),
                   dict(n=40, process="poisson")),
    }  # fmt: skip
    return {f"brainsim_{name}": (jax.tree.map(_compat.as_jax, args), params) for name, (args, params) in table.items()}


def products(letter):
    """Every primitive: its results for operands by its name; and where these lie if the axis `letter` is split."""
    table, given, calls, specs = cases(), {}, {}, {}
    for primitive, axes in _compat.primitives().items():
        operands, params = table[primitive.name]
        names, _ = axes(*operands, **params)
        letters = "".join(names)
        split = letter if letter in letters and "g" in letters else letters[0]
        spec = lambda names, split=split: tuple(P(*("part" if x == split else None for x in n)) for n in names)
        given[primitive.name], specs[primitive.name] = operands, spec(names)
        calls[primitive.name] = lambda *x, f=primitive, params=params: jax.tree.leaves(f.bind(*x, **params))
    return given, lambda given: {name: f(*given[name]) for name, f in calls.items()}, specs


def derivatives(f, given):
    """Of a smooth function of the results: its value, its gradient, its change along the operands; and the results."""
    floats, rest = eqx.partition(given, eqx.is_inexact_array)

    def scalar(floats):
        out = f(eqx.combine(floats, rest))
        smooth = [jnp.tanh(x.astype(jnp.float64)).sum() for x in jax.tree.leaves(out) if eqx.is_inexact_array(x)]
        return sum(smooth), out

    (value, out), gradient = jax.value_and_grad(scalar, has_aux=True)(floats)
    return value, gradient, jax.jvp(lambda x: scalar(x)[0], (floats,), (floats,))[1], out


def test_no_primitive_is_forgotten():
    assert {p.name for p in _compat.primitives()} == set(cases())


@pytest.mark.parametrize("letter", rows("bg", long="g"))
def test_every_primitive_by_automatic_sharding(letter, x64):
    given, f, specs = products(letter)
    got = compiled(lambda given: derivatives(f, given), [specs], given)
    assert_close(got, jax.jit(lambda given: derivatives(f, given))(given))


def test_every_primitive_by_shard_map(x64):
    """Each device applies it to its part of the operands; the gradient of what is common to them is the sum."""
    given, f, specs = products("b")
    whole = jax.tree.map(lambda x, spec: "part" not in spec, given, specs)

    def by_hand(given):
        half = lambda i: lambda x, spec, w: x if w else jnp.split(x, 2, axis=list(spec).index("part"))[i]
        return [f(jax.tree.map(half(i), given, specs, whole)) for i in range(2)]

    value, gradient, change, parts = jax.jit(lambda given: derivatives(by_hand, given))(given)

    def on_devices(given):
        mapped = jax.shard_map(lambda x: jax.tree.map(lambda y: y[None], f(x)), mesh=MESH(), in_specs=(specs,),
                               out_specs=P("part"))  # fmt: skip
        return mapped(given)

    got = jax.jit(lambda given: derivatives(on_devices, given))(given)
    assert_close(got, (value, gradient, change, jax.tree.map(lambda *x: jnp.stack(x), *parts)))


# ---- training steps


TRIALS = 4
weights = lambda *shape: 90.0 * (1 + np.arange(np.prod(shape)).reshape(shape) % 5)
cell = lambda: bs.LIF(tau=10.0, surrogate=bs.Triangle(beta=0.2, area=0.2))


def recurrent():
    """One population, a weight for each synapse, one delay and several."""
    rows = dict(indices=np.arange(24) % 8, indptr=np.arange(9) * 3, n_pre=8, n_post=8)
    pre, post = np.arange(24) % 8, np.arange(24) // 3
    late = bs.DelayedCSR.from_coo(pre, post, weights(24), 0.1 + 0.1 * (np.arange(24) % 3), 8, 8)
    wiring = [bs.Projection("E", "E.exc", bs.CSR(weights(24), **rows), delay=0.2), bs.Projection("E", "E.exc", late)]
    return bs.Network(dict(E=bs.Population(8, cell(), dict(exc=bs.ExpCurrent(tau=5.0)))), wiring)


def every_layout():
    """Two populations, and synapses of each kind between them."""
    receptors = dict(exc=bs.ExpCurrent(tau=5.0))
    cells = dict(E=bs.Population(8, cell(), receptors), R=bs.Population(9, cell(), receptors, noise=dict(v=0.1)))
    drawn = bs.Procedural(bs.FixedOutDegree(2, weight=bs.Uniform(50.0, 200.0)))
    single = bs.CSR(90.0, (np.arange(9) + 1) % 9, np.arange(10), 9, 9)
    wiring = [
        bs.Projection("E", "R.exc", bs.Dense(weights(8, 9)), delay=0.1),
        bs.Projection("R", "E.exc", bs.FanOut(weights(9, 2), np.arange(18).reshape(9, 2) % 8, 8), delay=0.1),
        bs.Projection("R", "E.exc", bs.Convolution(weights(2, 2, 1, 2), image=(3, 3)), delay=0.1),
        bs.Projection("R", "R.exc", drawn, delay=0.1),
        bs.Projection("E", "R.exc", drawn, delay=bs.Uniform(0.1, 0.4)),
        bs.Projection("R", "R.exc", bs.LearnableDelays(single, delay=0.25, max_delay=0.4)),
    ]
    return bs.Network(cells, wiring, key=jax.random.key(0))


def trained(net, over=None):
    """A loss of parameters, currents and keys, its gradient in the first two, and its change along the first.

    The loss is a mean over trials, and `over` devices, if they have a part of these each.
    """
    params, rest = eqx.partition(net, eqx.is_inexact_array)

    def loss(params, currents, keys):
        def trial(current, key):
            keys = dict(zip(net.populations, jax.random.split(key), strict=False))
            events = {f"{name}.exc": bs.Poisson(3000.0, weight=500.0, key=key) for name, key in keys.items()}
            inputs = {"E": current, **events}
            whole = eqx.combine(params, rest)
            run = bs.simulate(whole, 4.0, dt=0.1, inputs=inputs, record=dict(spikes=True), key=key)
            v = run.state.node.populations["E"].neuron
            return sum(jnp.sum(jnp.tanh(x.sum(axis=0))) for x in jax.tree.leaves((run.spikes, v)))

        mean = jax.vmap(trial)(currents, keys).mean()
        return mean if over is None else jax.lax.pmean(mean, over)

    def step(params, currents, keys):
        change = jax.jvp(lambda params: loss(params, currents, keys), (params,), (params,))[1]
        return *jax.value_and_grad(loss, (0, 1))(params, currents, keys), change

    return step, params


@pytest.mark.parametrize("network", [recurrent, pytest.param(every_layout, marks=pytest.mark.slow)])
def test_a_training_step(network, x64):
    """All devices have the parameters, and each a part of the trials."""
    net = network()
    step, params = trained(net)
    batch = jnp.linspace(900.0, 1500.0, TRIALS * 8).reshape(TRIALS, 8), jax.random.split(jax.random.key(1), TRIALS)
    expected = jax.jit(step)(params, *batch)
    assert all(jnp.any(x != 0) for x in jax.tree.leaves(expected[1][0].projections))
    assert_close(compiled(step, [P(), P("part"), P("part")], params, *batch), expected, chaotic=True)
    mapped = jax.shard_map(
        trained(net, over="part")[0],
        mesh=MESH(),
        in_specs=(P(), P("part"), P("part")),
        out_specs=(P(), (P(), P("part")), P()),
    )
    assert_close(jax.jit(mapped)(params, *batch), expected, chaotic=True)


@pytest.mark.slow
def test_runs_that_are_not_differentiated(x64):
    """They have operators of their own: populations that are alike are one, and lists of spikes grow in place."""
    cells = dict.fromkeys("AB", bs.Population(300, bs.HHTraub(), dict(exc=bs.ExpConductance(tau=5.0, e_rev=0.0))))
    row = lambda w: bs.CSR(w, np.arange(300)[::-1].copy(), np.arange(301), 300, 300)
    wiring = [bs.Projection(*ends, row(w), delay=0.1) for ends, w in ((("A", "B.exc"), 50.0), (("B", "A.exc"), 40.0))]
    net = bs.Network(cells, wiring)
    record = dict(spikes=bs.Record(["A", "B"], events=2000))

    def trial(current):
        run = bs.simulate(net, 3.0, dt=0.1, inputs=dict(A=current), record=record)
        return run.spikes["A"].steps, run.spikes["B"].neurons, run.state.node.populations["A"].neuron.v

    currents = jnp.linspace(3000.0, 9000.0, 4)
    expected = jax.jit(jax.vmap(trial))(currents)
    assert jnp.any(expected[0] > 0)
    assert_close(compiled(jax.vmap(trial), [P("part")], currents), expected, chaotic=True)
    mapped = jax.shard_map(jax.vmap(trial), mesh=MESH(), in_specs=P("part"), out_specs=P("part"))
    assert_close(jax.jit(mapped)(currents), expected, chaotic=True)


def test_loops_under_shard_map(x64):
    """What sums over time starts at zero on every device, and goes on with values that differ."""
    raster = jnp.arange(12).reshape(6, 2) % 3 == 0
    chance = lambda rate: bs.Poisson(rate[0], key=jax.random.key(0)).log_prob(5, dt=0.1, n=2)
    for f, x in (
        (lambda x: bs.rate(x.T, 0.1), raster.T),
        (jax.grad(lambda rate: chance(rate).sum()), jnp.arange(1.0, 3)),
    ):
        mapped = jax.shard_map(f, mesh=MESH(), in_specs=P("part"), out_specs=P("part"))
        assert_close(jax.jit(mapped)(x), jnp.concatenate([jax.jit(f)(part) for part in jnp.split(x, 2)]))
