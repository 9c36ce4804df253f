"""AdEx with an ever sharper upstroke goes over into the neuron that spikes at v_t, and stays finite on the way."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs


@pytest.mark.parametrize("solver", [None, diffrax.Heun()], ids=["default", "Heun"])
def test_slope_factor_to_zero(solver):
    """At 1,000 pA NEST's neuron with Delta_T = 0 spikes 6 times in 100 ms. The times: Euler at dt = 1e-4 ms."""
    cells = bs.Population(4, bs.AdEx(delta_t=[0.0, 1e-3, 0.05, 0.5]))
    run = bs.simulate(cells, 100.0, 0.02, 1000.0, dict(spikes=True, v="v"), solver=solver)
    limit, *others = bs.spike_times(run.spikes, run.dt)
    assert bool(jnp.isfinite(run["v"]).all()) and len(limit) == 6
    expected = [8.742, 18.838, 30.681, 44.805, 61.924, 82.870]
    np.testing.assert_allclose(limit, expected, atol=6 * run.dt)  # every spike is stamped up to a step late
    late = [np.abs(times - limit).max() for times in others]
    assert late[0] < 0.2 and late == sorted(late)
