"""A projection: which neurons reach which receptor, how strongly, how late."""

import math
from typing import Any

import equinox as eqx
import numpy as np

from ._domain import ANY, POSITIVE
from ._dynamics import AbstractConnectivity, AbstractDelayed, AbstractRule
from ._module import Module
from ._quantity import shown
from ._typing import number, whole
from .synapses import DelayedRegenerated
from .synapses._delays import in_ms, rounded_delays


class PerSynapse:
    """Delays that differ from synapse to synapse: an array in ms, or a function `(rng, size)` that draws them."""

    def __init__(self, source: Any):
        self.source = source

    def __repr__(self) -> str:
        return f"PerSynapse({self.source!r})"


class Fused(eqx.Module):
    """In place of a connectivity: its synapses are part of `network.bundles[bundle]`; `Network.synapses` reads them.

    They end at `first` to `first + n_post` there.
    """

    bundle: str = eqx.field(static=True)
    n_pre: int = eqx.field(static=True)
    n_post: int = eqx.field(static=True)
    nnz: int = eqx.field(static=True)
    first: int = eqx.field(static=True)


class Projection(Module):
    """Spikes of population `pre` arrive at `post`, written `"population.receptor"`, after `delay` ms.

    **Arguments:**

    - `pre`: name of the presynaptic population.
    - `post`: postsynaptic population and receptor, e.g. `"E.exc"`.
    - `connect`: a wiring rule such as `brainsim.FixedProbability(0.1, weight=1.0)`, drawn when the network is built, or
      a ready connectivity such as `brainsim.CSR(...)`.
    - `delay`: from spike to arrival, ms. A number, a positive whole number of time steps; or one for each synapse: an
      array [nnz], in the order of the synapses (of the lists of `FromArrays`; otherwise row after row), or a function
      `delay(rng, size)` that draws them, such as `brainsim.Normal(1.5, 0.75, low=0.05)` (for procedural synapses, that
      or a `brainsim.Uniform`). None for a connectivity that has delays itself, such as `brainsim.LearnableDelays(...)`.
    - `resolution`: delays of single synapses are whole numbers of this many ms, default 0.1, itself a whole number of
      time steps. Drawn ones are rounded to it (halves upwards), as in NEST; given ones have to be multiples of it.

    **Raises:** `ValueError` for a delay that is not positive, or a `post` without a receptor.

    ```python
    >>> import brainsim as bs
    >>> bs.Projection("E", "E.exc", bs.FixedProbability(0.02, weight=6.0), delay=0.1).delay
    0.1
    >>> bs.Projection("E", "E.exc", bs.FixedProbability(0.02, weight=6.0), delay=bs.Uniform(0.5, 2.0)).resolution
    0.1

    ```
    """

    pre: str = eqx.field(static=True, converter=lambda name: _name(name))
    post: str = eqx.field(static=True, converter=lambda name: _name(name))
    connect: Any
    # Type checkers know no field whose converter makes something else of what goes in.
    delay: Any = eqx.field(static=True, default=None, converter=lambda delay: _as_delay(delay))
    resolution: float = eqx.field(
        static=True,
        default=0.1,
        converter=lambda x: number(x, "the resolution of delays", unit="ms", domain=POSITIVE),
    )

    def __check_init__(self):
        name = f"projection {self.pre!r} to {self.post!r}"
        delayed = isinstance(self.connect, AbstractDelayed | DelayedRegenerated | Fused)
        if isinstance(self.delay, float) and not (self.delay > 0 and math.isfinite(self.delay)):
            raise ValueError(f"{name}: the delay must be positive, got {self.delay} ms")
        if isinstance(self.delay, PerSynapse) and not callable(self.delay.source):
            if self.delay.source.ndim > 1:
                raise ValueError(f"{name}: delays must be a list, got shape {list(self.delay.source.shape)}")
            try:
                rounded_delays(self.delay.source, self.resolution)
            except ValueError as e:
                raise ValueError(f"{name}: {e}") from None
        if self.post.count(".") != 1:
            raise ValueError(f"a projection ends at a receptor, 'population.receptor'; got {self.post!r}")
        if not isinstance(self.connect, AbstractConnectivity | AbstractRule) and not delayed:
            raise ValueError(f"{name}: `connect` must be a wiring rule or a connectivity, got {shown(self.connect)}")
        if delayed and self.delay is not None:
            raise ValueError(f"{name}: {type(self.connect).__name__} has delays of its own; leave out `delay`")
        if not delayed and self.delay is None:
            raise ValueError(f"{name} needs a delay, in ms")

    @property
    def target(self) -> tuple[str, str]:
        """Postsynaptic population and receptor."""
        population, receptor = self.post.split(".")
        return population, receptor

    def steps(self, dt: float) -> int:
        """The delay in steps of `dt` ms, or the longest if there are several.

        **Raises:** `ValueError` if it is not a whole number of them.
        """
        return steps_of(self, dt)


def steps_of(p: Projection, dt: float) -> int:
    """`p.steps(dt)`; a function, as equinox needs longer to look up a method than this takes."""
    if isinstance(p.connect, AbstractDelayed | DelayedRegenerated):
        return p.connect.longest(dt=dt)
    return whole(p.delay, dt, f"the delay of projection {p.pre!r} to {p.post!r}")


def _name(name: Any) -> str:
    if isinstance(name, str):
        return name
    raise ValueError(f"a projection goes from 'population' to 'population.receptor', got {shown(name)}")


def _as_delay(delay: Any) -> Any:
    """None, a float, or `PerSynapse`; a wrapper, since an array in a static field could not be compared or hashed."""
    if delay is None or isinstance(delay, PerSynapse):
        return delay
    if callable(delay) and not isinstance(delay, type):
        return PerSynapse(delay)
    what = "the delay of a projection"
    given = in_ms(delay, what)
    if given.ndim:
        return PerSynapse(given)
    return math.nan if np.isnan(given) else number(delay, what, unit="ms", domain=ANY)
