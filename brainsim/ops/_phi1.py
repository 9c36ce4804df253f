"""The compiled form of x (exp(z) - 1) / z, for arrays that are worth a call."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from ._library import load

# Below, a call costs more than it saves: XLA computes small arrays together with what surrounds them.
_WORTH_A_CALL = 256


def phi1_times(
    z: Float[Array, "*n"], x: Float[Array, "*n"], plain: Callable[[Array, Array], Array]
) -> Float[Array, "*n"]:
    """`plain(z, x)`, which is x (exp(z) - 1) / z in plain JAX; on CPUs, for large arrays, by the compiled kernel.

    The kernel computes the full function only where |z| >= 1/2, which in most models is nowhere. It has no derivative
    of its own: the caller's `jax.custom_jvp` has.
    """
    if z.shape != x.shape or z.size < _WORTH_A_CALL or z.dtype.name not in ("float32", "float64") or not load():
        return plain(z, x)
    result = jax.ShapeDtypeStruct(z.shape, z.dtype)
    call = lambda z, x: jax.ffi.ffi_call("brainsim_phi1", result, vmap_method="broadcast_all")(z, x)
    return jax.lax.platform_dependent(z, x, cpu=call, default=plain)
