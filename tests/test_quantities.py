"""A number with a unit is converted to the unit that is meant, or refused in one line; its unit is never dropped."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs

KEY = jax.random.key(0)

# Two systems of units, written without any package: what a name is worth in the units of SI.
WORTH = {
    "": ("", 1.0),
    "dimensionless": ("", 1.0),
    "ms": ("s", 1e-3),
    "s": ("s", 1.0),
    "Hz": ("Hz", 1.0),
    "kHz": ("Hz", 1e3),
}
WORTH |= {
    "mV": ("V", 1e-3),
    "V": ("V", 1.0),
    "pA": ("A", 1e-12),
    "nA": ("A", 1e-9),
    "pF": ("F", 1e-12),
    "1/mV": ("1/V", 1e3),
}
WORTH |= {"uF/cm**2": ("F/m2", 1e-2), "F/m**2": ("F/m2", 1.0), "mS/cm**2": ("S/m2", 10.0), "S/m**2": ("S/m2", 1.0)}
WORTH |= {"nS": ("S", 1e-9)}


def converted(number, old, new):
    (kind, a), (other, b) = WORTH[old], WORTH[new]
    if kind != other:
        raise TypeError(f"{old} is not {new}")
    return number * (a / b)


class Astropy(np.ndarray):
    """An array with `.unit` and `.to`; numpy.asarray takes it for a plain one."""

    def __new__(cls, value, unit):
        made = np.asarray(value, float).view(cls)
        made.unit = unit
        return made

    value = property(lambda self: np.asarray(self)[()])

    def to(self, unit):
        return Astropy(converted(np.asarray(self), self.unit, unit), unit)


class Quantities(np.ndarray):
    """An array with `.units` and `.rescale`."""

    def __new__(cls, value, unit):
        made = np.asarray(value, float).view(cls)
        made.units = unit
        return made

    magnitude = property(lambda self: np.asarray(self))

    def rescale(self, unit):
        return Quantities(converted(np.asarray(self), self.units, unit), unit)


class Pint:
    """`.units` and `.to`, and it can be made an array or a number."""

    def __init__(self, value, units):
        self.magnitude, self.units = value, units

    def to(self, unit):
        return Pint(converted(np.asarray(self.magnitude)[()], self.units, unit), unit)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.magnitude, dtype)

    def __float__(self):
        return float(self.magnitude)


class Brian(np.ndarray):
    """An array with a unit that cannot convert itself."""

    def __new__(cls, value, unit):
        return np.asarray(value, float).view(cls)


def astropy():
    units = importlib.import_module("astropy.units")
    return lambda value, unit: value * units.Unit(unit)


def pint():
    return importlib.import_module("pint").UnitRegistry().Quantity


def quantities():
    package = importlib.import_module("quantities")
    return lambda value, unit: package.Quantity(value, unit or "dimensionless")


def saiunit():
    package = importlib.import_module("saiunit")
    area = package.meter**2
    long = {"V": package.volt, "s": package.second, "F/m**2": package.farad / area, "S/m**2": package.siemens / area}
    long |= {"": package.UNITLESS, "1/mV": package.UNITLESS / package.mV}
    return lambda value, unit: package.Quantity(jnp.asarray(value), unit=long.get(unit) or getattr(package, unit))


PACKAGES = {f.__name__: f for f in (astropy, pint, quantities, saiunit) if importlib.util.find_spec(f.__name__)}
PACKAGES |= {f"like {c.__name__}": lambda c=c: c for c in (Astropy, Pint, Quantities)}


@pytest.fixture(params=PACKAGES)
def q(request):
    """Makes a quantity of a number and the name of a unit."""
    return PACKAGES[request.param]()


CSR = bs.CSR([2.0], [0], [0, 1], 1, 1)
CONVERTED = {
    "parameter": (lambda q: bs.LIF(tau=q(0.02, "s")).tau, 20.0),
    "one per unit": (lambda q: bs.LIF(v_rest=q(np.array([-0.07, -0.06]), "V")).v_rest, [-70.0, -60.0]),
    "a list": (lambda q: bs.LIF(v_rest=[q(-0.07, "V"), q(-60.0, "mV")]).v_rest, [-70.0, -60.0]),
    "per area": (lambda q: bs.HH(c=q(0.02, "F/m**2")).c, 2.0),
    "conductance per area": (lambda q: bs.HH(g_k=q(1.0, "S/m**2")).g_k, 0.1),
    "without unit": (lambda q: bs.neurons.AuditoryReceptor(n_q=q(3.0, "")).n_q, 3.0),
    "weight without unit": (lambda q: bs.Poisson(5.0, q(3.0, ""), key=KEY).weight, 3.0),
    "inverse": (lambda q: bs.SuperSpike(beta=q(2.0, "1/mV")).beta, 2.0),
    "with_params": (lambda q: bs.with_params(bs.LIF(), tau=q(0.02, "s")).tau, 20.0),
    "rate": (lambda q: bs.Poisson(q(2.0, "kHz"), key=KEY).rate, 2000.0),
    "stop": (lambda q: bs.Poisson(5.0, key=KEY, stop=q(2.0, "s")).stop, 2000.0),
    "times": (lambda q: bs.SpikeTrain(q(np.array([0.001, 0.002]), "s")).times, [1.0, 2.0]),
    "delay": (lambda q: bs.Projection("E", "E.exc", bs.OneToOne(), q(0.002, "s")).delay, 2.0),
    "delays": (lambda q: bs.Projection("E", "E.exc", bs.OneToOne(), q(np.array([0.002]), "s")).delay.source, [2.0]),
    "resolution": (lambda q: bs.Projection("E", "E.exc", bs.OneToOne(), 1.0, q(0.0005, "s")).resolution, 0.5),
    "slots": (lambda q: bs.DelayedCSR([2.0], [0], [[0, 1]], 1, 1, q(np.array([0.002]), "s")).delays, [2.0]),
    "list of delays": (lambda q: bs.DelayedCSR.from_coo([0], [0], 1.0, q(0.002, "s"), 1, 1).delays, [2.0]),
    "learnable": (lambda q: bs.LearnableDelays(CSR, q(0.002, "s"), q(0.004, "s")).delay, [2.0]),
    "longest": (lambda q: bs.LearnableDelays(CSR, 1.0, q(0.004, "s")).max_delay, 4.0),
    "dt": (lambda q: bs.rate(np.ones((4, 1)), q(0.001, "s")), [1000.0]),
    "stimulus": (lambda q: bs.io.Recording(dt=0.1, stimulus=q(np.array([0.4]), "nA")).stimulus, [400.0]),
    "voltage": (lambda q: bs.io.Recording(dt=0.1, voltage=q(np.array([-0.07]), "V")).voltage, [-70.0]),
    "sampling": (lambda q: bs.io.Recording(dt=q(0.001, "s"), voltage=[1.0]).dt, 1.0),
    "spikes": (
        lambda q: bs.io.Recording(dt=1.0, duration=q(0.01, "s"), spike_times=q(np.array([0.005]), "s")).spike_times,
        [5.0],
    ),
    "axis": (lambda q: np.asarray(bs.Axis([q(0.005, "s"), q(10.0, "ms")], "ms").values), [5.0, 10.0]),
    "duration": (
        lambda q: bs.simulate(bs.Population(1, bs.LIF()), q(0.0002, "s"), q(0.0001, "s"), record=dict(v="v"))["v"][
            :, 0
        ],
        [-70.0, -70.0],
    ),
}


@pytest.mark.parametrize("door", CONVERTED)
def test_converted(door, q):
    make, expected = CONVERTED[door]
    np.testing.assert_allclose(np.asarray(make(q), float), expected, rtol=1e-6)


REFUSED = {
    "kind": lambda q: bs.LIF(tau=q(3.0, "mV")),
    "list of kinds": lambda q: bs.LIF(tau=[1.0, q(3.0, "mV")]),
    "inputs": lambda q: bs.simulate(bs.Population(1, bs.LIF()), 1.0, 0.1, q(0.4, "nA")),
    "series": lambda q: bs.simulate(bs.Population(1, bs.LIF()), 0.2, 0.1, q(np.ones((2, 1)), "nA")),
    "initial": lambda q: bs.Population(1, bs.LIF(), initial=dict(v=q(-0.06, "V"))),
    "drawn": lambda q: bs.Population(1, bs.LIF(), initial=dict(v=lambda key, n: q(-0.06, "V"))).init(dt=0.1, key=KEY),
    "noise": lambda q: bs.Population(1, bs.LIF(), noise=dict(v=q(1.0, "mV"))),
    "size": lambda q: bs.Population(q(1.0, "mV"), bs.LIF()),
    "probability": lambda q: bs.FixedProbability(q(0.1, "mV")),
    "degree": lambda q: bs.FixedInDegree(q(1, "mV")),
    "mean": lambda q: bs.Normal(q(1.0, "nA"), 0.0),
    "bound": lambda q: bs.Normal(0.0, 1.0, low=q(1.0, "nA")),
    "params": lambda q: bs.neuron(lambda t, y, p, i: y, guard=GUARD, init=dict(v=0.0), params=dict(a=q(1.0, "nA"))),
    "init": lambda q: bs.neuron(lambda t, y, p, i: y, guard=GUARD, init=dict(v=q(1.0, "nA")), params={}),
    "events": lambda q: bs.Poisson(5.0, q(0.4, "nA"), key=KEY),
    "train": lambda q: bs.SpikeTrain([1.0], q(0.4, "nA")),
    "every": lambda q: bs.Record("v", every=q(2, "ms")),
    "index": lambda q: bs.Record("v", index=q(np.array([1]), "ms")),
    "indices": lambda q: bs.FromArrays(q(np.array([0]), "ms"), [0]),
    "drawn weights": lambda q: bs.FixedInDegree(1, lambda rng, n: q(np.ones(n), "nA")).build(KEY, 2, 2, same=False),
} | {
    f"weight of {make.__name__}": lambda q, make=make, rest=rest: make(q(0.4, "nA"), *rest)
    for make, rest in ((bs.Diagonal, (2,)), (bs.Full, (2, 2)), (bs.CSR, ([0], [0, 1], 1, 1)), (bs.OneToOne, ()))
}
REFUSED |= {
    "weight of Dense": lambda q: bs.Dense(q(np.ones((1, 1)), "nA")),
    "weight of FixedProbability": lambda q: bs.FixedProbability(0.1, q(0.4, "nA")),
    "weights of FromArrays": lambda q: bs.FromArrays([0], [0], q(np.ones(1), "nA")),
    "with_params": lambda q: bs.with_params(bs.Diagonal(1.0, 2), weight=q(0.4, "nA")),
}
GUARD = lambda y, p: y["v"]


@pytest.mark.parametrize("door", REFUSED)
def test_refused(door, q):
    """Where the unit depends on what the number is for, or is another one."""
    with pytest.raises(ValueError) as e:
        REFUSED[door](q)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("q", [Astropy(0.4, "nA"), Pint(0.4, "nA"), Brian(0.4, "nA")])
def test_a_function_of_time_has_no_unit(q):
    cells = bs.Population(1, bs.LIF())
    for run in (
        lambda: bs.simulate(cells, 0.2, 0.1, inputs=lambda t: q),
        lambda: bs.simulate_events(cells, 1.0, lambda t: q, max_spikes=1),
    ):
        with pytest.raises(ValueError, match=r"a function of time must be a (plain )?number") as e:
            run()
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("door", [*CONVERTED, *REFUSED])
def test_unknown_arrays_are_refused(door):
    """An array of a type that is not known may have a unit, as those of Brian2 do."""
    make = REFUSED[door] if door in REFUSED else CONVERTED[door][0]
    with pytest.raises((ValueError, TypeError)) as e:
        make(Brian)
    assert "\n" not in str(e.value)
