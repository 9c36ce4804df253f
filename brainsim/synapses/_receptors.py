"""Receptors: what a presynaptic event does to the neuron it arrives at.

The weight of an event is the peak of the current or conductance that it causes (for the delta receptors, the size of
the jump), as in NEST. Inhibition is a negative weight of a current, or a conductance with a low reversal potential.

The equations multiply by 1 / tau: XLA computes that once, and a quotient for every neuron.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._dynamics import AbstractReceptor
from .._numerics import phi1
from .._typing import Param, param


class Empty(NamedTuple):
    """No state."""


class I(NamedTuple):  # noqa: E742
    """A synaptic current (pA)."""

    i: Float[Array, " n"]


class G(NamedTuple):
    """A synaptic conductance (nS)."""

    g: Float[Array, " n"]


class IX(NamedTuple):
    """A synaptic current (pA) and the variable that drives it (pA/ms)."""

    i: Float[Array, " n"]
    x: Float[Array, " n"]


class GX(NamedTuple):
    """A synaptic conductance (nS) and the variable that drives it (nS/ms)."""

    g: Float[Array, " n"]
    x: Float[Array, " n"]


class DeltaCurrent(AbstractReceptor):
    """An event of weight w (mV) makes the membrane potential jump: v -> v + w.

    It has no parameters. While a neuron is refractory the jump is lost, as in NEST's `iaf_psc_delta`.

    ```python
    >>> import brainsim as bs
    >>> cell = bs.Population(1, bs.LIF(), dict(exc=bs.DeltaCurrent()))

    ```

    Brunel (2000), Journal of Computational Neuroscience 8:183, doi:10.1023/A:1008925309027.
    """

    def init(self, n):
        return Empty()

    def vector_field(self, t, y, args):
        return Empty()

    def current(self, y, v):
        return jnp.zeros_like(v)

    def receive(self, y, v, events):
        return y, v + events


class DeltaConductance(AbstractReceptor):
    """An infinitely short conductance: v -> e_rev + (v - e_rev) exp(-w).

    The weight w (dimensionless, not negative) is the integral of the conductance over the capacitance, ∫ g dt / c.
    While a neuron is refractory the jump is lost.

    **Arguments:**

    - `e_rev`: reversal potential, default 0 mV.

    Richardson (2004), Physical Review E 69:051918, doi:10.1103/PhysRevE.69.051918 (conductance shot noise).
    """

    e_rev: Param = param(0.0, unit="mV", doc="reversal potential")

    def init(self, n):
        return Empty()

    def vector_field(self, t, y, args):
        return Empty()

    def current(self, y, v):
        return jnp.zeros_like(v)

    def receive(self, y, v, events):
        return y, v + (self.e_rev - v) * events * phi1(-events)  # phi1: no event leaves v as it is, to the last bit


class ExpCurrent(AbstractReceptor):
    """A current that jumps by the weight w (pA) and decays: tau di/dt = -i.

    **Arguments:**

    - `tau`: decay time constant, default 5 ms.

    ```python
    >>> import brainsim as bs
    >>> cell = bs.Population(1, bs.LIF(), dict(exc=bs.ExpCurrent(tau=2.0)))

    ```

    Rotter & Diesmann (1999), Biological Cybernetics 81:381, doi:10.1007/s004220050570.
    """

    tau: Param = param(5.0, unit="ms", doc="decay time constant", domain="(0, inf]")

    def init(self, n):
        return I(i=jnp.zeros(n, self.tau.dtype))

    def vector_field(self, t, y, args):
        return I(i=-y.i * (1 / self.tau))

    def current(self, y, v):
        return y.i

    def receive(self, y, v, events):
        return I(i=y.i + events), v


class AlphaCurrent(AbstractReceptor):
    """A current i = w (t / tau) exp(1 - t / tau), with its peak w (pA) at tau: two stages of decay,

        di/dt = x - i / tau,    dx/dt = -x / tau,    an event adds w e / tau to x

    **Arguments:**

    - `tau`: time to peak, default 2 ms.

    Rotter & Diesmann (1999), Biological Cybernetics 81:381, doi:10.1007/s004220050570.
    """

    tau: Param = param(2.0, unit="ms", doc="time to peak", domain="(0, inf]")

    def init(self, n):
        zero = jnp.zeros(n, self.tau.dtype)
        return IX(i=zero, x=zero)

    def vector_field(self, t, y, args):
        return IX(i=y.x - y.i * (1 / self.tau), x=-y.x * (1 / self.tau))

    def current(self, y, v):
        return y.i

    def receive(self, y, v, events):
        return IX(i=y.i, x=y.x + events * (jnp.e / self.tau)), v


class ExpConductance(AbstractReceptor):
    """A conductance that jumps by the weight w (nS) and decays: tau dg/dt = -g, with current g (e_rev - v).

    **Arguments:**

    - `tau`: decay time constant, default 5 ms.
    - `e_rev`: reversal potential, default 0 mV.

    ```python
    >>> import brainsim as bs
    >>> receptors = dict(exc=bs.ExpConductance(tau=5.0, e_rev=0.0), inh=bs.ExpConductance(tau=10.0, e_rev=-80.0))

    ```

    Vogels & Abbott (2005), Journal of Neuroscience 25:10786, doi:10.1523/JNEUROSCI.3508-05.2005.
    """

    tau: Param = param(5.0, unit="ms", doc="decay time constant", domain="(0, inf]")
    e_rev: Param = param(0.0, unit="mV", doc="reversal potential")

    def init(self, n):
        return G(g=jnp.zeros(n, self.tau.dtype))

    def vector_field(self, t, y, args):
        return G(g=-y.g * (1 / self.tau))

    def current(self, y, v):
        return y.g * (self.e_rev - v)

    def receive(self, y, v, events):
        return G(g=y.g + events), v


class AlphaConductance(AbstractReceptor):
    """A conductance g = w (t / tau) exp(1 - t / tau), with its peak w (nS) at tau and current g (e_rev - v):

        dg/dt = x - g / tau,    dx/dt = -x / tau,    an event adds w e / tau to x

    **Arguments:**

    - `tau`: time to peak, default 2 ms.
    - `e_rev`: reversal potential, default 0 mV.

    Rall (1967), Journal of Neurophysiology 30:1138, doi:10.1152/jn.1967.30.5.1138.
    """

    tau: Param = param(2.0, unit="ms", doc="time to peak", domain="(0, inf]")
    e_rev: Param = param(0.0, unit="mV", doc="reversal potential")

    def init(self, n):
        zero = jnp.zeros(n, self.tau.dtype)
        return GX(g=zero, x=zero)

    def vector_field(self, t, y, args):
        return GX(g=y.x - y.g * (1 / self.tau), x=-y.x * (1 / self.tau))

    def current(self, y, v):
        return y.g * (self.e_rev - v)

    def receive(self, y, v, events):
        return GX(g=y.g, x=y.x + events * (jnp.e / self.tau)), v
