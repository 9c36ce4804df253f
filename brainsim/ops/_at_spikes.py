"""What happens where there are spikes, and nowhere else, in place.

Few neurons spike in a step; to write an array anew for the sake of those costs more than all that they cause.
"""

import functools as ft
import string
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import _compat
from ._events import append
from ._library import define_call


def at_spikes(
    spikes: Float[Array, " n"],
    arrays: Sequence[Array],
    values: Sequence[Array],
    lists: Sequence[Int[Array, "rows 2"]],
    step: Int[Array, ""],
    parts: Sequence[tuple[int, int]],
    timed: int = 0,
) -> tuple[list[Array], list[Array]]:
    """The arrays with the entries of neurons that spike replaced, and the lists with the spikes appended.

    **Arguments:**

    - `spikes`: one value per neuron; zero is no spike.
    - `arrays`: arrays [n], of entries of four or eight bytes.
    - `values`: what each is to hold where there is a spike, [n], or one for all, [1].
    - `lists`: lists of spikes, as in `append_events`.
    - `step`: int32. Spikes are stamped with its end, `step + 1`.
    - `parts`: of each list, the first neuron and the number of neurons that belong there.
    - `timed`: so many of the arrays, the last ones, are int32, and their values count from `step + 1`.
    """
    out = _at_spikes.bind(spikes, *arrays, *values, *lists, step, n_arrays=len(arrays), parts=tuple(parts), timed=timed)
    return out[: len(arrays)], out[len(arrays) :]


# ---- the primitive; spikes and arrays may have the same batch axes in front: then there are no lists, and values are
# one for all, [1], or one for each entry of an array


def _split(operands, n_arrays):
    spikes, *rest, step = operands
    return spikes, rest[:n_arrays], rest[n_arrays : 2 * n_arrays], rest[2 * n_arrays :], step


def _abstract(*operands, n_arrays, parts, timed):
    _, arrays, _, lists, _ = _split(operands, n_arrays)
    return [_compat.ShapedArray(x.shape, x.dtype) for x in (*arrays, *lists)]


def _axes(*operands, n_arrays, **params):
    names = [string.ascii_letters[: max(x.ndim - 1, 0)] for x in operands]
    _, arrays, _, lists, _ = _split(operands, n_arrays)
    lists = [""] * len(lists)
    return [*names[: 1 + 2 * n_arrays], *lists, ""], [*names[1 : 1 + len(arrays)], *lists]


def _reference(*operands, n_arrays, parts, timed):
    spikes, arrays, values, lists, step = _split(operands, n_arrays)
    plain = len(arrays) - timed
    values = [v if i < plain else v + (step + 1) for i, v in enumerate(values)]
    replaced = [jnp.where(spikes != 0, new, old) for old, new in zip(arrays, values, strict=True)]
    return [*replaced, *(append.bind(x, spikes[i : i + n], step + 1) for x, (i, n) in zip(lists, parts, strict=True))]


def _jvp(primals, tangents, **params):
    out, moved = jax.jvp(ft.partial(_reference, **params), list(primals), _compat.instantiated(primals, tangents))
    return out, moved


def _batch(operands, dims, *, n_arrays, parts, timed):
    """Arrays by the same call, in place; each list by a call of its own, whose batched form that is."""
    if dims[-1] is not None:
        out = jax.vmap(ft.partial(_reference, n_arrays=n_arrays, parts=parts, timed=timed), dims)(*operands)
        return out, [0] * len(out)
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    front = lambda x, d: jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
    shared = range(1 + n_arrays, 1 + 2 * n_arrays)
    shared = [i in shared and dims[i] is None and x.shape == (1,) for i, x in enumerate(operands[:-1])]
    moved = [x if s else front(x, d) for x, d, s in zip(operands[:-1], dims[:-1], shared, strict=True)]
    spikes, arrays, values, lists, step = _split([*moved, operands[-1]], n_arrays)
    # What has this axis but not those before stands for all of these.
    fitted = lambda v, x: jnp.broadcast_to(v.reshape(size, *[1] * (x.ndim - v.ndim), *v.shape[1:]), x.shape)
    values = [v if v.shape == (1,) else fitted(v, x) for v, x in zip(values, arrays, strict=True)]
    arrays = _at_spikes.bind(spikes, *arrays, *values, step, n_arrays=n_arrays, parts=(), timed=timed)
    listed = lambda x, i, n: jax.vmap(append.bind, (0, 0, None))(x, spikes[..., i : i + n], step + 1)
    out = [*arrays, *(listed(x, *part) for x, part in zip(lists, parts, strict=True))]
    return out, [0] * len(out)


def _call(*operands, n_arrays, parts, timed):
    spikes, arrays, values, lists, _ = _split(operands, n_arrays)
    narrow = any(x.dtype.itemsize not in (4, 8) for x in arrays)
    unlike = any(x.dtype != v.dtype for x, v in zip(arrays, values, strict=True))
    large = spikes.size > np.iinfo(np.int32).max or max(len(lists), n_arrays) > 64
    if spikes.dtype not in (np.float32, np.float64) or narrow or unlike or large:
        return _reference(*operands, n_arrays=n_arrays, parts=parts, timed=timed)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (*arrays, *lists)]
    aliased = [*range(1, 1 + n_arrays), *range(1 + 2 * n_arrays, 1 + 2 * n_arrays + len(lists))]
    aliases = {operand: result for result, operand in enumerate(aliased)}
    call = jax.ffi.ffi_call("brainsim_at_spikes", shapes, input_output_aliases=aliases)
    return list(
        call(*operands, targets=np.int64(n_arrays), timed=np.int64(timed), parts=np.array(parts, np.int64).reshape(-1))
    )


_at_spikes = _compat.define_primitive(
    "brainsim_at_spikes",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    batch=_batch,
    axes=_axes,
    multiple_results=True,
)
define_call(_at_spikes, _call)
