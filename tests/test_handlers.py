"""A compiled operator that is called with what it does not take says so: nothing is read that is not there."""

import jax
import jax.numpy as jnp
import needs
import numpy as np
import pytest

WORDS, STEP, MEAN = jnp.zeros((1, 2), jnp.uint32), jnp.zeros((1, 1), jnp.uint32), jnp.ones((1, 1), jnp.float32)
COUNTS = jax.ShapeDtypeStruct((1, 3), jnp.float32)
IMAGE, KERNEL = jnp.zeros(4, jnp.float32), jnp.ones(1, jnp.float32)
SIZES = np.array([2, 2, 1, 1, 1, 1, 1, 0, 0, 2, 2, 1], np.int64)  # of a kernel of one pixel


def call(name, results, *operands, **attributes):
    return jax.jit(lambda *x: jax.ffi.ffi_call(f"brainsim_{name}", results)(*x, **attributes))(*operands)


@needs.kernels
@pytest.mark.parametrize("name, results, operands, attributes", [
    ("poisson", COUNTS, (WORDS, STEP), {}),
    ("poisson", COUNTS, (WORDS, STEP, MEAN, MEAN), {}),
    ("poisson", (COUNTS, COUNTS), (WORDS, STEP, MEAN), {}),
    ("convolution_scatter", IMAGE, (IMAGE, KERNEL), {}),
    ("convolution_scatter", IMAGE, (IMAGE, KERNEL), {"size": SIZES}),
    ("convolution_scatter", IMAGE, (IMAGE, KERNEL), {"sizes": SIZES.astype(np.int32)}),
    ("convolution_scatter", IMAGE, (IMAGE, KERNEL), {"sizes": np.int64(3)}),
])  # fmt: skip
def test_calls_that_do_not_fit(name, results, operands, attributes):
    with pytest.raises(Exception, match="brainsim operators: these are not the operands of this one"):
        jax.block_until_ready(call(name, results, *operands, **attributes))


@needs.kernels
def test_calls_that_fit():
    assert call("poisson", COUNTS, WORDS, STEP, MEAN).shape == (1, 3)
    np.testing.assert_array_equal(call("convolution_scatter", IMAGE, IMAGE + 2, KERNEL, sizes=SIZES), IMAGE + 2)
