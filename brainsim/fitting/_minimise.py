"""Two ways to go downhill from many starts at once: Gauss-Newton steps, or any optax optimiser."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from .._typing import number
from ._objective import Linearised, Objective


@final
@dataclasses.dataclass(frozen=True)
class GaussNewton:
    """Damped Gauss-Newton (Levenberg-Marquardt) steps, for a loss that returns `brainsim.losses.Terms`.

        (H + damping diag(H)) du = -g,    H = J' diag(cost'') J

    J is the derivative of the model's output, by forward mode. A step that lowers the loss is taken and divides the
    damping by 3; another is refused and multiplies it by 4. Where parameters trade off against one another, as those of
    neurons do, this needs tens of steps where first-order methods need thousands.

    **Arguments:**

    - `damping`: at the start, default 0.01.
    - `longest`: step in any unconstrained coordinate, default 1.
    - `tolerance`: a step counts as progress if it lowers the loss by this fraction, default 1e-3. The fit ends when the
      best start has made no progress in 4 steps and two more have come as low, within 1 %, or no progress in 12 steps.

    ```python
    >>> import brainsim as bs
    >>> bs.fitting.GaussNewton(damping=1.0)
    GaussNewton(damping=1.0, longest=1.0, tolerance=0.001)

    ```

    **Raises:** `ValueError` for numbers that are negative, or a `tolerance` of 1 or more.

    Marquardt (1963), SIAM Journal on Applied Mathematics 11:431, doi:10.1137/0111030; Schraudolph (2002), Neural
    Computation 14:1723, doi:10.1162/08997660260028683.
    """

    damping: float = 1e-2
    longest: float = 1.0
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        for name, domain in (("damping", "[0, inf)"), ("longest", "(0, inf)"), ("tolerance", "[0, 1)")):
            number(getattr(self, name), f"GaussNewton: {name}", domain=domain)


class Best(NamedTuple):
    """The best coordinates of every start so far, shape (starts, size), their losses, and what is known there."""

    u: np.ndarray
    loss: np.ndarray
    at: Linearised | None


class Found(NamedTuple):
    """What a step found: the loss of each start, NaN for one that has died; and who died now, of which coordinates."""

    now: np.ndarray
    died: list[tuple[int, np.ndarray]]


class Method(NamedTuple):
    """A way downhill, in steps. Where it is, is a tree of arrays, and nothing else: it can be saved and gone on from.

    - `name`: what it is called, with its settings, as far as they are not in the program.
    - `begin(starts)`: where it is at first.
    - `step(loss, place)`: where it is after a step, and what that found.
    - `over(place, steps)`: whether it has arrived, or has made so many steps.
    - `best(place)`: the best so far.
    - `program(loss, place)`: a step as the text of the program that XLA gets.
    """

    name: str
    begin: Callable[[Array], Any]
    step: Callable[[Callable, Any], tuple[Any, Found]]
    over: Callable[[Any, int], bool]
    best: Callable[[Any], Best]
    program: Callable[[Callable, Any], str]


class _Walk(NamedTuple):
    u: Float[Array, "starts size"]
    at: Linearised
    damping: Float[Array, " starts"]


class _Descent(NamedTuple):
    walk: _Walk
    done: np.ndarray  # steps
    still: np.ndarray  # steps in which the best start made no progress
    lowest: np.ndarray


def gauss_newton(objective: Objective, method: GaussNewton) -> Method:
    """Gauss-Newton steps from every start."""

    @eqx.filter_jit
    def walked(loss: Callable, walk: _Walk) -> tuple[_Walk, Bool[Array, " starts"]]:
        u, at, damping = walk
        diagonal = jnp.diagonal(at.information, axis1=1, axis2=2)
        floor = 1e-6 * diagonal.max(1, keepdims=True) + jnp.finfo(u.dtype).tiny ** 0.5
        damped = at.information + jax.vmap(jnp.diag)(damping[:, None] * diagonal + floor)
        du = -jnp.linalg.solve(damped, at.gradient[..., None])[..., 0]
        trial = objective.space.bounded(u + jnp.clip(du, -method.longest, method.longest))
        new = objective.linearised(loss, trial)
        better = (new.loss < at.loss) & jnp.isfinite(new.gradient).all(1) & jnp.isfinite(new.information).all((1, 2))
        pick = lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        damping = jnp.clip(jnp.where(better, damping / 3, damping * 4), 1e-8, 1e8)
        return _Walk(pick(trial, u), jax.tree.map(pick, new, at), damping), better

    def begin(starts: Array) -> _Descent:
        count = starts.shape[0]
        zeros = lambda *shape: jnp.zeros((count, *shape), starts.dtype)
        size, blocks = objective.space.size, objective.blocks
        nothing = Linearised(zeros() + jnp.inf, zeros(), zeros(), zeros(size), zeros(size, size), zeros(blocks, size))
        walk = _Walk(starts, nothing, zeros() + method.damping)  # its first step goes nowhere, and finds the loss there
        return _Descent(walk, np.array(0), np.array(0), np.array(np.inf, starts.dtype))

    def step(loss: Callable, place: _Descent) -> tuple[_Descent, Found]:
        walk, done, still, lowest = place
        after, _ = walked(loss, walk)
        now = np.asarray(after.at.loss)
        dead = ~np.isfinite(now)  # a later step that leads to NaN is only refused
        died = [(int(k), np.asarray(walk.u[k])) for k in np.flatnonzero(dead)] if done == 0 else []
        still = np.array(0) if now.min() < lowest * (1 - method.tolerance) else still + 1
        return _Descent(after, done + 1, np.asarray(still), np.asarray(now.min())), Found(
            np.where(dead, np.nan, now), died
        )

    def over(place: _Descent, steps: int) -> bool:
        if place.done == 0:
            return False
        now = np.asarray(place.walk.at.loss)
        agree = (now <= 1.01 * place.lowest).sum() >= min(3, len(now))
        return bool(place.done > steps or not np.isfinite(now).any() or place.still >= (4 if agree else 12))

    def best(place: _Descent) -> Best:
        return Best(np.asarray(place.walk.u), np.asarray(place.walk.at.loss), place.walk.at)

    return Method(repr(method), begin, step, over, best, lambda loss, place: walked.lower(loss, place.walk).as_text())


class _March(NamedTuple):
    u: Float[Array, "starts size"]
    state: Any
    alive: Bool[Array, " starts"]
    best: Float[Array, "starts size"]
    loss: Float[Array, " starts"]
    done: Int[Array, ""]


def first_order(objective: Objective, optimizer: optax.GradientTransformation) -> Method:
    """The same for an optax optimiser; a start whose loss or gradient turns NaN stays where it was best."""
    rule = optax.with_extra_args_support(optimizer)

    @eqx.filter_jit
    def marched(loss: Callable, march: _March) -> tuple[_March, Array, Bool[Array, " starts"]]:
        u, state, alive, best, lowest, done = march
        value, gradient = objective.value_and_gradient(loss, u)
        fine = jnp.isfinite(value) & jnp.isfinite(gradient).all(1)
        better = alive & fine & (value < lowest)
        best, lowest = jnp.where(better[:, None], u, best), jnp.where(better, value, lowest)
        died, alive = alive & ~fine, alive & fine

        def move(gradient, state, u, value):
            f = lambda u: objective.value(loss, u)
            with jax.numpy_dtype_promotion("standard"):  # optax counts in integers and multiplies by them
                update, state = rule.update(gradient, state, u, value=value, grad=gradient, value_fn=f)
            return u + update, state

        gradient = jnp.where(alive[:, None], gradient, 0)
        moved, state = jax.vmap(move)(gradient, state, u, value)
        u = jnp.where(alive[:, None], objective.space.bounded(moved), u)
        return _March(u, state, alive, best, lowest, done + 1), jnp.where(alive, value, jnp.nan), died

    def begin(starts: Array) -> _March:
        count = starts.shape[0]
        lowest, zero = jnp.full(count, jnp.inf, starts.dtype), jnp.zeros((), jnp.int32)
        return _March(starts, jax.vmap(rule.init)(starts), jnp.ones(count, bool), starts, lowest, zero)

    def step(loss: Callable, march: _March) -> tuple[_March, Found]:
        after, now, died = marched(loss, march)
        dead = [(int(k), np.asarray(march.u[k])) for k in np.flatnonzero(np.asarray(died))]
        return after, Found(np.asarray(now), dead)

    def over(march: _March, steps: int) -> bool:
        return bool(march.done >= steps or not march.alive.any())

    def best(march: _March) -> Best:
        return Best(np.asarray(march.best), np.asarray(march.loss), None)

    return Method("gradients", begin, step, over, best, lambda loss, march: marched.lower(loss, march).as_text())
