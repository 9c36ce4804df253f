"""The network of Brunel (2000)."""

from typing import Any

import jax
from jaxtyping import Array

from .._domain import POSITIVE
from .._network import Network
from .._population import Population
from .._projection import Projection
from .._typing import as_float, number, whole_number
from ..inputs import Poisson
from ..neurons import LIF
from ..synapses import DeltaCurrent, FixedInDegree
from ._model import Model, seeded


def brunel(
    order: int = 2500,
    g: float = 5.0,
    eta: float = 2.0,
    *,
    j: Any = 0.1,
    epsilon: float = 0.1,
    delay: float = 1.5,
    key: Array | None = None,
) -> Model:
    """Integrate-and-fire neurons with delta synapses and Poisson drive: the balanced network of Brunel.

        tau dv/dt = -v + tau Σ_j J_j Σ_k δ(t - t_j^k - delay),    v >= 20 mV: spike, v = 0, held for 2 ms

    `4 · order` excitatory and `order` inhibitory neurons, tau 20 ms. Each has C_E = 4 epsilon · order excitatory
    synapses of `j` and C_I = epsilon · order inhibitory ones of -g · j, drawn independently (in NEST's words, fixed
    in-degree with autapses and multapses), and a Poisson input of rate eta · nu_th · C_E with weight `j`, where
    nu_th = 20 mV / (j C_E tau) is the rate that takes the mean potential to the threshold. The four regimes of the
    paper's figure 8:

    | regime | g | eta |
    |---|---|---|
    | SR, synchronous regular | 3 | 2 |
    | SI, synchronous irregular, fast | 6 | 4 |
    | SI, synchronous irregular, slow | 4.5 | 0.9 |
    | AI, asynchronous irregular | 5 | 2 |

    Populations `"E"` and `"I"` with one receptor `"syn"`; projections `"EE"`, `"EI"` (from E to I), `"IE"`, `"II"`. The
    reset is that of NEST's example brunel_delta, 0 mV; the paper's is 10 mV.

    **Arguments:**

    - `order`: number of inhibitory neurons.
    - `g`: strength of inhibition relative to excitation.
    - `eta`: external rate relative to threshold.
    - `j`: weight of an excitatory synapse, mV.
    - `epsilon`: synapses per neuron relative to the number of neurons.
    - `delay`: ms.
    - `key`: draws the wiring and the Poisson input, default `jax.random.key(0)`.

    **Returns:** a `Model`, the network and its inputs.

    **Raises:** `ValueError` if `order` is too small for a single inhibitory synapse per neuron.

    ```python
    >>> import brainsim as bs
    >>> net, inputs = bs.networks.brunel(order=50, g=5.0, eta=2.0)
    >>> run = bs.simulate(net, 20.0, 0.1, inputs, dict(spikes=["E", "I"]))
    >>> net.sizes, round(float(inputs["E.syn"].rate))
    ({'E': 200, 'I': 50}, 20000)

    ```

    Brunel (2000), Journal of Computational Neuroscience 8:183, doi:10.1023/A:1008925309027.
    """
    order = whole_number(order, "brunel: order", least=1)
    epsilon = number(epsilon, "brunel: epsilon", domain="(0, 1]")
    g, eta = number(g, "brunel: g", domain="[0, inf)"), number(eta, "brunel: eta", domain="[0, inf)")
    j = as_float(j, "brunel: j, in mV,", None, POSITIVE)
    n_e, n_i = 4 * order, order
    c_e, c_i = round(epsilon * n_e), round(epsilon * n_i)
    if c_i < 1:
        raise ValueError(f"brunel: {order} inhibitory neurons and epsilon = {epsilon:g} leave no synapses per neuron")
    tau, threshold = 20.0, 20.0
    cell = LIF(c=1.0, tau=tau, v_rest=0.0, v_th=threshold, v_reset=0.0, t_ref=2.0)
    population = lambda n: Population(n, cell, dict(syn=DeltaCurrent()))
    wire = lambda pre, post, degree, weight: Projection(
        pre, f"{post}.syn", FixedInDegree(degree, weight=weight, multapses=True), delay=delay
    )
    wiring, *drives = jax.random.split(seeded(key), 3)
    net = Network(
        dict(E=population(n_e), I=population(n_i)),
        dict(
            EE=wire("E", "E", c_e, j),
            EI=wire("E", "I", c_e, j),
            IE=wire("I", "E", c_i, -g * j),
            II=wire("I", "I", c_i, -g * j),
        ),
        key=wiring,
    )
    rate = 1e3 * eta * threshold / (j * tau)  # eta nu_th C_E
    drive = lambda key: Poisson(rate, j, key=key, start=delay)  # that has the same delay
    return Model(net, {"E.syn": drive(drives[0]), "I.syn": drive(drives[1])})
