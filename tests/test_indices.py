"""Indices of neurons and synapses are whole numbers in range, or the constructor says which are not."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs

KEY = jax.random.key(0)


def built(rule, n_pre=3, n_post=3):
    return rule.build(KEY, n_pre, n_post, same=False)


REFUSED = {
    "fractions": (lambda: bs.FromArrays([0.5], [0]), "FromArrays: pre must be whole numbers, got float64"),
    "truth values": (lambda: bs.FromArrays([True], [0]), "FromArrays: pre must be whole numbers, got bool"),
    "text": (lambda: bs.FromArrays([0], ["a"]), r"FromArrays: post must be whole numbers, got \['a'\]"),
    "negative": (lambda: bs.FromArrays([0, -1], [0, 0]), r"FromArrays: pre\[1\] is -1, allowed are 0 to"),
    "lengths": (lambda: bs.FromArrays([0, 1], [0]), r"pre and post have shapes \[2\] and \[1\]"),
    "weights": (lambda: bs.FromArrays([0, 1], [0, 1], [1.0]), r"FromArrays: the weight has shape \[1\], expected"),
    "outside, when built": (lambda: built(bs.FromArrays([3], [0])), r"CSR: pre\[0\] is 3, allowed are 0 to 2"),
    "64 bits": (lambda: bs.FromArrays([2**40], [0]), "FromArrays: pre must fit in 32 bits"),
    "traced": (lambda: jax.make_jaxpr(lambda i: bs.FromArrays(i, [0]).pre)(jnp.zeros(1, int)), "pre is traced"),
    "sizes": (lambda: built(bs.OneToOne(), 3, 4), "OneToOne: the populations must have one size"),
    "one weight too few": (lambda: built(bs.OneToOne([1.0, 2.0])), r"OneToOne: the weight has shape \[2\]"),
    "CSR": (lambda: bs.CSR(1.0, [0, 3], [0, 1, 2], 2, 3), r"CSR: indices\[1\] is 3, allowed are 0 to 2"),
    "CSR, negative": (lambda: bs.CSR(1.0, [-1, 0], [0, 1, 2], 2, 3), r"CSR: indices\[0\] is -1"),
    "CSR, falling": (lambda: bs.CSR(1.0, [0, 1], [0, 2, 1, 2], 3, 3), "CSR: indptr must rise from 0"),
    "CSR, too long": (lambda: bs.CSR(1.0, [0, 1], [0, 1, 9], 2, 3), "CSR: indptr must rise from 0"),
    "CSR, fractions": (lambda: bs.CSR(1.0, [0, 1], [0, 1.0, 2], 2, 3), "CSR: indptr must be whole numbers"),
    "CSR, sizes": (lambda: bs.CSR(1.0, [0], [0, 1], 1, math.inf), "CSR: a number of neurons must be a whole number"),
    "CSR, true": (lambda: bs.CSR(1.0, [0], [0, 1], True, 1), "CSR: a number of neurons must be a whole number"),
    "FanOut": (lambda: bs.FanOut(1.0, [[0, 4]], 4), r"FanOut: indices\[1\] is 4, allowed are 0 to 3"),
    "FanOut, ragged": (lambda: bs.FanOut(1.0, [[0], [1, 2]], 4), "FanOut: indices must be whole numbers"),
    "DelayedCSR": (lambda: bs.DelayedCSR(1.0, [0, 2], [[0, 2]], 1, 2, [0.1]), r"indices\[1\] is 2, allowed are 0 to 1"),
    "DelayedCSR, falling": (
        lambda: bs.DelayedCSR(1.0, [0, 1], [[0, 2], [1, 2]], 2, 2, [0.1]),
        "DelayedCSR: indptr must rise",
    ),
    "DelayedCSR, lengths": (
        lambda: bs.DelayedCSR.from_coo([0, 0], [1], 1.0, 0.1, 1, 2),
        r"pre and post have shapes \[2\] and \[1\]",
    ),
    "DelayedCSR, delays": (
        lambda: bs.DelayedCSR.from_coo([0], [1], 1.0, [0.1, 0.2], 1, 2),
        r"delay has shape \[2\], expected \[\] or \[1\]",
    ),
    "DelayedCSR, one delay": (lambda: bs.DelayedCSR(1.0, [0], [[0, 1]], 1, 2, 0.1), "delays must be a list, got 0.1"),
    "Dense": (lambda: bs.Dense([[1.0], [1.0, 2.0]]), "Dense: the weight must be a number or an array"),
    "Convolution": (
        lambda: bs.Convolution(np.ones((2, 2, 1, 1)), (3, 3.5)),
        "image must be one or two whole numbers, at least 0, got",
    ),
    "seed": (
        lambda: bs.Regenerated(1.0, np.zeros(3, np.uint32), np.zeros(0, np.uint32), built(PROCEDURAL).pattern),
        r"seed and table must have shapes \[2\] and \[m\], got \[3\] and \[0\]",
    ),
}
PROCEDURAL = bs.Procedural(bs.FixedOutDegree(1))


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as e:
        make()
    assert "\n" not in str(e.value)


def recorded(record, cells=None):
    cells = bs.Population(3, bs.LIF(v_rest=[-60.0, -65.0, -70.0])) if cells is None else cells
    steps = jax.eval_shape(lambda: bs.simulate(cells, 0.2, 0.1, record=dict(x=record))["x"])
    taken = bs.Record.take(record, cells, cells.init(dt=0.1), jnp.array([1.0, 0.0, 1.0]))
    assert steps.shape == (2, *taken.shape) and steps.dtype == taken.dtype
    return taken.tolist()


def test_a_mask_is_a_mask():
    """The neurons of which it is true, in order; integers are places, counted from the end if negative."""
    for mask in ([True, False, True], np.array([True, False, True]), jnp.array([True, False, True])):
        assert recorded(bs.Record("v", index=mask)) == [-60.0, -70.0]
        assert recorded(bs.Record(True, index=mask)) == [1.0, 1.0]
        assert recorded(bs.Record(lambda s: s.neuron.v, index=mask)) == [-60.0, -70.0]
    assert recorded(bs.Record("v", index=[2, 0, 2])) == [-70.0, -60.0, -70.0]
    assert recorded(bs.Record("v", index=-1)) == [-70.0] == recorded(bs.Record("v", index=np.int64(2)))
    assert recorded(bs.Record("v", index=slice(1, None))) == [-65.0, -70.0]


def test_values_keep_their_digits():
    assert recorded(bs.Record(True, dtype=bool)) == [True, False, True]
    assert recorded(bs.Record(True, dtype="int8")) == [1, 0, 1]
    assert recorded(bs.Record("v", dtype="float16", index=0)) == [-60.0]
    assert recorded(bs.Record(lambda s: s.refractory, dtype=float)) == [0.0, 0.0, 0.0]


RECORDS = {
    "fractions": (
        dict(what="v", index=[1.9]),
        r"index of a record must be whole numbers, a mask or a slice, got \[1.9\]",
    ),
    "text": (dict(what="v", index="1"), "index of a record must be whole numbers"),
    "one truth value": (dict(what="v", index=True), "index of a record must be whole numbers"),
    "nobody": (dict(what="v", index=[]), r"index of a record names no neuron, got \[\]"),
    "mask of nobody": (dict(what="v", index=[False] * 3), "index of a record names no neuron"),
    "matrix": (dict(what="v", index=[[0, 1]]), "index of a record must be whole numbers"),
    "slice": (dict(what="v", index=slice(0.5, 2)), "end of the slice must be a whole number, got 0.5"),
    "slice of nobody": (dict(what="v", index=slice(3, 6)), r"'x': slice\(3, 6, None\) names none of the 3 neurons"),
    "slice without end": (dict(what="v", index=slice(0, 3, 0)), "index of a record must not have a step of 0"),
    "short mask": (dict(what="v", index=[True, False]), "record 'x': the mask has 2 values for 3 neurons"),
    "short mask of spikes": (dict(what=True, index=[True, False]), "record 'x': the mask has 2 values for 3 neurons"),
    "outside": (dict(what="v", index=[-4]), "record 'x': neuron -4 is out of range for 3 neurons"),
    "of a function": (dict(what=lambda s: s.neuron.v, index=10), "neuron 10 is out of range for 3"),
    "mask of a function": (dict(what=lambda s: s.neuron.v, index=[True]), "the mask has 1 values for 3"),
    "of a number": (dict(what=lambda s: s.neuron.v.mean(), index=0), "its function returned a single number"),
    "integers": (dict(what="v", dtype=int), "dtype=int32 would lose digits of 'v'"),
    "integers of a function": (
        dict(what=lambda s: s.neuron.v, dtype="int8"),
        "dtype=int8 of a record would lose digits",
    ),
    "truth of counts": (
        dict(what=lambda s: s.refractory, dtype=bool),
        "dtype=bool of a record would lose digits of int32",
    ),
    "no dtype": (dict(what="v", dtype="milli"), "dtype of a record must be one of NumPy's or JAX's, got 'milli'"),
    "every": (dict(what="v", every=0), "every of a record, in steps, must be a whole number, at least 1, got 0"),
    "events": (dict(what=True, events=2.0), "events of a record must be a whole number, at least 1"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_records(case):
    given, message = RECORDS[case]
    with pytest.raises(ValueError, match=message) as e:
        recorded(bs.Record(**given))
    assert "\n" not in str(e.value).partition("\n----")[0]


def aligned(values, dtype):
    """As an array whose memory JAX would use as it is."""
    size = len(values) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    made = memory[first : first + size].view(dtype)
    made[:] = values
    return made


def test_what_was_handed_over_may_be_changed_afterwards(x32):
    ones, zeros, rows = aligned(np.ones(64), np.float32), aligned(np.zeros(64), np.int32), aligned(range(65), np.int32)
    words, times = aligned(range(2), np.uint32), aligned(range(1, 65), np.float32)
    columns = ones.reshape(64, 1), zeros.reshape(64, 1)
    pattern = bs.ops.ProceduralPattern(3, 3, "different", 3, 1, 1)
    ends = np.stack([rows[:-1], rows[1:]], axis=1)
    made = [
        bs.CSR(ones, zeros, rows, 64, 64),
        bs.FanOut(*columns, 64),
        bs.Dense(columns[0]),
        bs.Diagonal(ones, 64),
        bs.DelayedCSR(ones, zeros, ends, 64, 64, [0.1]),
        bs.FromArrays(zeros, zeros, weight=ones),
        bs.Regenerated(1.0, words, words[:0], pattern),
        bs.SpikeTrain(times),
        bs.LIF(tau=ones),
    ]
    before = [np.array(x) for x in jax.tree.leaves(made)]
    for given in (ones, zeros, rows, words, times, ends):
        given[:] = 7
    for x, y in zip(jax.tree.leaves(made), before, strict=True):
        np.testing.assert_array_equal(x, y)
