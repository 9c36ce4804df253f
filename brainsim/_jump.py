"""The step of a population whose jump touches only the neurons that spike.

Instead of the steps that a neuron is still refractory, its state holds the step from which on it is not: that changes
with a spike only.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._population import Population, PopulationState
from ._solver import dependence
from ._typing import State
from .ops._at_spikes import at_spikes

# Below so many neurons it costs more to call a kernel than to write all that spikes may change.
_WORTH_A_CALL = 10_000


def step_and_list(
    population: Population,
    k: Array,
    i: Array,
    dt: float,
    state: PopulationState,
    inputs: dict[str, Any],
    solver: Any,
    lists: list[Array],
    parts: list[tuple[int, int]],
) -> tuple[PopulationState, Array, list[Array]]:
    """`Population.step`, and lists with the spikes of the neurons in `parts` (the first, and how many) appended.

    It is step `k` of the network and step `i` of the run, from which refractoriness and the lists count.
    """
    neuron, receptors, spikes = population.arrive_at_jump(k, dt, state, state.refractory > i, inputs, solver)
    if population.n < _WORTH_A_CALL and not lists:
        after = population.jump(dt, state, neuron, receptors, spikes)
        refractory = jnp.where(spikes > 0, i + 1 + population.pause(dt), state.refractory)
        return after._replace(refractory=refractory), spikes, lists
    leaves, tree = jax.tree.flatten(neuron)
    new, constant = _jumps(population, neuron)
    for j, (x, y) in enumerate(zip(leaves, new, strict=True)):
        leaves[j] = x if y is None or constant[j] else jnp.where(spikes > 0, y, x)
    placed = [j for j, y in enumerate(new) if y is not None and constant[j]]
    arrays = [*(leaves[j] for j in placed), state.refractory]
    values = [*(jnp.asarray(new[j]) for j in placed), jnp.atleast_1d(population.pause(dt))]
    arrays, lists = at_spikes(spikes, arrays, values, lists, i, parts, timed=1)
    for j, x in zip(placed, arrays, strict=False):
        leaves[j] = x
    return PopulationState(tree.unflatten(leaves), receptors, arrays[-1], state.key), spikes, lists


def _jumps(population: Population, y: State) -> tuple[list[Any], list[bool]]:
    """What a spike makes of each variable, None if nothing; and whether that is the same whatever the state is.

    Such a value has shape (1,) if it is the same for all neurons.
    """
    leaves, tree = jax.tree.flatten(y)
    reset = lambda *x: jax.tree.leaves(population.neuron.reset(tree.unflatten(x)))
    closed = jax.make_jaxpr(reset)(*leaves)
    used = dependence(closed.jaxpr, [{i} for i in range(len(leaves))])
    after = reset(*leaves)
    unchanged = [a is b for a, b in zip(closed.jaxpr.outvars, closed.jaxpr.invars, strict=True)]
    try:
        alone = reset(*[x[:1] for x in leaves])
    except (TypeError, ValueError):
        alone = after
    fits = [x.shape == (1,) for x in alone]
    new = [
        None if same else one if not dep and fit else many
        for same, one, many, dep, fit in zip(unchanged, alone, after, used, fits, strict=True)
    ]
    return new, [not dep for dep in used]
