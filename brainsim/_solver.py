"""Two diffrax solvers for the flows of neurons. Nothing here knows of neurons.

Any other diffrax solver can be used in their place. `ExponentialEuler` treats each variable's own linear part exactly;
`Exact` treats an affine flow exactly, by a propagator that is derived from the vector field once.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._numerics import exponential_step, phi1, phi1_times
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
    stiff, and of order 1 otherwise. The equation of a variable may depend on that variable only elementwise.

    With additive noise (`diffrax.MultiTerm(ODETerm, ControlTerm)`) the increment is scaled so that an
    Ornstein-Uhlenbeck process has its exact variance at any dt: dW sqrt(phi1(2 a_i dt)).

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
        varies = structure(lambda y: drift.vf(t0, y, args), y0)[1]
        ends, slopes = [], []
        for i, leaf in enumerate(leaves):

            def f_i(x, i=i):
                y = tree.unflatten([*leaves[:i], x, *leaves[i + 1 :]])
                return jax.tree.leaves(drift.vf(t0, y, args))[i]

            f, a = jax.jvp(f_i, (leaf,), (jnp.ones_like(leaf),))
            ends.append(exponential_step(leaf, a * dt, f * dt) if varies[i] else leaf + phi1_times(a * dt, f * dt))
            slopes.append(a)
        if noise is not None:
            kicks = jax.tree.leaves(noise.vf_prod(t0, y0, args, noise.contr(t0, t1)))
            ends = [y + jnp.sqrt(phi1(2 * a * dt)) * kick for y, a, kick in zip(ends, slopes, kicks, strict=True)]
        y1 = tree.unflatten(ends)
        return y1, None, dict(y0=y0, y1=y1), None, _successful


class Exact(diffrax.AbstractSolver):
    """The exact solution of an affine flow, dy/dt = A y + b, over a step in which b is constant.

        y(t + dt) = y + Q f(t, y),    Q = dt phi1(A dt) = ∫_0^dt exp(A s) ds

    A is read off the vector field by `jax.jvp`, separately for every unit whose parameters differ, and Q is computed by
    a matrix exponential; in `simulate` both happen once, outside the time loop. Leaky integrate-and-fire neurons with
    current synapses are affine, whatever mixture of time constants they have (equal ones included), and so may be
    a model of your own. The variables of one unit may depend on one another, units may not.

    **Raises:** `ValueError` if the flow is not affine, with the variable that is to blame.

    ```python
    >>> import brainsim as bs
    >>> cell = bs.Population(1, bs.LIF())
    >>> run = bs.simulate(cell, 1.0, dt=0.1, inputs=1000.0, solver=bs.Exact(), record=dict(v="v"))
    >>> round(float(run["v"][-1, 0]), 4)
    -66.1935

    ```

    Rotter & Diesmann (1999), Biological Cybernetics 81:381, doi:10.1007/s004220050570.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = diffrax.LocalLinearInterpolation

    def order(self, terms):
        return None

    def init(self, terms, t0, t1, y0, args):
        drift, noise = _drift_and_noise(terms)
        if noise is not None:
            raise ValueError(
                "Exact integrates flows without noise; available: ExponentialEuler or a diffrax SDE solver"
            )
        return _propagator(lambda y: drift.vf(t0, y, args), y0, drift.contr(t0, t1))

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        leaves, tree = jax.tree.flatten(y0)
        f = jax.tree.leaves(terms.vf(t0, y0, args))
        y1 = tree.unflatten(
            [y + sum(q * f[j] for j, q in row.items()) for y, row in zip(leaves, solver_state, strict=True)]
        )
        return y1, None, dict(y0=y0, y1=y1), solver_state, _successful


def _propagator(f: Callable[[State], State], y: State, dt: Any) -> list[dict[int, Array]]:
    """Q = dt phi1(A dt) for the affine `f`: row i maps column j to (n,) or, if all units agree, (1,) values."""
    y = _one_unit_if_alike(f, y)
    depends, varies = structure(f, y)
    if any(varies):
        bad = jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(y)[varies.index(True)][0])
        raise ValueError(
            f"Exact needs an affine flow, but the slope of {bad!r} depends on the state; use ExponentialEuler"
        )
    leaves, tree = jax.tree.flatten(y)
    size = len(leaves)
    if size == 0:
        return []
    flat = lambda *x: jax.tree.leaves(f(tree.unflatten(x)))
    zero = [jnp.zeros_like(x) for x in leaves]
    column = lambda j: jax.jvp(flat, leaves, [jnp.ones_like(x) if j == i else zero[i] for i, x in enumerate(leaves)])[1]
    a = jnp.stack([jnp.stack(column(j), -1) for j in range(size)], -1)  # (units, size, size)
    # exp([[A, 1], [0, 0]] dt) holds dt phi1(A dt) in its upper right block.
    zeros, eye = jnp.zeros_like(a), jnp.broadcast_to(jnp.eye(size, dtype=a.dtype), a.shape)
    block = jnp.concatenate([jnp.concatenate([a, eye], -1), jnp.concatenate([zeros, zeros], -1)], -2)
    q = jax.vmap(jax.scipy.linalg.expm)(block * dt)[:, :size, size:]
    return [{j: q[:, i, j] for j in sorted(_reach(i, depends))} for i in range(size)]


def _one_unit_if_alike(f: Callable[[State], State], y: State) -> State:
    """The first unit of `y` if no parameter of `f` tells units apart (its slope is then everyone's), else `y`."""
    one = jax.tree.map(lambda x: x[:1], y)
    try:
        out = jax.eval_shape(f, one)
    except (TypeError, ValueError):
        return y
    return one if all(x.shape == (1,) for x in jax.tree.leaves(out)) else y


def _reach(i: int, depends: list[set[int]]) -> set[int]:
    """The variables that i depends on, at first or second hand."""
    seen, new = {i}, {i}
    while new:
        new = set().union(*(depends[j] for j in new)) - seen
        seen |= new
    return seen


def structure(f: Callable[[State], State], y: State) -> tuple[list[set[int]], list[bool]]:
    """Which variables each dy_i/dt depends on, and whether its slopes vary with the state (nowhere: `f` is affine).

    Read off the program that computes the tangent of `f`, not sampled, so it is also right for traced parameters.
    """
    leaves, tree = jax.tree.flatten(y)
    size = len(leaves)

    def tangent(*primals_and_tangents):
        flat = lambda *x: jax.tree.leaves(f(tree.unflatten(x)))
        return jax.jvp(flat, primals_and_tangents[:size], primals_and_tangents[size:])[1]

    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]
    closed = jax.make_jaxpr(tangent)(*shapes, *shapes)
    outs = dependence(closed.jaxpr, [{i} for i in range(2 * size)])
    return [{i - size for i in used if i >= size} for used in outs], [any(i < size for i in used) for used in outs]


def dependence(jaxpr: Any, inputs: list[set[int]]) -> list[set[int]]:
    """The inputs that each output of a jaxpr depends on; looks inside calls, and takes other higher-order ops whole."""
    env = dict(zip(jaxpr.invars, inputs, strict=True))
    read = lambda atom: set() if hasattr(atom, "val") else env.get(atom, set())
    for eqn in jaxpr.eqns:
        used = [read(atom) for atom in eqn.invars]
        inner = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr")
        inner = getattr(inner, "jaxpr", inner)
        if (
            eqn.primitive.name in ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")
            and inner is not None
        ):
            outs = dependence(inner, used)
        else:
            outs = [set().union(*used)] * len(eqn.outvars)
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


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
