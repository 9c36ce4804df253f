"""What is handed to a verb: either it is what the verb takes, or one line says what it is instead."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import diffrax
import jax
import numpy as np
from jaxtyping import Array

from ._dynamics import AbstractNeuron, AbstractNode
from ._quantity import shown
from ._text import choices
from ._typing import check_key, whole_number


def check_node(node: Any, verb: str) -> None:
    """**Raises:** `ValueError` unless `node` is one that can be run."""
    if isinstance(node, AbstractNode):
        if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
            _check_single(node, verb)
        return
    hint = f"; wrap the neuron in Population(1, {type(node).__name__}(...))" if isinstance(node, AbstractNeuron) else ""
    raise ValueError(f"{verb} takes a Population or a Network, got {shown(node)}{hint}")


def _check_single(node: AbstractNode, verb: str) -> None:
    if any(isinstance(x, jax.Array) and x.dtype == np.float64 for x in jax.tree.leaves(node)):
        raise ValueError(f"{verb}: the model was made with jax_enable_x64, which is off now; make it anew")


def check_solvers(solver: Any) -> None:
    """**Raises:** `ValueError` unless `solver` is None, one of diffrax's kind, or such solvers by population."""
    if isinstance(solver, Mapping):
        for name, each in by_name(solver, "solvers", "dict(E=ExponentialEuler())").items():
            if each is not None:
                check_solver(each, f"solver[{name!r}]")
    elif solver is not None:
        check_solver(solver)


def check_solver(solver: Any, what: str = "solver") -> None:
    """**Raises:** `ValueError` unless `solver` is one of diffrax's kind."""
    if isinstance(solver, diffrax.AbstractSolver):
        return
    hint = f"; write {solver.__name__}()" if isinstance(solver, type) else ""
    raise ValueError(f"{what} must be a diffrax solver such as ExponentialEuler() or Heun(), got {shown(solver)}{hint}")


def key_or_none(key: Array | None, what: str = "key") -> Array | None:
    """`key`, if it is one or None."""
    if key is not None:
        check_key(key, what)
    return key


def by_name(value: Mapping[str, Any] | None, what: str, example: str) -> dict[str, Any]:
    """`value`, a mapping from names, as a dict; None is empty.

    **Raises:** `ValueError` for anything else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{what} go by name, such as {example}; got {shown(value)}")
    return dict(value)


def given_count(value: Any, what: str) -> int | None:
    """`value`, a positive whole number, as an integer; None is none."""
    return None if value is None else whole_number(value, what, least=1, most=2**31 - 1)


def check_recording(loss: str, recording: Any) -> None:
    """**Raises:** `ValueError` unless a loss can read `recording`."""
    if not all(hasattr(recording, name) for name in ("dt", "stimulus", "stimulus_unit", "voltage", "spike_times")):
        raise ValueError(f"{loss} takes a Recording, got {shown(recording)}")


def choice(value: Any, what: str, options: Sequence[str]) -> str:
    """`value`, if it is one of the options."""
    if isinstance(value, str) and value in options:
        return value
    raise ValueError(f"{what} is {shown(value)}; {choices(value, options)}")


def check_function(f: Any, what: str) -> None:
    """**Raises:** `ValueError` unless `f` can be called."""
    if not callable(f) or isinstance(f, type):
        raise ValueError(f"{what} must be a function, got {shown(f)}")


def check_progress(progress: Any) -> None:
    """**Raises:** `ValueError` unless it is True, False or a function of (done, total)."""
    if not isinstance(progress, bool):
        check_function(progress, "progress, if not True or False,")
        check_takes(progress, "progress", "done", "total")


def check_takes(f: Any, what: str, *names: str) -> None:
    """**Raises:** `ValueError` unless the function can be called with so many arguments."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # a built-in function does not say
        return
    try:
        signature.bind(*names)
    except TypeError:
        raise ValueError(f"{what} must be a function of ({', '.join(names)}), got one of {signature}") from None
