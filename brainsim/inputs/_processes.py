"""Random events, drawn anew by each step from a key, the neuron and the number of the step."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from .._clock import first_step
from .._compat import is_traced, scan
from .._domain import below
from .._quantity import shown
from .._typing import Param, check_key, param, static
from ..ops import bernoulli_counts, poisson_counts
from ._abstract import AbstractInput, check_rows


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
        check_rows(n, rates=self.rate, weights=self.weight)

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


def _repeated(key: Any, i: Any) -> Any:
    return jax.random.fold_in(jax.random.fold_in(key, 0x62730000), i)


def with_own_keys(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs by name; random ones that were given one key, with a key each.

    The first of them, by name, keeps it, and the i-th after it has `fold_in(fold_in(key, 0x62730000), i)`, which nobody
    makes by hand: so in any program, whether or not keys are traced in it.
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
            key = jnp.where(before > 0, _repeated(key, before), key)
        elif before:
            key = _repeated(key, before)
        own[name] = eqx.tree_at(lambda x: x.key, inputs[name], key)
    return own


class Poisson(AbstractProcess):
    """Events of independent Poisson processes, one per neuron: `weight` times a Poisson number in every step.

    The expected number is rate · dt, and the distribution is right to 2^-32 (see `brainsim.ops.poisson_counts`). A draw
    depends on the key, the neuron and the step only: not on how a run is split, batched or compiled.

    **Arguments:**

    - `rate`: Hz, a scalar or one value per neuron.
    - `weight`: of one event, in the unit of the receptor that it is given to.
    - `key`: `jax.random.key(seed)`. Inputs of a run that are given one key are independent all the same: each but
      the first, by name, has a key of its own, made of it and of how many had it before.
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
