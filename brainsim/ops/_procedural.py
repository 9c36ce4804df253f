"""The event-driven product with a sparse matrix that is not stored: its synapses are regenerated at each use.

Two primitives, each linear in its one vector and the transpose of the other:

- *scatter*: spikes [B, pre] -> [B, post, channel]: for each target the sum of the spikes that arrive, and (if synapses
  have noise, a random number each) in a second channel their sum times the noise. Rows without spikes are not touched.
- *gather*: values [B, post, channel] -> [B, pre].

A weight  location + scale · noise  is then a combination of the two channels outside of the primitive: derivatives with
respect to its parameters are products of vectors, and a batch of parameters shares one pass over the synapses.
"""

import functools as ft
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, UInt32

from .. import _compat
from .._quantity import shown
from .._text import choices
from .._typing import whole_number
from . import _procedural_plain as plain
from ._csr_primitives import _merge, _one_by_one
from ._library import define_call
from ._operands import real, typed
from ._procedural_plain import Synapses as Synapses

_PARTNERS = {"different": 0, "independent": 1, "of all": 2}
_NOISE = {"none": 0, "uniform": 1, "normal": 2}


class ProceduralPattern(NamedTuple):
    """Which synapses a row has, apart from the random numbers.

    **Arguments:**

    - `n_pre`, `n_post`: numbers of neurons.
    - `partners`: the targets of a row are `"different"` ones of `domain`, every subset equally likely; or
      `"independent"` ones, which may come twice; or (`"of all"`) rows take turns in a random permutation of all
      `domain` synapses, `fan_in` of which end on each target.
    - `degree`, `most`: the least and the largest number of synapses of a row. With a table that is not empty, a random
      word u adds the number of entries <= u; for `"of all"`, row i has the synapses table[i] to table[i + 1].
    - `skip`: whether target i is left out in row i; then `domain` is n_post - 1.
    """

    n_pre: int
    n_post: int
    partners: Literal["different", "independent", "of all"]
    domain: int
    degree: int
    most: int
    fan_in: int = 1
    skip: bool = False

    def checked(self) -> "ProceduralPattern":
        """**Raises:** `ValueError` for numbers that contradict one another."""
        p = self
        for name, n in zip(p._fields, p, strict=True):
            if name not in ("partners", "skip"):
                whole_number(n, f"ProceduralPattern: {name}")
        if not isinstance(p.partners, str) or p.partners not in _PARTNERS:
            raise ValueError(f"ProceduralPattern: partners are {shown(p.partners)}; {choices(p.partners, _PARTNERS)}")
        if not all(0 <= n < 2**31 for n in (p.n_pre, p.n_post, p.domain, p.degree, p.most, p.fan_in)):
            raise ValueError(f"ProceduralPattern: numbers must lie between 0 and 2**31 - 1, got {p}")
        room = p.n_post * p.fan_in if p.partners == "of all" else p.n_post - p.skip
        if (
            p.domain > room
            or p.degree > p.most
            or (p.partners == "different" and p.most > p.domain)
            or (p.partners == "of all" and (p.fan_in < 1 or p.skip))
        ):
            raise ValueError(f"ProceduralPattern: the synapses do not fit the targets, got {p}")
        return p


Noise = Literal["none", "uniform", "normal"]


def procedural_matvec(
    spikes: ArrayLike,
    seed: UInt32[Array, "2"],
    table: UInt32[Array, " m"],
    pattern: ProceduralPattern,
    noise: Noise = "none",
) -> Float[Array, "post *channel"]:
    """The spikes that arrive at each target through synapses regenerated from `seed`; nothing is stored per synapse.

    The synapses are a function of the seed, the row and the position in the row, computed with integers, and the same
    wherever they are computed. Only rows of neurons that spike are regenerated. Linear and differentiable in `spikes`.

    **Arguments:**

    - `spikes`: one value per presynaptic neuron, [pre]; zero is no spike.
    - `seed`: two random words, uint32 [2].
    - `table`: of degrees, uint32, see `pattern`.
    - `pattern`: a `ProceduralPattern`.
    - `noise`: `"none"`, or one number per synapse, `"uniform"` in [0, 1) or `"normal"` with mean 0 and sd 1.

    **Returns:** sums of spikes [post]; with noise [post, 2], the second column being sums of spikes times noise.

    **Raises:** `ValueError` if shapes or types do not fit, or a row of the table is longer than the pattern's `most`.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> pattern = bs.ops.ProceduralPattern(n_pre=3, n_post=4, partners="different", domain=4, degree=2, most=2)
    >>> none = jnp.zeros(0, jnp.uint32)
    >>> events = bs.ops.procedural_matvec(jnp.array([1.0, 0.0, 0.0]), jnp.array([1, 2], jnp.uint32), none, pattern)
    >>> sorted(events.tolist())  # two synapses, onto two of four neurons
    [0.0, 0.0, 1.0, 1.0]

    ```
    """
    check_pattern("procedural_matvec", pattern, noise)
    x = vector("procedural_matvec", "spikes", spikes, (pattern.n_pre,))
    events = scatter.bind(
        x[None], *drawn("procedural_matvec", seed, table, pattern, noise), pattern=pattern, noise=noise
    )[0]
    return events[:, 0] if noise == "none" else events


def procedural_rmatvec(
    values: ArrayLike,
    seed: UInt32[Array, "2"],
    table: UInt32[Array, " m"],
    pattern: ProceduralPattern,
    noise: Noise = "none",
) -> Float[Array, " pre"]:
    """What each presynaptic neuron finds at its targets: the transpose of `procedural_matvec`.

    **Arguments:** as there, with `values` [post], or [post, 2] with noise: the second column is multiplied by it.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> pattern = bs.ops.ProceduralPattern(n_pre=3, n_post=4, partners="different", domain=4, degree=2, most=2)
    >>> bs.ops.procedural_rmatvec(jnp.ones(4), jnp.array([1, 2], jnp.uint32), jnp.zeros(0, jnp.uint32), pattern)
    Array([2., 2., 2.], dtype=float32)

    ```
    """
    check_pattern("procedural_rmatvec", pattern, noise)
    shape = (pattern.n_post,) if noise == "none" else (pattern.n_post, 2)
    x = vector("procedural_rmatvec", "values", values, shape)
    x = x.reshape(1, pattern.n_post, 1 + (noise != "none"))
    return gather.bind(x, *drawn("procedural_rmatvec", seed, table, pattern, noise), pattern=pattern, noise=noise)[0]


def procedural_synapses(
    seed: UInt32[Array, "2"],
    table: UInt32[Array, " m"],
    pattern: ProceduralPattern,
    noise: Noise = "none",
    dtype: Any = None,
) -> Synapses:
    """All synapses, in plain JAX: what the kernels regenerate, for tests and for looking at.

    **Arguments:** as in `procedural_matvec`; `dtype` of the noise, by default JAX's.

    **Returns:** arrays [pre, most]: `targets`, `real` (rows are filled up to the longest), `noise` or None.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> pattern = bs.ops.ProceduralPattern(n_pre=3, n_post=4, partners="different", domain=4, degree=4, most=4)
    >>> s = bs.ops.procedural_synapses(jnp.array([1, 2], jnp.uint32), jnp.zeros(0, jnp.uint32), pattern)
    >>> jnp.sort(s.targets, axis=1).tolist()
    [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]

    ```
    """
    seed, table = drawn("procedural_synapses", seed, table, pattern, noise)
    rows = jnp.arange(pattern.n_pre, dtype=jnp.int32)
    dtype = jnp.result_type(float) if dtype is None else _floating(dtype)
    if pattern.n_pre * pattern.most * pattern.domain == 0:
        empty = jnp.zeros((pattern.n_pre, 0), jnp.int32)
        return Synapses(empty, empty > 0, None if noise == "none" else empty.astype(dtype))
    s = plain.regenerated(rows, seed, table, pattern, noise, dtype)
    return s._replace(targets=jnp.where(s.real, s.targets, 0))


def _floating(dtype: Any) -> Any:
    try:
        if isinstance(dtype, str | type | np.dtype) and jnp.issubdtype(np.dtype(dtype), jnp.floating):
            return np.dtype(dtype)
    except TypeError:
        pass
    raise ValueError(f"procedural_synapses: dtype must be a floating-point type, got {shown(dtype)}")


def vector(name, role, x, shape):
    """`x` as floats of this shape."""
    x = real(f"{name}: {role}", x)
    if not jnp.issubdtype(x.dtype, jnp.inexact):  # boolean spikes
        x = x.astype(jnp.result_type(float))
    if x.shape != shape:
        raise ValueError(f"{name}: {role} have shape {list(x.shape)}, expected {list(shape)}")
    return x


def check_pattern(name: str, pattern: Any, noise: Any = "none") -> ProceduralPattern:
    """**Raises:** `ValueError` unless it is one, of numbers that fit, with noise that there is."""
    if not isinstance(pattern, ProceduralPattern):
        raise ValueError(f"{name}: the pattern must be a ProceduralPattern, got {shown(pattern)}")
    if not isinstance(noise, str) or noise not in _NOISE:
        raise ValueError(f"{name}: noise is {shown(noise)}; {choices(noise, _NOISE)}")
    return pattern.checked()


def drawn(name, seed, table, pattern, noise):
    """The checked integer operands."""
    p = check_pattern(name, pattern, noise)
    typed(f"{name}: the seed", seed, np.uint32, 2)
    typed(f"{name}: the table", table, np.uint32, p.n_pre + 1 if p.partners == "of all" else "m")
    longest = p.degree + len(table)  # of the rows that the table makes
    if p.partners == "of all":
        rows = np.diff(np.minimum(table, p.domain).astype(np.int64)) if not _compat.is_traced(table) else [0]
        longest = int(np.max(rows, initial=0))
    elif p.partners == "different":
        longest = min(longest, p.domain)
    if longest > p.most:
        raise ValueError(f"{name}: the table makes rows of up to {longest} synapses, the pattern's most is {p.most}")
    return _compat.as_jax(seed), _compat.as_jax(table)


# ---- the primitives


def _abstract(x, seed, table, *, pattern, noise, forward):
    shape = (pattern.n_post, 1 + (noise != "none")) if forward else (pattern.n_pre,)
    return _compat.ShapedArray((x.shape[0], *shape), x.dtype)


def _axes(*operands, **params):
    return ["b", "", ""], ["b"]


def _jvp(primals, tangents, *, primitive, **params):  # the seed and the table are integers
    return primitive().bind(*primals, **params), primitive().bind(tangents[0], *primals[1:], **params)


def _transpose(ct, x, seed, table, *, adjoint, **params):
    return [None if isinstance(ct, _compat.Zero) else adjoint().bind(ct, seed, table, **params), None, None]


def _batch(operands, dims, *, primitive, **params):
    bind = ft.partial(primitive().bind, **params)
    if dims[1] is not None or dims[2] is not None:
        return _one_by_one(bind, operands, dims)
    x = jnp.moveaxis(operands[0], dims[0], 0)
    out = bind(_merge(x, 0), *operands[1:])
    return out.reshape(*x.shape[:2], *out.shape[1:]), 0


def attributes(p: ProceduralPattern, noise: Noise) -> dict[str, np.int64]:
    """What kernels are told of a pattern."""
    numbers = dict(
        partners=_PARTNERS[p.partners], noise=_NOISE[noise], n_pre=p.n_pre, n_post=p.n_post, domain=p.domain,
        degree=p.degree, fan_in=p.fan_in, skip=p.skip,
    )  # fmt: skip
    return {k: np.int64(v) for k, v in numbers.items()}


def _call(x, seed, table, *, target, reference, pattern, noise):
    """The compiled kernel, if it knows the type; arrays go flat where there is one vector (see `_compat`)."""
    if x.dtype not in (np.float32, np.float64):
        return reference(x, seed, table, pattern=pattern, noise=noise)
    p = pattern
    forward = target.endswith("scatter")
    shape = (x.shape[0], *((p.n_post, 1 + (noise != "none")) if forward else (p.n_pre,)))
    flat = x.shape[0] == 1
    result = jax.ShapeDtypeStruct((int(np.prod(shape)),) if flat else shape, x.dtype)
    x = x.reshape(-1) if flat else x
    return jax.ffi.ffi_call(target, result)(x, seed, table, **attributes(p, noise)).reshape(shape)


scatter = _compat.define_primitive(
    "brainsim_procedural_scatter",
    abstract=ft.partial(_abstract, forward=True),
    reference=plain.scatter,
    jvp=ft.partial(_jvp, primitive=lambda: scatter),
    transpose=ft.partial(_transpose, adjoint=lambda: gather),
    batch=ft.partial(_batch, primitive=lambda: scatter),
    axes=_axes,
)
gather = _compat.define_primitive(
    "brainsim_procedural_gather",
    abstract=ft.partial(_abstract, forward=False),
    reference=plain.gather,
    jvp=ft.partial(_jvp, primitive=lambda: gather),
    transpose=ft.partial(_transpose, adjoint=lambda: scatter),
    batch=ft.partial(_batch, primitive=lambda: gather),
    axes=_axes,
)

for primitive, reference in ((scatter, plain.scatter), (gather, plain.gather)):
    define_call(primitive, ft.partial(_call, target=primitive.name, reference=reference))
