"""The step of a population whose jump touches only the neurons that spike.

Instead of the steps that a neuron is still refractory, its state holds the step from which on it is not: that changes
with a spike only.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._flow import Origin, origins
from ._population import Population, PopulationState
from ._typing import State
from .ops._at_spikes import at_spikes

# Below so many neurons it costs more to call a kernel than to write all that spikes may change. Measured with AVX2,
# where the compiler makes masked stores of that, which are slow on AMD's processors.
_WORTH_A_CALL = 500


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
        refractory = jnp.where(spikes != 0, i + 1 + population.pause(dt), state.refractory)
        return after._replace(refractory=refractory), spikes, lists
    leaves, tree = jax.tree.flatten(neuron)
    new, constant = _jumps(population, neuron)
    for j, (x, y) in enumerate(zip(leaves, new, strict=True)):
        leaves[j] = x if y is None or constant[j] else jnp.where(spikes != 0, y, x)
    placed = [j for j, y in enumerate(new) if y is not None and constant[j]]
    arrays = [*(leaves[j] for j in placed), state.refractory]
    values = [*(new[j] for j in placed), jnp.atleast_1d(population.pause(dt))]
    arrays, lists = at_spikes(spikes, arrays, values, lists, i, parts, timed=1)
    for j, x in zip(placed, arrays, strict=False):
        leaves[j] = x
    return PopulationState(tree.unflatten(leaves), receptors, arrays[-1], state.key), spikes, lists


def _jumps(population: Population, y: State) -> tuple[list[Any], list[bool]]:
    """What a spike makes of each variable, None if nothing; and whether that is the same whatever the state is.

    Such a value has shape (1,) if it is one number for all neurons.
    """
    leaves, tree = jax.tree.flatten(y)
    reset = lambda *x: jax.tree.leaves(population.neuron.reset(tree.unflatten(x)))
    closed = jax.make_jaxpr(lambda *x: [jnp.asarray(v, old.dtype) for v, old in zip(reset(*x), x, strict=True)])(
        *leaves
    )
    jaxpr = closed.jaxpr
    constant = [not x.on for x in origins(jaxpr, [Origin.of(j, 1) for j in range(len(leaves))])]
    spread = {eqn.outvars[0] for eqn in jaxpr.eqns if eqn.primitive.name == "broadcast_in_dim"
              and eqn.invars[0].aval.shape == ()}  # fmt: skip
    new: list[Any] = []
    for var, before, old, after in zip(jaxpr.outvars, jaxpr.invars, leaves, reset(*leaves), strict=True):
        if var is before:
            new.append(None)
        elif jnp.ndim(after) == 0:
            new.append(jnp.asarray(after, old.dtype)[None])
        else:
            new.append(after[:1] if var in spread else after)
    return new, constant
