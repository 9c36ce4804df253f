"""The flow of one neuron up to its next event: diffrax, with a clock that resolves the steepest upstroke.

Time is counted from the start of the segment, so that small steps resolve whatever the time of the run is. And where a
potential diverges (AdEx: the last of its upstroke takes 1e-10 ms, less than a rounding of any clock) time is an unknown
like the others:

    dy/ds = f(y) dt/ds,    dt/ds = 1 / sqrt(1 + (rate / fast)²),    rate = d guard/dt

so that the guard rises by no more than `fast` per unit of s, and the time of the event is the finite integral of dt/ds
(Sundman's transformation). Solutions do not depend on it, and neither do their derivatives.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Bool, Float

from ._typing import State

FAST = 100.0  # mV/ms: an AdEx whose delta_t is 2 mV is then 0.02 ms before its peak

_SMALL = 1e-6  # what a root finder is shown of a condition, so that it stops where time cannot be any better


class Passage(NamedTuple):
    """Where a flow ended: after how many ms, and whether at the root of the guard."""

    y: State
    elapsed: Float[Array, ""]
    reached: Bool[Array, ""]
    failed: Bool[Array, ""]


class EventFlow(eqx.Module):
    """diffrax, with the choices of one run."""

    solver: diffrax.AbstractSolver
    rtol: float
    atol: float
    max_step: float | None
    max_steps: int
    adjoint: diffrax.AbstractAdjoint

    def __call__(
        self,
        field: Callable[[Array, State], State],
        guard: Callable[[State], Array],
        y: State,
        length: Float[Array, ""],
        t0: Float[Array, ""],
        *,
        watched: Bool[Array, ""],
        diverges: bool,
    ) -> Passage:
        """From `y` for `length` ms (more than 0), or to the first upward root of the guard if that is `watched`.

        `t0`, the time of the run, says how exact times are: a root that is all but reached at the end counts.
        """
        zero = jnp.zeros_like(length)

        def rate(t: Array, y: State) -> Array:
            return jax.jvp(guard, (y,), (field(t, y),))[1]

        def flow(s: Any, at: tuple[State, Array], args: None) -> tuple[State, Array]:
            y, t = at
            dt = jax.lax.rsqrt(1 + (rate(t, y) / FAST) ** 2) if diverges else jnp.ones_like(t)
            return jax.tree.map(lambda x: x * dt, field(t, y)), dt

        def ahead(t: Any, y: tuple[State, Array], args: None, **_: Any) -> Array:
            """Falls to 0 at the root or, where s is not the time, the end; diffrax goes by the names of arguments."""
            state, elapsed = y
            missing = jnp.where(watched, -guard(state), jnp.inf)
            return _SMALL * (jnp.minimum(missing, FAST * (length - elapsed)) if diverges else missing)

        resolution = 2 * float(jnp.finfo(length.dtype).eps)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(flow),
            self.solver,
            zero,
            jnp.inf if diverges else length,
            None,
            (y, zero),
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol, dtmax=self.max_step),
            event=diffrax.Event(ahead, optimistix.Bisection(resolution, resolution, flip=True), direction=False),
            adjoint=self.adjoint,
            max_steps=self.max_steps,
            throw=False,
        )
        y, t = jax.tree.map(lambda x: x[-1], solution.ys)
        ended: Any = solution.event_mask
        found = ended & (guard(y) >= FAST * (t - length)) if diverges else ended
        all_but = watched & (guard(y) + rate(t, y) * self.rtol * jnp.maximum(t0, 1) >= 0)
        failed = ~diffrax.is_okay(solution.result) | (~ended if diverges else False)
        return Passage(y, elapsed=jnp.where(found, t, length), reached=found | all_but, failed=failed)
