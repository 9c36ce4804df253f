"""Delivery through synapses that are not stored and differ in delay: spikes are added to a ring when they leave.

Two primitives, each linear in its one array of numbers and the transpose of the other:

- *send*: ring [B, R, post] + sent [B, pre, channel] -> ring. Rows of neurons that send nothing are not touched, and the
  ring is updated in place.
- *collect*: ring [B, R, post] -> [B, pre, channel].

The second channel, if there is one, is multiplied by a random number of the synapse: weights  location + scale · noise
are sent as `location * spikes` and `scale * spikes`, and derivatives with respect to them are exact.
"""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, UInt32

from .. import _compat
from .._typing import whole_number
from . import _procedural_late_plain as plain
from ._csr_primitives import _merge, _one_by_one
from ._library import define_call
from ._operands import real, single_step, typed
from ._procedural import Noise, ProceduralPattern, attributes, check_pattern, drawn, vector


def procedural_send(
    ring: Float[Array, "rows post"],
    sent: ArrayLike,
    seed: UInt32[Array, "2"],
    table: UInt32[Array, " m"],
    delays: UInt32[Array, " d"],
    k: ArrayLike,
    pattern: ProceduralPattern,
    noise: Noise = "none",
    *,
    least: int = 1,
    stride: int = 1,
) -> Float[Array, "rows post"]:
    r"""What leaves in step k, added to a ring of what arrives; synapses are regenerated from `seed`, with their delays.

    $$\text{ring}_{(k + d_s) \bmod R,\ \text{target}_s} \mathrel{+}= \text{sent}_{i,0} + \xi_s\, \text{sent}_{i,1}
        \quad \text{for every synapse } s \text{ of row } i$$

    A delay is `least` steps, and `stride` more for each entry of `delays` that a random word of the synapse reaches. It
    is a function of seed, row and position in the row, computed with integers, like the targets. Only rows that send
    something are regenerated. Linear and differentiable in `ring` and `sent`, any number of times.

    **Arguments:**

    - `ring`: row j mod R holds what arrives in step j; R is at least the longest delay.
    - `sent`: by each presynaptic neuron, [pre]; with noise [pre, 2], the second column being multiplied by it.
    - `seed`, `table`, `pattern`, `noise`: as in `procedural_matvec`.
    - `delays`: the cumulative distribution of the delays in 32 bits, uint32, ascending; empty if all are `least`.
    - `k`: the number of the step in which the spikes leave.

    **Raises:** `ValueError` if shapes or types do not fit, or the ring is too short.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> pattern = bs.ops.ProceduralPattern(n_pre=1, n_post=3, partners="different", domain=3, degree=3, most=3)
    >>> none, half = jnp.zeros(0, jnp.uint32), jnp.array([2**31], jnp.uint32)  # every other synapse is a step later
    >>> ring = bs.ops.procedural_send(
    ...     jnp.zeros((2, 3)), jnp.ones(1), jnp.array([1, 2], jnp.uint32), none, half, 0, pattern)
    >>> ring.sum(axis=0).tolist()  # the delays are 1 (row 1) and 2 (row 0)
    [1.0, 1.0, 1.0]

    ```
    """
    name, p, channels = "procedural_send", pattern, 1 + (noise != "none")
    check_pattern(name, p, noise)
    ring = real(f"{name}: the ring", ring)
    x = vector(name, "sent", sent, (p.n_pre,) if noise == "none" else (p.n_pre, 2)).reshape(1, p.n_pre, channels)
    if ring.ndim != 2 or ring.shape[1] != p.n_post or ring.dtype != x.dtype:
        raise ValueError(f"{name}: the ring is {ring.dtype}{list(ring.shape)}, expected {x.dtype}[rows, {p.n_post}]")
    seed, table = drawn(name, seed, table, p, noise)
    delays = _checked_delays(name, delays, least, stride)
    if least + stride * len(delays) > len(ring):
        raise ValueError(
            f"{name}: the ring has {len(ring)} rows, the longest delay {least + stride * len(delays)} steps"
        )
    params = dict(pattern=p, noise=noise, least=least, stride=stride)
    return send.bind(ring[None], x, seed, table, delays, single_step(name, k), **params)[0]


def procedural_delays(
    seed: UInt32[Array, "2"],
    delays: UInt32[Array, " d"],
    pattern: ProceduralPattern,
    *,
    least: int = 1,
    stride: int = 1,
) -> Int[Array, "pre most"]:
    """The delays of all synapses in steps, in plain JAX, in the places that `procedural_synapses` gives these.

    **Arguments:** as in `procedural_send`.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> pattern = bs.ops.ProceduralPattern(n_pre=3, n_post=4, partners="different", domain=4, degree=2, most=2)
    >>> bs.ops.procedural_delays(jnp.array([1, 2], jnp.uint32), jnp.zeros(0, jnp.uint32), pattern, least=15).tolist()
    [[15, 15], [15, 15], [15, 15]]

    ```
    """
    name = "procedural_delays"
    check_pattern(name, pattern)
    seed, delays = typed(f"{name}: the seed", seed, np.uint32, 2), _checked_delays(name, delays, least, stride)
    rows = jnp.arange(pattern.n_pre, dtype=jnp.int32)
    return jax.jit(plain.delays_of, static_argnums=(3, 4, 5))(rows, seed, delays, pattern.checked(), least, stride)


def _checked_delays(name, delays, least, stride):
    typed(f"{name}: delays", delays, np.uint32, "d")
    least = whole_number(least, f"{name}: least", most=2**31 - 1)
    stride = whole_number(stride, f"{name}: stride", most=2**31 - 1)
    if least < 1 or stride < 0:
        raise ValueError(f"{name}: delays must be one step or more and not fall, got {least} and {stride}")
    if least + stride * len(delays) >= 2**31:
        raise ValueError(f"{name}: delays must be below 2**31 steps, got up to {least + stride * len(delays):,}")
    return _compat.as_jax(delays)


# ---- the primitives


def _send_abstract(ring, *_, **params):
    return _compat.ShapedArray(ring.shape, ring.dtype)


def _send_jvp(primals, tangents, **params):
    ring, _sent, *rest = primals
    dring, dsent = tangents[:2]
    tangent = jnp.zeros_like(ring) if isinstance(dring, _compat.Zero) else dring
    if not isinstance(dsent, _compat.Zero):
        tangent = send.bind(tangent, dsent, *rest, **params)
    return send.bind(*primals, **params), tangent


def _send_transpose(ct, ring, sent, *rest, **params):
    results = [None] * (2 + len(rest))
    if isinstance(ct, _compat.Zero):
        return results
    if _compat.is_undefined_primal(ring):
        results[0] = ct
    if _compat.is_undefined_primal(sent):
        results[1] = collect.bind(ct, *rest, **params)
    return results


def _collect_abstract(ring, *_, pattern, noise, **params):
    return _compat.ShapedArray((ring.shape[0], pattern.n_pre, 1 + (noise != "none")), ring.dtype)


def _collect_jvp(primals, tangents, **params):  # all but the ring are integers
    return collect.bind(*primals, **params), collect.bind(tangents[0], *primals[1:], **params)


def _collect_transpose(ct, ring, *rest, **params):
    zero = isinstance(ct, _compat.Zero)
    return [None if zero else send.bind(jnp.zeros(ring.aval.shape, ct.dtype), ct, *rest, **params), *[None] * len(rest)]


def _batch(operands, dims, *, primitive, **params):
    bind, n = ft.partial(primitive().bind, **params), len(operands) - 4
    if any(d is not None for d in dims[n:]):
        return _one_by_one(bind, operands, dims)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    front = [
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(operands[:n], dims[:n], strict=True)
    ]
    out = bind(*(_merge(x, 0) for x in front), *operands[n:])
    return out.reshape(*front[0].shape[:2], *out.shape[1:]), 0


def _call(ring, *rest, target, reference, abstract, pattern, noise, least, stride):
    """The compiled kernel, if it knows the type; a single ring keeps the shape that a time loop carries."""
    params = dict(pattern=pattern, noise=noise, least=least, stride=stride)
    if ring.dtype not in (np.float32, np.float64):
        return reference(ring, *rest, **params)
    out = abstract(ring, **params)
    numbers = attributes(pattern, noise) | dict(least=np.int64(least), stride=np.int64(stride))
    single = ring.shape[0] == 1
    if single:
        ring, rest = ring[0], [x.reshape(x.shape[1:]) if x.ndim == 3 else x for x in rest]
    result = jax.ShapeDtypeStruct(out.shape[1:] if single else out.shape, out.dtype)
    aliases = {0: 0} if target.endswith("send") else None
    return jax.ffi.ffi_call(target, result, input_output_aliases=aliases)(ring, *rest, **numbers).reshape(out.shape)


send = _compat.define_primitive(
    "brainsim_procedural_send",
    abstract=_send_abstract,
    reference=plain.send,
    jvp=_send_jvp,
    transpose=_send_transpose,
    batch=ft.partial(_batch, primitive=lambda: send),
    axes=lambda *operands, **params: (["b", "b", "", "", "", ""], ["b"]),
)
collect = _compat.define_primitive(
    "brainsim_procedural_collect",
    abstract=_collect_abstract,
    reference=plain.collect,
    jvp=_collect_jvp,
    transpose=_collect_transpose,
    batch=ft.partial(_batch, primitive=lambda: collect),
    axes=lambda *operands, **params: (["b", "", "", "", ""], ["b"]),
)

for primitive, *forms in ((send, plain.send, _send_abstract), (collect, plain.collect, _collect_abstract)):
    define_call(primitive, ft.partial(_call, target=primitive.name, reference=forms[0], abstract=forms[1]))
