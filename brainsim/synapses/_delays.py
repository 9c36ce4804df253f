"""Connectivity whose synapses each have a delay of their own.

| layout            | delays                                                   |
|-------------------|----------------------------------------------------------|
| `DelayedCSR`      | fixed, from a short list; what `Projection(delay=...)` builds |
| `LearnableDelays` | a leaf, continuous, with gradients                       |

What arrives in a step is computed from the spikes of the last steps (`Past`), at arrival and event by event: see
`brainsim.ops.arrivals`.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import ops
from .._compat import is_traced
from .._domain import POSITIVE
from .._dynamics import AbstractDelayed, Past
from .._quantity import numbers, shown
from .._typing import as_float, number, param, truth, whole
from ..ops._merge import is_sorted
from ._connectivity import CSR, FanOut, as_index, as_sizes, as_weight, check_range


class DelayedCSR(AbstractDelayed):
    r"""Sparse connectivity in compressed rows, each row sorted by delay: the synapses of a *slot* share one delay.

    $$\text{events}_j(t) = \sum_d \sum_i \text{spikes}_i(t - \text{delays}_d)
        \sum_{s \in \text{segment } (i, d),\ \text{indices}_s = j} w_s$$

    **Arguments:**

    - `weight`: one for all synapses, or one per synapse, [nnz]; its unit is what the receptor expects.
    - `indices`: the postsynaptic neuron of every synapse, [nnz], by presynaptic neuron, then slot, then ascending.
    - `indptr`: where each slot of each neuron begins and the last one ends, [n_pre, slots + 1].
    - `n_pre`, `n_post`: numbers of neurons.
    - `delays`: of each slot, in ms; a run needs each to be a positive whole number of its steps.

    `DelayedCSR.from_coo` takes synapses in any order.

    **Raises:** `ValueError` for shapes that do not fit, indices out of range or order, delays that are not positive and
    weights that are not finite.

    ```python
    >>> import brainsim as bs
    >>> connect = bs.DelayedCSR.from_coo([0, 0], [1, 0], weight=[5.0, 6.0], delay=[0.3, 0.1], n_pre=1, n_post=2)
    >>> connect.delays, connect.as_dense(dt=0.1).tolist()
    ((0.1, 0.3), [[[6.0, 0.0]], [[0.0, 0.0]], [[0.0, 5.0]]])

    ```
    """

    weight: Float[Array, "*nnz"]
    indices: Int[Array, " nnz"]
    indptr: Int[Array, "pre slots+1"]
    n_pre: int = eqx.field(static=True)
    n_post: int = eqx.field(static=True)
    delays: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, weight: Any, indices: Any, indptr: Any, n_pre: int, n_post: int, delays: Any):
        n_pre, n_post = as_sizes("DelayedCSR", n_pre, n_post)
        given = indices, indptr
        indices, indptr = as_index(indices, "DelayedCSR: indices"), as_index(indptr, "DelayedCSR: indptr")
        delays = _listed("DelayedCSR: delays", delays)
        if indices.ndim != 1 or indptr.shape != (n_pre, len(delays) + 1):
            raise ValueError(
                f"DelayedCSR: indices and indptr have shapes {list(indices.shape)} and {list(indptr.shape)}, "
                f"expected [nnz] and [{n_pre}, {len(delays) + 1}]"
            )
        weight = _wide(as_weight("DelayedCSR", weight, (), indices.shape))
        check_range("DelayedCSR: indices", indices, n_post)
        if not is_traced(indptr):
            ends = np.concatenate([indptr[:, :-1].ravel(), indptr[-1:, -1], [indices.size]])
            gaps = (indptr[1:, 0] != indptr[:-1, -1]).any() or ends[0] != 0 or ends[-2:].min() != indices.size
            if gaps or (np.diff(ends) < 0).any():
                raise ValueError(f"DelayedCSR: indptr must rise from 0 to the number of synapses, {indices.size}, and "
                                 "each row begin where the one before ends")  # fmt: skip
            if not is_traced(indices) and not is_sorted(indptr, indices):
                raise ValueError("DelayedCSR: indices must ascend within each slot of each neuron; see from_coo")
        ready = lambda x: isinstance(x, jax.Array) and x.dtype == jnp.int32  # then it is not copied
        self.weight = weight
        checked = zip(given, (indices, indptr), strict=True)
        self.indices, self.indptr = (x if ready(x) else jnp.asarray(y, jnp.int32) for x, y in checked)
        self.n_pre, self.n_post, self.delays = n_pre, n_post, delays

    @classmethod
    def from_coo(
        cls, pre: Any, post: Any, weight: Any, delay: Any, n_pre: int, n_post: int, resolution: float = 0.1
    ) -> "DelayedCSR":
        """From a list of synapses in any order: `pre[s]` to `post[s]` with `weight` or `weight[s]` after `delay[s]` ms.

        Delays are rounded to `resolution` ms.
        """
        n_pre, n_post = as_sizes("DelayedCSR", n_pre, n_post)
        pre, post = as_index(pre, "DelayedCSR: pre"), as_index(post, "DelayedCSR: post")
        if pre.ndim != 1 or pre.shape != post.shape:
            raise ValueError(
                f"DelayedCSR: pre and post have shapes {list(pre.shape)} and {list(post.shape)}, not one length"
            )
        check_range("DelayedCSR: pre", pre, n_pre)
        check_range("DelayedCSR: post", post, n_post)
        weight = as_weight("DelayedCSR", weight, (), pre.shape)
        delay = in_ms(delay, "DelayedCSR: delay")
        if delay.shape not in ((), pre.shape):
            raise ValueError(f"DelayedCSR: delay has shape {list(delay.shape)}, expected [] or {list(pre.shape)}")
        rounded = rounded_delays(np.broadcast_to(delay, pre.shape), resolution)
        units, slot = np.unique(rounded, return_inverse=True)
        order = np.lexsort((post, slot, pre))
        counts = np.bincount(pre.astype(np.int64) * len(units) + slot, minlength=n_pre * len(units))
        ends = np.cumsum(counts).reshape(n_pre, len(units))
        begin = np.concatenate([np.zeros(min(n_pre, 1)), ends[:-1, -1]]) if len(units) else np.zeros(n_pre)
        indptr = np.concatenate([begin[:, None], ends], axis=1).astype(np.int32)
        delays = delays_of(units, resolution)
        return cls(weight[order] if weight.ndim else weight, post[order], indptr, n_pre, n_post, delays)

    def steps(self, dt: float) -> tuple[int, ...]:
        """The delay of each slot in steps of `dt` ms.

        **Raises:** `ValueError` if one is not a positive whole number of them.
        """
        return tuple(whole(d, dt, "a delay between two neurons") for d in self.delays)

    def longest(self, *, dt):
        return max(self.steps(dt), default=1)

    def prepare(self, *, dt):
        self.steps(dt)
        return self

    def __call__(self, past: Past, *, dt: float, start: Array | None = None):
        """The events that arrive; added to `start`, if that is given."""
        start = jnp.zeros(self.n_post, past.spikes.dtype) if start is None else start
        steps = np.array(self.steps(dt), np.int32)
        pattern, hints = (self.indices, self.indptr, steps), past.lists
        return ops.arrivals(
            past.spikes, self.weight, *pattern, past.k, start=start, hints=hints, relevant=past.relevant
        )

    @property
    def pre(self) -> Int[Array, " nnz"]:
        """The presynaptic neuron of every synapse."""
        return self._of_segment(np.repeat(np.arange(self.n_pre, dtype=np.int32), len(self.delays)))

    @property
    def slot(self) -> Int[Array, " nnz"]:
        """The slot of every synapse: its delay is `delays[slot]`."""
        return self._of_segment(np.tile(np.arange(len(self.delays), dtype=np.int32), self.n_pre))

    def _of_segment(self, values: np.ndarray) -> Array:
        return jnp.repeat(values, jnp.diff(self.indptr, axis=1).ravel(), total_repeat_length=self.indices.shape[0])

    def as_dense(self, *, dt):
        steps = np.array([0, *self.steps(dt)], np.int32)[1:]
        dense = jnp.zeros((self.longest(dt=dt), self.n_pre, self.n_post), self.weight.dtype)
        return dense.at[jnp.asarray(steps - 1)[self.slot], self.pre, self.indices].add(self.weight)


class LearnableDelays(AbstractDelayed):
    r"""Sparse connectivity whose delays are parameters: any number of ms, with gradients.

    Between two steps a spike is delivered in parts, as linear interpolation has it. With $x$ the delay in steps,

    $$\text{events}_j(k) = \sum_{s:\ \text{indices}_s = j} w_s
        \left[(1 - f_s)\, \text{spikes}_i(k - \lfloor x_s \rfloor)
        + f_s\, \text{spikes}_i(k - \lfloor x_s \rfloor - 1)\right], \quad f_s = x_s - \lfloor x_s \rfloor$$

    so the derivative by the delay is the weight times the difference of two neighbouring values of the spike train.
    With `interpolate=False`, for a trained network, every delay is rounded to whole steps.

    **Arguments:**

    - `connect`: the synapses and their weights, a `brainsim.CSR` or `brainsim.FanOut`.
    - `delay`: where to start, ms: one for all, or one per synapse [nnz], in the order of those of `connect`.
    - `max_delay`: delays stay between one step and this, ms; a whole number of steps.
    - `interpolate`: whether a spike may arrive in parts.

    **Raises:** `ValueError` if shapes do not fit, `max_delay` is not positive, or delays are not between 0 and it.

    ```python
    >>> import brainsim as bs
    >>> connect = bs.LearnableDelays(bs.CSR.from_dense([[2.0]]), delay=0.25, max_delay=0.4)
    >>> connect.as_dense(dt=0.1).ravel().round(3).tolist()
    [0.0, 1.0, 1.0, 0.0]

    ```

    Hammouamri, Khalfaoui-Hassani & Masquelier (2024), ICLR, arXiv:2306.17670, interpolate likewise.
    """

    weight: Float[Array, "*nnz"]
    indices: Int[Array, " nnz"]
    pre: Int[Array, " nnz"]
    n_pre: int = eqx.field(static=True)
    n_post: int = eqx.field(static=True)
    max_delay: float = eqx.field(static=True)
    interpolate: bool = eqx.field(static=True)
    delay: Float[Array, " nnz"] = param(unit="ms", doc="delay of every synapse", domain=POSITIVE)

    def __init__(self, connect: CSR | FanOut, delay: Any, max_delay: float, *, interpolate: bool = True):
        connect = connect.as_csr() if isinstance(connect, FanOut) else connect
        if not isinstance(connect, CSR):
            raise ValueError(f"LearnableDelays: the synapses must be a CSR or FanOut, got {type(connect).__name__}")
        self.max_delay = number(max_delay, "LearnableDelays: max_delay", unit="ms", domain=POSITIVE)
        self.interpolate = truth(interpolate, "LearnableDelays: interpolate")
        within = f"(0, {self.max_delay!r}]"
        delay, nnz = as_float(delay, "LearnableDelays: delay", "ms", within), connect.indices.shape[0]
        if delay.shape not in ((), (nnz,)):
            raise ValueError(f"LearnableDelays: the delay has shape {list(delay.shape)}, expected [] or [{nnz}]")
        self.weight, self.indices, self.pre = _wide(connect.weight), connect.indices, connect.pre
        self.delay = jnp.broadcast_to(delay, (nnz,))
        self.n_pre, self.n_post = connect.n_pre, connect.n_post

    def longest(self, *, dt):
        return whole(self.max_delay, dt, "max_delay of LearnableDelays")

    def prepare(self, *, dt) -> DelayedCSR:
        """The synapses sorted by delay; with interpolation each stands twice, for the steps before and after."""
        longest = self.longest(dt=dt)
        x = jnp.clip(self.delay / dt, 1, longest)
        weight, pre, post = jnp.broadcast_to(self.weight, self.delay.shape), self.pre, self.indices
        if self.interpolate:
            low = jnp.clip(jnp.floor(x), 1, max(longest - 1, 1)).astype(jnp.int32)  # the last step is the one after
            after = x - low.astype(x.dtype)
            steps = jnp.concatenate([low, jnp.minimum(low + 1, longest)])
            weight = jnp.concatenate([weight * (1 - after), weight * after])
            pre, post = jnp.tile(pre, 2), jnp.tile(post, 2)
        else:
            steps = jnp.floor(x + 0.5).astype(jnp.int32)  # halves up, as everywhere
        if self.n_pre * longest > np.iinfo(np.int32).max:
            raise ValueError(f"LearnableDelays: {self.n_pre} neurons x {longest} steps are more than 32 bits can count")
        segment = pre * longest + steps - 1
        order = jnp.lexsort((post, segment))
        ends = jnp.cumsum(jnp.bincount(segment, length=self.n_pre * longest), dtype=jnp.int32)
        ends = ends.reshape(self.n_pre, longest)
        begin = jnp.concatenate([jnp.zeros(min(self.n_pre, 1), jnp.int32), ends[:-1, -1]])
        indptr = jnp.concatenate([begin[:, None], ends], axis=1)
        delays = tuple((d + 1) * dt for d in range(longest))
        return DelayedCSR(weight[order], post[order], indptr, self.n_pre, self.n_post, delays)

    def __call__(self, past: Past, *, dt: float):
        return self.prepare(dt=dt)(past, dt=dt)

    def as_dense(self, *, dt):
        return self.prepare(dt=dt).as_dense(dt=dt)


def _wide(weight: Array) -> Array:
    """`weight`, in float32 if it is narrower: deliveries at arrival have no narrow form."""
    return weight if weight.dtype in (jnp.float32, jnp.float64) else weight.astype(jnp.float32)


def rounded_delays(delay: np.ndarray, resolution: float) -> np.ndarray:
    """Delays as whole numbers of `resolution`; halves are rounded up.

    **Raises:** `ValueError` for one that is not finite or rounds to nothing.
    """
    resolution = number(resolution, "the resolution of delays", unit="ms", domain=POSITIVE)
    wrong = ~(delay >= resolution * (0.5 - 1e-9)) | (delay >= 2.0**31 * resolution)  # also NaN
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"delays must be finite and at least {resolution:g} ms once rounded to that, "
                         f"number {at} is {delay[at]:g} ms")  # fmt: skip
    return np.floor(delay / resolution + (0.5 + 1e-9)).astype(np.int64)


def given_delays(delay: np.ndarray, resolution: float) -> np.ndarray:
    """Delays that somebody gave, one by one, as whole numbers of `resolution`: nothing is rounded but rounding errors.

    **Raises:** `ValueError` for one that is no such multiple.
    """
    units = rounded_delays(delay, resolution)
    wrong = np.abs(units * resolution - delay) > 1e-6 * delay
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"delay number {at}, {delay[at]:g} ms, is no multiple of the resolution, {resolution:g} ms; "
                         "give a finer `resolution`, or round delays yourself")  # fmt: skip
    return units


def in_ms(delay: Any, what: str) -> np.ndarray:
    """Delays as an array of double precision, in ms.

    **Raises:** `ValueError` for what are no numbers, or traced.
    """
    if is_traced(delay):
        raise ValueError(f"{what} is traced, but delays are rounded on the host; LearnableDelays have gradients")
    try:
        return np.asarray(numbers(delay, "ms"), np.float64)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{what} {e}") from None


def _listed(what: str, delays: Any) -> tuple[float, ...]:
    """The delays of slots."""
    if np.ndim(given := in_ms(delays, what)) != 1:
        raise ValueError(f"{what} must be a list, got {shown(delays)}")
    return tuple(number(d, what, unit="ms", domain=POSITIVE) for d in given.tolist())


def delays_of(units: Any, resolution: float) -> tuple[float, ...]:
    """Whole numbers of `resolution` in ms, without the last digits that multiplication leaves: 3 × 0.1 is 0.3."""
    return tuple(float(f"{int(u) * resolution:.12g}") for u in units)
