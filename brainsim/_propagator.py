"""The exact solution of dy = (A y + b) dt + sigma dW over a step of length dt, as what a step needs to compute it.

    y(dt) = y + Q (A y + b) + noise,    Q = ∫_0^dt exp(A s) ds,    cov(noise) = ∫_0^dt exp(A s) sigma² exp(A s)ᵀ ds

Each noisy variable j contributes R_j times independent normal numbers, with R_j R_jᵀ its part of the covariance.

Rotter & Diesmann (1999), Biological Cybernetics 81:381, doi:10.1007/s004220050570; Gillespie (1996), Physical Review E
54:2084, doi:10.1103/PhysRevE.54.2084 (noise).
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._flow import Structure
from ._typing import State

MOST = 256
"""Variables of all units for which a joint propagator is taken: it is a matrix of so many rows and columns."""

Draw = Callable[[int], list[Any]]
"""The r-th independent Brownian increment of every variable."""


class AbstractPropagator(eqx.Module):
    """The exact solution over one step."""

    @abstractmethod
    def __call__(self, y: list[Array], f: list[Array], draw: Draw | None, sigma: list[Array]) -> list[Array]:
        """The variables at the end of the step, from those at its beginning and their flow there."""


class Apart(AbstractPropagator):
    """That of units which have nothing to do with one another: a small matrix for each, or, if alike, for all.

    `drift[i][j]`, of shape (n,) or (1,), is an entry of Q; `roots[j][r][i]` one of R_j for its r-th number.
    """

    drift: list[dict[int, Array]]
    roots: dict[int, list[dict[int, Array]]]

    def __call__(self, y, f, draw, sigma):
        ends = [x + sum(q * f[j] for j, q in row.items()) for x, row in zip(y, self.drift, strict=True)]
        for r in range(max(map(len, self.roots.values()), default=0) if draw else 0):
            increments = draw(r)  # pyright: ignore[reportOptionalCall]
            for j, columns in self.roots.items():
                for i, root in columns[r].items() if r < len(columns) else ():
                    ends[i] = ends[i] + root * (sigma[j] * increments[j])
        return ends


class Joint(AbstractPropagator):
    """That of units which depend on one another: Q and every R_j are matrices over the variables of all units."""

    drift: Float[Array, "all all"]
    roots: dict[int, Float[Array, "all all"]]
    order: dict[int, list[int]] = eqx.field(static=True)  # the variables that the columns of R_j stand for

    def __call__(self, y, f, draw, sigma):
        ends = jnp.concatenate(y) + _product(self.drift, jnp.concatenate(f))
        if draw is not None and self.roots:
            increments = [draw(r) for r in range(len(y))]
            for j, root in self.roots.items():
                numbers = jnp.concatenate([increments[r][j] for r in range(len(self.order[j]))])
                ends = ends + _product(root, numbers)
        return jnp.split(ends, len(y))


def propagator(
    flow: Structure, f: Callable[[State], State], y: State, dt: Any, sigma: Mapping[int, Array]
) -> AbstractPropagator:
    """The propagator of an affine `f`; `sigma` has the volatility, shape (n,), of the variables that have noise."""
    leaves, tree = jax.tree.flatten(y)
    size = len(leaves)
    flat = lambda *x: jax.tree.leaves(f(tree.unflatten(x)))
    tangent = lambda dx: jax.jvp(flat, leaves, dx)[1]
    reached = {j: [j, *(i for i in range(size) if i != j and j in flow.reach(i))] for j in sigma}
    if flow.coupled:
        basis = jnp.eye(size * flow.units, dtype=leaves[0].dtype)
        a = jax.vmap(lambda e: jnp.concatenate(tangent(jnp.split(e, size))))(basis).T
        order = {j: [*vs, *(i for i in range(size) if i not in vs)] for j, vs in reached.items()}
        at = {
            j: np.concatenate([np.arange(i * flow.units, (i + 1) * flow.units) for i in vs]) for j, vs in order.items()
        }
        some = {j: jnp.concatenate([s if i == j else jnp.zeros_like(s) for i in range(size)]) for j, s in sigma.items()}
        q, parts = integrals(a, dt, [jnp.diag(s**2) for s in some.values()])
        roots = {j: _root(c, at[j]) / jnp.sqrt(dt) for j, c in zip(some, parts, strict=True)}
        return Joint(q, roots, order)
    one = lambda j: [jnp.ones_like(x) if i == j else jnp.zeros_like(x) for i, x in enumerate(leaves)]
    if not size:
        return Apart([], {})
    a = jnp.stack([jnp.stack(tangent(one(j))) for j in range(size)], 1)
    a = a[..., :1] if flow.alike else a  # (size, size, units)
    q, parts = integrals(a, dt, [jnp.zeros_like(a).at[j, j].set(1) for j in sigma])
    drift = [{j: q[i, j] for j in sorted(flow.reach(i))} for i in range(size)]
    roots = {}
    for j, c in zip(sigma, parts, strict=True):
        root = _root(c, np.array(reached[j])) / jnp.sqrt(dt)
        roots[j] = [{i: root[i, r] for i in reached[j][r:]} for r in range(len(reached[j]))]
    return Apart(drift, roots)


# dt |A| is brought below 1/4 by halvings of dt, so many at most; then so many terms of a series are enough.
_HALVINGS = 40
_TERMS = {"float32": 8, "float64": 15}


def integrals(
    a: Float[Array, "m m *units"], dt: Any, forces: list[Float[Array, "m m *units"]]
) -> tuple[Float[Array, "m m *units"], list[Float[Array, "m m *units"]]]:
    """∫_0^dt exp(A s) ds, and ∫_0^dt exp(A s) B exp(A s)ᵀ ds for each B of `forces`.

    By their series for a short time, which is then doubled:

        Q(2h) = Q(h) + exp(A h) Q(h),    C(2h) = C(h) + exp(A h) C(h) exp(A h)ᵀ,    exp(A h) = 1 + Q(h) A

    Nothing overflows in stiff equations, nothing large cancels, and small entries are as accurate as large ones. The
    exponential of a block matrix, the usual way to C, has none of that in single precision.
    """
    eye = jnp.eye(len(a), dtype=a.dtype).reshape(*a.shape[:2], *[1] * (a.ndim - 2))
    eye = jnp.broadcast_to(eye, a.shape)
    norm = jax.lax.stop_gradient(jnp.abs(a).sum(1).max(0, initial=0.0)) * dt
    halvings = jnp.ceil(jnp.log2(jnp.maximum(norm, 2.0**-4))) + 2
    halvings = jnp.broadcast_to(jnp.clip(halvings, 0, _HALVINGS), a.shape)
    h = dt * jnp.exp2(-halvings)
    ah = a * h

    def term(carry: Any, n: Array) -> Any:
        (q, cs), (dq, dcs) = carry
        dq = _product(ah, dq) / n
        dcs = [_product(ah, dc) for dc in dcs]
        dcs = [(dc + jnp.swapaxes(dc, 0, 1)) / n for dc in dcs]
        return ((q + dq, [c + dc for c, dc in zip(cs, dcs, strict=True)]), (dq, dcs)), None

    def doubled(k: Array, q: Array, cs: list[Array]) -> tuple[Array, list[Array]]:
        needed = k < halvings
        # Where it is not needed it must not overflow either: a derivative of 0 times infinity is not 0.
        safe = lambda x: jnp.where(needed, x, 0)
        phi = eye + _product(safe(q), a)  # not A Q: that amplifies the rounding of slow modes by the rate of fast ones
        longer = lambda c: c + _product(_product(phi, safe(c)), jnp.swapaxes(phi, 0, 1))
        return jnp.where(needed, q + _product(phi, safe(q)), q), [jnp.where(needed, longer(c), c) for c in cs]

    def if_needed(carry: Any, k: Array) -> Any:
        return jax.lax.cond(jnp.any(k < halvings), doubled, lambda k, *carry: carry, k, *carry), None

    first = h * eye, [h * b for b in forces]
    start, _ = jax.lax.scan(term, (first, first), jnp.arange(2, _TERMS[a.dtype.name] + 2, dtype=a.dtype))[0]
    return jax.lax.scan(if_needed, start, jnp.arange(_HALVINGS, dtype=a.dtype))[0]


def _root(c: Float[Array, "m m *units"], order: np.ndarray) -> Float[Array, "m m *units"]:
    """R with R Rᵀ = C, where C may be singular; its first columns are those of the variables first in `order`.

    Cholesky's method, where a variable of which nothing is left that the former do not explain gets no column.
    """
    m = len(c)
    tiny = 8 * m * float(jnp.finfo(c.dtype).eps)
    whole = jnp.stack([c[i, i] for i in range(m)]) if c.ndim > 2 else jnp.diagonal(c)
    rank = jnp.asarray(np.argsort(np.concatenate([order, np.setdiff1d(np.arange(m), order)])))
    rank = jnp.broadcast_to(rank.reshape(m, *[1] * (c.ndim - 2)), c.shape[1:])

    def column(rest: Array, k: Array) -> tuple[Array, Array]:
        x = jnp.take(rest, k, axis=1)
        pivot = jnp.take(x, k, axis=0)
        there = pivot > tiny * jnp.take(whole, k, axis=0)
        root = jnp.sqrt(jnp.where(there, pivot, 1))
        x = jnp.where(there[None] & (rank >= jnp.take(rank, k, axis=0)[None]), x / root[None], 0)
        return rest - x[:, None] * x[None], x

    return jnp.moveaxis(jax.lax.scan(column, c, jnp.asarray(order))[1], 0, 1)


def _product(a: Array, b: Array) -> Array:
    """The matrix product over the first axes; that of many small matrices at once is written out."""
    if a.ndim == 2:
        return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    return sum(a[:, j, None] * b[None, j] for j in range(len(b)))  # pyright: ignore[reportReturnType]
