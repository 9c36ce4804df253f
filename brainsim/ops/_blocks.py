"""Many products with sparse matrices in one call: all projections of a network that have one delay each.

The spikes of each population are searched once, and what a call costs is paid once. Its derivatives and its batched
form are those of the products one by one (`_csr_primitives`); `csr_matvec` is the public form of each.
"""

import functools as ft
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _compat
from ._csr_primitives import scatter
from ._library import define_call


class Place(NamedTuple):
    """Where a block is: from `first_pre` on in its source, to `n_post` entries of the result from `first_post` on."""

    source: int
    first_pre: int
    first_post: int
    n_post: int
    weighted: bool


def deliver_blocks(
    sources: Sequence[Float[Array, " n"]], blocks: Sequence[Sequence[Array]], places: Sequence[Place], n_out: int
) -> Float[Array, " out"]:
    """The sum of what the spikes of each source cause through its blocks.

    **Arguments:**

    - `sources`: vectors of spikes, of one type.
    - `blocks`: `(indices, indptr)` or `(indices, indptr, weight)` as in `csr_matvec`, with one weight per synapse;
      without, every synapse has weight one.
    - `places`: where each of them is, in the order of their sources.
    - `n_out`: the length of the result.
    """
    flat = [array for block in blocks for array in block]
    return _blocks.bind(*flat, *sources, places=tuple(places), n_out=n_out)


def _parts(operands, places):
    """The blocks and the sources among the operands."""
    operands, blocks = list(operands), []
    for place in places:
        size = 2 + place.weighted
        blocks.append(operands[:size])
        del operands[:size]
    return blocks, operands


def _abstract(*operands, places, n_out):
    return _compat.ShapedArray((n_out,), operands[-1].dtype)


def _reference(*operands, places, n_out):
    blocks, sources = _parts(operands, places)
    out = jnp.zeros(n_out, sources[0].dtype)
    for (indices, indptr, *weight), at in zip(blocks, places, strict=True):
        spikes = sources[at.source][at.first_pre : at.first_pre + indptr.size - 1]
        weight = [w[None] for w in weight]
        events = scatter.bind(spikes[None, None], *weight, indices, indptr, n_out=at.n_post, masked=False)[0, 0]
        out = out.at[at.first_post : at.first_post + at.n_post].add(events)
    return out


def _jvp(primals, tangents, **params):
    return jax.jvp(ft.partial(_reference, **params), list(primals), _compat.instantiated(primals, tangents))


def _batch(operands, dims, **params):
    return jax.vmap(ft.partial(_reference, **params), dims)(*operands), 0


def _call(*operands, places, n_out):
    dtype = operands[-1].dtype
    blocks, sources = _parts(operands, places)
    same = all(x.dtype == dtype for x in [*sources, *(b[2] for b in blocks if len(b) == 3)])
    if dtype not in (np.float32, np.float64) or not same or len(places) > 256:
        return _reference(*operands, places=places, n_out=n_out)
    layout = np.array(places, np.int64).reshape(-1)
    return jax.ffi.ffi_call("brainsim_blocks", jax.ShapeDtypeStruct((n_out,), dtype))(*operands, layout=layout)


_blocks = _compat.define_primitive("brainsim_blocks", abstract=_abstract, reference=_reference, jvp=_jvp, batch=_batch)
define_call(_blocks, _call)
