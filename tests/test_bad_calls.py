"""Whatever is handed to a public function: it fits, or one line says what was given.

For each argument in turn, beside others that are right, everything that it might be mistaken for. The constructors are
in test_bad_arguments.py.
"""

import inspect
import linecache
import math
import traceback

import equinox as eqx
import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from rows import rows

import brainsim as bs
from brainsim import plotting

KEY = jax.random.key(0)
CELL = bs.Population(1, bs.LIF(), dict(exc=bs.ExpCurrent()))
RECORDING = bs.io.Recording(dt=0.1, stimulus=np.ones(20), voltage=np.linspace(-70.0, -60.0, 20))
AXES = Figure().subplots()
LOSS = lambda model, recording: (model.tau - 12.0) ** 2

# Right arguments, by position and by name; first those of operators: two neurons with two synapses each onto three.
VECTOR, INDICES, ROWS = np.ones(2, np.float32), np.array([0, 1, 1, 2], np.int32), np.array([0, 2, 4], np.int32)
SEED, NONE = np.array([1, 2], np.uint32), np.zeros(0, np.uint32)
SHAPE, PATTERN = bs.ops.ConvolutionShape((2, 2, 1), (1, 1, 1)), bs.ops.ProceduralPattern(2, 3, "different", 3, 1, 1)
DRAWN = dict(seed=SEED, table=NONE, pattern=PATTERN, noise="none")
OPERATORS = {
    bs.ops.csr_matvec: dict(spikes=VECTOR, weight=1.0, indices=INDICES, indptr=ROWS, n_post=3),
    bs.ops.csr_rmatvec: dict(values=np.ones(3, np.float32), weight=1.0, indices=INDICES, indptr=ROWS),
    bs.ops.csr_outer: dict(spikes=VECTOR, values=np.ones(3, np.float32), indices=INDICES, indptr=ROWS),
    bs.ops.dense_matvec: dict(spikes=VECTOR, weight=np.ones((2, 3), np.float32)),
    bs.ops.convolution: dict(image=np.ones(4, np.float32), weight=np.ones((1, 1, 1, 1), np.float32), shape=SHAPE),
    bs.ops.fan_out_matvec: dict(spikes=VECTOR, weight=1.0, indices=INDICES.reshape(2, 2), n_post=3),
    bs.ops.arrivals: dict(
        history=np.ones((2, 2), np.float32), weight=1.0, indices=INDICES, indptr=np.array([[0, 2], [2, 4]], np.int32),
        steps=np.ones(1, np.int32), k=1, n_post=3,
    ),
    bs.ops.empty_events: dict(capacity=2),
    bs.ops.append_events: dict(events=np.zeros((3, 2), np.int32), spikes=VECTOR, step=np.int32(1)),
    bs.ops.spike_list: dict(spikes=VECTOR, size=2),
    bs.ops.poisson_counts: dict(key=KEY, step=1, mean=1.0, n=2),
    bs.ops.bernoulli_counts: dict(key=KEY, step=1, probability=0.5, n=2),
    bs.ops.procedural_matvec: dict(spikes=VECTOR, **DRAWN),
    bs.ops.procedural_rmatvec: dict(values=np.ones(3, np.float32), **DRAWN),
    bs.ops.procedural_synapses: DRAWN,
    bs.ops.procedural_send: dict(ring=np.ones((2, 3), np.float32), sent=VECTOR, delays=NONE, k=1, **DRAWN),
    bs.ops.procedural_delays: dict(seed=SEED, delays=NONE, pattern=PATTERN),
    bs.ops.carry_weights: dict(step=lambda weights: weights),
}  # fmt: skip
RIGHT = OPERATORS | {
    bs.simulate: dict(node=CELL, duration=0.2, dt=0.1),
    bs.initial_state: dict(node=CELL, dt=0.1),
    bs.run: dict(node=CELL, duration=0.2, dt=0.1, progress=False),
    bs.simulate_events: dict(cell=bs.LIF(), duration=1.0, max_spikes=1),
    bs.sweep: dict(fn=lambda a: a, axes=dict(a=[1.0, 2.0]), progress=False),
    bs.fit: dict(
        model=bs.LIF(), recording=RECORDING, free=dict(tau=(5.0, 20.0)), loss=LOSS, starts=1, steps=1, progress=False
    ),
    bs.with_params: dict(model=bs.LIF(), values=dict(tau=5.0)),
    bs.parameters: dict(model=bs.LIF()),
    bs.units: dict(module=bs.LIF()),
    bs.docs: dict(module=bs.LIF()),
    bs.domains: dict(module=bs.LIF()),
    bs.param: dict(default=1.0),
    plotting.raster: dict(ax=AXES, times=np.ones(2), rows=np.ones(2)),
    plotting.rescaling: dict(ax=AXES, rescaled=[("a", np.array([0.2, 0.6]), "k")]),
    plotting.losses: dict(ax=AXES, history=np.ones((2, 3))),
    plotting.parameter_ranges: dict(
        ax=AXES, names=["a"], fits=[("x", [(2.0, 1.0, 3.0)], "k", "o")], bounds=[(1.0, 5.0)]
    ),
    plotting.heat_map: dict(ax=AXES, x=np.arange(2.0), y=np.arange(3.0), z=np.ones((2, 3)), label="Hz"),
    bs.open_run: dict(path="nowhere"),
    bs.Network: dict(populations=dict(E=CELL), projections=[]),
    bs.networks.coba: dict(n_e=4, n_i=1, p=0.5),
    bs.networks.cuba: dict(n_e=4, n_i=1, p=0.5),
    bs.networks.coba_hh: dict(n_e=4, n_i=1, p=0.5),
    bs.networks.brunel: dict(order=10),
    bs.networks.microcircuit: dict(scale=0.005, drive="dc"),
    bs.io.read_recording: dict(path="nowhere.csv"),
    bs.io.write_recording: dict(recording=RECORDING, path="nowhere/a.csv"),
    bs.losses.voltage_mse: dict(model=bs.LIF(), recording=RECORDING),
    bs.losses.spike_log_likelihood: dict(
        model=bs.neurons.EscapeLIF(), recording=bs.io.Recording(dt=0.1, stimulus=np.ones(20), spike_times=[1.0])
    ),
}
# Arguments that matplotlib looks at itself.
MATPLOTLIBS = {"color", "size", "label"}
# These are traced only: to compile what is accepted would take minutes.
TRACED = {
    bs.simulate,
    bs.simulate_events,
    *OPERATORS,
    *(f for f in RIGHT if f.__module__.startswith("brainsim.losses")),
}
# What other tests hand everything to, or what takes whatever it is given.
ELSEWHERE = {bs.rate, bs.spike_times, bs.cv_isi, bs.neuron, bs.ops.backend, plotting.theme}


class Other:
    """Nothing that any function takes."""


NEVER = {"object": Other(), "complex": 1j, "bytes": b"1", "set": {1.0}, "a class": Other, "texts": np.array(["a"])}
PERHAPS = {"None": None, "nan": math.nan, "inf": math.inf, "negative": -1.0, "zero": 0, "half": 0.5, "huge": 10**30}
PERHAPS |= {
    "text": "x",
    "empty text": "",
    "true": True,
    "array": np.ones(7),
    "empty": [],
    "list": ["v"],
    "dict": {"a": 1.0},
}
PERHAPS |= {"function": lambda *_: 1.0, "key": KEY, "neuron": bs.LIF(), "network": bs.Network(dict(E=CELL))}


def arguments(f):
    kinds = inspect.Parameter
    every = inspect.signature(f).parameters.values()
    return [p for p in every if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]


def outcome(f, **given):
    """None if it is accepted; else the message, with where it was raised if that was not deliberate."""
    ahead = [given.pop(p.name) for p in arguments(f) if p.kind is inspect.Parameter.POSITIONAL_ONLY and p.name in given]
    call = lambda: f(*ahead, **given)
    try:
        jax.make_jaxpr(lambda: jax.tree.leaves(eqx.filter(call(), eqx.is_array)))() if f in TRACED else call()
    except (ValueError, OSError) as e:
        last = traceback.extract_tb(e.__traceback__)[-1]
        said, deliberate = str(e), "raise" in linecache.getline(last.filename, last.lineno)
        deliberate &= "brainsim" in last.filename
        return (
            said if said and "\n" not in said and deliberate else f"OBSCURE {said!r} at {last.filename}:{last.lineno}"
        )
    except Exception as e:
        last = traceback.extract_tb(e.__traceback__)[-1]
        return f"OBSCURE {type(e).__name__} {e} at {last.filename}:{last.lineno}"


@pytest.mark.parametrize("f", rows(RIGHT, long={bs.simulate_events, bs.fit}), ids=lambda f: f.__name__)
def test_one_line(f, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = []
    for p in arguments(f):
        for what, value in {**NEVER, **PERHAPS}.items():
            if (f, p.name, what) in LARGE or (f.__module__ == plotting.__name__ and p.name in MATPLOTLIBS):
                continue
            said = outcome(f, **{**RIGHT[f], p.name: value})
            accepted = said is None and what in NEVER and (f, p.name) not in ANYTHING
            if accepted or (said or "").startswith("OBSCURE"):
                wrong.append(f"{p.name} = {what}: {said or 'accepted'}")
    assert not wrong, "\n".join(wrong)


# Right, and a network of tens of thousands of neurons.
LARGE = {(bs.networks.microcircuit, name, "half") for name in ("scale", "in_degree_scale")}
ANYTHING = {(bs.param, "default"), (bs.fit, "recording")}


def test_every_function_is_tried():
    spaces = (bs, bs.losses, bs.fitting, bs.io, bs.networks, bs.ops)
    public = {getattr(space, name) for space in spaces for name in dir(space) if not name.startswith("_")}
    public |= {f for f in vars(plotting).values() if getattr(f, "__module__", "") == plotting.__name__}
    ours = {f for f in public if inspect.isfunction(f) and f.__module__.startswith("brainsim")}
    assert not {f for f in ours if not f.__name__.startswith("_")} - set(RIGHT) - ELSEWHERE
    assert sum(len(arguments(f)) for f in RIGHT) * (len(NEVER) + len(PERHAPS)) > 3000
