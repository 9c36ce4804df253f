"""Stimuli: what can be given as `inputs=` besides a number, an array or a function of time."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._typing import Param, param


class AbstractInput(eqx.Module):
    """An input with one value per step, constant over the step."""

    @abstractmethod
    def at(self, k: Int[Array, ""], dt: float, n: int) -> Float[Array, " n"]:
        """The value in step k, from k·dt to (k + 1)·dt, for each of `n` units."""


class Poisson(AbstractInput):
    """Events of independent Poisson processes, one per neuron: `weight` times a Poisson number in every step.

    The expected number is rate · dt. A draw depends on the key, the neuron and the step only. It is a random integer:
    there is no gradient with respect to the rate.

    **Arguments:**

    - `rate`: Hz, a scalar or one value per neuron.
    - `weight`: of one event, in the unit of the receptor that it is given to.
    - `key`: `jax.random.key(seed)`.

    ```python
    >>> import brainsim as bs, jax
    >>> cells = bs.Population(1000, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)))
    >>> drive = bs.Poisson(rate=8000.0, weight=40.0, key=jax.random.key(0))
    >>> run = bs.simulate(cells, 100.0, dt=0.1, inputs=dict(exc=drive), record=dict(spikes=True))

    ```
    """

    rate: Param = param(unit="Hz", doc="rate of each process")
    weight: Param = param(1.0, doc="weight of one event")
    key: Array = eqx.field(kw_only=True)

    def at(self, k, dt, n):
        mean = jnp.broadcast_to(jax.lax.stop_gradient(self.rate) * (dt * 1e-3), (n,))
        counts = jax.random.poisson(jax.random.fold_in(self.key, k), mean, (n,))
        return self.weight * counts.astype(self.weight.dtype)


class SpikeTrain(AbstractInput):
    """Events at given times (ms): an event at t arrives in the step that ends at t, as a spike stamped t would.

    **Arguments:**

    - `times`: in ms, positive; each is rounded up to the next multiple of dt.
    - `weight`: of one event, in the unit of the receptor that it is given to.

    ```python
    >>> import brainsim as bs
    >>> cell = bs.Population(1, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)))
    >>> run = bs.simulate(cell, 10.0, dt=0.1, inputs=dict(exc=bs.SpikeTrain([3.0], weight=100.0)), record=dict(v="v"))
    >>> [round(float(v), 4) for v in run["v"][29:32, 0]]
    [-70.0, -69.9612, -69.9246]

    ```
    """

    times: Float[Array, " spikes"] = param(unit="ms", doc="arrival times")
    weight: Param = param(1.0, doc="weight of one event")

    def at(self, k, dt, n):
        steps = jnp.ceil(self.times / dt - 1e-3).astype(
            k.dtype
        )  # tolerant of times that are multiples of dt but for rounding
        count = jnp.sum(steps == k + 1).astype(self.weight.dtype)
        return jnp.broadcast_to(self.weight * count, (n,))
