"""An auditory receptor neuron of an insect, from the level of a sound to spikes."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._surrogate import SuperSpike
from .._typing import Param, as_float, param
from ._escape import AbstractEscapeNeuron
from ._integrate_and_fire import full


class Receptor(NamedTuple):
    """The state of an auditory receptor.

    - `h`: fraction of transduction channels that are not inactivated.
    - `v`: receptor potential, mV from rest.
    - `a`: how far spikes have raised the threshold, mV.
    - `age`: time since the last spike, ms.
    """

    h: Float[Array, " n"]
    v: Float[Array, " n"]
    a: Float[Array, " n"]
    age: Float[Array, " n"]


class AuditoryReceptor(AbstractEscapeNeuron):
    """An auditory receptor neuron of a locust, driven by the level of a sound in dB.

        p          = 1 / (1 + exp(-(L(t - delay) - l_half) / l_slope))        channels opened by the sound
        tau_h h'   = 1 - h - k_h p h                                          and inactivated by being open
        tau_m v'   = r p h - v                                                receptor potential
        tau_a a'   = -a                                                       seconds-long adaptation
        age'       = 1
        q          = age^n_q / (age^n_q + t_q^n_q)                            recovery of excitability
        hazard     = rate_0 + q log(1 + exp((v - v_th - a) / delta_v)) / ms
        spike:       a = a + b_a, age = 0

    Being a ratio of open to recently open channels, p h answers to changes of the level more than to the level: the
    spike-triggered average of the sound has two phases. Spikes arise in the axon and leave the receptor potential
    alone. Nobody recorded that potential, so its scale is arbitrary: delta_v = 1 mV sets it, and is not to be fitted.

    The first equation has no state: `drive` makes p of a sound, and p is what flows into the neuron.

    **Arguments** (scalars or one value per neuron); the defaults are fitted to a recording:

    - `delay`: from sound to spike, default 6.5 ms.
    - `l_half`, `l_slope`: level at which half of the channels open, and how fast with level, default 83 and 3 dB.
    - `tau_h`, `k_h`: recovery from inactivation, default 6 ms, and how much faster open channels inactivate, default
      15.
    - `tau_m`: membrane time constant, default 2 ms.
    - `r`: receptor potential with all channels open, default 100 mV.
    - `v_th`, `delta_v`: threshold and its softness, default 5 and 1 mV.
    - `b_a`, `tau_a`: rise of the threshold with each spike, and its decay, default 0.01 mV and 3500 ms.
    - `t_q`, `n_q`: time to half recovery after a spike, default 5.5 ms, and its steepness, default 6.
    - `rate_0`: rate of spikes that the sound does not explain, default 0.1 Hz.
    - `t_ref`: absolute refractory period, default 0 ms (recovery does its work).
    - `surrogate`: pseudo-derivative of the spike, a function of v - v_th - a in mV.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> cell = bs.neurons.AuditoryReceptor(delay=1.0)
    >>> level = jnp.array([63.0, 83.0, 83.0, 83.0, 83.0])  # dB
    >>> cell.drive(level, dt=0.5).round(2).tolist()
    [0.0, 0.0, 0.0, 0.5, 0.5]

    ```

    The chain of sound, receptor potential and spikes: Gollisch & Herz (2005), PLoS Biology 3:e8,
    doi:10.1371/journal.pbio.0030008; slow adaptation: Benda & Herz (2003), Neural Computation 15:2523,
    doi:10.1162/089976603322385063; the interpolation: Keys (1981), IEEE Transactions on Acoustics, Speech, and Signal
    Processing 29:1153, doi:10.1109/TASSP.1981.1163711.
    """

    delay: Param = param(6.5, unit="ms", doc="delay from sound to spike", domain="[0, inf)")
    l_half: Param = param(83.0, unit="dB", doc="sound level that opens half of the transduction channels")
    l_slope: Param = param(3.0, unit="dB", doc="range of levels over which channels open", domain="(0, inf)")
    tau_h: Param = param(6.0, unit="ms", doc="recovery of channels from inactivation", domain="(0, inf)")
    k_h: Param = param(15.0, unit="", doc="rate of inactivation of open channels, times tau_h", domain="[0, inf)")
    tau_m: Param = param(2.0, unit="ms", doc="membrane time constant", domain="(0, inf)")
    r: Param = param(100.0, unit="mV", doc="receptor potential with all channels open")
    v_th: Param = param(5.0, unit="mV", doc="threshold")
    delta_v: Param = param(
        1.0, unit="mV", doc="softness of the threshold, the scale of the potential", domain="(0, inf)"
    )
    b_a: Param = param(0.01, unit="mV", doc="rise of the threshold with each spike")
    tau_a: Param = param(3500.0, unit="ms", doc="time constant of slow adaptation", domain="(0, inf]")
    t_q: Param = param(5.5, unit="ms", doc="time to half recovery of excitability after a spike", domain="(0, inf)")
    n_q: Param = param(6.0, unit="", doc="steepness of that recovery", domain="(0, inf)")
    rate_0: Param = param(0.1, unit="Hz", doc="rate of spikes that the sound does not explain", domain="[0, inf)")
    t_ref: Param = param(0.0, unit="ms", doc="absolute refractory period", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)
    held: ClassVar[tuple[str, ...]] = ()
    resets: ClassVar[bool] = False
    stimulus_unit: ClassVar[str] = "dB"

    def init(self, n):
        dtype = self.v_th.dtype
        long_ago = jnp.full(n, 1000.0, dtype)
        return Receptor(h=jnp.ones(n, dtype), v=jnp.zeros(n, dtype), a=jnp.zeros(n, dtype), age=long_ago)

    def vector_field(self, t, y, args):
        return Receptor(
            h=(1 - y.h - self.k_h * args * y.h) * (1 / self.tau_h),
            v=(self.r * args * y.h - y.v) * (1 / self.tau_m),
            a=-y.a * (1 / self.tau_a),
            age=jnp.ones_like(y.age),
        )

    def guard(self, y):
        return y.v - self.v_th - y.a

    def log_hazard(self, y):
        recovered = jax.nn.sigmoid(self.n_q * jnp.log(jnp.maximum(y.age, 1e-3) / self.t_q))
        driven = recovered * jax.nn.softplus(self.guard(y) / self.delta_v)
        return jnp.log(1e-3 * self.rate_0 + driven)

    def drive(self, stimulus, dt):
        return jax.nn.sigmoid((later(stimulus, self.delay / dt) - self.l_half) / self.l_slope)

    def reset(self, y):
        return y._replace(a=y.a + self.b_a, age=full(y.age.shape[0], jnp.zeros_like(self.t_q)))


def later(x: Float[Array, " steps"], shift: Float[Array, ""]) -> Float[Array, " steps"]:
    """`x` delayed by `shift` steps, a real number, by cubic convolution: smooth in the shift. Before its start x stood.

    Keys (1981), doi:10.1109/TASSP.1981.1163711.
    """
    x, n = as_float(x), x.shape[0]
    whole = jnp.floor(jax.lax.stop_gradient(shift))
    f = shift - whole
    weights = (
        0.5 * f * (-1 + f * (2 - f)),
        0.5 * (2 + f * f * (-5 + 3 * f)),
        0.5 * f * (1 + f * (4 - 3 * f)),
        0.5 * f * f * (f - 1),
    )
    k = jnp.arange(n, dtype=jnp.int32) - whole.astype(jnp.int32)
    return jnp.stack(weights) @ jnp.stack([x[jnp.clip(k + 1 - j, 0, n - 1)] for j in range(4)])
