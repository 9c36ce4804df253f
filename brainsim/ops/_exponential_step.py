"""The compiled form of y + x (exp(z) - 1) / z, for arrays that are worth a call."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .. import _compat
from ._library import load

# Below, a call costs more than it saves: XLA computes small arrays together with what surrounds them.
_WORTH_A_CALL = 256


def define_exponential_step(plain: Callable[..., Any], jvp: Callable[..., Any]) -> _compat.Primitive:
    """A primitive that computes `plain(y, z, x)`, which is y + x (exp(z) - 1) / z, with the derivative rule `jvp`.

    On CPUs, for large arrays, it is the compiled kernel, which computes the full function only where |z| >= 1/2: in
    most models nowhere. A `jax.custom_jvp` would not do: JAX forgets its rule where it computes
    something again.
    """
    shape = lambda y, z, x: _compat.ShapedArray(y.shape, y.dtype)
    primitive = _compat.define_primitive("brainsim_exponential_step", abstract=shape, reference=plain, jvp=jvp)

    def call(y, z, x):
        if y.size < _WORTH_A_CALL or y.dtype not in (np.float32, np.float64):
            return plain(y, z, x)
        one = jax.ffi.ffi_call("brainsim_exponential_step", jax.typeof(y), input_output_aliases={0: 0})
        return one(y, jax.lax.complex(z, x))

    # Not on GPUs, though there is a twin: there XLA makes one kernel of the plain form and of what surrounds it, and a
    # call of its own is two kernels more.
    _compat.define_call(primitive, call, platform="cpu", available=load)
    return primitive
