"""Products with compressed rows whose weights are bfloat16 while vectors, and sums, are float32.

As `_csr_primitives`: scatter and gather are each other's transposes in the vector. The gradient of the weights is
summed in float32 by the same `outer`, and rounded once.
"""

import functools as ft

import jax
import jax.numpy as jnp

from .. import _compat
from . import _csr_plain as plain, _csr_primitives as csr
from ._bilinear import define_bilinear
from ._library import define_call


def _abstract(x, w, indices, indptr, *, n_out):
    return _compat.ShapedArray((*x.shape[:2], n_out), x.dtype)


def _widened(product):
    return lambda x, w, indices, indptr, *, n_out: product(x, w.astype(x.dtype), indices, indptr, n_out=n_out)


def _to_vector(ct, w, indices, indptr, *, like, adjoint, n_out):
    return adjoint().bind(ct, w, indices, indptr, n_out=like.shape[-1])


def _to_weight(x, ct, indices, indptr, *, like, forward, n_out):
    ends = (x, ct) if forward else (ct, x)  # spikes, values
    return csr.outer.bind(*ends, indices, indptr).astype(like.dtype)


def _call(x, w, indices, indptr, *, n_out, target, reference):
    if x.dtype != jnp.float32 or w.dtype != jnp.bfloat16:
        return reference(x, w, indices, indptr, n_out=n_out)
    single = x.shape[:2] == (1, 1)  # arrays go flat where there is one vector (see `_compat`)
    result = jax.ShapeDtypeStruct((n_out,) if single else (*x.shape[:2], n_out), x.dtype)
    flat = (x[0, 0], w[0]) if single else (x, w)
    return jax.ffi.ffi_call(target, result)(*flat, indices, indptr).reshape(*x.shape[:2], n_out)


scatter = define_bilinear(
    "brainsim_csr_scatter_narrow",
    abstract=_abstract,
    reference=_widened(plain.scatter),
    to_vector=ft.partial(_to_vector, adjoint=lambda: gather),
    to_weight=ft.partial(_to_weight, forward=True),
    indices=2,
)
gather = define_bilinear(
    "brainsim_csr_gather_narrow",
    abstract=_abstract,
    reference=_widened(plain.gather),
    to_vector=ft.partial(_to_vector, adjoint=lambda: scatter),
    to_weight=ft.partial(_to_weight, forward=False),
    indices=2,
)
for primitive, product in ((scatter, plain.scatter), (gather, plain.gather)):
    define_call(primitive, ft.partial(_call, target=primitive.name, reference=_widened(product)))
