"""The products of `_procedural` in plain JAX: the reference for the kernels, and what runs where there are none."""

import functools as ft
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._philox import high_product, permuted, philox, rounds, words

KEYS, DEGREES, TARGETS, NOISE = range(4)  # streams of random words, as in csrc/procedural_kernels.h
SYNAPSES = 1 << 14  # regenerated at a time


class Synapses(NamedTuple):
    """Synapses of some rows, with room for the longest row: targets, which of them are there, and their noise."""

    targets: Int[Array, "row most"]
    real: Bool[Array, "row most"]
    noise: Float[Array, "row most"] | None


@ft.partial(jax.jit, static_argnames=("pattern", "noise", "dtype"))  # eager callers compile it once
def regenerated(rows: Int[Array, " row"], seed: Array, table: Array, pattern, noise: str, dtype) -> Synapses:
    """The synapses of `rows`."""
    p, row = pattern, rows.astype(jnp.uint32)
    position = jnp.arange(p.most, dtype=jnp.uint32)[None, :]
    shape = (len(rows), p.most)
    first = jnp.zeros_like(row)
    degree = jnp.full_like(row, p.degree)
    if p.partners == "of all":
        first = jnp.minimum(table[rows], jnp.uint32(p.domain))
        degree = jnp.maximum(jnp.minimum(table[rows + 1], jnp.uint32(p.domain)), first) - first
    elif len(table):
        draw = philox(seed, row, jnp.zeros_like(row), DEGREES)[0]
        degree = degree + jnp.searchsorted(table, draw, side="right").astype(jnp.uint32)
    real = position < degree[:, None]
    if p.partners == "independent":
        drawn = words(seed, row, 2 * p.most, TARGETS)
        high, low = drawn[:, 0::2], drawn[:, 1::2]  # the upper part of the product of 64 bits with n
        product, carried = high * jnp.uint32(p.domain), high_product(low, p.domain)
        targets = high_product(high, p.domain) + (product + carried < product).astype(jnp.uint32)
    else:
        whose = jnp.full_like(row, 0xFFFFFFFF) if p.partners == "of all" else row
        keys = jnp.moveaxis(words(seed, whose, rounds(p.domain), KEYS), -1, 0)[:, :, None]
        targets = permuted(jnp.where(real, first[:, None] + position, 0), keys, p.domain)
    if p.partners == "of all":
        targets = targets // jnp.uint32(p.fan_in)
    if p.skip:
        targets = targets + (targets >= row[:, None]).astype(jnp.uint32)
    targets = jnp.broadcast_to(targets, shape).astype(jnp.int32)
    return Synapses(targets, real, None if noise == "none" else _noise(row, seed, p.most, noise, dtype))


def _noise(row, seed, most: int, noise: str, dtype) -> Float[Array, "row most"]:
    drawn = words(seed, row, (most + 3) // 4 * 4, NOISE)
    if noise == "uniform":
        single = jnp.dtype(dtype).itemsize == 4
        return (drawn >> 8 if single else drawn)[:, :most].astype(dtype) * (2.0**-24 if single else 2.0**-32)
    return _normal(drawn[:, :most], dtype)


def _normal(word, dtype) -> Float[Array, "row most"]:
    """Normal quantiles at (word + 1/2) / 2^32, to seven digits: AS 241 (PPND7), as in the kernels."""
    end = jnp.minimum(word, ~word)
    tail = end < 322122547  # 0.075 * 2^32
    q = (jax.lax.bitcast_convert_type(word ^ jnp.uint32(0x80000000), jnp.int32).astype(dtype) + 0.5) * 2.0**-32
    r = 0.180625 - q * q
    middle = (((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) * q
    middle = middle / (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1)
    r = jnp.sqrt(-jnp.log((end.astype(dtype) + 0.5) * 2.0**-32)) - 1.6
    outer = ((0.17023821103 * r + 1.3067284816) * r + 2.75681539) * r + 1.4234372777
    outer = outer / ((0.12021132975 * r + 0.7370016425) * r + 1)
    return jnp.where(tail, jnp.where(end == word, -outer, outer), middle)


def scatter(spikes, seed, table, *, pattern, noise):
    """spikes [B, pre] -> [B, post, channel]; work proportional to the rows with spikes."""
    p, channels = pattern, 1 + (noise != "none")
    out = jnp.zeros((len(spikes), p.n_post, channels), spikes.dtype)
    if spikes.size * p.n_post * p.most * p.domain == 0:
        return out
    active = jnp.any(spikes != 0, axis=0)
    order = jnp.nonzero(active, size=p.n_pre, fill_value=0)[0].astype(jnp.int32)
    size = max(1, min(p.n_pre, SYNAPSES // p.most))
    total = jnp.sum(active, dtype=jnp.int32)

    def chunk(carry):
        done, out = carry
        at = done + jnp.arange(size, dtype=jnp.int32)
        rows = order[jnp.minimum(at, p.n_pre - 1)]
        s = regenerated(rows, seed, table, p, noise, spikes.dtype)
        real = s.real & (at < total)[:, None]
        sent = jnp.broadcast_to(spikes[:, rows, None], (len(spikes), *real.shape))[..., None]
        if s.noise is not None:
            # Where there is no synapse there may be no noise either.
            sent = jnp.concatenate([sent, sent * jnp.where(real, s.noise, 0)[None, ..., None]], axis=-1)
        return done + size, out.at[:, jnp.where(real, s.targets, p.n_post)].add(sent, mode="drop")

    return jax.lax.while_loop(lambda carry: carry[0] < total, chunk, (jnp.zeros((), jnp.int32), out))[1]


def gather(values, seed, table, *, pattern, noise):
    """values [B, post, channel] -> [B, pre]."""
    p = pattern
    if values.size * p.n_pre * p.most * p.domain == 0:
        return jnp.zeros((len(values), p.n_pre), values.dtype)
    size = max(1, min(p.n_pre, SYNAPSES // p.most))
    rows = jnp.arange(-(-p.n_pre // size) * size, dtype=jnp.int32).reshape(-1, size)

    def chunk(rows):
        s = regenerated(jnp.minimum(rows, p.n_pre - 1), seed, table, p, noise, values.dtype)
        found = values[:, jnp.where(s.real, s.targets, 0)]
        term = found[..., 0] if s.noise is None else found[..., 0] + s.noise[None] * found[..., 1]
        return jnp.sum(jnp.where(s.real[None], term, 0), axis=-1)

    found = jax.lax.map(chunk, rows)  # [chunk, B, size]
    return jnp.moveaxis(found, 0, 1).reshape(len(values), -1)[:, : p.n_pre]
