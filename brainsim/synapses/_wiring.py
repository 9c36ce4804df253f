"""Wiring rules: who is connected with whom, drawn for two populations when a network is built.

A rule is given to a `Projection` in place of a connectivity: `bs.Projection("E", "E.exc", bs.FixedProbability(0.02,
weight=6.0), delay=0.1)`. The weight of a rule is a number (shared by all synapses, and differentiable as one), or a
function `weight(rng, size)` of a `numpy.random.Generator` that draws one for each synapse, such as
`brainsim.Normal(6.0, 0.6, low=0.0)` or `lambda rng, size: rng.lognormal(1.0, 0.5, size)`. Its unit is what the receptor
expects.

*Autapses* are synapses of a neuron onto itself (possible if a projection ends at the population it starts from),
*multapses* several synapses from one neuron onto another. Rules that could draw them have options for them; as in NEST
and Brian2, autapses are drawn unless excluded, while multapses are excluded unless allowed.

Everything is a function of the key: the same key gives the same network, and a row of it does not depend on the others.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from .._compat import is_traced
from .._dynamics import AbstractConnectivity, AbstractRule
from .._quantity import numbers
from .._typing import number, truth, whole_number
from . import _draw
from ._connectivity import CSR, Dense, Diagonal, FanOut, Full, as_index, as_weight, check_range

Weight: TypeAlias = ArrayLike | Sequence[float] | Callable[[np.random.Generator, int], Any]
"""One weight for all synapses, or a function of a NumPy generator and a size that draws one for each."""


def rule_weight(rule: str, weight: Any, *, lists: bool = False) -> Any:
    """A weight as a rule keeps it: a function as it is, a number as a finite array; a list only where it says so."""
    if callable(weight) and not isinstance(weight, type):
        return weight
    weight = as_weight(rule, weight)
    if weight.ndim > lists:
        raise ValueError(f"{rule}: the weight has shape {list(weight.shape)}, expected a number"
                         f"{', a list' * lists} or a function weight(rng, size)")  # fmt: skip
    return weight


def _drawn(rule: str, weight: Any, key: jax.Array, size: int) -> Any:
    """The weights of `size` synapses: a scalar, or an array [size]."""
    if callable(weight):
        rng = np.random.Generator(np.random.Philox(_draw.seed_of(key).spawn(1)[0]))
        try:
            drawn = np.asarray(numbers(weight(rng, size)))
        except ValueError as e:
            raise ValueError(f"{rule}: weight(rng, {size}) {e}") from None
        if drawn.shape != (size,):
            raise ValueError(f"{rule}: weight(rng, {size}) returned shape {list(drawn.shape)}, expected [{size}]")
        return drawn
    if weight.shape not in ((), (size,)):
        expected = f"a number, {size} numbers, or a function weight(rng, size)"
        raise ValueError(f"{rule}: the weight has shape {list(weight.shape)}, expected {expected}")
    return weight


class FixedProbability(AbstractRule):
    """Each pair of neurons is connected with probability `p`, independently of the others (Bernoulli, Erdős–Rényi).

    **Arguments:**

    - `p`: probability of a connection, 0 to 1.
    - `weight`: a number, or a function `weight(rng, size)`.
    - `autapses`: whether a neuron may be connected to itself.

    **Raises:** `ValueError` if `p` is not a probability.

    ```python
    >>> import brainsim as bs, jax
    >>> connect = bs.FixedProbability(0.1, weight=6.0).build(jax.random.key(0), 100, 50, same=False)
    >>> connect.n_pre, connect.n_post, 350 < connect.indices.size < 650
    (100, 50, True)

    ```
    """

    p: float = eqx.field(static=True)
    weight: Weight
    autapses: bool = eqx.field(static=True)

    def __init__(self, p: float, weight: Weight = 1.0, *, autapses: bool = True):
        if is_traced(p):
            raise ValueError(
                "FixedProbability: synapses come and go with p, so nothing has a derivative in it; give a number"
            )
        self.p = number(p, "FixedProbability: p", domain="[0, 1]")
        self.weight = rule_weight("FixedProbability", weight)
        self.autapses = truth(autapses, "FixedProbability: autapses")

    def build(self, key, n_pre, n_post, *, same):
        skip = same and not self.autapses
        n, seed = n_post - skip, _draw.seed_of(key)
        _draw.check_room("FixedProbability", self.p * n_pre * n)
        drawn = [(rows, *_draw.bernoulli(seed, rows, n, self.p)) for rows in _draw.blocks(n_pre, math.ceil(n * self.p))]
        degree = _joined([size for _, _, size in drawn])
        post = _joined([columns for _, columns, _ in drawn])
        if skip:
            post += post >= np.repeat(np.arange(n_pre), degree)
        return _csr("FixedProbability", self.weight, key, post, degree, n_post)


class FixedOutDegree(AbstractRule):
    """Each presynaptic neuron has `k` synapses, onto targets drawn uniformly.

    **Arguments:**

    - `k`: synapses per presynaptic neuron.
    - `weight`: a number, or a function `weight(rng, size)`.
    - `autapses`: whether a neuron may be connected to itself.
    - `multapses`: whether the `k` targets are drawn independently, so that one may come twice.

    **Raises:** `ValueError` if `k` is not a whole number, or exceeds the possible targets without multapses.

    ```python
    >>> import brainsim as bs, jax
    >>> connect = bs.FixedOutDegree(3, weight=1.0).build(jax.random.key(0), 4, 50, same=False)
    >>> connect.indices.shape
    (4, 3)

    ```
    """

    k: int = eqx.field(static=True)
    weight: Weight
    autapses: bool = eqx.field(static=True)
    multapses: bool = eqx.field(static=True)

    def __init__(self, k: int, weight: Weight = 1.0, *, autapses: bool = True, multapses: bool = False):
        self.k = whole_number(k, "FixedOutDegree: k", least=0)
        self.weight = rule_weight("FixedOutDegree", weight)
        self.autapses = truth(autapses, "FixedOutDegree: autapses")
        self.multapses = truth(multapses, "FixedOutDegree: multapses")

    def build(self, key, n_pre, n_post, *, same):
        post = _neighbours("FixedOutDegree", self, key, n_pre, n_post, same)
        weight = _drawn("FixedOutDegree", self.weight, key, post.size)
        return FanOut(weight.reshape(post.shape) if jnp.ndim(weight) else weight, post, n_post)


class FixedInDegree(AbstractRule):
    """Each postsynaptic neuron receives `k` synapses, from sources drawn uniformly.

    **Arguments:**

    - `k`: synapses per postsynaptic neuron.
    - `weight`: a number, or a function `weight(rng, size)`.
    - `autapses`: whether a neuron may be connected to itself.
    - `multapses`: whether the `k` sources are drawn independently, so that one may come twice (NEST's default).

    **Raises:** `ValueError` if `k` is not a whole number, or exceeds the possible sources without multapses.

    ```python
    >>> import brainsim as bs, jax
    >>> connect = bs.FixedInDegree(3, weight=1.0).build(jax.random.key(0), 50, 4, same=False)
    >>> connect.as_dense().sum(axis=0).tolist()
    [3.0, 3.0, 3.0, 3.0]

    ```
    """

    k: int = eqx.field(static=True)
    weight: Weight
    autapses: bool = eqx.field(static=True)
    multapses: bool = eqx.field(static=True)

    def __init__(self, k: int, weight: Weight = 1.0, *, autapses: bool = True, multapses: bool = False):
        self.k = whole_number(k, "FixedInDegree: k", least=0)
        self.weight = rule_weight("FixedInDegree", weight)
        self.autapses = truth(autapses, "FixedInDegree: autapses")
        self.multapses = truth(multapses, "FixedInDegree: multapses")

    def build(self, key, n_pre, n_post, *, same):
        pre = _neighbours("FixedInDegree", self, key, n_post, n_pre, same)
        # One number for each synapse, by presynaptic and then postsynaptic neuron: sorting it sorts into rows.
        synapses = np.sort((pre * n_post + np.arange(n_post)[:, None]).ravel())
        pre, post = np.divmod(synapses, max(n_post, 1))
        return _csr("FixedInDegree", self.weight, key, post, np.bincount(pre, minlength=n_pre), n_post)


class FromArrays(AbstractRule):
    """The listed synapses: neuron `pre[s]` to neuron `post[s]`.

    **Arguments:**

    - `pre`, `post`: indices of neurons, counted from 0, [nnz], in any order; repetitions are multapses.
    - `weight`: a number, one per synapse [nnz], or a function `weight(rng, size)`.

    **Raises:** `ValueError` for lists of different length, and (when built) for indices outside the populations.

    ```python
    >>> import brainsim as bs, jax
    >>> rule = bs.FromArrays(pre=[0, 2], post=[1, 0], weight=[5.0, 6.0])
    >>> rule.build(jax.random.key(0), 3, 2, same=False).as_dense().tolist()
    [[0.0, 5.0], [0.0, 0.0], [6.0, 0.0]]

    ```
    """

    pre: Any
    post: Any
    weight: Weight

    def __init__(self, pre: Any, post: Any, weight: Weight = 1.0):
        for name, given in (("pre", pre), ("post", post)):
            if is_traced(given):
                raise ValueError(f"FromArrays: {name} is traced, but wiring is drawn on the host; give numbers")
        self.pre, self.post = (as_index(x, f"FromArrays: {name}") for name, x in (("pre", pre), ("post", post)))
        if self.pre.ndim != 1 or self.pre.shape != self.post.shape:
            shapes = f"{list(self.pre.shape)} and {list(self.post.shape)}"
            raise ValueError(f"FromArrays: pre and post have shapes {shapes}, expected lists of one length")
        check_range("FromArrays: pre", self.pre)
        check_range("FromArrays: post", self.post)
        self.weight = given = rule_weight("FromArrays", weight, lists=True)
        if not callable(given) and given.shape not in ((), self.pre.shape):
            expected = f"a number, {self.pre.size} numbers, or a function weight(rng, size)"
            raise ValueError(f"FromArrays: the weight has shape {list(given.shape)}, expected {expected}")

    def build(self, key, n_pre, n_post, *, same):
        weight = _drawn("FromArrays", self.weight, key, self.pre.size)
        return CSR.from_coo(self.pre, self.post, weight, n_pre, n_post)


class OneToOne(AbstractRule):
    """Neuron i to neuron i, between populations of the same size.

    **Arguments:** `weight`: a number, one per neuron [n], or a function `weight(rng, size)`.

    **Raises:** `ValueError` when built for populations of different size.

    ```python
    >>> import brainsim as bs, jax
    >>> bs.OneToOne(weight=2.0).build(jax.random.key(0), 2, 2, same=False).as_dense().tolist()
    [[2.0, 0.0], [0.0, 2.0]]

    ```
    """

    weight: Weight

    def __init__(self, weight: Weight = 1.0):
        self.weight = rule_weight("OneToOne", weight, lists=True)

    def build(self, key, n_pre, n_post, *, same):
        if n_pre != n_post:
            raise ValueError(f"OneToOne: the populations must have one size, they have {n_pre} and {n_post} neurons")
        return Diagonal(_drawn("OneToOne", self.weight, key, n_pre), n_pre)


class AllToAll(AbstractRule):
    """Every neuron to every neuron.

    **Arguments:**

    - `weight`: a number, or a function `weight(rng, size)`. (For a given matrix, use `brainsim.Dense`.)
    - `autapses`: whether a neuron is connected to itself.

    ```python
    >>> import brainsim as bs, jax
    >>> bs.AllToAll(weight=0.5, autapses=False).build(jax.random.key(0), 2, 2, same=True).as_dense().tolist()
    [[0.0, 0.5], [0.5, 0.0]]

    ```
    """

    weight: Weight
    autapses: bool = eqx.field(static=True)

    def __init__(self, weight: Weight = 1.0, *, autapses: bool = True):
        self.weight = rule_weight("AllToAll", weight)
        self.autapses = truth(autapses, "AllToAll: autapses")

    def build(self, key, n_pre, n_post, *, same) -> AbstractConnectivity:
        skip = same and not self.autapses
        if callable(self.weight):
            _draw.check_room("AllToAll", n_pre * n_post)
        weight = _drawn("AllToAll", self.weight, key, n_pre * n_post - skip * n_pre)
        if jnp.ndim(weight) == 0:
            return Full(weight, n_pre, n_post, autapses=not skip)
        if not skip:
            return Dense(weight.reshape(n_pre, n_post))
        pre, post = np.nonzero(~np.eye(n_pre, dtype=bool))
        return CSR.from_coo(pre, post, weight, n_pre, n_post)


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)


def _neighbours(rule: str, options: FixedInDegree | FixedOutDegree, key, rows: int, n: int, same: bool) -> np.ndarray:
    """`k` of `n` neurons for each of `rows` neurons, ascending: [rows, k]."""
    k, skip = options.k, same and not options.autapses
    n = n - skip
    if rows and (k > n if not options.multapses else k > 0 and n <= 0):
        hint = "" if options.multapses or n <= 0 else "; multapses=True allows more"
        raise ValueError(f"{rule}: k is {k}, but there are only {max(n, 0)} neurons to choose from{hint}")
    _draw.check_room(rule, rows * k)
    seed, draw = _draw.seed_of(key), _draw.choices if options.multapses else _draw.subsets
    width = n if 2 * k > n and not options.multapses else k
    pieces = [draw(seed, block, n, k) for block in _draw.blocks(rows, width)]
    chosen = np.concatenate(pieces) if pieces else np.zeros((0, k), np.int64)
    return chosen + (chosen >= np.arange(rows)[:, None]) if skip else chosen


def _csr(rule: str, weight: Any, key, post: np.ndarray, degree: np.ndarray, n_post: int) -> CSR:
    """Rows of `degree` synapses onto `post`."""
    indptr = np.concatenate([[0], np.cumsum(degree)])
    return CSR(_drawn(rule, weight, key, post.size), post, indptr, len(degree), n_post)
