"""Procedural connectivity whose synapses differ in delay: delays, too, are regenerated whenever a neuron spikes."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from .. import ops
from .._compat import as_jax, is_traced
from .._domain import POSITIVE
from .._module import Module
from .._typing import number, whole
from ._delays import delays_of, in_ms
from ._distributions import Normal, Uniform
from ._procedural import Regenerated


class DelayedRegenerated(Module):
    r"""Procedural connectivity with a delay for each synapse; what a `Projection` with such a `delay` builds.

    $$\text{events}_j(t) = \sum_i \sum_{s \in \text{row } i,\ \text{target}_s = j} w_s\,
        \text{spikes}_i(t - \text{delay}_s)$$

    Nothing is stored per synapse. A neuron's synapses are regenerated once, when it spikes, and what they deliver waits
    in a ring, which a run carries, with a row for this step and for each up to the longest delay. Delays have the
    distribution of `delay`, rounded to `resolution` (halves up). They depend on the seed, the row and the position in
    it, computed with integers: they are the same on every machine. Events are differentiable in spikes and weights,
    not in delays.

    **Arguments:**

    - `connect`: a `brainsim.Regenerated`, as `brainsim.Procedural` draws them.
    - `delay`: a `brainsim.Normal` (it may have bounds), a `brainsim.Uniform`, or a number, in ms.
    - `resolution`: delays are whole numbers of this many ms, default 0.1; it must be a whole number of time steps.

    **Raises:** `ValueError` for delays of another kind, or that round to nothing.

    ```python
    >>> import brainsim as bs, jax
    >>> connect = bs.Procedural(bs.FixedOutDegree(100)).build(jax.random.key(0), 1000, 1000, same=True)
    >>> late = bs.DelayedRegenerated(connect, bs.Uniform(0.5, 2.0))
    >>> late.longest(dt=0.1), late.init(dt=0.1).shape, sum(x.nbytes for x in jax.tree.leaves(late)) < 100
    (20, (21, 1000), True)

    ```
    """

    connect: Regenerated
    table: UInt32[Array, " d"]
    least: int = eqx.field(static=True)  # of the delays, in units of the resolution
    resolution: float = eqx.field(static=True)

    def __init__(self, connect: Regenerated, delay: Any, resolution: float = 0.1):
        if not isinstance(connect, Regenerated):
            raise ValueError(f"DelayedRegenerated: synapses must be procedural, got {type(connect).__name__}")
        self.connect = connect
        self.resolution = number(resolution, "DelayedRegenerated: the resolution", unit="ms", domain=POSITIVE)
        self.least, table = _distribution(delay, self.resolution)
        self.table = as_jax(table)

    @property
    def n_pre(self) -> int:
        """The number of presynaptic neurons."""
        return self.connect.n_pre

    @property
    def n_post(self) -> int:
        """The number of postsynaptic neurons."""
        return self.connect.n_post

    @property
    def delays(self) -> tuple[float, ...]:
        """The possible delays in ms, ascending."""
        return delays_of(range(self.least, self.least + len(self.table) + 1), self.resolution)

    def _steps(self, dt: float) -> dict[str, int]:
        unit = whole(self.resolution, dt, "the resolution of procedural delays")
        return dict(least=self.least * unit, stride=unit)

    def longest(self, *, dt: float) -> int:
        """The longest delay in steps of `dt` ms."""
        steps = self._steps(dt)
        return steps["least"] + steps["stride"] * len(self.table)

    def init(self, *, dt: float, dtype: Any = None) -> Float[Array, "rows post"]:
        """An empty ring, for steps of `dt` ms: row k mod rows is what arrives in step k."""
        return jnp.zeros((self.longest(dt=dt) + 1, self.n_post), dtype)

    def __call__(
        self, ring: Float[Array, "rows post"], spikes: Float[Array, " pre"], k: Any, *, dt: float
    ) -> Float[Array, "rows post"]:
        """The ring after step k: with the `spikes` that leave in it, and without what arrived in it."""
        c = self.connect
        parts = [(part * spikes).astype(ring.dtype) for part in c.parts]
        sent = parts[0] if len(parts) == 1 else jnp.stack(parts, axis=-1)
        steps, k = self._steps(dt), jnp.asarray(k, jnp.int32)
        ring = ops.procedural_send(ring, sent, c.seed, c.table, self.table, k, c.pattern, c.noise, **steps)
        # Afterwards: no delay leads to this row. XLA would copy a ring that changes between a loop and the kernel.
        zeros, now = jnp.zeros(self.n_post, ring.dtype), jax.lax.rem(k, jnp.int32(ring.shape[0]))
        return jax.lax.dynamic_update_index_in_dim(ring, zeros, now, 0)

    def as_dense(self, *, dt: float) -> Float[Array, "steps pre post"]:
        """One matrix for each delay of 1, 2, ... steps of `dt` ms."""
        c, (targets, weight) = self.connect, self.connect.synapses()
        steps = ops.procedural_delays(c.seed, self.table, c.pattern, **self._steps(dt))[:, : targets.shape[1]]
        rows = jnp.broadcast_to(jnp.arange(self.n_pre, dtype=jnp.int32)[:, None], targets.shape)
        dense = jnp.zeros((self.longest(dt=dt), self.n_pre, self.n_post), weight.dtype)
        return dense.at[steps - 1, rows, targets].add(weight)


_MOST = 1 << 16  # different delays


def _distribution(delay: Any, resolution: float) -> tuple[int, np.ndarray]:
    """The least delay in units of the resolution, and for each longer one the 32-bit word from which on it is drawn."""
    below, low, high = _cumulative(delay)
    # As `rounded_delays` rounds them: u is drawn for delays from (u - 1/2) units on.
    first, last = (math.floor(x / resolution + 0.5 + 1e-9) for x in (low, high))
    if last - first >= _MOST:
        raise ValueError(
            f"procedural delays: {last - first + 1:,} different ones are too many; round with `resolution`"
        )
    edges = (np.arange(first + 1, last + 1) - 0.5 - 1e-9) * resolution
    words = np.rint(np.array([below(x) for x in edges]) * 2.0**32)
    least = first + int(np.count_nonzero(words < 1))
    if least < 1:
        raise ValueError(f"procedural delays must be at least {resolution:g} ms once rounded to that, got {delay}")
    return least, words[(words >= 1) & (words <= 2.0**32 - 1)].astype(np.uint32)


def _cumulative(delay: Any) -> tuple[Callable[[float], float], float, float]:
    """The probability of a delay below x, and bounds: outside of them, all is rarer than one in 2**32."""
    if isinstance(delay, Normal):
        numbers = delay.mean, delay.sd
    elif isinstance(delay, Uniform):
        numbers = delay.low, delay.high
    elif callable(delay) or (not is_traced(delay) and in_ms(delay, "procedural delays").ndim):
        raise ValueError(
            "procedural delays must be a number, brainsim.Normal or brainsim.Uniform, not an array or function"
        )
    else:
        numbers = (delay, delay) if is_traced(delay) else (float(in_ms(delay, "procedural delays")),) * 2
    if any(is_traced(x) for x in numbers):
        raise ValueError("procedural delays are whole steps, so nothing has a derivative in them; give numbers")
    if not all(np.ndim(x) == 0 and math.isfinite(x) for x in numbers):
        raise ValueError(f"procedural delays must be given by single finite numbers, got {delay}")
    a, b = (float(x) for x in numbers)
    if not isinstance(delay, Normal):
        if not a <= b:
            raise ValueError(f"procedural delays: low must not be above high, got {a:g} and {b:g}")
        return lambda x: min(max((x - a) / (b - a), 0.0), 1.0) if b > a else float(x > a), a, b
    low, high = delay.low, delay.high
    if b < 0 or not low <= high:
        raise ValueError(
            f"procedural delays: sd must not be negative and low not above high, got {b:g}, {low:g}, {high:g}"
        )
    phi = lambda x: math.erfc((a - x) / b / math.sqrt(2)) / 2 if b > 0 else float(x > a)
    outside, mass = phi(low), phi(high) - phi(low)
    if (b > 0 and mass < 1e-6) or (b == 0 and not low <= a <= high):
        raise ValueError(f"procedural delays: next to nothing of mean {a:g} and sd {b:g} lies in [{low:g}, {high:g}]")
    below = lambda x: min(max((phi(x) - outside) / mass, 0.0), 1.0) if b > 0 else float(x > a)
    return below, max(low, a - 9 * b), min(high, a + 9 * b)
