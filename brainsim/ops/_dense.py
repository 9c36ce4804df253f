"""Event-driven products with a dense matrix and with a convolution: only rows, or pixels, that spike are added.

The transposes are dense in any case (a gradient is an array as large as the weights), and left to XLA.
"""

import functools as ft
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .. import _compat
from .._quantity import shown
from .._typing import whole_number
from ._bilinear import define_bilinear
from ._library import define_call
from ._operands import vector_and_weight

# Where more is not zero, XLA's products are faster: they read the weights once for all vectors, or all pixels.
_SPARSE = {"dense": 0.1, "convolution": 0.03}


class ConvolutionShape(NamedTuple):
    """Sizes of a two-dimensional convolution: of the image, of the kernel, strides, and zeros before and after.

    **Arguments:** `image` (height, width, channels), `kernel` (height, width, channels of the result), `stride` (y, x),
    `padding` ((top, bottom), (left, right)).
    """

    image: tuple[int, int, int]
    kernel: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    @property
    def result(self) -> tuple[int, int, int]:
        """Height, width and channels of the result."""
        size = lambda i: (self.image[i] + sum(self.padding[i]) - self.kernel[i]) // self.stride[i] + 1
        return max(size(0), 0), max(size(1), 0), self.kernel[2]

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """The shape of the weights: height and width of the kernel, channels in and out."""
        return (*self.kernel[:2], self.image[2], self.kernel[2])


def dense_matvec(spikes: ArrayLike, weight: ArrayLike) -> Float[Array, " post"]:
    """`spikes @ weight`, where most spikes are zero: only the rows of neurons that spike are read.

    **Arguments:** `spikes` [pre]; `weight` [pre, post], of the type of the spikes, or bfloat16 for float32 spikes.

    **Raises:** `ValueError` if shapes or types do not fit.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> bs.ops.dense_matvec(jnp.array([1.0, 0.0]), jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    Array([1., 2., 3.], dtype=float32)

    ```
    """
    x, weight = vector_and_weight("dense_matvec", "spikes", spikes, weight)
    if weight.ndim != 2 or x.shape != weight.shape[:1]:
        raise ValueError(
            f"dense_matvec: shapes are {list(x.shape)} and {list(weight.shape)}, expected [pre] and [pre, post]"
        )
    return dense.bind(x[None, None], weight[None])[0, 0]


def convolution(image: ArrayLike, weight: ArrayLike, shape: ConvolutionShape) -> Float[Array, " post"]:
    """A two-dimensional convolution (as in deep learning: a correlation) of a sparse image of spikes.

    **Arguments:**

    - `image`: [height, width, channel], or flat; zero is no spike.
    - `weight`: [kernel height, kernel width, channel in, channel out]; of the type of the image, or bfloat16.
    - `shape`: a `ConvolutionShape`.

    **Returns:** the result, flat; `shape.result` is its shape.

    **Raises:** `ValueError` if shapes or types do not fit.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> shape = bs.ops.ConvolutionShape(image=(3, 3, 1), kernel=(2, 2, 1))
    >>> image = jnp.zeros((3, 3, 1)).at[0, 1].set(1.0)
    >>> bs.ops.convolution(image, jnp.arange(4.0).reshape(2, 2, 1, 1), shape).reshape(2, 2)
    Array([[1., 0.],
           [0., 0.]], dtype=float32)

    ```
    """
    x, weight = vector_and_weight("convolution", "pixels", image, weight)
    _check_shape(shape)
    if x.size != np.prod(shape.image) or weight.shape != shape.weights:
        raise ValueError(
            f"convolution: image and weight have shapes {list(x.shape)} and {list(weight.shape)}, "
            f"expected {list(shape.image)} and {list(shape.weights)}"
        )
    return convolved.bind(x.reshape(1, 1, -1), weight[None], shape=shape)[0, 0]


def _check_shape(shape: Any) -> None:
    if not isinstance(shape, ConvolutionShape):
        raise ValueError(f"convolution: the shape must be a ConvolutionShape, got {shown(shape)}")
    for what, least, given, sizes in (
        ("image", 0, shape.image, "(height, width, channels)"),
        ("kernel", 1, shape.kernel, "(height, width, channels)"),
        ("stride", 1, shape.stride, "(y, x)"),
    ):
        if not isinstance(given, tuple) or len(given) != sizes.count(",") + 1:
            raise ValueError(f"convolution: {what} must be {sizes}, got {shown(given)}")
        for n in given:
            whole_number(n, f"convolution: a number of {what}", least=least)
    if np.shape(shape.padding) != (2, 2):
        raise ValueError(f"convolution: padding must be ((top, bottom), (left, right)), got {shown(shape.padding)}")
    for n in (*shape.padding[0], *shape.padding[1]):
        whole_number(n, "convolution: a number of padding", least=0)


# ---- the primitives


def _dense_reference(x, w):
    return jnp.einsum("gbi,gij->gbj", x, w.astype(x.dtype), precision="highest")


def _dense_to_vector(ct, w, *, like):
    return jnp.einsum("gbj,gij->gbi", ct, w.astype(ct.dtype), precision="highest")


def _dense_to_weight(x, ct, *, like):
    return jnp.einsum("gbi,gbj->gij", x, ct, precision="highest").astype(like.dtype)


def _convolved_reference(x, w, *, shape):
    def of_group(x: Array, w: Array) -> Array:
        return jax.lax.conv_general_dilated(
            x.reshape(-1, *shape.image), w, shape.stride, shape.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest",
        )  # fmt: skip

    if x.size * w.size * np.prod(shape.result) == 0:
        return jnp.zeros((*x.shape[:2], int(np.prod(shape.result))), x.dtype)
    out = jax.vmap(of_group)(x, w.astype(x.dtype))
    return out.reshape(*x.shape[:2], -1)


def _convolved_to_vector(ct, w, *, like, shape):
    return jax.linear_transpose(lambda x: _convolved_reference(x, w, shape=shape), like)(ct)[0]


def _convolved_to_weight(x, ct, *, like, shape):
    return jax.linear_transpose(lambda w: _convolved_reference(x, w, shape=shape), like)(ct)[0]


def _call(x, w, *, target, reference, size, kind, sizes=lambda **_: {}, **params):
    """The kernel where few entries of `x` are not zero, else XLA's product."""
    types = (np.float32, jnp.bfloat16) if x.dtype == np.float32 else (x.dtype,)
    if x.dtype not in (np.float32, np.float64) or w.dtype not in types:
        return reference(x, w, **params)
    n_out, single = size(w, **params), x.shape[:2] == (1, 1)

    def events(x: Array, w: Array) -> Array:  # arrays go flat where there is one vector (see `_compat`)
        result = jax.ShapeDtypeStruct((n_out,) if single else (*x.shape[:2], n_out), x.dtype)
        flat = (x[0, 0], w[0]) if single else (x, w)
        return jax.ffi.ffi_call(target, result)(*flat, **sizes(**params)).reshape(*x.shape[:2], n_out)

    if (
        single and kind == "dense"
    ):  # a product of a matrix with one vector is bound by memory: reading less is never slower
        return events(x, w)
    few = jnp.count_nonzero(x) <= int(_SPARSE[kind] * x.size)
    return jax.lax.cond(few, events, lambda x, w: reference(x, w, **params), x, w)


def _attributes(*, shape: ConvolutionShape) -> dict[str, Any]:
    s = shape
    before = s.padding[0][0], s.padding[1][0]
    return dict(sizes=np.array([*s.image, *s.kernel[:2], *s.stride, *before, *s.result], np.int64))


dense = define_bilinear(
    "brainsim_dense_scatter",
    abstract=lambda x, w: _compat.ShapedArray((*x.shape[:2], w.shape[-1]), x.dtype),
    reference=_dense_reference,
    to_vector=_dense_to_vector,
    to_weight=_dense_to_weight,
)
convolved = define_bilinear(
    "brainsim_convolution_scatter",
    abstract=lambda x, w, *, shape: _compat.ShapedArray((*x.shape[:2], int(np.prod(shape.result))), x.dtype),
    reference=_convolved_reference,
    to_vector=_convolved_to_vector,
    to_weight=_convolved_to_weight,
)
call = ft.partial(_call, target=dense.name, reference=_dense_reference, kind="dense")
define_call(dense, ft.partial(call, size=lambda w: w.shape[-1]))
call = ft.partial(_call, target=convolved.name, reference=_convolved_reference, kind="convolution")
size = lambda w, shape: int(np.prod(shape.result))
define_call(convolved, ft.partial(call, size=size, sizes=_attributes))
