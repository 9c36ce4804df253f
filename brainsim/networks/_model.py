"""What every function of this package returns."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .._network import Network
from .._typing import Param, check_key, param


class Model(NamedTuple):
    """A network and its drive: `net, inputs = bs.networks.coba()`, then `bs.simulate(net, 1000.0, 0.1, inputs)`.

    `network` is an ordinary `Network`: its weights and parameters can be read, replaced, swept and differentiated.
    `inputs` is a dict like any that `simulate` takes: change it, or add to it.
    """

    network: Network
    inputs: dict[str, Any]


class UniformStart(eqx.Module):
    """Initial values drawn uniformly from [low, high)."""

    low: Param = param()
    high: Param = param()

    def __call__(self, key: Array, n: int) -> Float[Array, " n"]:
        return jax.random.uniform(key, (n,), self.low.dtype, self.low, self.high)


class NormalStart(eqx.Module):
    """Initial values drawn from a normal distribution."""

    mean: Param = param()
    sd: Param = param()

    def __call__(self, key: Array, n: int) -> Float[Array, " n"]:
        return self.mean + self.sd * jax.random.normal(key, (n,), self.mean.dtype)


def seeded(key: Array | None) -> Array:
    """`key`, or that of seed 0."""
    if key is None:
        return jax.random.key(0)
    check_key(key, "key")
    return key
