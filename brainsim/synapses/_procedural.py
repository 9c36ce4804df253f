"""Procedural connectivity: synapses are not stored, but regenerated from a random seed whenever a neuron spikes.

`bs.Procedural(rule)` turns a wiring rule into one whose connectivity needs no memory per synapse.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from .. import ops
from .._compat import as_jax, is_traced
from .._dynamics import AbstractConnectivity, AbstractRule
from .._quantity import shown
from . import _draw
from ._connectivity import as_weight
from ._distributions import Normal, Uniform
from ._wiring import FixedInDegree, FixedOutDegree, FixedProbability

Weight = Float[Array, ""] | Normal | Uniform


class Regenerated(AbstractConnectivity):
    r"""Sparse connectivity whose synapses are regenerated from `seed` at each use; made by `brainsim.Procedural`.

    $$\text{events}_j = \sum_i \text{spikes}_i \sum_{s \in \text{row } i,\ \text{target}_s = j} w_s, \qquad
      w_s = w,\ \text{mean} + \text{sd} \cdot \xi_s\ \text{ or }\ \text{low} + (\text{high} - \text{low}) \cdot u_s$$

    Only rows of neurons that spike are regenerated. Targets $\text{target}_s$ and numbers $\xi_s, u_s$ depend on the
    seed, the row and the position in it only. The parameters of the weights are leaves, with exact derivatives.

    **Arguments:**

    - `weight`: one for all synapses, or a `brainsim.Normal` or `brainsim.Uniform` without bounds.
    - `seed`: two random words, uint32 [2].
    - `table`: of degrees, uint32, see `brainsim.ops.ProceduralPattern`.
    - `pattern`: a `brainsim.ops.ProceduralPattern`.

    **Raises:** `ValueError` for weights of another kind, and for numbers that do not fit one another.

    ```python
    >>> import brainsim as bs, jax, jax.numpy as jnp
    >>> rule = bs.Procedural(bs.FixedOutDegree(2, weight=3.0))
    >>> connect = rule.build(jax.random.key(0), 4, 10, same=False)
    >>> connect(jnp.array([1.0, 0.0, 0.0, 1.0])).sum().tolist()
    12.0

    ```
    """

    weight: Weight
    seed: UInt32[Array, "2"]
    table: UInt32[Array, " m"]
    pattern: ops.ProceduralPattern = eqx.field(static=True)

    def __init__(self, weight: Any, seed: Any, table: Any, pattern: ops.ProceduralPattern):
        if not isinstance(pattern, ops.ProceduralPattern):
            raise ValueError(f"Regenerated: pattern must be an ops.ProceduralPattern, got {shown(pattern)}")
        self.weight, self.pattern = _checked_weight(weight), pattern.checked()
        for name, words in (("seed", seed), ("table", table)):
            if not (isinstance(words, np.ndarray | jax.Array) and words.dtype == np.uint32):
                raise ValueError(f"Regenerated: {name} must be an array of uint32, got {shown(words)}")
        self.seed, self.table = as_jax(seed), as_jax(table)
        if self.seed.shape != (2,) or self.table.ndim != 1:
            got = f"{list(self.seed.shape)} and {list(self.table.shape)}"
            raise ValueError(f"Regenerated: seed and table must have shapes [2] and [m], got {got}")

    @property
    def n_pre(self) -> int:
        """The number of presynaptic neurons."""
        return self.pattern.n_pre

    @property
    def n_post(self) -> int:
        """The number of postsynaptic neurons."""
        return self.pattern.n_post

    @property
    def noise(self) -> Any:
        """The random number of a synapse, as `brainsim.ops.procedural_matvec` names it."""
        return {Normal: "normal", Uniform: "uniform"}.get(type(self.weight), "none")

    @property
    def parts(self) -> tuple[Array, ...]:
        """The weight of a synapse is the first of these, and the second, if there is one, times its random number."""
        if isinstance(self.weight, Normal):
            return self.weight.mean, self.weight.sd
        if isinstance(self.weight, Uniform):
            return self.weight.low, self.weight.high - self.weight.low
        return (self.weight,)

    def __call__(self, spikes):
        sums = ops.procedural_matvec(spikes, self.seed, self.table, self.pattern, self.noise)
        sums = sums.reshape(self.n_post, len(self.parts))
        return sum(part * sums[:, i] for i, part in enumerate(self.parts))

    def synapses(self) -> tuple[Array, Array]:
        """Targets and weights of all, [pre, most], with weights of 0 where there is no synapse."""
        dtype = jnp.result_type(float)
        s = ops.procedural_synapses(self.seed, self.table, self.pattern, self.noise, dtype)
        real = s.real.astype(dtype)
        noise = real if s.noise is None else jnp.where(s.real, s.noise, 0)
        return s.targets, jnp.asarray(sum(part * x for part, x in zip(self.parts, (real, noise), strict=False)))

    def as_dense(self):
        targets, weight = self.synapses()
        rows = jnp.broadcast_to(jnp.arange(self.n_pre, dtype=jnp.int32)[:, None], targets.shape)
        return jnp.zeros((self.n_pre, self.n_post), weight.dtype).at[rows, targets].add(weight)


class Procedural(AbstractRule):
    """A wiring rule without stored synapses: they are drawn like those of `rule`, anew at each use.

    A million neurons with a hundred synapses each then need no more memory than the neurons do. The synapses have the
    distribution of the rule's, but are not the ones that it draws with the same key. A random rule may be one of these:

    | rule | kept for every network |
    |---|---|
    | `FixedProbability` | a table of the binomial distribution of the number of targets |
    | `FixedOutDegree` | nothing |
    | `FixedInDegree(k, multapses=True)` | 4 bytes per presynaptic neuron: how many of all synapses are its |

    A synapse depends on its presynaptic neuron, so that each *post*synaptic neuron has distinct sources cannot be
    ensured row by row: a fixed in-degree comes with `multapses=True` only (as is the default in NEST).

    **Arguments:** `rule`: one of the rules above, with `weight` a number, a `brainsim.Normal` or a `brainsim.Uniform`.
    There are derivatives with respect to these numbers, and none with respect to a probability.

    **Raises:** `ValueError` for rules, weights and sizes that cannot be regenerated.

    ```python
    >>> import brainsim as bs, jax
    >>> rule = bs.Procedural(bs.FixedProbability(0.01, weight=bs.Normal(6.0, 0.6)))
    >>> connect = rule.build(jax.random.key(0), 1_000_000, 1_000_000, same=True)
    >>> sum(x.nbytes for x in jax.tree.leaves(connect)) < 10_000  # of 10,000,000,000 synapses
    True

    ```
    """

    rule: FixedProbability | FixedOutDegree | FixedInDegree

    def __init__(self, rule: AbstractRule):
        if not isinstance(rule, FixedProbability | FixedOutDegree | FixedInDegree):
            raise ValueError(
                "Procedural: rules that can be regenerated are FixedProbability, FixedOutDegree and FixedInDegree, "
                f"got {type(rule).__name__}"
            )
        if isinstance(rule, FixedInDegree) and not rule.multapses:
            raise ValueError(
                "Procedural: a fixed in-degree is regenerated with multapses=True only; or use FixedOutDegree"
            )
        _checked_weight(rule.weight)
        self.rule = rule

    def build(self, key, n_pre, n_post, *, same):
        rule, seed = self.rule, _draw.seed_of(key)
        skip = same and not rule.autapses
        if isinstance(rule, FixedInDegree):
            if skip:
                raise ValueError("Procedural: a fixed in-degree cannot leave out autapses; or use FixedOutDegree")
            pattern, table = _in_degree(seed, n_pre, n_post, rule.k)
        elif isinstance(rule, FixedOutDegree):
            pattern, table = _out_degree(n_pre, n_post, rule.k, rule.multapses, skip)
        else:
            pattern, table = _bernoulli(n_pre, n_post, rule.p, skip)
        return Regenerated(rule.weight, seed.generate_state(2, np.uint32), table.astype(np.uint32), pattern)


def _checked_weight(weight: Any) -> Any:
    if isinstance(weight, Normal):
        if weight.low > -math.inf or weight.high < math.inf:
            raise ValueError(
                f"Procedural: a truncated normal is not regenerated, got bounds {weight.low}, {weight.high}"
            )
        if not is_traced(weight.sd) and weight.sd.ndim == 0 and not weight.sd >= 0:
            raise ValueError(f"Procedural: sd must not be negative, got {weight.sd}")
        numbers = weight.mean, weight.sd
    elif isinstance(weight, Uniform):
        numbers = weight.low, weight.high
    elif callable(weight):
        raise ValueError("Procedural: the weight must be a number, brainsim.Normal or brainsim.Uniform, not a function")
    else:
        weight = as_weight("Procedural", weight)
        numbers = (weight,)
    for number in numbers:
        if number.ndim or not (is_traced(number) or np.isfinite(number)):
            raise ValueError(f"Procedural: weights must be single finite numbers, got {number}")
    return weight


_NONE = np.zeros(0, np.uint32)


def _out_degree(
    n_pre: int, n_post: int, k: int, multapses: bool, skip: bool
) -> tuple[ops.ProceduralPattern, np.ndarray]:
    n = max(n_post - skip, 0)
    if n_pre and (k > n if not multapses else k > 0 and n == 0):
        hint = "" if multapses or n == 0 else "; multapses=True allows more"
        raise ValueError(f"Procedural: k is {k}, but there are only {n} neurons to choose from{hint}")
    k = k if n_pre else 0
    return ops.ProceduralPattern(
        n_pre, n_post, "independent" if multapses else "different", n, k, k, skip=skip and n_post > 0
    ), _NONE


def _bernoulli(n_pre: int, n_post: int, p: float, skip: bool) -> tuple[ops.ProceduralPattern, np.ndarray]:
    """Given their number, which is binomial, the targets of a row are any subset with equal probability."""
    n = max(n_post - skip, 0)
    least, table = _binomial(n, p)
    return ops.ProceduralPattern(
        n_pre, n_post, "different", n, least, least + len(table), skip=skip and n_post > 0
    ), table


def _binomial(n: int, p: float) -> tuple[int, np.ndarray]:
    """The least value of a binomial number, and for each larger one the 32-bit word from which on it is drawn."""
    if n == 0 or p in (0.0, 1.0):
        return round(n * p), _NONE
    spread = int(8 * math.sqrt(n * p * (1 - p))) + 40  # beyond, all together are rarer than one in 2**32
    mode = min(n, int((n + 1) * p))
    low, high = max(0, mode - spread), min(n, mode + spread)
    d = np.arange(low, high, dtype=float)
    odds = np.log((n - d) / (d + 1)) + math.log(p) - math.log1p(-p)  # of d + 1 against d
    log = np.concatenate([[0.0], np.cumsum(odds)])
    mass = np.exp(log - log.max())
    words = np.rint(np.cumsum(mass / mass.sum())[:-1] * 2.0**32)
    possible = (words >= 1) & (words <= 2.0**32 - 1)
    least = low + int(np.count_nonzero(words < 1))
    return least, words[possible].astype(np.uint32)


def _in_degree(
    seed: np.random.SeedSequence, n_pre: int, n_post: int, k: int
) -> tuple[ops.ProceduralPattern, np.ndarray]:
    """Every synapse has a random source, so the degrees are multinomial; then it is shuffled which ones are whose."""
    total = n_post * k
    if total and not n_pre:
        raise ValueError(f"Procedural: k is {k}, but there are only 0 neurons to choose from")
    if total >= 2**31:
        raise ValueError(f"Procedural: a fixed in-degree is limited to 2**31 - 1 synapses, got {n_post} x {k}")
    rng = np.random.Generator(np.random.Philox(seed.spawn(1)[0]))
    degree = np.zeros(n_pre, np.int64)
    for start in range(0, total, 1 << 22):
        degree += np.bincount(rng.integers(0, n_pre, min(1 << 22, total - start), dtype=np.int32), minlength=n_pre)
    most = int(degree.max(initial=0))
    return ops.ProceduralPattern(n_pre, n_post, "of all", total, 0, most, max(k, 1)), np.concatenate(
        [[0], np.cumsum(degree)]
    )
