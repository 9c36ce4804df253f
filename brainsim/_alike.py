"""Which populations of a network are alike, and which of its projections one call can deliver.

Found before a run, by looking at the values of parameters: an outermost run sees them, a traced one does not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from ._network import Network, NetworkState
from ._population import Population
from ._projection import Projection
from .synapses import CSR


class End(NamedTuple):
    """One vector of events for a receptor of a group: a projection, or none, into each of its populations.

    Either all have one weight per synapse, or each has one for all; `same` says that these are equal.
    """

    receptor: str
    weighted: bool
    same: bool
    projections: tuple[str | None, ...]


class Arrangement(NamedTuple):
    """How a network is stepped, group by group."""

    groups: tuple[tuple[str, ...], ...]  # the populations of each
    ends: tuple[tuple[End, ...], ...]
    driven_alike: tuple[bool, ...]  # whether one current flows into a whole group
    flat: tuple[bool, ...]  # whether the spikes of the last step are all that it remembers


def arranged(network: Network, state: NetworkState, solver: Any, inputs: Mapping[str, Any]) -> Arrangement:
    """The arrangement for a run from `state`.

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
    return Arrangement(tuple(map(tuple, groups)), ends, alike, flat)


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
