"""Operands for every compiled operator, in a few settings each: for the comparison of kernels in test_cuda.py."""

import jax.numpy as jnp
import numpy as np

import brainsim as bs
from brainsim import _numerics
from brainsim.ops import (
    _arrivals_primitives as arrivals,
    _arrivals_through as arriving,
    _at_spikes,
    _blocks,
    _csr_narrow as narrow,
    _csr_primitives as csr,
    _csr_through as through,
    _dense,
    _events,
    _fan_out,
    _poisson,
    _procedural,
    _procedural_late as late,
    _spike_lists,
)

# n_pre, n_post, groups, batch, and the part of neurons that spike
SETTINGS = [(60, 300, 2, 3, 0.3), (700, 40, 1, 1, 0.05), (9, 9, 1, 2, 1.0), (8, 5, 1, 1, 0.0), (1, 1, 1, 1, 1.0),
            (0, 3, 1, 1, 1.0), (5, 0, 1, 1, 1.0)]  # fmt: skip


class Draw:
    """Random operands of one setting. Some synapses lead nowhere; with `wild`, all index arrays hold anything."""

    def __init__(self, setting, dtype, wild=False):
        self.n_pre, self.n_post, self.groups, self.batch, self.active = setting
        self.rng, self.dtype, self.wild = np.random.default_rng(0), dtype, wild

    def values(self, *shape, dtype=None):
        return self.rng.normal(size=shape).astype(dtype or self.dtype)

    def spikes(self, *shape):
        return np.where(self.rng.random(shape) < self.active, self.rng.normal(size=shape), 0).astype(self.dtype)

    def integers(self, low, high, shape):
        extreme = [-(2**31), -5, 0, 3, 60, 10**6, 2**31 - 1]
        x = self.rng.choice(extreme, shape) if self.wild else self.rng.integers(low, high, shape)
        return np.asarray(x, np.int32)

    def starts(self, n_rows, most):
        """Where rows begin, and the number of synapses, of which the last three belong to no row."""
        ends = np.cumsum(self.rng.integers(0, most + 1, n_rows))
        starts = np.array([0, *ends], np.int32)
        return (self.integers(0, 1, starts.shape) if self.wild else starts), int(starts[-1]) + 3

    def lead(self):
        return self.groups, self.batch

    def pattern(self):
        indptr, nnz = self.starts(self.n_pre, 2 * self.n_post)
        return self.integers(-1, self.n_post + 1, nnz), indptr


def csr_case(primitive, *, unit=False, masked=False, type_of_weight=None):
    def case(d: Draw):
        if unit and d.groups > 1:
            d.groups, d.batch = 1, 6
        indices, indptr = d.pattern()
        weight = [] if unit else [d.values(d.groups, len(indices), dtype=type_of_weight)]
        n_in, n_out = (d.n_pre, d.n_post) if primitive in (csr.scatter, narrow.scatter) else (d.n_post, d.n_pre)
        vector = d.spikes if n_in == d.n_pre and n_out == d.n_post else d.values
        relevant = [d.rng.random((*d.lead(), n_out)) < 0.5] if masked else []
        params = {"masked": masked} if primitive in (csr.scatter, csr.gather) else {}
        return primitive, [vector(*d.lead(), n_in), *weight, indices, indptr, *relevant], {"n_out": n_out, **params}

    return case


def outer_case(d):
    return csr.outer, [d.spikes(*d.lead(), d.n_pre), d.values(*d.lead(), d.n_post), *d.pattern()], {}


def accumulate_case(d):
    _, (spikes, values, *pattern), _ = outer_case(d)
    return through.accumulate, [d.values(d.groups, len(pattern[0])), spikes, values, *pattern], {}


def fan_out_case(unit):
    def case(d):
        indices = d.integers(-1, d.n_post + 1, (d.n_pre, 7))
        weight = [] if unit else [d.values(d.groups, d.n_pre, 7)]
        return _fan_out.scatter, [d.spikes(*d.lead(), d.n_pre), *weight, indices], {"n_out": d.n_post}

    return case


def dense_case(d):
    return _dense.dense, [d.spikes(*d.lead(), d.n_pre), d.values(d.groups, d.n_pre, d.n_post)], {}


def convolution_case(d):
    shape = bs.ops.ConvolutionShape((d.n_pre % 7, 6, 2), (3, 2, d.n_post % 4), (2, 1), ((1, 2), (0, 1)))
    image, weight = d.spikes(*d.lead(), int(np.prod(shape.image))), d.values(d.groups, *shape.weights)
    return _dense.convolved, [image, weight], {"shape": shape}


def hints_of(history, size):
    """With room for a part of the spikes: some rows have hints that can be used."""
    hints = np.zeros((*history.shape[:3], size), np.int32)
    for row in np.ndindex(history.shape[:3]):
        found = np.flatnonzero(history[row])
        hints[row][0] = len(found)
        hints[row][1 : 1 + len(found)] = found[: size - 1]
    return hints


def arrivals_case(primitive, *, unit=False, masked=False):
    def case(d):
        slots, rows = 3, 5
        flat, nnz = d.starts(d.n_pre * slots, 4)
        at = np.arange(d.n_pre)[:, None] * slots + np.arange(slots + 1)
        pattern = [d.integers(-1, d.n_post + 1, nnz), flat[at].reshape(d.n_pre, slots + 1)]
        pattern += [d.integers(0, rows, slots), d.integers(0, 90, d.lead())]
        history, values = d.spikes(*d.lead(), rows, d.n_pre), d.values(*d.lead(), d.n_post)
        hints = d.integers(0, 1, (*d.lead(), rows, d.n_pre // 3 + 1)) if d.wild else hints_of(history, d.n_pre // 3 + 1)
        weight = [] if unit else [d.values(d.groups, nnz)]
        relevant = d.rng.random((*d.lead(), rows if masked else 0, d.n_pre)) < 0.5
        if primitive is arrivals.add:
            return primitive, [values, history, hints, relevant, *weight, *pattern], {}
        if primitive is arrivals.gather:
            return primitive, [values, *weight, *pattern], {"n_rows": rows}
        if primitive is arrivals.collect:
            return primitive, [d.values(*history.shape), values, relevant, *weight, *pattern], {}
        if primitive is arriving.accumulate:
            return primitive, [*weight, history, hints, values, *pattern], {}
        return primitive, [history, hints, values, *pattern], {}

    return case


def compact_case(d):
    return _spike_lists.compact, [d.spikes(d.groups * d.batch, d.n_pre)], {"size": d.n_post}


def append_case(d):
    lists = np.zeros((d.groups, d.n_post + 1, 2), np.int32)
    lists[:, 0, 0] = d.integers(-1, 4, d.groups)
    return _events.append, [lists, d.spikes(d.groups, d.n_pre), d.integers(0, 9, (d.groups,))], {}


def at_spikes_case(d):
    n = d.n_pre
    arrays = [d.values(n), d.values(n, dtype=jnp.float32), d.integers(0, 9, n)]
    new = [d.values(1), d.values(n, dtype=jnp.float32), d.integers(0, 9, n)]
    lists = [np.zeros((d.n_post + 1, 2), np.int32), np.array([[2**31 - 1, 0], [0, 0]], np.int32)]
    params = {"n_arrays": 3, "parts": ((0, n // 2), (n // 2, n - n // 2)), "timed": 1}
    return _at_spikes._at_spikes, [d.spikes(n), *arrays, *new, *lists, np.int32(2**31 - 2)], params


def counts_case(process):
    def case(d):
        n = d.n_post if d.n_post else 1
        words = d.rng.integers(0, 2**32, (d.groups, 2)).astype(np.uint32)
        top = 40 if process == "poisson" else 1.2
        mean = (d.rng.uniform(-0.05, 1, (d.groups, 1 if d.batch == 2 else n)) * top).astype(d.dtype)
        return _poisson.counts, [words, words[:, :1], mean], {"n": n, "process": process}

    return case


def procedural_pattern(d):
    """A pattern and its kind of noise, and the random words that the synapses come from."""
    kind = ("different", "independent", "of all")[d.n_pre % 3]
    noise = ("none", "uniform", "normal")[d.n_post % 3]
    skip = kind == "different" and d.n_pre == d.n_post
    domain = d.n_post * 2 if kind == "of all" else d.n_post - skip
    table = [0, *np.sort(d.rng.integers(0, domain + 1, d.n_pre))] if kind == "of all" else [10**9, 3 * 10**9]
    most = min(d.n_post - skip, 20) if kind == "different" else 20
    pattern = _procedural.ProceduralPattern(d.n_pre, d.n_post, kind, domain, min(most, 4), most, fan_in=2, skip=skip)
    return pattern, noise, [np.array([5, 6], np.uint32), np.array(table, np.uint32)]


def procedural_case(primitive):
    def case(d):
        pattern, noise, words = procedural_pattern(d)
        shape = (d.n_pre,) if primitive is _procedural.scatter else (d.n_post, 1 + (noise != "none"))
        vector = d.spikes if primitive is _procedural.scatter else d.values
        return primitive, [vector(d.groups * d.batch, *shape), *words], {"pattern": pattern, "noise": noise}

    return case


def late_case(primitive):
    """With delays of 2 to 11 steps, some of them rare, in a ring with a row to spare."""

    def case(d):
        pattern, noise, words = procedural_pattern(d)
        batch = d.groups * d.batch
        ring = d.values(batch, 12, d.n_post)
        sent = [d.spikes(batch, d.n_pre, 1 + (noise != "none"))] if primitive is late.send else []
        delays = np.array([0, 10**8, 2 * 10**9, 4 * 10**9], np.uint32)[d.n_pre % 4 :]
        params = {"pattern": pattern, "noise": noise, "least": 2, "stride": 2}
        return primitive, [ring, *sent, *words, delays, np.int32(1000 * d.rng.integers(-1, 2) + 7)], params

    return case


def blocks_case(d):
    blocks, places = [], []
    for source, (each, first_pre, target, first_post) in enumerate([(True, 0, 1, 0), (False, 1, 0, 4)]):
        indices, indptr = d.pattern()
        blocks += [indices, indptr, d.values(len(indices) if each else 1)]
        places.append(_blocks.Place(source, first_pre, target, first_post, d.n_post, each))
    ends = [d.values(d.n_post + 4), d.values(d.n_post), d.spikes(d.n_pre), d.spikes(d.n_pre + 3)]
    return _blocks._blocks, [*blocks, *ends], {"places": tuple(places), "n_targets": 2}


def exponential_case(d):
    n = d.n_pre + 256  # below, XLA computes it
    return _numerics._exponential_step, [d.values(n), d.values(n) * 3, d.values(n)], {}


CASES = {
    "csr_scatter": csr_case(csr.scatter),
    "csr_scatter_unit": csr_case(csr.scatter, unit=True),
    "csr_scatter_narrow": csr_case(narrow.scatter, type_of_weight=jnp.bfloat16),
    "csr_gather": csr_case(csr.gather),
    "csr_gather_unit": csr_case(csr.gather, unit=True),
    "csr_gather_narrow": csr_case(narrow.gather, type_of_weight=jnp.bfloat16),
    "csr_gather_relevant": csr_case(csr.gather, masked=True),
    "csr_gather_relevant_unit": csr_case(csr.gather, masked=True, unit=True),
    "csr_outer": outer_case,
    "csr_accumulate": accumulate_case,
    "fan_out_scatter": fan_out_case(unit=False),
    "fan_out_scatter_unit": fan_out_case(unit=True),
    "dense_scatter": dense_case,
    "convolution_scatter": convolution_case,
    "arrivals_add": arrivals_case(arrivals.add),
    "arrivals_add_unit": arrivals_case(arrivals.add, unit=True),
    "arrivals_gather": arrivals_case(arrivals.gather),
    "arrivals_gather_unit": arrivals_case(arrivals.gather, unit=True),
    "arrivals_outer": arrivals_case(arrivals.outer),
    "arrivals_accumulate": arrivals_case(arriving.accumulate),
    "arrivals_collect": arrivals_case(arrivals.collect, masked=True),
    "arrivals_collect_unit": arrivals_case(arrivals.collect, unit=True),
    "compact": compact_case,
    "append_events": append_case,
    "at_spikes": at_spikes_case,
    "poisson": counts_case("poisson"),
    "bernoulli": counts_case("bernoulli"),
    "procedural_scatter": procedural_case(_procedural.scatter),
    "procedural_gather": procedural_case(_procedural.gather),
    "procedural_send": late_case(late.send),
    "procedural_collect": late_case(late.collect),
    "blocks": blocks_case,
    "exponential_step": exponential_case,
}
INDEXED = ["csr_scatter", "csr_gather_narrow", "csr_outer", "fan_out_scatter", "arrivals_add", "arrivals_gather",
           "arrivals_accumulate", "arrivals_collect", "append_events", "blocks"]  # fmt: skip
