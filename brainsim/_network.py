"""A network: populations wired by name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from . import ops
from ._bundle import Synapses, bundled, grouped, part, synapses, with_delays
from ._compat import at_once, zeros
from ._doors import by_name, key_or_none
from ._dynamics import AbstractDelayed, AbstractNode, AbstractRule, Past
from ._population import Population, PopulationState
from ._projection import Fused, Projection, steps_of
from ._quantity import shown
from ._surrogate import AbstractCompactSurrogate
from ._text import choices
from .synapses import DelayedCSR, DelayedRegenerated

_key_of = jax.jit(jax.random.fold_in)  # of each projection: one program instead of a dozen operations


class NetworkState(NamedTuple):
    """The states of the populations, and the spikes that are still on their way.

    `history[name]` holds the last spikes of a population: those of the last step, shape (n,), if no delay is longer
    than a step; else those of as many steps as the longest delay has, shape (steps, n), step k in row k mod steps.
    `lists[name]` has the neurons that spiked in each of these steps, for populations whose synapses differ in delay:
    shape (steps, size), each an `ops.spike_list`.
    `relevant[name]`, for populations whose surrogate has compact support, says which of them may have a derivative;
    reverse mode takes that of the others to be zero.
    `late[name]`, for projections whose procedural synapses differ in delay, holds the events that wait for their step:
    shape (steps, n_post), those of step k in row k mod steps.
    """

    populations: dict[str, PopulationState]
    history: dict[str, Float[Array, "*delay n"]]
    lists: dict[str, Int[Array, "delay size"]]
    relevant: dict[str, Bool[Array, "*delay n"]]
    late: dict[str, Float[Array, "delay post"]]


class Prepared(NamedTuple):
    """What a run computes before its time loop: solvers by population, connectivities with delays by projection."""

    solvers: dict[str, Any]
    delayed: dict[str, AbstractDelayed]


class Network(AbstractNode):
    """Populations wired by projections.

    **Arguments:**

    - `populations`: names and populations.
    - `projections`: a list of projections, or a dict that names them; the list is named `"E->I.exc"`, and so on.
    - `key`: draws the connectivity of projections that have a wiring rule; `jax.random.key(seed)`.

    **Raises:** `ValueError` naming the populations and receptors there are, if a projection does not fit them.

    Inputs are named `"E"` (current) and `"E.exc"` (events at a receptor), variables `"E.v"` and `"E.exc.g"`.

    Projections whose synapses differ in delay (`delay=` a function or an array) are merged by presynaptic population,
    so that one call delivers them all: `bundles["E"]` is a `DelayedCSR` of all that starts from E, with the weights.
    `synapses(name)` lists those of one projection.

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
    bundles: dict[str, DelayedCSR]
    ends: tuple[tuple[str, int, int], ...] = eqx.field(static=True)  # "E.exc": start and size in the events of a bundle

    def __init__(
        self,
        populations: Mapping[str, Population],
        projections: Mapping[str, Projection] | Iterable[Projection] = (),
        *,
        key: Array | None = None,
    ):
        self.populations = by_name(populations, "populations", "dict(E=Population(...))")
        for name, p in self.populations.items():
            if not isinstance(p, AbstractNode) or "." in name:
                raise ValueError(f"population {name!r} must be a Population, with a name without dots; got {shown(p)}")
        key_or_none(key)
        named: Any = dict(projections) if isinstance(projections, Mapping) else _names(projections)
        for p in named.values():
            _check_projection(p)
        groups = grouped(named)
        late = {name for names in groups.values() for name in names}
        number = {name: i for i, name in enumerate(named)}
        build = lambda name: self._built(named[name], name, number[name], key)
        built = {name: build(name) for name in named if name not in late}
        first, total = self._ends({name: p for name, p in named.items() if name in late})
        self.bundles = {}
        for bundle, names in groups.items():  # one after the other: the matrices of its parts are gone after each
            keys = {name: None if key is None else _key_of(key, number[name]) for name in names}
            self.bundles[bundle], fused = bundled(
                bundle, {name: named[name] for name in names}, build, keys, first, total
            )
            built |= fused
        self.projections = {name: built[name] for name in named}
        self.ends = tuple((post, i, self.populations[post.split(".")[0]].n) for post, i in first.items())

    def _ends(self, projections: dict[str, Projection]) -> tuple[dict[str, int], int]:
        """Where the events of each `"population.receptor"` begin in the vector that all bundles add to; its length."""
        first: dict[str, int] = {}
        total = 0
        for name, p in projections.items():
            self._check_ends(p, name)
            if p.post not in first:
                first[p.post] = total
                total += self.populations[p.target[0]].n
        return first, total

    def _check_ends(self, p: Projection, name: str) -> None:
        receptors = {pop: list(x.receptors) for pop, x in self.populations.items()}
        population, receptor = p.target
        if p.pre not in receptors or receptor not in receptors.get(population, []):
            raise ValueError(f"projection {name!r} goes from {p.pre!r} to {p.post!r}, but the network has {receptors}")

    def _built(self, p: Projection, name: str, i: int, key: Array | None) -> Projection:
        """The projection with its connectivity drawn, checked against the populations."""
        self._check_ends(p, name)
        population, _ = p.target
        n_pre, n_post = self.populations[p.pre].n, self.populations[population].n
        if isinstance(p.connect, AbstractRule):
            if key is None:
                raise ValueError(
                    f"projection {name!r} has a wiring rule; Network(..., key=jax.random.key(seed)) draws it"
                )
            connect = p.connect.build(_key_of(key, i), n_pre, n_post, same=p.pre == population)
            p = Projection(p.pre, p.post, connect, p.delay, p.resolution)
        if (p.connect.n_pre, p.connect.n_post) != (n_pre, n_post):
            got = (p.connect.n_pre, p.connect.n_post)
            raise ValueError(f"projection {name!r} connects {got[0]} to {got[1]} neurons, but its populations have "
                             f"{n_pre} and {n_post}")  # fmt: skip
        return with_delays(name, p)

    def synapses(self, name: str) -> Synapses:
        """The synapses of the projection `name`: arrays of presynaptic and postsynaptic neuron, weight and delay (ms).

        ```python
        >>> import brainsim as bs, jax
        >>> cells = bs.Population(2, bs.LIF(), dict(exc=bs.ExpCurrent()))
        >>> rule = bs.FromArrays(pre=[0, 1], post=[1, 0], weight=[5.0, 6.0])
        >>> loop = bs.Projection("E", "E.exc", rule, delay=[1.5, 0.5])
        >>> net = bs.Network(dict(E=cells), [loop], key=jax.random.key(0))
        >>> net.synapses("E->E.exc").delay.tolist()
        [1.5, 0.5]

        ```
        """
        if name not in self.projections:
            raise ValueError(f"no projection {name!r}; {choices(name, self.projections)}")
        p = self.projections[name]
        return part(self.bundles[p.connect.bundle], p) if isinstance(p.connect, Fused) else synapses(name, p)

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
            raise ValueError(f"no state variable {name!r}; {choices(name, self.variables)}")
        return self.populations[population].read(state.populations[population], variable)

    def init(self, *, dt, key=None):
        split = lambda key: list(jax.random.split(key, len(self.populations)))
        keys = {} if key is None else dict(zip(self.populations, at_once(split, key), strict=True))
        populations = {name: p.init(dt=dt, key=keys.get(name)) for name, p in self.populations.items()}
        longest: dict[str, int] = {}
        late: set[str] = set()  # populations with synapses that differ in delay
        for p in self.projections.values():
            fused = isinstance(p.connect, Fused)
            steps = self.bundles[p.connect.bundle].longest(dt=dt) if fused else steps_of(p, dt)
            longest[p.pre] = max(steps, longest.get(p.pre, 1))
            late |= {p.pre} if isinstance(p.connect, Fused | AbstractDelayed) else set()
        dtype = lambda name: jax.tree.leaves(populations[name].neuron)[0].dtype
        # One row needs no ring, and as an array of its own it is not computed twice.
        shape = lambda name, steps: (*([steps] if steps > 1 or name in late else []), self.populations[name].n)
        history = {name: zeros(shape(name, steps), dtype(name)) for name, steps in longest.items()}
        size = lambda name: 1 + max(_LISTED, self.populations[name].n // 16)
        lists = {name: zeros((longest[name], size(name)), jnp.int32) for name in longest if name in late}
        compact = lambda name: isinstance(self.populations[name].neuron.surrogate, AbstractCompactSurrogate)
        relevant = {name: jnp.ones(x.shape, bool) for name, x in history.items() if compact(name)}
        waiting = {name: c.init(dt=dt, dtype=history[p.pre].dtype) for name, p, c in _late(self)}
        return NetworkState(populations, history, lists, relevant, waiting)

    def prepare(self, solver, *, dt):
        return self.prepared(solver, dt, self.populations)

    def prepared(self, solver: Any, dt: float, populations: Mapping[str, Population]) -> Prepared:
        """`prepare` with solvers for these populations; `solver` may still name any of the network."""
        delayed = {n: p.connect for n, p in self.projections.items() if isinstance(p.connect, AbstractDelayed)}
        if isinstance(solver, Mapping):
            if unknown := [name for name in solver if name not in self.populations]:
                raise ValueError(
                    f"solver for unknown population {unknown[0]!r}; {choices(unknown[0], self.populations)}"
                )
        of = lambda name: solver.get(name) if isinstance(solver, Mapping) else solver
        solvers = {name: p.prepare(of(name), dt=dt) for name, p in populations.items()}
        return Prepared(solvers, {n: connect.prepare(dt=dt) for n, connect in delayed.items()})

    def step(self, k, dt, state, inputs, solver):
        arriving = self.arriving(k, dt, state, inputs, solver)
        stepped = {
            name: p.step(k, dt, state.populations[name], arriving[name], solver.solvers[name])
            for name, p in self.populations.items()
        }
        spikes = {name: s for name, (_, s) in stepped.items()}
        history = {name: set_row(h, k, spikes[name]) for name, h in state.history.items()}
        lists = {name: set_row(x, k, ops.spike_list(spikes[name], x.shape[1])) for name, x in state.lists.items()}
        of = lambda name: self.populations[name].relevant(state.populations[name], stepped[name][0], spikes[name])
        relevant = {name: set_row(x, k, of(name)) for name, x in state.relevant.items()}
        late = self.sent(k, dt, state, spikes)
        return NetworkState({name: s for name, (s, _) in stepped.items()}, history, lists, relevant, late), spikes

    def arriving(
        self, k: Array, dt: float, state: NetworkState, inputs: Mapping[str, Any], solver: Prepared, apart: Any = ()
    ) -> dict[str, dict[str, Any]]:
        """What flows into each population in step k, and what arrives at its receptors; not through those `apart`.

        What arrives at k + 1 left at k + 1 - delay, and delay >= 1: populations do not wait for one another.
        """
        arriving: dict[str, dict[str, Any]] = {name: {} for name in self.populations}
        for name, value in inputs.items():
            population, _, receptor = name.partition(".")
            arriving[population][receptor or "current"] = value
        past = {
            name: Past(state.history[name], lists, row_number(lists, k), state.relevant.get(name))
            for name, lists in state.lists.items()
        }
        for name, p in self.projections.items():
            if name in solver.delayed:
                _arrive(arriving, p.post, solver.delayed[name](past[p.pre], dt=dt))
            elif name in state.late:
                _arrive(arriving, p.post, row_of(state.late[name], k))
            elif not isinstance(p.connect, Fused) and name not in apart:
                delay, relevant = p.steps(dt), state.relevant.get(p.pre)
                sent = row_of(state.history[p.pre], k, delay)
                near = None if relevant is None else row_of(relevant, k, delay)
                events = p.connect(sent) if near is None else p.connect.from_relevant(sent, near)
                _arrive(arriving, p.post, events)
        for post, events in self._bundled_events(past, dt).items():
            _arrive(arriving, post, events)
        return arriving

    def sent(self, k: Array, dt: float, state: NetworkState, spikes: dict[str, Array]) -> dict[str, Array]:
        """`state.late` after step k, in which these spikes leave."""
        send = lambda ring, p, connect: connect(ring, spikes[p.pre], row_number(ring, k), dt=dt)
        return {name: send(state.late[name], p, connect) for name, p, connect in _late(self)}

    def _bundled_events(self, past: dict[str, Past], dt: float) -> dict[str, Array]:
        """The events that bundles deliver, by `"population.receptor"`: each adds to one vector, in place."""
        pre = {p.connect.bundle: p.pre for p in self.projections.values() if isinstance(p.connect, Fused)}
        events = None
        for name, bundle in self.bundles.items():
            events = bundle(past[pre[name]], dt=dt, start=events)
        return {} if events is None else {post: events[i : i + n] for post, i, n in self.ends}


_LISTED = 64  # spikes of a step that are listed at least; if there are more than fit, the step is searched for them


def _arrive(arriving: dict[str, dict[str, Array]], post: str, events: Array) -> None:
    population, receptor = post.split(".")
    there = arriving[population]
    there[receptor] = there[receptor] + events if receptor in there else events


def row_number(ring: Array, k: Array) -> Array:
    """The row of a ring that is step k's, as a number that may be negated: the number of a step has no sign."""
    return jax.lax.rem(k, jnp.asarray(ring.shape[0], k.dtype)).astype(jnp.int32)


def row_of(history: Array, k: Array, ago: int = 0) -> Array:
    """What a ring holds of the step that was `ago` steps before step k; negative rows are counted from its end."""
    if history.ndim == 1:
        return history
    return jax.lax.dynamic_index_in_dim(history, row_number(history, k) - ago, keepdims=False)


def set_row(history: Array, k: Array, spikes: Any) -> Array:
    """The ring with what it holds of step k replaced."""
    if history.ndim == 1:
        return spikes
    return jax.lax.dynamic_update_index_in_dim(history, spikes, row_number(history, k), 0)


def _check_projection(p: Any) -> None:
    if not isinstance(p, Projection):
        raise ValueError(f"a network is wired by Projection('E', 'I.exc', rule, delay=1.0), got {shown(p)}")


def _names(projections: Iterable[Projection]) -> dict[str, Projection]:
    """`"E->I.exc"`, with `#2`, `#3` for repetitions."""
    if not isinstance(projections, Sequence | Iterator | Set):
        raise ValueError(f"projections are a list, or a dict that names them; got {shown(projections)}")
    named: dict[str, Projection] = {}
    for p in projections:
        _check_projection(p)
        name, i = f"{p.pre}->{p.post}", 1
        while (name if i == 1 else f"{name}#{i}") in named:
            i += 1
        named[name if i == 1 else f"{name}#{i}"] = p
    return named


def _late(network: Network) -> list[tuple[str, Projection, DelayedRegenerated]]:
    """The projections whose procedural synapses differ in delay, with their names and connectivities."""
    return [(n, p, p.connect) for n, p in network.projections.items() if isinstance(p.connect, DelayedRegenerated)]
