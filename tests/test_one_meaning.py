"""What a number means does not depend on what is recorded, on the size of a step or on another input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs


@pytest.mark.parametrize("n", [3, 600])
def test_what_is_recorded_changes_no_spike(n, x32):
    """A spike is a value of the surrogate that is not zero, a negative one too, however few neurons there are."""
    neuron = bs.LIF(surrogate=lambda x: jnp.where(jnp.abs(x) < 1, x, 0), t_ref=0.5)
    receptors = dict(exc=bs.ExpCurrent(tau=5.0))
    cells = bs.Population(n, neuron, receptors, initial=dict(v=np.linspace(-70, -55, n)))
    back = bs.Projection("A", "B.exc", bs.OneToOne(weight=50.0), delay=0.1)
    net = bs.Network(dict(A=cells, B=cells), [back], key=jax.random.key(0))
    inputs, last = dict(A=1500.0, B=1400.0), lambda run: (run["A"][-1], run["B"][-1])
    v = dict(A="A.v", B="B.v")
    alone = last(bs.simulate(net, 5.0, 0.1, inputs, v))
    for spikes in (bs.Record(["A"]), bs.Record(["A"], events=100 * n)):
        recorded = bs.simulate(net, 5.0, 0.1, inputs, {**v, "spikes": spikes})
        np.testing.assert_array_equal(last(recorded), alone)


def test_refractoriness_is_rounded_up_as_in_nest(x32):
    """The steps that NEST 3.10 counts at a resolution of 0.1 ms."""
    t_ref = [0.0, 0.05, 0.2, 0.21, 0.25, 0.26, 0.3, 0.35, 2.0, 1.9]
    cells = bs.Population(10, bs.LIF(t_ref=t_ref))
    assert cells.pause(0.1).tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 20, 19]


def delayed(delay, **options):
    cells = bs.Population(2, bs.LIF(v_reset=-80.0), dict(exc=bs.ExpCurrent(tau=1.0)))
    connect = bs.FromArrays([0, 1], [1, 0], weight=1000.0)
    return bs.Network(dict(A=cells), [bs.Projection("A", "A.exc", connect, delay, **options)], key=jax.random.key(0))


def test_given_delays_are_exact_or_refused(x32):
    exact = delayed(np.array([0.14, 0.3]), resolution=0.02).synapses("A->A.exc").delay
    np.testing.assert_allclose(exact, [0.14, 0.3], rtol=1e-12)
    float32 = delayed(np.array([0.7, 0.3], np.float32)).synapses("A->A.exc").delay
    np.testing.assert_allclose(float32, [0.7, 0.3], rtol=1e-12)
    with pytest.raises(ValueError, match=r"delay number 1, 0\.14 ms, is no multiple of the resolution, 0\.1 ms"):
        delayed([0.3, 0.14])
    connect = bs.Procedural(bs.FixedOutDegree(2)).build(jax.random.key(0), 3, 3, same=True)
    with pytest.raises(ValueError, match=r"0\.14 ms, is no multiple of the resolution, 0\.1 ms"):
        bs.DelayedRegenerated(connect, 0.14)
