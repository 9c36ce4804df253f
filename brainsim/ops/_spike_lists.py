"""Which entries of vectors are not zero, as lists of fixed length: the primitive of `spike_list`."""

import jax
import jax.numpy as jnp
import numpy as np

from .. import _compat
from . import _arrivals_plain as plain
from ._library import define_kernel


def _compact_abstract(values, *, size):
    return _compat.ShapedArray((values.shape[0], size), np.dtype(np.int32))


def _compact_jvp(primals, tangents, *, size):
    out = compact.bind(*primals, size=size)
    return out, _compat.Zero(jax.typeof(out).to_tangent_aval())


def _compact_transpose(ct, values, *, size):
    return [None]


def _compact_batch(operands, dims, *, size):
    (values,) = operands
    values = jnp.moveaxis(values, dims[0], 0)
    out = compact.bind(values.reshape(values.shape[0] * values.shape[1], values.shape[2]), size=size)
    return out.reshape(*values.shape[:2], size), 0


compact = _compat.define_primitive(
    "brainsim_compact",
    abstract=_compact_abstract,
    reference=plain.compact,
    jvp=_compact_jvp,
    transpose=_compact_transpose,
    batch=_compact_batch,
    axes=lambda *operands, **params: (["b"], ["b"]),
)


def _kernel(values, *, size):
    return "brainsim_compact" if values.dtype in (np.float32, np.float64) else None


define_kernel(compact, _kernel)
