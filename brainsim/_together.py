"""How a network is stepped where nobody differentiates: populations that are alike as one, projections in one call.

It changes no result. Every loop over neurons and every call of a kernel costs something beside its work; eight
populations of the same cell need no more of them than one. Only an outermost run can do this: it sees the values of
parameters, and so whether populations are alike.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from . import ops
from ._dynamics import AbstractNode
from ._network import Network, NetworkState, row_of, set_row
from ._population import Population
from ._projection import Projection
from ._spikes import Part
from .ops._blocks import Place, deliver_blocks
from .synapses import CSR


class End(NamedTuple):
    """One vector of events for a receptor of a group: a projection, or none, into each of its populations.

    Either all have one weight per synapse, or each has one for all; `same` says that these are equal.
    """

    receptor: str
    weighted: bool
    same: bool
    projections: tuple[str | None, ...]


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
        return self.pack(self.network.init(dt=dt, key=key))

    def prepare(self, solver, *, dt):
        return self.network.prepared(solver, dt, {names[0]: self._population(names) for names in self.groups})

    def pack(self, state: NetworkState) -> NetworkState:
        """The state of the network with one record for each group, named after its first population."""
        populations, history, relevant = {}, dict(state.history), dict(state.relevant)
        for names, flat in zip(self.groups, self.flat, strict=True):
            members = [state.populations[name] for name in names]
            populations[names[0]] = jax.tree.map(lambda *x: _joined(x), *members)
            for ring in (history, relevant) if flat else ():
                sizes = [self.sizes[name] for name in names]
                there = [ring.pop(name, None) for name in names]
                if any(x is not None for x in there):
                    dtype = next(x.dtype for x in there if x is not None)
                    rows = [jnp.zeros(n, dtype) if x is None else x for x, n in zip(there, sizes, strict=True)]
                    ring[names[0]] = _joined(rows)
        return NetworkState(populations, history, state.lists, relevant)

    def unpack(self, state: NetworkState) -> NetworkState:
        """The state of the network, population by population."""
        populations, history, relevant = {}, dict(state.history), dict(state.relevant)
        sending = {p.pre for p in self.network.projections.values()}
        for names, flat in zip(self.groups, self.flat, strict=True):
            together = state.populations[names[0]]
            rings = [(ring, ring.pop(names[0], None)) for ring in (history, relevant)] if flat else []
            for name, part in self._parts(names):
                populations[name] = jax.tree.map(part, together)
                for ring, x in rings:
                    if x is not None and name in sending:
                        ring[name] = part(x)
        inside = lambda by_name: {name: by_name[name] for name in self.sizes if name in by_name}
        return NetworkState(inside(populations), inside(history), state.lists, inside(relevant))

    def step(self, k, dt, state, inputs, solver):
        apart = {name for ends in self.ends for end in ends for name in end.projections if name is not None}
        arriving = self.network.arriving(k, dt, self.unpack(state), inputs, solver, apart)
        delivered = self._delivered(k, dt, state)
        populations, history, lists, relevant, spikes = {}, dict(state.history), {}, dict(state.relevant), {}
        for names, alike, flat, events in zip(self.groups, self.driven_alike, self.flat, delivered, strict=True):
            first, population = names[0], self._population(names)
            flowing = _side_by_side(population, alike, [(arriving[n], self.sizes[n]) for n in names])
            for receptor, more in events:
                flowing[receptor] = flowing[receptor] + more if receptor in flowing else more
            before = state.populations[first]
            after, spiked = population.step(k, dt, before, flowing, solver.solvers[first])
            populations[first] = after
            first_of = dict(zip(names, self._starts(names), strict=True))
            spikes |= {name: Part(spiked, first_of[name], self.sizes[name]) for name in names}
            near = population.relevant(before, after, spiked)
            for ring, x in ((history, spiked), (relevant, near)):
                if flat and first in ring:
                    ring[first] = x
                elif not flat:
                    ring |= {n: set_row(ring[n], k, part(x)) for n, part in self._parts(names) if n in ring}
            for name in (name for name in names if name in state.lists):
                size = state.lists[name].shape[1]
                lists[name] = set_row(state.lists[name], k, ops.spike_list(spikes[name].spikes, size))
        return NetworkState(populations, history, lists, relevant), spikes

    def _population(self, names: tuple[str, ...]) -> Population:
        """The populations of a group as one."""
        members = [self.network.populations[name] for name in names]
        if len(members) == 1:
            return members[0]
        join = lambda *x: _joined(x) if eqx.is_array(x[0]) and x[0].ndim else x[0]
        neuron, receptors = jax.tree.map(join, *[(p.neuron, p.receptors) for p in members])
        return Population(sum(p.n for p in members), neuron, receptors)

    def _starts(self, names: tuple[str, ...]) -> list[int]:
        """Where each population of a group begins in a vector of the group."""
        return [sum(self.sizes[name] for name in names[:i]) for i in range(len(names))]

    def _parts(self, names: tuple[str, ...]) -> list[tuple[str, Callable[[Array], Array]]]:
        """The populations of a group, and what takes the part of each out of a vector of the group."""
        if len(names) == 1:
            return [(names[0], lambda x: x)]
        places = zip(names, self._starts(names), strict=True)
        return [(name, lambda x, i=i, n=self.sizes[name]: x[i : i + n]) for name, i in places]

    def _delivered(self, k: Array, dt: float, state: NetworkState) -> list[list[tuple[str, Array]]]:
        """The events at the receptors of each group, all by one call."""
        home = {name: (i, names) for i, names in enumerate(self.groups) for name in names}
        start: dict[str, int] = {}  # of a population in what its group sends
        for names, flat in zip(self.groups, self.flat, strict=True):
            start |= dict(zip(names, self._starts(names) if flat else [0] * len(names), strict=True))
        sources: dict[tuple[str, int], int] = {}
        placed, offset = [], 0
        for names, ends in zip(self.groups, self.ends, strict=True):
            for end in ends:
                for name, projection in zip(names, end.projections, strict=True):
                    if projection is not None:
                        p = self.network.projections[projection]
                        i, group = home[p.pre]
                        source = sources.setdefault((group[0] if self.flat[i] else p.pre, p.steps(dt)), len(sources))
                        placed.append((Place(source, start[p.pre], offset, self.sizes[name], end.weighted), p.connect))
                    offset += self.sizes[name]
        if not placed:
            return [[] for _ in self.groups]
        placed.sort(key=lambda pair: pair[0].source)
        sent = [row_of(state.history[name], k - steps) for name, steps in sources]
        arrays = [(c.indices, c.indptr, *([c.weight] if at.weighted else [])) for at, c in placed]
        events = deliver_blocks(sent, arrays, [at for at, _ in placed], offset)
        found, offset = [], 0
        for names, ends in zip(self.groups, self.ends, strict=True):
            n = sum(self.sizes[name] for name in names)
            found.append([])
            for end in ends:
                part = events[offset : offset + n]
                found[-1].append((end.receptor, part if end.weighted else self._weight(names, end) * part))
                offset += n
        return found

    def _weight(self, names: tuple[str, ...], end: End) -> Array:
        """What the events of an end, counted, are to be multiplied by."""
        weights = [None if p is None else self.network.projections[p].connect.weight for p in end.projections]
        if end.same:
            return next(w for w in weights if w is not None)
        there = zip(names, weights, strict=True)
        return jnp.concatenate([jnp.broadcast_to(0.0 if w is None else w, (self.sizes[n],)) for n, w in there])


def together(network: Network, state: NetworkState, solver: Any, inputs: Mapping[str, Any]) -> Together:
    """`network` for a run from `state`: which populations are alike, and which projections go into one call.

    Populations are alike if their equations are, and all their parameters that are not given neuron by neuron.
    """
    groups: list[list[str]] = []
    kinds = {name: _kind(p) for name, p in network.populations.items()}
    solvers = {name: solver.get(name) if isinstance(solver, Mapping) else None for name in kinds}
    for name, kind in kinds.items():
        like = lambda other: solvers[other] is solvers[name] and kinds[other] == kind  # noqa: B023
        match = [group for group in groups if kind is not None and like(group[0])]
        match[0].append(name) if match else groups.append([name])
    ends = tuple(_ends(network, state, names) for names in groups)
    alike = tuple(_equal([inputs.get(name) for name in names]) for names in groups)
    flat = tuple(all(state.history[n].ndim == 1 for n in names if n in state.history) for names in groups)
    return Together(network, tuple(map(tuple, groups)), ends, alike, flat)


def _kind(population: Population) -> Any:
    """Equal for populations that are alike; None for one that is like no other, since its noise is its own."""
    if population.noise:
        return None
    leaves, tree = jax.tree.flatten((population.neuron, population.receptors))
    return tree, [_value(x, population.n) for x in leaves]


def _value(x: Any, n: int) -> Any:
    """A parameter as something to compare: its value, or that there is one for each neuron."""
    if not eqx.is_array(x):
        return id(x)
    return (x.dtype, "each") if x.shape == (n,) and n > 1 else (x.dtype, x.shape, np.asarray(x).tobytes())


def _equal(values: Sequence[Any]) -> bool:
    """Whether all are the same number."""
    if not all(eqx.is_array(x) and x.ndim == 0 for x in values):
        return False
    return len({(x.dtype, np.asarray(x).tobytes()) for x in values}) == 1


def _ends(network: Network, state: NetworkState, names: Sequence[str]) -> tuple[End, ...]:
    """The projections into a group that can be delivered in one call, arranged in vectors."""
    ends: list[tuple[str, bool, dict[str, str]]] = []
    for name, p in network.projections.items():
        population, receptor = p.target
        if population in names and _fits(p, state):
            weighted = p.connect.weight.ndim == 1
            free = [e for r, w, e in ends if (r, w) == (receptor, weighted) and population not in e]
            if not free:
                ends.append((receptor, weighted, free_one := {}))
                free = [free_one]
            free[0][population] = name
    weight = lambda name: network.projections[name].connect.weight
    same = lambda weighted, used: not weighted and _equal([weight(name) for name in used.values()])
    return tuple(End(r, w, same(w, used), tuple(used.get(n) for n in names)) for r, w, used in ends)


def _fits(p: Projection, state: NetworkState) -> bool:
    return isinstance(p.connect, CSR) and p.connect.weight.dtype == state.history[p.pre].dtype


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
