"""A projection: which neurons reach which receptor, how strongly, how late."""

import math
from typing import Any

import equinox as eqx

from ._dynamics import AbstractConnectivity, AbstractRule


class Projection(eqx.Module):
    """Spikes of population `pre` arrive at `post`, written `"population.receptor"`, after `delay` ms.

    **Arguments:**

    - `pre`: name of the presynaptic population.
    - `post`: postsynaptic population and receptor, e.g. `"E.exc"`.
    - `connect`: a wiring rule such as `brainsim.FixedProbability(0.1, weight=1.0)`, drawn when the network is built, or
      a ready connectivity such as `brainsim.CSR(...)`.
    - `delay`: from spike to arrival, a positive whole number of time steps, in ms.

    **Raises:** `ValueError` for a delay that is not positive, or a `post` without a receptor.

    ```python
    >>> import brainsim as bs
    >>> bs.Projection("E", "E.exc", bs.FixedProbability(0.02, weight=6.0), delay=0.1).delay
    0.1

    ```
    """

    pre: str = eqx.field(static=True)
    post: str = eqx.field(static=True)
    connect: Any
    delay: float = eqx.field(static=True, converter=float)

    def __check_init__(self):
        if not (self.delay > 0 and math.isfinite(self.delay)):
            raise ValueError(
                f"projection {self.pre!r} to {self.post!r}: the delay must be positive, got {self.delay} ms"
            )
        if self.post.count(".") != 1:
            raise ValueError(f"a projection ends at a receptor, 'population.receptor'; got {self.post!r}")
        if not isinstance(self.connect, AbstractConnectivity | AbstractRule):
            raise ValueError(f"projection {self.pre!r} to {self.post!r}: `connect` must be a wiring rule or a "
                             f"connectivity, got {self.connect!r}")  # fmt: skip

    @property
    def target(self) -> tuple[str, str]:
        """Postsynaptic population and receptor."""
        population, receptor = self.post.split(".")
        return population, receptor

    def steps(self, dt: float) -> int:
        """The delay in steps of `dt` ms.

        **Raises:** `ValueError` if it is not a whole number of them.
        """
        return whole(self.delay, dt, f"the delay of projection {self.pre!r} to {self.post!r}")


def whole(duration: float, dt: float, what: str) -> int:
    """`duration` (ms) as a positive whole number of steps of `dt` (ms)."""
    if not (isinstance(dt, int | float) and dt > 0 and math.isfinite(dt)):
        raise ValueError(f"dt must be a positive number of ms, got {dt!r}")
    if not (math.isfinite(duration) and duration > 0):
        raise ValueError(f"{what} must be positive, got {duration} ms")
    steps = round(duration / dt)
    if steps < 1 or abs(steps * dt - duration) > 1e-6 * max(dt, duration):
        raise ValueError(f"{what}, {duration:g} ms, is not a positive whole number of steps of dt = {dt:g} ms")
    return steps
