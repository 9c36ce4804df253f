"""Stimuli: what can be given as `inputs=` besides a number, an array or a function of time."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from ._clock import LAST, first_step
from ._compat import is_traced, scan
from ._domain import below
from ._quantity import magnitude, shown
from ._typing import Param, check_key, param, static
from .ops import bernoulli_counts, poisson_counts


class AbstractInput(eqx.Module):
    """An input with one value per step, constant over the step."""

    @abstractmethod
    def at(self, k: Int[Array, ""], dt: float, n: int) -> Float[Array, " n"]:
        """The value in step k, from k·dt to (k + 1)·dt, for each of `n` units."""

    def prepare(self, *, dt: float) -> "AbstractInput":
        """The same input for steps of `dt` ms, with all that can be computed before the time loop computed."""
        return self

    def check(self, n: int) -> None:
        """**Raises:** `ValueError` if there are values for another number of units than `n`."""


def _gradient(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value == "pathwise"):
        return value
    raise ValueError(f"gradient must be None or 'pathwise', got {shown(value)}")


class AbstractProcess(AbstractInput):
    """Random events, independent for every neuron and step, at a rate that may be limited to a time window."""

    rate: eqx.AbstractVar[Param]
    weight: eqx.AbstractVar[Param]
    key: eqx.AbstractVar[Array]
    start: eqx.AbstractVar[Any]
    stop: eqx.AbstractVar[Any]
    gradient: eqx.AbstractVar[str | None]

    def __check_init__(self):
        check_key(self.key, f"{type(self).__name__}: key")
        below(self, "start", "stop", equal=True)

    @abstractmethod
    def counts(self, k: Int[Array, ""], mean: Array, n: int) -> Float[Array, " n"]:
        """The events of step k, for a mean of one value or one per neuron."""

    @abstractmethod
    def log_probability(self, counts: Array, mean: Array) -> Array:
        """The logarithm of the probability of each count."""

    def log_prob(self, steps: int, dt: float, n: int, *, first: int = 0) -> Float[Array, " n"]:
        r"""The logarithm of the probability of the events that each of `n` neurons gets in a number of steps.

        Its derivative is the score, which makes a gradient in the rate without bias of any function of the events, even
        one that has no derivative (Williams 1992, doi:10.1007/BF00992696):

        $$\frac{d}{d\lambda} E[f] = E\left[f \, \frac{d}{d\lambda} \log P_\lambda\right]$$

        The events are drawn again, and are the same: they depend on key, neuron and step only.

        **Arguments:**

        - `steps`: the number of steps.
        - `dt`: their length, ms.
        - `n`: the number of neurons.
        - `first`: the number of the first step, default 0; for a run that goes on, the steps before it.

        ```python
        >>> import brainsim as bs, jax, jax.numpy as jnp
        >>> drive = lambda rate: bs.Poisson(rate, key=jax.random.key(0))
        >>> def surrogate(rate, found):  # its derivative is an estimate of that of the mean of `found`
        ...     return (found * drive(rate).log_prob(200, dt=0.1, n=100)).mean()
        >>> found = jnp.ones(100)  # what a run of 200 steps with `drive(500.0)` gave for each neuron: here always 1
        >>> bool(abs(jax.grad(surrogate)(500.0, found)) < 0.003)
        True

        ```
        """

        prepared = self.prepare(dt=dt)

        @jax.checkpoint  # draws once more rather than keep all draws
        def add(total, k):
            mean = prepared.mean(k, dt)
            counts = jax.lax.stop_gradient(self.counts(k, mean, n))
            return total + self.log_probability(counts, jnp.broadcast_to(mean, (n,))), None

        numbers = jnp.asarray(first, jnp.uint32) + jnp.arange(steps, dtype=jnp.uint32)
        return scan(add, jnp.zeros(n, self.rate.dtype), numbers)[0]

    def prepare(self, *, dt):
        return _Windowed(self, first_step(self.start, dt), first_step(self.stop, dt))

    def check(self, n):
        _check_rows(n, rates=self.rate, weights=self.weight)

    def at(self, k, dt, n):
        return self.prepare(dt=dt).at(k, dt, n)


class _Windowed(AbstractInput):
    """A process with its window in steps."""

    process: AbstractProcess
    first: UInt32[Array, ""]
    end: UInt32[Array, ""]

    def mean(self, k: Array, dt: float) -> Array:
        """The expected number of events in step k."""
        k = k.astype(self.first.dtype)
        return jnp.where((k >= self.first) & (k < self.end), self.process.rate * (dt * 1e-3), 0)

    def at(self, k, dt, n):
        mean, weight = self.mean(k, dt), self.process.weight
        counts = self.process.counts(k, mean, n)
        if self.process.gradient == "pathwise":  # zero in value, the mean in derivative
            counts = counts + (mean - jax.lax.stop_gradient(mean))
        return weight * counts.astype(weight.dtype)


def _check_rows(n: int, **values: Array) -> None:
    """That what is not one number for all units is one for each of `n`."""
    for name, x in values.items():
        if x.ndim and x.shape not in ((1,), (n,)):
            raise ValueError(f"has {name} of shape {x.shape}, but there are {n} neurons")


def with_own_keys(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs by name; random ones that were given one key, with a key each.

    The first of them, by name, keeps it, and the i-th after it has `fold_in(key, i)`: so in any program, whether or not
    keys are traced in it.
    """
    own = dict(inputs)
    earlier: list[tuple[Any, Any]] = []
    for name in sorted(name for name, x in inputs.items() if isinstance(x, AbstractProcess)):
        key = inputs[name].key
        words = key if key.dtype == jnp.uint32 else jax.random.key_data(key)
        words = words if is_traced(words) else np.asarray(words)
        same = [(words == other).all() for kind, other in earlier if kind == (key.dtype, words.shape)]
        earlier.append(((key.dtype, words.shape), words))
        before = sum((jnp.asarray(x, jnp.int32) if is_traced(x) else int(x) for x in same), start=0)
        if is_traced(before):
            key = jnp.where(before > 0, jax.random.fold_in(key, before), key)
        elif before:
            key = jax.random.fold_in(key, before)
        own[name] = eqx.tree_at(lambda x: x.key, inputs[name], key)
    return own


class Poisson(AbstractProcess):
    """Events of independent Poisson processes, one per neuron: `weight` times a Poisson number in every step.

    The expected number is rate · dt, and the distribution is right to 2^-32 (see `brainsim.ops.poisson_counts`). A draw
    depends on the key, the neuron and the step only: not on how a run is split, batched or compiled.

    **Arguments:**

    - `rate`: Hz, a scalar or one value per neuron.
    - `weight`: of one event, in the unit of the receptor that it is given to.
    - `key`: `jax.random.key(seed)`. Inputs of a run that are given one key are independent all the same: the i-th after
      the first, by name, draws as if its key was `jax.random.fold_in(key, i)`.
    - `start`, `stop`: there are events in steps that begin at or after `start` and before `stop`, ms; default always.
    - `gradient`: what the derivative of a count with respect to the rate is. A count is a random integer: by default
      `None`, the derivative is zero. With `"pathwise"` it is that of its mean, dt; so the mean input has its true
      gradient, while that of its fluctuations is left out. For a gradient without bias, of whatever is done with the
      events, there is the score, the derivative of `log_prob`.

    **Raises:** `ValueError` for a negative rate, a `stop` before `start`, and an unknown `gradient`.

    ```python
    >>> import brainsim as bs, jax
    >>> cells = bs.Population(1000, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)))
    >>> drive = bs.Poisson(rate=8000.0, weight=40.0, key=jax.random.key(0))
    >>> run = bs.simulate(cells, 100.0, dt=0.1, inputs=dict(exc=drive), record=dict(spikes=True))

    ```
    """

    rate: Param = param(unit="Hz", doc="rate of each process", domain="[0, inf)")
    weight: Param = param(1.0, doc="weight of one event")
    key: Array = eqx.field(kw_only=True)
    start: Any = param(0.0, unit="ms", doc="first time of an event", domain="[-inf, inf)", double=True)
    stop: Any = param(np.inf, unit="ms", doc="end of the events", domain="[-inf, inf]", double=True)
    gradient: str | None = static(None, converter=_gradient)

    def counts(self, k, mean, n):
        return poisson_counts(self.key, k, mean, n)

    def log_probability(self, counts, mean):
        possible = mean > 0  # elsewhere nothing is drawn, with certainty
        mean = jnp.where(possible, mean, 1)
        return jnp.where(possible, counts * jnp.log(mean) - mean - jax.lax.lgamma(counts + 1), 0)


class Bernoulli(AbstractProcess):
    """At most one event in a step, with probability rate · dt: `weight` or 0, independently for each neuron and step.

    For spikes that are handed on one by one; for the summed input of many sources see `Poisson`, whose arguments it
    has. Where rate · dt exceeds 1 there is an event in every step.

    **Arguments:** as of `brainsim.Poisson`.

    **Raises:** `ValueError` for a negative rate, a `stop` before `start`, and an unknown `gradient`.

    ```python
    >>> import brainsim as bs, jax
    >>> cells = bs.Population(1000, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)))
    >>> drive = bs.Bernoulli(rate=100.0, weight=40.0, key=jax.random.key(0), start=20.0, stop=30.0)
    >>> run = bs.simulate(cells, 100.0, dt=0.1, inputs=dict(exc=drive), record=dict(spikes=True))

    ```
    """

    rate: Param = param(unit="Hz", doc="rate of each process", domain="[0, inf)")
    weight: Param = param(1.0, doc="weight of one event")
    key: Array = eqx.field(kw_only=True)
    start: Any = param(0.0, unit="ms", doc="first time of an event", domain="[-inf, inf)", double=True)
    stop: Any = param(np.inf, unit="ms", doc="end of the events", domain="[-inf, inf]", double=True)
    gradient: str | None = static(None, converter=_gradient)

    def counts(self, k, mean, n):
        return bernoulli_counts(self.key, k, mean, n)

    def log_probability(self, counts, mean):
        random = (mean > 0) & (mean < 1)
        mean = jnp.where(random, mean, 0.5)
        return jnp.where(random, jnp.log(jnp.where(counts > 0, mean, 1 - mean)), 0)


def _filled_up(times: Any) -> Any:
    """Times of events; of lists of such, one for each neuron, an array, filled up with infinite ones."""
    is_row = lambda x: isinstance(x, list | tuple) or np.ndim(x) == 1
    if not isinstance(times, list | tuple) or not any(map(is_row, times)):
        return times
    rows = [magnitude(row, "ms") for row in times]
    xp: Any = jnp if any(isinstance(x, jax.Array) for x in jax.tree.leaves(rows)) else np
    try:
        rows = [xp.atleast_1d(xp.asarray(row, float)) for row in rows]
        longest = max(len(row) for row in rows)
        return xp.stack([xp.pad(row, (0, longest - len(row)), constant_values=np.inf) for row in rows])
    except (TypeError, ValueError):
        raise ValueError(f"SpikeTrain: times must be a list of times or of such lists, got {shown(times)}") from None


class SpikeTrain(AbstractInput):
    """Events at given times (ms): an event at t arrives in the step that ends at t, as a spike stamped t would.

    **Arguments:**

    - `times`: in ms, positive. A list is for all neurons; a list of lists, or an array (n, m), has the times of each
      neuron. Infinite times stand for no event, and fill up rows of an array. Each is rounded up to the next multiple
      of dt. Numbers and NumPy arrays are kept in double precision; a JAX array stays one, which
      `brainsim.simulate_events` is differentiable in.
    - `weight`: of one event, in the unit of the receptor that it is given to.

    Events before a run begins or after it ends are those of other parts of a longer run: there is none of them in it.

    **Raises:** `ValueError` for a time that is not positive or NaN.

    ```python
    >>> import brainsim as bs
    >>> cells = bs.Population(2, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)))
    >>> train = bs.SpikeTrain([[3.0], [2.9, 3.0]], weight=100.0)
    >>> run = bs.simulate(cells, 10.0, dt=0.1, inputs=dict(exc=train), record=dict(i="exc.i"))
    >>> run["i"][28:30].round(2).tolist()
    [[0.0, 100.0], [100.0, 195.1199951171875]]

    ```
    """

    times: Any = param(unit="ms", doc="arrival times", domain="(0, inf]", double=True)
    weight: Param = param(1.0, doc="weight of one event")

    def __init__(self, times: Any, weight: Any = 1.0):
        self.times, self.weight = _filled_up(times), weight

    def __check_init__(self):
        if self.times.ndim > 2:
            raise ValueError(f"SpikeTrain: times must have shape (m,) or (n, m), got {self.times.shape}")

    def prepare(self, *, dt):
        xp: Any = jnp if is_traced(self.times) else np  # sorted once, outside of the program if possible
        steps = first_step(self.times, dt)
        steps = xp.where(steps < np.uint32(LAST), steps, 0)  # nothing arrives at the end of step 0
        order = xp.argsort(steps.ravel())
        neurons = None
        if steps.ndim == 2:
            rows = np.broadcast_to(np.arange(len(steps), dtype=np.int32)[:, None], steps.shape)
            neurons = jnp.asarray(rows.ravel()[order])
        blocks = steps.ravel()[order][None]
        if blocks.size > _BLOCK:
            blocks = xp.pad(blocks[0], (0, -blocks.size % _BLOCK), constant_values=np.uint32(LAST + 1))
            blocks = blocks.reshape(-1, _BLOCK)
        return _Arrivals(jnp.asarray(blocks), neurons, self.weight)

    def check(self, n):
        if self.times.ndim == 2 and len(self.times) != n:
            raise ValueError(f"has times for {len(self.times)} neurons, but there are {n}")
        _check_rows(n, weights=self.weight)

    def at(self, k, dt, n):
        self.check(n)
        return self.prepare(dt=dt).at(k, dt, n)


_BLOCK = 256  # events that are looked at one by one; of more, only the first of each block, and then one block


class _Arrivals(AbstractInput):
    """Events by the step at whose end they arrive, ascending, and, if not all are for all neurons, by the neuron."""

    steps: UInt32[Array, "blocks events"]
    neurons: Int[Array, " events"] | None
    weight: Param

    def at(self, k, dt, n):
        end, none = k.astype(self.steps.dtype) + 1, jnp.zeros(n, jnp.int32)
        if len(self.steps) == 1:
            here = (self.steps[0] == end).astype(jnp.int32)
            count = jnp.sum(here, dtype=jnp.int32) if self.neurons is None else none.at[self.neurons].add(here)
        else:
            first, last = self._before(end), self._before(end + 1)
            count = last - first
            if (neurons := self.neurons) is not None:
                count = jax.lax.fori_loop(first, last, lambda i, count: count.at[neurons[i]].add(1), none)
        return jnp.broadcast_to(self.weight * count.astype(self.weight.dtype), (n,))

    def _before(self, step: Array) -> Array:
        """The number of events before a step: in all blocks that end before it, and in the one that it falls into."""
        block = jnp.maximum(jnp.sum(self.steps[:, 0] < step, dtype=jnp.int32) - 1, 0)
        return block * _BLOCK + jnp.sum(self.steps[block] < step, dtype=jnp.int32)
