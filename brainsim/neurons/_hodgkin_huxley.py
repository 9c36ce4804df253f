"""The Hodgkin-Huxley membrane: the squid giant axon, and cells of the hippocampus and the neocortex."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._dynamics import AbstractNeuron
from .._numerics import exprel
from .._surrogate import SuperSpike
from .._typing import Param, param
from ._integrate_and_fire import full


class VMHN(NamedTuple):
    """Membrane potential and the open probabilities of the gates."""

    v: Float[Array, " n"]
    m: Float[Array, " n"]
    h: Float[Array, " n"]
    n: Float[Array, " n"]


def rates(v: Float[Array, " n"]) -> dict[str, tuple[Array, Array]]:
    """Opening and closing rates (1/ms, at 6.3 degC) of the squid axon's gates at potential `v` (mV)."""
    return dict(
        m=(exprel((v + 40) / 10), 4 * jnp.exp(-(v + 65) / 18)),
        h=(0.07 * jnp.exp(-(v + 65) / 20), 1 / (1 + jnp.exp(-(v + 35) / 10))),
        n=(0.1 * exprel((v + 55) / 10), 0.125 * jnp.exp(-(v + 65) / 80)),
    )


class HH(AbstractNeuron):
    """The squid giant axon of Hodgkin and Huxley, as a point.

        c dv/dt = -g_na m³ h (v - e_na) - g_k n⁴ (v - e_k) - g_l (v - e_l) + I
        dx/dt = alpha_x(v) (1 - x) - beta_x(v) x        for x = m, h, n
        spike where v crosses v_th upwards

    **Arguments** (scalars or one value per neuron), per membrane area; the input current is in uA/cm2:

    - `c`: capacitance, default 1 uF/cm2.
    - `g_na`, `g_k`, `g_l`: maximal conductances, default 120, 36, 0.3 mS/cm2.
    - `e_na`, `e_k`, `e_l`: reversal potentials, default 50, -77, -54.3 mV.
    - `v_init`: initial potential, with the gates at their steady state there, default -65 mV.
    - `v_th`: where an action potential is counted, default 0 mV.
    - `t_ref`: no second spike is counted for so long, default 0 ms.
    - `surrogate`: pseudo-derivative of the spike, a function of v - v_th in mV.

    ```python
    >>> import brainsim as bs
    >>> run = bs.simulate(bs.Population(1, bs.HH()), 50.0, dt=0.01, inputs=10.0, record=dict(spikes=True))
    >>> len(bs.spike_times(run.spikes, run.dt)[0])
    4

    ```

    Hodgkin & Huxley (1952), Journal of Physiology 117:500, doi:10.1113/jphysiol.1952.sp004764; potentials in the
    modern convention (shifted by -65 mV).
    """

    c: Param = param(1.0, unit="uF/cm2", doc="capacitance", domain="(0, inf)")
    g_na: Param = param(120.0, unit="mS/cm2", doc="sodium conductance", domain="[0, inf)")
    g_k: Param = param(36.0, unit="mS/cm2", doc="potassium conductance", domain="[0, inf)")
    g_l: Param = param(0.3, unit="mS/cm2", doc="leak conductance", domain="[0, inf)")
    e_na: Param = param(50.0, unit="mV", doc="sodium reversal potential")
    e_k: Param = param(-77.0, unit="mV", doc="potassium reversal potential")
    e_l: Param = param(-54.3, unit="mV", doc="leak reversal potential")
    v_init: Param = param(-65.0, unit="mV", doc="initial potential")
    v_th: Param = param(0.0, unit="mV", doc="where an action potential is counted", domain="(-inf, inf]")
    t_ref: Param = param(0.0, unit="ms", doc="no second spike is counted for so long", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)
    held: ClassVar[tuple[str, ...]] = ()
    resets: ClassVar[bool] = False

    def init(self, n):
        v = full(n, self.v_init)
        return VMHN(v=v, **{x: alpha / (alpha + beta) for x, (alpha, beta) in rates(v).items()})

    def vector_field(self, t, y, args):
        v, m, h, n = y
        i_na = self.g_na * m**3 * h * (v - self.e_na)
        i_k = self.g_k * n**4 * (v - self.e_k)
        i_l = self.g_l * (v - self.e_l)
        gates = {x: alpha * (1 - getattr(y, x)) - beta * getattr(y, x) for x, (alpha, beta) in rates(v).items()}
        return VMHN(v=(-i_na - i_k - i_l + args) / self.c, **gates)

    def guard(self, y):
        return y.v - self.v_th

    def reset(self, y):
        return y


def traub_rates(u: Float[Array, " n"]) -> dict[str, tuple[Array, Array]]:
    """Opening and closing rates (1/ms) of the gates of Traub and Miles, `u` mV above v_t.

    `exprel` stands for x / (exp(x) - 1), so that no rate has a hole where its numerator is zero.
    """
    return dict(
        m=(1.28 * exprel((u - 13) / 4), 1.4 * exprel((40 - u) / 5)),
        h=(0.128 * jnp.exp((17 - u) / 18), 4 / (1 + jnp.exp((40 - u) / 5))),
        n=(0.16 * exprel((u - 15) / 5), 0.5 * jnp.exp((10 - u) / 40)),
    )


class HHTraub(AbstractNeuron):
    """A Hodgkin-Huxley cell with the sodium and potassium currents of Traub and Miles, of a whole cell.

        c dv/dt = -g_l (v - e_l) - g_na m³ h (v - e_na) - g_k n⁴ (v - e_k) + I
        dx/dt = alpha_x(v) (1 - x) - beta_x(v) x        for x = m, h, n, with u = v - v_t:

        alpha_m = 0.32 (13 - u) / (exp((13 - u) / 4) - 1)       beta_m = 0.28 (u - 40) / (exp((u - 40) / 5) - 1)
        alpha_h = 0.128 exp((17 - u) / 18)                      beta_h = 4 / (1 + exp((40 - u) / 5))
        alpha_n = 0.032 (15 - u) / (exp((15 - u) / 5) - 1)      beta_n = 0.5 exp((10 - u) / 40)

        spike where v crosses v_th upwards

    **Arguments** (scalars or one value per neuron):

    - `c`: capacitance, default 200 pF.
    - `g_l`, `g_na`, `g_k`: leak and maximal conductances, default 10, 20000, 6000 nS.
    - `e_l`, `e_na`, `e_k`: reversal potentials, default -60, 50, -90 mV.
    - `v_t`: shifts the rates along the potential, and with them the threshold, default -63 mV.
    - `v_init`: initial potential, with the gates at their steady state there, default -60 mV.
    - `v_th`: where an action potential is counted, default -20 mV.
    - `t_ref`: no second spike is counted for so long, default 0 ms.
    - `surrogate`: pseudo-derivative of the spike, a function of v - v_th in mV.

    The default solver is of first order: in 200 ms at dt 0.1 ms a cell that fires at 85 Hz is 16 ms late. With
    `solver=diffrax.Heun()` and dt 0.025 ms it is right to 0.05 ms; see the documentation of solvers.

    ```python
    >>> import brainsim as bs
    >>> run = bs.simulate(bs.Population(1, bs.HHTraub()), 50.0, dt=0.01, inputs=500.0, record=dict(spikes=True))
    >>> len(bs.spike_times(run.spikes, run.dt)[0])
    4

    ```

    Traub & Miles (1991), Neuronal Networks of the Hippocampus, Cambridge University Press, in the form of benchmark 3
    of Brette et al. (2007), Journal of Computational Neuroscience 23:349, doi:10.1007/s10827-007-0038-6.
    """

    c: Param = param(200.0, unit="pF", doc="capacitance", domain="(0, inf)")
    g_l: Param = param(10.0, unit="nS", doc="leak conductance", domain="[0, inf)")
    g_na: Param = param(20000.0, unit="nS", doc="sodium conductance", domain="[0, inf)")
    g_k: Param = param(6000.0, unit="nS", doc="potassium conductance", domain="[0, inf)")
    e_l: Param = param(-60.0, unit="mV", doc="leak reversal potential")
    e_na: Param = param(50.0, unit="mV", doc="sodium reversal potential")
    e_k: Param = param(-90.0, unit="mV", doc="potassium reversal potential")
    v_t: Param = param(-63.0, unit="mV", doc="shift of the rates")
    v_init: Param = param(-60.0, unit="mV", doc="initial potential")
    v_th: Param = param(-20.0, unit="mV", doc="where an action potential is counted", domain="(-inf, inf]")
    t_ref: Param = param(0.0, unit="ms", doc="no second spike is counted for so long", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)
    held: ClassVar[tuple[str, ...]] = ()
    resets: ClassVar[bool] = False

    def init(self, n):
        v = full(n, self.v_init)
        return VMHN(v=v, **{x: alpha / (alpha + beta) for x, (alpha, beta) in traub_rates(v - self.v_t).items()})

    def vector_field(self, t, y, args):
        v, m, h, n = y
        i_l = self.g_l * (v - self.e_l)
        i_na = self.g_na * m**3 * h * (v - self.e_na)
        i_k = self.g_k * n**4 * (v - self.e_k)
        rates = traub_rates(v - self.v_t)
        gates = {x: alpha * (1 - getattr(y, x)) - beta * getattr(y, x) for x, (alpha, beta) in rates.items()}
        return VMHN(v=(-i_l - i_na - i_k + args) / self.c, **gates)

    def guard(self, y):
        return y.v - self.v_th

    def reset(self, y):
        return y
