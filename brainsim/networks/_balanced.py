"""Sparse networks of excitatory and inhibitory cells in self-sustained irregular activity: COBA, CUBA, COBA-HH."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array

from .._domain import FINITE
from .._dynamics import AbstractNeuron, AbstractReceptor
from .._network import Network
from .._population import Population
from .._projection import Projection
from .._typing import as_float, whole_number
from ..neurons import LIF, HHTraub
from ..synapses import ExpConductance, ExpCurrent, FixedProbability
from ._model import Model, NormalStart, UniformStart, seeded


def coba(
    n_e: int = 3200,
    n_i: int = 800,
    *,
    w_e: Any = 6.0,
    w_i: Any = 67.0,
    p: float | None = None,
    delay: float = 0.1,
    current: Any = 200.0,
    surrogate: Callable[[Array], Array] | None = None,
    key: Array | None = None,
) -> Model:
    """Integrate-and-fire neurons with conductance-based synapses ("COBA"), which fire irregularly at some 20 Hz.

        tau dv/dt = v_rest - v + (tau / c) (g_e (0 - v) + g_i (-80 - v) + I),    dg/dt = -g / tau_syn
        v >= v_th:  spike, v = v_reset, held for 5 ms; every synapse adds its weight to g

    with c 200 pF, tau 20 ms, v_rest = v_reset = -60 mV, v_th -50 mV, tau_syn 5 ms (excitatory) and 10 ms (inhibitory).
    Populations `"E"` and `"I"`, receptors `"exc"` and `"inh"`, projections `"EE"`, `"EI"` (E to I), `"IE"`, `"II"`;
    initial potentials uniform between v_reset and v_th.

    **Arguments:**

    - `n_e`, `n_i`: numbers of excitatory and inhibitory neurons.
    - `w_e`, `w_i`: weights, nS. The paper's 0.6 and 6.7 are in units of the leak conductance, 10 nS.
    - `p`: probability of a connection; default such that a neuron has 80 inputs on average, 0.02 for 4000 neurons.
    - `delay`: ms.
    - `current`: into every neuron, pA: 20 mV above rest.
    - `surrogate`: pseudo-derivative of the spike, default the neuron's own.
    - `key`: draws the wiring, default `jax.random.key(0)`.

    **Returns:** a `Model`, the network and its inputs.

    ```python
    >>> import brainsim as bs, jax
    >>> net, inputs = bs.networks.coba(n_e=320, n_i=80)
    >>> run = bs.simulate(net, 50.0, 0.1, inputs, dict(spikes=["E", "I"]), key=jax.random.key(1))
    >>> run.spikes["E"].shape
    (500, 320)

    ```

    Vogels & Abbott (2005), Journal of Neuroscience 25:10786, doi:10.1523/JNEUROSCI.3508-05.2005, in the form of
    benchmark 1 of Brette et al. (2007), Journal of Computational Neuroscience 23:349, doi:10.1007/s10827-007-0038-6.
    """
    as_float(current, "coba: current", None, FINITE)
    cell = _lif(v_rest=-60.0, surrogate=surrogate)
    receptors = dict(exc=ExpConductance(tau=5.0, e_rev=0.0), inh=ExpConductance(tau=10.0, e_rev=-80.0))
    net = _network(n_e, n_i, cell, receptors, UniformStart(-60.0, -50.0), w_e, w_i, p, delay, key)
    return Model(net, dict(E=current, I=current))


def cuba(
    n_e: int = 3200,
    n_i: int = 800,
    *,
    w_e: Any = 16.2,
    w_i: Any = -90.0,
    p: float | None = None,
    delay: float = 0.1,
    surrogate: Callable[[Array], Array] | None = None,
    key: Array | None = None,
) -> Model:
    """Integrate-and-fire neurons with current-based synapses ("CUBA"), which fire irregularly at some 5 Hz.

        tau dv/dt = v_rest - v + (tau / c) (i_e + i_i),    di/dt = -i / tau_syn
        v >= v_th:  spike, v = v_reset, held for 5 ms; every synapse adds its weight to i

    with c 200 pF, tau 20 ms, v_rest -49 mV (above threshold: there is no other drive), v_th -50 mV, v_reset -60 mV,
    tau_syn 5 ms (excitatory) and 10 ms (inhibitory). Populations `"E"` and `"I"`, receptors `"exc"` and `"inh"`;
    initial potentials uniform between v_reset and v_th.

    **Arguments:** as of `brainsim.networks.coba`, with `w_e`, `w_i` in pA: 1.62 and -9 mV over a leak of 10 nS.

    **Returns:** a `Model`, the network and its (empty) inputs.

    ```python
    >>> import brainsim as bs, jax
    >>> net, inputs = bs.networks.cuba(n_e=320, n_i=80)
    >>> run = bs.simulate(net, 50.0, 0.1, inputs, dict(spikes=["E", "I"]), key=jax.random.key(1))
    >>> run.spikes["I"].shape
    (500, 80)

    ```

    Vogels & Abbott (2005), Journal of Neuroscience 25:10786, doi:10.1523/JNEUROSCI.3508-05.2005, in the form of
    benchmark 2 of Brette et al. (2007), Journal of Computational Neuroscience 23:349, doi:10.1007/s10827-007-0038-6.
    """
    cell = _lif(v_rest=-49.0, surrogate=surrogate)
    receptors = dict(exc=ExpCurrent(tau=5.0), inh=ExpCurrent(tau=10.0))
    return Model(_network(n_e, n_i, cell, receptors, UniformStart(-60.0, -50.0), w_e, w_i, p, delay, key), {})


def coba_hh(
    n_e: int = 3200,
    n_i: int = 800,
    *,
    w_e: Any = 6.0,
    w_i: Any = 67.0,
    p: float | None = None,
    delay: float = 0.1,
    surrogate: Callable[[Array], Array] | None = None,
    key: Array | None = None,
) -> Model:
    """The network of `coba` made of Hodgkin-Huxley cells (`brainsim.HHTraub`); it sustains its activity by itself.

    Populations `"E"` and `"I"`, receptors `"exc"` and `"inh"`. Initial potentials are normal with mean -65 and
    standard deviation 5 mV, and the gates start closed (m = h = n = 0): that is what sets the network going.

    **Arguments:** as of `brainsim.networks.coba`; there is no `current`. Weights of 6 and 67 nS are those of the
    benchmark; ten times less, which some implementations have, gives another network.

    **Returns:** a `Model`, the network and its (empty) inputs.

    ```python
    >>> import brainsim as bs, jax
    >>> net, inputs = bs.networks.coba_hh(n_e=32, n_i=8, p=0.1)
    >>> run = bs.simulate(net, 10.0, 0.1, inputs, dict(v="E.v"), key=jax.random.key(1))
    >>> run["v"].shape
    (100, 32)

    ```

    Benchmark 3 of Brette et al. (2007), Journal of Computational Neuroscience 23:349, doi:10.1007/s10827-007-0038-6.
    """
    cell = HHTraub() if surrogate is None else HHTraub(surrogate=surrogate)
    receptors = dict(exc=ExpConductance(tau=5.0, e_rev=0.0), inh=ExpConductance(tau=10.0, e_rev=-80.0))
    start = dict(v=NormalStart(-65.0, 5.0), m=0.0, h=0.0, n=0.0)
    return Model(_network(n_e, n_i, cell, receptors, start, w_e, w_i, p, delay, key), {})


def _lif(*, v_rest: float, surrogate: Callable[[Array], Array] | None) -> LIF:
    chosen: Any = {} if surrogate is None else dict(surrogate=surrogate)
    return LIF(c=200.0, tau=20.0, v_rest=v_rest, v_th=-50.0, v_reset=-60.0, t_ref=5.0, **chosen)


def _network(
    n_e: int,
    n_i: int,
    cell: AbstractNeuron,
    receptors: Mapping[str, AbstractReceptor],
    start: Any,
    w_e: Any,
    w_i: Any,
    p: float | None,
    delay: float,
    key: Array | None,
) -> Network:
    """Excitatory and inhibitory cells of one kind, each with the same probability of a connection to any other."""
    n_e, n_i = whole_number(n_e, "n_e", least=1), whole_number(n_i, "n_i", least=1)
    p = min(80.0 / (n_e + n_i), 1.0) if p is None else p
    initial = start if isinstance(start, dict) else dict(v=start)
    population = lambda n: Population(n, cell, dict(receptors), initial)
    wire = lambda pre, post, weight: Projection(pre, post, FixedProbability(p, weight=weight), delay=delay)
    return Network(
        dict(E=population(n_e), I=population(n_i)),
        dict(
            EE=wire("E", "E.exc", w_e),
            EI=wire("E", "I.exc", w_e),
            IE=wire("I", "E.inh", w_i),
            II=wire("I", "I.inh", w_i),
        ),
        key=seeded(key),
    )
