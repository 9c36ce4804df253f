"""Every parameter of every public component has a domain, which its constructor and `with_params` keep."""

import dataclasses
import functools as ft
import inspect
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs

KEY = jax.random.key(0)
NAMESPACES = [bs, *(x for x in vars(bs).values() if inspect.ismodule(x) and x.__name__.startswith("brainsim."))]

# What a class cannot be made without. A class with required arguments that is not here fails the test below.
REQUIRED = {
    "Poisson": dict(rate=5.0, key=KEY),
    "Bernoulli": dict(rate=5.0, key=KEY),
    "SpikeTrain": dict(times=1.0),
    "Normal": dict(mean=0.0, sd=1.0),
    "Uniform": dict(low=-1e6, high=1e6),
    "LearnableDelays": dict(connect=bs.CSR([2.0], [0], [0, 1], 1, 1), delay=1.0, max_delay=2.0),
    "FunctionalNeuron": dict(
        params={},
        initial=dict(v=np.zeros(2, np.float32)),
        flow=lambda t, y, p, i: y,
        condition=lambda y, p: y["v"],
        jump=None,
        held=(),
    ),
}
# Conditions between parameters are tested by themselves; a value inside the domain may need room beside another.
ROOM = {
    "LIF": dict(v_reset=-1e30, v_th=1e30),
    "AdEx": dict(v_reset=-1e30, v_peak=1e30),
    "Izhikevich": dict(c=-1e30, v_peak=1e30),
}
ROOM |= {name: dict(start=-math.inf, stop=math.inf) for name in ("Poisson", "Bernoulli")}


def components():
    """The public classes with parameters, by name."""
    classes = {x for space in NAMESPACES for x in vars(space).values() if inspect.isclass(x)}
    concrete = [c for c in classes if issubclass(c, eqx.Module) and not inspect.isabstract(c)]
    found = {c.__name__: c for c in concrete if any("domain" in f.metadata for f in parameters(c))}
    return {name: c for name, c in sorted(found.items()) if name != "Population"}


def parameters(cls):
    return [f for f in dataclasses.fields(cls) if "unit" in f.metadata]


def made(name, **given):
    return COMPONENTS[name](**{**others(name), **given})


@ft.cache
def others(name):
    """What else a component is made of: arrays, which cost less than numbers do."""
    right = {**REQUIRED.get(name, {}), **ROOM.get(name, {})}
    model = COMPONENTS[name](**right)
    return right | {f.name: getattr(model, f.name) for f in parameters(COMPONENTS[name]) if f.name != "delay"}


def samples(domain):
    """Values inside of and outside an interval, from how it is written."""
    low, high = (float(x) for x in domain[1:-1].split(","))
    ends = [(low, domain[0] == "[", -1.0), (high, domain[-1] == "]", 1.0)]
    middle = 0.5 * (max(low, -4.0) + min(high, 4.0))
    inside, outside = [middle], [math.nan]
    for end, closed, away in ends:
        (inside if closed else outside).append(end)
        if math.isfinite(end):
            outside.append(end + away)
            inside.append(end - away * 1e-3)
    return inside, outside


COMPONENTS = components()
CASES = {f"{name}.{f.name}": (name, f.name, f.metadata) for name, c in COMPONENTS.items() for f in parameters(c)}


def test_all_components_are_here():
    """The search finds what there is: all neurons, receptors, surrogates, inputs and distributions."""
    assert len(COMPONENTS) >= 25 and len(CASES) >= 100
    assert {"LIF", "HH", "GIF", "AlphaConductance", "Triangle", "Poisson", "Normal", "LearnableDelays"} <= set(
        COMPONENTS
    )


@pytest.mark.parametrize("case", CASES)
def test_domain(case):
    name, field, metadata = CASES[case]
    inside, outside = samples(metadata["domain"])
    model = made(name)
    for x in inside:
        value = getattr(made(name, **{field: x}), field)
        assert (np.asarray(value, np.float32) == np.float32(x)).all()
        if name in ROOM or name not in REQUIRED:
            np.testing.assert_array_equal(getattr(bs.with_params(model, {field: x}), field), value)
    for x in [*outside, *([y] for y in outside), "10 mV", True]:
        with pytest.raises(ValueError) as e:
            made(name, **{field: x})
        message = str(e.value)
        assert f"{name}: " in message and field in message and "must" in message and "\n" not in message
    for x in outside:
        with pytest.raises(ValueError, match=rf"{field}.* must be") as e:
            bs.with_params(model, {field: x})
    assert bs.domains(model)[field] == metadata["domain"]


@pytest.mark.parametrize("name", COMPONENTS)
def test_traced_values_pass(name):
    """Whatever a traced value turns out to be, by `with_params` and by the constructor: a fit may look anywhere."""
    fields = [f.name for f in parameters(COMPONENTS[name])]
    model = made(name)

    def build(x):
        changed = bs.with_params(model, {field: x for field in fields if getattr(model, field).ndim == 0})
        return jax.tree.leaves((changed, [made(name, **{field: x}) for field in fields]))

    jax.make_jaxpr(build)(-1.0)


ACROSS = [
    (lambda: bs.LIF(v_reset=-50.0), "LIF: v_reset must be below v_th, got v_reset = -50 mV and v_th = -55 mV"),
    (lambda: bs.LIF(v_reset=[-70.0, -55.0]), "LIF: v_reset must be below v_th, got v_reset = -55 mV at index 1"),
    (lambda: bs.with_params(bs.LIF(), v_th=-80.0), "LIF: v_reset must be below v_th"),
    (lambda: bs.with_params(bs.Population(2, bs.LIF()), v_th=-80.0), "LIF: v_reset must be below v_th"),
    (lambda: bs.AdEx(v_peak=-80.0), "AdEx: v_reset must be below peak, got v_reset = -70.6 mV and peak = -80 mV"),
    (lambda: bs.Izhikevich(c=30.0), "Izhikevich: c must be below v_peak"),
    (lambda: bs.Uniform(2.0, 1.0), "Uniform: low must be at most high"),
    (lambda: bs.Normal(0.0, 1.0, low=1.0, high=0.0), "Normal: low must be at most high"),
    (lambda: bs.Normal(0.0, 1.0, low=math.nan), "Normal: low must be a number, got nan"),
    (lambda: bs.Poisson(5.0, key=KEY, start=2.0, stop=1.0), "Poisson: start must be at most stop"),
    (lambda: bs.Poisson(5.0, key=0), r"Poisson: key must be a random key, jax.random.key\(seed\), got 0"),
    (lambda: bs.LearnableDelays(bs.CSR([2.0], [0], [0, 1], 1, 1), 3.0, 2.0), "delay must be positive and at most 2"),
    (lambda: bs.FixedProbability(1.5), "FixedProbability: p must be between 0 and 1, got 1.5"),
    (lambda: bs.FixedProbability(math.nan), "FixedProbability: p must be between 0 and 1, got nan"),
    (lambda: bs.FixedInDegree(2.5), "FixedInDegree: k must be a whole number, at least 0, got 2.5"),
    (lambda: bs.FixedOutDegree(-1), "FixedOutDegree: k must be a whole number, at least 0, got -1"),
    (lambda: bs.FixedInDegree(1, math.inf), "FixedInDegree: weights must be finite"),
    (lambda: bs.AllToAll(autapses=1), "AllToAll: autapses must be True or False, got 1"),
    (lambda: bs.Population(3, bs.LIF(), noise=dict(v=-1.0)), r"noise\['v'\] must be at least 0 and finite, got -1"),
    (lambda: bs.Population(3, bs.LIF(), initial=dict(v=math.nan)), r"initial\['v'\] must be finite, got nan"),
    (lambda: bs.Population(3, bs.LIF(), initial=dict(v="rest")), r"initial\['v'\] must be a number or an array"),
    (lambda: bs.Population(3, bs.LIF), "neuron must be a model such as LIF"),
    (lambda: bs.Population(3, bs.LIF(), ["exc"]), "receptors must be a dict from names"),
    (lambda: bs.Population(2.5, bs.LIF()), "n of a population must be a whole number, at least 1, got 2.5"),
    (
        lambda: bs.with_params(bs.Population(2, bs.LIF(), noise=dict(v=1.0)), {"noise.v": -1.0}),
        "noise.v must be at least 0",
    ),
    (lambda: bs.with_params(bs.Dense([[1.0]]), weight=math.nan), "parameter weight must be finite"),
    (lambda: bs.Projection("E", "E.exc", bs.OneToOne(), math.nan), "delay must be positive"),
    (lambda: bs.Projection("E", "E.exc", bs.OneToOne(), "1 ms"), "delay of a projection must be a number"),
    (lambda: bs.Projection("E", "E.exc", bs.OneToOne(), [1.0, -1.0]), "delays must be finite and at least 0.1 ms"),
    (lambda: bs.Projection(0, "E.exc", bs.OneToOne(), 1.0), "goes from 'population' to 'population.receptor', got 0"),
    (lambda: bs.rate(np.ones((3, 2)), dt=0.0), "dt must be positive and finite, got 0 ms"),
    (lambda: bs.rate(np.ones(3), dt=0.1), r"need a raster, of shape \(steps, n\)"),
    (lambda: bs.spike_times(np.ones((3, 2)), dt=math.nan), "dt must be positive and finite, got nan ms"),
]


@pytest.mark.parametrize("make, message", ACROSS, ids=[message for _, message in ACROSS])
def test_conditions(make, message):
    with pytest.raises(ValueError, match=message) as e:
        make()
    assert "\n" not in str(e.value)


def test_initial_values_are_checked_when_drawn():
    draw = lambda value: bs.Population(3, bs.LIF(), initial=dict(v=lambda key, n: value)).init(dt=0.1, key=KEY)
    with pytest.raises(ValueError, match=r"initial\['v'\]\(key, 3\) must have shape \(3,\), got \(2,\)"):
        draw(jnp.zeros(2))
    with pytest.raises(ValueError, match=r"initial\['v'\] must be finite, got nan at index 1"):
        draw(jnp.array([0.0, math.nan, 0.0]))


def test_numbers_of_numpy_count():
    """As whole numbers and as numbers; a time of single precision is the decimal that it prints as."""
    cells = bs.Population(np.int64(3), bs.LIF())
    assert cells.n == 3 and type(cells.n) is int
    assert bs.Record("v", every=np.int64(2)).every == 2 == bs.Record("v", every=jnp.int32(2)).every
    assert bs.FixedInDegree(np.uint8(4)).k == 4 and bs.FixedProbability(np.float32(0.1)).p == 0.1
    assert bs.Projection("E", "E.exc", bs.OneToOne(), np.float32(0.3)).delay == 0.3
    assert bs.Projection("E", "E.exc", bs.OneToOne(), np.float32(0.3)).steps(np.float32(0.1)) == 3
    assert bs.rate(np.ones((10, 1)), dt=np.float32(0.1)).tolist() == [1e4]


def test_one_value_per_unit_in_place_of_one_for_all():
    tau = np.array([5.0, 10.0, 20.0])
    cells = bs.with_params(
        bs.Population(3, bs.LIF(), dict(exc=bs.ExpCurrent())), {"neuron.tau": tau, "exc.tau": tau / 2}
    )
    np.testing.assert_array_equal(cells.neuron.tau, tau.astype(np.float32))
    np.testing.assert_array_equal(cells.receptors["exc"].tau, tau.astype(np.float32) / 2)
    with pytest.raises(ValueError, match=r"scalars or have shape \(3,\), but tau of the neuron has shape \(2,\)"):
        bs.with_params(cells, {"neuron.c": 200.0, "neuron.tau": 5.0}) and bs.with_params(
            bs.Population(3, bs.LIF()), tau=tau[:2]
        )
    with pytest.raises(ValueError, match=r"must be a scalar or have shape \(\), got \(2,\)"):
        bs.with_params(bs.Diagonal(1.0, 3), weight=[1.0, 2.0])


def test_copies_by_tree_at_are_not_checked():
    assert eqx.tree_at(lambda m: m.tau, bs.LIF(), -1.0).tau == -1.0


def test_what_does_not_fit_in_memory_is_refused_with_an_estimate():
    cells = bs.Population(1000, bs.LIF(), dict(exc=bs.ExpCurrent()))
    wide = bs.Population(10**7, bs.LIF(), dict(exc=bs.ExpCurrent()))
    for pops, rule in (
        (dict(E=cells), bs.FixedTotalNumber(2**31)),
        (dict(E=cells), bs.FixedTotalNumber(10**12)),
        (dict(E=wide), bs.FixedProbability(0.5)),
        (dict(E=wide), bs.FixedInDegree(10**4)),
        (dict(E=wide), bs.AllToAll(bs.Normal(0.0, 1.0))),
    ):
        with pytest.raises(ValueError, match=f"{type(rule).__name__}: about .* synapses .* Procedural stores none"):
            bs.Network(pops, [bs.Projection("E", "E.exc", rule, delay=1.0)], key=KEY)
