"""A fit to spikes where there are none says so, in training and on what was held out."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs


def cell(*spikes):
    return bs.io.Recording(dt=1.0, stimulus=np.full(200, 100.0), spike_times=spikes)


def poisson(model, recording):
    """The simplest loss per spike: a rate of exp(v_th / 20 mV), as `bs.losses.spike_log_likelihood` counts its bins."""
    fired = jnp.asarray(recording.counts(recording.dt) > 0, float)
    rate = jnp.broadcast_to(model.v_th / 20, fired.shape)
    return bs.losses.Terms(rate, lambda x: jnp.exp(x) - fired * x, fired, likelihood=True)


def fit(recording):
    free = dict(v_th=(-90.0, -40.0))
    return bs.fit(bs.neurons.EscapeLIF(), recording, free=free, loss=poisson, starts=2, steps=2, progress=False)


def test_nothing_to_fit():
    with pytest.raises(ValueError, match=r"^nothing to fit: there are no spikes from 0 to 160 ms$"):
        fit(cell(180.0))


def test_nothing_held_out():
    found = fit(cell(30.0, 75.0, 120.0))
    assert found.held_out is None and math.isfinite(found.loss)
    assert found.notes == ("no held-out loss: there are no spikes from 160 to 200 ms",)
    assert "held out" not in str(found).splitlines()[0]
    assert json.loads(json.dumps(found.to_dict()))["held_out"] is None
