"""phi1 in plain JAX and by its kernel: accuracy, derivatives, and independence of neighbours."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import rows
from tolerances import assert_close

from brainsim import ops
from brainsim._numerics import exponential_step, exprel, phi1, phi1_times


def by_kernel(z, x):
    return exponential_step(jnp.zeros_like(z), z, x)


FORMS = [phi1_times, by_kernel]


def arguments(dtype, largest=80.0):
    z = np.logspace(-30, np.log10(largest), 3001)
    return np.concatenate([-np.logspace(-30, 6, 3001), [0.0], z]).astype(dtype)


@pytest.mark.parametrize("form", FORMS)
def test_accuracy(form, precision):
    z = arguments(jnp.result_type(float))
    wide = z.astype(np.longdouble)
    exact = np.where(z == 0, 1, np.expm1(wide) / np.where(z == 0, 1, wide))
    got = jax.jit(form)(jnp.asarray(z), jnp.full(z.shape, 3.0, z.dtype))
    np.testing.assert_allclose(got, 3 * exact, rtol=3 * np.finfo(z.dtype).eps)


@pytest.mark.parametrize("form", FORMS)
def test_derivatives(form, x64):
    """First and second, against their series near 0 and against finite differences elsewhere; none is NaN."""
    phi = lambda z: form(z, jnp.ones_like(z))
    first = jax.jit(lambda z: jax.jvp(phi, (z,), (jnp.ones_like(z),))[1])
    second = jax.jit(lambda z: jax.jvp(first, (z,), (jnp.ones_like(z),))[1])
    z = np.concatenate([-np.logspace(-12, 2, 300), [0.0], np.logspace(-12, 2, 300)])
    assert np.all(np.isfinite(first(z))) and np.all(np.isfinite(second(z)))
    near = z[np.abs(z) < 1e-4]
    np.testing.assert_allclose(first(near), 1 / 2 + near / 3, rtol=1e-8)
    np.testing.assert_allclose(second(near), 1 / 3 + near / 4, rtol=1e-7)
    away = z[(np.abs(z) > 1e-2) & (np.abs(z) < 20)]
    h = 1e-6 * np.maximum(1, np.abs(away))
    difference = jax.jit(lambda z, h: phi(z + h) - phi(z - h))(away, h)
    np.testing.assert_allclose(first(away), difference / (2 * h), rtol=1e-6)
    reverse = jax.jit(jax.grad(lambda z: phi(z).sum()))(z)
    np.testing.assert_allclose(reverse, first(z), rtol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_reverse_mode_in_both_arguments(form, x64):
    """Also where a kernel computes the value (arrays of more than 256), over and over, and batched."""
    z, x = jnp.linspace(-3.0, 3.0, 300), jnp.linspace(1.0, 2.0, 300)
    total = lambda z, x: jnp.sum(form(z, x) ** 2)
    twin = lambda z, x: jnp.sum((x * jnp.expm1(z) / z) ** 2)
    twice = lambda f, i: jax.grad(lambda *a: jax.grad(f, i)(*a).sum(), i)

    @jax.jit
    def found(z, x):
        pairs = [[of(f, i)(z, x) for f in (total, twin)] for of in (jax.grad, twice) for i in (0, 1)]
        return pairs, jax.vmap(jax.grad(total, 1), (0, None))(jnp.stack([z, -z]), x)[1], jax.grad(twin, 1)(-z, x)

    pairs, mapped, one = found(z, x)
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, rtol=1e-8)
    np.testing.assert_allclose(mapped, one, rtol=1e-12)


def test_an_element_does_not_depend_on_its_neighbours(precision):
    """Any order, length or batch gives the same bits."""
    z = jnp.asarray(arguments(jnp.result_type(float)))
    x = jnp.ones_like(z)
    whole = np.asarray(by_kernel(z, x))
    order = np.random.default_rng(0).permutation(z.size)
    np.testing.assert_array_equal(by_kernel(z[order], x), whole[order])
    np.testing.assert_array_equal(by_kernel(z[5:1003], x[5:1003]), whole[5:1003])
    rows = z[:6000].reshape(6, 1000)
    np.testing.assert_array_equal(jax.vmap(by_kernel)(rows, jnp.ones_like(rows)).reshape(-1), whole[:6000])


@pytest.mark.parametrize("n", rows([3, 100, 256, 257, 1000], long={100, 1000}))
def test_exponential_step(n, precision):
    """The step is the sum that it says, of any length, with its derivatives in all three arguments."""
    rng = np.random.default_rng(0)
    y, z, x, *tangents = rng.normal(size=(6, n)).astype(jnp.result_type(float))
    twin = lambda y, z, x: y + x * jnp.expm1(z) / z
    step = jax.jit(exponential_step)
    assert_close(step(y, z, x), jax.jit(twin)(y, z, x))

    @jax.jit
    def found(y, z, x, tangents):
        used = [[u * t for u, t in zip(on, tangents, strict=True)] for on in itertools.product([0.0, 1.0], repeat=3)]
        return [[jax.jvp(f, (y, z, x), tuple(given)) for f in (exponential_step, twin)] for given in used]

    # XLA may round the operations of another program otherwise; a kernel does what it does.
    same = np.testing.assert_array_equal if ops.backend() == "ffi" and n > 256 else assert_close
    for (value, slope), (_, expected) in found(y, z, x, tangents):
        assert_close(slope, expected)
        same(value, step(y, z, x))
    rows = jax.jit(jax.vmap(exponential_step, (0, None, None)))(np.stack([y, 2 * y]), z, x)
    same(rows[1], step(2 * y, z, x))


def test_not_a_number_stays_one(precision):
    z = jnp.full(300, jnp.nan).at[::2].set(-0.1)
    got = np.asarray(by_kernel(z, jnp.ones_like(z)))
    assert np.all(np.isnan(got[1::2])) and np.all(np.isfinite(got[::2]))


def test_exprel(x64):
    x = np.array([-30.0, -1.0, 1.0, 30.0])
    np.testing.assert_allclose(exprel(jnp.asarray(x)), x / -np.expm1(-x), rtol=1e-14)
    assert exprel(jnp.zeros(())) == 1 and phi1(jnp.zeros(())) == 1
