"""The hybrid system of one neuron: from one passage of its flow to the next, with what happens between them."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._event_flow import EventFlow
from ._population import Cell, Flow, Population
from ._typing import get, put


class Now(NamedTuple):
    """The hybrid system of one neuron between two passages.

    The time is `t` + `rest`, of which a floating-point number holds `t`; `left` remains of the refractory period.
    Events are delivered up to those at `arrived`. A neuron without a reset is unarmed while it is above its guard.
    `times` and `count` are of its spikes.
    """

    t: Float[Array, ""]
    rest: Float[Array, ""]
    y: Cell
    left: Float[Array, ""]
    arrived: Float[Array, ""]
    armed: Bool[Array, ""]
    times: Float[Array, " spikes"]
    count: Int[Array, ""]
    failed: Bool[Array, ""]


class Unit(eqx.Module):
    """One neuron with its receptors and what flows and arrives at them."""

    cell: Population
    current: Any
    times: dict[str, Float[Array, " arrivals"]]
    weights: dict[str, Float[Array, ""]]
    diverges: bool

    def guard(self, y: Cell) -> Float[Array, ""]:
        return self.cell.neuron.guard(y.neuron)[0]

    def deliver(self, y: Cell, arrival: Float[Array, ""]) -> Cell:
        """The state after the events whose time is `arrival`."""
        receptors, neuron = dict(y.receptors), y.neuron
        for name, times in self.times.items():
            weight = self.weights[name]
            events = (weight * jnp.sum(times == arrival).astype(weight.dtype))[None]
            receptors[name], v = self.cell.receptors[name].receive(receptors[name], get(neuron, "v"), events)
            neuron = put(neuron, v=v)
        return Cell(neuron, receptors)

    def passage(self, now: Now, end: Float[Array, ""], flow: EventFlow) -> Now:
        """Up to the next spike, arrival, end of a refractory period, re-arming or the end of the run."""
        neuron = self.cell.neuron
        refractory = now.left > 0
        due = neuron.resets & ~refractory & (self.guard(now.y) >= 0)  # it starts, or was reset to, above its guard
        times = jnp.concatenate([jnp.full(1, jnp.inf, end.dtype), *self.times.values()])
        arrival = jnp.min(jnp.where(times > now.arrived, times, jnp.inf))
        to_arrival, to_end = (jnp.maximum((t - now.t) - now.rest, 0) for t in (arrival, end))
        length = jnp.minimum(jnp.where(refractory, now.left, jnp.inf), jnp.minimum(to_arrival, to_end))

        args = Flow(self.current, refractory[None])
        slope = lambda t, y: self.cell.vector_field(now.t + (now.rest + t), y, args)

        # Flow. Solvers need some time, so where there is none the state stands still for a moment.
        still = over(now, end) | due | (length <= 0)
        field = lambda t, y: jax.tree.map(lambda x: jnp.where(still, 0, x), slope(t, y))
        crossing = lambda y: jnp.where(now.armed, self.guard(y), -self.guard(y))
        watched = ~still & ~refractory if neuron.resets else ~still
        moment = jnp.where(still, 1e-6, length)
        passed = flow(field, crossing, now.y, moment, now.t, watched=watched, diverges=self.diverges)
        elapsed, reached = jnp.where(still, 0, passed.elapsed), passed.reached

        # Deliver. What comes at the root of the guard, but for rounding, comes after that spike: in the next passage.
        arrives = ~due & ~reached & (elapsed >= to_arrival)
        y = self.deliver(passed.y, jnp.where(arrives, arrival, -jnp.inf))
        held = {x: jnp.where(refractory, get(now.y.neuron, x), get(y.neuron, x)) for x in neuron.held}
        y = y._replace(neuron=put(y.neuron, **held))

        # Jump.
        left = jnp.maximum(now.left - elapsed, 0)
        above = self.guard(y) >= 0
        if neuron.resets:
            armed, spikes = now.armed, reached | ((left <= 0) & above)
        else:
            lifted = (self.guard(passed.y) >= 0) != above
            armed = jnp.where(reached, ~now.armed, jnp.where(lifted, ~above, now.armed))
            spikes = now.armed & ~armed & ~refractory
        after = jax.tree.map(lambda new, old: jnp.where(spikes, new, old), neuron.reset(y.neuron), y.neuron)
        t = now.t + (now.rest + elapsed)
        rest = (now.rest + elapsed) - (t - now.t)
        given = arrives | (~due & ~reached & (elapsed >= to_end))
        t = jnp.where(given, jnp.maximum(now.t, jnp.where(arrives, arrival, end)), t)
        return Now(
            t=t,
            rest=jnp.where(given, 0, rest),
            y=y._replace(neuron=after),
            left=jnp.where(spikes, neuron.t_ref.reshape(()), left),
            arrived=jnp.where(arrives, arrival, now.arrived),
            armed=armed,
            times=now.times.at[jnp.where(spikes, now.count, now.times.size)].set(t, mode="drop"),
            count=now.count + spikes.astype(jnp.int32),
            failed=now.failed | passed.failed,
        )


def over(now: Now, end: Float[Array, ""]) -> Bool[Array, "*n"]:
    """Whether a neuron has come to its end, or cannot go on."""
    return (now.t >= end) | now.failed | (now.count >= now.times.shape[-1])
