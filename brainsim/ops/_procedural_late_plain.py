"""The products of `_procedural_late` in plain JAX: the reference for the kernels, and what runs without them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ._philox import words
from ._procedural_plain import SYNAPSES, regenerated

DELAYS = 4  # stream of random words, as in csrc/procedural_late_kernels.h


def delays_of(rows: Int[Array, " row"], seed, delays, pattern, least: int, stride: int) -> Int[Array, "row most"]:
    """The delays of the synapses of `rows`, in steps."""
    drawn = words(seed, rows.astype(jnp.uint32), pattern.most, DELAYS)
    return least + stride * jnp.searchsorted(delays, drawn, side="right").astype(jnp.int32)


def _regenerated(rows, seed, table, delays, k, pattern, noise, least, stride, n_rows, dtype):
    """The synapses of `rows`, and the rows of the ring where they end."""
    steps = delays_of(rows, seed, delays, pattern, least, stride)
    return regenerated(rows, seed, table, pattern, noise, dtype), jnp.mod(k + steps, n_rows)


def send(ring, sent, seed, table, delays, k, *, pattern, noise, least, stride):
    """ring [B, R, post], sent [B, pre, channel] -> ring; work proportional to the rows that send."""
    p, n_rows = pattern, ring.shape[1]
    if ring.size * sent.size * p.most * p.domain == 0:
        return ring
    active = jnp.any(sent != 0, axis=(0, 2))
    order = jnp.nonzero(active, size=p.n_pre, fill_value=0)[0].astype(jnp.int32)
    size = max(1, min(p.n_pre, SYNAPSES // p.most))
    total = jnp.sum(active, dtype=jnp.int32)

    def chunk(carry):
        done, ring = carry
        at = done + jnp.arange(size, dtype=jnp.int32)
        rows = order[jnp.minimum(at, p.n_pre - 1)]
        s, slot = _regenerated(rows, seed, table, delays, k, p, noise, least, stride, n_rows, ring.dtype)
        real = s.real & (at < total)[:, None]
        value = jnp.broadcast_to(sent[:, rows, :1], (len(sent), *real.shape))
        if s.noise is not None:
            value = value + sent[:, rows, 1:] * jnp.where(real, s.noise, 0)[None]
        return done + size, ring.at[:, slot, jnp.where(real, s.targets, p.n_post)].add(value, mode="drop")

    return jax.lax.while_loop(lambda carry: carry[0] < total, chunk, (jnp.zeros((), jnp.int32), ring))[1]


def collect(ring, seed, table, delays, k, *, pattern, noise, least, stride):
    """ring [B, R, post] -> [B, pre, channel]."""
    p, channels = pattern, 1 + (noise != "none")
    if ring.size * p.n_pre * p.most * p.domain == 0:
        return jnp.zeros((len(ring), p.n_pre, channels), ring.dtype)
    size = max(1, min(p.n_pre, SYNAPSES // p.most))
    rows = jnp.arange(-(-p.n_pre // size) * size, dtype=jnp.int32).reshape(-1, size)

    def chunk(rows):
        rows = jnp.minimum(rows, p.n_pre - 1)
        s, slot = _regenerated(rows, seed, table, delays, k, p, noise, least, stride, ring.shape[1], ring.dtype)
        found = jnp.where(s.real, ring[:, slot, jnp.where(s.real, s.targets, 0)], 0)
        terms = [found] if s.noise is None else [found, found * jnp.where(s.real, s.noise, 0)[None]]
        return jnp.stack([term.sum(axis=-1) for term in terms], axis=-1)

    found = jax.lax.map(chunk, rows)  # [chunk, B, size, channel]
    return jnp.moveaxis(found, 0, 1).reshape(len(ring), -1, channels)[:, : p.n_pre]
