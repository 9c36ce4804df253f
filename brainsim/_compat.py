"""Every use of JAX API that is not public, in one place, so that a new JAX release is one file's work."""

import functools as ft
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.core import trace_state_clean
from jax.core import ShapedArray as ShapedArray, Tracer, eval_context
from jax.extend.backend import get_backend
from jax.extend.core import Literal, Primitive as Primitive, jaxpr_as_fun as jaxpr_as_fun
from jax.interpreters import ad, batching, mlir, partial_eval, xla

Zero = ad.Zero
is_undefined_primal = ad.is_undefined_primal


def is_traced(x: Any) -> bool:
    """Whether the values of `x` are unknown for now, inside of `jit`, `vmap`, `grad` and the like."""
    return isinstance(x, Tracer)


def is_outermost() -> bool:
    """Whether no transformation is under way: what is called now is run, not traced."""
    return trace_state_clean()


def at_once(f: Callable[..., Any], *args: Any) -> Any:
    """`f(*args)`, computed now instead of by the program that is being traced, if it has nothing to do with that.

    A program takes a long time to compile, and what is computed now has been compiled before, as often as not.
    """
    if is_outermost() or any(is_traced(x) for x in jax.tree.leaves(args)):
        return f(*args)
    if any(is_traced(x) for x in jax.make_jaxpr(f)(*args).consts):  # `f` itself holds something that is being traced
        return f(*args)
    with eval_context():
        return f(*args)


def is_cuda() -> bool:
    """Whether JAX computes on NVIDIA's GPUs: others have the same name there."""
    return "cuda" in get_backend().platform_version.lower()


@ft.cache
def cpu_options(*, wide: bool = False) -> dict[str, bool | int]:
    """Options with which XLA compiles long loops better on CPUs, if this XLA has them and runs on a CPU.

    Without region analysis XLA copies every carried array that is read more than once, in every step. With
    `wide`, vectors have 512 bits where a processor has them: that saves a twentieth if arrays stay in the cache.
    """
    if jax.default_backend() != "cpu":
        return {}
    options: dict[str, bool | int] = {"xla_cpu_copy_insertion_use_region_analysis": True}
    if wide:
        options["xla_cpu_prefer_vector_width"] = 512
    return {name: value for name, value in options.items() if _has_option(name, value)}


def _has_option(name: str, value: bool | int) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value})(0.0)
    except (jax.errors.JaxRuntimeError, ValueError):
        return False
    return True


_references: dict[Primitive, Callable[..., Any]] = {}


def define_primitive(
    name: str,
    *,
    abstract: Callable[..., ShapedArray | Sequence[ShapedArray]],
    reference: Callable[..., Any],
    jvp: Callable[..., Any],
    transpose: Callable[..., Sequence[Any]] | None = None,
    batch: Callable[..., tuple[Any, Any]] | None = None,
    multiple_results: bool = False,
) -> Primitive:
    """A primitive, known to all of JAX's transformations; `reference` computes it on any platform.

    **Arguments:** the rules, each taking the primitive's static parameters as keywords.

    - `abstract(*avals)`: the shape and type of the result.
    - `reference(*operands)`: the result, in plain JAX.
    - `jvp(primals, tangents)`: the result and its tangent; a tangent may be a `Zero`.
    - `transpose(cotangent, *operands)`: one cotangent or None for each operand; not for one that is never linear.
    - `batch(operands, dims)`: the batched result and its batch axis; default: of an elementwise operation.

    There is one result, or, with `multiple_results`, a list of them, and of their tangents, cotangents and batch axes.
    """
    primitive = Primitive(name)
    primitive.multiple_results = multiple_results
    _references[primitive] = reference
    primitive.def_impl(ft.partial(xla.apply_primitive, primitive))
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(reference, multiple_results=multiple_results))
    ad.primitive_jvps[primitive] = jvp
    if transpose is not None:
        ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = batch or ft.partial(_batch_elementwise, primitive)
    return primitive


def _batch_elementwise(primitive: Primitive, operands: Sequence[Any], dims: Sequence[Any], **params: Any):
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    front = [
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(operands, dims, strict=True)
    ]
    return primitive.bind(*front, **params), 0


def define_dce(primitive: Primitive, rule: Callable[..., tuple[list[bool], Any]]) -> None:
    """What is left of an equation of `primitive` if some results are not used: `rule(used, equation)`.

    It returns which operands are used, and the new equation, or None. JAX 0.12 tells a rule more, before the equation.
    """
    partial_eval.dce_rules[primitive] = lambda used, *rest: rule(used, rest[-1])


def is_literal(atom: Any) -> bool:
    """Whether an operand in a jaxpr is a constant that is written there."""
    return isinstance(atom, Literal)


def evaluate(eqn: Any, values: Sequence[Any]) -> list[Any]:
    """The results of an equation of a jaxpr for operands with these values."""
    with eqn.ctx.manager:
        results = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return list(results) if eqn.primitive.multiple_results else [results]


def define_lowering(
    primitive: Primitive,
    kernel: Callable[..., str | None],
    *,
    platform: str,
    available: Callable[[], bool],
    batch_axes: Callable[[int], Sequence[int]] | None = None,
    aliases: dict[int, int] | None = None,
    operands: Callable[..., Sequence[Any]] = lambda *arrays, **_: arrays,
) -> None:
    """Lowers `primitive` on a platform to the FFI target that `kernel(*avals, **params)` names.

    If it names none, or if the targets are not `available` when a program is compiled, it is the reference.

    Batch axes of length one are not handed to the target: XLA keeps a loop's arrays in place only if their shape is
    the same inside and outside of the call. `batch_axes(number of operands)` says how many of each operand's axes are
    batch axes, by default all but the last; `aliases` maps operands to results that may share their memory.
    `operands(*arrays, **params)` are those that the target takes, default all.
    """
    plain = mlir.lower_fun(_references[primitive], multiple_results=False)

    def lower(ctx, *values, **params):
        name = kernel(*ctx.avals_in, **params) if available() else None
        if name is None:
            return plain(ctx, *values, **params)
        out = ctx.avals_out[0]
        taken = operands(*ctx.avals_in, **params)
        axes = [x.ndim - 1 for x in taken] if batch_axes is None else batch_axes(len(taken))
        leading = min(max(axes), out.ndim - 1)
        single = all(n == 1 for x, a in zip((*taken, out), (*axes, leading), strict=True) for n in x.shape[:a])

        def call(*arrays):
            arrays = operands(*arrays, **params)
            if single:
                arrays = [x.reshape(x.shape[a:]) for x, a in zip(arrays, axes, strict=True)]
            result = jax.ShapeDtypeStruct(out.shape[leading:] if single else out.shape, out.dtype)
            return jax.ffi.ffi_call(name, result, input_output_aliases=aliases)(*arrays).reshape(out.shape)

        return mlir.lower_fun(call, multiple_results=False)(ctx, *values)

    mlir.register_lowering(primitive, lower, platform=platform)


def define_call(
    primitive: Primitive, call: Callable[..., Any], *, platform: str, available: Callable[[], bool] = lambda: True
) -> None:
    """Lowers `primitive` on a platform to `call(*operands, **params)`, which may call FFI targets with attributes.

    If the targets are not `available` when a program is compiled, it is the reference.
    """

    def chosen(*operands, **params):
        return (call if available() else _references[primitive])(*operands, **params)

    lower = mlir.lower_fun(chosen, multiple_results=primitive.multiple_results)
    mlir.register_lowering(primitive, lower, platform=platform)


def instantiated(primals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangents with zeros written out, as `jax.jvp` takes them."""
    floating = lambda x: jnp.issubdtype(x.dtype, jnp.inexact)
    zero = lambda x: jnp.zeros_like(x) if floating(x) else np.zeros(x.shape, jax.dtypes.float0)
    return [zero(x) if isinstance(t, Zero) else t for x, t in zip(primals, tangents, strict=True)]
