"""One line of warning for a JAX that is newer than those with which brainsim is tested."""

import warnings

import jax

_NEWEST = (0, 12)

if jax.__version_info__[:2] > _NEWEST:
    warnings.warn(
        f"brainsim is tested with JAX 0.10 to {'.'.join(map(str, _NEWEST))}, but this is JAX {jax.__version__}.",
        RuntimeWarning,
        stacklevel=2,
    )
