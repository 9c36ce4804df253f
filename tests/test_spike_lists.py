"""Spikes as lists of events: the operator against its plain twin, lists against rasters, and what happens when full."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import needs
import numpy as np
import pytest
from rows import one_precision
from tolerances import assert_close

import brainsim as bs
from brainsim.ops import _events

CURRENT = np.array([500.0, 700.0, 900.0])


def obvious(events, spikes, step):
    """The list with the spikes of one step, neuron by neuron."""
    events = np.array(events)
    for neuron in np.flatnonzero(spikes):
        if events[0, 0] < len(events) - 1:
            events[events[0, 0] + 1] = step, neuron
        events[0, 0] += 1
    return events


@pytest.mark.parametrize("capacity", [0, 1, 7, 1000])
@pytest.mark.parametrize("n, share", [(1, 0.5), (7, 0.0), (64, 1.0), (200, 0.02), (129, 0.5)])
@one_precision
def test_append(n, share, capacity, precision):
    rng = np.random.default_rng(n)
    kernel, plain = jax.jit(bs.ops.append_events), jax.jit(_events._reference)
    expected = np.zeros((capacity + 1, 2), np.int32)
    got, other = bs.ops.empty_events(capacity), bs.ops.empty_events(capacity)
    for step in range(1, 6):
        spikes = jnp.asarray(rng.normal(size=n) * (rng.random(n) < share))  # graded, and some are -0
        expected = obvious(expected, spikes, step)
        got, other = kernel(got, spikes, jnp.int32(step)), plain(other, spikes, jnp.int32(step))
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(other, expected)


@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, None), (None, None, 0), (1, 1, 0)])
def test_vmap_is_one_call(axes, x64):
    rng = np.random.default_rng(0)
    spikes = jnp.asarray(rng.random((4, 30)) < 0.2, float)
    full = jnp.zeros((4, 9, 2), jnp.int32), spikes, jnp.arange(4, dtype=jnp.int32)
    args = [x[0] if a is None else jnp.moveaxis(x, 0, a) for x, a in zip(full, axes, strict=True)]
    mapped = jax.vmap(bs.ops.append_events, axes)
    assert str(jax.make_jaxpr(mapped)(*args)).count("brainsim_append_events") == 1
    for b, got in enumerate(jax.jit(mapped)(*args)):
        rows = [np.asarray(full[i][0] if a is None else full[i][b]) for i, a in enumerate(axes)]
        np.testing.assert_array_equal(got, obvious(*rows))


def test_the_old_list_survives_where_it_is_needed(x32):
    """The kernel writes in place only if nobody looks at the list again."""
    old = bs.ops.append_events(bs.ops.empty_events(3), jnp.ones(1), jnp.int32(1))
    both = jax.jit(lambda e: (e, bs.ops.append_events(e, jnp.ones(1), jnp.int32(2))))
    before, after = both(old)
    assert before.tolist() == old.tolist() == [[1, 0], [1, 0], [0, 0], [0, 0]]
    assert after.tolist() == [[2, 0], [1, 0], [2, 0], [0, 0]]


@pytest.mark.parametrize("count", [-(2**31), -1, 3, 10**6, 2**31 - 1])
def test_wild_counts_are_survived(count, x32):
    events = jnp.zeros((4, 2), jnp.int32).at[0, 0].set(count)
    got, other = (jax.jit(f)(events, jnp.ones(70), jnp.int32(1)) for f in (bs.ops.append_events, _events._reference))
    np.testing.assert_array_equal(got, other)
    assert int(got[0, 0]) == min(max(count, 0) + 70, 2**31 - 1)


@pytest.mark.parametrize("bad", ["list", "spikes", "step"])
def test_errors_of_the_operator(bad, x32):
    args = dict(events=bs.ops.empty_events(3), spikes=jnp.ones(3), step=jnp.int32(0))
    args |= dict(list=dict(events=jnp.zeros((3, 2))), spikes=dict(spikes=jnp.ones((3, 1))), step=dict(step=0.5))[bad]
    with pytest.raises(ValueError, match=r"append_events: .* (must be|expected)"):
        bs.ops.append_events(**args)


@needs.kernels
def test_kernel_refuses_what_does_not_fit(x32):
    shape, i = jax.ShapeDtypeStruct((4, 2), jnp.int32), jnp.int32(0)
    good = [jnp.zeros((4, 2), jnp.int32), jnp.ones(5), i]
    call = lambda *args: jax.ffi.ffi_call("brainsim_append_events", shape)(*args).block_until_ready()
    assert call(*good).shape == (4, 2)
    wrong = jnp.zeros((4, 3), jnp.int32), jnp.ones((1, 5)), jnp.ones(5, jnp.bfloat16), jnp.zeros(1, jnp.int32)
    for k, value in zip((0, 1, 1, 2), wrong, strict=True):
        with pytest.raises(Exception, match="brainsim append_events"):
            call(*(value if j == k else x for j, x in enumerate(good)))


# ---- lists as records


def network(scale=1.0):
    cells = bs.Population(3, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)))
    connect = bs.Projection("E", "I.exc", bs.Dense(scale * jnp.full((3, 3), 2e3) + 100.0 * jnp.eye(3)), delay=1.5)
    return bs.Network(dict(E=cells, I=cells), [connect])


LIST, RASTER = bs.Record(["E", "I"], events=100), ["E", "I"]


def test_lists_are_the_raster(precision):
    record = dict(list=LIST, some=bs.Record(["E"], events=50, index=[2, 0]), spikes=RASTER, v=bs.Record("I.v", every=7))
    first = bs.simulate(network(), 30.1, 0.1, dict(E=CURRENT), record)
    run = bs.simulate(network(), 30.1, 0.1, dict(E=CURRENT), record, state=first.state)
    start = float(run.start)
    assert set(run.records) == set(record) and run["v"].shape[0] == 43
    for name, spikes in run["list"].items():
        raster = np.asarray(run.spikes[name])
        assert raster.sum() > 3 and int(spikes.count) == raster.sum() and not spikes.overflow
        np.testing.assert_array_equal(spikes.raster(), raster > 0)
        assert_close(bs.rate(spikes), bs.rate(run.spikes[name], 0.1))
        for a, b in zip(bs.spike_times(spikes), bs.spike_times(raster, 0.1, start), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
        there = np.asarray(spikes.times)
        assert np.isinf(there[int(spikes.count) :]).all() and there[0] > start
    np.testing.assert_array_equal(run["some"]["E"].raster(), np.asarray(run.spikes["E"])[:, [2, 0]] > 0)


@pytest.mark.slow
def test_lists_in_jit_vmap_and_grad(x64):
    """Under any transformation the list is that of the raster, and the gradient of the rest is what it was."""

    def run(w, record):
        return bs.simulate(network(w), 30.0, 0.1, dict(E=CURRENT), dict(**record, v="I.v"), checkpoint=10)

    def loss(w, record):
        result = run(w, record)
        return jnp.mean(result["v"] ** 2), result.records.get("list")

    grads = lambda record: eqx.filter_jit(jax.vmap(jax.value_and_grad(lambda w: loss(w, record), has_aux=True)))
    weights = jnp.array([0.5, 1.0, 3.0])
    (value, lists), slope = grads(dict(list=LIST))(weights)
    (expected, _), expected_slope = grads({})(weights)
    assert_close((value, slope), (expected, expected_slope), chaotic=True)
    for b, w in enumerate(weights):
        one = jax.tree.map(lambda x, b=b: x[b], lists)
        raster = run(w, dict(spikes=RASTER)).spikes
        assert len(np.unique(lists["I"].count)) > 1
        for name in RASTER:
            np.testing.assert_array_equal(one[name].raster(), np.asarray(raster[name]) > 0)
    with pytest.raises(ValueError, match="a batch of"):
        lists["E"].numpy()


def test_a_list_is_read_outside_of_programs(x64):
    def total(current):
        run = bs.simulate(bs.Population(2, bs.LIF()), 20.0, 0.1, current, dict(spikes=bs.Record(True, events=9)))
        return run.spikes.numpy()[0].sum()

    with pytest.raises(ValueError, match="a list of spikes is read outside of jit, vmap and grad"):
        jax.jit(total)(500.0)


def test_a_full_list_is_never_silent(x64):
    record = dict(spikes=bs.Record(["E", "I"], events=4))
    with pytest.warns(RuntimeWarning) as caught:
        run = bs.simulate(network(), 50.0, 0.1, dict(E=CURRENT), record)
    count = int(run.spikes["E"].count)
    assert count > 4 and run.spikes["E"].overflow
    said = f"record 'spikes', 'E': there were {count} spikes, but the list has room for 4: give events={count} or more"
    assert said in [str(w.message) for w in caught]
    for read in (bs.spike_times, bs.Spikes.numpy, bs.Spikes.raster):
        with pytest.raises(ValueError, match="but the list has room for 4"):
            read(run.spikes["E"])
    assert np.isnan(bs.rate(run.spikes["E"])).all()
    whole = bs.simulate(network(), 50.0, 0.1, dict(E=CURRENT), dict(spikes=LIST)).spikes["E"]
    np.testing.assert_array_equal(run.spikes["E"].steps, whole.steps[:4])
    with warnings.catch_warnings():  # inside of a transformation it is a flag
        warnings.simplefilter("error")
        inside = eqx.filter_jit(lambda: bs.simulate(network(), 50.0, 0.1, dict(E=CURRENT), record).spikes["E"])()
    assert bool(inside.overflow) and int(inside.count) == count


def test_a_list_of_a_lone_population(x64):
    run = bs.simulate(bs.Population(3, bs.LIF()), 50.0, 0.1, CURRENT, dict(spikes=bs.Record(True, events=99), r=True))
    np.testing.assert_array_equal(run.spikes.raster(), np.asarray(run["r"]) > 0)
    with pytest.raises(ValueError, match="has times of its own"):
        run.times("spikes")
    with pytest.raises(ValueError, match="a raster does not know its time step"):
        bs.rate(run["r"])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: bs.Record(True, events=0), "events of a record must be a whole number, at least 1"),
        (lambda: bs.Record(True, events=1.5), "events of a record must be a whole number, at least 1"),
        (lambda: bs.Record("v", events=9), "events= is for spikes, and without dtype=; got 'v'"),
        (lambda: bs.Record(True, events=9, dtype=bool), "events= is for spikes, and without dtype="),
    ],
)
def test_bad_records(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@needs.kernels
def test_the_list_stays_in_place(x32):
    """A loop over many steps with a long list costs nothing that grows with the list."""
    text = jax.jit(
        lambda: jax.lax.scan(
            lambda e, k: (bs.ops.append_events(e, jnp.ones(3), k), None), bs.ops.empty_events(7777), jnp.arange(5)
        )[0]
    )
    assert "copy" not in _loop(text.lower().compile().as_text())


def _loop(text):
    """The body of the loop of a compiled program."""
    bodies = [part for part in text.split("\n\n") if "brainsim_append_events" in part]
    assert len(bodies) == 1
    return "\n".join(line for line in bodies[0].splitlines() if "7778" in line)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (5, 0), (300, 40)])
@one_precision
def test_rates_are_the_same_whatever_a_raster_is_made_of(shape, precision):
    raster = np.random.default_rng(1).random(shape) < 0.3
    expected = raster.mean(0) * 1e3 / 0.1
    for dtype in (bool, np.int8, np.int32, np.float32):
        rates = bs.rate(jnp.asarray(raster, dtype), 0.1)
        assert rates.dtype == jnp.result_type(float)
        assert_close(rates, expected.astype(rates.dtype))
        many = jax.jit(jax.vmap(lambda x: bs.rate(x, 0.1)))(jnp.asarray([raster, ~raster], dtype))
        assert_close(many, np.stack([expected, 1e4 - expected]).astype(rates.dtype))
