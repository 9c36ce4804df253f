"""A step that runs far past the peak of a spike stays finite, in value and in both modes of differentiation."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import assert_close

import brainsim as bs


def exponential(delta):
    """An upstroke that nothing bounds."""
    return bs.neuron(
        lambda t, y, p, i: dict(v=-y["v"] / 10 + jnp.exp((y["v"] - 10) / p["delta"]) + i),
        guard=lambda y, p: y["v"] - 20,
        reset=lambda y, p: dict(v=-5.0),
        init=dict(v=0.0),
        params=dict(delta=delta),
    )


CELLS = {
    "AdEx": (lambda x: bs.AdEx(delta_t=x), 2.0, 800.0),
    "AdEx, sharp": (lambda x: bs.AdEx(delta_t=x), 0.5, 800.0),
    "exponential": (exponential, 0.5, 2.0),
}


@pytest.mark.parametrize("name", CELLS)
def test_forward_and_reverse(name, x32):
    """The mean number of spikes of 20 cells, with respect to the current and to the slope factor."""
    make, delta, current = CELLS[name]

    def spikes(x):
        run = bs.simulate(
            bs.Population(20, make(x[0])), 60.0, 0.1, x[1] * jnp.linspace(0.8, 1.2, 20), dict(spikes=True)
        )
        return run.spikes.sum() / 20

    x = jnp.array([delta, current])
    value, reverse = jax.jit(jax.value_and_grad(spikes))(x)
    forward = jax.jit(jax.jacfwd(spikes))(x)
    assert value > 1 and np.all(np.isfinite(forward)) and np.any(forward != 0)
    assert_close(forward, reverse, chaotic=True)


def test_growth_within_a_step_is_finite(precision):
    """dy/dt = a y + 1, for rates from moderate to beyond what exp can show; exact up to exp(29)."""
    a = jnp.array([-1e20, -1e3, 0.0, 1.0, 25.0, 1e3, 1e20])
    flow = lambda a: diffrax.ODETerm(lambda t, y, args: a * y + 1)
    step = lambda a: bs.ExponentialEuler().step(flow(a), 0.0, 1.0, jnp.ones_like(a), None, None, False)[0]
    y, dy = jax.jit(lambda a: jax.jvp(step, (a,), (a,)))(a)
    assert np.all(np.isfinite(y)) and np.all(np.isfinite(dy))
    few = np.asarray(a[1:5], float)
    expected = [np.exp(x) + (np.expm1(x) / x if x else 1.0) for x in few]
    np.testing.assert_allclose(y[1:5], expected, rtol=1e-5, atol=1e-7)
