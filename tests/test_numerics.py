"""phi1 in plain JAX and by its kernel: accuracy, derivatives, and independence of neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim._numerics import exprel, phi1, phi1_times, phi1_times_large

FORMS = [phi1_times, phi1_times_large]


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
    z = jnp.asarray(np.concatenate([-np.logspace(-12, 2, 300), [0.0], np.logspace(-12, 2, 300)]))
    assert np.all(np.isfinite(first(z))) and np.all(np.isfinite(second(z)))
    near = z[np.abs(z) < 1e-4]
    np.testing.assert_allclose(first(near), 1 / 2 + near / 3, rtol=1e-8)
    np.testing.assert_allclose(second(near), 1 / 3 + near / 4, rtol=1e-7)
    away = z[(np.abs(z) > 1e-2) & (np.abs(z) < 20)]
    h = 1e-6 * jnp.maximum(1, jnp.abs(away))
    np.testing.assert_allclose(first(away), (phi(away + h) - phi(away - h)) / (2 * h), rtol=1e-6)
    reverse = jax.grad(lambda z: phi(z).sum())(z)
    np.testing.assert_allclose(reverse, first(z), rtol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_reverse_mode_in_both_arguments(form, x64):
    """Also where a kernel computes the value (arrays of more than 256), over and over, and batched."""
    z, x = jnp.linspace(-3.0, 3.0, 300), jnp.linspace(1.0, 2.0, 300)
    total = lambda z, x: jnp.sum(form(z, x) ** 2)
    twin = lambda z, x: jnp.sum((x * jnp.expm1(z) / z) ** 2)
    for derivative in (jax.grad, lambda f, i: jax.grad(lambda *a: jax.grad(f, i)(*a).sum(), i)):
        for i in (0, 1):
            np.testing.assert_allclose(derivative(total, i)(z, x), derivative(twin, i)(z, x), rtol=1e-8)
    rows = jnp.stack([z, -z])
    np.testing.assert_allclose(
        jax.vmap(jax.grad(total, 1), (0, None))(rows, x)[1], jax.grad(twin, 1)(-z, x), rtol=1e-12
    )


def test_an_element_does_not_depend_on_its_neighbours(precision):
    """Any order, length or batch gives the same bits."""
    z = jnp.asarray(arguments(jnp.result_type(float)))
    x = jnp.ones_like(z)
    whole = np.asarray(phi1_times_large(z, x))
    order = np.random.default_rng(0).permutation(z.size)
    np.testing.assert_array_equal(phi1_times_large(z[order], x), whole[order])
    np.testing.assert_array_equal(phi1_times_large(z[5:1003], x[5:1003]), whole[5:1003])
    rows = z[:6000].reshape(6, 1000)
    np.testing.assert_array_equal(jax.vmap(phi1_times_large)(rows, jnp.ones_like(rows)).reshape(-1), whole[:6000])


def test_not_a_number_stays_one(precision):
    z = jnp.full(300, jnp.nan).at[::2].set(-0.1)
    got = np.asarray(phi1_times_large(z, jnp.ones_like(z)))
    assert np.all(np.isnan(got[1::2])) and np.all(np.isfinite(got[::2]))


def test_exprel(x64):
    x = np.array([-30.0, -1.0, 1.0, 30.0])
    np.testing.assert_allclose(exprel(jnp.asarray(x)), x / -np.expm1(-x), rtol=1e-14)
    assert exprel(jnp.zeros(())) == 1 and phi1(jnp.zeros(())) == 1
