"""Arrays that lie on several devices: how values vary from one to another, and how a batch is split.

Inside of `jax.shard_map` every value has a type that says over which axes of the mesh it varies. An operation whose
operands vary over different axes first casts them to vary over all of these, and the transpose of such a cast is the
sum over devices: the gradient of what is common to them.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec, get_abstract_mesh
from jaxtyping import PyTree

try:  # primitives whose lowering is told of the mesh; without it nothing is split, which costs time only
    from jax._src.dispatch import prim_requires_devices_during_lowering as needing_devices
except ImportError:
    needing_devices = set()


def varying(x: Any) -> frozenset[Any]:
    """The axes of the mesh over which `x` varies: none outside of `jax.shard_map`."""
    aval = x if hasattr(x, "manual_axis_type") else jax.typeof(x)
    return getattr(getattr(aval, "manual_axis_type", None), "varying", frozenset())


def _cast(x: Any, axes: frozenset[Any]) -> Any:
    missing = axes - varying(x)
    return jax.lax.pcast(x, tuple(a for a in get_abstract_mesh().axis_names if a in missing), to="varying")


def alike(tree: PyTree) -> PyTree:
    """The arrays, all varying over the axes over which any of them does: as operands of one operation do."""
    if get_abstract_mesh().empty:
        return tree
    axes = frozenset[Any]().union(*map(varying, jax.tree.leaves(tree)))
    return jax.tree.map(lambda x: _cast(x, axes), tree) if axes else tree


def as_carried(body: Callable[[PyTree], PyTree], start: PyTree) -> PyTree:
    """`start`, varying over what `body(start)` varies over, and so on: as what is carried by a loop must."""
    while not get_abstract_mesh().empty:
        after = jax.eval_shape(body, start)
        more = jax.tree.map(lambda x, y: bool(varying(y) - varying(x)), start, after)
        if not any(jax.tree.leaves(more)):
            break
        start = jax.tree.map(lambda x, y: _cast(x, varying(x) | varying(y)), start, after)
    return start


def scan(body: Callable[[Any, Any], tuple[Any, Any]], start: PyTree, rows: PyTree) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan`, whatever devices what is carried and `rows` vary over."""
    once = lambda carry: body(carry, jax.tree.map(lambda x: x[0], rows))[0]
    return jax.lax.scan(body, as_carried(once, start), rows)


# ---- the types of results


def invariant(aval: Any) -> Any:
    """The type `aval` as it is on each device by itself."""
    return aval.update(manual_axis_type=type(aval.manual_axis_type)()) if varying(aval) else aval


def on_mesh(out: Any, avals: Sequence[Any], operands: Sequence[str], results: Sequence[str]) -> Any:
    """The types of results as those of an operation on the devices of the present mesh with operands `avals`.

    `operands` and `results` are the names of their batch axes.
    """
    mesh = get_abstract_mesh()
    if mesh.empty:
        return out
    given = _shared(zip(operands, avals, strict=True))
    widest = max(avals, key=lambda x: len(varying(x)))

    def placed(x: Any, names: str) -> Any:
        sharding = NamedSharding(mesh, PartitionSpec(*(given.get(name) for name in names)))
        return x.update(sharding=sharding, manual_axis_type=widest.manual_axis_type)

    return list(map(placed, out, results)) if isinstance(out, Sequence) else placed(out, *results)


# ---- the batch in parts


def is_spread(ctx: Any) -> bool:
    """Whether XLA is to split the program that is being lowered among several devices."""
    context = ctx.module_context.axis_context
    if (mesh := getattr(context, "mesh", None)) is not None:
        return set(context.manual_axes) != set(mesh.axis_names)  # else it has been split by hand
    return context.num_devices > 1 and context.abstract_mesh is not None


def precision(arrays: Sequence[Any]) -> contextlib.AbstractContextManager[Any]:
    """In which what has to do with `arrays` can be traced: XLA calls for parts of a program in threads of its own."""
    wide = any(x.dtype.name in ("float64", "complex128", "int64", "uint64") for x in arrays)
    return jax.enable_x64(True) if wide else contextlib.nullcontext()


def split(
    f: Callable[..., Any],
    operands: Sequence[str],
    results: Sequence[str],
    types: tuple[Sequence[Any], Sequence[Any]],
    adds_to: int | None = None,
) -> Callable[..., Any]:
    """`f`, of which each device computes its part of the batch.

    `operands` and `results` are the names of their batch axes, `types` their types. Axes that no result has are summed
    over, and the sum is added to the operand of number `adds_to`, if there is one.
    """
    summed = set("".join(operands)) - set("".join(results))

    def partition(mesh: Any, arguments: Sequence[Any], result: Any) -> Any:
        outs = result if isinstance(result, list) else [result]
        given = _shared([*zip(results, outs, strict=True), *zip(operands, arguments, strict=True)])
        over = tuple(axis for name in sorted(summed) for axis in given.get(name, ()))
        place = lambda names: NamedSharding(mesh, PartitionSpec(*(given.get(name) for name in names)))

        def part(*arrays: Any) -> Any:
            with precision(arrays):
                return added_up(*arrays)

        def added_up(*arrays: Any) -> Any:
            if not over:
                return f(*arrays)
            if adds_to is None:
                return jax.lax.psum(f(*arrays), over)
            fresh = [jnp.zeros_like(x) if i == adds_to else x for i, x in enumerate(arrays)]
            return arrays[adds_to] + jax.lax.psum(f(*fresh), over)

        placed = [place(names) for names in results]
        return mesh, part, placed if isinstance(result, list) else placed[0], tuple(place(names) for names in operands)

    whole = itertools.count()  # all other axes have to be
    named = lambda names, x: " ".join([*names, *(f"whole{next(whole)}" for _ in x.shape[len(names) :])])
    rule = " -> ".join(", ".join(map(named, *pair)) for pair in zip((operands, results), types, strict=True))
    parted = custom_partitioning(lambda *arrays: f(*arrays))
    unsplit = tuple(f"whole{i}" for i in range(next(whole)))
    parted.def_partition(partition, sharding_rule=rule, need_replication_factors=unsplit)
    return parted


def _shared(arrays: Any) -> dict[str, tuple[Any, ...]]:
    """Over which axes of the mesh each batch axis is split; `arrays` are pairs of names of axes and an array.

    An axis is left whole if it does not fall into equal parts, or if another has the same axis of the mesh.
    """
    given: dict[str, tuple[Any, ...]] = {}
    for names, x in arrays:
        sizes = dict(x.sharding.mesh.shape)
        for name, axes, n in zip(names, x.sharding.spec, x.shape, strict=False):
            axes = axes if isinstance(axes, tuple) else () if axes is None else (axes,)
            free = not {a for taken in given.values() for a in taken} & set(axes)
            if axes and name not in given and free and n % math.prod(sizes[a] for a in axes) == 0:
                given[name] = axes
    return given
