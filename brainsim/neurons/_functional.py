"""A neuron model written as plain functions, with the same rights as a class."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .._conform import check_models
from .._domain import ANY, FINITE
from .._dynamics import AbstractNeuron
from .._quantity import shown
from .._surrogate import SuperSpike
from .._typing import Param, as_float, param, static
from ._integrate_and_fire import full


class FunctionalNeuron(AbstractNeuron):
    """What `brainsim.neuron` returns: parameters in a dict, and the functions that define the flow and the jump."""

    params: dict[str, Param] = eqx.field(metadata={"domain": ANY})
    initial: dict[str, Param]
    flow: Callable = static()
    condition: Callable = static()
    jump: Callable | None = static()
    held: tuple[str, ...] = static()
    t_ref: Param = param(0.0, unit="ms", doc="absolute refractory period", domain="[0, inf]")
    surrogate: Callable[[Array], Array] = eqx.field(default_factory=SuperSpike)

    @property
    def resets(self) -> bool:
        return self.jump is not None

    def init(self, n):
        return {name: full(n, value) for name, value in self.initial.items()}

    def vector_field(self, t, y, args):
        return self.flow(t, y, self.params, args)

    def guard(self, y):
        return self.condition(y, self.params)

    def reset(self, y):
        if self.jump is None:
            return y
        return {**y, **{k: jnp.broadcast_to(x, y[k].shape) for k, x in self.jump(y, self.params).items()}}


def neuron(
    flow: Callable,
    *,
    guard: Callable,
    reset: Callable | None = None,
    init: Mapping[str, Any],
    params: Mapping[str, Any],
    t_ref: Any = 0.0,
    held: tuple[str, ...] | None = None,
    surrogate: Callable[[Array], Array] | None = None,
) -> FunctionalNeuron:
    """A neuron from plain functions of its state `y` and parameters `p`, both dicts, written as the paper has them.

    **Arguments:**

    - `flow`: `flow(t, y, p, i)` returns dy/dt per ms, a dict with the names of `init`; `t` in ms, `i` the current.
    - `guard`: `guard(y, p)` crosses zero from below when the neuron spikes.
    - `reset`: `reset(y, p)` returns the variables that jump at a spike, and their values after it. Without it nothing
        jumps and every upward crossing of the guard is a spike.
    - `init`: initial value of every variable, scalar or one per neuron.
    - `params`: value of every parameter, scalar or one per neuron; each gets a gradient.
    - `t_ref`: absolute refractory period, default 0 ms.
    - `held`: the variables that stand still while refractory; default `("v",)` if there is a variable `v`.
    - `surrogate`: pseudo-derivative of the spike, default `SuperSpike()`, a function of the guard.

    **Raises:** `ValueError` if the functions return other variables or shapes than `init` has.

    Izhikevich (2003), as printed:

    ```python
    >>> import brainsim as bs, diffrax
    >>> def flow(t, y, p, i):
    ...     return dict(v=0.04 * y["v"] ** 2 + 5 * y["v"] + 140 - y["u"] + i,
    ...                 u=p["a"] * (p["b"] * y["v"] - y["u"]))
    >>> izhikevich = bs.neuron(flow,
    ...     guard=lambda y, p: y["v"] - 30.0,
    ...     reset=lambda y, p: dict(v=p["c"], u=y["u"] + p["d"]),
    ...     init=dict(v=-65.0, u=-13.0), params=dict(a=0.02, b=0.2, c=-65.0, d=8.0))
    >>> cell = bs.Population(1, izhikevich)
    >>> run = bs.simulate(cell, 100.0, dt=0.1, inputs=10.0, solver=diffrax.Euler(), record=dict(spikes=True))
    >>> bs.spike_times(run.spikes, run.dt)[0]
    array([ 3.4, 27.1, 72.2])

    ```
    """
    for what, given in (("init", init), ("params", params)):
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise ValueError(f"{what} must be a dict from names to numbers, got {shown(given)}")
    for what, given in (("flow", flow), ("guard", guard), ("reset", reset)):
        if not callable(given) and not (what == "reset" and given is None):
            raise ValueError(f"{what} must be a function, got {shown(given)}")
    if held is None:
        held = ("v",) if "v" in init else ()
    if not isinstance(held, tuple | list) or not all(isinstance(name, str) for name in held):
        raise ValueError(f"held must be a tuple of names of variables, got {shown(held)}")
    if missing := [name for name in held if name not in init]:
        raise ValueError(f"held variable {missing[0]!r} is not a state variable; available: {', '.join(init)}")
    model = FunctionalNeuron(  # pyright: ignore[reportCallIssue] (`resets` is a property, not a field)
        params={k: as_float(x, f"params[{k!r}]", None, ANY) for k, x in params.items()},
        initial={k: as_float(x, f"init[{k!r}]", None, FINITE) for k, x in init.items()},
        flow=flow,
        condition=guard,
        jump=reset,
        held=tuple(held),
        t_ref=t_ref,
        surrogate=SuperSpike() if surrogate is None else surrogate,
    )
    sizes = {x.shape[0] for x in (*model.params.values(), *model.initial.values()) if x.ndim}
    names = dict(init="init", vector_field="flow", guard="guard", reset="reset")
    check_models(model, {}, max(sizes, default=1), names)
    return model
