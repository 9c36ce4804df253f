"""Random counts of point processes: one call draws for all neurons of a population in one step.

A count depends on the key, the step and the neuron only. Neuron i takes word (i div 8) mod 4 of the counter
8 (i div 32) + i mod 8 of Philox 4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405), so that eight counters at a
time serve 32 neurons in a row. A word w becomes the number of thresholds P(X <= k) that w / 2^32 reaches.
"""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .. import _compat
from .._typing import check_key, whole_number
from ._library import define_kernel
from ._operands import real, single_step
from ._procedural_plain import _normal

_LANES, _WORDS = 8, 4
_MOST_PER_DRAW, _MOST_IN_PARTS, _MOST, _MOST_THRESHOLDS = 16.0, 65536.0, 2.0**53, 128
_TWO32 = 4294967296.0


def poisson_counts(key: Array, step: Int[Array, ""], mean: ArrayLike, n: int) -> Float[Array, " n"]:
    r"""Independent Poisson numbers, one for each of `n` neurons in the given step.

    $$P(\text{count}_i = k) = e^{-\text{mean}_i} \, \text{mean}_i^k / k!$$

    The probability of every count is right to $2^{-32}$, about 2e-10; where a mean exceeds 16, that of each of the
    ceil(mean / 16) numbers that add up to the count. Above 65,536 the count is a quantile, expanded about the normal
    one (Cornish & Fisher 1938, doi:10.2307/1400905): right to a hundredth of a count, or to 1e-6 standard deviations
    if that is more. There is no gradient with respect to the mean.

    **Arguments:**

    - `key`: `jax.random.key(seed)`.
    - `step`: number of the step, an integer.
    - `mean`: one for all neurons or one per neuron, [n], between 0 and 2^53.
    - `n`: number of neurons.

    **Returns:** the counts as floating-point numbers of the type of `mean`; NaN for a traced one that is none.

    **Raises:** `ValueError` for a mean that is negative, NaN or above 2^53, or whose shape does not fit.

    ```python
    >>> import brainsim as bs, jax
    >>> bs.ops.poisson_counts(jax.random.key(0), 7, 2.5, n=6)
    Array([...], dtype=float32)

    ```
    """
    return _counts(key, step, mean, n, "poisson")


def bernoulli_counts(key: Array, step: Int[Array, ""], probability: ArrayLike, n: int) -> Float[Array, " n"]:
    """1 with the given probability, else 0: independent numbers, one for each of `n` neurons in the given step.

    **Arguments:** as in `poisson_counts`, with `probability`, one for all or one per neuron, [n]. Above 1 it counts as
    1. It is right to 2^-32.

    ```python
    >>> import brainsim as bs, jax
    >>> bs.ops.bernoulli_counts(jax.random.key(0), 7, 1.0, n=3)
    Array([1., 1., 1.], dtype=float32)

    ```
    """
    return _counts(key, step, probability, n, "bernoulli")


def _counts(key: Array, step: Int[Array, ""], mean: ArrayLike, n: int, process: str) -> Float[Array, " n"]:
    check_key(key, f"{process}_counts: the key")
    n = whole_number(n, f"{process}_counts: n", least=0, most=2**31 - 1)
    mean = real(f"{process}_counts: the mean", mean)
    if not jnp.issubdtype(mean.dtype, jnp.inexact):
        mean = mean.astype(jnp.result_type(float))
    if mean.shape not in ((), (n,)):
        raise ValueError(f"{process}_counts: the mean has shape {list(mean.shape)}, expected [] or [{n}]")
    if not _compat.is_traced(mean) and mean.size:
        values = np.asarray(mean)  # numbers, also while something else is being traced
        low, high, most = float(values.min()), float(values.max()), _MOST if process == "poisson" else np.inf
        if not 0 <= low <= high <= most:  # NaN is not
            what, expected = ("mean", "0 to 2^53") if process == "poisson" else ("probability", "0 or more")
            found = f"{low:g}" if low == high else f"from {low:g} to {high:g}"
            raise ValueError(f"{process}_counts: the {what} is {found}, expected {expected}")
    step = single_step(f"{process}_counts", step, np.uint32)
    mean = jax.lax.stop_gradient(mean)
    return counts.bind(_words_of(key)[None], step[None, None], mean.reshape(1, -1), n=n, process=process)[0]


def _words_of(key: Array) -> Array:
    """Two words that stand for a JAX key of any kind."""
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return words if words.shape == (2,) else jax.random.bits(key, (2,), jnp.uint32)


# ---- the rules


def _abstract(key, step, mean, *, n, process):
    return _compat.ShapedArray((step.shape[0], n), mean.dtype)


def _jvp(primals, tangents, *, n, process):
    out = counts.bind(*primals, n=n, process=process)
    return out, jnp.zeros_like(out)


def _transpose(ct, *operands, n, process):
    raise ValueError("a random count has no derivative with respect to its mean")


def _batch(operands, dims, *, n, process):
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    front = lambda x, d: jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
    merged = [x.reshape(-1, x.shape[-1]) for x in map(front, operands, dims)]
    return counts.bind(*merged, n=n, process=process).reshape(size, -1, n), 0


# ---- plain JAX


def plain(key: Array, step: Array, mean: Array, *, n: int, process: str) -> Array:
    """The reference, in double precision and 64-bit integers whatever JAX's default is: key [B, 2], step [B, 1]."""
    with jax.enable_x64(True):
        wide = mean.astype(jnp.float64)
        one = _bernoulli if process == "bernoulli" else _poisson
        return jax.vmap(ft.partial(one, n=n))(key, step[:, 0], wide).astype(mean.dtype)


def _bernoulli(key, step, mean, *, n):
    threshold = jnp.floor((1.0 - mean) * _TWO32 + 0.5)
    hit = _philox(key, step, 0, 1, n).astype(jnp.float64) >= threshold
    return jnp.where(mean >= 0, hit.astype(jnp.float64), jnp.nan)


def _poisson(key, step, mean, *, n):
    valid = (mean >= 0) & (mean <= _MOST_IN_PARTS)
    draws = jnp.maximum(1.0, jnp.ceil(jnp.where(valid, mean, 0.0) / _MOST_PER_DRAW))
    part = jnp.where(valid, mean, 0.0) / draws

    def draw(j, total):
        word = _philox(key, step, j, 0, n).astype(jnp.float64)

        def threshold(k, carry):
            p, cumulative, count = carry
            reached = (word >= jnp.floor(cumulative * _TWO32 + 0.5)).astype(jnp.float64)
            p = p * part / (k + 1.0)
            return p, cumulative + p, count + reached

        p = jnp.exp(-part)
        _, _, count = jax.lax.fori_loop(0, _MOST_THRESHOLDS, threshold, (p, p, jnp.zeros(n)))
        return total + jnp.where(j < draws, count, 0.0)

    total = jax.lax.fori_loop(0, jnp.max(draws).astype(jnp.int64), draw, jnp.zeros(n))
    z = _normal(_philox(key, step, 0, 0, n), jnp.float64)
    quantile = jnp.floor(mean + (jnp.sqrt(mean) * z + (z * z - 1.0) / 6.0) + 0.5)
    large = (mean > _MOST_IN_PARTS) & (mean <= _MOST)
    return jnp.where(valid, total, jnp.where(large, quantile, jnp.nan))


def _philox(key: Array, step: Array, draw: ArrayLike, process: int, n: int) -> Array:
    """The words of `n` neurons, uint32."""
    u64 = lambda x: jnp.asarray(x).astype(jnp.uint64)
    low = u64(0xFFFFFFFF)
    blocks = -(-n // (_LANES * _WORDS))
    c0 = jnp.arange(blocks * _LANES, dtype=jnp.uint64)
    c1, c2, c3 = (jnp.broadcast_to(u64(x), c0.shape) for x in (step, draw, process))
    k0, k1 = u64(key[0]), u64(key[1])
    for _ in range(10):
        a, b = u64(0xD2511F53) * c0, u64(0xCD9E8D57) * c2
        c0, c1 = (b >> u64(32)) ^ c1 ^ k0, b & low
        c2, c3 = (a >> u64(32)) ^ c3 ^ k1, a & low
        k0, k1 = (k0 + u64(0x9E3779B9)) & low, (k1 + u64(0xBB67AE85)) & low
    words = jnp.stack([x.reshape(blocks, _LANES) for x in (c0, c1, c2, c3)], axis=1)
    return words.reshape(-1)[:n].astype(jnp.uint32)


def _kernel(key, step, mean, *, n, process):
    return f"brainsim_{process}" if mean.dtype.name in ("float32", "float64") and n else None


counts = _compat.define_primitive(
    "brainsim_counts",
    abstract=_abstract,
    reference=plain,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    axes=lambda *operands, **params: (["b", "b", "b"], ["b"]),
)
define_kernel(counts, _kernel)
