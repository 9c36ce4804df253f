"""Primitives, known to all of JAX's transformations, and what computes them on each platform."""

import functools as ft
import string
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._devices import alike, invariant, is_spread, needing_devices, on_mesh, precision, split

try:
    from jax.core import ShapedArray as ShapedArray
    from jax.extend.core import Primitive as Primitive
    from jax.interpreters import ad, batching, mlir, partial_eval
except ImportError as e:  # nothing that is public has reverse mode with rules of one's own for each operand
    raise ImportError(
        f"this brainsim needs JAX 0.10 to 0.12, and this is {jax.__version__} ({e}): pip install 'jax>=0.10,<0.13'"
    ) from e

Zero = ad.Zero
is_undefined_primal = ad.is_undefined_primal

# For given operands (their shapes) and parameters: names of the batch axes of each operand, and of each result.
Axes = Callable[..., tuple[Sequence[str], Sequence[str]]]


class _Definition(NamedTuple):
    abstract: Callable[..., Any]
    reference: Callable[..., Any]
    axes: Axes
    adds_to: int | None
    double: bool


_definitions: dict[Primitive, _Definition] = {}


def primitives() -> dict[Primitive, Axes]:
    """All that have batch axes, and the names of these."""
    return {primitive: definition.axes for primitive, definition in _definitions.items() if not definition.double}


def define_primitive(
    name: str,
    *,
    abstract: Callable[..., ShapedArray | Sequence[ShapedArray]],
    reference: Callable[..., Any],
    jvp: Callable[..., Any],
    transpose: Callable[..., Sequence[Any]] | None = None,
    batch: Callable[..., tuple[Any, Any]] | None = None,
    axes: Axes | None = None,
    adds_to: int | None = None,
    multiple_results: bool = False,
    double: bool = False,
) -> Primitive:
    """A primitive, known to all of JAX's transformations; `reference` computes it on any platform.

    **Arguments:** the rules, each taking the primitive's static parameters as keywords.

    - `abstract(*avals)`: the shape and type of the result.
    - `reference(*operands)`: the result, in plain JAX.
    - `jvp(primals, tangents)`: the result and its tangent; a tangent may be a `Zero`.
    - `transpose(cotangent, *operands)`: one cotangent or None for each operand; not for one that is never linear.
    - `batch(operands, dims)`: the batched result and its batch axis; default: of an elementwise operation.
    - `axes(*avals)`: the batch axes, which are the leading ones, of each operand and of each result: one letter for
      each, e.g. `["gb", "g", ""], ["gb"]`. Where arrays lie on several devices, these axes may be split among them; the
      result is a sum over those that it lacks. Default: of an elementwise operation.
    - `adds_to`: the number of the operand, if there is one, that such a sum is added to.
    - `double`: double precision is switched on where it is lowered; XLA knows by itself how to split it.

    There is one result, or, with `multiple_results`, a list of them, and of their tangents, cotangents and batch axes.
    """
    primitive = Primitive(name)
    primitive.multiple_results = multiple_results
    primitive.bind = ft.partial(_bind, primitive)
    primitive.is_high = lambda *_, **__: False  # JAX 0.12 asks whether there is a type of its own in a parameter
    _definitions[primitive] = _Definition(abstract, reference, axes or _axes_elementwise, adds_to, double)
    primitive.def_impl(_one_by_one(primitive))
    primitive.def_abstract_eval(ft.partial(_typed, primitive))
    ad.primitive_jvps[primitive] = jvp
    if transpose is not None:
        ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = batch or ft.partial(_batch_elementwise, primitive)
    if double:
        _lower_in_double(primitive, reference)
    elif axes is None:  # XLA knows by itself how to split it
        mlir.register_lowering(primitive, mlir.lower_fun(reference, multiple_results=multiple_results))
    else:
        _lower(primitive, reference)
    return primitive


def _bind(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    return Primitive.bind(primitive, *alike(operands), **params)


def _one_by_one(primitive: Primitive) -> Callable[..., Any]:
    """What computes it outside of a program: a program of its own."""
    try:
        from jax.interpreters.xla import apply_primitive

        return ft.partial(apply_primitive, primitive)
    except ImportError:
        return lambda *operands, **params: jax.jit(ft.partial(primitive.bind, **params))(*operands)


def _typed(primitive: Primitive, *avals: Any, **params: Any) -> Any:
    """The shape and type of the results, and over which devices they vary: as the operands do."""
    definition = _definitions[primitive]
    return on_mesh(definition.abstract(*avals, **params), avals, *definition.axes(*avals, **params))


def _batch_elementwise(primitive: Primitive, operands: Sequence[Any], dims: Sequence[Any], **params: Any):
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    front = [
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(operands, dims, strict=True)
    ]
    return primitive.bind(*front, **params), 0


def _axes_elementwise(*operands: Any, **params: Any) -> tuple[Sequence[str], Sequence[str]]:
    names = [string.ascii_letters[: x.ndim] for x in operands]
    return names, names[:1]


def define_dce(primitive: Primitive, rule: Callable[..., tuple[list[bool], Any]]) -> None:
    """What is left of an equation of `primitive` if some results are not used: `rule(used, equation)`.

    It returns which operands are used, and the new equation, or None. JAX 0.12 tells a rule more, before the equation.
    """
    if (rules := getattr(partial_eval, "dce_rules", None)) is not None:
        rules[primitive] = lambda used, *rest: rule(used, rest[-1])


def define_lowering(
    primitive: Primitive,
    kernel: Callable[..., str | None],
    *,
    platform: str,
    available: Callable[[], bool],
    aliases: dict[int, int] | None = None,
    operands: Callable[..., Sequence[Any]] = lambda *arrays, **_: arrays,
) -> None:
    """Lowers `primitive` on a platform to the FFI target that `kernel(*avals, **params)` names.

    If it names none, or if the targets are not `available` when a program is compiled, it is the reference.

    Batch axes of length one are not handed to the target: XLA keeps a loop's arrays in place only if their shape is
    the same inside and outside of the call. `aliases` maps operands to results that may share their memory.
    `operands(*arrays, **params)` are those that the target takes, default all.
    """
    abstract, reference, axes, *_ = _definitions[primitive]

    def call(*arrays, **params):
        name = kernel(*arrays, **params)
        if name is None:
            return reference(*arrays, **params)
        out = abstract(*arrays, **params)
        given, results = axes(*arrays, **params)
        taken, leading = operands(*arrays, **params), [len(x) for x in operands(*given, **params)]
        single = all(
            n == 1 for x, a in zip((*taken, out), (*leading, len(results[0])), strict=True) for n in x.shape[:a]
        )
        if single:
            taken = [x.reshape(x.shape[a:]) for x, a in zip(taken, leading, strict=True)]
        result = jax.ShapeDtypeStruct(out.shape[len(results[0]) :] if single else out.shape, out.dtype)
        return jax.ffi.ffi_call(name, result, input_output_aliases=aliases)(*taken).reshape(out.shape)

    define_call(primitive, call, platform=platform, available=available)


def define_call(
    primitive: Primitive, call: Callable[..., Any], *, platform: str, available: Callable[[], bool] = lambda: True
) -> None:
    """Lowers `primitive` on a platform to `call(*operands, **params)`, which may call FFI targets with attributes.

    If the targets are not `available` when a program is compiled, it is the reference.
    """

    def chosen(*operands, **params):
        return (call if available() else _definitions[primitive].reference)(*operands, **params)

    _lower(primitive, chosen, platform=platform)


def _lower(primitive: Primitive, compute: Callable[..., Any], **options: Any) -> None:
    """Lowers `primitive` to what `compute` does, on each device to its part of the batch."""
    _, _, axes, adds_to, _ = _definitions[primitive]
    needing_devices.add(primitive)

    def lower(ctx, *values, **params):
        ctx = ctx.replace(avals_in=[invariant(x) for x in ctx.avals_in])
        f = ft.partial(compute, **params)
        if is_spread(ctx):
            f = split(f, *axes(*ctx.avals_in, **params), (ctx.avals_in, ctx.avals_out), adds_to)
        with precision(ctx.avals_in):
            return mlir.lower_fun(f, multiple_results=primitive.multiple_results)(ctx, *values)

    mlir.register_lowering(primitive, lower, **options)


def _lower_in_double(primitive: Primitive, compute: Callable[..., Any]) -> None:
    def lower(ctx, *values, **params):
        ctx = ctx.replace(avals_in=[invariant(x) for x in ctx.avals_in])
        with jax.enable_x64(True):
            return mlir.lower_fun(compute, multiple_results=primitive.multiple_results)(ctx, *values, **params)

    mlir.register_lowering(primitive, lower)


def instantiated(primals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangents with zeros written out, as `jax.jvp` takes them."""
    floating = lambda x: jnp.issubdtype(x.dtype, jnp.inexact)
    zero = lambda x: jnp.zeros_like(x) if floating(x) else np.zeros(x.shape, jax.dtypes.float0)
    return [zero(x) if isinstance(t, Zero) else t for x, t in zip(primals, tangents, strict=True)]
