"""Counter-based random numbers and permutations in integer arithmetic, the same in plain JAX as in the C++ kernels.

Philox 4x32-10 of Salmon et al. 2011, doi:10.1145/2063384.2063405: a draw depends on the key and the counter only. The
permutation is an alternating Feistel network on the bits of an index, applied until the image lies in the domain (Black
& Rogaway 2002, doi:10.1007/3-540-45760-7_9). Its round keys are Philox draws.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt32

U32 = UInt32[Array, "*n"]

# As in csrc/procedural_kernels.h: small domains need more rounds before all subsets are equally likely.
SMALL_BITS, SMALL_ROUNDS, ROUNDS = 6, 24, 12


def high_product(a: U32, b: int) -> U32:
    """The upper 32 bits of the product of two 32-bit numbers, from products of their 16-bit halves."""
    low, high = (a & 0xFFFF, jnp.uint32(b & 0xFFFF)), (a >> 16, jnp.uint32(b >> 16))
    cross, other = high[0] * low[1], low[0] * high[1]
    middle = (low[0] * low[1] >> 16) + (cross & 0xFFFF) + (other & 0xFFFF)
    return high[0] * high[1] + (cross >> 16) + (other >> 16) + (middle >> 16)


def philox(seed: Array, row: Array, block: Array, stream: int) -> tuple[U32, U32, U32, U32]:
    """Four random words for each `row` and `block`, which must have one shape; `seed` has two words."""

    def turn(_: Any, carry: Any) -> Any:
        c0, c1, c2, c3, k0, k1 = carry
        high_a, low_a = high_product(c0, 0xD2511F53), c0 * jnp.uint32(0xD2511F53)
        high_b, low_b = high_product(c2, 0xCD9E8D57), c2 * jnp.uint32(0xCD9E8D57)
        c0, c1, c2, c3 = high_b ^ c1 ^ k0, low_b, high_a ^ c3 ^ k1, low_a
        return c0, c1, c2, c3, k0 + jnp.uint32(0x9E3779B9), k1 + jnp.uint32(0xBB67AE85)

    # A loop and not ten copies: what compiles fast.
    start = row, jnp.full_like(row, stream), block, jnp.zeros_like(row), seed[0], seed[1]
    return jax.lax.fori_loop(0, 10, turn, start)[:4]


def words(seed: Array, row: Array, count: int, stream: int) -> U32:
    """`count` random words for each of the rows, [..., count]."""
    blocks = jnp.arange((count + 3) // 4, dtype=jnp.uint32)
    shape = (*row.shape, len(blocks))
    drawn = philox(seed, jnp.broadcast_to(row[..., None], shape), jnp.broadcast_to(blocks, shape), stream)
    return jnp.stack(drawn, axis=-1).reshape(*row.shape, 4 * len(blocks))[..., :count]


def _hashed(x: U32, key: U32) -> U32:
    x = (x ^ key) * jnp.uint32(0xD2511F53)
    x = (x ^ (x >> 15)) * jnp.uint32(0xCD9E8D57)
    return x >> 16


def rounds(domain: int) -> int:
    """The number of keys that `permuted` takes for a domain of this size."""
    return SMALL_ROUNDS if domain <= 2**SMALL_BITS else ROUNDS


def permuted(x: U32, keys: U32, domain: int) -> U32:
    """The images of the numbers `x` < `domain` under a random permutation of [0, domain); keys [rounds, ...]."""
    bits = max(1, (domain - 1).bit_length())
    low_bits = bits - bits // 2
    low, high = jnp.uint32((1 << low_bits) - 1), jnp.uint32((1 << bits // 2) - 1)

    def turn(t: Any, halves: Any) -> Any:
        upper, lower = halves
        lower = lower ^ (_hashed(upper, keys[2 * t]) & low)
        return upper ^ (_hashed(lower, keys[2 * t + 1]) & high), lower

    def once(carry: Any) -> Any:
        y, outside = carry
        upper, lower = jax.lax.fori_loop(0, len(keys) // 2, turn, (y >> low_bits, y & low))
        y = jnp.where(outside, upper << low_bits | lower, y)
        return y, y >= domain

    return jax.lax.while_loop(lambda carry: jnp.any(carry[1]), once, (x, jnp.ones_like(x, bool)))[0]
