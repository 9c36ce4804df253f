"""A tree of JAX's arrays as NumPy's, by name, and back: what a checkpoint holds."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._compat import as_jax


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by name: `neuron.tau`; where two would have one name, `['a.b']` and `['a']['b']`."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    short = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    twice = {name for name in short if short.count(name) > 1} if len(set(short)) < len(short) else set()
    full = lambda name, path: jax.tree_util.keystr(path) if name in twice else name
    found = {full(name, path): x for name, (path, x) in zip(short, paths, strict=True)}
    return found if len(found) == len(paths) else {jax.tree_util.keystr(path): x for path, x in paths}


def plain(x: Any) -> np.ndarray:
    """An array as one of NumPy's own types: keys as their data, bfloat16 and the like as their bits."""
    if is_key(x):
        x = jax.random.key_data(x)
    x = np.asarray(x)
    return x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "V" else x


def restored(x: np.ndarray | None, like: Any) -> np.ndarray:
    """What `plain` was made of, if it was an array of the type and shape of `like`; keys stay data.

    **Raises:** `ValueError` if it was not.
    """
    wanted = plain(like)
    if x is None or x.shape != wanted.shape or x.dtype != wanted.dtype:
        raise ValueError(f"nothing of {wanted.dtype} and shape {wanted.shape} was saved")
    return x if is_key(like) else x.view(like.dtype)


def is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def restore(arrays: Mapping[str, np.ndarray], example: Any) -> Any:
    """What was saved by name, with the structure and the types of `example`, whose arrays of NumPy stay such.

    **Raises:** `ValueError` if anything is missing or of another type or shape.
    """
    leaves = []
    for name, like in named(example).items():
        try:
            leaves.append(_array(restored(arrays.get(name), like), like))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return jax.tree.unflatten(jax.tree.structure(example), leaves)


def _array(x: np.ndarray, like: Any) -> Any:
    if is_key(like):
        return jax.random.wrap_key_data(as_jax(x), impl=jax.random.key_impl(like))
    return as_jax(x) if isinstance(like, jax.Array) else x
