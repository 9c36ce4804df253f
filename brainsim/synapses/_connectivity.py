"""Connectivity: linear maps from the spikes of one population to the events at another, one class per matrix layout.

| layout     | the matrix                              | stores                                |
|------------|-----------------------------------------|---------------------------------------|
| `CSR`      | sparse                                  | its synapses, sorted by presynaptic neuron |
| `FanOut`   | sparse, rows of equal length            | its synapses                          |
| `Dense`    | dense                                   | all its entries                       |
| `Diagonal` | square, neuron i to neuron i            | its diagonal                          |
| `Full`     | every entry the same (or all but the diagonal) | one number                     |

Weights are leaves, so they can be differentiated, batched and replaced with `equinox.tree_at`. A wiring rule (see
`brainsim.FixedProbability` and its neighbours) draws one of these for two populations of given size.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import ops
from .._compat import as_jax, is_traced
from .._domain import known
from .._dynamics import AbstractConnectivity
from .._quantity import numbers, shown
from .._typing import as_float, truth, whole_number


def as_index(value: Any, name: str) -> Any:
    """`value` as int32, in NumPy unless it is traced; refuses what is not a whole number or would wrap around.

    An array of NumPy's is copied: it may be changed later, and JAX may keep the memory that it is handed.
    """
    if is_traced(value) and jnp.issubdtype(value.dtype, jnp.integer):
        return value.astype(jnp.int32)
    changeable = isinstance(value, np.ndarray)
    try:
        value = np.asarray(numbers(value))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be whole numbers, got {shown(value)}") from None
    if value.size and not np.issubdtype(value.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers, got {value.dtype}")
    if value.size and (worst := max(int(value.max()), -int(value.min()))) > np.iinfo(np.int32).max:
        raise ValueError(f"{name} must fit in 32 bits, got {worst}")
    return value.astype(np.int32, copy=changeable)


def check_range(name: str, index: Any, n: int = 2**31 - 1) -> None:
    """**Raises:** `ValueError` naming the first entry of `index` that is outside [0, n)."""
    if not is_traced(index) and index.size and (index.min() < 0 or index.max() >= n):
        at = int(np.argmax((index < 0) | (index >= n)))
        allowed = f"0 to {n - 1}" if n else "none: the population is empty"
        raise ValueError(f"{name}[{at}] is {index[at]}, allowed are {allowed}")


def as_weight(kind: str, weight: Any, *shapes: tuple[int, ...]) -> Array:
    """`weight` as a finite array of one of the given shapes, if there are any."""
    weight = as_float(weight, f"{kind}: the weight")
    if shapes and weight.shape not in shapes:
        expected = " or ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"{kind}: the weight has shape {list(weight.shape)}, expected {expected}")
    if known(weight) and not np.isfinite(bad := np.asarray(weight).ravel()).all():
        at = int(np.argmin(np.isfinite(bad)))
        raise ValueError(f"{kind}: weights must be finite, number {at} is {bad[at]}")
    return weight


def as_sizes(kind: str, *sizes: Any) -> tuple[int, ...]:
    """Numbers of neurons, which 32 bits can count."""
    return tuple(whole_number(n, f"{kind}: a number of neurons", least=0, most=2**31 - 1) for n in sizes)


def _check_spikes(connectivity: AbstractConnectivity, spikes: Array) -> None:
    if spikes.shape != (connectivity.n_pre,):
        kind = type(connectivity).__name__
        raise ValueError(f"{kind}: spikes have shape {list(spikes.shape)}, expected [{connectivity.n_pre}]")


class CSR(AbstractConnectivity):
    r"""Sparse connectivity in compressed rows, delivered event by event: only synapses of spiking neurons are touched.

    $$\text{events}_j = \sum_i \text{spikes}_i \sum_{s \in \text{row } i,\ \text{indices}_s = j} w_s$$

    **Arguments:**

    - `weight`: one for all synapses, or one per synapse, [nnz]; its unit is what the receptor expects.
    - `indices`: the postsynaptic neuron of every synapse, [nnz], row after row; repetitions are multiple synapses.
    - `indptr`: row i holds the synapses indptr[i] to indptr[i + 1], [n_pre + 1].
    - `n_pre`, `n_post`: numbers of neurons.

    A SciPy matrix in the same format fits: `CSR(m.data, m.indices, m.indptr, *m.shape)`.

    **Raises:** `ValueError` for shapes that do not fit, indices out of range and weights that are not finite.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> connect = bs.CSR([5.0, 6.0, 7.0], indices=[1, 2, 0], indptr=[0, 2, 3], n_pre=2, n_post=4)
    >>> connect(jnp.array([1.0, 0.0])).tolist()
    [0.0, 5.0, 6.0, 0.0]

    ```
    """

    weight: Float[Array, "*nnz"]
    indices: Int[Array, " nnz"]
    indptr: Int[Array, " pre+1"]
    n_pre: int = eqx.field(static=True)
    n_post: int = eqx.field(static=True)

    def __init__(self, weight: Any, indices: Any, indptr: Any, n_pre: int, n_post: int):
        n_pre, n_post = as_sizes("CSR", n_pre, n_post)
        indices, indptr = as_index(indices, "CSR: indices"), as_index(indptr, "CSR: indptr")
        if indices.ndim != 1 or indptr.shape != (n_pre + 1,):
            raise ValueError(
                f"CSR: indices and indptr have shapes {list(indices.shape)} and {list(indptr.shape)}, "
                f"expected [nnz] and [{n_pre + 1}]"
            )
        weight = as_weight("CSR", weight, (), indices.shape)
        check_range("CSR: indices", indices, n_post)
        if not is_traced(indptr) and (indptr[0] != 0 or indptr[-1] != indices.size or (np.diff(indptr) < 0).any()):
            raise ValueError(
                f"CSR: indptr must rise from 0 to the number of synapses, {indices.size}; "
                f"it goes from {indptr[0]} to {indptr[-1]}"
            )
        # With a dtype given, JAX compiles no program to copy an array of every new shape.
        self.weight, self.indices = weight, jnp.asarray(indices, jnp.int32)
        self.indptr = jnp.asarray(indptr, jnp.int32)
        self.n_pre, self.n_post = n_pre, n_post

    @classmethod
    def from_coo(cls, pre: Any, post: Any, weight: Any, n_pre: int, n_post: int) -> "CSR":
        """From a list of synapses in any order: neuron `pre[s]` to neuron `post[s]` with `weight` or `weight[s]`.

        ```python
        >>> import brainsim as bs
        >>> bs.CSR.from_coo(pre=[1, 0], post=[0, 2], weight=[7.0, 6.0], n_pre=2, n_post=3).as_dense().tolist()
        [[0.0, 0.0, 6.0], [7.0, 0.0, 0.0]]

        ```
        """
        n_pre, n_post = as_sizes("CSR", n_pre, n_post)
        pre, post = as_index(pre, "CSR: pre"), as_index(post, "CSR: post")
        if pre.ndim != 1 or pre.shape != post.shape:
            raise ValueError(f"CSR: pre and post have shapes {list(pre.shape)} and {list(post.shape)}, not one length")
        check_range("CSR: pre", pre, n_pre)
        check_range("CSR: post", post, n_post)
        weight = as_weight("CSR", weight, (), pre.shape)
        order = np.lexsort((post, pre))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=n_pre))])
        return cls(weight[order] if weight.ndim else weight, post[order], indptr, n_pre, n_post)

    @classmethod
    def from_dense(cls, matrix: Any) -> "CSR":
        """From a matrix [pre, post]: one synapse for each entry that is not zero.

        ```python
        >>> import brainsim as bs
        >>> bs.CSR.from_dense([[0.0, 2.0], [0.0, 0.0]]).weight.tolist()
        [2.0]

        ```
        """
        matrix = np.asarray(as_weight("CSR", matrix))
        if matrix.ndim != 2:
            raise ValueError(f"CSR: expected a matrix [pre, post], got shape {list(matrix.shape)}")
        pre, post = np.nonzero(matrix)
        return cls.from_coo(pre, post, matrix[pre, post], *matrix.shape)

    @property
    def pre(self) -> Int[Array, " nnz"]:
        """The presynaptic neuron of every synapse."""
        rows = jnp.arange(self.n_pre, dtype=jnp.int32)
        return jnp.repeat(rows, jnp.diff(self.indptr), total_repeat_length=self.indices.shape[0])

    def __call__(self, spikes):
        return ops.csr_matvec(spikes, self.weight, self.indices, self.indptr, self.n_post)

    def from_relevant(self, spikes, relevant):
        return ops.csr_matvec(spikes, self.weight, self.indices, self.indptr, self.n_post, relevant=relevant)

    def as_dense(self):
        return jnp.zeros((self.n_pre, self.n_post), self.weight.dtype).at[self.pre, self.indices].add(self.weight)


class FanOut(AbstractConnectivity):
    r"""Sparse connectivity where every presynaptic neuron has k synapses; event-driven, as `CSR` and faster.

    $$\text{events}_j = \sum_i \text{spikes}_i \sum_{s:\ \text{indices}_{is} = j} w_{is}$$

    **Arguments:**

    - `weight`: one for all synapses, or one per synapse, [pre, k].
    - `indices`: the postsynaptic neurons of every presynaptic one, [pre, k]; repetitions are multiple synapses.
    - `n_post`: the number of postsynaptic neurons.

    **Raises:** `ValueError` for shapes that do not fit, indices out of range and weights that are not finite.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> connect = bs.FanOut([[5.0, 6.0], [7.0, 8.0]], indices=[[1, 2], [0, 3]], n_post=4)
    >>> connect(jnp.array([1.0, 0.0])).tolist()
    [0.0, 5.0, 6.0, 0.0]

    ```
    """

    weight: Float[Array, "*synapses"]
    indices: Int[Array, "pre k"]
    n_pre: int = eqx.field(static=True)
    n_post: int = eqx.field(static=True)

    def __init__(self, weight: Any, indices: Any, n_post: int):
        indices, (n_post,) = as_index(indices, "FanOut: indices"), as_sizes("FanOut", n_post)
        if indices.ndim != 2:
            raise ValueError(f"FanOut: indices have shape {list(indices.shape)}, expected [pre, k]")
        check_range("FanOut: indices", indices.reshape(-1), n_post)
        self.weight, self.indices = as_weight("FanOut", weight, (), indices.shape), as_jax(indices)
        self.n_pre, self.n_post = indices.shape[0], n_post

    def as_csr(self) -> CSR:
        """The same synapses in compressed rows."""
        indptr = np.arange(self.n_pre + 1) * self.indices.shape[1]
        weight = self.weight.reshape(-1) if self.weight.ndim else self.weight
        return CSR(weight, self.indices.reshape(-1), indptr, self.n_pre, self.n_post)

    def __call__(self, spikes):
        return ops.fan_out_matvec(spikes, self.weight, self.indices, self.n_post)

    def from_relevant(self, spikes, relevant):  # in compressed rows, whose transpose can leave out some
        k = self.indices.shape[1]
        starts = jnp.arange(self.n_pre + 1, dtype=jnp.int32) * jnp.int32(k)
        weight = self.weight.reshape(-1) if self.weight.ndim else self.weight
        return ops.csr_matvec(spikes, weight, self.indices.reshape(-1), starts, self.n_post, relevant=relevant)

    def as_dense(self):
        rows = jnp.broadcast_to(jnp.arange(self.n_pre, dtype=jnp.int32)[:, None], self.indices.shape)
        return jnp.zeros((self.n_pre, self.n_post), self.weight.dtype).at[rows, self.indices].add(self.weight)


class Dense(AbstractConnectivity):
    """Dense connectivity: events = spikes @ weight, with `weight` a matrix [pre, post]; only rows that spike are read.

    **Raises:** `ValueError` if it is not a matrix, or not finite.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> bs.Dense([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])(jnp.array([1.0, 0.0])).tolist()
    [1.0, 2.0, 3.0]

    ```
    """

    weight: Float[Array, "pre post"]
    n_pre: int = eqx.field(static=True)
    n_post: int = eqx.field(static=True)

    def __init__(self, weight: Any):
        self.weight = weight = as_weight("Dense", weight)
        if weight.ndim != 2:
            raise ValueError(f"Dense: the weight has shape {list(weight.shape)}, expected a matrix [pre, post]")
        self.n_pre, self.n_post = weight.shape

    def __call__(self, spikes):
        _check_spikes(self, spikes)
        return ops.dense_matvec(spikes, self.weight)

    def as_dense(self):
        return self.weight


class Diagonal(AbstractConnectivity):
    """Neuron i to neuron i of a population of the same size: events = weight · spikes.

    **Arguments:**

    - `weight`: one for all, or one per neuron, [n].
    - `n`: the number of neurons on both sides.

    **Raises:** `ValueError` if the weight has another shape, or is not finite.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> bs.Diagonal(2.0, n=3)(jnp.array([1.0, 0.0, 1.0])).tolist()
    [2.0, 0.0, 2.0]

    ```
    """

    weight: Float[Array, "*n"]
    n_pre: int = eqx.field(static=True)
    n_post: int = eqx.field(static=True)

    def __init__(self, weight: Any, n: int):
        (n,) = as_sizes("Diagonal", n)
        self.weight, self.n_pre, self.n_post = as_weight("Diagonal", weight, (), (n,)), n, n

    def __call__(self, spikes):
        _check_spikes(self, spikes)
        return self.weight * spikes

    def as_dense(self):
        return jnp.diag(jnp.broadcast_to(self.weight, (self.n_pre,)))


class Full(AbstractConnectivity):
    """Every neuron to every neuron with one weight: a sum, whatever the number of synapses.

    **Arguments:**

    - `weight`: a single one.
    - `n_pre`, `n_post`: numbers of neurons.
    - `autapses`: whether neuron i reaches neuron i; without, both sides must have the same size.

    **Raises:** `ValueError` if the weight is not a single finite one, or the sizes do not allow to leave out autapses.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> bs.Full(0.5, n_pre=3, n_post=3, autapses=False)(jnp.array([1.0, 0.0, 1.0])).tolist()
    [0.5, 1.0, 0.5]

    ```
    """

    weight: Float[Array, ""]
    n_pre: int = eqx.field(static=True)
    n_post: int = eqx.field(static=True)
    autapses: bool = eqx.field(static=True)

    def __init__(self, weight: Any, n_pre: int, n_post: int, *, autapses: bool = True):
        self.n_pre, self.n_post = n_pre, n_post = as_sizes("Full", n_pre, n_post)
        self.weight, self.autapses = as_weight("Full", weight, ()), truth(autapses, "Full: autapses")
        if not autapses and n_pre != n_post:
            raise ValueError(f"Full: no autapses to leave out between {n_pre} and {n_post} neurons")

    def __call__(self, spikes):
        _check_spikes(self, spikes)
        total = jnp.broadcast_to(jnp.sum(spikes), (self.n_post,))
        return self.weight * (total if self.autapses else total - spikes)

    def as_dense(self):
        matrix = jnp.full((self.n_pre, self.n_post), self.weight)
        return matrix if self.autapses else jnp.where(jnp.eye(self.n_pre, dtype=bool), 0, matrix)
