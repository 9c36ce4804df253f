"""Synapses with delays of their own: connectivity, projections, networks that merge them; delays that are learnt."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import one_precision
from tolerances import assert_close

import brainsim as bs
from brainsim._compat import as_jax, is_traced
from brainsim.ops import _merge

DT = 0.1
N_PRE, N_POST, R = 6, 5, 8


def synapses(nnz=40, seed=0):
    """`pre`, `post`, `weight` and `delay` of a random list of synapses, duplicates among them."""
    rng = np.random.default_rng(seed)
    delay = rng.integers(1, R - 1, nnz) * DT
    return rng.integers(0, N_PRE, nnz), rng.integers(0, N_POST, nnz), rng.normal(size=nnz), delay


def learnable(weight, **options):
    pre, post, _, _ = synapses()
    connect = bs.CSR.from_coo(pre, post, weight(len(pre)), N_PRE, N_POST)
    delay = np.random.default_rng(5).uniform(0.05, 0.75, len(pre))
    made = bs.LearnableDelays(connect, DT, max_delay=(R - 2) * DT, **options)
    return eqx.tree_at(lambda c: c.delay, made, jnp.asarray(delay, made.delay.dtype))  # training leaves the bounds, too


def delayed(weight):
    pre, post, _, delay = synapses()
    return bs.DelayedCSR.from_coo(pre, post, weight(len(pre)), delay, N_PRE, N_POST)


# A new layout is one row, and faces every test below.
LAYOUTS = {
    "DelayedCSR": delayed,
    "DelayedCSR, one weight": lambda weight: delayed(lambda n: weight(1)[0]),
    "LearnableDelays": learnable,
    "LearnableDelays, rounded": lambda weight: learnable(weight, interpolate=False),
    "LearnableDelays, one weight": lambda weight: learnable(lambda n: weight(1)[0]),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def draw(n):
    return np.random.default_rng(n).normal(size=n)


def past(k=11, size=4):
    rng = np.random.default_rng(1)
    spikes = jnp.asarray(rng.normal(size=(R, N_PRE)) * (rng.random((R, N_PRE)) < 0.5), jnp.result_type(float))
    lists = jax.jit(jax.vmap(lambda row: bs.ops.spike_list(row, size)))(spikes)
    return bs.Past(spikes, lists, jnp.asarray(k, jnp.int32))


def dense(connect, past):
    """The obvious twin."""
    matrices = jax.jit(lambda: connect.as_dense(dt=DT))()
    rows = (int(past.k) - np.arange(1, len(matrices) + 1)) % R
    traced = any(map(is_traced, (past.spikes, matrices)))
    xp, spikes = (jnp, past.spikes) if traced else (np, np.asarray(past.spikes))
    return xp.einsum("di,dij->j", spikes[rows], matrices)


# ---- connectivity


@one_precision
@layouts
def test_is_its_matrices(layout, precision):
    connect = LAYOUTS[layout](draw)
    assert jax.eval_shape(lambda: connect.as_dense(dt=DT)).shape == (connect.longest(dt=DT), N_PRE, N_POST)
    for k in (0, 11):
        assert_close(connect(past(k), dt=DT), dense(connect, past(k)))
        assert_close(connect.prepare(dt=DT)(past(k), dt=DT), dense(connect, past(k)))


@layouts
def test_gradients_are_those_of_the_matrices(layout, x64):
    connect, now = LAYOUTS[layout](draw), past()
    loss = lambda f: lambda cx: jnp.sum(jnp.sin(f(cx[0], now._replace(spikes=cx[1]))))
    fast, slow = (
        eqx.filter_jit(eqx.filter_grad(loss(f)))((connect, now.spikes)) for f in (lambda c, p: c(p, dt=DT), dense)
    )
    assert_close(jax.tree.leaves(fast), jax.tree.leaves(slow))
    assert any(np.any(x) for x in jax.tree.leaves(fast[0]))


@layouts
def test_batches_of_weights(layout, x64):
    connect, now = LAYOUTS[layout](draw), past()
    many = jnp.stack([connect.weight, 2 * connect.weight, -connect.weight])
    run = lambda w: eqx.tree_at(lambda c: c.weight, connect, w)(now, dt=DT)
    one = connect(now, dt=DT)
    assert_close(jax.jit(jax.vmap(run))(many), jnp.stack([one, 2 * one, -one]))


def test_matrices_of_a_list(x64):
    pre, post, weight, delay = synapses()
    expected = np.zeros((R - 2, N_PRE, N_POST))
    np.add.at(expected, (np.round(delay / DT).astype(int) - 1, pre, post), weight)
    assert_close(bs.DelayedCSR.from_coo(pre, post, weight, delay, N_PRE, N_POST).as_dense(dt=DT), expected)


def test_rounding_of_delays(x64):
    def connect(*delay, **options):
        zeros = [0] * len(delay)
        return bs.DelayedCSR.from_coo(zeros, zeros, 1.0, delay, 1, 1, **options)

    assert connect(0.05, 0.149, 0.15, 0.25, 1.0).delays == (0.1, 0.2, 0.3, 1.0)
    assert connect(0.3, 1.6, 0.7, resolution=0.5).delays == (0.5, 1.5)
    assert connect(0.3, 0.7, 0.8, 0.9).steps(0.1) == (3, 7, 8, 9)
    with pytest.raises(ValueError, match=r"at least 0\.1 ms once rounded to that, number 1 is 0\.049 ms"):
        connect(1.0, 0.049)


ERRORS = {
    "delays": (dict(delays=[0.1, 0.0]), "delays must be positive"),
    "shape": (dict(indptr=[[0, 1]]), r"shapes \[3\] and \[1, 2\], expected \[nnz\] and \[1, 3\]"),
    "weight": (dict(weight=[1.0]), r"the weight has shape \[1\], expected \[\] or \[3\]"),
    "range": (dict(indices=[0, 1, 2]), r"indices\[2\] is 2, allowed are 0 to 1"),
    "gap": (dict(indptr=[[0, 1, 2]]), "indptr must rise from 0 to the number of synapses, 3"),
    "order": (dict(indices=[1, 0, 0], indptr=[[0, 2, 3]]), "indices must ascend within each slot"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_wrong_patterns_are_refused(case, x64):
    change, message = ERRORS[case]
    good = dict(weight=1.0, indices=[0, 0, 1], indptr=[[0, 1, 3]], n_pre=1, n_post=2, delays=[0.1, 0.2])
    bs.DelayedCSR(**good)
    with pytest.raises(ValueError, match=message) as e:
        bs.DelayedCSR(**{**good, **change})
    assert "\n" not in str(e.value)


# ---- merging


@pytest.mark.parametrize("n_pre", [0, 1, 300])
@pytest.mark.parametrize("dtype", [None, np.float32, np.float64])
def test_merge_is_a_sort(n_pre, dtype):
    rng = np.random.default_rng(0)
    blocks = []
    for offset, n_post, sort in ((0, 7, True), (7, 40, False), (3, 2, True)):
        degree = rng.integers(0, 30, n_pre)
        indptr = np.concatenate([[0], np.cumsum(degree)]).astype(np.int32)
        indices = [np.sort(x) if sort else x for x in (rng.integers(0, n_post, d) for d in degree)]
        indices = np.concatenate([*indices, []]).astype(np.int32)
        slots = rng.integers(0, 5, len(indices)).astype(np.uint16)
        weight = rng.normal(size=len(indices) if sort else ())
        blocks.append(_merge.Block(indptr, indices, slots, weight, offset))
    merged = _merge.merge(blocks, 5, dtype)
    indptr, indices, order = _merge.merge_order(blocks, 5)
    np.testing.assert_array_equal(merged.indptr, indptr)
    np.testing.assert_array_equal(merged.indices, indices)
    assert merged.indptr.shape == (n_pre, 6) and (merged.weight is None) == (dtype is None)
    weight = np.concatenate([np.broadcast_to(b.weight, b.indices.shape) for b in blocks])[order]
    # Synapses of one segment onto one neuron may be in any order.
    segment = np.repeat(np.arange(n_pre * 5), np.diff(indptr, axis=1).ravel())
    if dtype is not None:
        by = lambda w: w[np.lexsort((w, indices, segment))]
        np.testing.assert_array_equal(by(merged.weight), by(weight.astype(dtype)))


def test_too_many_synapses_are_refused(monkeypatch):
    class Long:
        def __len__(self):
            return 2**30

    with pytest.raises(ValueError, match="2,147,483,648 synapses with delays start from one population"):
        _merge.merge([_merge.Block(None, Long(), None, None, 0)] * 2, 3, np.float32)


# ---- networks


def cells(n, **receptors):
    return bs.Population(n, bs.LIF(), receptors or dict(exc=bs.ExpCurrent(tau=2.0)))


def kicked(net, time=2.0, **options):
    """A run in which every neuron of `a` spikes once, at `time`."""
    kick = np.zeros((100, net.populations["a"].n))
    kick[round(time / DT) - 1] = 1e6
    return bs.simulate(net, 10.0, DT, dict(a=kick), **options)


def test_a_spike_acts_after_the_delay_of_its_synapse(x64):
    """A spike stamped t_k acts at t_k + d: it moves the current there, the potential in the step after."""
    delay = np.array([0.1, 0.2, 1.0, 3.0])
    rule = bs.FromArrays(pre=[0] * 4, post=[3, 1, 2, 0], weight=100.0)
    net = bs.Network(dict(a=cells(1), b=cells(4)), [bs.Projection("a", "b.exc", rule, delay)], key=jax.random.key(0))
    run = kicked(net, record=dict(spikes=["a"], i="b.exc.i", v="b.v"))
    assert bs.spike_times(run.spikes["a"], DT)[0].tolist() == [2.0]
    for d, post in zip(delay, [3, 1, 2, 0], strict=True):
        i, v = run["i"][:, post], run["v"][:, post]
        at = round((2.0 + d) / DT) - 1  # row of the time 2.0 + d
        assert np.all(i[:at] == 0) and i[at] == 100.0
        assert np.all(v[: at + 1] == -70.0) and v[at + 1] > -70.0


def recurrent(projections, n=20, **populations):
    return bs.Network(dict(P=cells(n), **populations), projections, key=jax.random.key(0))


def random_list(n=20, nnz=120, seed=0):
    rng = np.random.default_rng(seed)
    delay = rng.choice([1, 5, 29], nnz) * DT
    return rng.integers(0, n, nnz), rng.integers(0, n, nnz), rng.normal(60.0, 20.0, nnz), delay


DRIVE = np.linspace(300, 800, 20)


def outcome(net, duration=30.0):
    result = bs.simulate(net, duration, DT, dict(P=DRIVE), dict(v="P.v", spikes=True))
    return result["v"].mean(), result.spikes["P"].sum()


@pytest.mark.slow
def test_equals_a_projection_for_each_delay(x64):
    """Value and gradient: one projection with many delays beside one projection for each of them."""
    pre, post, weight, delay = random_list()
    one = recurrent([bs.Projection("P", "P.exc", bs.FromArrays(pre, post, weight), delay)])
    at = lambda d: bs.FromArrays(pre[delay == d], post[delay == d], weight[delay == d])
    many = recurrent({f"{d:.1f}": bs.Projection("P", "P.exc", at(d), float(d)) for d in np.unique(delay)})
    np.testing.assert_allclose(outcome(one), outcome(many), rtol=1e-12)
    assert outcome(one)[1] > 20

    order = np.lexsort((post, pre))

    def of_weights(w):  # the network is built inside of the differentiated function
        connect = eqx.tree_at(lambda c: c.weight, bs.CSR.from_coo(pre, post, weight, 20, 20), w)
        return outcome(recurrent([bs.Projection("P", "P.exc", connect, delay[order])]))[0]

    grad = eqx.filter_jit(eqx.filter_grad(lambda net: outcome(net)[0]))
    fast, slow = grad(one).bundles["P"].weight, [p.connect.weight for p in grad(many).projections.values()]
    one_by_one = np.concatenate([np.asarray(x) for x in slow])
    got = one.synapses("P->P.exc")
    np.testing.assert_allclose(np.asarray(fast)[np.lexsort((got.post, got.pre, got.delay))], one_by_one, rtol=1e-8)
    traced = np.asarray(jax.grad(of_weights)(as_jax(weight[order])))
    listed = np.lexsort((weight[order], post[order], pre[order]))
    np.testing.assert_allclose(traced[listed], np.asarray(fast)[np.lexsort((got.weight, got.post, got.pre))], rtol=1e-8)


def two_populations(delay, key=0, weight=30.0):
    """Four projections between two populations, one of them with one delay."""
    rule = lambda p: bs.FixedProbability(p, weight=weight)
    receptors = dict(exc=bs.ExpCurrent(tau=2.0), inh=bs.ExpCurrent(tau=4.0))
    return bs.Network(
        dict(E=cells(40, **receptors), I=cells(10, **receptors)),
        [
            bs.Projection("E", "I.exc", rule(0.3), delay),
            bs.Projection("E", "E.exc", rule(0.2), delay),
            bs.Projection("I", "E.inh", bs.FixedInDegree(3, weight=bs.Normal(-40.0, 4.0)), delay),
            bs.Projection("I", "I.inh", rule(0.3), 0.5),
        ],
        key=jax.random.key(key),
    )


@pytest.mark.slow
def test_bundles_hold_what_was_drawn(x64):
    net = two_populations(bs.Uniform(0.1, 2.0))
    alone = two_populations(1.0)  # the same wiring, with one delay
    assert list(net.bundles) == ["E", "I"] and list(net.projections) == list(alone.projections)
    for name in net.projections:
        got, expected = net.synapses(name), alone.synapses(name)
        by = lambda s: np.lexsort((s.weight, s.post, s.pre))
        for a, b in zip(got[:3], expected[:3], strict=True):
            np.testing.assert_array_equal(a[by(got)], b[by(expected)])
        assert net.projections[name].connect.n_post == net.populations[name[3]].n
    delay = net.synapses("E->E.exc").delay
    np.testing.assert_allclose(delay, np.round(delay, 1))
    assert delay.min() == 0.1 and delay.max() == 2.0 and 0.9 < delay.mean() < 1.2
    assert set(net.synapses("I->I.inh").delay) == {0.5}
    assert [name for name in bs.parameters(net) if "bundles" in name] == ["bundles.E.weight", "bundles.I.weight"]


def test_delays_are_a_function_of_the_key(x64):
    nets = [two_populations(bs.Uniform(0.1, 2.0), key) for key in (0, 0, 1)]
    delays = [net.synapses("E->I.exc").delay for net in nets]
    np.testing.assert_array_equal(delays[0], delays[1])
    assert len(delays[2]) != len(delays[0]) or (delays[2] != delays[0]).any()


RULES = {
    "probability": bs.FixedProbability(0.3, weight=2.0),
    "in-degree": bs.FixedInDegree(4, weight=lambda rng, size: rng.normal(size=size)),
    "out-degree": bs.FixedOutDegree(4, multapses=True),
    "lists": bs.FromArrays(pre=[3, 0, 3], post=[1, 2, 0], weight=[1.0, 2.0, 3.0]),
    "one to one": bs.OneToOne(weight=2.0),
    "all": bs.AllToAll(weight=2.0),
    "all but oneself": bs.AllToAll(weight=2.0, autapses=False),
    "all, drawn": bs.AllToAll(weight=lambda rng, size: rng.normal(size=size)),
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_takes_delays(name, x64):
    """The delays reach the matrices of as many synapses as the rule draws."""
    build = lambda delay: recurrent([bs.Projection("P", "P.exc", RULES[name], delay)], n=7)
    one = build(0.4).synapses("P->P.exc")
    delay = 0.1 * np.arange(1, len(one.pre) + 1) % 1.5 + 0.1
    for given in (delay, lambda rng, size: delay[:size]):
        got = build(given).synapses("P->P.exc")
        by = lambda s: np.lexsort((s.post, s.pre))
        for a, b in zip(got[:3], one[:3], strict=True):
            np.testing.assert_array_equal(a[by(got)], b[by(one)])
        np.testing.assert_allclose(np.sort(got.delay), np.sort(np.round(delay, 1)))


def test_delays_of_lists_keep_their_synapse(x64):
    got = recurrent([bs.Projection("P", "P.exc", RULES["lists"], [0.3, 0.1, 0.2])], n=7).synapses("P->P.exc")
    found = {(int(i), int(j)): (float(w), float(d)) for i, j, w, d in zip(*got, strict=True)}
    assert found == {(3, 1): (1.0, 0.3), (0, 2): (2.0, 0.1), (3, 0): (3.0, 0.2)}


def test_two_projections_with_the_same_ends(x64):
    pre, post, weight, delay = random_list()
    half = lambda i: bs.Projection("P", "P.exc", bs.FromArrays(pre[i::2], post[i::2], weight[i::2]), delay[i::2])
    one = recurrent([bs.Projection("P", "P.exc", bs.FromArrays(pre, post, weight), delay)])
    two = recurrent([half(0), half(1)])
    assert list(two.bundles) == ["P", "P#2"]
    np.testing.assert_allclose(outcome(two), outcome(one), rtol=1e-12)
    assert len(two.synapses("P->P.exc#2").pre) == 60


def test_connectivity_with_delays_goes_alone(x64):
    pre, post, weight, delay = random_list()
    ready = bs.DelayedCSR.from_coo(pre, post, weight, delay, 20, 20)
    net = recurrent([bs.Projection("P", "P.exc", ready)])
    fused = recurrent([bs.Projection("P", "P.exc", bs.FromArrays(pre, post, weight), delay)])
    np.testing.assert_allclose(outcome(net), outcome(fused), rtol=1e-12)
    assert_close(net.synapses("P->P.exc"), fused.synapses("P->P.exc"))


def test_split_run_is_bitwise_one_run(x32):
    net = two_populations(bs.Uniform(0.1, 2.0))
    inputs, record = dict(E=600.0, I=500.0), dict(v="E.v", spikes=True)
    whole = bs.simulate(net, 30.0, DT, inputs, record)
    first = bs.simulate(net, 12.3, DT, inputs, record)
    second = bs.simulate(net, 17.7, DT, inputs, record, state=first.state)
    np.testing.assert_array_equal(np.concatenate([first["v"], second["v"]]), whole["v"])
    assert whole.spikes["E"].sum() > 40


@pytest.mark.slow
def test_batch_of_networks(x64):
    """vmap over the weights of a bundle, and over states with their histories and steps."""
    pre, post, weight, delay = random_list()
    net = recurrent([bs.Projection("P", "P.exc", bs.FromArrays(pre, post, weight), delay)])
    put = lambda w: eqx.tree_at(lambda n: n.bundles["P"].weight, net, w)
    run = lambda w, state=None: bs.simulate(put(w), 10.0, DT, dict(P=DRIVE), dict(v="P.v"), state=state)
    many = jnp.stack([net.bundles["P"].weight, 3 * net.bundles["P"].weight])
    batched = jax.vmap(lambda w: (lambda r: (r["v"], r.state))(run(w)))(many)
    further = jax.vmap(lambda w, state: run(w, state)["v"])(many, batched[1])
    for i in range(2):
        alone = run(many[i])
        assert_close(batched[0][i], alone["v"], chaotic=True)
        assert_close(further[i], run(many[i], alone.state)["v"], chaotic=True)


REFUSED = {
    "missing": (dict(delay=None), "'P' to 'P.exc' needs a delay, in ms"),
    "twice": (dict(connect=learnable(draw), delay=1.0), "LearnableDelays has delays of its own; leave out `delay`"),
    "length": (dict(delay=[1.0, 2.0]), r"has 3 synapses, but delays of shape \[2\]"),
    "drawn": (dict(delay=lambda rng, size: np.ones(1)), r"delay\(rng, 3\) has shape \[1\], expected \[3\]"),
    "small": (dict(delay=[1.0, 0.01, 1.0]), "at least 0.1 ms once rounded to that, number"),
    "not finite": (dict(delay=[1.0, np.nan, 1.0]), "delays must be finite and at least 0.1 ms"),
    "resolution": (dict(resolution=0.0), "the resolution of delays must be positive and finite, got 0 ms"),
    "ends": (dict(post="P.inh", delay=[1.0] * 3), "goes from 'P' to 'P.inh', but the network has"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_delays_are_refused(case, x64):
    given = dict(pre="P", post="P.exc", connect=RULES["lists"], delay=1.0) | REFUSED[case][0]
    with pytest.raises(ValueError, match=REFUSED[case][1]) as e:
        recurrent([bs.Projection(**given)], n=7)
    assert "\n" not in str(e.value)


def test_delays_must_fit_the_step(x64):
    net = recurrent([bs.Projection("P", "P.exc", RULES["lists"], [0.1, 0.3, 0.2])], n=7)
    with pytest.raises(ValueError, match=r"a delay between two neurons, 0\.1 ms, is not a positive whole number of"):
        bs.simulate(net, 1.0, 0.2)
    with pytest.raises(ValueError, match=r"no projection 'Q'; available: P->P\.exc"):
        net.synapses("Q")
    with pytest.raises(ValueError, match="draws delays; Network"):
        bs.Network(dict(P=cells(7)), [bs.Projection("P", "P.exc", RULES["lists"].build(
            jax.random.key(0), 7, 7, same=True), bs.Uniform(0.1, 1.0))])  # fmt: skip


# ---- learnt delays


def test_gradient_by_the_delay_is_weight_times_difference(x64):
    """Against finite differences, on a graded history."""
    connect, now = learnable(draw), past()
    run = lambda delay: jnp.sum(jnp.sin(eqx.tree_at(lambda c: c.delay, connect, delay)(now, dt=DT)))
    inside = jnp.clip(connect.delay, 0.11, 0.59)  # away from the bounds, where the derivative is one-sided
    inside = jnp.where(jnp.abs(inside / DT - jnp.round(inside / DT)) < 0.01, inside + 0.02, inside)
    direction, h = as_jax(draw(40)), 1e-7
    finite = (run(inside + h * direction) - run(inside - h * direction)) / (2 * h)
    np.testing.assert_allclose(jax.jit(jax.grad(run))(inside) @ direction, finite, rtol=1e-6)
    one = bs.LearnableDelays(bs.CSR.from_dense([[2.0]]), 0.25, 0.8)
    ramp = bs.Past(jnp.arange(8.0)[:, None] ** 2, jnp.zeros((8, 0), jnp.int32), jnp.asarray(7, jnp.int32))
    slope = eqx.filter_grad(lambda c: c(ramp, dt=DT)[0])(one).delay
    np.testing.assert_allclose(slope, 2.0 * (4.0**2 - 5.0**2) / DT)  # rows 7 - 3 and 7 - 2


def test_whole_delays_are_those_of_delayed_csr(x64):
    pre, post, weight, delay = random_list()
    connect = bs.CSR.from_coo(pre, post, weight, 20, 20)
    sorted_delay = delay[np.lexsort((post, pre))]
    fixed = recurrent([bs.Projection("P", "P.exc", connect, sorted_delay)])
    for options in (dict(), dict(interpolate=False)):
        learnt = bs.LearnableDelays(connect, sorted_delay, max_delay=3.0, **options)
        np.testing.assert_allclose(
            outcome(recurrent([bs.Projection("P", "P.exc", learnt)])), outcome(fixed), rtol=1e-10
        )


@pytest.mark.slow
@pytest.mark.parametrize("recurrence", [False, True])
def test_delays_are_recovered_by_gradient_descent(recurrence, x64):
    """From the currents that a pulse of spikes causes, in a feed-forward and in a recurrent network."""
    n = 3
    true, start = np.array([1.03, 0.52, 2.07]), np.array([1.6, 0.9, 1.5])
    connect = bs.CSR.from_dense(np.roll(np.eye(n), 1, axis=1) * 100.0 if recurrence else np.eye(n) * 100.0)

    def currents(delay):
        late = bs.LearnableDelays(connect, delay, max_delay=4.0)
        net = bs.Network(
            dict(a=cells(n, exc=bs.ExpCurrent(tau=3.0)), b=cells(n, exc=bs.ExpCurrent(tau=3.0))),
            [bs.Projection("a", "a.exc" if recurrence else "b.exc", late)],
        )
        return kicked(net, record=dict(i="a.exc.i" if recurrence else "b.exc.i"))["i"]

    target = currents(true)
    loss = jax.jit(jax.grad(lambda delay: jnp.mean((currents(delay) - target) ** 2)))
    delay, mean, square = as_jax(start), 0.0, 0.0
    for i in range(1, 121):  # Adam
        slope = loss(delay)
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        delay = delay - 0.05 * (mean / (1 - 0.9**i)) / (jnp.sqrt(square / (1 - 0.99**i)) + 1e-12)
    np.testing.assert_allclose(delay, true, atol=0.03)
