"""A network: populations wired by name."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._dynamics import AbstractNode, AbstractRule
from ._population import Population, PopulationState
from ._projection import Projection


class NetworkState(NamedTuple):
    """The states of the populations, and the spikes that are still on their way.

    `history[name]` holds the last spikes of a population: those of the last step, shape (n,), if no delay is longer
    than a step; else those of as many steps as the longest delay has, shape (steps, n), step k in row k mod steps.
    """

    populations: dict[str, PopulationState]
    history: dict[str, Float[Array, "*delay n"]]


class Network(AbstractNode):
    """Populations wired by projections.

    **Arguments:**

    - `populations`: names and populations.
    - `projections`: a list of projections, or a dict that names them; the list is named `"E->I.exc"`, and so on.
    - `key`: draws the connectivity of projections that have a wiring rule; `jax.random.key(seed)`.

    **Raises:** `ValueError` naming the populations and receptors there are, if a projection does not fit them.

    Inputs are named `"E"` (current) and `"E.exc"` (events at a receptor), variables `"E.v"` and `"E.exc.g"`.

    ```python
    >>> import brainsim as bs, jax
    >>> cell = bs.LIF(tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0)
    >>> receptors = dict(exc=bs.ExpConductance(tau=5.0, e_rev=0.0), inh=bs.ExpConductance(tau=10.0, e_rev=-80.0))
    >>> net = bs.Network(
    ...     populations=dict(E=bs.Population(80, cell, receptors), I=bs.Population(20, cell, receptors)),
    ...     projections=[bs.Projection("E", "I.exc", bs.FixedProbability(0.1, weight=6.0), delay=0.5)],
    ...     key=jax.random.key(0))
    >>> net.projections["E->I.exc"].connect.as_dense().shape
    (80, 20)

    ```
    """

    populations: dict[str, Population]
    projections: dict[str, Projection]

    def __init__(
        self,
        populations: Mapping[str, Population],
        projections: Mapping[str, Projection] | Iterable[Projection] = (),
        *,
        key: Array | None = None,
    ):
        self.populations = dict(populations)
        named: Any = dict(projections) if isinstance(projections, Mapping) else _names(projections)
        self.projections = {name: self._built(p, name, i, key) for i, (name, p) in enumerate(named.items())}

    def _built(self, p: Projection, name: str, i: int, key: Array | None) -> Projection:
        """The projection with its connectivity drawn, checked against the populations."""
        receptors = {pop: list(x.receptors) for pop, x in self.populations.items()}
        population, receptor = p.target
        if p.pre not in receptors or receptor not in receptors.get(population, []):
            raise ValueError(f"projection {name!r} goes from {p.pre!r} to {p.post!r}, but the network has {receptors}")
        n_pre, n_post = self.populations[p.pre].n, self.populations[population].n
        if isinstance(p.connect, AbstractRule):
            if key is None:
                raise ValueError(
                    f"projection {name!r} has a wiring rule; Network(..., key=jax.random.key(seed)) draws it"
                )
            connect = p.connect.build(jax.random.fold_in(key, i), n_pre, n_post, same=p.pre == population)
            p = Projection(p.pre, p.post, connect, p.delay)
        if (p.connect.n_pre, p.connect.n_post) != (n_pre, n_post):
            got = (p.connect.n_pre, p.connect.n_post)
            raise ValueError(f"projection {name!r} connects {got[0]} to {got[1]} neurons, but its populations have "
                             f"{n_pre} and {n_post}")  # fmt: skip
        return p

    @property
    def inputs(self) -> dict[str, int]:
        """Names of the possible inputs, and the number of units that each has."""
        receptors = {f"{pop}.{r}": x.n for pop, x in self.populations.items() for r in x.receptors}
        return {**self.sizes, **receptors}

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the state variables: `"E.v"`, `"E.exc.g"`."""
        return tuple(f"{pop}.{x}" for pop, p in self.populations.items() for x in p.variables)

    @property
    def sizes(self) -> dict[str, int]:
        """Names of the populations and their numbers of neurons."""
        return {pop: x.n for pop, x in self.populations.items()}

    def read(self, state: NetworkState, name: str) -> Float[Array, " n"]:
        """The state variable `name`, as listed by `variables`."""
        population, _, variable = name.partition(".")
        if name not in self.variables:
            raise ValueError(f"no state variable {name!r}; available: {', '.join(self.variables)}")
        return self.populations[population].read(state.populations[population], variable)

    def init(self, *, dt, key=None):
        keys = (
            {}
            if key is None
            else dict(zip(self.populations, jax.random.split(key, len(self.populations)), strict=True))
        )
        populations = {name: p.init(dt=dt, key=keys.get(name)) for name, p in self.populations.items()}
        longest: dict[str, int] = {}
        for p in self.projections.values():
            longest[p.pre] = max(p.steps(dt), longest.get(p.pre, 1))
        dtype = lambda name: jax.tree.leaves(populations[name].neuron)[0].dtype
        # One row needs no ring, and as an array of its own it is not computed twice.
        shape = lambda name, steps: (*([steps] if steps > 1 else []), self.populations[name].n)
        history = {name: jnp.zeros(shape(name, steps), dtype(name)) for name, steps in longest.items()}
        return NetworkState(populations, history)

    def prepare(self, solver, *, dt):
        if isinstance(solver, Mapping):
            if unknown := [name for name in solver if name not in self.populations]:
                raise ValueError(
                    f"solver for unknown population {unknown[0]!r}; available: {', '.join(self.populations)}"
                )
            return {name: p.prepare(solver.get(name), dt=dt) for name, p in self.populations.items()}
        return {name: p.prepare(solver, dt=dt) for name, p in self.populations.items()}

    def step(self, k, dt, state, inputs, solver):
        # What arrives at k + 1 left at k + 1 - delay, and delay >= 1: populations do not wait for one another.
        arriving: dict[str, dict[str, Array]] = {name: {} for name in self.populations}
        for name, value in inputs.items():
            population, _, receptor = name.partition(".")
            arriving[population][receptor or "current"] = value
        for p in self.projections.values():
            population, receptor = p.target
            events = p.connect(_row(state.history[p.pre], k - p.steps(dt)))
            there = arriving[population]
            there[receptor] = there[receptor] + events if receptor in there else events
        stepped = {
            name: p.step(k, dt, state.populations[name], arriving[name], solver[name])
            for name, p in self.populations.items()
        }
        spikes = {name: s for name, (_, s) in stepped.items()}
        history = {name: _set_row(h, k, spikes[name]) for name, h in state.history.items()}
        return NetworkState({name: s for name, (s, _) in stepped.items()}, history), spikes


def _row(history: Float[Array, "*delay n"], k: Array) -> Float[Array, " n"]:
    if history.ndim == 1:
        return history
    length = history.shape[0]
    return jax.lax.dynamic_index_in_dim(history, jax.lax.rem(k + length, jnp.asarray(length, k.dtype)), keepdims=False)


def _set_row(history: Float[Array, "*delay n"], k: Array, spikes: Float[Array, " n"]) -> Float[Array, "*delay n"]:
    if history.ndim == 1:
        return spikes
    length = jnp.asarray(history.shape[0], k.dtype)
    return jax.lax.dynamic_update_index_in_dim(history, spikes, jax.lax.rem(k, length), 0)


def _names(projections: Iterable[Projection]) -> dict[str, Projection]:
    """`"E->I.exc"`, with `#2`, `#3` for repetitions."""
    named: dict[str, Projection] = {}
    for p in projections:
        name, i = f"{p.pre}->{p.post}", 1
        while (name if i == 1 else f"{name}#{i}") in named:
            i += 1
        named[name if i == 1 else f"{name}#{i}"] = p
    return named
