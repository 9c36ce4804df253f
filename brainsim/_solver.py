"""Two diffrax solvers for the flows of neurons. Nothing here knows of neurons.

Any other diffrax solver can be used in their place. `ExponentialEuler` treats each variable's own linear part exactly;
`Exact` treats an affine flow exactly, by a propagator that is derived from the vector field once.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array, PyTree

from ._flow import Structure, structure
from ._numerics import exponential_step, phi1, phi1_times
from ._propagator import MOST, AbstractPropagator, propagator
from ._typing import State

_successful = diffrax.RESULTS.successful


def _drift_and_noise(terms: Any) -> tuple[diffrax.ODETerm, diffrax.ControlTerm | None]:
    """The drift and the diffusion of `ODETerm` or `MultiTerm(ODETerm, ControlTerm)`."""
    return terms.terms if isinstance(terms, diffrax.MultiTerm) else (terms, None)


class ExponentialEuler(diffrax.AbstractItoSolver):
    """Exponential Euler: every variable relaxes exactly along its own linear part.

        y_i(t + dt) = y_i + dt phi1(a_i dt) f_i,    a_i = df_i / dy_i,    phi1(z) = (exp(z) - 1) / z

    The slopes a_i come from one `jax.jvp` of the vector field per variable, so nothing is written by hand. It is exact
    for a variable that is linear in itself while the others stand still, stable where that slope is negative however
    stiff, and of order 1 otherwise. Where units depend on one another, a_i is a unit's own slope all the same, one
    `jax.jvp` for each unit; so no more than 256 of them may. Nothing grows by more than exp(29) in a step (exp(236) in
    double precision): what runs past the peak of a spike stays finite, and so do its derivatives.

    With additive noise (`diffrax.MultiTerm(ODETerm, ControlTerm)`) the increment is scaled so that an
    Ornstein-Uhlenbeck process has its exact variance at any dt: dW sqrt(phi1(2 a_i dt)). What noise in one variable
    does to another one arrives a step late: variances and covariances then have an error of order 1 in dt.

    ```python
    >>> import brainsim as bs, diffrax, jax.numpy as jnp
    >>> decay = diffrax.ODETerm(lambda t, y, args: -y / 10.0)
    >>> y, *_ = bs.ExponentialEuler().step(decay, 0.0, 5.0, jnp.array([1.0]), None, None, False)
    >>> bool(jnp.allclose(y, jnp.exp(-0.5)))
    True

    ```

    MacGregor (1987), Neural and Brain Modeling, Academic Press; Hochbruck & Ostermann (2010), Acta Numerica 19:209,
    doi:10.1017/S0962492910000048.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = diffrax.LocalLinearInterpolation

    def order(self, terms):
        return 1

    def strong_order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        return None

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        drift, noise = _drift_and_noise(terms)
        dt = drift.contr(t0, t1)
        leaves, tree = jax.tree.flatten(y0)
        flow = structure(lambda y: drift.vf(t0, y, args), y0)
        if problem := self.objection(flow):
            raise ValueError(problem)
        ends, growths = [], []
        for i, leaf in enumerate(leaves):

            def f_i(x, i=i):
                y = tree.unflatten([*leaves[:i], x, *leaves[i + 1 :]])
                return jax.tree.leaves(drift.vf(t0, y, args))[i]

            f, a = (_own_slope if flow.coupled else _slope)(f_i, leaf)
            step = exponential_step if flow.varies[i] else _plain_step
            # Two thirds of the range are left for what the growth is multiplied with, in derivatives too: 0 times
            # infinity is not 0.
            most = math.log(float(jnp.finfo(leaf.dtype).max)) / 3
            growths.append(jnp.minimum(a * dt, most))
            ends.append(step(leaf, growths[-1], f * dt))
        if noise is not None:
            kicks = jax.tree.leaves(noise.vf_prod(t0, y0, args, noise.contr(t0, t1)))
            ends = [y + jnp.sqrt(phi1(2 * z)) * kick for y, z, kick in zip(ends, growths, kicks, strict=True)]
        y1 = tree.unflatten(ends)
        return y1, None, dict(y0=y0, y1=y1), None, _successful

    def objection(self, flow: Structure) -> str | None:
        """Why it cannot integrate such a flow, if it cannot."""
        if flow.coupled and flow.units > MOST:
            return (f"ExponentialEuler needs the own slope of every unit, but {flow.units} units, more than {MOST}, "
                    "depend on one another; use a solver of diffrax, say Heun()")  # fmt: skip
        if not flow.forward:
            return ("ExponentialEuler needs the slopes of the equations, which jax.custom_vjp has not in forward mode; "
                    "use jax.custom_jvp, or a solver of diffrax, say Heun()")  # fmt: skip
        return None


def _slope(f: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    """f(x) and its elementwise derivative."""
    return jax.jvp(f, (x,), (jnp.ones_like(x),))


def _own_slope(f: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    """f(x) and the diagonal of its Jacobian."""
    basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    columns = jax.vmap(lambda e: jnp.vdot(e, jax.jvp(f, (x,), (e,))[1]))(basis)
    return f(x), columns.reshape(x.shape)


def _plain_step(y: Array, z: Array, x: Array) -> Array:
    """y + x (exp(z) - 1) / z, for a z that stays as it is."""
    return y + phi1_times(z, x)


class Exact(diffrax.AbstractItoSolver):
    """The exact solution of an affine flow, dy/dt = A y + b, over a step in which b is constant.

        y(t + dt) = y + Q f(t, y),    Q = dt phi1(A dt) = ∫_0^dt exp(A s) ds

    A is read off the vector field by `jax.jvp`, separately for every unit whose parameters differ, and Q is computed
    in `simulate` once, outside the time loop. Leaky integrate-and-fire neurons with current synapses are affine,
    whatever mixture of time constants they have (equal ones included), and so may be a model of your own. Units that
    depend on one another have one A, a matrix over the variables of all of them, of which there may be 256.

    Additive noise, dy = (A y + b) dt + sigma dW, is exact too: what it adds in a step is normal with covariance

        ∫_0^dt exp(A s) sigma² exp(A s)ᵀ ds

    **Raises:** `ValueError` if the flow is not affine, with the variable that is to blame. A may depend neither on the
    state nor on the time or the input.

    ```python
    >>> import brainsim as bs
    >>> cell = bs.Population(1, bs.LIF())
    >>> run = bs.simulate(cell, 1.0, dt=0.1, inputs=1000.0, solver=bs.Exact(), record=dict(v="v"))
    >>> round(float(run["v"][-1, 0]), 4)
    -66.1935

    ```

    Rotter & Diesmann (1999), Biological Cybernetics 81:381, doi:10.1007/s004220050570; Gillespie (1996), Physical
    Review E 54:2084, doi:10.1103/PhysRevE.54.2084 (noise).
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = diffrax.LocalLinearInterpolation

    def order(self, terms):
        return None

    def strong_order(self, terms):
        return None

    def init(self, terms, t0, t1, y0, args):
        drift, noise = _drift_and_noise(terms)
        flow = structure(lambda y, t: drift.vf(t, y, args), y0, t0)
        if problem := self.objection(flow):
            raise ValueError(problem)
        sigma = {}
        if noise is not None:
            path, volatility = _brownian(noise, t0, y0, args)
            sigma = {j: volatility[j] for j in path.noisy}
        return propagator(flow, lambda y: drift.vf(t0, y, args), y0, drift.contr(t0, t1), sigma)

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state: AbstractPropagator, made_jump):
        drift, noise = _drift_and_noise(terms)
        leaves, tree = jax.tree.flatten(y0)
        f = jax.tree.leaves(drift.vf(t0, y0, args))
        if noise is None:
            ends = solver_state(leaves, f, None, [])
        else:
            path, volatility = _brownian(noise, t0, y0, args)
            draw = lambda r: jax.tree.leaves(path.draw(r, drift.contr(t0, t1)))
            ends = solver_state(leaves, f, draw, volatility)
        y1 = tree.unflatten(ends)
        return y1, None, dict(y0=y0, y1=y1), solver_state, _successful

    def objection(self, flow: Structure) -> str | None:
        """Why it cannot integrate such a flow, if it cannot."""
        for name, cause in zip(flow.names, flow.varies, strict=True):
            if cause:
                return (f"Exact needs an affine flow, but the slope of {name!r} depends on {cause}; "
                        "use ExponentialEuler")  # fmt: skip
        if flow.coupled and flow.units * len(flow.names) > MOST:
            return (f"Exact takes one matrix for all units if they depend on one another, up to {MOST} variables, "
                    f"not {flow.units * len(flow.names)}; use a solver of diffrax, say Heun()")  # fmt: skip
        return None


def _brownian(noise: diffrax.ControlTerm, t: Any, y: State, args: Any) -> tuple["AbstractBrownian", list[Array]]:
    """The Brownian motion and the volatility of each variable."""
    sigma: Any = noise.vf(t, y, args)
    if not isinstance(noise.control, AbstractBrownian) or not isinstance(sigma, lineax.DiagonalLinearOperator):
        raise ValueError(
            "Exact needs noise of single variables, as that of a Population; available: ExponentialEuler or a "
            "diffrax SDE solver"
        )
    return noise.control, jax.tree.leaves(sigma.diagonal)


class AbstractBrownian(diffrax.AbstractPath):
    """Brownian motion over one step. `Exact` asks for more of it than its increment: what it did in between.

    `noisy` has the numbers of the variables (as leaves of the state) that have noise.
    """

    noisy: eqx.AbstractVar[tuple[int, ...]]

    @abstractmethod
    def draw(self, r: int, dt: Any) -> State:
        """Normal numbers of variance dt that are independent of all others; those for r = 0 are the increment."""


def objection(solver: diffrax.AbstractSolver, flow: Structure) -> str | None:
    """Why `solver` cannot integrate a flow; None if it can, as diffrax's solvers all can."""
    return solver.objection(flow) if isinstance(solver, Exact | ExponentialEuler) else None


def chosen(flow: Structure) -> diffrax.AbstractSolver:
    """The best solver that can integrate a flow."""
    return next(s for s in (Exact(), ExponentialEuler(), diffrax.Heun()) if objection(s, flow) is None)


class Prepared(eqx.Module):
    """A solver and, if it can be had before the time loop, its state for every step."""

    solver: diffrax.AbstractSolver
    state: PyTree

    @property
    def holds(self) -> bool:
        """Whether a variable whose slope is masked to 0 stays put: a propagator of the unmasked flow moves it."""
        return not isinstance(self.solver, Exact)

    def step(self, terms: Any, t0: Any, t1: Any, y0: State, args: Any) -> State:
        """y(t1). The state of other solvers is made afresh: a spike or a new input invalidates a remembered slope."""
        state = self.solver.init(terms, t0, t1, y0, args) if self.state is None else self.state
        return self.solver.step(terms, t0, t1, y0, args, state, made_jump=False)[0]
