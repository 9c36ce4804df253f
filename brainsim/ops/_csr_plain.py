"""The products of `_csr_primitives` in plain JAX: the reference for every kernel, and what runs where there is none.

Operands carry two batch axes: spikes [G, B, pre], values [G, B, post], weight [G, synapse].
"""

import jax
import jax.numpy as jnp


def _synapses(indices, indptr, n_post):
    """pre[s], post[s] and whether synapse s is one at all (or padding); pre and post are within range in any case."""
    n_pre = len(indptr) - 1
    pre = jnp.cumsum(jnp.zeros(len(indices), indptr.dtype).at[indptr].add(1, mode="drop"), dtype=indptr.dtype) - 1
    real = (pre >= 0) & (pre < n_pre) & (indices >= 0) & (indices < n_post)
    return jnp.where(real, pre, 0), jnp.where(real, indices, 0), real


def _spread(values, at, real, n_out):
    """out[..., at[s]] += values[..., s] over the real synapses."""
    at = jnp.where(real, at, n_out)  # out of range, hence dropped
    return jnp.zeros((*values.shape[:-1], n_out), values.dtype).at[..., at].add(values, mode="drop")


def scatter(spikes, *rest, n_out, masked=False):
    *weight, indices, indptr = rest[: len(rest) - masked]
    if spikes.shape[-1] == 0 or n_out == 0:
        return jnp.zeros((*spikes.shape[:-1], n_out), spikes.dtype)
    pre, post, real = _synapses(indices, indptr, n_out)
    spike = spikes[..., pre]
    # Where there is no spike nothing is delivered, not even an infinite weight times zero.
    sent = jnp.where(spike != 0, spike * weight[0][:, None, :], 0) if weight else spike
    return _spread(sent, post, real, n_out)


def gather(values, *rest, n_out, masked=False):
    if masked:
        return jnp.where(rest[-1], gather(values, *rest[:-1], n_out=n_out), 0)
    *weight, indices, indptr = rest
    if values.shape[-1] == 0 or n_out == 0:
        return jnp.zeros((*values.shape[:-1], n_out), values.dtype)
    pre, post, real = _synapses(indices, indptr, values.shape[-1])
    found = values[..., post] * weight[0][:, None, :] if weight else values[..., post]
    return _spread(found, pre, real, n_out)


def outer(spikes, values, indices, indptr):
    if spikes.shape[-1] == 0 or values.shape[-1] == 0:
        return jnp.zeros((len(spikes), len(indices)), spikes.dtype)
    pre, post, real = _synapses(indices, indptr, values.shape[-1])
    spike = spikes[..., pre]
    return jnp.where(real[None, None] & (spike != 0), spike * values[..., post], 0).sum(axis=1)


_CHUNK = 512  # events at a time: few enough that a step with few spikes is cheap, enough to vectorise


def accumulate(total, spikes, values, indices, indptr):
    return total + outer(spikes, values, indices, indptr)


def scatter_events(spikes, *rest, n_out, masked=False):
    """`scatter` with work proportional to the synapses of spiking neurons: chunks of events, until none is left."""
    *weight, indices, indptr = rest = rest[: len(rest) - masked]
    groups, batch, n_pre = spikes.shape
    nnz = len(indices)
    if spikes.size * n_out * nnz == 0 or groups * batch * max(nnz, n_pre, n_out) >= 2**31 - _CHUNK:
        return scatter(spikes, *rest, n_out=n_out)
    spike = spikes.reshape(-1)
    start = jnp.clip(indptr[:-1], 0, nnz)
    degree = jnp.clip(indptr[1:], start, nnz) - start
    degree = jnp.where(spike != 0, jnp.tile(degree, groups * batch), 0)
    last = jnp.cumsum(degree, dtype=jnp.int32)  # events up to and including each row

    def chunk(carry):
        done, out = carry
        event = done + jnp.arange(_CHUNK, dtype=jnp.int32)
        row = jnp.minimum(jnp.searchsorted(last, event, side="right"), len(spike) - 1).astype(jnp.int32)
        vector, pre = jnp.divmod(row, n_pre)
        synapse = jnp.clip(start[pre] + event - (last[row] - degree[row]), 0, nnz - 1)
        value = spike[row] * weight[0].reshape(-1)[vector // batch * nnz + synapse] if weight else spike[row]
        post = indices[synapse]
        real = (event < last[-1]) & (post >= 0) & (post < n_out)
        at = jnp.where(real, vector * n_out + post, out.size)
        return done + _CHUNK, out.at[at].add(value, mode="drop")

    out = jnp.zeros(groups * batch * n_out, spikes.dtype)
    _, out = jax.lax.while_loop(lambda carry: carry[0] < last[-1], chunk, (jnp.zeros((), jnp.int32), out))
    return out.reshape(groups, batch, n_out)
