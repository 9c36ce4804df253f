"""Many products with sparse matrices in one call: all projections of a network that have one delay each.

The spikes of each population are searched once, and what a call costs is paid once; so it is for a batch. Its
derivatives are those of the products one by one (`_csr_primitives`); `csr_matvec` is the public form of each.
"""

import functools as ft
import math
import string
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _compat
from ._csr_primitives import scatter
from ._library import load, load_cuda


class Place(NamedTuple):
    """Where a block is: from `first_pre` on in its source, to `n_post` entries of its target from `first_post` on.

    `each` says that there is one weight for every synapse.
    """

    source: int
    first_pre: int
    target: int
    first_post: int
    n_post: int
    each: bool


def deliver_blocks(
    sources: Sequence[Float[Array, " n"]],
    blocks: Sequence[Sequence[Array]],
    places: Sequence[Place],
    targets: Sequence[Float[Array, " m"]],
) -> list[Float[Array, " m"]]:
    """The targets, and what the spikes of each source cause through its blocks added to them, in place.

    **Arguments:**

    - `sources`: vectors of spikes, of one type.
    - `blocks`: `(indices, indptr, weight)` as in `csr_matvec`, with one weight, [1], or one per synapse, [synapse].
    - `places`: where each of them is, in the order of their sources.
    - `targets`: vectors of the type of the spikes.
    """
    flat = [array for block in blocks for array in block]
    return _blocks.bind(*flat, *targets, *sources, places=tuple(places), n_targets=len(targets))


# ---- the primitive; targets and sources may have the same batch axes in front, and so may weights


def _parts(operands, places, n_targets):
    """The blocks, the targets and the sources among the operands."""
    n = 3 * len(places)
    blocks = [operands[i : i + 3] for i in range(0, n, 3)]
    return blocks, operands[n : n + n_targets], operands[n + n_targets :]


def _abstract(*operands, places, n_targets):
    return [_compat.ShapedArray(x.shape, x.dtype) for x in _parts(operands, places, n_targets)[1]]


def _axes(*operands, places, n_targets):
    names = [string.ascii_letters[: x.ndim - 1] for x in operands]
    return names, _parts(names, places, n_targets)[1]


def _reference(*operands, places, n_targets):
    blocks, targets, sources = _parts(operands, places, n_targets)
    if targets[0].ndim > 1:
        arrays = [x for block in blocks for x in block]
        shared = [i % 3 != 2 or x.ndim == 1 for i, x in enumerate(arrays)]
        dims = [*(None if x else 0 for x in shared), *[0] * len([*targets, *sources])]
        return jax.vmap(ft.partial(_reference, places=places, n_targets=n_targets), dims)(*operands)
    out = list(targets)
    for (indices, indptr, weight), at in zip(blocks, places, strict=True):
        spikes = sources[at.source][at.first_pre : at.first_pre + indptr.size - 1]
        rest = ((weight[None],) if at.each else ()) + (indices, indptr)
        events = scatter.bind(spikes[None, None], *rest, n_out=at.n_post, masked=False)[0, 0]
        part = slice(at.first_post, at.first_post + at.n_post)
        out[at.target] = out[at.target].at[part].add(events if at.each else weight * events)
    return out


def _jvp(primals, tangents, **params):
    return jax.jvp(ft.partial(_reference, **params), list(primals), _compat.instantiated(primals, tangents))


def _batch(operands, dims, *, places, n_targets):
    n = 3 * len(places)
    axes = operands[n].ndim + (dims[n] is None)  # of a vector of the new batch
    some = lambda x, d: x.ndim < axes and (x.ndim > 1 or d is not None)  # not all of them, and not its own alone
    patterns = any(d is not None for i, d in enumerate(dims[:n]) if i % 3 != 2)
    # Weights of single synapses that only some axes tell apart: to repeat them for the others is too much.
    repeated = any(at.each and some(operands[3 * b + 2], dims[3 * b + 2]) for b, at in enumerate(places))
    if patterns or repeated:
        out = jax.vmap(ft.partial(_reference, places=places, n_targets=n_targets), dims)(*operands)
        return out, [0] * len(out)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    front = lambda x, d: jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
    vectors = [front(x, d) for x, d in zip(operands[n:], dims[n:], strict=True)]
    batch = vectors[0].shape[:-1]

    def weights(x, d):
        if d is None and x.ndim == 1:  # shared, as before
            return x
        x = front(x, d)
        missing = range(1, len(batch) + 2 - x.ndim)  # one for each vector of this axis, but not of those before
        return jnp.broadcast_to(jnp.expand_dims(x, tuple(missing)), (*batch, x.shape[-1]))

    blocks = [weights(x, d) if i % 3 == 2 else x for i, (x, d) in enumerate(zip(operands[:n], dims[:n], strict=True))]
    out = _blocks.bind(*blocks, *vectors, places=places, n_targets=n_targets)
    return out, [0] * len(out)


def _call(*operands, places, n_targets):
    blocks, targets, sources = _parts(operands, places, n_targets)
    dtype = targets[0].dtype
    same = all(x.dtype == dtype for x in [*targets, *sources, *(weight for _, _, weight in blocks)])
    if dtype not in (np.float32, np.float64) or not same or len(places) > 256 or n_targets > 64:
        return _reference(*operands, places=places, n_targets=n_targets)
    layout, batch = np.array(places, np.int64).reshape(-1), np.int64(math.prod(targets[0].shape[:-1]))
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in targets]
    aliases = {3 * len(places) + t: t for t in range(n_targets)}
    call = jax.ffi.ffi_call("brainsim_blocks", shapes, input_output_aliases=aliases)
    return list(call(*operands, layout=layout, batch=batch))


_blocks = _compat.define_primitive(
    "brainsim_blocks",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    batch=_batch,
    axes=_axes,
    multiple_results=True,
)


def _cuda_call(*operands, **params):
    """On GPUs the products one by one, each one launch for a whole batch, are better than a launch for each vector."""
    batched = _parts(operands, **params)[1][0].ndim > 1
    return (_reference if batched else _call)(*operands, **params)


_compat.define_call(_blocks, _call, platform="cpu", available=load)
_compat.define_call(_blocks, _cuda_call, platform="cuda", available=load_cuda)
