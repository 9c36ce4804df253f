"""A network stepped in groups is the network stepped population by population."""

import functools as ft

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import needs
import numpy as np
import pytest
from programs import apart
from rows import rows
from tolerances import assert_close

import brainsim as bs
from brainsim._compat import as_jax
from brainsim._simulate import named_inputs, started
from brainsim._together import together
from brainsim.ops import _at_spikes, _blocks
from brainsim.ops._at_spikes import at_spikes
from brainsim.ops._blocks import Place, deliver_blocks

DT = 0.1


def cell(**change):
    return bs.LIF(**(dict(tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=1.0) | change))


def population(n, neuron=None, **more):
    receptors = dict(exc=bs.ExpConductance(tau=5.0, e_rev=0.0), inh=bs.ExpConductance(tau=10.0, e_rev=-80.0))
    start = lambda key, n: jax.random.uniform(key, (n,), minval=-60.0, maxval=-50.0)
    return bs.Population(n, neuron or cell(), receptors, initial=dict(v=start), **more)


def wired(populations, delay=0.1, weights=(2.0, 2.0, -1.0, 30.0), extra=()):
    """E excites, I inhibits; of the weights, a list is one for each synapse."""
    projections = []
    ends = [("E", "E.exc"), ("E", "I.exc"), ("I", "E.inh"), ("I", "I.inh")]
    for weight, (pre, post) in zip(weights, ends, strict=True):
        weight = abs(weight) if isinstance(weight, float) else weight
        late = delay[pre] if isinstance(delay, dict) else delay
        projections.append(bs.Projection(pre, post, bs.FixedProbability(0.2, weight=weight), delay=late))
    return bs.Network(populations, [*projections, *extra], key=jax.random.key(0))


def alike(**more):
    return dict(E=population(60), I=population(25, **more))


def heterogeneous():
    each = lambda n: population(n, cell(tau=jnp.linspace(15.0, 25.0, n)))
    return dict(E=each(60), I=each(25))


NETWORKS = {
    "alike": lambda: wired(alike()),
    "one weight per synapse": lambda: wired(alike(), weights=(2.0, bs.Normal(2.0, 0.5), bs.Normal(20.0, 1.0), 30.0)),
    "weights differ": lambda: wired(alike(), weights=(2.0, 3.0, 20.0, 30.0)),
    "delays differ": lambda: wired(alike(), delay=dict(E=0.3, I=0.1)),
    "longer delays": lambda: wired(alike(), delay=0.7),
    "delays of single synapses": lambda: wired(alike(), delay=bs.Uniform(0.2, 1.0)),
    "two projections to one receptor": lambda: wired(
        alike(), extra=[bs.Projection("E", "E.exc", bs.FixedProbability(0.1, weight=1.0), delay=0.1)] * 2
    ),
    "other layouts": lambda: wired(
        alike(),
        extra=[
            bs.Projection("E", "I.exc", bs.FixedOutDegree(3, weight=1.0), delay=0.1),
            bs.Projection("I", "E.inh", bs.Procedural(bs.FixedProbability(0.2, weight=2.0)), bs.Uniform(0.1, 0.4)),
        ],
    ),
    "a third population in between": lambda: wired(dict(E=population(60), X=population(7, bs.LIF()), I=population(25))),
    "nothing sent by one": lambda: wired(dict(E=population(60), X=population(7), I=population(25))),
    "noise": lambda: wired(dict(E=population(60), I=population(25, noise=dict(v=0.5)))),
    "parameters neuron by neuron": lambda: wired(heterogeneous()),
    "compact surrogate": lambda: wired(
        {name: population(n, cell(surrogate=bs.Triangle())) for name, n in dict(E=60, I=25).items()}
    ),
    "nobody connected": lambda: bs.Network(alike(), key=jax.random.key(0)),
}
INPUTS = {
    "the same": lambda: dict(E=200.0, I=200.0),
    "numbers": lambda: dict(E=200.0, I=180.0),
    "to one": lambda: {"E": 250.0, "I.exc": 0.3},
    "arrays": lambda: dict(E=jnp.linspace(150.0, 250.0, 60), I=200.0),
    "series": lambda: dict(E=jnp.linspace(0.0, 400.0, 200)[:, None], I=200.0),
    "functions": lambda: dict(E=lambda t: 200.0 + 50.0 * jnp.sin(t), I=190.0),
    "events": lambda: {"E": 150.0, "I": 150.0, "E.exc": bs.Poisson(2000.0, weight=1.0, key=jax.random.key(3))},
}


# Each takes seconds to compile: those that the others nearly cover run with the long tests.
LONG = {
    "weights differ", "longer delays", "two projections to one receptor", "a third population in between",
    "nothing sent by one", "compact surrogate", "nobody connected", "the same", "arrays", "series", "a pause for each",
    "spikes without reset", "one neuron each", "no population alike", "a whole number", "two stages", "saturating",
    "delta receptors", "noise",
    "other layouts", "one weight per synapse", "functions", "acts on nothing", "numbers",
    "parameters neuron by neuron", "never again", "reset to other values",
}  # fmt: skip


def some_slow(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in names]


def run(net, inputs, state=None):
    record = dict(
        spikes=bs.Record(list(net.populations), events=3000),
        raster=list(net.populations),
        g=bs.Record("I.exc.g", every=5, index=[0, 3]),
        total=lambda s: {name: x.neuron.v.sum() for name, x in s.populations.items()},
    )
    return bs.simulate(net, 20.0, DT, inputs, record, key=None if state else jax.random.key(1), state=state)


def assert_same(got, twin):
    assert int(twin.spikes["E"].count) > 15
    for name, spikes in twin.spikes.items():
        np.testing.assert_array_equal(got.spikes[name].numpy(), spikes.numpy())
        np.testing.assert_array_equal(got["raster"][name], twin["raster"][name])
    assert_close(got["g"], twin["g"], chaotic=True)
    assert_close(got["total"], twin["total"], chaotic=True)
    assert_close(*(jax.tree.map(_bits, x.state) for x in (got, twin)), chaotic=True)


@pytest.mark.parametrize("name", some_slow(NETWORKS))
def test_networks(name, x64):
    """Spikes, records and the final state, from the beginning and from where another run ended."""
    net, inputs = NETWORKS[name](), INPUTS["numbers"]()
    traced = apart(lambda state: run(net, inputs, state))
    first = traced(None)
    got = run(net, inputs)
    assert_same(got, first)
    assert_same(run(net, inputs, first.state), traced(first.state))


@pytest.mark.parametrize("name", some_slow(INPUTS))
def test_inputs(name, x64):
    net, inputs = NETWORKS["alike"](), INPUTS[name]()
    assert_same(run(net, inputs), apart(lambda: run(net, inputs))())


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
@pytest.mark.parametrize("traced", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["alike", "longer delays", "delays of single synapses"])
def test_populations_split_over_two_devices(name, traced, x64):
    """Each device holds half of the neurons of E, and half of what is remembered of their spikes: the same spikes."""
    net, inputs = NETWORKS[name](), INPUTS["numbers"]()
    twin = run(net, inputs)
    mesh = jax.make_mesh((2,), ("neurons",), axis_types=(jax.sharding.AxisType.Auto,))

    def place(x):
        axis = [i for i, n in enumerate(x.shape) if n == 60]
        spec = [("neurons" if [i] == axis else None) for i in range(x.ndim)]
        return jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec)))

    state = jax.tree.map(place, started(net, DT, 1, None, jax.random.key(1)))
    assert len(state.node.populations["E"].neuron.v.devices()) == 2
    go = lambda state: run(net, inputs, state)
    assert_same((jax.jit(go) if traced else go)(state), twin)


def groups(net, solver=None, inputs=None):
    inputs = named_inputs(net, inputs or {}, 10)
    return together(net, started(net, DT, 1, None, jax.random.key(0)).node, solver, inputs)(net)


@pytest.mark.parametrize("name", NETWORKS)
def test_who_is_alike(name, x32):
    expected = {
        "a third population in between": (("E", "I"), ("X",)),
        "nothing sent by one": (("E", "I"), ("X",)),  # to which nothing is sent either
        "noise": (("E",), ("I",)),
    }
    assert groups(NETWORKS[name]()).groups == expected.get(name, (("E", "I"),))


def test_solvers_set_populations_apart(x32):
    net, solver = NETWORKS["alike"](), bs.ExponentialEuler()
    assert groups(net, solver).groups == groups(net, dict(E=solver, I=solver)).groups == (("E", "I"),)
    assert groups(net, dict(E=solver)).groups == (("E",), ("I",))
    with pytest.raises(ValueError, match="unknown population 'F'; available: E, I"):
        bs.simulate(net, 1.0, DT, solver=dict(F=solver), key=jax.random.key(0))


def test_state_there_and_back(x32):
    """What a group remembers is what its populations remember."""
    for name in ("alike", "delays of single synapses", "a third population in between", "compact surrogate"):
        net = NETWORKS[name]()
        state = run(net, INPUTS["numbers"]()).state.node
        node = together(net, state, None, {})(net)
        same = jax.tree.map(
            np.array_equal,
            *(jax.tree.map(_bits, x) for x in (node.unpack(node.pack(state, jnp.int32(7)), jnp.int32(7)), state)),
        )
        assert all(jax.tree.leaves(same))


def _bits(x):
    return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)


def test_one_call_and_one_step(x32):
    """The eight populations of the microcircuit take one step; the four projections of COBA one call."""
    net, inputs = bs.networks.coba(400)
    node = groups(net, inputs=inputs)
    prepared = node.prepare(bs.ExponentialEuler(), dt=DT)
    state = node.init(dt=DT, key=jax.random.key(0))
    text = str(jax.make_jaxpr(lambda s: node.step(jnp.int32(0), DT, s, named_inputs(net, inputs, 10), prepared))(state))
    assert text.count("brainsim_blocks[") == text.count("brainsim_exponential_step ") == 1
    assert "brainsim_csr_scatter" not in text
    microcircuit, _ = bs.networks.microcircuit(scale=0.01)
    assert [len(names) for names in groups(microcircuit).groups] == [8]


def test_who_only_adds_up(x32):
    """Events go straight to the variable of a receptor that does nothing else with them."""
    variable = lambda receptor: [end.variable for end in groups(linked(bs.LIF, receptor, rule=sparse())).ends[0]]
    assert variable(bs.ExpCurrent()) == variable(bs.ExpConductance()) == [0]
    for receptor in (bs.DeltaCurrent(), bs.DeltaConductance(), bs.AlphaCurrent(), Tonic(), Saturating()):
        assert variable(receptor) == [None]


# ---- models of one's own: the run in groups is the same run, whatever they do


class ToFloat(bs.LIF):
    def reset(self, y):
        return y._replace(v=-65.0)  # pyright: ignore[reportArgumentType]


class Uneven(bs.LIF):
    def reset(self, y):
        return y._replace(v=jnp.linspace(-150.0, -60.0, y.v.size))


class Keyed(bs.LIF):
    key: jax.Array = eqx.field(default_factory=lambda: jax.random.key(0))


class Whole(bs.LIF):
    """Its first parameter is an integer."""

    c: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(250, jnp.int32))

    def vector_field(self, t, y, args):
        return y._replace(v=(self.v_rest - y.v) / self.tau + args / self.c.astype(args.dtype))


class Tonic(bs.ExpCurrent):
    """It acts where it receives, even if that is nothing."""

    def receive(self, y, v, events):
        return super().receive(y, v + 0.1, events)


class Saturating(bs.ExpCurrent):
    """What arrives counts less where there is much already."""

    def receive(self, y, v, events):
        return y._replace(i=y.i + events * (1 - y.i / 500.0)), v


def mean_field():
    return bs.neuron(
        lambda t, y, p, i: dict(v=(y["v"].mean() - y["v"]) / p["tau"] + i),
        guard=lambda y, p: y["v"] - 1.0,
        reset=lambda y, p: dict(v=y["v"] * 0.0),
        init=dict(v=0.0),
        params=dict(tau=2.0),
    )


def linked(make, receptor=None, sizes=(9, 5), rule=None, **more):
    """A excites B and itself."""
    receptors = dict(exc=receptor or bs.ExpCurrent(tau=2.0))
    ends = [bs.Projection("A", f"{post}.exc", rule or bs.AllToAll(weight=20.0), delay=0.1) for post in "AB"]
    populations = {name: bs.Population(n, make(), receptors, **more) for name, n in zip("AB", sizes, strict=True)}
    return bs.Network(populations, ends, key=jax.random.key(0))


sparse = lambda weight=20.0: bs.FixedProbability(0.7, weight=weight)
OWN = {
    "never again": lambda: linked(lambda: bs.LIF(t_ref=jnp.inf)),
    "a pause for each": lambda: bs.Network({n: bs.Population(3, bs.LIF(t_ref=[0.0, 1.0, 1e12])) for n in "AB"}),
    "reset to a float": lambda: linked(ToFloat),
    "reset to other values": lambda: linked(Uneven),
    "a key": lambda: linked(Keyed),
    "a whole number": lambda: linked(Whole),
    "not elementwise": lambda: bs.Network(
        {n: bs.Population(k, mean_field()) for n, k in zip("AB", (5, 4), strict=True)}
    ),
    "saturating": lambda: linked(bs.LIF, Saturating(), rule=sparse()),
    "delta receptors": lambda: linked(bs.LIF, bs.DeltaCurrent(), rule=sparse(2.0)),
    "two stages": lambda: linked(bs.LIF, bs.AlphaCurrent(), rule=sparse()),
    "spikes without reset": lambda: linked(lambda: bs.HHTraub(), bs.ExpCurrent(tau=2.0)),
    "acts on nothing": lambda: bs.Network({n: bs.Population(4, bs.LIF(), dict(exc=Tonic(tau=2.0))) for n in "AB"}),
    "one neuron each": lambda: linked(bs.LIF, sizes=(1, 1)),
    "no population alike": lambda: linked(iter([bs.LIF(), bs.AdEx()]).__next__),
}


@pytest.mark.parametrize("events", [pytest.param(None, marks=pytest.mark.slow), 2000])
@pytest.mark.parametrize("name", some_slow(OWN))
def test_models_of_ones_own(name, events, x64):
    net = OWN[name]()
    current = 3.0 if name == "not elementwise" else 900.0
    inputs = dict(A=current, B=0.8 * current) | ({"A.exc": 0.5} if name == "acts on nothing" else {})
    record = dict(spikes=bs.Record(["A", "B"], events=events), v="B.v")
    solver = diffrax.Euler() if name == "not elementwise" else None
    go = lambda state=None: bs.simulate(net, 30.0, DT, inputs, record, state=state, solver=solver)
    traced = apart(go)
    got, twin = go(), traced()
    assert any(np.sum(x.count if events else x) > 2 for x in twin.spikes.values())
    for more in ((got, twin), (go(twin.state), traced(twin.state))):
        assert_close(*(jax.tree.map(_bits, (x.records, x.state)) for x in more), chaotic=True)


def test_networks_and_populations_of_ones_own_step_as_they_say(x32):
    class Silent(bs.Network):
        def step(self, k, dt, state, inputs, solver):
            state, spikes = super().step(k, dt, state, inputs, solver)
            return state, jax.tree.map(jnp.zeros_like, spikes)

    class Mute(bs.Population):
        def step(self, k, dt, state, inputs, solver):
            state, spikes = super().step(k, dt, state, inputs, solver)
            return state, jnp.zeros_like(spikes)

    for net in (Silent(dict(E=bs.Population(3, bs.LIF()))), bs.Network(dict(E=Mute(3, bs.LIF())))):
        run = bs.simulate(net, 20.0, DT, dict(E=900.0), dict(spikes=["E"]))
        assert run.spikes["E"].sum() == 0


def test_precisions_may_differ_between_populations(x64):
    """What one call can deliver has one type; the rest goes its own way."""
    with jax.enable_x64(False):
        single = bs.Population(4, bs.LIF(), dict(exc=bs.ExpCurrent()))
        all_to_all = bs.CSR(jnp.full(12, 50.0), np.tile(np.arange(3), 4), np.arange(5) * 3, 4, 3)
    double = bs.Population(3, bs.LIF(), dict(exc=bs.ExpCurrent()))
    loop = bs.CSR(jnp.full(9, 5.0), np.tile(np.arange(3), 3), np.arange(4) * 3, 3, 3)
    wires = [bs.Projection("A", "B.exc", all_to_all, delay=0.1), bs.Projection("B", "B.exc", loop, delay=0.1)]
    for projections in (wires, wires[::-1]):
        net = bs.Network(dict(A=single, B=double), projections)
        fits = [c for names in groups(net).ends for end in names for c in end.projections if c]
        assert len(fits) == 1


# ---- the operator


def problem(rng, dtype=float):
    """Two sources, two targets and five blocks, among them an empty one and one with padding and duplicates."""
    shapes = [
        (0, 0, 50, 0, 0, 40),
        (0, 10, 20, 1, 40, 50),
        (0, 0, 0, 0, 0, 5),
        (1, 0, 33, 1, 20, 60),
        (1, 32, 1, 1, 89, 1),
    ]
    blocks, places = [], []
    for b, (source, first_pre, n_pre, target, first_post, n_post) in enumerate(shapes):
        rows = np.sort(rng.integers(0, n_pre, size=4 * n_pre)) if n_pre else np.zeros(0, int)
        indptr = np.searchsorted(rows, np.arange(n_pre + 1)).astype(np.int32)
        indices = rng.integers(-1, n_post + 1, size=rows.size).astype(np.int32)
        each = b % 2 == 1
        blocks.append((indices, indptr, jnp.asarray(rng.normal(size=rows.size if each else 1), dtype)))
        places.append(Place(source, first_pre, target, first_post, n_post, each))
    sources = [jnp.asarray(rng.normal(size=n) * (rng.random(n) < 0.3), dtype) for n in (50, 33)]
    return sources, blocks, places, [jnp.asarray(rng.normal(size=n), dtype) for n in (41, 90)]


def twin(sources, blocks, places, targets):
    out = [np.array(x, float) for x in targets]
    for (indices, indptr, weight), at in zip(blocks, places, strict=True):
        for row in range(len(indptr) - 1):
            for s in range(indptr[row], indptr[row + 1]):
                if 0 <= indices[s] < at.n_post:
                    spike = float(sources[at.source][at.first_pre + row])
                    out[at.target][at.first_post + indices[s]] += float(weight[s if at.each else 0]) * spike
    return out


@pytest.mark.parametrize("seed", range(5))
def test_blocks(seed, precision):
    given = problem(np.random.default_rng(seed))
    expected = twin(*given)
    assert_close(jax.jit(lambda: deliver_blocks(*given))(), expected)
    flat = [x for block in given[1] for x in block]
    plain = jax.jit(lambda *x: _blocks._reference(*x, places=tuple(given[2]), n_targets=2))
    assert_close(plain(*flat, *given[3], *given[0]), expected)


@pytest.mark.slow
def test_derivatives_and_batches(x64):
    """Those of the products one by one."""
    rng = np.random.default_rng(0)
    sources, blocks, places, targets = problem(rng)
    weights = [block[2] for block in blocks]

    def call(sources, weights, targets):
        return deliver_blocks(sources, [(*b[:2], w) for b, w in zip(blocks, weights, strict=True)], places, targets)

    given = sources, weights, targets
    moved = jax.tree.map(lambda x: as_jax(rng.normal(size=x.shape)), given)
    value, slope = jax.jvp(call, given, moved)
    difference = [call(*jax.tree.map(lambda x, d: x + e * d, given, moved)) for e in (1e-6, -1e-6)]  # noqa: B023
    assert_close(value, call(*given))
    for got, high, low in zip(slope, *difference, strict=True):
        np.testing.assert_allclose(got, (high - low) / 2e-6, rtol=1e-6, atol=1e-8)
    ct = [as_jax(rng.normal(size=x.shape)) for x in targets]
    inner = lambda a, b: sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    np.testing.assert_allclose(inner(jax.vjp(call, *given)[1](ct), moved), inner(ct, slope), rtol=1e-12)


BATCHES = {  # the axes of sources, weights and targets
    "one source": [([0, None], None, None)],
    "targets": [(None, None, 0)],
    "one weight and all weights": [(None, [0, 0, None, 0, None], None)],
    "weights, then spikes": [(0, None, None), (None, 0, None)],
    "spikes, then weights": [(None, 0, None), (0, None, None)],
    "all, twice": [(0, 0, 0), (1, 1, 1)],
    "the last axis": [([-1, None], [None, -1, None, None, None], None)],
    "none": [],
}


@pytest.mark.parametrize("size", rows([0, 3], long={0}))
@pytest.mark.parametrize("name", BATCHES)
def test_batches_of_blocks(name, size, x64):
    """One call, equal to as many calls."""
    rng = np.random.default_rng(0)
    sources, blocks, places, targets = problem(rng)
    call = lambda sources, weights, targets: deliver_blocks(
        sources, [(*b[:2], w) for b, w in zip(blocks, weights, strict=True)], places, targets
    )
    given, mapped = (sources, [b[2] for b in blocks], targets), call
    spread = lambda ax, x: x if ax is None else jnp.stack([x * (i + 1) for i in range(size)], ax) if size else (
        jnp.zeros((*x.shape[: ax % (x.ndim + 1)], 0, *x.shape[ax % (x.ndim + 1) :]), x.dtype)
    )  # fmt: skip
    every = lambda axes: [
        axes if isinstance(axes, list) else [axes] * len(x) for axes, x in zip(axes, given, strict=True)
    ]
    for axes in BATCHES[name]:
        mapped = jax.vmap(mapped, [*every(axes)])
    for axes in BATCHES[name]:
        given = [[spread(a, x) for a, x in zip(ax, xs, strict=True)] for ax, xs in zip(every(axes), given, strict=True)]
    got = jax.jit(mapped)(*given)
    some = name in ("weights, then spikes", "spikes, then weights")  # weights of single synapses, for one axis of two
    assert str(jax.make_jaxpr(mapped)(*given)).count("brainsim_blocks[") == (0 if some else 1)

    def one_by_one(axes, given):
        if not axes:
            return call(*given)
        at = lambda i: [[x if a is None else jnp.take(x, i, a) for a, x in zip(ax, xs, strict=True)]
                        for ax, xs in zip(every(axes[0]), given, strict=True)]  # fmt: skip
        rows = [one_by_one(axes[1:], at(i)) for i in range(size)]
        return [jnp.stack(x) for x in zip(*rows, strict=True)]

    if size:
        assert_close(got, one_by_one(BATCHES[name][::-1], given))
    else:
        assert [x.shape[-1:] for x in got] == [x.shape for x in targets]


def test_targets_survive_where_they_are_needed(x32):
    """They are added to in place only if nobody looks at them again."""
    sources, blocks, places, targets = problem(np.random.default_rng(0), jnp.float32)
    old, new = jax.jit(lambda x: (x, deliver_blocks(sources, blocks, places, x)))(targets)
    assert_close(old, targets)
    assert_close(new, twin(sources, blocks, places, targets))


@needs.kernels
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, -1, 0, 0, 40, 0), "ends outside"),
        ((0, 1, 0, 0, 40, 0), "begins outside"),
        ((0, 0, 0, 60, 40, 0), "ends outside"),
        ((0, 0, 0, 0, -1, 0), "ends outside"),
        ((0, 0, 0, 0, 2**62, 0), "ends outside"),
        ((0, 0, 0, 2**62 + 2**40, 2**62 + 90, 0), "ends outside"),  # the sum is negative in 64 bits
        ((0, 2**63 - 5, 0, 0, 40, 0), "begins outside"),
        ((1, 0, 0, 0, 40, 0), "no source"),
        ((0, 0, 1, 0, 40, 0), "no target"),
        ((0, 0, -1, 0, 40, 0), "no target"),
        ((0, 0, 0, 0, 40, 1), "one per synapse"),
    ],
)
def test_kernel_refuses_what_does_not_fit(change, message, x32):
    """Wild layouts are errors, never accesses out of bounds."""
    operands = jnp.zeros(3, jnp.int32), jnp.zeros(51, jnp.int32), jnp.ones(1), jnp.zeros(90), jnp.ones(50)
    call = ft.partial(
        jax.ffi.ffi_call("brainsim_blocks", [jax.ShapeDtypeStruct((90,), jnp.float32)]), batch=np.int64(1)
    )
    assert call(*operands, layout=np.array([0, 0, 0, 0, 40, 0]))[0].tolist() == [0.0] * 90
    with pytest.raises(Exception, match=message):
        jax.block_until_ready(call(*operands, layout=np.array(change)))


@needs.kernels
@pytest.mark.parametrize(
    ("batch", "sizes", "message"),
    [
        (-1, (1, 90, 50), "0 or more"),
        (7, (1, 90, 56), "a target has no vector"),
        (4, (1, 180, 50), "a source has no vector"),
        (2, (3, 180, 100), "one per synapse"),
        (2, (1, 90, 50), "begins outside"),  # there are 25 of each
        (2**62, (1, 90, 50), "a target has no vector"),
        (0, (1, 90, 50), "the batch has none"),
    ],
)
def test_kernel_refuses_batches_that_do_not_fit(batch, sizes, message, x32):
    weights, targets, spikes = (jnp.ones(n) for n in sizes)
    operands = jnp.zeros(3, jnp.int32), jnp.zeros(51, jnp.int32), weights, targets, spikes
    call = jax.ffi.ffi_call("brainsim_blocks", [jax.ShapeDtypeStruct(targets.shape, jnp.float32)])
    with pytest.raises(Exception, match=message):
        jax.block_until_ready(call(*operands, layout=np.array([0, 0, 0, 0, 40, 0]), batch=np.int64(batch)))


def spiking(n, share, dtype=float):
    """Spikes, arrays of three types with values for each neuron and for all, and two lists."""
    rng = np.random.default_rng(n)
    spikes = jnp.asarray(rng.random(n) < share, dtype)
    arrays = [jnp.asarray(rng.normal(size=n), dtype), jnp.zeros(n, jnp.int32), jnp.zeros(n, jnp.int32)]
    values = [jnp.asarray(rng.normal(size=n), dtype), jnp.full(1, 7, jnp.int32), jnp.arange(n, dtype=jnp.int32)]
    lists, parts = [bs.ops.empty_events(9), bs.ops.empty_events(1000)], [(0, n // 3), (n // 3, n - n // 3)]
    return spikes, arrays, values, lists, jnp.int32(4), parts, 1


@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("n", [1, 31, 700])
def test_at_spikes(n, share, precision):
    spikes, arrays, values, lists, step, parts, timed = given = spiking(n, share)
    got_arrays, got_lists = jax.jit(lambda: at_spikes(*given[:5], parts, timed))()
    fired = np.asarray(spikes) != 0
    expected = [np.where(fired, v, x) for v, x in zip([*values[:2], values[2] + 5], arrays, strict=True)]
    for got, want in zip(got_arrays, expected, strict=True):
        np.testing.assert_array_equal(got, want)
    for got, old, part in zip(got_lists, lists, parts, strict=True):
        np.testing.assert_array_equal(got, bs.ops.append_events(old, spikes[part[0] : sum(part)], jnp.int32(5)))
    static = dict(n_arrays=3, parts=tuple(parts), timed=timed)
    plain = jax.jit(lambda *x: _at_spikes._reference(*x, **static))(spikes, *arrays, *values, *lists, step)
    for got, want in zip(plain, [*got_arrays, *got_lists], strict=True):
        np.testing.assert_array_equal(got, want)


def test_at_spikes_differentiates_and_maps(x64):
    spikes, arrays, values, lists, step, parts, timed = spiking(40, 0.3)
    first = lambda x, v: at_spikes(spikes, [x, *arrays[1:]], [v, *values[1:]], lists, step, parts, timed)[0][0]
    ct = jnp.arange(40.0)
    dx, dv = jax.jit(lambda x, v: jax.vjp(first, x, v)[1](ct))(arrays[0], values[0])
    np.testing.assert_array_equal(dx, np.where(spikes != 0, 0, ct))
    np.testing.assert_array_equal(dv, np.where(spikes != 0, ct, 0))


def listed(given, step, parts, timed):
    return [*jax.tree.leaves(at_spikes(*given, step, parts, timed))]


@pytest.mark.parametrize(
    "axes",
    rows(
        [(0, None, None, None), (None, 0, None, None), (0, 0, 0, 0), (None, None, 0, 0)], long={(None, 0, None, None)}
    ),
)
@pytest.mark.parametrize("steps", rows([False, True], long={False}))
@pytest.mark.parametrize("size", [0, 3])
def test_batches_at_spikes(axes, steps, size, x32):
    """Spikes, arrays, values and lists in batches, at one step or each at its own."""
    spikes, arrays, values, lists, step, parts, timed = spiking(70, 0.2)
    given = [spikes, arrays, values, lists]
    turned = lambda x, i: jnp.roll(x, 3 * i, 0) if x.shape[0] == 70 else x + i
    batch = lambda x: jnp.stack([turned(x, i) for i in range(size)]) if size else jnp.zeros((0, *x.shape), x.dtype)
    given = [x if a is None else jax.tree.map(batch, x) for x, a in zip(given, axes, strict=True)]
    at = jnp.arange(size, dtype=jnp.int32) if steps else step
    call = lambda *x: listed(x[:4], x[4], parts, timed)
    got = jax.jit(jax.vmap(call, (*axes, 0 if steps else None)))(*given, at)
    for i in range(size):
        mine = [x if a is None else jax.tree.map(lambda y: y[i], x) for x, a in zip(given, axes, strict=True)]  # noqa: B023
        for x, want in zip(got, call(*mine, at[i] if steps else step), strict=True):
            np.testing.assert_array_equal(x[i], want)
    twice = jax.vmap(jax.vmap(call, (*axes, 0 if steps else None)), (*[None] * 4, 0))
    for x, want in zip(twice(*given, jnp.stack([at, at])), got, strict=True):
        np.testing.assert_array_equal(x[1], want)


@pytest.mark.parametrize("outer", [2, 3])
def test_values_of_an_outer_batch_at_spikes(outer, x32):
    """One value, and one for each neuron, for all vectors of an inner batch, be there as many of these or not."""
    spikes, arrays, values, lists, step, parts, timed = spiking(40, 0.3)
    spikes = jnp.stack([jnp.roll(spikes, i) for i in range(3)])
    values = [jnp.stack([v + i for i in range(outer)]) for v in values]
    call = lambda spikes, values: listed((spikes, arrays, values, lists), step, parts, timed)
    got = jax.jit(jax.vmap(jax.vmap(call, (0, None)), (None, 0)))(spikes, values)
    for i, j in np.ndindex(outer, 3):
        for x, want in zip(got, call(spikes[j], [v[i] for v in values]), strict=True):
            np.testing.assert_array_equal(x[i, j], want)


def test_old_arrays_survive_where_they_are_needed(x32):
    """The kernel writes in place only what nobody looks at again."""
    x, spikes = jnp.zeros(300), jnp.ones(300)
    old, new = jax.jit(lambda x: (x + 0, at_spikes(spikes, [x], [jnp.ones(1)], [], jnp.int32(0), [])[0][0] + x))(x)
    assert old.tolist() == [0.0] * 300 and new.tolist() == [1.0] * 300


@needs.kernels
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(array=jnp.zeros(4)), "one entry per neuron"),
        (dict(values=jnp.zeros(3)), "one entry per neuron"),
        (dict(values=jnp.zeros(5, jnp.int32)), "of the same type"),
        (dict(array=jnp.zeros(5, jnp.bfloat16), values=jnp.zeros(5, jnp.bfloat16)), "four or eight bytes"),
        (dict(list=jnp.zeros((3, 3), jnp.int32)), "lists must be int32"),
        (dict(parts=[0, 6]), "no such neurons"),
        (dict(parts=[-1, 2]), "no such neurons"),
        (dict(parts=[2**62, 2**62]), "no such neurons"),
        (dict(parts=[]), "as many operands"),
        (dict(timed=1), "times must be int32"),
        (dict(timed=2), "too many"),
        (dict(targets=-1), "too many"),
        (dict(spikes=jnp.zeros(5, jnp.int32), array=jnp.zeros(5)), "float32 or float64"),
        (dict(step=jnp.zeros(2, jnp.int32)), "one int32"),
    ],
)
def test_at_spikes_refuses_what_does_not_fit(change, message, x32):
    good = dict(spikes=jnp.zeros(5), array=jnp.zeros(5), values=jnp.zeros(1), list=jnp.zeros((3, 2), jnp.int32))
    good |= dict(step=jnp.int32(0), targets=1, timed=0, parts=[0, 5])

    def call(spikes, array, values, list, step, targets, timed, parts):
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (array, list)]
        attributes = dict(targets=np.int64(targets), timed=np.int64(timed), parts=np.array(parts, np.int64))
        return jax.ffi.ffi_call("brainsim_at_spikes", shapes)(spikes, array, values, list, step, **attributes)

    assert call(**good)[1].tolist() == [[0, 0]] * 3
    with pytest.raises(Exception, match=message):
        jax.block_until_ready(call(**(good | change)))
