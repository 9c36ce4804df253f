"""The free parameters of a fit: their bounds, and the unconstrained coordinates in which a fit moves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._domain import ANY, Interval
from .._parameters import Leaf, find, leaves
from .._typing import number

_FARTHEST = 9.0  # sigmoid(9) is within 1.3e-4 of the range from the bound: as good as there


class Bound(NamedTuple):
    """One free parameter: the name it was given, where it is in the model, and the range to search."""

    name: str
    leaf: Leaf
    lower: float
    upper: float
    scale: str

    def value(self, u: Any) -> Any:
        """The parameter at coordinate u: lower + (upper - lower) s or lower (upper / lower)^s, s = 1/(1 + exp(-u))."""
        s = jax.nn.sigmoid(u) if isinstance(u, jax.Array) else 1 / (1 + np.exp(-np.asarray(u, float)))
        return self.lower * (self.upper / self.lower) ** s if self.scale == "log" else self.lower + self.width * s

    def coordinate(self, value: Any) -> Any:
        """The coordinate u of a value between the bounds."""
        log = self.scale == "log"
        s = np.log(value / self.lower) / np.log(self.upper / self.lower) if log else (value - self.lower) / self.width
        with np.errstate(divide="ignore"):
            return np.clip(np.log(s / (1 - s)), -_FARTHEST, _FARTHEST)

    @property
    def width(self) -> float:
        return self.upper - self.lower

    @property
    def size(self) -> int:
        return self.leaf.value.size

    @staticmethod
    def read(model: Any, name: str, given: Any) -> "Bound":
        leaf = find(model, name)
        wrong = f"free[{name!r}] must be (lower, upper) or (lower, upper, 'log' or 'linear'), got {given!r}"
        if not isinstance(given, Sequence) or isinstance(given, str) or not 2 <= len(given) <= 3:
            raise ValueError(wrong)
        lower, upper = (number(x, f"a bound of {leaf}", unit=leaf.unit or None, domain=ANY) for x in given[:2])
        if not (math.isfinite(lower) and math.isfinite(upper)):
            raise ValueError(f"the bounds of {leaf} must be finite, got {lower:g} and {upper:g}")
        if lower >= upper:
            raise ValueError(f"the bounds of {leaf} are empty: the lower, {lower:g}, is not below the upper, {upper:g}")
        domain = Interval.parse(leaf.domain)
        if lower < domain.low or upper > domain.high:
            raise ValueError(f"the bounds of {leaf} are {lower:g} and {upper:g}, but it must be {domain}")
        scale = given[2] if len(given) == 3 else "log" if lower > 0 and upper / lower >= 20 else "linear"
        if scale not in ("log", "linear"):
            raise ValueError(wrong)
        if scale == "log" and lower <= 0:
            raise ValueError(f"a logarithmic scale for {leaf} needs positive bounds, got {lower:g} and {upper:g}")
        return Bound(name, leaf, lower, upper, scale)


@final
class Space:
    """The free parameters of a model as one vector of unconstrained coordinates, shape (size,)."""

    def __init__(self, model: Any, free: Mapping[str, Any]):
        if not isinstance(free, Mapping) or not free:
            names = ", ".join(map(str, leaves(model).values()))
            raise ValueError(f"free must name the parameters to fit, with bounds; available: {names or 'none'}")
        self.model = model
        self.bounds = [Bound.read(model, name, given) for name, given in free.items()]
        taken: dict[int, str] = {}
        for bound in self.bounds:
            if (other := taken.setdefault(bound.leaf.index, bound.name)) != bound.name:
                raise ValueError(f"free names {bound.leaf.path!r} twice, as {other!r} and {bound.name!r}")
        self.size = sum(bound.size for bound in self.bounds)
        self._ends = np.cumsum([bound.size for bound in self.bounds])

    def parts(self, u: Any) -> list[Any]:
        """The coordinates of each free parameter, in the shape of its array."""
        pieces = zip(self.bounds, (jnp if isinstance(u, Array) else np).split(u, self._ends[:-1]), strict=True)
        return [piece.reshape(bound.leaf.value.shape) for bound, piece in pieces]

    def values(self, u: Any) -> list[Any]:
        """The value of each free parameter."""
        return [bound.value(part) for bound, part in zip(self.bounds, self.parts(u), strict=True)]

    def at(self, u: Float[Array, " size"]) -> Any:
        """The model with its free parameters at `u`."""
        flat, tree = jax.tree.flatten(self.model)
        for bound, value in zip(self.bounds, self.values(u), strict=True):
            flat[bound.leaf.index] = value.astype(bound.leaf.value.dtype)
        return jax.tree.unflatten(tree, flat)

    def bounded(self, u: Array) -> Array:
        """`u` kept where floating-point numbers still tell a parameter from its bound."""
        return jnp.clip(u, -_FARTHEST, _FARTHEST)

    def starts(self, key: Array, count: int) -> Float[Array, "count size"]:
        """A Latin hypercube over the bounds: each start has its own slice of every range. The model as it is comes
        first, if it lies between the bounds.

        McKay, Beckman & Conover (1979), Technometrics 21:239, doi:10.1080/00401706.1979.10489755.
        """
        draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))  # jax.random would compile for seconds
        ranks = draw.permuted(np.tile(np.arange(count)[:, None], self.size), axis=0)
        s = (ranks + draw.uniform(0.02, 0.98, ranks.shape)) / count
        u = np.log(s / (1 - s))
        given = [np.asarray(bound.leaf.value, float).reshape(-1) for bound in self.bounds]
        if all((b.lower < x).all() and (x < b.upper).all() for b, x in zip(self.bounds, given, strict=True)):
            u[0] = np.concatenate([b.coordinate(x) for b, x in zip(self.bounds, given, strict=True)])
        return self.bounded(jnp.asarray(u, float))

    def describe(self, u: Any) -> str:
        """`"g_l = 30 nS, tau_w = 144 ms"`."""
        said = []
        for bound, value in zip(self.bounds, self.values(np.asarray(u)), strict=True):
            numbers = " ".join(f"{x:.4g}" for x in np.asarray(value).reshape(-1))
            said.append(f"{bound.name} = {numbers} {bound.leaf.unit}".rstrip())
        return ", ".join(said)
