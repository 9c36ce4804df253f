"""Whatever is handed to the constructor of a public component: it fits, or one line says what was given.

For each argument of each class in turn, beside others that are right, everything that it might be mistaken for.
"""

import inspect
import math

import equinox as eqx
import jax
import numpy as np
import pytest

import brainsim as bs

KEY = jax.random.key(0)
ROWS = bs.CSR([2.0], [0], [0, 1], 1, 1)
SEEDED = bs.Procedural(bs.FixedOutDegree(1)).build(KEY, 3, 3, same=False)
WORDS = np.zeros(2, np.uint32)

# Right arguments, for what has required ones.
RIGHT = {
    bs.Poisson: dict(rate=5.0, key=KEY),
    bs.Bernoulli: dict(rate=5.0, key=KEY),
    bs.SpikeTrain: dict(times=[1.0]),
    bs.Normal: dict(mean=0.0, sd=1.0),
    bs.Uniform: dict(low=0.0, high=1.0),
    bs.Population: dict(n=3, neuron=bs.LIF()),
    bs.Projection: dict(pre="E", post="E.exc", connect=bs.OneToOne(), delay=1.0),
    bs.Record: dict(what="v"),
    bs.CSR: dict(weight=1.0, indices=[0, 1], indptr=[0, 1, 2], n_pre=2, n_post=2),
    bs.FanOut: dict(weight=1.0, indices=[[0, 1]], n_post=2),
    bs.Dense: dict(weight=[[1.0]]),
    bs.Diagonal: dict(weight=1.0, n=2),
    bs.Full: dict(weight=1.0, n_pre=2, n_post=2),
    bs.Convolution: dict(weight=np.ones((2, 2, 1, 1)), image=(3, 3)),
    bs.DelayedCSR: dict(weight=1.0, indices=[0], indptr=[[0, 1]], n_pre=1, n_post=2, delays=[0.1]),
    bs.LearnableDelays: dict(connect=ROWS, delay=1.0, max_delay=2.0),
    bs.Regenerated: dict(weight=1.0, seed=WORDS, table=WORDS[:0], pattern=SEEDED.pattern),
    bs.DelayedRegenerated: dict(connect=SEEDED, delay=1.0),
    bs.Procedural: dict(rule=bs.FixedOutDegree(1)),
    bs.FixedProbability: dict(p=0.1),
    bs.FixedInDegree: dict(k=1),
    bs.FixedOutDegree: dict(k=1),
    bs.FixedTotalNumber: dict(n=1),
    bs.FromArrays: dict(pre=[0], post=[0]),
    bs.neuron: dict(flow=lambda t, y, p, i: y, guard=lambda y, p: y["v"], init=dict(v=0.0), params=dict(a=1.0)),
    bs.rate: dict(spikes=np.ones((3, 2)), dt=0.1),
    bs.spike_times: dict(spikes=np.ones((3, 2)), dt=0.1),
    bs.cv_isi: dict(spikes=[np.arange(9.0)]),
    bs.io.Recording: dict(dt=0.1, stimulus=[1.0, 2.0]),
    bs.Axis: dict(values=[1.0]),
}
# Those whose arguments can all be left out.
PLAIN = [bs.LIF, bs.AdEx, bs.Izhikevich, bs.HH, bs.HHTraub, bs.neurons.GIF, bs.neurons.EscapeLIF]
PLAIN += [bs.neurons.AuditoryReceptor, bs.DeltaConductance, bs.ExpCurrent, bs.AlphaCurrent, bs.ExpConductance]
PLAIN += [
    bs.AlphaConductance,
    bs.SuperSpike,
    bs.FastSigmoid,
    bs.ArcTan,
    bs.Triangle,
    bs.Gaussian,
    bs.OneToOne,
    bs.AllToAll,
]
RIGHT |= {made: dict(vars(made())) for made in PLAIN}  # arrays by now, which costs less than numbers do

TEXT = {"pre", "post", "what", "unit", "doc", "stimulus_unit", "stimulus_name", "source"}  # may be any text
LATER = {(bs.Record, "what")}  # what a record names is looked up when it is used


class Mass:
    """A quantity that no model has a use for, and which can be made a number all the same."""

    units = "kg"

    def __array__(self, dtype=None, copy=None):
        return np.ones(())

    def __float__(self):
        return 1.0

    def to(self, unit):
        raise TypeError(f"a mass is not in {unit}")


NEVER = {
    "text": "10 mV",
    "bytes": b"1",
    "complex": 1j,
    "object": object(),
    "set": {1.0},
    "mass": Mass(),
    "a class": bs.LIF,
}
NEVER |= {"None inside": [1.0, None], "ragged": [[1.0], [1.0, 2.0]], "texts": np.array(["a"]), "masked": np.ma.ones(2)}
PERHAPS = {"None": None, "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "negative": -1.0, "zero": 0, "whole": -1}
PERHAPS |= {"half": 0.5, "huge": 10**30, "empty text": "", "true": True, "array": np.ones(7), "empty": [], "key": KEY}
PERHAPS |= {"nan inside": np.array([1.0, math.nan]), "function": lambda *_: 1.0, "dict": {"a": 1.0}}


def arguments(made):
    kinds = inspect.Parameter
    every = inspect.signature(made).parameters.values()
    return [p.name for p in every if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]


def refusal(made, argument, value):
    """The message, or None if the value is accepted; anything but one line of a ValueError passes through."""
    try:
        made(**{**RIGHT[made], argument: value})
    except ValueError as e:
        return str(e)


@pytest.mark.parametrize("made", RIGHT, ids=lambda made: made.__name__)
def test_one_line(made):
    made(**RIGHT[made])
    for argument in arguments(made):
        for what, value in {**NEVER, **PERHAPS}.items():
            said = refusal(made, argument, value)
            assert said is None or (said and "\n" not in said and len(said) < 400), (argument, what, said)
            fits = (made, argument) in LATER or (argument in TEXT and what == "text")
            fits |= (callable(value) and callable(RIGHT[made].get(argument))) or (argument, what) in FITS
            assert said or fits or what not in NEVER, (argument, what)


PARTS = [made for made in RIGHT if isinstance(made, type) and issubclass(made, eqx.Module)]


@pytest.mark.parametrize("made", PARTS, ids=lambda made: made.__name__)
def test_a_name_that_is_nearly_right(made):
    for name in arguments(made):
        with pytest.raises(
            TypeError, match=rf"{made.__name__} takes no '{name}x'; did you mean '{name}'\? available: "
        ):
            made(**{**RIGHT[made], f"{name}x": 1.0})


# A class is a function, too: what it draws is looked at when it draws. Neurons differ in their number of times.
FITS = {("weight", "a class"), ("delay", "a class"), ("spikes", "ragged"), ("times", "ragged")}


def test_everything_is_tried():
    assert sum(len(arguments(made)) for made in RIGHT) * (len(NEVER) + len(PERHAPS)) > 5000
