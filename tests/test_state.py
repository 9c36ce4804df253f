"""A run goes on from the state of another if it is the same node, in steps of the same length; else it says why not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs

NOISE = dict(noise=dict(v=1.0))


def cells(n=3, receptors=("exc",), **options):
    return bs.Population(n, bs.LIF(), {name: bs.ExpCurrent() for name in receptors}, **options)


def loop(delay=2.0, n=3, name="E"):
    link = bs.Projection(name, f"{name}.exc", bs.AllToAll(weight=100.0), delay=delay)
    return bs.Network({name: cells(n)}, [link], key=jax.random.key(0))


@pytest.mark.parametrize(
    "node, dt, message",
    [
        (loop(), 0.05, "its time step is 0.1 ms, here it is 0.05 ms"),
        (loop(1.0), 0.1, r"its history.E is float32\[20, 3\], here it is float32\[10, 3\].*longest delay"),
        (loop(0.1), 0.1, r"its history.E is float32\[20, 3\], here it is float32\[3\].*longest delay"),
        (loop(n=4), 0.1, r"its populations.E.neuron.v is float32\[3\], here it is float32\[4\]"),
        (loop(name="I"), 0.1, "it has no populations.I.neuron.v"),
        (cells(), 0.1, "it has no neuron.v"),
    ],
)
def test_a_state_of_another_run_is_refused(node, dt, message, x32):
    state = bs.initial_state(loop(), 0.1)
    for run in (bs.simulate, bs.run):
        with pytest.raises(ValueError, match=f"^state is of another run: {message}"):
            run(node, 1.0, dt, state=state)


def test_a_state_of_a_larger_population_another_receptor_noise_or_precision_is_refused(x32):
    state = bs.initial_state(cells(), 0.1)
    noisy = bs.initial_state(cells(**NOISE), 0.1, key=jax.random.key(0))
    refused = [
        (cells(1), state, r"its neuron.v is float32\[3\], here it is float32\[1\]"),
        (cells(receptors=("exc", "inh")), state, "it has no receptors.inh.i, which this node has"),
        (cells(receptors=()), state, "it has receptors.exc.i, which this node has not"),
        (cells(**NOISE), state, "it has no key for the noise; give key="),
        (cells(), noisy, "it has key, which this node has not"),
    ]
    for node, at, message in refused:
        with pytest.raises(ValueError, match=message):
            bs.simulate(node, 1.0, 0.1, state=at)
    with jax.enable_x64(True), pytest.raises(ValueError, match=r"is float32\[3\], here it is float64\[3\]"):
        bs.simulate(cells(), 1.0, 0.1, state=state)


def test_a_model_in_double_precision_is_not_run_in_single(x32):
    with jax.enable_x64(True):
        cells = bs.Population(1, bs.LIF())
    with pytest.raises(ValueError, match="simulate: the model was made with jax_enable_x64, which is off now") as e:
        bs.simulate(cells, 0.2, 0.1)
    assert "\n" not in str(e.value)


def test_any_number_is_a_time_step(x32):
    cells = bs.Population(1, bs.LIF())
    state = bs.initial_state(cells, dt=np.float32(0.1), start=1)
    assert state.dt == 0.1
    assert bs.simulate(cells, 0.2, np.float32(0.1), record=dict(v="v"), state=state).state.dt == 0.1
    with pytest.raises(ValueError, match="dt must be positive"):
        bs.initial_state(cells, dt=-0.1)


def test_a_node_s_state_without_its_time_is_refused():
    state = bs.initial_state(loop(), 0.1).node
    with pytest.raises(ValueError, match=r"must be a Snapshot, .*; got NetworkState"):
        bs.simulate(loop(), 1.0, 0.1, state=state)
    with pytest.raises(ValueError, match="start= or state="):
        bs.simulate(loop(), 1.0, 0.1, state=bs.initial_state(loop(), 0.1), start=5.0)


def test_a_key_beside_a_state_draws_other_noise(x32):
    node = cells(**NOISE)
    run = lambda t, **start: bs.simulate(node, t, 0.1, record=dict(v="v"), **start)
    whole = run(2.0, key=jax.random.key(0))
    first = run(1.0, key=jax.random.key(0))
    trial = lambda **key: np.asarray(run(1.0, state=first.state, **key)["v"])
    assert (trial() == whole["v"][10:]).all()  # without a key the noise goes on
    trials = [trial(), *(trial(key=jax.random.key(i)) for i in (1, 2, 1))]
    assert (trials[1] == trials[3]).all() and len({x.tobytes() for x in trials}) == 3
    # A key of the old kind is the same key; noise can also begin at a state that had none.
    assert (trial(key=jax.random.PRNGKey(1)) == trials[1]).all()
    calm = bs.simulate(cells(), 1.0, 0.1).state
    assert np.ptp(bs.simulate(node, 1.0, 0.1, record=dict(v="v"), state=calm, key=jax.random.key(1))["v"]) > 0
    with pytest.raises(ValueError, match="a key beside state= is for noise"):
        bs.simulate(cells(), 1.0, 0.1, state=calm, key=jax.random.key(1))


def test_a_state_is_a_pytree_to_jit_batch_and_keep(tmp_path, x32):
    """Its time step is part of its structure, which no transformation loses."""
    node = cells()
    states = jax.jit(jax.vmap(lambda i: bs.simulate(node, 1.0, 0.1, i).state))(jnp.array([100.0, 300.0]))
    assert states.dt == 0.1 and states.k.tolist() == [10, 10]
    on = jax.vmap(lambda state: bs.simulate(node, 1.0, 0.1, 300.0, dict(v="v"), state=state)["v"])(states)
    eqx.tree_serialise_leaves(tmp_path / "state.eqx", jax.tree.map(lambda x: x[1], states))
    kept = eqx.tree_deserialise_leaves(tmp_path / "state.eqx", bs.initial_state(node, 0.1))
    alone = bs.simulate(node, 1.0, 0.1, 300.0, dict(v="v"), state=kept)
    np.testing.assert_allclose(on[1], alone["v"], rtol=1e-6)
    assert alone.times("v")[0] == 1.1
    with pytest.raises(ValueError, match=r"is float32\[2, 3\], here it is float32\[3\]"):
        bs.simulate(node, 1.0, 0.1, state=states)
