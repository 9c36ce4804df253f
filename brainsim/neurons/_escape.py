"""Neurons with escape noise: between spikes they flow, and when they spike is a matter of chance.

A hazard takes the place of the threshold. Given the spikes that were recorded, the likelihood of a recording is then
smooth in every parameter (`brainsim.losses.spike_log_likelihood`).
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._dynamics import AbstractNeuron
from .._surrogate import SuperSpike
from .._typing import Param, State, param
from ._integrate_and_fire import V, full


class AbstractEscapeNeuron(AbstractNeuron):
    """A neuron that spikes in a step of length dt with probability 1 - exp(-hazard(y) dt), y the state at its end.

    `guard` remains the threshold of the neuron without noise, which is what `simulate` runs; the hazard is for the
    likelihood of recorded spikes. `stimulus_unit` is the unit of what drives it.

    Gerstner, Kistler, Naud & Paninski (2014), Neuronal Dynamics, chapter 9, doi:10.1017/CBO9781107447615.
    """

    stimulus_unit: eqx.AbstractClassVar[str]

    @abstractmethod
    def log_hazard(self, y: State) -> Float[Array, " n"]:
        """The logarithm of the rate, in 1/ms, at which a neuron in state `y` spikes."""

    @abstractmethod
    def drive(self, stimulus: Float[Array, " steps"], dt: float) -> Float[Array, " steps"]:
        """What of a stimulus, one sample a step, flows into the neuron: itself, or a function of its past."""

    def hazard(self, y: State) -> Float[Array, " n"]:
        """The rate, in 1/ms, at which a neuron in state `y` spikes."""
        return jnp.exp(self.log_hazard(y))


class EscapeLIF(AbstractEscapeNeuron):
    """The leaky integrate-and-fire neuron with exponential escape noise.

        tau dv/dt = v_rest - v + (tau / c) I
        hazard    = exp((v - v_th) / delta_u) / tau_0
        spike:      v = v_reset, and v is held for t_ref

    **Arguments** (scalars or one value per neuron):

    - `c`: capacitance, default 250 pF.
    - `tau`: membrane time constant, default 10 ms.
    - `v_rest`: resting potential, default -70 mV.
    - `v_th`: potential at which the hazard is 1 / tau_0, default -55 mV.
    - `v_reset`: reset potential, default -70 mV.
    - `delta_u`: softness of the threshold, default 1 mV.
    - `tau_0`: mean time to a spike at v_th, default 1 ms. Only v_th - delta_u log(tau_0) matters: free one of the two.
    - `t_ref`: absolute refractory period, default 2 ms.
    - `surrogate`: pseudo-derivative of the spike, a function of v - v_th in mV.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> cell = bs.neurons.EscapeLIF(delta_u=2.0)
    >>> [round(x, 3) for x in cell.hazard(cell.init(1)._replace(v=jnp.array([-57.0, -55.0]))).tolist()]
    [0.368, 1.0]

    ```

    Gerstner & van Hemmen (1992), Network 3:139, doi:10.1088/0954-898X_3_2_004; Plesser & Gerstner (2000), Neural
    Computation 12:367, doi:10.1162/089976600300015835.
    """

    c: Param = param(250.0, unit="pF", doc="capacitance", domain="(0, inf)")
    tau: Param = param(10.0, unit="ms", doc="membrane time constant", domain="(0, inf]")
    v_rest: Param = param(-70.0, unit="mV", doc="resting potential")
    v_th: Param = param(-55.0, unit="mV", doc="threshold, where the hazard is 1 / tau_0")
    v_reset: Param = param(-70.0, unit="mV", doc="reset potential")
    delta_u: Param = param(1.0, unit="mV", doc="softness of the threshold", domain="(0, inf)")
    tau_0: Param = param(1.0, unit="ms", doc="mean time to a spike at the threshold", domain="(0, inf)")
    t_ref: Param = param(2.0, unit="ms", doc="absolute refractory period", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)
    held: ClassVar[tuple[str, ...]] = ("v",)
    resets: ClassVar[bool] = True
    stimulus_unit: ClassVar[str] = "pA"

    def init(self, n):
        return V(v=full(n, self.v_rest))

    def vector_field(self, t, y, args):
        return V(v=(self.v_rest - y.v) * (1 / self.tau) + args * (1 / self.c))

    def guard(self, y):
        return y.v - self.v_th

    def log_hazard(self, y):
        return self.guard(y) / self.delta_u - jnp.log(self.tau_0)

    def drive(self, stimulus, dt):
        return stimulus

    def reset(self, y):
        return V(v=full(y.v.shape[0], self.v_reset))


class VWTheta(NamedTuple):
    """Membrane potential, adaptation current, and how far past spikes have moved the threshold."""

    v: Float[Array, " n"]
    w: Float[Array, " n"]
    theta: Float[Array, " n"]


class GIF(AbstractEscapeNeuron):
    """The generalised integrate-and-fire neuron: spikes leave a current and move the threshold.

        c dv/dt          = -g_l (v - e_l) - w + I
        tau_w dw/dt      = -w
        tau_t dtheta/dt  = -theta
        hazard           = exp((v - v_th - theta) / delta_v) / tau_0
        spike:             v = v_reset, w = w + b_w, theta = theta + b_t, and v is held for t_ref

    **Arguments** (scalars or one value per neuron):

    - `c`: capacitance, default 200 pF.
    - `g_l`: leak conductance, default 10 nS.
    - `e_l`: leak reversal potential, default -65 mV.
    - `v_th`: threshold at rest, default -45 mV.
    - `v_reset`: reset potential, default -60 mV.
    - `b_w`, `tau_w`: spike-triggered current and its time constant, default 20 pA and 100 ms.
    - `b_t`, `tau_t`: spike-triggered movement of the threshold and its time constant, default 5 mV and 30 ms.
    - `delta_v`: softness of the threshold, default 1 mV.
    - `tau_0`: mean time to a spike at the threshold, default 1 ms. Leave it fixed where v_th is free.
    - `t_ref`: absolute refractory period, default 4 ms.
    - `surrogate`: pseudo-derivative of the spike, a function of v - v_th - theta in mV.

    ```python
    >>> import brainsim as bs
    >>> cell = bs.neurons.GIF()
    >>> cell.reset(cell.reset(cell.init(1))).theta.tolist()
    [10.0]

    ```

    Mensi, Naud, Pozzorini, Avermann, Petersen & Gerstner (2012), Journal of Neurophysiology 107:1756,
    doi:10.1152/jn.00408.2011; Pozzorini, Mensi, Hagens, Naud, Koch & Gerstner (2015), PLoS Computational Biology
    11:e1004275, doi:10.1371/journal.pcbi.1004275.
    """

    c: Param = param(200.0, unit="pF", doc="capacitance", domain="(0, inf)")
    g_l: Param = param(10.0, unit="nS", doc="leak conductance", domain="[0, inf)")
    e_l: Param = param(-65.0, unit="mV", doc="leak reversal potential")
    v_th: Param = param(-45.0, unit="mV", doc="threshold at rest")
    v_reset: Param = param(-60.0, unit="mV", doc="reset potential")
    b_w: Param = param(20.0, unit="pA", doc="spike-triggered current")
    tau_w: Param = param(100.0, unit="ms", doc="time constant of the spike-triggered current", domain="(0, inf]")
    b_t: Param = param(5.0, unit="mV", doc="spike-triggered movement of the threshold")
    tau_t: Param = param(30.0, unit="ms", doc="time constant of the threshold", domain="(0, inf]")
    delta_v: Param = param(1.0, unit="mV", doc="softness of the threshold", domain="(0, inf)")
    tau_0: Param = param(1.0, unit="ms", doc="mean time to a spike at the threshold", domain="(0, inf)")
    t_ref: Param = param(4.0, unit="ms", doc="absolute refractory period", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)
    held: ClassVar[tuple[str, ...]] = ("v",)
    resets: ClassVar[bool] = True
    stimulus_unit: ClassVar[str] = "pA"

    def init(self, n):
        nothing = jnp.zeros(n, self.e_l.dtype)
        return VWTheta(v=full(n, self.e_l), w=nothing, theta=nothing)

    def vector_field(self, t, y, args):
        v = (-self.g_l * (y.v - self.e_l) - y.w + args) / self.c
        return VWTheta(v=v, w=-y.w / self.tau_w, theta=-y.theta / self.tau_t)

    def guard(self, y):
        return y.v - self.v_th - y.theta

    def log_hazard(self, y):
        return self.guard(y) / self.delta_v - jnp.log(self.tau_0)

    def drive(self, stimulus, dt):
        return stimulus

    def reset(self, y):
        return VWTheta(v=full(y.v.shape[0], self.v_reset), w=y.w + self.b_w, theta=y.theta + self.b_t)
