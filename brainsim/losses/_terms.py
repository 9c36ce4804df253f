"""What a loss may return instead of a single number."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Terms(NamedTuple):
    """A loss written as a cost of the model's output, bin by bin:  sum(cost(output)) / sum(weight).

    With the terms in hand, `brainsim.fit` minimises by Gauss-Newton steps, scores the held-out bins of one long run,
    and puts intervals on the parameters; a single number would allow none of these.

    - `output`: what the model says, shape (bins, ...): bins of equal length that cover the recording in order.
    - `cost`: an elementwise function of the output, convex, that closes over data and never over parameters.
    - `weight`: shape (bins,) or that of `output`: a mask for a mean, spike counts for a score per spike.
    - `likelihood`: whether the cost is a negative log-likelihood in nats. If not, it is a squared error, of Gaussian
      noise whose variance is unknown.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> data = jnp.array([1.0, 2.0, 3.0])
    >>> round(float(bs.losses.Terms(jnp.zeros(3), lambda x: (x - data) ** 2, jnp.ones(3)).mean()), 3)
    4.667

    ```
    """

    output: Float[Array, "bins ..."]
    cost: Callable[[Array], Array]
    weight: Float[Array, "bins ..."]
    likelihood: bool = False

    def mean(self, start: int = 0) -> Float[Array, ""]:
        """The loss of the bins from number `start` on."""
        return jnp.sum(self.cost(self.output)[start:]) / jnp.sum(self.weight[start:])

    def derivatives(self) -> tuple[Array, Array, Array]:
        """The cost and its first and second derivatives with respect to the output, elementwise."""
        ones = jnp.ones_like(self.output)
        slope = lambda x: jax.jvp(self.cost, (x,), (ones,))
        (cost, first), (_, second) = jax.jvp(slope, (self.output,), (ones,))
        return cost, first, second
