"""The products of `_arrivals_primitives` in plain JAX: the reference for every kernel. Hints are ignored.

Operands carry two batch axes: history [G, B, row, pre], values [G, B, post], weight [G, synapse], k [G, B].
"""

import jax.numpy as jnp


def _synapses(indices, indptr, steps, k, n_rows, n_post):
    """For every synapse: its postsynaptic neuron, whether it is one at all, and its place in the history, [G, B, nnz].

    The place is a row and a presynaptic neuron as one number; all are within range in any case.
    """
    n_pre, n_slots = indptr.shape[0], steps.shape[0]
    starts = indptr[:, :-1].ravel()
    segment = jnp.cumsum(jnp.zeros(len(indices), jnp.int32).at[starts].add(1, mode="drop"), dtype=jnp.int32) - 1
    last = indptr.ravel()[-1]
    real = (segment >= 0) & (jnp.arange(len(indices), dtype=jnp.int32) < last) & (indices >= 0) & (indices < n_post)
    pre, slot = jnp.divmod(jnp.clip(segment, 0, n_pre * n_slots - 1), n_slots)
    row = jnp.mod(k[..., None] - steps[None, None], n_rows)[..., slot]
    return jnp.where(real, indices, 0), jnp.broadcast_to(real, row.shape), row * n_pre + pre[None, None]


def _nothing(indices, indptr, steps, n_post):
    return 0 in (len(indices), indptr.shape[0], len(steps), n_post)


def _sent(history, indices, indptr, steps, k, n_post):
    post, real, place = _synapses(indices, indptr, steps, k, history.shape[2], n_post)
    spikes = jnp.take_along_axis(history.reshape(*history.shape[:2], -1), place, axis=-1)
    return post, real, spikes


def add(start, history, hints, relevant, *rest):
    *weight, indices, indptr, steps, k = rest
    n_post = start.shape[-1]
    if _nothing(indices, indptr, steps, n_post):
        return start
    post, real, spikes = _sent(history, indices, indptr, steps, k, n_post)
    # Where there is no spike nothing is delivered, not even an infinite weight times zero.
    sent = jnp.where(spikes != 0, spikes * weight[0][:, None, :], 0) if weight else spikes
    return start.at[..., jnp.where(real[0, 0], post, n_post)].add(sent, mode="drop")


def gather(values, *rest, n_rows):
    *weight, indices, indptr, steps, k = rest
    n_pre, n_post = indptr.shape[0], values.shape[-1]
    groups, batch = values.shape[:2]
    if _nothing(indices, indptr, steps, n_post):
        return jnp.zeros((groups, batch, n_rows, n_pre), values.dtype)
    post, real, place = _synapses(indices, indptr, steps, k, n_rows, n_post)
    found = values[..., post] * weight[0][:, None, :] if weight else values[..., post]
    vector = jnp.arange(groups * batch, dtype=jnp.int32).reshape(groups, batch, 1)
    size = groups * batch * n_rows * n_pre
    at = jnp.where(real, vector * (n_rows * n_pre) + place, size)  # out of range, hence dropped
    return jnp.zeros(size, values.dtype).at[at].add(found, mode="drop").reshape(groups, batch, n_rows, n_pre)


def outer(history, hints, values, indices, indptr, steps, k):
    if _nothing(indices, indptr, steps, values.shape[-1]):
        return jnp.zeros((len(history), len(indices)), history.dtype)
    post, real, spikes = _sent(history, indices, indptr, steps, k, values.shape[-1])
    return jnp.where(real & (spikes != 0), spikes * values[..., post], 0).sum(axis=1)


def collect(total, values, relevant, *rest):
    found = gather(values, *rest, n_rows=total.shape[2])
    return total + (jnp.where(relevant, found, 0) if relevant.shape[2] else found)


def accumulate(total, *rest):
    return total + outer(*rest)


def compact(values, *, size):
    if size == 0:
        return jnp.zeros((len(values), 0), jnp.int32)
    nonzero = values != 0
    rank = jnp.cumsum(nonzero, axis=1, dtype=jnp.int32)
    n, each = values.shape[1], jnp.arange(len(values), dtype=jnp.int32)[:, None]
    at = jnp.where(nonzero, rank, size)  # the i-th spike goes to place i; what does not fit is dropped
    neurons = jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), values.shape)
    hints = jnp.zeros((len(values), size), jnp.int32).at[each, at].set(neurons, mode="drop")
    return hints.at[:, 0].set(nonzero.sum(axis=1, dtype=jnp.int32))
