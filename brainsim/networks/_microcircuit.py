"""The cortical microcircuit of Potjans and Diesmann (2014)."""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from .._doors import choice
from .._network import Network
from .._population import Population
from .._projection import Projection
from .._typing import number, truth
from ..inputs import Bernoulli, Poisson
from ..neurons import LIF
from ..synapses import DeltaCurrent, ExpCurrent, FixedTotalNumber, Normal
from ._model import Model, NormalStart, seeded

# The paper's tables 4 and 5; rows and columns in the order of POPULATIONS, probabilities [target][source].
POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = (20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948)
PROBABILITIES = (
    (0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0),
    (0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0),
    (0.0077, 0.0059, 0.0497, 0.135, 0.0067, 0.0003, 0.0453, 0.0),
    (0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0),
    (0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0),
    (0.0548, 0.0269, 0.0257, 0.0022, 0.06, 0.3158, 0.0086, 0.0),
    (0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252),
    (0.0364, 0.001, 0.0034, 0.0005, 0.0277, 0.008, 0.0658, 0.1443),
)
EXTERNAL = (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100)  # synapses per neuron from outside
EXTERNAL_RATE = 8.0  # Hz
THALAMUS = 902
THALAMIC_PROBABILITIES = dict(L4E=0.0983, L4I=0.0619, L6E=0.0512, L6I=0.0196)
# Mean rates of the full network (NEST, one seed), Hz: what down-scaling keeps the mean input of.
RATES = (0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829)
# Initial potentials near the stationary distribution, mean and standard deviation, mV.
START_MEAN = (-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43)
START_SD = (5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48)

C, TAU, TAU_SYN = 250.0, 10.0, 0.5  # pF, ms, ms
PSP, G, WEIGHT_SD = 0.15, 4.0, 0.1  # mV; inhibition relative to excitation; standard deviation relative to the mean
DELAY_E, DELAY_I, DELAY_SD = 1.5, 0.75, 0.5  # ms; standard deviation relative to the mean


def microcircuit(
    scale: float = 1.0,
    *,
    in_degree_scale: float | None = None,
    drive: str = "poisson",
    thalamus: bool = False,
    key: Array | None = None,
) -> Model:
    """The cortical microcircuit: the neurons under 1 mm² of cortex in four layers, 77,169 with 299 million synapses.

        tau dv/dt = v_rest - v + (tau / c) (i + I),    di/dt = -i / tau_syn,    v >= v_th: spike, v = v_rest for 2 ms

    with c 250 pF, tau 10 ms, v_rest -65 mV, v_th -50 mV, tau_syn 0.5 ms. Populations `"L23E"`, `"L23I"`, `"L4E"`,
    `"L4I"`, `"L5E"`, `"L5I"`, `"L6E"`, `"L6I"`, each with one receptor `"syn"`. Projections have exact numbers of
    synapses, which follow from the paper's connection probabilities; pre- and postsynaptic neurons are drawn
    independently, so that there are multapses. Weights are normal with a standard deviation of 10 % and do not change
    sign: 87.8 pA (a potential of 0.15 mV), twice that from L4E to L23E, and -4 times that from inhibitory neurons.
    Delays are normal, 1.5 ± 0.75 ms for excitatory and 0.75 ± 0.375 ms for inhibitory neurons, and at least 0.1 ms.

    **Arguments:**

    - `scale`: numbers of neurons, relative to the full ones.
    - `in_degree_scale`: synapses per neuron, relative to the full ones; default `scale`. Where it is less than 1,
      weights grow by 1/√in_degree_scale and a direct current makes up for the mean input that is missing, as in van
      Albada et al. (2015): rates stay, correlations and synchrony do not.
    - `drive`: `"poisson"`, background spikes at 8 Hz from 1500 to 2900 neurons, or `"dc"`, their mean as a current.
      Scaled down to a tenth, the network is silent with `"dc"`.
    - `thalamus`: whether there are 902 more neurons, population `"TC"`, that project to layers 4 and 6. Their input
      `"TC.syn"` makes each fire at 120 Hz from 700 to 710 ms; replace it for another stimulus.
    - `key`: draws the wiring and the background, default `jax.random.key(0)`.

    Initial potentials are normal, near the stationary distribution, so `simulate` needs a key. The time step is 0.1 ms.

    **Returns:** a `Model`, the network and its inputs.

    **Raises:** `ValueError` for a scale outside (0, 1], or an unknown drive.

    ```python
    >>> import brainsim as bs, jax
    >>> net, inputs = bs.networks.microcircuit(scale=0.01)
    >>> run = bs.simulate(net, 10.0, 0.1, inputs, dict(spikes=True), key=jax.random.key(1))
    >>> net.sizes["L4E"], len(net.projections)
    (219, 55)

    ```

    Potjans & Diesmann (2014), Cerebral Cortex 24:785, doi:10.1093/cercor/bhs358; van Albada, Helias & Diesmann (2015),
    PLOS Computational Biology 11:e1004490, doi:10.1371/journal.pcbi.1004490.
    """
    scale = number(scale, "microcircuit: scale", domain="(0, 1]")
    degree_scale = scale if in_degree_scale is None else in_degree_scale
    degree_scale = number(degree_scale, "microcircuit: in_degree_scale", domain="(0, 1]")
    drive = choice(drive, "microcircuit: drive", ("poisson", "dc"))
    thalamus = truth(thalamus, "microcircuit: thalamus")
    sizes = dict(zip(POPULATIONS, (max(1, round(n * scale)) for n in SIZES), strict=True))
    cell = LIF(c=C, tau=TAU, v_rest=-65.0, v_th=-50.0, v_reset=-65.0, t_ref=2.0)
    populations = {
        name: Population(n, cell, dict(syn=ExpCurrent(tau=TAU_SYN)), dict(v=NormalStart(mean, sd)))
        for (name, n), mean, sd in zip(sizes.items(), START_MEAN, START_SD, strict=True)
    }
    wiring, background, relay = jax.random.split(seeded(key), 3)
    numbers, weights = synapse_numbers(), mean_weights()
    projections = [
        _projection(pre, post, numbers[i, j] * scale * degree_scale, weights[i, j] / math.sqrt(degree_scale))
        for i, post in enumerate(POPULATIONS)
        for j, pre in enumerate(POPULATIONS)
        if numbers[i, j]
    ]
    external = psc() / math.sqrt(degree_scale)
    inputs: dict[str, Any] = dict(zip(POPULATIONS, direct_current(degree_scale, drive).tolist(), strict=True))
    if drive == "poisson":
        keys = jax.random.split(background, len(POPULATIONS))
        for name, degree, k in zip(POPULATIONS, EXTERNAL, keys, strict=True):
            inputs[f"{name}.syn"] = Poisson(EXTERNAL_RATE * degree * degree_scale, external, key=k)
    if thalamus:
        populations["TC"] = Population(THALAMUS, _relay(), dict(syn=DeltaCurrent()))
        for post, p in THALAMIC_PROBABILITIES.items():
            total = synapses(p, THALAMUS, SIZES[POPULATIONS.index(post)])
            projections.append(_projection("TC", post, total * scale * degree_scale, external))
        inputs["TC.syn"] = Bernoulli(120.0, 1.0, key=relay, start=700.0, stop=710.0)
    return Model(Network(populations, projections, key=wiring), inputs)


def synapses(p: float, n_pre: int, n_post: int) -> int:
    """The number of synapses with which a pair of neurons is connected, at least once, with probability `p`."""
    return round(math.log(1 - p) / math.log(1 - 1 / (n_pre * n_post)))


def synapse_numbers() -> np.ndarray:
    """The synapses of every projection of the full network, [target, source]."""
    return np.array(
        [
            [synapses(p, m, n) for p, m in zip(row, SIZES, strict=True)]
            for row, n in zip(PROBABILITIES, SIZES, strict=True)
        ]
    )


def psc() -> float:
    """The current (pA) that an event adds for a potential of 0.15 mV, with TAU_SYN in a membrane of TAU."""
    ratio = TAU_SYN / TAU
    peak = ratio ** (ratio / (1 - ratio)) - ratio ** (1 / (1 - ratio))
    return PSP * C * (TAU - TAU_SYN) / (TAU * TAU_SYN * peak)


def mean_weights() -> np.ndarray:
    """The mean weight of every projection of the full network, pA, [target, source]."""
    weights = np.tile(np.where([name.endswith("E") for name in POPULATIONS], psc(), -G * psc()), (len(POPULATIONS), 1))
    weights[POPULATIONS.index("L23E"), POPULATIONS.index("L4E")] *= 2
    return weights


def direct_current(degree_scale: float, drive: str) -> np.ndarray:
    """The current (pA) into every population: the mean background, if that is the drive, and what scaling takes away.

    With K synapses instead of K / k, each 1/√k times as strong, the mean input is √k times the full one.
    """
    external = psc() * np.array(EXTERNAL) * EXTERNAL_RATE * TAU_SYN * 1e-3
    recurrent = (mean_weights() * synapse_numbers() / np.array(SIZES)[:, None]) @ np.array(RATES) * TAU_SYN * 1e-3
    if drive == "dc":
        return external + (1 - math.sqrt(degree_scale)) * recurrent
    return (1 - math.sqrt(degree_scale)) * (recurrent + external)


def _projection(pre: str, post: str, number: float, weight: float) -> Projection:
    excitatory = weight > 0
    bound = dict(low=0.0) if excitatory else dict(high=0.0)
    rule = FixedTotalNumber(round(number), weight=Normal(weight, WEIGHT_SD * abs(weight), **bound))
    delay = DELAY_E if excitatory else DELAY_I
    return Projection(pre, f"{post}.syn", rule, delay=Normal(delay, DELAY_SD * delay, low=0.05))


def _relay() -> LIF:
    """Hands on what it receives: every event is a spike."""
    return LIF(v_rest=0.0, v_th=0.5, v_reset=0.0, t_ref=0.0)
