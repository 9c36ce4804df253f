"""The loss of a fit as a function of unconstrained coordinates, for many starts at once."""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..losses import Terms
from ._space import Space

_BLOCKS = 50  # of the recording, whose scores tell how uncertain the gradient is
_BYTES = 2**29  # for the Jacobians of as many starts as are taken at once


class Linearised(NamedTuple):
    """A loss and its model, linearised: sums over the bins, for each start.

    - `loss`: sum of costs over sum of weights.
    - `cost`, `weight`: those sums.
    - `gradient`: of the cost.
    - `information`: the generalised Gauss-Newton matrix, J' diag(cost'') J.
    - `scores`: the gradient by block of the recording.
    """

    loss: Float[Array, " starts"]
    cost: Float[Array, " starts"]
    weight: Float[Array, " starts"]
    gradient: Float[Array, "starts size"]
    information: Float[Array, "starts size size"]
    scores: Float[Array, "starts blocks size"]


@final
class Objective:
    """`loss(space.at(u), recording)`, batched over starts. The loss is an argument: stages share a program."""

    def __init__(self, space: Space, recording: Any, loss: Callable):
        self.space = space
        self.recording = recording
        self.shape: tuple = ()  # of the output of a loss that returns Terms
        self.likelihood = False
        self.has_terms = self._probe(loss)
        self.blocks = min(_BLOCKS, self.shape[0]) if self.has_terms else 0

    def _probe(self, loss: Callable) -> bool:
        """Whether the loss returns `Terms`. Traces it once, with no arithmetic, so a mistake in it surfaces here."""
        seen: list[Any] = []

        def look(u):
            seen.append(loss(self.space.at(u), self.recording))
            return seen[0].output if isinstance(seen[0], Terms) else seen[0]

        out = jax.eval_shape(look, jax.ShapeDtypeStruct((self.space.size,), jnp.result_type(float)))
        if isinstance(seen[0], Terms):
            self.shape, self.likelihood = out.shape, seen[0].likelihood
            return True
        if getattr(out, "shape", None) != ():
            raise ValueError(f"a loss must return a number or brainsim.losses.Terms, got {out}")
        return False

    def value(self, loss: Callable, u: Float[Array, " size"]) -> Float[Array, ""]:
        out = loss(self.space.at(u), self.recording)
        return out.mean() if isinstance(out, Terms) else out

    def value_and_gradient(self, loss: Callable, u: Float[Array, "starts size"]) -> tuple[Array, Array]:
        return jax.vmap(jax.value_and_grad(lambda u: self.value(loss, u)))(u)

    def linearised(self, loss: Callable, u: Float[Array, "starts size"]) -> Linearised:
        """What a Gauss-Newton step needs, by forward-mode derivatives; as many starts at once as memory allows."""
        count, size = u.shape
        bytes_each = 4 * size * u.dtype.itemsize
        for n in self.shape:
            bytes_each *= n
        most = max(1, min(count, _BYTES // bytes_each))
        if most == count:
            return self._linearised(loss, u)
        groups = -(-count // most)
        padded = jnp.concatenate([u, jnp.repeat(u[-1:], groups * most - count, 0)]).reshape(groups, most, size)
        out = jax.lax.map(lambda u: self._linearised(loss, u), padded)
        return jax.tree.map(lambda x: x.reshape(groups * most, *x.shape[2:])[:count], out)

    def _linearised(self, loss: Callable, u: Array) -> Linearised:
        def single(u):
            terms = loss(self.space.at(u), self.recording)
            cost, first, second = terms.derivatives()
            return terms.output, (jnp.sum(cost), jnp.sum(terms.weight), first, second)

        # Starts vary fastest in memory: derivatives are mapped over the outside, or the innermost loops are a few long.
        def push(direction):
            return jax.jvp(jax.vmap(single), (u,), (jnp.broadcast_to(direction, u.shape),), has_aux=True)

        axes = (None, 0, None)
        _, jacobian, (cost, weight, first, second) = jax.vmap(push, out_axes=axes)(jnp.eye(u.shape[1], dtype=u.dtype))
        flat = lambda x, n: x.reshape(*x.shape[: n + 1], -1)  # (..., bins, the rest)
        jacobian, first, second = flat(jacobian, 2), flat(first, 1), jnp.maximum(flat(second, 1), 0)
        blocks, bins = self.blocks, first.shape[1]
        edges = np.arange(bins) * blocks // bins
        by_bin = jnp.einsum("stk,pstk->tsp", first, jacobian)
        scores = jax.ops.segment_sum(by_bin, edges, blocks, indices_are_sorted=True)
        information = jnp.einsum("pstk,stk,qstk->spq", jacobian, second, jacobian, optimize="optimal")
        return Linearised(cost / weight, cost, weight, scores.sum(0), information, scores.swapaxes(0, 1))
