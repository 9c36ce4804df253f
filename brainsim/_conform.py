"""Whether a neuron and its receptors return what the step expects, found out by tracing them once, without arithmetic.

A model of one's own that does not is named in one line when it is built, not by whatever fails first when it runs.
"""

import functools as ft
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ._dynamics import AbstractNeuron, AbstractReceptor
from ._quantity import shown
from ._typing import State, get, variables


def check_models(
    neuron: AbstractNeuron, receptors: Mapping[str, AbstractReceptor], n: int, names: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The variables of the neuron, if all functions of it and of its receptors return what they should for `n` units.

    `names` are those under which the user knows the neuron's functions, where they differ.

    **Raises:** `ValueError` naming the function, what it returned and what it should.
    """
    leaves, tree = jax.tree.flatten((neuron, dict(receptors)))
    given = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) if _is_array(x) else x for x in leaves)
    known = tuple((names or {}).items())
    try:
        return _checked(tree, given, n, known, jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]
    except TypeError:  # something in the model has no hash; what it returns was not the reason, since that is caught
        return _checked.__wrapped__(tree, given, n, known, True)


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


@ft.lru_cache(maxsize=128)
def _checked(tree: Any, given: tuple, n: int, names: tuple[tuple[str, str], ...], x64: bool) -> tuple[str, ...]:
    known = {i: x for i, x in enumerate(given) if not _is_array(x)}
    arrays = {i: x for i, x in enumerate(given) if _is_array(x)}
    found: list[tuple[str, ...]] = []
    wrong: list[ValueError] = []

    def trace(arrays: dict[int, Any]) -> None:
        neuron, receptors = jax.tree.unflatten(tree, [x for _, x in sorted({**known, **arrays}.items())])
        try:
            y = _check_neuron(neuron, n, dict(names))
            found.append(variables(y))
            for name, receptor in receptors.items():
                _check_receptor(receptor, n, f"receptor {name!r}, {type(receptor).__name__}", y)
        except ValueError as e:
            wrong.append(e)

    jax.eval_shape(trace, arrays)
    if wrong:  # raised here: JAX adds remarks of its own to what passes through it
        raise wrong[0]
    return found[0]


def _check_neuron(neuron: AbstractNeuron, n: int, names: dict[str, str]) -> State:
    kind = type(neuron).__name__
    said = lambda name: names.get(name, f"{kind}: {name}")
    y = _state(said("init"), lambda: neuron.init(n), n)
    if not variables(y):
        raise ValueError(f"{said('init')} must return at least one variable, it returned none")
    dtype = jax.tree.leaves(y)[0].dtype
    zero, current = jnp.zeros((), dtype), jnp.zeros(n, dtype)
    _alike(said("vector_field"), lambda: neuron.vector_field(zero, y, current), y)
    guard = _called(said("guard"), lambda: neuron.guard(y))
    one_each = jax.ShapeDtypeStruct((n,), dtype)
    _alike(said("guard"), lambda: guard, one_each)
    _alike(said("reset"), lambda: neuron.reset(y), y, exact=False)
    _alike(f"{kind}: surrogate", lambda: neuron.surrogate(guard), one_each)
    for name in neuron.held:
        if name not in variables(y):
            available = ", ".join(variables(y))
            raise ValueError(f"{kind}: held variable {name!r} is not a state variable; available: {available}")
    return y


def _check_receptor(receptor: AbstractReceptor, n: int, kind: str, neuron: State) -> None:
    if "v" not in variables(neuron):
        raise ValueError(f"receptors need a neuron with a variable 'v'; available: {', '.join(variables(neuron))}")
    v = get(neuron, "v")
    y = _state(f"{kind}: init", lambda: receptor.init(n), n)
    _alike(f"{kind}: vector_field", lambda: receptor.vector_field(jnp.zeros((), v.dtype), y, v), y)
    _alike(f"{kind}: current", lambda: receptor.current(y, v), v)
    _alike(f"{kind}: receive", lambda: receptor.receive(y, v, jnp.zeros_like(v)), (y, v))


def _called(name: str, function: Callable[[], Any]) -> Any:
    """What `function` returns; what it raises is told in one line."""
    try:
        return function()
    except Exception as e:
        why = " ".join(str(e).split())
        raise ValueError(f"{name} raised {type(e).__name__}: {shown(why, 300)[1:-1]}") from e


def _state(name: str, function: Callable[[], Any], n: int) -> Any:
    y = _called(name, function)
    if not (isinstance(y, dict) or hasattr(y, "_fields")):
        raise ValueError(f"{name} must return a NamedTuple or a dict of arrays, it returned {shown(y)}")
    if wrong := [x for x in variables(y) if jnp.shape(get(y, x)) != (n,)]:
        got = jnp.shape(get(y, wrong[0]))
        raise ValueError(f"{name} must return arrays of shape ({n},), it returned {wrong[0]!r} of shape {got}")
    if wrong := [x for x in variables(y) if not jnp.issubdtype(get(y, x).dtype, jnp.floating)]:
        raise ValueError(
            f"{name} must return floating-point arrays, it returned {wrong[0]!r} of {get(y, wrong[0]).dtype}"
        )
    return y


def _alike(name: str, function: Callable[[], Any], expected: Any, *, exact: bool = True) -> None:
    """Whether `function` returns the structure, shapes and dtypes of `expected`, or, unless `exact`, scalars."""
    got = _called(name, function)
    if jax.tree.structure(got) != jax.tree.structure(expected):
        raise ValueError(f"{name} must return {_described(expected)}, it returned {_described(got)}")
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        fits = jnp.shape(a) == b.shape or (not exact and jnp.shape(a) == ())
        if not fits or jnp.result_type(a) != b.dtype:
            raise ValueError(f"{name} must return {_described(expected)}, it returned {_described(got)}")


def _described(tree: Any) -> str:
    """`"(v: float32[3], w: float32[3])"`."""
    one = lambda x: f"{jnp.result_type(x).name}[{','.join(map(str, jnp.shape(x)))}]" if _is_number(x) else shown(x)
    if isinstance(tree, dict) or hasattr(tree, "_fields"):
        return f"({', '.join(f'{x}: {_described(get(tree, x))}' for x in variables(tree))})"
    if isinstance(tree, tuple | list):
        return f"({', '.join(map(_described, tree))})"
    return one(tree)


def _is_number(x: Any) -> bool:
    return _is_array(x) or isinstance(x, int | float)
