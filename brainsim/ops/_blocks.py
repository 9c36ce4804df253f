"""Many products with sparse matrices in one call: all projections of a network that have one delay each.

The spikes of each population are searched once, and what a call costs is paid once. Its derivatives and its batched
form are those of the products one by one (`_csr_primitives`); `csr_matvec` is the public form of each.
"""

import functools as ft
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from .. import _compat
from ._csr_primitives import scatter
from ._library import define_call


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


def _parts(operands, places, n_targets):
    """The blocks, the targets and the sources among the operands."""
    n = 3 * len(places)
    blocks = [operands[i : i + 3] for i in range(0, n, 3)]
    return blocks, operands[n : n + n_targets], operands[n + n_targets :]


def _abstract(*operands, places, n_targets):
    return [_compat.ShapedArray(x.shape, x.dtype) for x in _parts(operands, places, n_targets)[1]]


def _reference(*operands, places, n_targets):
    blocks, targets, sources = _parts(operands, places, n_targets)
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


def _batch(operands, dims, **params):
    out = jax.vmap(ft.partial(_reference, **params), dims)(*operands)
    return out, [0] * len(out)


def _call(*operands, places, n_targets):
    blocks, targets, sources = _parts(operands, places, n_targets)
    dtype = targets[0].dtype
    same = all(x.dtype == dtype for x in [*targets, *sources, *(weight for _, _, weight in blocks)])
    if dtype not in (np.float32, np.float64) or not same or len(places) > 256 or n_targets > 64:
        return _reference(*operands, places=places, n_targets=n_targets)
    layout = np.array(places, np.int64).reshape(-1)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in targets]
    aliases = {3 * len(places) + t: t for t in range(n_targets)}
    return list(jax.ffi.ffi_call("brainsim_blocks", shapes, input_output_aliases=aliases)(*operands, layout=layout))


_blocks = _compat.define_primitive(
    "brainsim_blocks", abstract=_abstract, reference=_reference, jvp=_jvp, batch=_batch, multiple_results=True
)
define_call(_blocks, _call)
