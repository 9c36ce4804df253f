"""Connectivity layouts: each against its own matrix, in every transformation, and their errors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import one_precision, rows
from tolerances import assert_close

import brainsim as bs
from brainsim._compat import as_jax

N_PRE, N_POST = 9, 6


def regenerated(rule, n_post=N_POST, same=False):
    return bs.Procedural(rule).build(jax.random.key(3), N_PRE, n_post, same=same)


FAN = np.array([1, 1, 4, 0, 2, 4, 1, 3, 0, 5, 3, 3, 1, 2, 5, 4, 3, 0]).reshape(N_PRE, 2)


def csr(weight, n_post=N_POST):
    """A pattern with an empty row, an empty column and a duplicate."""
    pre, post = np.array([0, 0, 0, 1, 3, 4, 4, 8]), np.array([1, 1, 4, 0, 2, 4, 1, 3])
    return bs.CSR.from_coo(pre, post, weight(len(pre)), N_PRE, n_post)


# A new layout is one row, and faces every test below.
LAYOUTS = {
    "CSR": csr,
    "CSR, one weight": lambda weight: csr(lambda n: weight(1)[0]),
    "FanOut": lambda weight: bs.FanOut(weight(18).reshape(N_PRE, 2), FAN, N_POST),
    "FanOut, one weight": lambda weight: bs.FanOut(weight(1)[0], FAN, N_POST),
    "Dense": lambda weight: bs.Dense(weight(N_PRE * N_POST).reshape(N_PRE, N_POST)),
    "Convolution": lambda weight: bs.Convolution(weight(16).reshape(2, 2, 1, 4), (3, 3), stride=2, padding=1),
    "Convolution, same": lambda weight: bs.Convolution(weight(18).reshape(2, 1, 3, 3), (3, 1), padding="same"),
    "Diagonal": lambda weight: bs.Diagonal(weight(N_PRE), N_PRE),
    "Diagonal, one weight": lambda weight: bs.Diagonal(weight(1)[0], N_PRE),
    "Regenerated, probability": lambda weight: regenerated(bs.FixedProbability(0.4, weight(1)[0])),
    "Regenerated, normal": lambda weight: regenerated(bs.FixedProbability(0.4, bs.Normal(weight(1)[0], 0.5))),
    "Regenerated, out-degree": lambda weight: regenerated(
        bs.FixedOutDegree(5, bs.Uniform(*sorted(weight(2))), autapses=False), N_PRE, same=True
    ),
    "Regenerated, multapses": lambda weight: regenerated(
        bs.FixedOutDegree(7, bs.Uniform(*sorted(weight(2))), multapses=True)
    ),
    "Regenerated, in-degree": lambda weight: regenerated(
        bs.FixedInDegree(5, bs.Normal(weight(1)[0], 2.0), multapses=True)
    ),
    "Full": lambda weight: bs.Full(weight(1)[0], N_PRE, N_POST),
    "Full, no autapses": lambda weight: bs.Full(weight(1)[0], N_PRE, N_PRE, autapses=False),
}


NEARLY_COVERED = {
    "CSR, one weight",
    "FanOut, one weight",
    "Convolution, same",
    "Diagonal, one weight",
    "Regenerated, multapses",
    "Full",
}


@pytest.fixture(params=rows(LAYOUTS, NEARLY_COVERED))
def connect(request, x64):
    return LAYOUTS[request.param](draw)


def draw(n):
    return np.random.default_rng(n).normal(size=n)


def spikes(*batch):
    rng = np.random.default_rng(1)
    shape = (*batch, N_PRE)
    return jnp.asarray(rng.normal(size=shape) * (rng.random(shape) < 0.5), jnp.result_type(float))


def matrix(connect):
    dense = np.asarray(jax.jit(lambda: connect.as_dense())())
    assert dense.shape == (connect.n_pre, connect.n_post)
    return dense


@one_precision
@pytest.mark.parametrize("layout", LAYOUTS)
def test_is_its_matrix(layout, precision):
    connect = LAYOUTS[layout](draw)
    assert_close(eqx.filter_jit(connect)(spikes()), np.asarray(spikes()) @ matrix(connect))
    assert_close(eqx.filter_jit(connect)(jnp.zeros_like(spikes())), np.zeros(connect.n_post, spikes().dtype))
    assert all(w.dtype == jnp.result_type(float) for w in jax.tree.leaves(connect.weight))


def test_weights_are_the_only_differentiable_leaves(connect):
    leaves = jax.tree.leaves(eqx.filter(connect, eqx.is_inexact_array))
    assert len(leaves) > 0
    assert all(a is b for a, b in zip(leaves, jax.tree.leaves(connect.weight), strict=True))


def test_gradients(connect):
    """With respect to weights and spikes: those of the matrix."""
    ct = jnp.asarray(np.random.default_rng(2).normal(size=connect.n_post), jnp.result_type(float))
    loss = lambda layout: lambda cx: jnp.sum(jnp.sin(layout(cx)) * ct)
    fast = eqx.filter_jit(eqx.filter_grad(loss(lambda cx: cx[0](cx[1]))))((connect, spikes()))
    dense = eqx.filter_jit(eqx.filter_grad(loss(lambda cx: cx[1] @ cx[0].as_dense())))((connect, spikes()))
    assert_close((fast[0].weight, fast[1]), (dense[0].weight, dense[1]))


def test_higher_derivatives(connect):
    """The tangent of the events, and a product with the Hessian, in weights and spikes together."""
    weights, rest = eqx.partition(connect, eqx.is_inexact_array)
    tangent = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), (weights, spikes()))

    def both(layout):
        events = lambda w, x: layout(eqx.combine(w, rest), x)
        grad = jax.grad(lambda w, x: jnp.sum(jnp.sin(events(w, x))), (0, 1))
        derive = lambda f: jax.jvp(f, (weights, spikes()), tangent)[1]
        return jax.tree.leaves(jax.jit(lambda: (derive(events), derive(grad)))())

    assert_close(both(lambda c, x: c(x)), both(lambda c, x: x @ c.as_dense()))


def test_scan_and_remat(connect):
    """A recurrent network, its steps computed again in reverse mode."""
    weights, rest = eqx.partition(connect, eqx.is_inexact_array)
    back = as_jax(np.random.default_rng(3).normal(size=(connect.n_post, connect.n_pre)))

    def grad(layout):
        def final(w, x):
            step = lambda y, _: (jnp.tanh(layout(eqx.combine(w, rest), y) @ back) + x, None)
            return jnp.sum(jax.lax.scan(jax.checkpoint(step), x, None, length=3)[0] ** 2)

        return jax.tree.leaves(jax.jit(jax.grad(final, (0, 1)))(weights, spikes()))

    assert_close(grad(lambda c, x: c(x)), grad(lambda c, x: x @ c.as_dense()))


def test_batches(connect):
    """vmap over spikes, over weights, and over both, each with its own matrix."""
    many = jax.tree.map(lambda w: jnp.stack([w, 2 * w, -w]), connect.weight)
    one = lambda i: jax.tree.map(lambda w: w[i], many)
    with_weight = lambda w: eqx.tree_at(lambda c: c.weight, connect, w)
    matrices = np.stack([matrix(with_weight(one(i))) for i in range(3)])
    x = spikes(3)
    apply = lambda x, w: with_weight(w)(x)
    run = lambda axes, *args: jax.jit(jax.vmap(apply, axes))(*args)
    assert_close(run((0, None), x, one(0)), np.einsum("bi,ij->bj", x, matrices[0]))
    assert_close(run((None, 0), x[0], many), np.einsum("i,bij->bj", x[0], matrices))
    assert_close(run((0, 0), x, many), np.einsum("bi,bij->bj", x, matrices))


def test_new_weights_do_not_retrace(connect):
    traces = 0

    @eqx.filter_jit
    def run(c, x):
        nonlocal traces
        traces += 1
        return c(x)

    for scale in (1.0, 2.0):
        run(eqx.tree_at(lambda c: c.weight, connect, jax.tree.map(lambda w, s=scale: w * s, connect.weight)), spikes())
    assert traces == 1


def test_wrong_number_of_spikes(connect):
    with pytest.raises(ValueError, match=r"spikes have shape \[2\], expected \[9\]"):
        connect(jnp.ones(2, jnp.result_type(float)))


# ---- making a CSR


def test_from_dense_and_back(x64):
    dense = draw(54).reshape(9, 6) * (draw(54).reshape(9, 6) > 0.5)
    assert_close(bs.CSR.from_dense(dense).as_dense(), jnp.asarray(dense, jnp.result_type(float)))
    assert bs.CSR.from_dense(np.zeros((3, 0))).as_dense().shape == (3, 0)


def test_from_coo_in_any_order(x64):
    pre, post, weight = np.array([2, 0, 2, 0]), np.array([1, 3, 0, 3]), np.array([1.0, 2.0, 3.0, 4.0])
    one, other = (bs.CSR.from_coo(pre[o], post[o], weight[o], 3, 4) for o in (slice(None), slice(None, None, -1)))
    assert_close(one.as_dense(), other.as_dense())
    assert one.pre.tolist() == [0, 0, 2, 2] and one.indices.tolist() == [3, 3, 0, 1]
    assert float(one.as_dense()[0, 3]) == 6.0  # two synapses from 0 to 3


def test_from_scipy(x64):
    sparse = pytest.importorskip("scipy.sparse")
    m = sparse.random_array((20, 30), density=0.1, format="csr", rng=np.random.default_rng(0))
    assert_close(bs.CSR(m.data, m.indices, m.indptr, *m.shape).as_dense(), as_jax(m.toarray()))


def test_weight_may_be_traced(x64):
    """A weight that is being differentiated can be built into a connectivity inside of the function."""
    total = lambda w: jnp.sum(bs.CSR.from_coo([0, 1], [1, 0], w, 2, 2)(jnp.array([1.0, 3.0])))
    assert_close(jax.jit(jax.grad(total))(jnp.array([5.0, 6.0])), jnp.array([1.0, 3.0]))


# ---- errors

GOOD = dict(weight=[1.0, 2.0], indices=[0, 1], indptr=[0, 1, 2], n_pre=2, n_post=2)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(weight=[1.0, 2.0, 3.0]), r"the weight has shape \[3\], expected \[\] or \[2\]"),
        (dict(weight=[[1.0, 2.0]]), r"the weight has shape \[1, 2\], expected \[\] or \[2\]"),
        (dict(weight=[1.0, np.nan]), "weights must be finite, number 1 is nan"),
        (dict(weight=np.inf), "weights must be finite, number 0 is inf"),
        (dict(indices=[0, 2]), r"indices\[1\] is 2, allowed are 0 to 1"),
        (dict(indices=[-1, 0]), r"indices\[0\] is -1, allowed are 0 to 1"),
        (dict(indices=[0, 2**32]), "indices must fit in 32 bits, got 4294967296"),
        (dict(indices=[0.0, 1.0]), "indices must be whole numbers, got float64"),
        (dict(indices=[[0, 1]]), r"shapes \[1, 2\] and \[3\], expected \[nnz\] and \[3\]"),
        (dict(indptr=[0, 2]), r"shapes \[2\] and \[2\], expected \[nnz\] and \[3\]"),
        (dict(indptr=[0, 1, 3]), "indptr must rise from 0 to the number of synapses, 2; it goes from 0 to 3"),
        (dict(indptr=[0, 3, 2]), "indptr must rise"),
        (dict(n_post=0), r"indices\[0\] is 0, allowed are none: the population is empty"),
        (dict(n_pre=-1), "a number of neurons must be a whole number, at least 0"),
        (dict(n_pre=2.5), "a number of neurons must be a whole number, at least 0"),
    ],
)
def test_csr_errors(change, message):
    with pytest.raises(ValueError, match=message) as e:
        bs.CSR(**{**GOOD, **change})
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: bs.CSR.from_coo([0], [5], 1.0, 2, 2), r"post\[0\] is 5, allowed are 0 to 1"),
        (lambda: bs.CSR.from_coo([0, 1], [0], 1.0, 2, 2), r"shapes \[2\] and \[1\], not one length"),
        (lambda: bs.CSR.from_coo([0], [0], [1.0, 2.0], 2, 2), r"the weight has shape \[2\], expected \[\] or \[1\]"),
        (lambda: bs.CSR.from_dense(np.ones(3)), r"expected a matrix \[pre, post\], got shape \[3\]"),
        (lambda: bs.Dense([1.0, 2.0]), r"the weight has shape \[2\], expected a matrix \[pre, post\]"),
        (lambda: bs.Dense([[1.0, np.nan]]), "weights must be finite, number 1 is nan"),
        (lambda: bs.Diagonal([1.0, 2.0], 3), r"the weight has shape \[2\], expected \[\] or \[3\]"),
        (lambda: bs.Full([1.0], 3, 3), r"the weight has shape \[1\], expected \[\]"),
        (lambda: bs.Full(1.0, 3, 2, autapses=False), "no autapses to leave out between 3 and 2 neurons"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message) as e:
        make()
    assert "\n" not in str(e.value)
