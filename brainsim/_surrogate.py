"""Pseudo-derivatives of a spike: forwards the Heaviside step, backwards a smooth slope."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._typing import Param, param


@jax.custom_jvp
def _heaviside(x: Float[Array, "..."], slope: Float[Array, "..."]) -> Float[Array, "..."]:
    return (x >= 0).astype(x.dtype)


@_heaviside.defjvp
def _heaviside_jvp(primals, tangents):
    x, slope = primals
    return _heaviside(x, slope), slope * tangents[0]


class AbstractSurrogate(eqx.Module):
    """`surrogate(x)` is 1 where x >= 0 and 0 elsewhere; its derivative is taken to be `surrogate.derivative(x)`."""

    beta: eqx.AbstractVar[Param]

    @abstractmethod
    def derivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The pseudo-derivative at guard value `x`."""

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return _heaviside(x, self.derivative(x))


class SuperSpike(AbstractSurrogate):
    """The SuperSpike slope 1/(1 + beta |x|)², of height 1; what neurons have by default.

    **Arguments:**

    - `beta`: steepness, default 100/mV. The paper's 1/mV lets feed-forward networks learn from neurons far below
      threshold; in a recurrent network gradients then overflow within tens of ms.

    ```python
    >>> import brainsim as bs, jax, jax.numpy as jnp
    >>> spike = bs.SuperSpike(beta=1.0)
    >>> float(spike(jnp.array(-1.0))), float(jax.grad(spike)(jnp.array(-1.0)))
    (0.0, 0.25)

    ```

    Zenke & Ganguli (2018), Neural Computation 30:1514, doi:10.1162/neco_a_01086.
    """

    beta: Param = param(100.0, unit="1/mV", doc="steepness")

    def derivative(self, x):
        return 1 / (1 + self.beta * jnp.abs(x)) ** 2


class FastSigmoid(AbstractSurrogate):
    """The slope of the fast sigmoid (1 + beta x / (1 + beta |x|)) / 2, which has area 1: beta / (2 (1 + beta |x|)²).

    **Arguments:**

    - `beta`: steepness, default 1/mV.

    Neftci, Mostafa & Zenke (2019), IEEE Signal Processing Magazine 36:51, doi:10.1109/MSP.2019.2931595.
    """

    beta: Param = param(1.0, unit="1/mV", doc="steepness")

    def derivative(self, x):
        return 0.5 * self.beta / (1 + self.beta * jnp.abs(x)) ** 2


class ArcTan(AbstractSurrogate):
    """The slope of arctan(pi beta x / 2) / pi + 1/2: (beta / 2) / (1 + (pi beta x / 2)²).

    **Arguments:**

    - `beta`: steepness, default 1/mV.

    Fang et al. (2021), ICCV, doi:10.1109/ICCV48922.2021.00266.
    """

    beta: Param = param(1.0, unit="1/mV", doc="steepness")

    def derivative(self, x):
        return 0.5 * self.beta / (1 + (0.5 * jnp.pi * self.beta * x) ** 2)


class Triangle(AbstractSurrogate):
    """A triangle of compact support: beta max(0, 1 - beta |x|), of area 1; zero farther than 1/beta from threshold.

    **Arguments:**

    - `beta`: steepness, default 1/mV.

    Esser et al. (2016), PNAS 113:11441, doi:10.1073/pnas.1604850113;
    Bellec et al. (2018), NeurIPS, arXiv:1803.09574.
    """

    beta: Param = param(1.0, unit="1/mV", doc="steepness")

    def derivative(self, x):
        return self.beta * jnp.maximum(1 - self.beta * jnp.abs(x), 0)


class Gaussian(AbstractSurrogate):
    """The slope of a Gaussian error function, of area 1: beta exp(-(beta x)² / 2) / sqrt(2 pi).

    **Arguments:**

    - `beta`: steepness (one over the standard deviation), default 1/mV.

    Yin, Corradi & Bohté (2021), Nature Machine Intelligence 3:905, doi:10.1038/s42256-021-00397-w.
    """

    beta: Param = param(1.0, unit="1/mV", doc="steepness")

    def derivative(self, x):
        return self.beta * jnp.exp(-0.5 * (self.beta * x) ** 2) / jnp.sqrt(2 * jnp.pi).astype(x.dtype)
