"""Projections whose synapses differ in delay, merged: one matrix for all that one population reaches.

Delivered one by one, their segments (the synapses of a neuron that share a delay) would be a dozen synapses long, and
finding them would cost more than delivering them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._compat import is_traced
from ._dynamics import AbstractConnectivity
from ._projection import Fused, PerSynapse, Projection
from .ops._merge import Block, adopt, merge, merge_order
from .synapses import (
    CSR,
    DelayedCSR,
    DelayedRegenerated,
    Dense,
    Diagonal,
    FanOut,
    FromArrays,
    Full,
    Procedural,
    Regenerated,
)
from .synapses._delays import delays_of, given_delays, in_ms, rounded_delays
from .synapses._draw import seed_of


class Synapses(NamedTuple):
    """The synapses of one projection, in NumPy arrays [nnz]: who, whom, how strongly, how late (ms)."""

    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    delay: np.ndarray


def grouped(projections: Mapping[str, Projection]) -> dict[str, list[str]]:
    """The projections with delays of single synapses, by the bundle that they go into.

    A bundle has one presynaptic population; if two projections have the same ends, they go into different bundles.
    Procedural synapses, which are not stored, go into none.
    """
    groups: dict[str, list[str]] = {}
    seen: dict[tuple[str, str], int] = {}
    for name, p in projections.items():
        if isinstance(p.delay, PerSynapse) and not isinstance(p.connect, Procedural | Regenerated):
            seen[p.pre, p.post] = i = seen.get((p.pre, p.post), 0) + 1
            groups.setdefault(p.pre if i == 1 else f"{p.pre}#{i}", []).append(name)
    return groups


def bundled(
    bundle: str,
    projections: Mapping[str, Projection],
    build: Callable[[str], Projection],
    keys: Mapping[str, jax.Array | None],
    first: Mapping[str, int],
    n_post: int,
) -> tuple[DelayedCSR, dict[str, Projection]]:
    """The projections as one matrix, and each of them with `Fused` in place of its connectivity.

    **Arguments:** `build` draws the connectivity of the named projection, `keys` its delays; `first` says where the
    events of each end (`"E.exc"`) begin in the vector of `n_post` events.
    """
    fused, blocks, values = {}, [], []
    for name in sorted(projections, key=lambda name: first[projections[name].post]):
        given, p = projections[name], build(name)
        connect, offset = compressed(name, p.connect), first[p.post]
        delays, slots = np.unique(_drawn(name, given, keys[name], connect), return_inverse=True)
        values.append(delays_of(delays, p.resolution))
        weight = connect.weight if is_traced(connect.weight) else np.asarray(connect.weight)
        blocks.append(
            Block(np.asarray(connect.indptr), np.asarray(connect.indices), slots.astype(np.uint16), weight, offset)
        )
        nnz = connect.indices.shape[0]
        fused[name] = Projection(p.pre, p.post, Fused(bundle, connect.n_pre, connect.n_post, nnz, offset))
    delays = sorted(set().union(*values))
    if len(delays) > np.iinfo(np.uint16).max:
        raise ValueError(f"{len(delays):,} different delays start from {bundle!r}; round them with `resolution`")
    place = {d: i for i, d in enumerate(delays)}
    for i, own in enumerate(values):
        blocks[i] = blocks[i]._replace(slots=np.array([place[d] for d in own], np.uint16)[blocks[i].slots])
    n_pre = next(iter(fused.values())).connect.n_pre
    return _merged(blocks, delays, n_pre, n_post), fused


def with_delays(name: str, p: Projection) -> Projection:
    """A projection of procedural synapses with delays of their own: these, too, become part of its connectivity."""
    if not (isinstance(p.delay, PerSynapse) and isinstance(p.connect, Regenerated)):
        return p
    try:
        return Projection(p.pre, p.post, DelayedRegenerated(p.connect, p.delay.source, p.resolution))
    except ValueError as e:
        raise ValueError(f"projection {name!r}: {e}") from None


def _merged(blocks: list[Block], delays: list[float], n_pre: int, n_post: int) -> DelayedCSR:
    """One weight for all stays one weight; otherwise every synapse gets its own."""
    one = len(blocks) == 1 and blocks[0].weight.ndim == 0
    dtypes = {np.dtype(b.weight.dtype) for b in blocks}
    dtype = np.result_type(*dtypes)
    dtype = np.dtype(np.float32) if dtype not in (np.float32, np.float64) else dtype  # there is no narrow form of these
    if any(is_traced(b.weight) or np.dtype(b.weight.dtype) not in (np.float32, np.float64) for b in blocks):
        indptr, indices, order = merge_order(blocks, len(delays))
        parts = [jnp.broadcast_to(b.weight, b.indices.shape).astype(dtype) for b in blocks]
        weight: Any = blocks[0].weight.astype(dtype) if one else jnp.concatenate(parts)[order]
    else:
        indptr, indices, weight = merge(blocks, len(delays), None if one else dtype)
        weight = blocks[0].weight if weight is None else adopt(weight)
    indices, indptr = adopt(indices), adopt(indptr)
    return DelayedCSR(weight, indices, indptr, n_pre, n_post, delays)


def _drawn(name: str, p: Projection, key: jax.Array | None, connect: CSR) -> np.ndarray:
    """The delays of the synapses of `connect`, in units of the resolution."""
    nnz, source = connect.indices.shape[0], p.delay.source
    if callable(source):
        if key is None:
            raise ValueError(f"projection {name!r} draws delays; Network(..., key=jax.random.key(seed)) seeds them")
        # Weights have the first of the generators that belong to a key.
        rng = np.random.Generator(np.random.Philox(seed_of(key).spawn(2)[1]))
        delay = in_ms(source(rng, nnz), f"projection {name!r}: delay(rng, {nnz})")
        if delay.shape != (nnz,):
            raise ValueError(f"projection {name!r}: delay(rng, {nnz}) has shape {list(delay.shape)}, expected [{nnz}]")
    else:
        delay = source
        if delay.shape != (nnz,):
            raise ValueError(f"projection {name!r} has {nnz} synapses, but delays of shape {list(delay.shape)}")
        if isinstance(p.connect, FromArrays):  # whose lists have been sorted into rows
            delay = delay[np.lexsort((p.connect.post, p.connect.pre))]
    try:
        return (rounded_delays if callable(source) else given_delays)(delay, p.resolution)
    except ValueError as e:
        raise ValueError(f"projection {name!r}: {e}") from None


def compressed(name: str, connect: AbstractConnectivity | DelayedRegenerated) -> CSR:
    """A connectivity as a list of synapses.

    **Raises:** `ValueError` for one that is none, with those that are.
    """
    n_pre, n_post = connect.n_pre, connect.n_post
    if isinstance(connect, CSR):
        return connect
    if isinstance(connect, FanOut):
        return connect.as_csr()
    if isinstance(connect, Diagonal):
        return CSR(connect.weight, np.arange(n_pre), np.arange(n_pre + 1), n_pre, n_post)
    if isinstance(connect, Full) and not connect.autapses:
        post = np.nonzero(~np.eye(n_pre, dtype=bool))[1]
        return CSR(connect.weight, post, np.arange(n_pre + 1) * (n_post - 1), n_pre, n_post)
    if isinstance(connect, Full | Dense):
        weight = connect.weight.ravel() if isinstance(connect, Dense) else connect.weight
        return CSR(weight, np.tile(np.arange(n_post), n_pre), np.arange(n_pre + 1) * n_post, n_pre, n_post)
    raise ValueError(f"projection {name!r}: delays of single synapses need a CSR, FanOut, Diagonal, Dense or Full, "
                     f"not {type(connect).__name__}")  # fmt: skip


def part(bundle: DelayedCSR, p: Projection) -> Synapses:
    """The synapses of one projection of a bundle."""
    first, n_post = p.connect.first, p.connect.n_post
    mine = np.flatnonzero((np.asarray(bundle.indices) >= first) & (np.asarray(bundle.indices) < first + n_post))
    return _synapses(bundle, mine, first)


def _synapses(connect: DelayedCSR, mine: np.ndarray | slice, first: int = 0) -> Synapses:
    slot, indices = np.asarray(connect.slot)[mine], np.asarray(connect.indices)[mine]
    weight = np.broadcast_to(np.asarray(connect.weight), connect.indices.shape)[mine]
    return Synapses(np.asarray(connect.pre)[mine], indices - np.int32(first), weight, np.array(connect.delays)[slot])


def synapses(name: str, p: Projection) -> Synapses:
    """The synapses of a projection that is not in a bundle."""
    connect = p.connect
    if isinstance(connect, DelayedCSR):
        return _synapses(connect, slice(None))
    if isinstance(connect, AbstractConnectivity | DelayedRegenerated):
        try:
            csr = compressed(name, connect)
        except ValueError:
            raise ValueError(f"projection {name!r} has no list of its synapses, being a {type(connect).__name__}; "
                             "its matrix is projections[name].connect.as_dense()") from None  # fmt: skip
        weight = np.broadcast_to(np.asarray(csr.weight), csr.indices.shape)
        return Synapses(np.asarray(csr.pre), np.asarray(csr.indices), weight, np.full(csr.indices.shape, p.delay))
    weight = np.broadcast_to(np.asarray(connect.weight), connect.delay.shape)
    return Synapses(np.asarray(connect.pre), np.asarray(connect.indices), weight, np.asarray(connect.delay))
