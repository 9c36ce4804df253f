"""The parameters of a model by name: what a sweep varies and a fit sets free."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._typing import magnitude

M = TypeVar("M")


class Leaf(NamedTuple):
    """One parameter of a model: where it is, what it is, and its unit and meaning as its class has them."""

    path: str
    index: int
    value: Array
    unit: str
    doc: str

    def __str__(self) -> str:
        return f"{self.path} ({self.unit})" if self.unit else self.path


def leaves(model: Any) -> dict[str, Leaf]:
    """The floating-point arrays of a model by path."""
    found = {}
    for index, (path, value) in enumerate(jax.tree_util.tree_flatten_with_path(model)[0]):
        if eqx.is_inexact_array(value):
            name, unit, doc = _describe(model, path)
            found[name] = Leaf(name, index, value, unit, doc)
    return found


def _describe(model: Any, path: tuple) -> tuple[str, str, str]:
    """The dotted name of a leaf, and the unit and meaning that the innermost field on its path declares."""
    names, metadata, here = [], {}, model
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            names.append(key.name)
            fields = getattr(type(here), "__dataclass_fields__", {})
            metadata = fields[key.name].metadata if key.name in fields else {}
            here = getattr(here, key.name)
        elif isinstance(key, jax.tree_util.DictKey | jax.tree_util.SequenceKey):
            name = key.key if isinstance(key, jax.tree_util.DictKey) else key.idx
            names.append(str(name))
            here = here[name]
        else:  # an index into a container that does not name its parts
            names.append(str(getattr(key, "key", key)))
            break
    return ".".join(names), metadata.get("unit", ""), metadata.get("doc", "")


def find(model: Any, name: str) -> Leaf:
    """The parameter with this path, or the only one whose path ends with `name`.

    **Raises:** `ValueError` with what is available, if there is none or more than one.
    """
    available = leaves(model)
    if name in available:
        return available[name]
    ends = [leaf for path, leaf in available.items() if path.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ValueError(f"parameter {name!r} is ambiguous; it may be {' or '.join(leaf.path for leaf in ends)}")
    raise ValueError(f"no parameter {name!r}; available: {', '.join(map(str, available.values())) or 'none'}")


def parameters(model: Any) -> dict[str, Array]:
    """Every floating-point array of a model, by its path.

    **Arguments:**

    - `model`: a neuron, population, network, or any other Equinox module.

    ```python
    >>> import brainsim as bs
    >>> cells = bs.Population(10, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0)))
    >>> [name for name in bs.parameters(cells) if name.endswith("tau")]
    ['neuron.tau', 'receptors.exc.tau']

    ```
    """
    return {path: leaf.value for path, leaf in leaves(model).items()}


def with_params(model: M, values: Mapping[str, Any] | None = None, /, **named: Any) -> M:
    """A copy of a model with some parameters replaced. Works inside `jit`, `vmap` and `grad`, and never retraces.

    **Arguments:**

    - `model`: a neuron, population, network, or any other Equinox module.
    - `values`, `named`: paths to new values. The end of a path is enough where only one parameter has it: `"tau_w"`,
      `"E.neuron.tau"`. A value is a scalar or has the shape of what it replaces; quantities are converted to its unit.

    **Raises:** `ValueError` for an unknown or ambiguous name, with what is available, and for a shape that does not
    fit.

    ```python
    >>> import brainsim as bs
    >>> bs.with_params(bs.AdEx(), tau_w=30.0).tau_w.item()
    30.0
    >>> cells = bs.Population(10, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0)))
    >>> bs.with_params(cells, {"exc.tau": 2.0}).receptors["exc"].tau.item()
    2.0

    ```
    """
    flat, tree = jax.tree.flatten(model)
    seen: dict[int, str] = {}
    made: dict[Any, Array] = {}  # one value for several parameters stays one array: populations that share it are alike
    for name, given in {**(values or {}), **named}.items():
        leaf = find(model, name)
        if leaf.index in seen:
            raise ValueError(f"parameter {leaf.path!r} is named twice, as {seen[leaf.index]!r} and {name!r}")
        seen[leaf.index] = name
        value = magnitude(given, leaf.unit)
        try:
            new = jnp.asarray(value, leaf.value.dtype)
        except (TypeError, ValueError):
            raise ValueError(f"parameter {leaf} must be a number or an array, got {value!r}") from None
        if new.shape not in ((), leaf.value.shape):
            raise ValueError(f"parameter {leaf} must be a scalar or have shape {leaf.value.shape}, got {new.shape}")
        same = id(given), leaf.unit, leaf.value.dtype, leaf.value.shape
        flat[leaf.index] = made.setdefault(same, jnp.broadcast_to(new, leaf.value.shape))
    return jax.tree.unflatten(tree, flat)
