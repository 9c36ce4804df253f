"""The event-driven product with a sparse matrix whose rows all have the same number of synapses (fixed fan-out).

One primitive of its own, *scatter*, whose kernel needs no row starts. Its transposes, which touch all synapses or are
bound by memory in any case, are those of compressed rows (see `_csr_primitives`) with the row starts 0, k, 2k, ...
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .. import _compat
from .._typing import whole_number
from . import _csr_primitives as csr
from ._bilinear import define_bilinear
from ._library import define_call
from ._operands import typed, vector_and_weight


def fan_out_matvec(
    spikes: ArrayLike, weight: ArrayLike, indices: Int[Array | np.ndarray, "pre k"], n_post: int
) -> Float[Array, " post"]:
    r"""The events that spikes cause, where every neuron has k synapses: $\text{events}_j$ sums spikes_i · weight_is.

    As `csr_matvec`, with synapses in a rectangle instead of compressed rows: faster, and no row starts to store.

    **Arguments:**

    - `spikes`: one value per presynaptic neuron, [pre]; zero is no spike.
    - `weight`: one for all synapses, or one per synapse, [pre, k]; of the type of the spikes, or bfloat16 for float32
      spikes (which halves what has to be read; sums are float32).
    - `indices`: the postsynaptic neuron of every synapse, int32 [pre, k]. An entry outside [0, n_post) contributes
      nothing, so it may serve as padding.
    - `n_post`: the number of postsynaptic neurons.

    **Raises:** `ValueError` if shapes or types do not fit.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> indices = jnp.array([[1, 2], [0, 0]])
    >>> bs.ops.fan_out_matvec(jnp.array([1.0, 2.0]), jnp.array([[5.0, 6.0], [7.0, 8.0]]), indices, n_post=3)
    Array([30.,  5.,  6.], dtype=float32)

    ```
    """
    x, weight = vector_and_weight("fan_out_matvec", "spikes", spikes, weight)
    typed("fan_out_matvec: indices", indices, np.int32, "pre", "k")
    n_post = whole_number(n_post, "fan_out_matvec: n_post", least=0, most=2**31 - 1)
    if x.shape != indices.shape[:1]:
        raise ValueError(f"fan_out_matvec: spikes have shape {list(x.shape)}, expected [{indices.shape[0]}]")
    if weight.shape not in ((), indices.shape):
        raise ValueError(
            f"fan_out_matvec: the weight has shape {list(weight.shape)}, expected [] or {list(indices.shape)}"
        )
    indices = _compat.as_jax(indices)
    if weight.ndim == 0:  # a sum of spikes, times the weight
        return weight.astype(x.dtype) * scatter.bind(x[None, None], indices, n_out=n_post)[0, 0]
    return scatter.bind(x[None, None], weight[None], indices, n_out=n_post)[0, 0]


# ---- the primitive


def _abstract(x, *rest, n_out):
    return _compat.ShapedArray((*x.shape[:2], n_out), x.dtype)


def _reference(x, *rest, n_out):
    *weight, indices = rest
    groups, batch = x.shape[:2]
    real = (indices >= 0) & (indices < n_out)
    at = jnp.where(real, indices, n_out)
    sent = jnp.broadcast_to(x[..., None], (groups, batch, *indices.shape))
    if weight:  # where there is no spike nothing is delivered, not even an infinite weight times zero
        sent = jnp.where(sent != 0, sent * weight[0].astype(x.dtype)[:, None], 0)
    return jnp.zeros((groups, batch, n_out), x.dtype).at[..., at].add(sent, mode="drop")


def starts(indices: Array) -> Array:
    """Where the rows of a rectangle start, as if it were in compressed rows."""
    n_pre, k = indices.shape
    return jnp.arange(n_pre + 1, dtype=jnp.int32) * jnp.int32(k)


def _to_vector(ct, *rest, like, n_out):
    *weight, indices = rest
    flat = [w.reshape(len(w), -1).astype(ct.dtype) for w in weight]
    return csr.gather.bind(ct, *flat, indices.reshape(-1), starts(indices), n_out=like.shape[-1])


def _to_weight(x, ct, indices, *, like, n_out):
    return csr.outer.bind(x, ct, indices.reshape(-1), starts(indices)).reshape(like.shape).astype(like.dtype)


def _call(x, *rest, n_out):
    types = (np.float32, jnp.bfloat16) if x.dtype == np.float32 else (x.dtype,)
    if x.dtype not in (np.float32, np.float64) or (len(rest) == 2 and rest[0].dtype not in types):
        return _reference(x, *rest, n_out=n_out)
    single = x.shape[:2] == (1, 1)  # arrays go flat where there is one vector (see `_compat`)
    result = jax.ShapeDtypeStruct((n_out,) if single else (*x.shape[:2], n_out), x.dtype)
    if single:
        x, rest = x[0, 0], [*(w[0] for w in rest[:-1]), rest[-1]]
    name = "brainsim_fan_out_scatter" + "_unit" * (len(rest) == 1)
    out = jax.ffi.ffi_call(name, result)(x, *rest)
    return out[None, None] if single else out


scatter = define_bilinear(
    "brainsim_fan_out_scatter",
    abstract=_abstract,
    reference=_reference,
    to_vector=_to_vector,
    to_weight=_to_weight,
    indices=1,
)
define_call(scatter, _call)
