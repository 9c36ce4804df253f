"""Convolutional connectivity: the same few weights at every position of an image."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import ops
from .._dynamics import AbstractConnectivity
from .._quantity import shown
from .._typing import whole_number
from ..ops import ConvolutionShape
from ._connectivity import as_weight


class Convolution(AbstractConnectivity):
    r"""A two-dimensional convolution of spikes, event by event: only pixels that spike are added.

    $$\text{events}_{y x o} = \sum_{k l c} \text{spikes}_{(s y + k - p)(s x + l - p) c}\ w_{k l c o}$$

    with stride s and padding p. Neurons are numbered as pixels are, row by row, channels last: neuron (y, x, c) of a
    population on a grid [height, width, channels] is number (y · width + x) · channels + c.

    **Arguments:**

    - `weight`: [kernel height, kernel width, channels in, channels out].
    - `image`: height and width of the presynaptic grid.
    - `stride`: pixels from one position to the next, a number or (y, x).
    - `padding`: zeros around the image: a number, ((top, bottom), (left, right)), or `"same"`: as many as keep the size
      of the grid, divided by the stride and rounded up.

    `connect.out` is the shape of the postsynaptic grid, [height, width, channels].

    **Raises:** `ValueError` for shapes that do not fit, and weights that are not finite.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> connect = bs.Convolution(jnp.ones((3, 3, 2, 4)), image=(28, 28), stride=2, padding="same")
    >>> connect.n_pre, connect.out, connect.n_post
    (1568, (14, 14, 4), 784)

    ```
    """

    weight: Float[Array, "ky kx in out"]
    shape: ConvolutionShape = eqx.field(static=True)

    def __init__(self, weight: Any, image: tuple[int, int], *, stride: Any = 1, padding: Any = 0):
        self.weight = weight = as_weight("Convolution", weight)
        if weight.ndim != 4:
            raise ValueError(f"Convolution: the weight has shape {list(weight.shape)}, expected [ky, kx, in, out]")
        height, width, before, after = (int(n) for n in weight.shape)
        stride = _pair("stride", stride, least=1)
        image = _pair("image", image, least=0)
        if isinstance(padding, str):
            if padding != "same":
                raise ValueError(f"Convolution: padding must be numbers or 'same', got {padding!r}")
            total = [
                max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(image, stride, (height, width), strict=True)
            ]
            sides = tuple((t // 2, t - t // 2) for t in total)
        elif np.ndim(padding) == 2:
            sides = tuple(_pair("padding", p, least=0) for p in padding)
        else:
            sides = tuple((p, p) for p in _pair("padding", padding, least=0))
        self.shape = ConvolutionShape((*image, before), (height, width, after), stride, (sides[0], sides[1]))

    @property
    def out(self) -> tuple[int, int, int]:
        """Height, width and channels of the postsynaptic grid."""
        return self.shape.result

    @property
    def n_pre(self) -> int:
        """The number of presynaptic neurons."""
        return int(np.prod(self.shape.image))

    @property
    def n_post(self) -> int:
        """The number of postsynaptic neurons."""
        return int(np.prod(self.out))

    def __call__(self, spikes):
        if spikes.shape != (self.n_pre,):
            raise ValueError(f"Convolution: spikes have shape {list(spikes.shape)}, expected [{self.n_pre}]")
        return ops.convolution(spikes, self.weight, self.shape)

    def as_dense(self):
        """Entry by entry: from each pixel, where the kernel lies on it."""
        (height, width, _), (sy, sx), ((top, _), (left, _)) = self.shape.image, self.shape.stride, self.shape.padding
        oy, ox, _ = self.out
        ky = jnp.arange(height)[:, None] + top - sy * jnp.arange(oy)[None, :]  # [y, oy]
        kx = jnp.arange(width)[:, None] + left - sx * jnp.arange(ox)[None, :]
        inside = lambda k, n: (k >= 0) & (k < n)
        there = inside(ky, self.weight.shape[0])[:, None, :, None] & inside(kx, self.weight.shape[1])[None, :, None, :]
        taken = self.weight[
            jnp.clip(ky, 0, max(self.weight.shape[0] - 1, 0))[:, None, :, None],
            jnp.clip(kx, 0, max(self.weight.shape[1] - 1, 0))[None, :, None, :],
        ]  # [y, x, oy, ox, in, out]
        matrix = jnp.where(there[..., None, None], taken, 0)
        return jnp.moveaxis(matrix, 4, 2).reshape(self.n_pre, self.n_post)


def _pair(name: str, value: Any, *, least: int) -> tuple[int, int]:
    try:
        y, x = (value, value) if np.ndim(value) == 0 else value
        most = 2**31 - 1
        return whole_number(y, name, least=least, most=most), whole_number(x, name, least=least, most=most)
    except (TypeError, ValueError):
        wanted = f"one or two whole numbers, at least {least}"
        raise ValueError(f"Convolution: {name} must be {wanted}, got {shown(value)}") from None
