"""The compiled form of x (exp(z) - 1) / z, for arrays that are worth a call."""

from collections.abc import Callable
from typing import Any

from .. import _compat
from ._library import load

# Below, a call costs more than it saves: XLA computes small arrays together with what surrounds them.
_WORTH_A_CALL = 256


def define_phi1(plain: Callable[..., Any], jvp: Callable[..., Any]) -> _compat.Primitive:
    """A primitive that computes `plain(z, x)`, which is x (exp(z) - 1) / z, with the derivative rule `jvp`.

    On CPUs, for large arrays, it is the compiled kernel, which computes the full function only where |z| >= 1/2: in
    most models nowhere. A `jax.custom_jvp` would not do: JAX forgets its rule where it computes
    something again.
    """
    primitive = _compat.define_primitive(
        "brainsim_phi1", abstract=lambda z, x: _compat.ShapedArray(z.shape, z.dtype), reference=plain, jvp=jvp
    )
    if load():
        worth = lambda z, x: z.size >= _WORTH_A_CALL and z.dtype.name in ("float32", "float64")
        _compat.define_cpu_lowering(primitive, plain, lambda z, x: "brainsim_phi1" if worth(z, x) else None)
    return primitive
