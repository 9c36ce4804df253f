"""The parameters of a model by name: what a sweep varies and a fit sets free."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._domain import FINITE
from ._quantity import shown
from ._text import choices
from ._typing import as_double, as_float

M = TypeVar("M")


class Leaf(NamedTuple):
    """One parameter of a model: where it is, what it is, and its unit, meaning and domain as its class has them.

    `declared` says that it is a field made by `param`, which may have one value per unit; `double`, that it is one of
    double precision.
    """

    path: str
    index: int
    value: Any
    unit: str
    doc: str
    domain: str
    declared: bool
    double: bool
    keys: tuple

    def __str__(self) -> str:
        return f"{self.path} ({self.unit})" if self.unit else self.path


def leaves(model: Any) -> dict[str, Leaf]:
    """The floating-point arrays of a model by path."""
    found = {}
    for index, (keys, value) in enumerate(jax.tree_util.tree_flatten_with_path(model)[0]):
        if eqx.is_inexact_array(value) or isinstance(value, np.ndarray):
            names, metadata = [], {}
            for name, said, _ in _along(model, keys):
                names, metadata = [*names, name], said
            double = metadata.get("double", False)
            if isinstance(value, np.ndarray) and not double:
                continue
            unit, doc, domain = (metadata.get(*x) for x in (("unit", ""), ("doc", ""), ("domain", FINITE)))
            path = ".".join(names)
            if path in found:
                raise ValueError(f"two parameters of {type(model).__name__} are called {path!r}: rename one of them")
            found[path] = Leaf(path, index, value, unit, doc, domain, "unit" in metadata, double, keys)
    return found


def _along(model: Any, keys: tuple) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Each part of the dotted name of a leaf, what the innermost field so far declares, and what is there."""
    metadata, here = {}, model
    for key in keys:
        if isinstance(key, jax.tree_util.GetAttrKey):
            fields = getattr(type(here), "__dataclass_fields__", {})
            metadata = fields[key.name].metadata if key.name in fields else {}
            here = getattr(here, key.name)
            yield key.name, metadata, here
        elif isinstance(key, jax.tree_util.DictKey | jax.tree_util.SequenceKey):
            name = key.key if isinstance(key, jax.tree_util.DictKey) else key.idx
            here = here[name]
            yield str(name), metadata, here
        else:  # an index into a container that does not name its parts
            yield str(getattr(key, "key", key)), metadata, None
            return


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
    raise ValueError(f"no parameter {name!r}; {choices(name, available.values())}")


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
    if not isinstance(model, eqx.Module | Mapping | tuple | list):
        raise ValueError(f"parameters are those of a model, got {shown(model)}")
    return {path: leaf.value for path, leaf in leaves(model).items()}


def with_params(model: M, values: Mapping[str, Any] | None = None, /, **named: Any) -> M:
    """A copy of a model with some parameters replaced. Works inside `jit`, `vmap` and `grad`, and never retraces.

    **Arguments:**

    - `model`: a neuron, population, network, or any other Equinox module.
    - `values`, `named`: paths to new values. The end of a path is enough where only one parameter has it: `"tau_w"`,
      `"E.neuron.tau"`. A value is a scalar, has the shape of what it replaces, or is one per unit, shape (n,), where
      there was a scalar (a program that takes the model then compiles anew); quantities are converted to its unit.

    **Raises:** `ValueError` for an unknown or ambiguous name, with what is available, for a shape that does not fit,
    and for values that the model does not allow, as where it is built; traced values are not checked.

    ```python
    >>> import brainsim as bs
    >>> bs.with_params(bs.AdEx(), tau_w=30.0).tau_w.item()
    30.0
    >>> cells = bs.Population(10, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0)))
    >>> bs.with_params(cells, {"exc.tau": 2.0}).receptors["exc"].tau.item()
    2.0

    ```
    """
    if not isinstance(values, Mapping | None):
        raise ValueError(f"parameters go by name, such as {{'tau': 5.0}} or tau=5.0; got {shown(values)}")
    flat, tree = jax.tree.flatten(model)
    changed: dict[int, tuple[Leaf, str]] = {}
    made: dict[Any, Array] = {}  # one value for several parameters stays one array: populations that share it are alike
    for name, given in {**(values or {}), **named}.items():
        leaf = find(model, name)
        if leaf.index in changed:
            raise ValueError(f"parameter {leaf.path!r} is named twice, as {changed[leaf.index][1]!r} and {name!r}")
        changed[leaf.index] = leaf, name
        convert = as_double if leaf.double else as_float
        new = convert(given, f"parameter {leaf}", leaf.unit or None, leaf.domain)
        old = leaf.value
        per_unit = leaf.declared and old.ndim == 0 and new.ndim == 1
        if new.shape not in ((), old.shape) and not per_unit:
            raise ValueError(f"parameter {leaf} must be a scalar or have shape {old.shape}, got {new.shape}")
        same = id(given), leaf.unit, leaf.domain, old.dtype, old.shape
        xp: Any = np if isinstance(new, np.ndarray) else jnp
        new = new if leaf.double else new.astype(old.dtype)
        flat[leaf.index] = made.setdefault(same, xp.broadcast_to(new, new.shape if per_unit else old.shape))
    result = jax.tree.unflatten(tree, flat)
    for index, (leaf, _) in changed.items():
        _recheck(result, leaf, all_around=flat[index].shape != leaf.value.shape)
    return result


def _recheck(model: Any, leaf: Leaf, *, all_around: bool) -> None:
    """What its class asks of the module that has this parameter; of another shape, also what those around it ask."""
    around = [x for x in (model, *(here for *_, here in _along(model, leaf.keys))) if isinstance(x, eqx.Module)]
    for module in around if all_around else around[-1:]:
        for cls in type(module).__mro__:
            if "__check_init__" in vars(cls):
                vars(cls)["__check_init__"](module)
