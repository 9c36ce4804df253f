"""How a network is stepped where nobody differentiates: populations that are alike as one, projections in one call.

It changes no result but for rounding, where events of several projections are added up in another order. Every loop
over neurons and every call of a kernel costs something beside its work; eight populations of the same cell need no more
of them than one. Only an outermost run can do this: it sees the values of parameters, and so whether populations are
alike.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from . import ops
from ._alike import End, arranged
from ._dynamics import AbstractNode
from ._jump import step_and_list
from ._network import Network, NetworkState, row_of, set_row
from ._population import Population
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
        apart = {name for ends in self.ends for end in ends for name in end.projections if name is not None}
        arriving = self.network.arriving(k, dt, self.unpack(state, i), inputs, solver, apart)
        delivered = self._delivered(k, dt, state)
        populations, history, lists, relevant, spikes = {}, dict(state.history), {}, dict(state.relevant), {}
        recorded = {record: dict(by_name) for record, by_name in recorded.items()}
        for names, alike, flat, events in zip(self.groups, self.driven_alike, self.flat, delivered, strict=True):
            first, population = names[0], self._population(names)
            flowing = _side_by_side(population, alike, [(arriving[n], self.sizes[n]) for n in names])
            for receptor, more in events:
                flowing[receptor] = flowing[receptor] + more if receptor in flowing else more
            starts = dict(zip(names, self._starts(names), strict=True))
            mine = [(record, name) for record, by_name in recorded.items() for name in by_name if name in starts]
            before = state.populations[first]
            after, spiked, listed = step_and_list(
                population, k, i, dt, before, flowing, solver.solvers[first],
                [recorded[record][name] for record, name in mine], [(starts[n], self.sizes[n]) for _, n in mine],
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


# Neurons of a network: beyond, the arrays of a group do not stay in a core's cache from one loop to the next, as those
# of one population may, and fewer loops do not pay for that. Measured with COBA and the microcircuit at several scales.
_MOST = 40_000


def better_together(node: AbstractNode) -> TypeGuard[Network]:
    """Whether a node is a network, not too large, of populations: none derived, which may be stepped otherwise."""
    if type(node) is not Network or sum(node.sizes.values()) > _MOST:
        return False
    return all(type(p) is Population for p in node.populations.values())


def together(network: Network, state: NetworkState, solver: Any, inputs: Mapping[str, Any]) -> Together:
    """`network` for a run from `state`, with populations that are alike in groups."""
    return Together(network, *arranged(network, state, solver, inputs))


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
