"""The CUDA twins on a GPU beside the C++ kernels on the CPU; skipped where there is none (see .ci/gpu)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cuda_cases import CASES, SETTINGS, Draw
from tolerances import assert_close

import brainsim as bs
from brainsim.ops import _dense, _library

pytestmark = pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU")


def on(platform, function, operands):
    device = jax.devices(platform)[0]
    program = jax.jit(function)
    placed = jax.device_put(operands, device)
    with jax.default_device(device):
        return jax.device_get(program(placed)), program.lower(placed).as_text()


def test_twins_are_loaded():
    assert _library.load_cuda()


@pytest.mark.parametrize("name", CASES)
def test_twins_agree_with_kernels(name, monkeypatch, x32):
    monkeypatch.setattr(_dense, "_SPARSE", {"dense": 2.0, "convolution": 2.0})  # events, however many
    drawn = [CASES[name](Draw(setting, jnp.float32, False)) for setting in SETTINGS]

    def all_settings(operands):
        return [primitive.bind(*x, **params) for (primitive, _, params), x in zip(drawn, operands, strict=True)]

    operands = [x for _, x, _ in drawn]
    expected, _ = on("cpu", all_settings, operands)
    got, text = on("gpu", all_settings, operands)
    assert f"@brainsim_{name}(" in text
    assert_close(got, expected)


def test_a_network_runs_and_integers_are_those_of_the_cpu(x32):
    """Random counts and synapses are the same integers; a network fires as often, give or take a few spikes."""
    counts = lambda key: bs.ops.poisson_counts(key, 3, 2.5, n=1000)
    pattern = bs.ops.ProceduralPattern(50, 70, "different", 70, 9, 9)
    seed, none = jnp.array([1, 2], jnp.uint32), jnp.zeros(0, jnp.uint32)
    product = lambda x: bs.ops.procedural_matvec(x, seed, none, pattern)
    for function, operand in ((counts, jax.random.key(0)), (product, jnp.ones(50))):
        np.testing.assert_array_equal(on("gpu", function, operand)[0], on("cpu", function, operand)[0])

    key = jax.random.key(1)
    net, inputs = bs.networks.coba(n_e=320, n_i=80, key=key)
    rate = lambda net: bs.rate(
        bs.simulate(net, 100.0, 0.1, inputs, dict(spikes=["E"]), key=key).spikes["E"], 0.1
    ).mean()
    rates = [float(on(platform, rate, net)[0]) for platform in ("gpu", "cpu")]
    assert rates[0] > 1.0 and abs(rates[0] - rates[1]) < 0.3 * rates[1]
