"""How a network is stepped where nobody differentiates: populations that are alike as one, projections in one call.

It changes no result but for rounding, where events of several projections are added up in another order. Every loop
over neurons and every call of a kernel costs something beside its work; eight populations of the same cell need no more
of them than one. Whether populations are alike is seen in the values of their parameters; one that is being traced is
equal to itself only.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from . import ops
from ._alike import End, arranged
from ._dynamics import AbstractDelayed, AbstractNode
from ._jump import step_and_list
from ._network import Network, NetworkState, row_of, set_row
from ._population import Population, PopulationState
from ._projection import Fused
from .ops._blocks import Place, deliver_blocks


class Together(AbstractNode):
    """A network whose populations are stepped in groups; see `together`. `pack` and `unpack` convert its state."""

    network: Network
    groups: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    ends: tuple[tuple[End, ...], ...] = eqx.field(static=True)  # of each group
    driven_alike: tuple[bool, ...] = eqx.field(static=True)  # whether one current flows into a whole group
    flat: tuple[bool, ...] = eqx.field(static=True)  # whether the last step's spikes are all that a group remembers

    @property
    def inputs(self) -> dict[str, int]:
        return self.network.inputs

    @property
    def variables(self) -> tuple[str, ...]:
        return self.network.variables

    @property
    def sizes(self) -> dict[str, int]:
        return self.network.sizes

    def read(self, state: NetworkState, name: str) -> Array:
        """The state variable `name` of the network's own state, as `unpack` gives it."""
        return self.network.read(state, name)

    def init(self, *, dt, key=None):
        return self.pack(self.network.init(dt=dt, key=key), jnp.zeros((), jnp.int32))

    def prepare(self, solver, *, dt):
        return self.network.prepared(solver, dt, {names[0]: self._population(names) for names in self.groups})

    def pack(self, state: NetworkState, k: Array) -> NetworkState:
        """The state of the network with one record for each group, named after its first population.

        Instead of the steps that a neuron is still refractory it holds the step from which on it is not: that changes
        with a spike only.
        """
        populations, history, relevant = {}, dict(state.history), dict(state.relevant)
        for names, flat in zip(self.groups, self.flat, strict=True):
            whole = jax.tree.map(lambda *x: _joined(x), *[state.populations[name] for name in names])
            populations[names[0]] = whole._replace(refractory=whole.refractory + k)
            for ring in (history, relevant) if flat else ():
                there = [ring.pop(name, None) for name in names]
                if any(x is not None for x in there):
                    dtype = next(x.dtype for x in there if x is not None)
                    pairs = zip(there, names, strict=True)
                    ring[names[0]] = _joined([jnp.zeros(self.sizes[n], dtype) if x is None else x for x, n in pairs])
        return NetworkState(populations, history, state.lists, relevant, state.late)

    def unpack(self, state: NetworkState, k: Array) -> NetworkState:
        """The state of the network, population by population, before step `k`."""
        populations, history, relevant = {}, dict(state.history), dict(state.relevant)
        sending = {p.pre for p in self.network.projections.values()}
        for names, flat in zip(self.groups, self.flat, strict=True):
            whole = state.populations[names[0]]
            whole = whole._replace(refractory=jnp.maximum(whole.refractory - k, 0))
            rings = [(ring, ring.pop(names[0], None)) for ring in (history, relevant)] if flat else []
            for name, part in self._parts(names):
                populations[name] = jax.tree.map(part, whole)
                for ring, x in rings:
                    if x is not None and name in sending:
                        ring[name] = part(x)
        inside = lambda by_name: {name: by_name[name] for name in self.sizes if name in by_name}
        return NetworkState(inside(populations), inside(history), state.lists, inside(relevant), state.late)

    def step(self, k, dt, state, inputs, solver):
        state, spikes, _ = self.step_and_list(k, k, dt, state, inputs, solver, {})
        return state, spikes

    def step_and_list(
        self,
        k: Array,
        i: Array,
        dt: float,
        state: NetworkState,
        inputs: Any,
        solver: Any,
        recorded: dict[str, dict[str, Array]],
    ) -> tuple[NetworkState, dict[str, Array], dict[str, dict[str, Array]]]:
        """One step, and the lists of spikes `recorded` (by record and population) with those of this step.

        It is step `k` of the network and step `i` of the run: in the lists, and where the state was packed.
        """
        apart = {name for ends in self.ends for end in ends for name in end.projections}
        arriving = self.network.arriving(k, dt, self.unpack(state, i), inputs, solver, apart)
        ends = [(g, end) for g, ends in enumerate(self.ends) for end in ends]
        early = [(g, end) for g, end in ends if end.variable is None]
        events = self._delivered(k, dt, state, early, [self._nothing(*at) for at in early])
        populations, history, lists, relevant, spikes = {}, dict(state.history), {}, dict(state.relevant), {}
        recorded = {record: dict(by_name) for record, by_name in recorded.items()}
        for g, (names, alike, flat) in enumerate(zip(self.groups, self.driven_alike, self.flat, strict=True)):
            first, population = names[0], self._population(names)
            flowing = _side_by_side(population, alike, [(arriving[n], self.sizes[n]) for n in names])
            for receptor, more in [(end.receptor, x) for (h, end), x in zip(early, events, strict=True) if h == g]:
                flowing[receptor] = flowing[receptor] + more if receptor in flowing else more
            places = {name: (i, n) for name, i, n in self._places(names)}
            mine = [(record, name) for record, by_name in recorded.items() for name in by_name if name in places]
            before = state.populations[first]
            after, spiked, listed = step_and_list(
                population, k, i, dt, before, flowing, solver.solvers[first],
                [recorded[record][name] for record, name in mine], [places[name] for _, name in mine],
            )  # fmt: skip
            for (record, name), rows in zip(mine, listed, strict=True):
                recorded[record][name] = rows
            populations[first] = after
            spikes |= {name: part(spiked) for name, part in self._parts(names)}
            free = before._replace(refractory=jnp.maximum(before.refractory - i, 0))
            near = population.relevant(free, after, spiked)
            rings: list[tuple[dict[str, Array], Any]] = [(history, spiked), (relevant, near)]
            for ring, x in rings:
                if flat and first in ring:
                    ring[first] = x
                elif not flat:
                    ring |= {n: set_row(ring[n], k, part(x)) for n, part in self._parts(names) if n in ring}
            for name in (name for name in names if name in state.lists):
                size = state.lists[name].shape[1]
                lists[name] = set_row(state.lists[name], k, ops.spike_list(spikes[name], size))
        # Receptors that only add up what arrives need no vector of it. Nothing in this step looks at them any more.
        sums = [(g, end) for g, end in ends if end.variable is not None]
        variables = lambda populations: [self._variable(populations, *at) for at in sums]
        populations = eqx.tree_at(variables, populations, self._delivered(k, dt, state, sums, variables(populations)))
        late = self.network.sent(k, dt, state, spikes)
        return NetworkState(populations, history, lists, relevant, late), spikes, recorded

    def _population(self, names: tuple[str, ...]) -> Population:
        """The populations of a group as one."""
        members = [self.network.populations[name] for name in names]
        if len(members) == 1:
            return members[0]
        join = lambda *x: _joined(x) if eqx.is_array(x[0]) and x[0].ndim else x[0]
        neuron, receptors = jax.tree.map(join, *[(p.neuron, p.receptors) for p in members])
        return Population(sum(p.n for p in members), neuron, receptors)

    def _places(self, names: tuple[str, ...]) -> list[tuple[str, int, int]]:
        """The populations of a group, where each begins in a vector of the group, and how many neurons it has."""
        starts = itertools.accumulate((self.sizes[name] for name in names), initial=0)
        return [(name, start, self.sizes[name]) for name, start in zip(names, starts, strict=False)]

    def _parts(self, names: tuple[str, ...]) -> list[tuple[str, Callable[[Array], Array]]]:
        """The populations of a group, and what takes the part of each out of a vector of the group."""
        if len(names) == 1:
            return [(names[0], lambda x: x)]
        return [(name, lambda x, i=i, n=n: x[i : i + n]) for name, i, n in self._places(names)]

    def _variable(self, populations: dict[str, PopulationState], group: int, end: End) -> Array:
        """The variable to which the receptor of a group adds what arrives."""
        return jax.tree.leaves(populations[self.groups[group][0]].receptors[end.receptor])[end.variable or 0]

    def _nothing(self, group: int, end: End) -> Array:
        """The events at a receptor of a group, before there are any."""
        dtype = self.network.projections[end.projections[0]].connect.weight.dtype
        return jnp.zeros(sum(self.sizes[name] for name in self.groups[group]), dtype)

    def _delivered(
        self, k: Array, dt: float, state: NetworkState, ends: list[tuple[int, End]], targets: list[Array]
    ) -> list[Array]:
        """What arrives at the `ends`, each with its group, added to the `targets`; all by one call."""
        if not ends:
            return []
        home = {name: (g, i, n) for g, names in enumerate(self.groups) for name, i, n in self._places(names)}
        sources: dict[tuple[str, int], int] = {}
        placed = []
        for target, (_, end) in enumerate(ends):
            for p in (self.network.projections[name] for name in end.projections):
                g, start, _ = home[p.pre]
                whole = self.flat[g]  # what is remembered of the group's spikes is one vector
                source = sources.setdefault((self.groups[g][0] if whole else p.pre, p.steps(dt)), len(sources))
                _, first_post, n_post = home[p.target[0]]
                at = Place(source, start if whole else 0, target, first_post, n_post, p.connect.weight.ndim == 1)
                placed.append((at, (p.connect.indices, p.connect.indptr, jnp.atleast_1d(p.connect.weight))))
        placed.sort(key=lambda pair: pair[0].source)
        sent = [row_of(state.history[name], k, steps) for name, steps in sources]
        return deliver_blocks(sent, [block for _, block in placed], [at for at, _ in placed], targets)


# Neurons of a network: beyond, the arrays of a group do not stay in a core's cache from one loop to the next. Measured
# with COBA (1,000 to 400,000 neurons) and the microcircuit at several scales.
_CACHED = 40_000


def is_small(node: AbstractNode) -> bool:
    """Whether what a node remembers stays in a core's cache."""
    return sum(node.sizes.values()) <= _CACHED


def better_together(node: AbstractNode) -> TypeGuard[Network]:
    """Whether a node is a network of populations: none derived, which may be stepped otherwise.

    In large networks it pays to deliver everything with one delay in one call; that is not how synapses that differ in
    delay are delivered, and populations apart then keep two cores busier.
    """
    if type(node) is not Network or any(type(p) is not Population for p in node.populations.values()):
        return False
    late = (isinstance(p.connect, Fused | AbstractDelayed) for p in node.projections.values())
    return is_small(node) or not any(late)


def together(
    network: Network, state: NetworkState, solver: Any, inputs: Mapping[str, Any]
) -> Callable[[Network], Together]:
    """What makes of `network`, or of one with the same parameters, one for a run from `state`: alike in groups."""
    arrangement = arranged(network, state, solver, inputs)
    return lambda network: Together(network, *arrangement)


def _side_by_side(population: Population, alike: bool, parts: list[tuple[dict[str, Any], int]]) -> dict[str, Any]:
    """What arrives at the populations of a group as what arrives at all of them."""
    if len(parts) == 1:
        return dict(parts[0][0])
    flowing: dict[str, Any] = {}
    for name in population.inputs:
        given = [(x.get(name, 0.0), n) for x, n in parts]
        if not any(name in x for x, _ in parts):
            continue
        if name == "current" and alike:
            flowing[name] = given[0][0]
        elif any(callable(x) for x, _ in given):
            at = lambda t, given=given: [(x(t) if callable(x) else x, n) for x, n in given]
            flowing[name] = lambda t, at=at: _joined([jnp.broadcast_to(x, (n,)) for x, n in at(t)])
        else:
            flowing[name] = _joined([jnp.broadcast_to(x, (n,)) for x, n in given])
    return flowing


def _joined(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)
