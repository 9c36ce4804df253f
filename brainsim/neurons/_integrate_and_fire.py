"""Integrate-and-fire neurons, as their papers have them."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._domain import below
from .._dynamics import AbstractNeuron
from .._surrogate import SuperSpike
from .._typing import Param, param


class V(NamedTuple):
    """The state of a neuron with a membrane potential only."""

    v: Float[Array, " n"]


class VW(NamedTuple):
    """Membrane potential and adaptation current."""

    v: Float[Array, " n"]
    w: Float[Array, " n"]


class VU(NamedTuple):
    """Membrane potential and recovery variable."""

    v: Float[Array, " n"]
    u: Float[Array, " n"]


def full(n: int, value: Array) -> Float[Array, " n"]:
    """`value`, a scalar or one value per unit, as an array of shape (n,)."""
    return jnp.broadcast_to(value, (n,))


class LIF(AbstractNeuron):
    """The leaky integrate-and-fire neuron.

        tau dv/dt = v_rest - v + (tau / c) I
        v >= v_th:  spike, v = v_reset, and v is held for t_ref

    **Arguments** (scalars or one value per neuron):

    - `c`: capacitance, default 250 pF.
    - `tau`: membrane time constant, default 10 ms.
    - `v_rest`: resting potential, default -70 mV.
    - `v_th`: threshold, default -55 mV.
    - `v_reset`: reset potential, default -70 mV.
    - `t_ref`: absolute refractory period, default 2 ms.
    - `surrogate`: pseudo-derivative of the spike, a function of v - v_th in mV.

    ```python
    >>> import brainsim as bs
    >>> run = bs.simulate(bs.Population(1, bs.LIF()), 20.0, dt=0.1, inputs=1000.0, record=dict(spikes=True))
    >>> bs.spike_times(run.spikes, run.dt)[0]
    array([ 4.8, 11.6, 18.4])

    ```

    Lapicque (1907), translated in Biological Cybernetics 97:341 (2007), doi:10.1007/s00422-007-0189-6.
    """

    c: Param = param(250.0, unit="pF", doc="capacitance", domain="(0, inf)")
    tau: Param = param(10.0, unit="ms", doc="membrane time constant", domain="(0, inf]")
    v_rest: Param = param(-70.0, unit="mV", doc="resting potential")
    v_th: Param = param(-55.0, unit="mV", doc="threshold", domain="(-inf, inf]")
    v_reset: Param = param(-70.0, unit="mV", doc="reset potential")
    t_ref: Param = param(2.0, unit="ms", doc="absolute refractory period", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)
    held: ClassVar[tuple[str, ...]] = ("v",)
    resets: ClassVar[bool] = True

    def __check_init__(self):
        below(self, "v_reset", "v_th")

    def init(self, n):
        return V(v=full(n, self.v_rest))

    def vector_field(self, t, y, args):
        return V(v=(self.v_rest - y.v) * (1 / self.tau) + args * (1 / self.c))  # 1 / tau: once, not once a neuron

    def guard(self, y):
        return y.v - self.v_th

    def reset(self, y):
        return V(v=full(y.v.shape[0], self.v_reset))


class AdEx(AbstractNeuron):
    """The adaptive exponential integrate-and-fire neuron.

        c dv/dt = -g_l (v - e_l) + g_l delta_t exp((v - v_t) / delta_t) - w + I
        tau_w dw/dt = a (v - e_l) - w
        v >= v_peak:  spike, v = v_reset, w = w + b, and v is held for t_ref

    **Arguments** (scalars or one value per neuron):

    - `c`: capacitance, default 281 pF.
    - `g_l`: leak conductance, default 30 nS.
    - `e_l`: leak reversal potential, default -70.6 mV.
    - `v_t`: threshold of the exponential (where dI/dv = 0), default -50.4 mV.
    - `delta_t`: slope factor, default 2 mV. With 0 there is no upstroke, and a spike is counted at v_t, as in NEST.
    - `a`: subthreshold adaptation, default 4 nS.
    - `b`: spike-triggered adaptation, default 80.5 pA.
    - `tau_w`: adaptation time constant, default 144 ms.
    - `v_reset`: reset potential, default -70.6 mV.
    - `v_peak`: where a spike is counted, default 0 mV.
    - `t_ref`: absolute refractory period, default 0 ms.
    - `surrogate`: pseudo-derivative of the spike, a function of v - v_peak in mV.

    The equations see at most v_peak + 2 delta_t: no trajectory of the hybrid system passes v_peak, and a step of a
    fixed-step solver that overshoots it stays finite. Where v_peak is above v_t + 40 delta_t a spike is counted there:
    from there the upstroke takes c / g_l exp(-40).

    By default a spike is late by about one or two steps, and so is everything after it: at dt 0.1 ms about 0.15 ms a
    spike. The errors are in the documentation of solvers; `brainsim.simulate_events` has none.

    ```python
    >>> import brainsim as bs
    >>> run = bs.simulate(bs.Population(1, bs.AdEx()), 100.0, dt=0.05, inputs=800.0, record=dict(spikes=True))
    >>> len(bs.spike_times(run.spikes, run.dt)[0])
    3

    ```

    Brette & Gerstner (2005), Journal of Neurophysiology 94:3637, doi:10.1152/jn.00686.2005.
    """

    c: Param = param(281.0, unit="pF", doc="capacitance", domain="(0, inf)")
    g_l: Param = param(30.0, unit="nS", doc="leak conductance", domain="[0, inf)")
    e_l: Param = param(-70.6, unit="mV", doc="leak reversal potential")
    v_t: Param = param(-50.4, unit="mV", doc="threshold of the exponential")
    delta_t: Param = param(2.0, unit="mV", doc="slope factor", domain="[0, inf)")
    a: Param = param(4.0, unit="nS", doc="subthreshold adaptation")
    b: Param = param(80.5, unit="pA", doc="spike-triggered adaptation")
    tau_w: Param = param(144.0, unit="ms", doc="adaptation time constant", domain="(0, inf]")
    v_reset: Param = param(-70.6, unit="mV", doc="reset potential")
    v_peak: Param = param(0.0, unit="mV", doc="peak potential, where a spike is counted")
    t_ref: Param = param(0.0, unit="ms", doc="absolute refractory period", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)
    held: ClassVar[tuple[str, ...]] = ("v",)
    resets: ClassVar[bool] = True

    def __check_init__(self):
        below(self, "v_reset", "peak")

    def init(self, n):
        return VW(v=full(n, self.e_l), w=jnp.zeros(n, self.e_l.dtype))

    def vector_field(self, t, y, args):
        v, w = jnp.minimum(y.v, self.peak + 2 * self.delta_t), y.w
        upstroke = self.g_l * self.delta_t * jnp.exp((v - self.v_t) / jnp.maximum(self.delta_t, 1e-6))
        dv = (-self.g_l * (v - self.e_l) + upstroke - w + args) / self.c
        dw = (self.a * (v - self.e_l) - w) / self.tau_w
        return VW(v=dv, w=dw)

    @property
    def peak(self) -> Array:
        """Where a spike is counted: `v_peak`, or below it, where the upstroke is exp(40) times as steep as at v_t."""
        return jnp.minimum(self.v_peak, self.v_t + 40 * self.delta_t)

    def guard(self, y):
        return y.v - self.peak

    def reset(self, y):
        return VW(v=full(y.v.shape[0], self.v_reset), w=y.w + self.b)


class Izhikevich(AbstractNeuron):
    """The simple model of a spiking neuron.

        dv/dt = 0.04 v² + 5 v + 140 - u + I
        du/dt = a (b v - u)
        v >= v_peak:  spike, v = c, u = u + d

    **Arguments** (scalars or one value per neuron):

    - `a`: rate of recovery, default 0.02 /ms.
    - `b`: sensitivity of the recovery, default 0.2 (1/ms per mV of v).
    - `c`: reset potential, default -65 mV.
    - `d`: jump of the recovery variable, default 8 mV/ms.
    - `v_peak`: where a spike is counted, default 30 mV.
    - `t_ref`: absolute refractory period, default 0 ms.
    - `surrogate`: pseudo-derivative of the spike, a function of v - v_peak in mV.

    The input of this dimensionless model is in mV/ms: a receptor's or an injected current is added as it is.

    ```python
    >>> import brainsim as bs, diffrax
    >>> cell = bs.Population(1, bs.Izhikevich())
    >>> run = bs.simulate(cell, 100.0, dt=0.1, inputs=10.0, solver=diffrax.Euler(), record=dict(spikes=True))
    >>> bs.spike_times(run.spikes, run.dt)[0]
    array([ 3.4, 27.1, 72.2])

    ```

    Izhikevich (2003), IEEE Transactions on Neural Networks 14:1569, doi:10.1109/TNN.2003.820440.
    """

    a: Param = param(0.02, unit="1/ms", doc="rate of recovery")
    b: Param = param(0.2, unit="1/ms", doc="sensitivity of the recovery to v")
    c: Param = param(-65.0, unit="mV", doc="reset potential")
    d: Param = param(8.0, unit="mV/ms", doc="jump of the recovery variable")
    v_peak: Param = param(30.0, unit="mV", doc="peak potential, where a spike is counted")
    t_ref: Param = param(0.0, unit="ms", doc="absolute refractory period", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)
    held: ClassVar[tuple[str, ...]] = ("v",)
    resets: ClassVar[bool] = True

    def __check_init__(self):
        below(self, "c", "v_peak")

    def init(self, n):
        return VU(v=full(n, self.c), u=full(n, self.b * self.c))

    def vector_field(self, t, y, args):
        v, u = y
        return VU(v=0.04 * v * v + 5 * v + 140 - u + args, u=self.a * (self.b * v - u))

    def guard(self, y):
        return y.v - self.v_peak

    def reset(self, y):
        return VU(v=full(y.v.shape[0], self.c), u=y.u + self.d)
