"""A population: n neurons and their receptors, as one hybrid system."""

import functools as ft
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ._clock import Moment, flow_at, input_at
from ._compat import at_once, is_outermost, zeros
from ._conform import check_models
from ._domain import FINITE
from ._doors import check_solver, key_or_none
from ._dynamics import AbstractNeuron, AbstractNode, AbstractReceptor
from ._flow import Structure, structure
from ._propagator import propagator
from ._quantity import shown
from ._solver import AbstractBrownian, Exact, Prepared, chosen, objection
from ._surrogate import AbstractCompactSurrogate
from ._text import choices
from ._typing import Param, State, as_float, get, put, variables, whole_number, whole_up

_FOR_EVER = 2.0**30  # steps of refractoriness at most: one may be added to the number of a step


class Cell(NamedTuple):
    """What flows: the states of the neurons and of their receptors."""

    neuron: State
    receptors: dict[str, State]


class PopulationState(NamedTuple):
    """What a population carries from step to step.

    `refractory` counts the steps for which a neuron is still refractory, shape (n,); `key` seeds the noise, if any.
    """

    neuron: State
    receptors: dict[str, State]
    refractory: Int[Array, " n"]
    key: Array | None


class Flow(NamedTuple):
    """What a population's vector field is given besides its state."""

    current: Any
    refractory: Array


class Population(AbstractNode):
    """`n` neurons with receptors; the synaptic currents add up and enter the neurons' equation.

    **Arguments:**

    - `n`: number of neurons.
    - `neuron`: the model, e.g. `brainsim.LIF()`; its parameters are scalars or have shape (n,).
    - `receptors`: names and models of the receptors, e.g. `dict(exc=brainsim.ExpCurrent(tau=5.0))`.
    - `initial`: where variables of the neuron start, if not at rest: name to a scalar, an array of shape (n,), or a
      function `(key, n)` that draws one.
    - `noise`: names of variables of the neuron to volatilities sigma in `sigma dW`, units of the variable per sqrt(ms).

    **Raises:** `ValueError` for a size, name or shape that does not fit.

    A lone population is run as `brainsim.simulate(population, ...)` with `inputs=` a current, or a dict from
    `"current"` and receptor names to currents and events.

    ```python
    >>> import brainsim as bs
    >>> cells = bs.Population(100, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0)), noise=dict(v=2.0))
    >>> cells.variables
    ('v', 'exc.i')

    ```
    """

    n: int = eqx.field(static=True, converter=lambda n: whole_number(n, "n of a population", least=1, most=2**31 - 1))
    neuron: AbstractNeuron
    receptors: dict[str, AbstractReceptor] = eqx.field(default_factory=dict, converter=lambda d: _named(d, "receptors"))
    initial: dict[str, Any] = eqx.field(default_factory=dict, converter=lambda d: _initial(_named(d, "initial")))
    noise: dict[str, Param] = eqx.field(
        default_factory=dict,
        converter=lambda d: {k: as_float(x, f"noise[{k!r}]", None, "[0, inf)") for k, x in _named(d, "noise").items()},
        metadata={"domain": "[0, inf)"},
    )

    def __check_init__(self):
        if not isinstance(self.neuron, AbstractNeuron):
            raise ValueError(f"neuron must be a model such as LIF(), got {shown(self.neuron)}")
        for name, receptor in self.receptors.items():
            if not isinstance(receptor, AbstractReceptor):
                raise ValueError(f"receptor {name!r} must be a receptor such as ExpCurrent(), got {shown(receptor)}")
            if "." in name or name == "current":
                raise ValueError(f"{name!r} cannot name a receptor: no dots, and 'current' is the input current")
        for what, model in (("the neuron", self.neuron), *((f"receptor {k!r}", r) for k, r in self.receptors.items())):
            for path, x in jax.tree_util.tree_leaves_with_path(eqx.filter(model, eqx.is_array)):
                if x.shape not in ((), (self.n,)):
                    raise ValueError(f"parameters must be scalars or have shape ({self.n},), but "
                                     f"{jax.tree_util.keystr(path)[1:]} of {what} has shape {x.shape}")  # fmt: skip
        available = check_models(self.neuron, self.receptors, self.n)
        if dotted := [name for name in available if "." in name]:
            raise ValueError(f"{dotted[0]!r} cannot name a variable: a dot comes after the name of a receptor")
        for what in ("initial", "noise"):
            for name, value in getattr(self, what).items():
                if name not in available:
                    raise ValueError(f"{what} names {name!r}, which is not a variable of the neuron; "
                                     f"{choices(name, available)}")  # fmt: skip
                if eqx.is_array(value) and value.shape not in ((), (self.n,)):
                    raise ValueError(f"{what}[{name!r}] must be a scalar or have shape ({self.n},), got {value.shape}")

    # --- the names under which a population's inputs and variables are known -----------------------------------------

    @property
    def inputs(self) -> dict[str, int]:
        """Names of the possible inputs, and the number of units that each has."""
        return {"current": self.n, **{name: self.n for name in self.receptors}}

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the state variables: `"v"` of the neuron, `"exc.g"` of the receptor `exc`."""
        y = jax.eval_shape(self._rest)
        receptors = [f"{name}.{x}" for name, r in y.receptors.items() for x in variables(r)]
        return (*variables(y.neuron), *receptors)

    @property
    def sizes(self) -> dict[str, int]:
        """Names of the populations (a lone one has the name `""`) and their numbers of neurons."""
        return {"": self.n}

    def read(self, state: PopulationState, name: str) -> Float[Array, " n"]:
        """The state variable `name`, as listed by `variables`."""
        receptor, _, variable = name.rpartition(".")
        if name not in self.variables:
            raise ValueError(f"no state variable {name!r}; {choices(name, self.variables)}")
        return get(state.receptors[receptor], variable) if receptor else get(state.neuron, variable)

    # --- the hybrid system -------------------------------------------------------------------------------------------

    def _rest(self) -> Cell:
        return Cell(self.neuron.init(self.n), {name: r.init(self.n) for name, r in self.receptors.items()})

    def vector_field(self, t: Any, y: Cell, args: Flow) -> Cell:
        """d/dt of neurons and receptors; the held variables of refractory neurons stand still."""
        v: Any = get(y.neuron, "v") if self.receptors else None
        current: Any = self._flowing(args.current, t) if callable(args.current) else args.current
        for name, receptor in self.receptors.items():
            current = current + receptor.current(y.receptors[name], v)
        neuron = flow_at(self.neuron.vector_field, t, y.neuron, current)
        neuron = put(neuron, **{x: jnp.where(args.refractory, 0, get(neuron, x)) for x in self.neuron.held})
        receptors = {name: flow_at(r.vector_field, t, y.receptors[name], v) for name, r in self.receptors.items()}
        return Cell(neuron, receptors)

    def _flowing(self, f: Callable[[Any], Any], t: Any) -> Any:
        """The current that a function of time is at t."""
        current = input_at(f, t)
        if isinstance(current, int | float | np.ndarray | np.generic | jax.Array):
            if jnp.shape(current) in ((), (1,), (self.n,)):
                return current
            current = f"shape {jnp.shape(current)}"
        raise ValueError(f"a current must be a number or have shape ({self.n},), the function of t returned {current}")

    def init(self, *, dt, key=None):
        key_or_none(key)
        draw: list[Array] = []
        if self.noise or any(callable(x) for x in self.initial.values()):
            if key is None:
                raise ValueError("a population with noise or random initial values needs a key: simulate(..., key=...)")
            key, draw = at_once(lambda key: _keys(key, len(self.initial)), key)
        y = _rest(self.neuron, self.receptors, self.n) if is_outermost() else self._rest()
        start = {}
        for i, (name, value) in enumerate(self.initial.items()):
            value = at_once(lambda key, value=value: value(key, self.n), draw[i]) if callable(value) else value
            value = as_float(value, f"initial[{name!r}]", None, FINITE)
            if value.shape not in ((), (self.n,)):
                raise ValueError(f"initial[{name!r}](key, {self.n}) must have shape ({self.n},), got {value.shape}")
            start[name] = jnp.broadcast_to(value, (self.n,)).astype(get(y.neuron, name).dtype)
        refractory = zeros((self.n,), jnp.int32)
        return PopulationState(put(y.neuron, **start), y.receptors, refractory, key if self.noise else None)

    def prepare(self, solver, *, dt):
        y = self._rest()
        # One value for all: where parameters are alike, too, one propagator serves all neurons.
        zero, free = jnp.zeros((), jax.tree.leaves(y)[0].dtype), jnp.zeros((), bool)

        def field(refractory: Array) -> Callable[..., Cell]:
            return lambda y, t=zero, current=zero: self.vector_field(t, y, Flow(current, refractory))

        if solver is not None:
            check_solver(solver)
        flow = structure(field(free), y, zero, zero)
        solver = chosen(flow) if solver is None else solver
        if problem := objection(solver, flow):
            raise ValueError(problem)
        if not isinstance(solver, Exact):
            return Prepared(_differentiable_both_ways(solver), None)
        sigma = {i: jnp.broadcast_to(self.noise[name], (self.n,)) for i, name in self._noisy(y).items()}
        prepared = lambda flow, refractory: Prepared(solver, propagator(flow, field(refractory), y, dt, sigma))
        if flow.coupled and self.neuron.held:
            return _Afresh(prepared(flow, free))
        if not self._others_follow_held(flow, y):
            return prepared(flow, free)
        return _Switched(prepared(flow, free), prepared(structure(field(~free), y, zero, zero), ~free))

    def _noisy(self, y: Cell) -> dict[int, str]:
        """The variables that have noise, by their numbers among the leaves of `y`."""
        none = jax.tree.map(lambda _: "", y)
        names = jax.tree.leaves(none._replace(neuron=put(none.neuron, **{x: x for x in self.noise})))
        return {i: name for i, name in enumerate(names) if name}

    def _others_follow_held(self, flow: Structure, y: Cell) -> bool:
        """Whether a variable that flows during refractoriness depends on one that is held meanwhile."""
        no = jax.tree.map(lambda _: False, y)
        held = jax.tree.leaves(no._replace(neuron=put(no.neuron, **dict.fromkeys(self.neuron.held, True))))
        return any(held[j] for i, row in enumerate(flow.depends) if not held[i] for j in row)

    def step(self, k, dt, state, inputs, solver):
        refractory = state.refractory > 0
        neuron, receptors, spikes = self.arrive_at_jump(k, dt, state, refractory, inputs, solver)
        return self.jump(dt, state, neuron, receptors, spikes), spikes

    def jump(
        self, dt: float, state: PopulationState, neuron: State, receptors: dict[str, State], spikes: Float[Array, " n"]
    ) -> PopulationState:
        """Neurons that spike are reset, and refractory from then on."""
        spiked = spikes != 0
        neuron = jax.tree.map(lambda new, old: jnp.where(spiked, new, old), self.neuron.reset(neuron), neuron)
        rest = jnp.maximum(state.refractory - 1, 0)
        return PopulationState(neuron, receptors, jnp.where(spiked, self.pause(dt), rest), state.key)

    def pause(self, dt: float) -> Int[Array, "*n"]:
        """For how many steps a neuron is refractory after a spike: not less than `t_ref`, as in NEST."""
        return jnp.minimum(whole_up(self.neuron.t_ref / dt), _FOR_EVER).astype(jnp.int32)

    def arrive_at_jump(
        self, k: Array, dt: float, state: PopulationState, refractory: Bool[Array, " n"], inputs: Any, solver: Any
    ) -> tuple[State, dict[str, State], Float[Array, " n"]]:
        """Flow and deliver: the states of neurons and receptors before those that spike jump, and the spikes."""
        before = Cell(state.neuron, state.receptors)
        dtype = jax.tree.leaves(before)[0].dtype

        # flow; the solver's clock starts at 0 in every step, since (k + 1) dt - k dt is not dt in floating point
        current = inputs.get("current", jnp.zeros(self.n, dtype))
        terms = diffrax.ODETerm(lambda s, y, args: self.vector_field(Moment(k, dt, s), y, args))
        if self.noise:
            key = jax.random.fold_in(state.key, k)  # pyright: ignore[reportArgumentType] (noise has one)
            noisy = tuple(self._noisy(before))
            path = _Brownian(key=key, like=before, names=tuple(self.noise), noisy=noisy, dt=dt)
            terms = diffrax.MultiTerm(terms, diffrax.ControlTerm(self._volatility, path))
        zero = jnp.zeros((), dtype)
        y = solver.step(terms, zero, zero + dt, before, Flow(current, refractory))

        # deliver
        receptors, neuron = dict(y.receptors), y.neuron
        for name in self.receptors:
            if name in inputs:
                receptors[name], v = self.receptors[name].receive(receptors[name], get(neuron, "v"), inputs[name])
                neuron = put(neuron, v=v)
        for x in self.neuron.held:
            # The slope of a held variable is 0; only an exact propagator or a delta receptor has moved it all the same.
            if get(neuron, x) is not get(y.neuron, x) or not solver.holds:
                neuron = put(neuron, **{x: jnp.where(refractory, get(before.neuron, x), get(neuron, x))})

        # who jumps
        silent = refractory if self.neuron.resets else refractory | (self.neuron.guard(before.neuron) >= 0)
        return neuron, receptors, jnp.where(silent, 0, self.neuron.surrogate(self.neuron.guard(neuron)))

    def relevant(self, before: PopulationState, after: PopulationState, spikes: Array) -> Bool[Array, " n"] | None:
        """Which `spikes` of the step from `before` to `after` may have a derivative; None if all may.

        The guard is that of the jump, since neurons that reset have spiked, and those count in any case.
        """
        if not isinstance(self.neuron.surrogate, AbstractCompactSurrogate):
            return None
        near = self.neuron.surrogate.support(self.neuron.guard(after.neuron)) & (before.refractory == 0)
        return near | (spikes != 0)

    # --- noise -------------------------------------------------------------------------------------------------------

    def _volatility(self, t: Any, y: Cell, args: Flow) -> lineax.DiagonalLinearOperator:
        """sigma of each variable, as the diagonal matrix that multiplies the Brownian increment."""
        zero = jax.tree.map(jnp.zeros_like, y)
        still = lambda x: args.refractory if x in self.neuron.held else jnp.zeros(self.n, bool)
        sigma = {x: jnp.where(still(x), 0, jnp.broadcast_to(s, (self.n,))) for x, s in self.noise.items()}
        return lineax.DiagonalLinearOperator(zero._replace(neuron=put(zero.neuron, **sigma)))


class _Brownian(AbstractBrownian):
    """Brownian motion over one step: a draw depends on the key of the step, the variable and the neuron only."""

    key: Array
    like: Cell
    names: tuple[str, ...] = eqx.field(static=True)
    noisy: tuple[int, ...] = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    t0: ClassVar[float] = 0.0
    t1: ClassVar[float] = math.inf

    def evaluate(self, t0, t1=None, left=True):
        return self.draw(0, self.dt)

    def draw(self, r, dt):
        y = jax.tree.map(jnp.zeros_like, self.like)
        neuron = y.neuron
        for name in self.names:
            key = jax.random.fold_in(self.key, variables(neuron).index(name))
            like = get(neuron, name)
            normal = jax.random.normal(jax.random.fold_in(key, r) if r else key, like.shape, like.dtype)
            neuron = put(neuron, **{name: normal * jnp.sqrt(jnp.asarray(dt, like.dtype))})
        return Cell(neuron, y.receptors)


class _Afresh(eqx.Module):
    """An exact propagator of neurons that depend on one another; one for the rest if some of them are refractory."""

    free: Prepared
    holds: ClassVar[bool] = True

    def step(self, terms: Any, t0: Any, t1: Any, y0: Cell, args: Flow) -> Cell:
        solver = self.free.solver
        state = jax.lax.cond(
            jnp.any(args.refractory), lambda: solver.init(terms, t0, t1, y0, args), lambda: self.free.state
        )
        return solver.step(terms, t0, t1, y0, args, state, made_jump=False)[0]


class _Switched(eqx.Module):
    """An exact propagator for neurons that are free and one for those that are refractory."""

    free: Prepared
    held: Prepared
    holds: ClassVar[bool] = True

    def step(self, terms: Any, t0: Any, t1: Any, y0: Cell, args: Flow) -> Cell:
        free, held = (s.step(terms, t0, t1, y0, args) for s in (self.free, self.held))
        return jax.tree.map(lambda f, h: jnp.where(args.refractory, h, f), free, held)


@ft.partial(jax.jit, static_argnums=1)
def _keys(key: Array, n: int) -> tuple[Array, list[Array]]:
    """A key for the noise, and one for each variable that starts elsewhere than at rest."""
    key, first = jax.random.split(key)
    return key, [jax.random.fold_in(first, i) for i in range(n)]


@eqx.filter_jit
def _rest(neuron: AbstractNeuron, receptors: dict[str, AbstractReceptor], n: int) -> Cell:
    """A population at rest, in one call: one array after the other would take longer than many a short run."""
    return Population(n, neuron, receptors)._rest()


def _differentiable_both_ways(solver: diffrax.AbstractSolver) -> diffrax.AbstractSolver:
    """A Runge-Kutta solver whose loop over stages has a forward mode too; diffrax's default has only reverse."""
    if getattr(solver, "scan_kind", "bounded") is None:
        return eqx.tree_at(lambda s: s.scan_kind, solver, "bounded", is_leaf=lambda x: x is None)
    return solver


def _named(value: Any, what: str) -> dict[str, Any]:
    """A copy of a dict from names.

    **Raises:** `ValueError` for anything else.
    """
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{what} must be a dict from names, got {shown(value)}")
    return dict(value)


def _initial(values: dict[str, Any]) -> dict[str, Any]:
    return {k: x if callable(x) else as_float(x, f"initial[{k!r}]", None, FINITE) for k, x in values.items()}
