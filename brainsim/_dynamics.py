"""The abstract classes: a brain model is a flow and a jump. The page to read first.

Between spikes a model *flows*: an ordinary (or stochastic) differential equation over a pytree. At a spike it *jumps*.
Components never see one another; they meet only through spikes (of a population), events (spikes weighted by a
connectivity) and currents. One step of length dt runs in this order, everywhere:

1. **flow** every population from t to t + dt;
2. **deliver** to the receptors the spikes that are due at t + dt;
3. **jump**: a neuron whose guard is reached spikes, stamped t + dt, and resets.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, UInt32

from ._module import Module
from ._quantity import shown
from ._typing import Param, State

S = TypeVar("S")


class AbstractDynamics(Module):
    """The flow dy/dt = f(t, y, args) of one unit, written elementwise so that it serves n units at once."""

    @abstractmethod
    def init(self, n: int) -> State:
        """The state of `n` units at rest: arrays of shape (n,)."""

    @abstractmethod
    def vector_field(self, t: Any, y: State, args: Any) -> State:
        """dy/dt per ms: the vector field of a `diffrax.ODETerm`. `args` is what flows in, for a neuron its current."""


class AbstractNeuron(AbstractDynamics):
    """A flow with a jump: when `guard` rises to 0 the neuron spikes, and its state becomes `reset(y)`.

    `resets` says whether `reset` takes the guard back below zero. Where it does, a neuron at or above its guard spikes;
    where it does not (a Hodgkin-Huxley action potential ends by itself), only an upward crossing is a spike.

    Refractoriness belongs to the time step and not to the equations: for `t_ref` after a spike the variables named in
    `held` stand still and no spike is emitted. So a vector field stays the paper's, and affine where the paper's is.
    """

    t_ref: eqx.AbstractVar[Param]
    surrogate: eqx.AbstractVar[Callable[[Array], Array]]
    held: eqx.AbstractVar[tuple[str, ...]]
    resets: eqx.AbstractVar[bool]

    def __check_init__(self):
        if not callable(self.surrogate) or isinstance(self.surrogate, type):
            kind, given = type(self).__name__, shown(self.surrogate)
            raise ValueError(f"{kind}: surrogate must be a function such as SuperSpike(), got {given}")

    @abstractmethod
    def guard(self, y: State) -> Float[Array, " n"]:
        """Crosses zero from below when the neuron spikes; also the condition of a `diffrax.Event`."""

    @abstractmethod
    def reset(self, y: State) -> State:
        """The state after a spike, from the state `y` before it. The caller applies it to the neurons that spiked."""


class AbstractReceptor(AbstractDynamics):
    """What a presynaptic event does to a postsynaptic neuron; lives on the postsynaptic side, one state per neuron."""

    @abstractmethod
    def current(self, y: State, v: Float[Array, " n"]) -> Float[Array, " n"]:
        """The current into the neuron (positive depolarises) at membrane potential `v`."""

    @abstractmethod
    def receive(self, y: State, v: Float[Array, " n"], events: Float[Array, " n"]) -> tuple[State, Float[Array, " n"]]:
        """The receptor's state and the membrane potential after the arrival of `events` (sums of weights)."""


class AbstractConnectivity(Module):
    """A linear, stateless map from the spikes of `n_pre` neurons to the events at `n_post` neurons."""

    n_pre: eqx.AbstractVar[int]
    n_post: eqx.AbstractVar[int]

    @abstractmethod
    def __call__(self, spikes: Float[Array, " pre"]) -> Float[Array, " post"]:
        """The events that `spikes` cause: `spikes @ self.as_dense()`."""

    def from_relevant(self, spikes: Float[Array, " pre"], relevant: Bool[Array, " pre"]) -> Float[Array, " post"]:
        """`self(spikes)`, if only `relevant` spikes have a derivative: reverse mode may leave out the others."""
        return self(spikes)

    @abstractmethod
    def as_dense(self) -> Float[Array, "pre post"]:
        """The map as a matrix; every layout is tested against it."""


class Past(NamedTuple):
    """The spikes of a population in the last steps: what arrives in step k over connections that differ in delay.

    `spikes` [R, n] is a ring, with those of step j in row j mod R; `lists` [R, size] has the `ops.spike_list` of each.
    `k` is the number of the step modulo R, so that those of d steps ago are in row (k - d) mod R.
    `relevant` [R, n] says which spikes may have a derivative; None if all may.
    """

    spikes: Float[Array, "rows n"]
    lists: Int[Array, "rows size"]
    k: Int[Array, ""]
    relevant: Bool[Array, "rows n"] | None = None


class AbstractDelayed(Module):
    """A linear, stateless map from past spikes to events, whose synapses differ in delay."""

    n_pre: eqx.AbstractVar[int]
    n_post: eqx.AbstractVar[int]

    @abstractmethod
    def longest(self, *, dt: float) -> int:
        """The longest delay in steps of `dt` ms: the number of rows that `Past` needs."""

    @abstractmethod
    def prepare(self, *, dt: float) -> "AbstractDelayed":
        """The same map for steps of `dt` ms, with all that can be computed outside the time loop computed."""

    @abstractmethod
    def __call__(self, past: Past, *, dt: float) -> Float[Array, " post"]:
        """The events that arrive: the sum over d of `past.spikes[(k - d) mod R] @ self.as_dense(dt=dt)[d - 1]`."""

    @abstractmethod
    def as_dense(self, *, dt: float) -> Float[Array, "steps pre post"]:
        """The map as one matrix for each delay of 1, 2, ... steps of `dt` ms; every layout is tested against it."""


class AbstractRule(Module):
    """A wiring rule: what a `Projection` draws its connectivity from when a `Network` is built."""

    @abstractmethod
    def build(self, key: Array, n_pre: int, n_post: int, *, same: bool) -> AbstractConnectivity:
        """The connectivity drawn with `key`. `same` says that both ends are one population (autapses are possible)."""


class AbstractNode(Module):
    """What `simulate` runs: a population, a network, a trained layer; anything with a state and a step."""

    @property
    @abstractmethod
    def inputs(self) -> dict[str, int]:
        """Names of the possible inputs, and the number of units that each has."""

    @property
    @abstractmethod
    def variables(self) -> tuple[str, ...]:
        """Names of the state variables."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Names of the populations (a lone one has the name `""`) and their numbers of neurons."""

    @abstractmethod
    def read(self, state: Any, name: str) -> Array:
        """The state variable `name`, as listed by `variables`."""

    @abstractmethod
    def init(self, *, dt: float, key: Array | None = None) -> Any:
        """The state at time 0, for steps of `dt` ms. `key` seeds the noise, if there is any."""

    @abstractmethod
    def prepare(self, solver: Any, *, dt: float) -> Any:
        """The solvers that `step` takes, with all that can be computed outside the time loop computed."""

    @abstractmethod
    def step(self, k: UInt32[Array, ""], dt: float, state: S, inputs: Any, solver: Any) -> tuple[S, Any]:
        """One step, from t = k·dt to (k + 1)·dt: the new state, and the spikes stamped (k + 1)·dt."""
