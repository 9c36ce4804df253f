"""Reverse mode that touches only what spiked or may spike: every shortcut against the path without it."""

import functools as ft
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import needs
import numpy as np
import pytest
import test_arrivals
from rows import one_precision, rows
from test_ops import MAPPED, Synapses, assert_all_close, derivatives, smooth
from tolerances import assert_close

import brainsim as bs
from brainsim._compat import as_jax
from brainsim._simulate import _levels
from brainsim.ops import _csr_plain, _csr_primitives as primitives, _csr_through
from brainsim.ops._carry import carry_weights

# ---- rows that are relevant


@pytest.mark.parametrize("groups, batch", [(1, 1), (2, 3)])
@pytest.mark.parametrize("weighted", [False, True])
@one_precision
def test_plain_twins(groups, batch, weighted, precision):
    s = Synapses(50, 20, most=40)
    groups = groups if weighted else 1
    spikes, weight = s.spikes(groups, batch), [s.weight(groups)] if weighted else []
    values = jnp.asarray(s.rng.normal(size=(groups, batch, s.n_post)), spikes.dtype)
    relevant = as_jax(s.rng.random((groups, batch, s.n_pre)) < 0.3)
    pattern = s.indices, s.indptr
    got = primitives.gather.bind(values, *weight, *pattern, relevant, n_out=s.n_pre, masked=True)
    full = primitives.gather.bind(values, *weight, *pattern, n_out=s.n_pre)
    assert_close(got, jnp.where(relevant, full, 0))
    assert_close(got, _csr_plain.gather(values, *weight, *pattern, relevant, n_out=s.n_pre, masked=True))
    events = primitives.scatter.bind(spikes, *weight, *pattern, relevant, n_out=s.n_post, masked=True)
    assert_close(events, primitives.scatter.bind(spikes, *weight, *pattern, n_out=s.n_post))
    total = s.weight(groups)
    sums = _csr_through.accumulate.bind(total, spikes, values, *pattern)
    assert_close(sums, total + primitives.outer.bind(spikes, values, *pattern))
    assert_close(sums, _csr_plain.accumulate(total, spikes, values, *pattern))


def near(product, s, relevant=None):
    """A function of x and the weights that reaches the product only through some entries of x."""
    keep = as_jax(np.arange(s.n_pre) % 3 == 0)
    given = dict(relevant=keep) if relevant else {}
    return smooth(lambda x, w: product(jnp.where(keep, x, jax.lax.stop_gradient(x)), w, **given))


@pytest.mark.parametrize("scalar", [False, True])
def test_derivatives_where_relevant(scalar, precision):
    s = Synapses(9, 6)
    product = lambda x, w, **more: bs.ops.csr_matvec(x, w, s.indices, s.indptr, s.n_post, **more)
    args = s.spikes(), as_jax(0.7) if scalar else s.weight()
    got, expected = (jax.jit(derivatives(near(product, s, given)))(*args) for given in (True, False))
    assert_all_close(got, expected)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_vmap_where_relevant(axes, x64):
    s = Synapses(9, 6)
    product = lambda x, w, **more: bs.ops.csr_matvec(x, w, s.indices, s.indptr, s.n_post, **more)
    args = [x if axis == 0 else x[0] for x, axis in zip((s.spikes(4), s.weight(4)), axes, strict=True)]
    got, expected = (jax.jit(jax.vmap(derivatives(near(product, s, g), MAPPED), axes))(*args) for g in (True, False))
    assert_all_close(got, expected)


def test_irrelevant_rows_are_not_read(precision):
    """Not even where a weight is infinite: they are left out, not multiplied by zero."""
    args = jnp.array([0, 0], jnp.int32), jnp.array([0, 1, 2], jnp.int32), 1
    product = lambda x: bs.ops.csr_matvec(x, jnp.array([jnp.inf, 2.0]), *args, relevant=jnp.array([False, True])).sum()
    assert jax.grad(product)(jnp.array([0.0, 1.0])).tolist() == [0.0, 2.0]


def test_relevant_must_fit(x32):
    args = jnp.ones(2), 1.0, jnp.array([0, 0], jnp.int32), jnp.array([0, 1, 2], jnp.int32), 1
    for wrong in (jnp.ones(3, bool), jnp.ones(2)):
        with pytest.raises(ValueError, match=r"csr_matvec: relevant must be bool\[2\], not"):
            bs.ops.csr_matvec(*args, relevant=wrong)


@needs.kernels
def test_kernels_refuse_what_does_not_fit(x32):
    shape = lambda *n: jax.ShapeDtypeStruct(n, jnp.float32)
    x, i = lambda *n: jnp.zeros(n, jnp.float32), lambda *n: jnp.zeros(n, jnp.int32)
    pattern = i(6), i(3, 2), i(1), i()  # six synapses of three neurons, one slot
    for name, out, args, message in [
        ("csr_gather_relevant", shape(4), (x(3), x(6), i(6), i(5), jnp.zeros(3, bool)), "CSR"),
        ("csr_gather_relevant", shape(4), (x(3), x(6), i(6), i(5), x(4)), "CSR"),
        ("csr_accumulate", shape(6), (x(5), x(4), x(3), i(6), i(5)), "CSR"),
        ("csr_accumulate", shape(5), (x(6), x(4), x(3), i(6), i(5)), "CSR"),
        ("arrivals_accumulate", shape(6), (x(5), x(4, 3), i(4, 0), x(2), *pattern), "like the sum"),
        ("arrivals_accumulate", shape(5), (x(5), x(4, 3), i(4, 0), x(2), *pattern), "one entry per synapse"),
        ("arrivals_collect", shape(4, 3), (x(3, 3), x(2), jnp.zeros((0, 3), bool), x(6), *pattern), "like the total"),
        ("arrivals_collect_unit", shape(4, 3), (x(4, 3), x(2), jnp.zeros((3, 3), bool), *pattern), "or none"),
    ]:
        with pytest.raises(Exception, match=f"brainsim .*{message}"):
            jax.ffi.ffi_call(f"brainsim_{name}", out)(*args).block_until_ready()


# ---- weights carried by a loop


def loop(product, carried, remat=False):
    """A recurrent network in which one matrix is used twice a step, once after a non-linearity."""

    def step(weights, y, x):
        (w,) = weights
        y = jnp.tanh(product(y, w)) + x
        return jnp.where(y > 0, product(y, w), y) + 0.1 * jnp.mean(w**2)

    def final(x, w):
        def body(carry, _):
            (y, rows) = carry
            y, rows = carry_weights(step)([w], rows, y, x) if carried else (step([w], y, x), rows)
            return (y, rows), None

        body = jax.checkpoint(body) if remat else body
        return jnp.sum(jax.lax.scan(body, (x, [w]), None, length=4)[0][0] ** 2)

    return final


@pytest.mark.slow
def test_derivatives_of_a_loop(precision):
    """Of any order, with steps that are computed again and without."""
    s = Synapses(8, 8)
    args, remat = (s.spikes(), 0.5 * s.weight()), precision == 64
    got = jax.jit(derivatives(loop(s.matvec, True, remat)))(*args)
    expected = jax.jit(derivatives(loop(s.dense_matvec, False)))(*args)
    assert_all_close(got, expected, chaotic=True)


@pytest.mark.parametrize("axes", rows([(0, None), (None, 0), (0, 0)], long={(0, None), (None, 0)}))
def test_vmap_of_a_loop(axes, x64):
    """Of its gradient, and the gradient of the sum of a batch."""
    s = Synapses(8, 8)
    args = [x if axis == 0 else x[0] for x, axis in zip((s.spikes(3), 0.5 * s.weight(3)), axes, strict=True)]

    def both(f):
        of_sum = jax.grad(lambda *args: jax.vmap(f, axes)(*args).sum(), (0, 1))
        return lambda *args: {**jax.vmap(derivatives(f, MAPPED), axes)(*args), "sum": of_sum(*args)}

    got, expected = (jax.jit(both(f))(*args) for f in (loop(s.matvec, True, True), loop(s.dense_matvec, False)))
    assert_all_close(got, expected, chaotic=True)


def test_vmap_over_patterns(x64):
    nets = [Synapses(8, 8, seed=i) for i in (1, 2)]
    nnz = max(s.nnz for s in nets)
    pad = lambda x: jnp.concatenate([x, jnp.zeros(nnz - len(x), x.dtype)])
    indices, indptr = jnp.stack([pad(s.indices) for s in nets]), jnp.stack([s.indptr for s in nets])
    weights = [0.5 * s.weight() for s in nets]
    product = lambda i, p: lambda y, w: bs.ops.csr_matvec(y, w, i, p, 8)
    grad = lambda i, p, w, x: jax.grad(loop(product(i, p), True), 1)(x, w)
    x = nets[0].spikes()
    got = jax.jit(jax.vmap(grad, (0, 0, 0, None)))(indices, indptr, jnp.stack([pad(w) for w in weights]), x)
    # the penalty on w counts padding too, so its mean is over as many
    for row, s, w in zip(got, nets, weights, strict=True):
        dense = lambda y, v, s=s: s.dense_matvec(y, v[: s.nnz])
        assert_close(row, jax.jit(jax.grad(loop(dense, False), 1))(x, pad(w)), chaotic=True)


# ---- weights and histories carried by a loop, where synapses differ in delay


def near_history(product, s, given):
    """A function of the history and the weights that reaches the product only through some entries of the history."""
    keep = as_jax(np.arange(s.rows * s.n_pre).reshape(s.rows, s.n_pre) % 3 == 0)
    more = dict(relevant=keep) if given else {}
    return smooth(lambda x, w: product(jnp.where(keep, x, jax.lax.stop_gradient(x)), w, **more))


def delayed_product(s):
    pattern = s.indices, s.indptr, s.steps
    call = lambda x, w, k=7, **more: bs.ops.arrivals(x, w, *pattern, k, n_post=s.n_post, **more)
    return lambda x, w, *k, **more: call(x, w, *k, hints=s.hints(jax.lax.stop_gradient(x), 4), **more)


@pytest.mark.parametrize("scalar", [False, True])
def test_derivatives_where_a_history_is_relevant(scalar, x64):
    s = test_arrivals.Synapses(9, 6)
    args = s.history(), as_jax(0.7) if scalar else s.weight()
    got, expected = (jax.jit(derivatives(near_history(delayed_product(s), s, given)))(*args) for given in (True, False))
    assert_all_close(got, expected)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_vmap_where_a_history_is_relevant(axes, x64):
    s = test_arrivals.Synapses(9, 6)
    args = [x if axis == 0 else x[0] for x, axis in zip((s.history(4), s.weight(4)), axes, strict=True)]
    of = lambda given: derivatives(near_history(delayed_product(s), s, given), MAPPED)
    got, expected = (jax.jit(jax.vmap(of(given), axes))(*args) for given in (True, False))
    assert_all_close(got, expected)


def test_irrelevant_entries_of_a_history_are_not_read(precision):
    """Not even where a weight is infinite: they are left out, not multiplied by zero."""
    pattern = np.zeros(2, np.int32), np.array([[0, 1], [1, 2]], np.int32), np.ones(1, np.int32), 1
    given: Any = dict(n_post=1, relevant=jnp.array([[False, True]]))
    product = lambda x: bs.ops.arrivals(x, jnp.array([jnp.inf, 2.0]), *pattern, **given).sum()
    assert jax.grad(product)(jnp.array([[0.0, 1.0]])).tolist() == [[0.0, 2.0]]


def delayed_loop(product, s, carried, remat=False):
    """A recurrent network with a history, in which one matrix is used twice a step, once after a non-linearity."""

    def step(weights, history, k, x):
        (w,) = weights
        y = jnp.tanh(product(history, w, k)) + x
        history = history.at[k % s.rows].set(y)
        z = jnp.where(y > 0, product(history, w, k + 1), y) + 0.1 * jnp.mean(w**2)
        return history.at[k % s.rows].add(z)

    def final(x, w):
        def body(carry, k):
            history, rows = carry
            one = carry_weights(step) if carried else lambda w, rows, *args: (step(w, *args), rows)
            return one([w], rows, history, k, x), None

        body = jax.checkpoint(body) if remat else body
        history = jnp.zeros((s.rows, s.n_pre), x.dtype).at[0].set(x)
        return jnp.sum(jax.lax.scan(body, (history, [w]), jnp.arange(1, 7, dtype=jnp.int32))[0][0] ** 2)

    return final


@pytest.mark.slow
def test_derivatives_of_a_loop_with_delays(precision):
    """Of any order, with steps that are computed again and without."""
    s = test_arrivals.Synapses(8, 8)
    args, remat = (s.history()[0], 0.5 * s.weight()), precision == 64
    got = jax.jit(derivatives(delayed_loop(delayed_product(s), s, True, remat)))(*args)
    expected = jax.jit(derivatives(delayed_loop(s.dense_product, s, False)))(*args)
    assert_all_close(got, expected, chaotic=True)


@pytest.mark.parametrize("axes", rows([(0, None), (None, 0), (0, 0)], long={(0, None), (None, 0)}))
def test_vmap_of_a_loop_with_delays(axes, x64):
    """Of its gradient, and the gradient of the sum of a batch."""
    s = test_arrivals.Synapses(8, 8)
    args = [x if axis == 0 else x[0] for x, axis in zip((s.history(3)[:, 0], 0.5 * s.weight(3)), axes, strict=True)]

    def both(f):
        of_sum = jax.grad(lambda *args: jax.vmap(f, axes)(*args).sum(), (0, 1))
        return lambda *args: {**jax.vmap(derivatives(f, MAPPED), axes)(*args), "sum": of_sum(*args)}

    loops = delayed_loop(delayed_product(s), s, True, True), delayed_loop(s.dense_product, s, False)
    got, expected = (jax.jit(both(f))(*args) for f in loops)
    assert_all_close(got, expected, chaotic=True)


# ---- networks


def network(sparse, surrogate, delay=0.5):
    """Excitation and inhibition with one weight per synapse; dense twin if not `sparse`."""
    rng = np.random.default_rng(0)
    matrix = lambda n, m, w: np.where(rng.uniform(size=(n, m)) < 0.3, w * rng.uniform(0.5, 1.5, (n, m)), 0.0)
    layout = bs.CSR.from_dense if sparse else bs.Dense
    cell = bs.LIF(t_ref=1.0, surrogate=surrogate)
    receptors: Any = dict(exc=bs.ExpCurrent(tau=3.0), inh=bs.ExpConductance(tau=5.0, e_rev=-80.0))
    cells = lambda n: bs.Population(n, cell, receptors)
    return bs.Network(
        dict(E=cells(16), I=cells(6)),
        [
            bs.Projection("E", "E.exc", layout(matrix(16, 16, 60.0)), delay=delay),
            bs.Projection("E", "I.exc", layout(matrix(16, 6, 90.0)), delay=0.1),
            bs.Projection("I", "E.inh", layout(matrix(6, 16, 2.0)), delay=delay),
        ],
    )


def gradients(net, duration=15.0, checkpoint=None):
    """Of a loss in voltages and spikes, with respect to all parameters; and a product with the Hessian."""
    params, static = eqx.partition(net, eqx.is_inexact_array)
    current = dict(E=np.linspace(300, 800, 16), I=350.0)
    record = dict(v="E.v", spikes=["E", "I"])

    def loss(params):
        run = bs.simulate(eqx.combine(params, static), duration, 0.1, current, record, checkpoint=checkpoint)
        return run["v"].mean() + run.spikes["E"].mean() + run.spikes["I"].mean()

    grad = jax.grad(loss)
    direction = jax.tree.map(lambda x: 0.1 * x, params)
    return jax.jit(lambda p: (loss(p), grad(p), jax.jvp(grad, (p,), (direction,))[1]))(params)


def on_synapses(tree, matrices):
    """With the weights of a dense network picked where the sparse one has synapses."""
    pick = lambda n: [p.connect.weight for p in n.projections.values()]
    flat = [w[m != 0] for w, m in zip(pick(tree), matrices, strict=True)]
    return jax.tree.leaves(eqx.tree_at(pick, tree, flat))


def triangle():
    return bs.Triangle(beta=0.5, area=0.1)


slow = ft.partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize("surrogate, delay", [slow(triangle, 0.1), slow(triangle, 0.5), slow(bs.SuperSpike, 0.5)])
def test_gradient_of_a_network_is_that_of_its_dense_twin(surrogate, delay, x64):
    """All parameters, second derivatives too. The dense twin knows neither relevant rows nor carried weights."""
    surrogate = surrogate()
    sparse, dense = (network(s, surrogate, delay) for s in (True, False))
    matrices = [np.asarray(p.connect.weight) for p in dense.projections.values()]
    (value, *got), (same, *expected) = gradients(sparse), gradients(dense)
    assert_close(value, same, chaotic=True)
    for a, b in zip(got, expected, strict=True):
        assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(a)) > 0
        assert_close(jax.tree.leaves(a), on_synapses(b, matrices), chaotic=True)


@pytest.mark.parametrize("surrogate", [triangle, bs.SuperSpike])
def test_fan_out_has_the_gradient_of_compressed_rows(surrogate, x32):
    """In value, and in that no step of its reverse mode makes an array of the size of the weights."""
    rng = np.random.default_rng(0)
    rows = bs.FanOut(rng.uniform(30, 90, (16, 3)), rng.integers(0, 16, (16, 3)), 16)

    def loss(connect):
        cells = bs.Population(16, bs.LIF(t_ref=1.0, surrogate=surrogate()), dict(exc=bs.ExpCurrent(tau=3.0)))
        net = bs.Network(dict(E=cells), [bs.Projection("E", "E.exc", connect, delay=0.5)])
        return bs.simulate(net, 15.0, 0.1, dict(E=np.linspace(400, 900, 16)), dict(v="E.v"))["v"].mean()

    got, expected = (eqx.filter_jit(eqx.filter_grad(loss))(c).weight.ravel() for c in (rows, rows.as_csr()))
    assert float(jnp.abs(expected).max()) > 0
    assert_close(got, expected, chaotic=True)
    closed = jax.make_jaxpr(lambda c: eqx.filter_grad(loss)(c).weight)(rows)
    inside = [e for loop in sub(closed.jaxpr) if loop.primitive.name == "scan" for e in sub(loop.params["jaxpr"].jaxpr)]
    names = {e.primitive.name for e in inside if any(getattr(v.aval, "size", None) == 48 for v in e.outvars)}
    assert "brainsim_csr_accumulate" in names
    assert not {"brainsim_csr_outer", "add_any", "add"} & names


def delayed_network(surrogate, layout):
    """Synapses with delays of 0.1, 0.3 and 0.5 ms as `layout` has them; a dense matrix for each delay without one."""
    rng = np.random.default_rng(0)
    delays, shape = (0.1, 0.3, 0.5), (3, 16, 16)
    matrix = np.where(rng.uniform(size=shape) < 0.15, 60 * rng.uniform(0.5, 1.5, shape), 0.0)
    slot, pre, post = np.nonzero(matrix)
    of: Any = dict(weight=matrix[slot, pre, post], n_pre=16, n_post=16)
    if layout == "bundle":
        rule = bs.FromArrays(pre=pre, post=post, weight=of["weight"])
        projections = [bs.Projection("E", "E.exc", rule, delay=np.array(delays)[slot])]
    elif layout == "ready":
        ready = bs.DelayedCSR.from_coo(pre, post, delay=np.array(delays)[slot], **of)
        projections = [bs.Projection("E", "E.exc", ready)]
    else:
        projections = [bs.Projection("E", "E.exc", bs.Dense(m), delay=d) for m, d in zip(matrix, delays, strict=True)]
    cells = bs.Population(16, bs.LIF(t_ref=1.0, surrogate=surrogate), dict(exc=bs.ExpCurrent(tau=3.0)))
    return bs.Network(dict(E=cells), projections, key=jax.random.key(0))


def delayed_gradients(net, duration=15.0):
    """Of a loss in voltages and spikes, and a product with the Hessian: of the weights, and of the other parameters."""
    params, static = eqx.partition(net, eqx.is_inexact_array)
    record = dict(v="E.v", spikes=["E"])

    def loss(params):
        run = bs.simulate(eqx.combine(params, static), duration, 0.1, dict(E=np.linspace(300, 800, 16)), record)
        return run["v"].mean() + run.spikes["E"].mean()

    grad = jax.grad(loss)
    direction = jax.tree.map(lambda x: 0.1 * x, params)
    value, *both = jax.jit(lambda p: (loss(p), grad(p), jax.jvp(grad, (p,), (direction,))[1]))(params)
    layouts = [*net.bundles.values()] or [p.connect for p in net.projections.values()]

    def dense(tree):
        weights = [*tree.bundles.values()] or [p.connect for p in tree.projections.values()]
        if len(layouts) == 3:
            return jnp.stack([x.weight for x in weights])
        x = layouts[0]
        return jnp.zeros((3, 16, 16), x.weight.dtype).at[x.slot, x.pre, x.indices].add(weights[0].weight)

    return value, [(dense(tree), jax.tree.leaves(tree.populations)) for tree in both], dense(net) != 0


@pytest.mark.parametrize("surrogate, layout", [
    slow(triangle, "bundle"), slow(triangle, "ready"), slow(bs.SuperSpike, "bundle")
])  # fmt: skip
def test_gradient_with_delays_of_synapses_is_that_of_dense_twins(surrogate, layout, x64):
    """All parameters, second derivatives too."""
    value, got, there = delayed_gradients(delayed_network(surrogate(), layout))
    same, expected, _ = delayed_gradients(delayed_network(surrogate(), None))
    assert_close(value, same, chaotic=True)
    for (weights, others), (dense, same) in zip(got, expected, strict=True):
        assert float(jnp.abs(weights).max()) > 0
        assert_close((weights, others), (jnp.where(there, dense, 0), same), chaotic=True)


@pytest.mark.slow
def test_batch_of_gradients_of_a_network(x64):
    """`vmap` over networks of other weights is the gradient of each."""
    net = network(True, triangle())
    params, static = eqx.partition(net, eqx.is_inexact_array)

    def loss(scale, params):
        net = eqx.combine(jax.tree.map(lambda x: x * scale, params), static)
        return bs.simulate(net, 4.0, 0.1, dict(E=700.0, I=350.0), dict(v="E.v"))["v"].mean()

    grad = jax.jit(jax.grad(loss, 1))
    got = jax.jit(jax.vmap(jax.grad(loss, 1), (0, None)))(jnp.array([1.0, 1.1]), params)
    for i, scale in enumerate((1.0, 1.1)):
        assert_close(jax.tree.map(lambda x, i=i: x[i], got), grad(as_jax(scale), params), chaotic=True)


def test_relevant_spikes_are_those_with_a_slope(x64):
    """In every step: whoever may pass a derivative on is marked, and few others."""
    net = network(True, bs.Triangle(beta=0.5))
    record = dict(mark=lambda s: s.relevant["E"], v="E.v", spikes=["E"])
    run = bs.simulate(net, 15.0, 0.1, dict(E=np.linspace(300, 800, 16)), record)
    last = np.stack([np.asarray(run["mark"])[k, k % 5] for k in range(150)])
    slope = np.abs(np.asarray(run["v"]) - float(bs.LIF().v_th)) < 2.0
    spiked = np.asarray(run.spikes["E"]) > 0
    assert (last >= spiked).all() and spiked.any()
    assert (last <= (slope | spiked)).all()
    assert last.mean() < 0.5


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_support_is_where_the_slope_is_not_zero(beta, precision):
    surrogate, x = bs.Triangle(beta=beta, area=0.2), jnp.linspace(-2.0, 2.0, 4001)
    support, slope = surrogate.support(x), surrogate.derivative(x)
    assert support[slope > 0].all() and (slope > 0).any()
    assert (slope[support] > 0).sum() >= support.sum() - 2  # the corners


# ---- what the backward pass costs


def sub(jaxpr):
    """All equations of a program, with those inside of loops and calls."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from sub(inner)


def test_no_step_adds_an_array_of_the_size_of_the_weights(x32):
    """The gradient of the weights is added in place, so that nothing in the program creates or adds such an array."""
    net = network(True, bs.SuperSpike())
    sizes = {p.connect.weight.size for p in net.projections.values()}
    loss = lambda net: bs.simulate(net, 15.0, 0.1, dict(E=700.0), dict(v="E.v"))["v"].mean()
    closed = jax.make_jaxpr(lambda net: eqx.filter_grad(loss)(net))(net)
    loops = [e for e in sub(closed.jaxpr) if e.primitive.name == "scan"]
    inside = [e for loop in loops for e in sub(loop.params["jaxpr"].jaxpr)]
    shapes = {shape for n in sizes for shape in ((n,), (1, n))}
    names = [e.primitive.name for e in inside if any(getattr(v.aval, "shape", None) in shapes for v in e.outvars)]
    assert "brainsim_csr_accumulate" in names
    assert not {"brainsim_csr_outer", "add_any", "add"} & set(names)


@pytest.mark.parametrize("layout", rows(["bundle", "ready", "learnable"], long={"ready", "learnable"}))
def test_no_step_adds_an_array_of_the_size_of_weights_with_delays(layout, x32):
    """Nor one of the size of the history."""
    net = delayed_network(bs.SuperSpike(), "bundle" if layout == "bundle" else "ready")
    if layout == "learnable":
        rows = bs.CSR.from_dense(np.random.default_rng(0).uniform(0, 60, (16, 16)))
        delays = bs.LearnableDelays(rows, delay=0.25, max_delay=0.7)
        net = bs.Network(net.populations, [bs.Projection("E", "E.exc", delays)])
    loss = lambda net: bs.simulate(net, 15.0, 0.1, dict(E=700.0), dict(v="E.v"))["v"].mean()
    closed = jax.make_jaxpr(lambda net: eqx.filter_grad(loss)(net))(net)
    inside = [e for loop in sub(closed.jaxpr) if loop.primitive.name == "scan" for e in sub(loop.params["jaxpr"].jaxpr)]
    layouts = [*net.bundles.values()] or [p.connect.prepare(dt=0.1) for p in net.projections.values()]
    sizes = {x.weight.size for x in layouts} | {x.longest(dt=0.1) * 16 for x in layouts}
    names = {e.primitive.name for e in inside if any(getattr(v.aval, "size", None) in sizes for v in e.outvars)}
    assert {"brainsim_arrivals_accumulate", "brainsim_arrivals_collect"} <= names
    assert not {"brainsim_arrivals_outer", "brainsim_arrivals_gather", "add_any", "add"} & names


def temporary(steps, checkpoint=None):
    """Bytes that the compiled gradient of a run of so many steps needs besides its arguments and results."""
    net = network(True, triangle())
    weights = lambda n: [p.connect.weight for p in n.projections.values()]

    def loss(w):
        run = eqx.tree_at(weights, net, w)
        last = lambda state: state.populations["E"].neuron.v.mean()
        return bs.simulate(run, steps * 0.1, 0.1, dict(E=700.0), dict(v=last), checkpoint=checkpoint)["v"].mean()

    needs: Any = jax.jit(jax.grad(loss)).lower(weights(net)).compile().memory_analysis()
    return needs.temp_size_in_bytes


@pytest.mark.slow
def test_memory_of_reverse_mode_grows_slowly(x32):
    few = temporary(1000)
    assert temporary(10_000) < 2 * few
    assert temporary(1000, checkpoint=1000) > 3 * few  # all states are kept


@pytest.mark.parametrize("steps", [1, 2, 7, 97, 1000, 4096, 10_000, 10_007, 99_991, 1_000_000, 10_000_000])
def test_levels(steps):
    """Each a multiple of the next, and no more than a few hundred states kept altogether, however long the run."""
    levels, kept = _levels({1}, steps, None)
    assert levels[-1] == 1 and levels[0] <= steps and kept in (len(levels), len(levels) - 1)
    assert all(long % short == 0 and long > short for long, short in itertools.pairwise(levels))
    states = steps // levels[0] + sum(a // b for a, b in itertools.pairwise(levels))
    assert states <= 5 * 64


@pytest.mark.slow
def test_levels_change_nothing(x64):
    """Second derivatives too, where JAX computes steps again in other places."""
    net = network(True, triangle())
    assert_close(gradients(net, 8.0, [20, 5]), gradients(net, 8.0, 80), chaotic=True)


@pytest.mark.slow
def test_forward_mode_agrees_with_reverse_mode_through_spikes(x64):
    """u · (the gradient's derivative along v) is the second derivative along u and v, which computes nothing again."""
    net = network(True, triangle())
    pick = lambda n: [p.connect.weight for p in n.projections.values()]

    def loss(w):
        net_ = eqx.tree_at(pick, net, w)
        run = bs.simulate(net_, 8.0, 0.1, dict(E=np.linspace(600, 900, 16), I=350.0), dict(v="E.v", s=["E"]))
        return run["v"].mean() + run["s"]["E"].mean()

    w = pick(net)
    u, v = [0.1 * x for x in w], [jnp.sin(jnp.arange(x.size, dtype=x.dtype)) for x in w]
    along = lambda w: jax.jvp(loss, (w,), (u,))[1]

    @jax.jit
    def both(w):
        grad, change = jax.jvp(jax.grad(loss), (w,), (v,))
        dot = lambda a: sum(jnp.vdot(x, y) for x, y in zip(u, a, strict=True))
        return (dot(grad), dot(change)), jax.jvp(along, (w,), (v,))

    got, expected = both(w)
    assert float(expected[1]) != 0
    assert_close(got, expected, chaotic=True)


@pytest.mark.parametrize(
    "checkpoint, message",
    [
        ([10, 4], r"checkpoint: each number must be a multiple of the next, got \[10, 4\]"),
        ([], "checkpoint must be a positive whole number of steps, or several, got none"),
        ([10, 0], "checkpoint, in steps, must be a whole number, at least 1, got 0"),
    ],
)
def test_bad_checkpoint(checkpoint, message):
    with pytest.raises(ValueError, match=message):
        bs.simulate(bs.Population(1, bs.LIF()), 10.0, 0.1, checkpoint=checkpoint)


def test_products_with_the_hessian_of_a_large_population(x64):
    """From 256 neurons on a kernel computes the flow; its derivative is there where JAX computes steps again, too."""
    cells = bs.Population(256, bs.LIF(), dict(exc=bs.ExpConductance(tau=3.0)))
    events = np.ones((8, 1))
    loss = lambda g: jnp.mean(bs.simulate(cells, 0.8, 0.1, dict(exc=events * g), dict(v="v"))["v"])
    along = lambda f: lambda g: jax.jvp(f, (g,), (1.0,))[1]
    got, expected = jax.jit(lambda g: (along(jax.grad(loss))(g), along(along(loss))(g)))(2.0)
    assert float(expected) != 0
    assert_close(got, expected)
