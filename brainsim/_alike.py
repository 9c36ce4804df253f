"""Which populations of a network are alike, and which of its projections one call can deliver.

Found before a run, by looking at the values of parameters. One that is being traced is like itself only.
"""

import functools as ft
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._compat import is_traced
from ._flow import Origin, numbers_in, origins
from ._network import Network, NetworkState
from ._population import Flow, Population
from ._projection import Projection
from ._shapes import filled, remembered
from ._typing import get
from .synapses import CSR


class End(NamedTuple):
    """The projections to one receptor of a group that one call delivers.

    `variable` is the number of the receptor's state variable to which events are added, and nothing else is done with
    them; None if something is.
    """

    receptor: str
    variable: int | None
    projections: tuple[str, ...]


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
    receiving = {name.partition(".")[0::2] for name in (*inputs, *(p.post for p in network.projections.values()))}
    kinds = {name: _kind(p, {r for n, r in receiving if n == name and r}) for name, p in network.populations.items()}
    solvers = {name: solver.get(name) if isinstance(solver, Mapping) else None for name in kinds}
    for name, kind in kinds.items():
        like = lambda other: solvers[other] is solvers[name] and kinds[other] == kind  # noqa: B023
        match = [group for group in groups if kind is not None and like(group[0])]
        match[0].append(name) if match else groups.append([name])
    dtypes = [p.connect.weight.dtype for p in network.projections.values() if _fits(p, state)]
    ends = tuple(_ends(network, state, names, dtypes[0] if dtypes else None) for names in groups)
    alike = tuple(_equal([inputs.get(name) for name in names]) for names in groups)
    flat = tuple(all(state.history[n].ndim == 1 for n in names if n in state.history) for names in groups)
    return Arrangement(tuple(map(tuple, groups)), ends, alike, flat)


def _kind(population: Population, receiving: set[str]) -> Any:
    """Equal for populations that are alike; None for one that is like no other.

    That is one with noise, which is its own, or whose neurons are not independent of one another. `receiving` names the
    receptors at which something arrives.
    """
    leaves, tree = jax.tree.flatten((population.neuron, population.receptors))
    keys = any(jnp.issubdtype(x.dtype, jax.dtypes.extended) for x in leaves if eqx.is_array(x))
    if population.noise or keys or not independent(population):
        return None
    return tree, receiving, [_value(x, population.n) for x in leaves]


def independent(population: Population) -> bool:
    """Whether no neuron has anything to do with another one, as the program of the population's equations says."""
    return remembered(_independent, (population.neuron, population.receptors), population.n)


@ft.lru_cache(maxsize=256)
def _independent(shapes: tuple[Any, ...], tree: Any, n: int) -> bool:
    size = max(n, 2)  # where there is one neuron, an operation that mixes neurons may have nothing to do
    closed = _program(shapes, tree, n, size)
    inputs = [Origin.of(i, x.aval.ndim) for i, x in enumerate(closed.jaxpr.invars)]
    if any(x.across or x.placed for x in origins(closed.jaxpr, inputs)):
        return False
    try:  # an equation may also read how many neurons there are
        return numbers_in(closed) == numbers_in(_program(shapes, tree, n, size + 1))
    except (TypeError, ValueError):
        return False


def _program(shapes: tuple[Any, ...], tree: Any, n: int, size: int) -> Any:
    """The equations of a population, as if it had `size` neurons instead of n."""
    longer = lambda x: jax.ShapeDtypeStruct((size,), x.dtype) if x.shape == (n,) else x
    arrays = [longer(x) for x in shapes if isinstance(x, jax.ShapeDtypeStruct)]

    def cells(arrays):
        return Population(size, *filled(shapes, tree, arrays))

    def equations(arrays, y, t, current, refractory):
        population = cells(arrays)
        slope = population.vector_field(t, y, Flow(current, refractory))
        v = get(y.neuron, "v") if population.receptors else current
        arrived = [r.receive(y.receptors[name], v, current) for name, r in population.receptors.items()]
        return slope, arrived, population.neuron.guard(y.neuron), population.neuron.reset(y.neuron)

    y = jax.eval_shape(lambda arrays: cells(arrays)._rest(), arrays)
    dtype = jax.tree.leaves(y)[0].dtype
    shape = jax.ShapeDtypeStruct
    return jax.make_jaxpr(equations)(arrays, y, shape((), dtype), shape((size,), dtype), shape((size,), bool))


def _value(x: Any, n: int) -> Any:
    """A parameter as something to compare: its value, or that there is one for each neuron."""
    if eqx.is_array(x) and x.shape == (n,) and n > 1:
        return x.dtype, "each"
    return (x.dtype, x.shape, np.asarray(x).tobytes()) if eqx.is_array(x) and not is_traced(x) else id(x)


def _equal(values: Sequence[Any]) -> bool:
    """Whether all are the same number."""
    if not all(eqx.is_array(x) and x.ndim == 0 for x in values):
        return False
    return len({id(x) if is_traced(x) else (x.dtype, np.asarray(x).tobytes()) for x in values}) == 1


def _ends(network: Network, state: NetworkState, names: Sequence[str], dtype: Any) -> tuple[End, ...]:
    """The projections into a group that can be delivered in one call, by receptor."""
    by_receptor: dict[str, list[str]] = {}
    for name, p in network.projections.items():
        population, receptor = p.target
        if population in names and _fits(p, state) and p.connect.weight.dtype == dtype:
            by_receptor.setdefault(receptor, []).append(name)
    first = network.populations[names[0]]
    adds_to = lambda receptor: remembered(_sum, first.receptors[receptor], first.n, dtype)
    return tuple(End(receptor, adds_to(receptor), tuple(into)) for receptor, into in by_receptor.items())


@ft.lru_cache(maxsize=256)
def _sum(shapes: tuple[Any, ...], tree: Any, n: int, dtype: Any) -> int | None:
    """The number of the variable to which a receptor of `n` neurons adds its events; None if it does anything else."""
    given = jax.ShapeDtypeStruct((n,), dtype)
    arrays = [x for x in shapes if isinstance(x, jax.ShapeDtypeStruct)]
    leaves, state = jax.tree.flatten(jax.eval_shape(lambda *x: filled(shapes, tree, x).init(n), *arrays))
    if not leaves or any(x.dtype != dtype for x in leaves):
        return None

    def receive(arrays: Sequence[Array], *given: Array) -> list[Array]:
        *y, v, events = given
        y, v = filled(shapes, tree, arrays).receive(state.unflatten(y), v, events)
        return [*jax.tree.leaves(y), v]

    jaxpr = jax.make_jaxpr(receive)(arrays, *leaves, given, given).jaxpr
    variables = jaxpr.invars[len(arrays) :]
    moved = [j for j, (x, y) in enumerate(zip(jaxpr.outvars, variables, strict=False)) if x is not y]
    if len(moved) != 1 or moved[0] == len(leaves) or len(jaxpr.eqns) != 1:
        return None
    operands = [variables[moved[0]], variables[-1]]
    added = jaxpr.eqns[0].primitive.name == "add" and list(jaxpr.eqns[0].invars) in (operands, operands[::-1])
    return moved[0] if added else None


def _fits(p: Projection, state: NetworkState) -> bool:
    return type(p.connect) is CSR and p.connect.weight.dtype == state.history[p.pre].dtype
