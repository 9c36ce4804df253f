"""The compiled form of y + x (exp(z) - 1) / z, for arrays that are worth a call."""

from collections.abc import Callable
from typing import Any

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
    if load():
        worth = lambda y, z, x: y.size >= _WORTH_A_CALL and y.dtype.name in ("float32", "float64")
        kernel = lambda *avals: "brainsim_exponential_step" if worth(*avals) else None
        _compat.define_cpu_lowering(primitive, plain, kernel, aliases={0: 0})
    return primitive
