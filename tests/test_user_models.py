"""A model of one's own that returns something else than the step expects is told so in one line, when it is built."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs


def functions(**given):
    """A neuron from functions that is right, but for what is given."""
    right = dict(
        flow=lambda t, y, p, i: dict(v=(i - y["v"]) / p["tau"], w=-y["w"]),
        guard=lambda y, p: y["v"] - 1.0,
        reset=lambda y, p: dict(v=0.0),
        init=dict(v=0.0, w=np.zeros(3)),
        params=dict(tau=10.0),
    )
    given = {**right, **given}
    return bs.neuron(given.pop("flow"), **given)


FUNCTIONS = {
    "scalar guard": (
        dict(guard=lambda y, p: jnp.max(y["v"]) - 1.0),
        r"guard must return float32\[3\], it returned float32\[\]",
    ),
    "guard of another dtype": (
        dict(guard=lambda y, p: y["v"] > 1.0),
        r"guard must return float32\[3\], it returned bool",
    ),
    "guard of another kind": (
        dict(guard=lambda y, p: y),
        r"guard must return float32\[3\], it returned \(v: float32\[3\]",
    ),
    "missing parameter": (dict(flow=lambda t, y, p, i: dict(v=p["tua"], w=y["w"])), "flow raised KeyError: 'tua'"),
    "missing variable": (
        dict(flow=lambda t, y, p, i: dict(v=y["v"])),
        r"flow must return \(v: float32\[3\], w: float32\[3\]\), it returned \(v: float32\[3\]\)",
    ),
    "one more": (dict(flow=lambda t, y, p, i: {**y, "u": y["v"]}), r"it returned .*u: float32\[3\]"),
    "shape": (dict(flow=lambda t, y, p, i: dict(v=jnp.sum(i), w=y["w"])), r"it returned \(v: float32\[\], w"),
    "dtype": (
        dict(flow=lambda t, y, p, i: dict(v=jnp.zeros(3, jnp.int32), w=y["w"])),
        r"it returned \(v: int32\[3\], w",
    ),
    "nothing": (dict(flow=lambda t, y, p, i: None), "flow must return .*, it returned None"),
    "unknown in reset": (dict(reset=lambda y, p: dict(u=0.0)), "reset raised KeyError: 'u'"),
    "no function": (dict(guard=1.0), "guard must be a function, got 1.0"),
    "params": (dict(params=[10.0]), r"params must be a dict from names to numbers, got \[10.0\]"),
    "parameter": (dict(params=dict(tau="10 ms")), r"params\['tau'\] must be a number or an array, got '10 ms'"),
    "init": (dict(init=dict(v=np.nan, w=0.0)), r"init\['v'\] must be finite, got nan"),
    "surrogate": (dict(surrogate=bs.SuperSpike), "FunctionalNeuron: surrogate must be a function such as"),
    "t_ref": (dict(t_ref=-1.0), "FunctionalNeuron: t_ref must be at least 0, got -1 ms"),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_functions(case):
    given, message = FUNCTIONS[case]
    with pytest.raises(ValueError, match=message) as e:
        functions(**given)
    assert "\n" not in str(e.value) and not getattr(e.value, "__notes__", [])


def test_right_functions_pass():
    assert bs.Population(3, functions()).variables == ("v", "w")


class X(NamedTuple):
    v: jax.Array


class Own(bs.AbstractNeuron):
    """A neuron that is right as long as nobody derives a wrong one from its parts."""

    tau: bs.Param = bs.param(10.0, unit="ms", doc="", domain="(0, inf)")
    t_ref: bs.Param = bs.param(0.0, unit="ms", doc="")
    surrogate: bs.SuperSpike = bs.SuperSpike()
    wrong: str = ""
    held: ClassVar = ("v",)
    resets: ClassVar = True

    def init(self, n):
        return dict(init=(jnp.zeros(n),), one=X(jnp.zeros(n + 1)), whole=X(jnp.zeros(n, int))).get(
            self.wrong, X(jnp.zeros(n))
        )

    def vector_field(self, t, y, args):
        return dict(v=y.v) if self.wrong == "vector_field" else X((args - y.v) / self.tau)

    def guard(self, y):
        return y.v.sum() if self.wrong == "guard" else y.v - 1.0

    def reset(self, y):
        return y.v if self.wrong == "reset" else X(jnp.zeros_like(y.v))


CLASSES = {
    "init": "Own: init must return a NamedTuple or a dict of arrays",
    "one": r"Own: init must return arrays of shape \(2,\), it returned 'v' of shape \(3,\)",
    "whole": "Own: init must return floating-point arrays, it returned 'v' of int32",
    "vector_field": r"Own: vector_field must return \(v: float32\[2\]\)",
    "guard": r"Own: guard must return float32\[2\], it returned float32\[\]",
    "reset": r"Own: reset must return \(v: float32\[2\]\), it returned float32\[2\]",
}


@pytest.mark.parametrize("wrong", CLASSES)
def test_classes(wrong):
    with pytest.raises(ValueError, match=CLASSES[wrong]) as e:
        bs.Population(2, Own(wrong=wrong))
    assert "\n" not in str(e.value)
    assert bs.Population(2, Own()).variables == ("v",)


class Leaky(bs.AbstractReceptor):
    """A receptor whose `receive` forgets the potential."""

    def init(self, n):
        return X(jnp.zeros(n))

    def vector_field(self, t, y, args):
        return X(-y.v)

    def current(self, y, v):
        return y.v

    def receive(self, y, v, events):
        return X(y.v + events)


def test_receptors():
    with pytest.raises(
        ValueError, match=r"receptor 'exc', Leaky: receive must return \(\(v: float32\[2\]\), float32\[2\]\)"
    ):
        bs.Population(2, bs.LIF(), dict(exc=Leaky()))
    with pytest.raises(ValueError, match="receptors need a neuron with a variable 'v'; available: x"):
        own = bs.neuron(lambda t, y, p, i: y, guard=lambda y, p: y["x"], init=dict(x=0.0), params={})
        bs.Population(2, own, dict(exc=bs.ExpCurrent()))


def test_a_model_is_traced_once():
    """However many populations are made of it, with whatever values."""
    traced = []

    def flow(t, y, p, i):
        traced.append(1)
        return dict(v=-y["v"] / p["tau"])

    make = lambda tau: bs.neuron(flow, guard=GUARD, init=dict(v=0.0), params=dict(tau=tau))
    before = [bs.Population(3, make(tau)) for tau in (1.0, 2.0)] and len(traced)
    jax.make_jaxpr(lambda tau: jax.tree.leaves(bs.Population(3, make(tau))))(3.0)
    assert len(traced) == before == 2  # by `bs.neuron` for one neuron, and for three


GUARD = lambda y, p: y["v"]
