"""Spikes appended to a list in place: a primitive, its reference in plain JAX and its kernel.

A list is one integer array [capacity + 1, 2]: its row 0 holds how many spikes there were (with those for which there
was no room), row i + 1 the step and the neuron of spike i. As one array it has one buffer, which a loop keeps in place.
"""

import string

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import _compat
from .._typing import whole_number
from ._library import define_call
from ._operands import real, typed

_MOST = np.iinfo(np.int32).max


def empty_events(capacity: int) -> Int[Array, "rows 2"]:
    """A list with room for `capacity` spikes.

    ```python
    >>> import brainsim as bs
    >>> bs.ops.empty_events(2).tolist()
    [[0, 0], [0, 0], [0, 0]]

    ```
    """
    capacity = whole_number(capacity, "the capacity", least=0, most=_MOST - 1)
    return jnp.zeros((capacity + 1, 2), jnp.int32)


def append_events(
    events: Int[Array, "rows 2"], spikes: Float[Array, " n"], step: Int[Array, ""]
) -> Int[Array, "rows 2"]:
    """A list of spikes with those of one step appended; in place, where the old list is not needed any more.

    **Arguments:**

    - `events`: the list, int32: row 0 holds the number of spikes, row i + 1 the step and neuron of spike i.
    - `spikes`: one value per neuron; zero is no spike.
    - `step`: int32.

    Spikes for which there is no room are counted and dropped; the count stops at 2³¹ − 1. The list is made of integers:
    there is no derivative.

    **Raises:** `ValueError` if shapes or types do not fit.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> bs.ops.append_events(bs.ops.empty_events(2), jnp.array([0.0, 1.0, 1.0, 1.0]), jnp.int32(7)).tolist()
    [[3, 0], [7, 1], [7, 2]]

    ```
    """
    spikes, step = real("append_events: spikes", spikes), real("append_events: the step", step)
    if len(typed("append_events: the list", events, np.int32, "capacity + 1", 2)) < 1:
        raise ValueError("append_events: the list has no row 0, expected int32[capacity + 1, 2]")
    if spikes.ndim != 1 or step.shape != () or step.dtype != np.int32:
        raise ValueError(f"append_events: spikes have shape {list(spikes.shape)} and the step is {step.dtype}"
                         f"{list(step.shape)}, expected [n] and a single int32")  # fmt: skip
    return append.bind(events, spikes, step)


# ---- the primitive; all operands may have the same batch axes in front


def _axes(events, spikes, step):
    batch = string.ascii_letters[: step.ndim]
    return [batch] * 3, [batch]


def _reference(events, spikes, step):
    one = _append_one
    for _ in range(spikes.ndim - 1):
        one = jax.vmap(one)
    return one(events, spikes, step)


def _append_one(events, spikes, step):
    fired, count = spikes != 0, jnp.maximum(events[0, 0], 0)
    new = jnp.sum(fired, dtype=jnp.int32)
    place = jnp.cumsum(fired, dtype=jnp.int32)  # of each spike among those of this step, from 1
    room = events.shape[0] - 1 - jnp.minimum(count, events.shape[0] - 1)
    at = jnp.where(fired & (place <= room), count + place, events.shape[0])  # out of range, hence dropped
    rows = jnp.stack([jnp.broadcast_to(step, spikes.shape), jnp.arange(len(spikes), dtype=jnp.int32)], axis=1)
    return events.at[at].set(rows, mode="drop").at[0, 0].set(jnp.where(count > _MOST - new, _MOST, count + new))


def _kernel(events, spikes, step):
    if spikes.dtype not in (np.float32, np.float64):
        return _reference(events, spikes, step)
    result = jax.ShapeDtypeStruct(events.shape, events.dtype)
    return jax.ffi.ffi_call("brainsim_append_events", result, input_output_aliases={0: 0})(events, spikes, step)


def _jvp(primals, tangents):
    out = append.bind(*primals)
    return out, _compat.Zero(jax.typeof(out).to_tangent_aval())


def _batch(operands, dims):
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    front = lambda x, d: jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
    return append.bind(*(front(x, d) for x, d in zip(operands, dims, strict=True))), 0


append = _compat.define_primitive(
    "brainsim_append_events",
    abstract=lambda events, spikes, step: _compat.ShapedArray(events.shape, events.dtype),
    reference=_reference,
    jvp=_jvp,
    transpose=lambda ct, *operands: [None] * len(operands),
    batch=_batch,
    axes=_axes,
)

define_call(append, _kernel)
