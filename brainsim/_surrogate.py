"""Pseudo-derivatives of a spike: forwards the Heaviside step, backwards a smooth slope."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from . import _compat
from ._module import Module
from ._typing import Param, param


def _spike_jvp(primals, tangents):
    out = _spike.bind(*primals)
    change = tangents[0]
    return out, change if isinstance(change, _compat.Zero) else primals[1] * change


# A primitive, and not a `jax.custom_jvp`: JAX forgets the rule of that where it computes something again, so that
# Hessian-vector products would depend on checkpointing.
_spike = _compat.define_primitive(
    "brainsim_spike",
    abstract=lambda x, slope: _compat.ShapedArray(x.shape, x.dtype),
    reference=lambda x, slope: (x >= 0).astype(x.dtype),
    jvp=_spike_jvp,
)


class AbstractSurrogate(Module):
    """`surrogate(x)` is 1 where x >= 0 and 0 elsewhere; its derivative is taken to be `surrogate.derivative(x)`."""

    beta: eqx.AbstractVar[Param]

    @abstractmethod
    def derivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The pseudo-derivative at guard value `x`."""

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return _spike.bind(x, jnp.broadcast_to(self.derivative(x), x.shape))


class AbstractCompactSurrogate(AbstractSurrogate):
    """A surrogate whose pseudo-derivative is zero away from threshold: reverse mode skips neurons there."""

    @abstractmethod
    def support(self, x: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Where the pseudo-derivative may differ from zero: everywhere that it does, and hardly elsewhere."""


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

    beta: Param = param(100.0, unit="1/mV", doc="steepness", domain="(0, inf)")

    def derivative(self, x):
        return 1 / (1 + self.beta * jnp.abs(x)) ** 2


class FastSigmoid(AbstractSurrogate):
    """The slope of the fast sigmoid (1 + beta x / (1 + beta |x|)) / 2, which has area 1: beta / (2 (1 + beta |x|)²).

    **Arguments:**

    - `beta`: steepness, default 1/mV.

    Neftci, Mostafa & Zenke (2019), IEEE Signal Processing Magazine 36:51, doi:10.1109/MSP.2019.2931595.
    """

    beta: Param = param(1.0, unit="1/mV", doc="steepness", domain="(0, inf)")

    def derivative(self, x):
        return 0.5 * self.beta / (1 + self.beta * jnp.abs(x)) ** 2


class ArcTan(AbstractSurrogate):
    """The slope of arctan(pi beta x / 2) / pi + 1/2: (beta / 2) / (1 + (pi beta x / 2)²).

    **Arguments:**

    - `beta`: steepness, default 1/mV.

    Fang et al. (2021), ICCV, doi:10.1109/ICCV48922.2021.00266.
    """

    beta: Param = param(1.0, unit="1/mV", doc="steepness", domain="(0, inf)")

    def derivative(self, x):
        return 0.5 * self.beta / (1 + (0.5 * jnp.pi * self.beta * x) ** 2)


class Triangle(AbstractCompactSurrogate):
    """A triangle of compact support: area · beta max(0, 1 - beta |x|); zero farther than 1/beta from threshold.

    In a network reverse mode leaves out the neurons that are so far from threshold, so it is much faster than with a
    surrogate that is positive everywhere.

    **Arguments:**

    - `beta`: steepness, default 1/mV.
    - `area`: of the triangle, default 1. Gradients of recurrent networks need less to stay finite: 1/beta makes the
        height 1.

    ```python
    >>> import brainsim as bs, jax, jax.numpy as jnp
    >>> jax.vmap(jax.grad(bs.Triangle(beta=2.0, area=0.5)))(jnp.array([-0.6, -0.25, 0.0])).tolist()
    [0.0, 0.5, 1.0]

    ```

    Esser et al. (2016), PNAS 113:11441, doi:10.1073/pnas.1604850113;
    Bellec et al. (2018), NeurIPS, arXiv:1803.09574.
    """

    beta: Param = param(1.0, unit="1/mV", doc="steepness", domain="(0, inf)")

    area: Param = param(1.0, doc="area under the slope", domain="[0, inf)")

    def derivative(self, x):
        return self.area * self.beta * jnp.maximum(1 - self.beta * jnp.abs(x), 0)

    def support(self, x):
        return self.beta * jnp.abs(x) <= 1


class Gaussian(AbstractSurrogate):
    """The slope of a Gaussian error function, of area 1: beta exp(-(beta x)² / 2) / sqrt(2 pi).

    **Arguments:**

    - `beta`: steepness (one over the standard deviation), default 1/mV.

    Yin, Corradi & Bohté (2021), Nature Machine Intelligence 3:905, doi:10.1038/s42256-021-00397-w.
    """

    beta: Param = param(1.0, unit="1/mV", doc="steepness", domain="(0, inf)")

    def derivative(self, x):
        return self.beta * jnp.exp(-0.5 * (self.beta * x) ** 2) / jnp.sqrt(2 * jnp.pi).astype(x.dtype)
