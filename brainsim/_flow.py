"""What a solver has to know of a flow dy/dt = f(t, y): who depends on whom, and whether linearly.

Read off the program that computes the flow, not sampled, so it holds for traced parameters too. An operation is taken
to keep units apart, or to be linear, if it is on a list of those known to; every other one may do anything.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._compat import is_literal, is_traced
from ._typing import State

_NONE: frozenset[int] = frozenset()


class Structure(NamedTuple):
    """The structure of a flow of variables y_i, each with an entry for every unit.

    - `names`: of the variables.
    - `units`: the number of units.
    - `depends`: the variables that each dy_i/dt depends on.
    - `varies`: what the slopes of each dy_i/dt vary with, None if with nothing. Where that is all, the flow is affine.
    - `coupled`: whether units may depend on one another.
    - `alike`: whether the slopes are the same in all units.
    - `forward`: whether the slopes can be had, by forward mode.
    """

    names: tuple[str, ...]
    units: int
    depends: tuple[frozenset[int], ...]
    varies: tuple[str | None, ...]
    coupled: bool
    alike: bool
    forward: bool = True

    @property
    def affine(self) -> bool:
        """Whether dy/dt = A y + b, where A stays as it is."""
        return not any(self.varies)

    def reach(self, i: int) -> frozenset[int]:
        """The variables that i depends on, at first or second hand, itself included."""
        seen, new = frozenset({i}), frozenset({i})
        while new:
            new = frozenset().union(*(self.depends[j] for j in new)) - seen
            seen |= new
        return seen


def structure(f: Callable[..., State], y: State, *others: Any) -> Structure:
    """The structure of dy/dt = f(y, *others); the `others`, say the time and an input, are what else may vary."""
    leaves, tree = jax.tree.flatten(y)
    size, rest = len(leaves), [jnp.asarray(x) for x in others]
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (*leaves, *rest)]
    jaxpr = jax.make_jaxpr(lambda *x: jax.tree.leaves(f(tree.unflatten(x[:size]), *x[size:])))(*shapes).jaxpr
    flows = origins(jaxpr, [Origin.of(i, x.ndim) for i, x in enumerate(shapes)], size)

    def varies(flow: Origin) -> str | None:
        if any(i < size for i in flow.slopes):
            return "the state"
        return "the time or the input" if flow.slopes else None

    units = max((x.size for x in leaves), default=0)
    return Structure(
        names=tuple(jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(y)),
        units=units,
        depends=tuple(frozenset(i for i in flow.on if i < size) for flow in flows),
        varies=tuple(map(varies, flows)),
        coupled=units > 1 and any(i < size for flow in flows for i in flow.across),
        alike=not any(flow.uneven for flow in flows),
        forward=_has_slopes(jaxpr),
    )


class Origin(NamedTuple):
    """What a value in a program comes from; of the inputs, some, the first ones, are the state.

    - `on`: the numbers of the inputs that it depends on.
    - `across`: those of them of which a unit may take other units' entries.
    - `slopes`: those with which its derivatives with respect to the state may vary.
    - `axes`: along which of its axes its units lie; none, if it has nothing to do with them.
    - `placed`: whether it may differ between units where no input does.
    - `uneven`: whether its derivatives with respect to the state may.
    """

    on: frozenset[int] = _NONE
    across: frozenset[int] = _NONE
    slopes: frozenset[int] = _NONE
    axes: tuple[int, ...] = ()
    placed: bool = False
    uneven: bool = False

    @classmethod
    def of(cls, number: int, ndim: int) -> "Origin":
        """An input, whose entries are each one unit's."""
        return cls(frozenset({number}), axes=tuple(range(ndim)))


def origins(jaxpr: Any, inputs: Sequence[Origin], state: int = 0) -> list[Origin]:
    """What the outputs of a jaxpr come from, if the first `state` inputs are the state.

    It looks inside calls, and takes loops and branches whole.
    """
    env = dict(zip(jaxpr.invars, inputs, strict=True))
    env |= {var: Origin(placed=_shape(var) != ()) for var in jaxpr.constvars}
    read = lambda atom: Origin(placed=_shape(atom) != ()) if is_literal(atom) else env[atom]
    for eqn in jaxpr.eqns:
        given = [read(atom) for atom in eqn.invars]
        inner = next((eqn.params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in eqn.params), None)
        inner = getattr(inner, "jaxpr", inner)
        if eqn.primitive.name in _CALLS and inner is not None and len(inner.invars) == len(given):
            outs = origins(inner, given, state)
            if eqn.primitive.name in _OWN_DERIVATIVES:  # which need not be those of what it computes
                outs = [x._replace(slopes=x.on, uneven=True) if _flows(x, state) else x for x in outs]
        else:
            outs = [_result(eqn, given, var, state) for var in eqn.outvars]
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _result(eqn: Any, given: list[Origin], out: Any, state: int) -> Origin:
    """What a result of one operation comes from."""
    name = eqn.primitive.name
    on, across = _NONE.union(*(x.on for x in given)), _NONE.union(*(x.across for x in given))
    slopes, uneven = _slopes(eqn, given, out, state)
    axes = _axes(eqn, given, out)
    if axes is None and any(x.axes for x in given):
        return Origin(on, on, slopes, (), True, uneven)
    # The entries of an array that is not the units' own may have an order all the same, and their number matter.
    orderly = axes or name in _ELEMENTWISE or name in _SPREADING or all(_shape(x) == () for x in (*eqn.invars, out))
    return Origin(on, across, slopes, axes or (), any(x.placed for x in given) or not orderly, uneven)


def _slopes(eqn: Any, given: list[Origin], out: Any, state: int) -> tuple[frozenset[int], bool]:
    """What the derivatives of a result may vary with, and whether they may differ between units."""
    name = eqn.primitive.name
    real = lambda atom: jnp.issubdtype(atom.aval.dtype, jnp.inexact)
    flows = lambda x: _flows(x, state)
    flowing = [x for x in given if flows(x)]
    if not flowing:
        return _NONE, False
    if name in _PRODUCTS:
        linear = len(flowing) == 1
        factors = [x for x in given if not flows(x)]
    else:
        linear = name in _LINEAR
        fixed = _COEFFICIENTS.get(name, ())
        factors = [x for i, (x, atom) in enumerate(zip(given, eqn.invars, strict=True)) if i in fixed or not real(atom)]
    if not linear or not real(out) or any(map(flows, factors)):
        return _NONE.union(*(x.on for x in given)), True
    varied = _NONE.union(*(x.slopes for x in flowing), *(x.on for x in factors))
    return varied, any(x.uneven for x in flowing) or any(x.placed for x in factors)


def numbers_in(closed: Any) -> list[str]:
    """The constants and exponents of a program, in the order of its operations, as text: NaN is not equal to itself."""
    found = [str(np.asarray(x)) for x in closed.consts if not is_traced(x) and np.ndim(x) == 0]
    for jaxpr in _all_jaxprs(closed.jaxpr):
        for eqn in jaxpr.eqns:
            found += [str(np.asarray(x.val)) for x in eqn.invars if is_literal(x)]
            found += [str(eqn.params["y"])] if eqn.primitive.name == "integer_pow" else []
    return found


def _all_jaxprs(jaxpr: Any) -> Iterator[Any]:
    """A jaxpr, and those of its calls, loops and branches."""
    yield jaxpr
    for eqn in jaxpr.eqns:
        for value in eqn.params.values():
            for x in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(x, "jaxpr", x)
                if hasattr(inner, "eqns"):
                    yield from _all_jaxprs(inner)


def _has_slopes(jaxpr: Any) -> bool:
    """Whether there is a forward mode of all that a jaxpr does."""
    return not any(eqn.primitive.name in _WITHOUT_SLOPES for inner in _all_jaxprs(jaxpr) for eqn in inner.eqns)


def _flows(x: Origin, state: int) -> bool:
    """Whether a value depends on the state."""
    return any(i < state for i in x.on)


def _axes(eqn: Any, given: list[Origin], out: Any) -> tuple[int, ...] | None:
    """Where the units lie in a result; None if the operation may mix them."""
    name = eqn.primitive.name
    if name in _ELEMENTWISE:
        if any(_shape(x) not in ((), _shape(out)) for x in eqn.invars):
            return None
        found = {x.axes for x in given if x.axes}
    elif name in _MOVES:
        move = lambda i, x: tuple(_MOVES[name](eqn, i, axis) for axis in x.axes)
        found = {move(i, x) for i, x in enumerate(given) if x.axes}
    else:
        return None
    axes: Any = found.pop() if found else ()
    return None if found or None in axes else axes


def _shape(atom: Any) -> tuple[int, ...]:
    return getattr(atom.aval, "shape", ())


# ---- what is known of operations

_WITHOUT_SLOPES = {"custom_vjp_call", "custom_vjp_call_jaxpr"}  # jax.custom_vjp: reverse mode only
_OWN_DERIVATIVES = {"custom_jvp_call"} | _WITHOUT_SLOPES
_CALLS = {"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "brainsim_in_double"}
_CALLS |= _OWN_DERIVATIVES

_ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
    "bessel_i1e", "bitcast_convert_type", "cbrt", "ceil", "clamp", "clz", "complex", "conj", "convert_element_type",
    "copy", "copy_p", "cos", "cosh", "digamma", "div", "eq", "eq_to", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1",
    "floor", "ge", "gt", "igamma", "igamma_grad_a", "igammac", "imag", "integer_pow", "is_finite", "le", "le_to",
    "lgamma", "log", "log1p", "logistic", "lt", "lt_to", "max", "min", "mul", "name", "ne", "neg", "nextafter", "not",
    "or", "polygamma", "population_count", "pow", "pvary", "real", "reduce_precision", "regularized_incomplete_beta",
    "rem", "round", "rsqrt", "select_n", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin",
    "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor", "zeta", "brainsim_exponential_step",
}  # fmt: skip

# Linear in all operands together, but for integers, truth values and the operands among the coefficients.
_LINEAR = {
    "add", "add_any", "broadcast_in_dim", "complex", "concatenate", "conj", "convert_element_type", "copy", "copy_p",
    "cumsum", "div", "dynamic_slice", "dynamic_update_slice", "expand_dims", "fft", "gather", "imag", "name", "neg",
    "pad", "pvary", "real", "reduce_precision", "reduce_sum", "reshape", "rev", "scatter", "scatter-add", "select_n",
    "slice", "split", "squeeze", "stack", "sub", "tile", "transpose", "triangular_solve", "tridiagonal_solve",
    "unstack",
}  # fmt: skip
_COEFFICIENTS = {"div": (1,), "triangular_solve": (0,), "tridiagonal_solve": (0, 1, 2)}

# Linear in every operand.
_PRODUCTS = {
    "conv_general_dilated", "dot_general", "mul",
    "brainsim_csr_gather", "brainsim_csr_scatter", "brainsim_procedural_gather", "brainsim_procedural_scatter",
}  # fmt: skip

# Of one number they make an array of that number.
_SPREADING = {"broadcast_in_dim", "reshape", "squeeze", "transpose"}


def _broadcast(eqn: Any, i: int, axis: int) -> int | None:
    to = eqn.params["broadcast_dimensions"][axis]
    return to if eqn.params["shape"][to] == _shape(eqn.invars[0])[axis] else None


def _reshaped(eqn: Any, i: int, axis: int) -> int | None:
    old, new = _shape(eqn.invars[0]), _shape(eqn.outvars[0])
    longer = [[j for j, n in enumerate(shape) if n != 1] for shape in (old, new)]
    if [old[j] for j in longer[0]] != [new[j] for j in longer[1]] or old[axis] == 1:
        return None
    return longer[1][longer[0].index(axis)]


def _sliced(eqn: Any, i: int, axis: int) -> int | None:
    start, end, strides = (eqn.params[name] for name in ("start_indices", "limit_indices", "strides"))
    whole = start[axis] == 0 and end[axis] == _shape(eqn.invars[0])[axis] and (not strides or strides[axis] == 1)
    return axis if whole else None


def _multiplied(eqn: Any, i: int, axis: int) -> int | None:
    contracted, batch = eqn.params["dimension_numbers"]
    if axis in contracted[i]:
        return None
    if axis in batch[i]:
        return list(batch[i]).index(axis)
    rest = lambda j: [a for a in range(len(_shape(eqn.invars[j]))) if a not in (*contracted[j], *batch[j])]
    return len(batch[0]) + (len(rest(0)) if i else 0) + rest(i).index(axis)


def _without(axes: str) -> Callable[[Any, int, int], int | None]:
    """An operation after which these axes are gone."""

    def move(eqn: Any, i: int, axis: int) -> int | None:
        gone = eqn.params[axes]
        gone = gone if isinstance(gone, tuple | list) else (gone,)
        return None if axis in gone else axis - sum(a < axis for a in gone)

    return move


def _along(axes: str) -> Callable[[Any, int, int], int | None]:
    """An operation that mixes along these axes only."""

    def move(eqn: Any, i: int, axis: int) -> int | None:
        mixed = eqn.params[axes]
        return None if axis in (mixed if isinstance(mixed, tuple | list) else (mixed,)) else axis

    return move


# Operation to a function (equation, number of an operand, axis of it) to where that axis is afterwards, None: mixed.
_MOVES: dict[str, Callable[[Any, int, int], int | None]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshaped,
    "transpose": lambda eqn, i, axis: list(eqn.params["permutation"]).index(axis),
    "squeeze": _without("dimensions"),
    "stack": lambda eqn, i, axis: axis + (eqn.params["axis"] <= axis),
    "unstack": _without("axis"),
    "split": _along("axis"),
    "concatenate": _along("dimension"),
    "rev": _along("dimensions"),
    "pad": lambda eqn, i, axis: axis if i == 0 and eqn.params["padding_config"][axis] == (0, 0, 0) else None,
    "slice": _sliced,
    "dot_general": _multiplied,
    **dict.fromkeys(
        ("argmax", "argmin", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum"),
        _without("axes"),
    ),
    **dict.fromkeys(("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"), _along("axis")),
}
