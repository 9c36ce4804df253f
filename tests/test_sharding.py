"""A batch in parts on several devices: values and derivatives are those of one device, and no part is ever gathered.

Trials of a network with every kind of synapse, by `jax.shard_map` with its default checks and by automatic sharding.
"""

import functools as ft
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import brainsim as bs
from brainsim import _compat

TRIALS = 4


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((2,), ("trial",), axis_types=(kind,))


def weights(*shape):
    return 90.0 * (1 + np.arange(np.prod(shape)).reshape(shape) % 5)


def network():
    """Excitatory and inhibitory cells and a retina, with a layout of synapses each."""
    cell = bs.LIF(tau=10.0, surrogate=bs.Triangle(beta=0.2, area=0.2))
    receptors = dict(exc=bs.ExpCurrent(tau=5.0))
    cells = dict(E=bs.Population(8, cell, receptors), R=bs.Population(9, cell, receptors, noise=dict(v=0.1)))
    rows = dict(indices=np.arange(24) % 8, indptr=np.arange(9) * 3, n_pre=8, n_post=8)
    late = bs.DelayedCSR.from_coo(
        np.arange(24) % 8, np.arange(24) // 3, weights(24), 0.1 + 0.1 * (np.arange(24) % 3), 8, 8
    )
    drawn = bs.Procedural(bs.FixedOutDegree(2, weight=bs.Uniform(50.0, 200.0)))
    wiring = [
        bs.Projection("E", "E.exc", bs.CSR(weights(24), **rows), delay=0.2),
        bs.Projection("E", "E.exc", late),
        bs.Projection("E", "R.exc", bs.Dense(weights(8, 9)), delay=0.1),
        bs.Projection("R", "E.exc", bs.FanOut(weights(9, 2), np.arange(18).reshape(9, 2) % 8, 8), delay=0.1),
        bs.Projection("R", "E.exc", bs.Convolution(weights(2, 2, 1, 2), image=(3, 3)), delay=0.1),
        bs.Projection("R", "R.exc", drawn, delay=0.1),
        bs.Projection("E", "R.exc", drawn, delay=bs.Uniform(0.1, 0.4)),
        bs.Projection(
            "R", "R.exc", bs.LearnableDelays(bs.CSR(90.0, np.arange(9), np.arange(10), 9, 9), delay=0.25, max_delay=0.4)
        ),
    ]
    return bs.Network(cells, wiring, key=jax.random.key(0))


def loss(net, currents, keys):
    """The mean over trials of a function of the spikes, and of the voltages at the end."""

    def trial(current, key):
        inputs = {"R": current, "E.exc": bs.Poisson(2000.0, weight=300.0, key=key)}
        run = bs.simulate(net, 6.0, dt=0.1, inputs=inputs, record=dict(spikes=["E", "R"]), key=key)
        v = run.state.node.populations["E"].neuron
        return sum(jnp.sum(jnp.tanh(x.sum(axis=0))) for x in jax.tree.leaves((run.spikes, v)))

    return jax.vmap(trial)(currents, keys).mean()
