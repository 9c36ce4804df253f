"""Delays of synapses that are not stored: kernels against plain JAX, delivery against matrices and stored synapses."""

import math

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_layouts import ACTIVE, NONE, SEED, build, patterns, sparse, within
from test_ops import DERIVATIVES, assert_all_close, derivatives
from tolerances import assert_close

import brainsim as bs
from brainsim import _compat
from brainsim.ops import _procedural_late as ops, _procedural_late_plain as plain
from brainsim.synapses._delays import rounded_delays

DT = 0.1


@hypothesis.settings(max_examples=3, deadline=None, phases=[hypothesis.Phase.generate])
@hypothesis.given(
    sizes=st.sampled_from([(0, 3), (1, 300), (40, 40), (3, 0)]),
    active=st.sampled_from(ACTIVE),
    noise=st.sampled_from(["none", "uniform", "normal"]),
    which=st.integers(0, 4),
    batch=st.sampled_from([0, 1, 2]),
    k=st.integers(0, 100),
    d=st.integers(0, 300),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_kernels_are_the_plain_twins(sizes, active, noise, which, batch, k, d, dtype, seed):
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        made = patterns(*sizes, np.random.default_rng(0))
        pattern, table = made[which % len(made)]
        delays = np.sort(rng.integers(0, 2**32, d, dtype=np.uint32))
        drawn = [jnp.asarray(x) for x in (rng.integers(0, 2**32, 2, dtype=np.uint32), table, delays, np.int32(k))]
        params = dict(pattern=pattern.checked(), noise=noise, least=2, stride=3)
        ring = jnp.asarray(rng.normal(size=(batch, 2 + 3 * d + which, sizes[1])), dtype)
        x = jnp.asarray(sparse(rng, (batch, sizes[0], 1 + (noise != "none")), active, dtype))
        got = ops.send.bind(ring, x, *drawn, **params)
        assert_close(got, jax.jit(lambda r, x: plain.send(r, x, *drawn, **params))(ring, x))
        assert_close(
            ops.collect.bind(ring, *drawn, **params), jax.jit(lambda r: plain.collect(r, *drawn, **params))(ring)
        )


WEIGHTS = {"one": lambda: 30.0, "uniform": lambda: bs.Uniform(10.0, 50.0), "normal": lambda: bs.Normal(30.0, 5.0)}
RULES = {
    "probability": lambda w: bs.FixedProbability(0.2, weight=w, autapses=False),
    "in-degree": lambda w: bs.FixedInDegree(8, weight=w, multapses=True),
}


LIKE = [("normal", "in-degree"), *[pytest.param(w, "probability", marks=pytest.mark.slow) for w in ("one", "uniform")]]


@pytest.mark.parametrize("weight, rule", LIKE)
def test_a_network_like_the_same_synapses_stored(weight, rule, x64):
    """Spike for spike; in two parts, the second from the state where the first ended."""
    cell = bs.Population(40, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0)))
    late = bs.Normal(1.5, 0.75, low=0.25, high=2.5)
    loop = lambda connect, delay=None: bs.Network(
        dict(E=cell), [bs.Projection("E", "E.exc", connect, delay, resolution=0.5)], key=jax.random.key(0)
    )
    net = loop(bs.Procedural(RULES[rule](WEIGHTS[weight]())), late)
    connect = net.projections["E->E.exc"].connect
    assert connect.delays == (0.5, 1.0, 1.5, 2.0, 2.5) and connect.longest(dt=DT) == 25
    dense = np.asarray(connect.as_dense(dt=DT))
    assert_close(dense.sum(axis=0), np.asarray(connect.connect.as_dense()))
    steps, pre, post = np.nonzero(dense)
    assert set(np.unique(steps)) == {4, 9, 14, 19, 24}
    stored = bs.DelayedCSR.from_coo(pre, post, dense[steps, pre, post], (steps + 1) * DT, 40, 40)
    run = lambda net, t=40.0, state=None: bs.simulate(
        net, t, DT, dict(E=np.linspace(300.0, 600.0, 40)), dict(spikes=["E"], v=bs.Record("E.v")), state=state
    )
    expected, first = run(loop(stored)), run(net, 20.0)
    second = run(net, 20.0, first.state)
    joined = lambda of: np.concatenate([of(first), of(second)])
    assert expected.spikes["E"].sum() > 50 and (joined(lambda r: r.spikes["E"]) == expected.spikes["E"]).all()
    assert_close(joined(lambda r: r["v"]), expected["v"], chaotic=True)


def recurrent(delivered):
    """The loss of a loop of 7 steps, as a function of what each neuron gets and of the parameters of the weights."""

    def loss(x, p):
        send, ring = delivered(p)

        def step(ring, k):
            row = k % len(ring)
            y = jnp.where(x > -0.5, jnp.tanh(ring[row] + x), 0.0)  # some never send
            return send(ring, y, k), y

        return jnp.sum(jax.lax.scan(step, ring, jnp.arange(7, dtype=jnp.int32))[1] ** 2)

    return loss


def pair():
    """Delivery from regenerated synapses, and by their matrices."""
    made = bs.DelayedRegenerated(
        build(bs.FixedProbability(0.4, weight=bs.Normal(1.0, 0.5)), 8, 8), bs.Uniform(0.1, 0.5)
    )

    def late(p):
        return eqx.tree_at(lambda c: c.connect.weight, made, bs.Normal(p[0], p[1]))

    def delivered(p):
        connect = late(p)
        return lambda ring, y, k: connect(ring, y, k, dt=DT), connect.init(dt=DT)

    def by_matrix(p):
        matrix = late(p).as_dense(dt=DT)
        at, rows = jnp.arange(1, len(matrix) + 1, dtype=jnp.int32), len(matrix) + 1
        events = lambda y: jnp.einsum("i,dij->dj", y, matrix)
        return lambda ring, y, k: ring.at[(k + at) % rows].add(events(y)).at[k % rows].set(0.0), jnp.zeros((rows, 8))

    return recurrent(delivered), recurrent(by_matrix)


X, P = np.linspace(-1.0, 1.0, 8), np.array([0.6, 0.3])
SOME = "value", "reverse"


def test_derivatives(x64):
    got, expected = (jax.jit(derivatives(f, SOME))(X, P) for f in pair())
    assert_all_close(got, expected)
    assert np.abs(got["reverse"][1]).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_derivatives_of_every_order_and_batches(axes, x64):
    args = [np.stack([a, 0.5 * a]) if axis == 0 else a for a, axis in zip((X, P), axes, strict=True)]
    got, expected = (jax.jit(jax.vmap(derivatives(f, DERIVATIVES), axes))(*args) for f in pair())
    assert_all_close(got, expected)


def test_batches_of_rings_and_of_seeds(x64):
    """One ring for all or one for each; and networks of one size in a batch."""
    late = [bs.DelayedRegenerated(build(bs.FixedOutDegree(3), 8, 5, i), bs.Uniform(0.1, 0.5)) for i in range(3)]
    rings, spikes = np.random.default_rng(0).normal(size=(3, 6, 5)), np.eye(3, 8)

    def expected(connect, ring, y):
        events = np.pad(np.einsum("i,dij->dj", y, connect.as_dense(dt=DT)), ((0, 1), (0, 0)))
        return np.where(np.arange(6)[:, None] == 2, 0.0, ring + np.roll(events, 3, axis=0))  # of the steps 3, 4, ...

    send = lambda c, ring, y: c(ring, y, 2, dt=DT)
    same = [expected(late[0], rings[0], y) for y in spikes]
    assert_close(jax.jit(jax.vmap(send, (None, None, 0)))(late[0], rings[0], spikes), np.stack(same))
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *late)
    each = [expected(*x) for x in zip(late, rings, spikes, strict=True)]
    assert_close(jax.jit(jax.vmap(send))(stacked, rings, spikes), np.stack(each))


def test_the_ring_stays_where_it_is(x32):
    """A loop that carries it copies it nowhere."""
    late = bs.DelayedRegenerated(build(bs.FixedOutDegree(3), 8, 8), bs.Uniform(0.1, 0.5))

    def step(ring, k):
        return late(ring, jax.lax.dynamic_index_in_dim(ring, k % 6, keepdims=False), k, dt=DT), None

    scan = lambda ring: jax.lax.scan(step, ring, jnp.arange(9, dtype=jnp.int32))[0]
    run = jax.jit(scan, donate_argnums=0, compiler_options=_compat.cpu_options())
    text = run.lower(late.init(dt=DT)).compile().as_text()
    assert bs.ops.backend() == "jax" or "brainsim_procedural_send" in text
    assert text.count("f32[6,8]") > 5 and "f32[6,8]{1,0} copy(" not in text


@pytest.mark.parametrize(
    "delay",
    [
        bs.Uniform(0.5, 2.0),
        bs.Uniform(0.32, 0.61),
        bs.Normal(1.5, 0.75, low=0.05),
        bs.Normal(1.0, 0.11, high=1.12),
        bs.Normal(0.7, 0.0),
        1.25,
    ],
)
def test_delays_have_the_distribution_of_stored_ones(delay):
    """Chi-square against as many draws on the host; and neighbours are independent, also of the weights."""
    connect = bs.DelayedRegenerated(build(bs.FixedOutDegree(50), 2000, 100), delay)
    c, n = connect.connect, 100_000
    found = np.asarray(ops.procedural_delays(c.seed, connect.table, c.pattern, least=connect.least)).ravel()
    draw = delay if callable(delay) else lambda rng, size: np.full(size, delay)
    host = rounded_delays(np.asarray(draw(np.random.default_rng(1), n)), 0.1)
    a, b = (np.bincount(x, minlength=connect.longest(dt=DT) + 1).astype(float) for x in (found, host))
    assert len(a) == len(b) and a.sum() == n
    keep = a + b > 20
    chi = ((a - b)[keep] ** 2 / (a + b)[keep]).sum()
    within(chi, keep.sum() - 1, 2 * keep.sum())
    if keep.sum() > 1:
        noise = np.asarray(bs.ops.procedural_synapses(c.seed, c.table, c.pattern, "uniform").noise).ravel()
        for other in (found[1:], noise[:-1]):
            within(np.corrcoef(found[:-1], other)[0, 1], 0, 1 / n)


def test_probabilities_are_exact_to_32_bits():
    connect = bs.DelayedRegenerated(build(bs.FixedOutDegree(1), 3, 3), bs.Normal(1.0, 0.2, low=0.5))
    phi = lambda x: (1 + math.erf((x - 1.0) / 0.2 / math.sqrt(2))) / 2
    shares = np.diff(np.concatenate([[0], np.asarray(connect.table) / 2**32, [1]]))
    for delay, share in zip(connect.delays, shares, strict=True):
        low, high = max(delay - 0.05, 0.5), delay + 0.05
        assert abs(share - (phi(high) - phi(low)) / (1 - phi(0.5))) < 1e-8  # the mean is kept in single precision


def test_no_derivative_in_delays():
    made = build(bs.FixedOutDegree(1), 3, 3)
    loss = lambda mean: bs.DelayedRegenerated(made, bs.Normal(mean, 0.1)).as_dense(dt=DT).sum()
    with pytest.raises(ValueError, match="nothing has a derivative in them"):
        jax.grad(loss)(1.0)


def late(delay, resolution=0.1):
    return bs.DelayedRegenerated(build(bs.FixedOutDegree(2), 3, 4), delay, resolution)


def network(delay):
    cells = bs.Population(3, bs.LIF(), dict(exc=bs.ExpCurrent()))
    rule = bs.Procedural(bs.FixedOutDegree(2))
    return bs.Network(dict(E=cells), [bs.Projection("E", "E.exc", rule, delay)], key=jax.random.key(0))


def send(ring=(5, 4), sent=3, delays=NONE, dtype=jnp.float32, **options):
    pattern = bs.ops.ProceduralPattern(3, 4, "different", 4, 2, 2)
    return bs.ops.procedural_send(jnp.zeros(ring, dtype), jnp.ones(sent), SEED, NONE, delays, 0, pattern, **options)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: late(lambda rng, n: rng.random(n)), "a number, brainsim.Normal or brainsim.Uniform, not an array or"),
        (lambda: network(np.ones(6)), "projection 'E->E.exc': procedural delays must be a number, brainsim.Normal"),
        (lambda: network(bs.Normal(0.5, 0.5)), "'E->E.exc': procedural delays must be at least 0.1 ms once rounded"),
        (lambda: network(bs.Uniform(0.5, 1.5)).synapses("E->E.exc"), "has no list of its synapses, being a DelayedReg"),
        (lambda: late(bs.Uniform(0.0, 1.0)), "must be at least 0.1 ms once rounded to that"),
        (lambda: late(0.04), "must be at least 0.1 ms once rounded to that, got 0.04"),
        (lambda: late(bs.Uniform(2.0, 1.0)), "low must be at most high, got low = 2 and high = 1"),
        (lambda: late(bs.Normal(1.0, -1.0)), "sd must be at least 0"),
        (lambda: late(bs.Normal(1.0, 0.1, low=4.0)), r"next to nothing of mean 1 and sd 0.1 lies in \[4, inf\]"),
        (lambda: late(bs.Normal([1.0, 2.0], 0.1)), "mean must be a single number"),
        (lambda: late(np.inf), "single finite numbers"),
        (lambda: late(bs.Uniform(1.0, 1e5)), "different ones are too many; round with `resolution`"),
        (lambda: late(1.0, resolution=0.0), "the resolution must be positive and finite, got 0 ms"),
        (lambda: late(1.0).longest(dt=0.3), "the resolution of procedural delays"),
        (lambda: bs.DelayedRegenerated(bs.Full(1.0, 3, 3), 1.0), "synapses must be procedural, got Full"),  # type: ignore
        (lambda: send(ring=(5, 3)), r"the ring is float32\[5, 3\], expected float32\[rows, 4\]"),
        (lambda: send(dtype=jnp.bfloat16), r"the ring is bfloat16\[5, 4\], expected float32"),
        (lambda: send(sent=2), r"sent have shape \[2\], expected \[3\]"),
        (lambda: send(delays=np.zeros(5, np.uint32)), "the ring has 5 rows, the longest delay 6 steps"),
        (lambda: send(delays=np.zeros(5, np.int32)), r"delays must be uint32\[d\], not int32\[5\]"),
        (lambda: send(least=0), "delays must be one step or more"),
    ],
)  # fmt: skip
def test_errors(make, message, x32):
    with pytest.raises(ValueError, match=message) as e:
        make()
    assert "\n" not in str(e.value)


def test_what_a_kernel_refuses(x32):
    """Below the checks of the public function: a ring that is too short."""
    if bs.ops.backend() == "jax":
        pytest.skip("no kernels")
    params = dict(pattern=bs.ops.ProceduralPattern(3, 4, "different", 4, 2, 2), noise="none", least=9, stride=1)
    with pytest.raises(jax.errors.JaxRuntimeError, match="the ring is shorter than the longest delay"):
        ops.send.bind(jnp.zeros((1, 5, 4)), jnp.ones((1, 3, 1)), SEED, NONE, NONE, np.int32(0), **params)


def test_only_weights_are_trained():
    leaves = jax.tree.leaves(eqx.filter(late(1.0), eqx.is_inexact_array))
    assert len(leaves) == 1
