"""Sweeps: a sweep is a Python loop, however it is cut into chunks; parameters go by their paths."""

import re
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainsim as bs
from brainsim import _points


def rate(current, tau):
    cell = bs.Population(1, bs.with_params(bs.LIF(), tau=tau))
    return bs.rate(bs.simulate(cell, 50.0, 0.1, current, dict(spikes=True)).spikes, 0.1)[0]


def test_a_sweep_is_a_loop():
    currents, taus = [400.0, 600.0, 800.0], [10.0, 20.0]
    data = bs.sweep(rate, current=bs.Axis(currents, "pA", "input"), tau=bs.Axis(taus, "ms"), units=dict(result="Hz"))
    loop = [[float(rate(i, tau)) for tau in taus] for i in currents]
    assert data.result.dims == ("current", "tau")
    assert data.result.values.tolist() == loop
    assert data.current.attrs == {"units": "pA", "long_name": "input"}
    assert data.tau.attrs["units"] == "ms" and data.result.attrs["units"] == "Hz"
    assert float(data.result.sel(current=600.0, tau=20.0)) == loop[1][1]


def wave(x, y):
    return dict(a=jnp.sin(x) * y, b=jnp.stack([x, y]) / y)


@pytest.mark.parametrize("chunk", [1, 4, 5, 100, None])
def test_chunks_and_padding_do_not_show(chunk):
    x, y = np.linspace(0, 1, 5), np.arange(3.0)
    whole = bs.sweep(wave, x=x, y=y, chunk=15)
    assert whole.identical(bs.sweep(wave, x=x, y=y, chunk=chunk, progress=False))
    assert whole.b.dims == ("x", "y", "b_0")
    assert np.isnan(whole.b.sel(y=0.0)[0, 0]) and np.isinf(whole.b.sel(y=0.0)[1, 0])  # as they are: 0/0 and x/0


def test_chunks_fit_the_memory(monkeypatch):
    done = []
    monkeypatch.setattr(_points, "_memory", lambda: 4 * 100)
    small = bs.sweep(wave, x=np.linspace(0, 1, 50), y=[2.0], progress=lambda i, n: done.append((i, n)))
    assert len(done) > 1 and done[-1] == (50, 50)
    monkeypatch.undo()
    assert small.identical(bs.sweep(wave, x=np.linspace(0, 1, 50), y=[2.0]))


def test_the_function_is_traced_once():
    traces = []

    def fn(x):
        traces.append(x)
        return x**2

    data = bs.sweep(fn, x=np.arange(11.0), chunk=3)
    assert len(traces) == 1
    assert data.result.values.tolist() == [x**2 for x in range(11)]


def test_zipped_axes():
    data = bs.sweep(wave, x=bs.Axis([1.0, 2.0, 3.0], "ms"), y=[4.0, 5.0, 6.0], mode="zip", chunk=2)
    assert data.a.dims == ("point",)
    assert data.x.dims == data.y.dims == ("point",) and data.x.attrs["units"] == "ms"
    np.testing.assert_allclose(data.a, np.sin([1, 2, 3]) * [4, 5, 6], rtol=1e-6)


def test_named_dimensions_and_keys_as_an_axis():
    keys = jax.random.split(jax.random.key(0), 3)
    fn = lambda key, sd: dict(v=sd * jax.random.normal(key, (4, 2)))
    data = bs.sweep(fn, key=keys, sd=[1.0, 2.0], dims=dict(v=("time", "neuron")), chunk=2)
    assert data.v.dims == ("key", "sd", "time", "neuron")
    np.testing.assert_array_equal(data.v[2, 1], 2 * jax.random.normal(keys[2], (4, 2)))


def test_a_network_swept_by_path(x64):
    cell = bs.Population(9, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0)), initial=dict(v=jnp.linspace(-70.0, -56.0, 9)))
    wire = bs.FixedProbability(0.5, weight=50.0)
    net = bs.Network(dict(E=cell), [bs.Projection("E", "E.exc", wire, delay=1.0)], key=jax.random.key(1))

    def mean(**p):
        run = bs.simulate(bs.with_params(net, p), 30.0, 0.1, dict(E=450.0), dict(spikes=["E"], v="E.v"))
        return dict(count=run.spikes["E"].sum(), v=run["v"].mean())

    axes = {"exc.tau": [2.0, 5.0], "connect.weight": [0.0, 160.0]}
    data = bs.sweep(mean, axes, chunk=3)
    for i, tau in enumerate(axes["exc.tau"]):
        for j, weight in enumerate(axes["connect.weight"]):
            alone = mean(**{"exc.tau": tau, "connect.weight": weight})
            assert data["count"][i, j] == alone["count"]
            assert data.v[i, j] == pytest.approx(float(alone["v"]), rel=1e-12)
    assert data["count"].max() > data["count"].min() > 0


def test_progress_can_be_switched_off(capfd):
    bs.sweep(lambda x: x, x=[1.0, 2.0], progress=False)
    assert capfd.readouterr() == ("", "")


class Volts:
    """As much of a quantity as `param` and `Axis` need."""

    units = "V"

    def __init__(self, magnitude):
        self.magnitude = magnitude

    def to(self, unit):
        assert unit == "mV"
        return Volts(self.magnitude * 1e3)


def test_quantities_are_converted():
    assert bs.sweep(lambda v: v, v=bs.Axis(Volts(np.array([-0.07, -0.05])), "mV")).v.values == pytest.approx([-70, -50])
    assert bs.with_params(bs.LIF(), v_th=Volts(-0.05)).v_th.item() == pytest.approx(-50)


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        ({}, {}, "nothing to sweep"),
        (dict(x=[]), {}, "axis 'x' is empty"),
        (dict(x=3.0), {}, r"axis 'x' must have shape \(n,\), got the single value 3.0"),
        (dict(x=["a"]), {}, r"the values of an axis must be a number or an array, got \['a'\]"),
        (dict(x=[1.0], y=[1.0, 2.0]), dict(mode="zip"), "equal lengths, got x: 1, y: 2"),
        (dict(x=[1.0]), dict(mode="product"), "mode is 'product'; available: grid, zip"),
        (dict(x=[1.0]), dict(chunk=0), "chunk must be a whole number, at least 1, got 0"),
        (dict(z=[1.0]), {}, "takes no 'z'; it takes: x, y"),
        (dict(y=[1.0]), {}, "needs 'x', which has no axis; axes: y"),
        (dict(x=[1.0]), dict(dims=dict(w=("t",))), "dims for unknown output 'w'; available: x2, pair"),
        (dict(x=[1.0]), dict(units=dict(w="mV")), "units for unknown output 'w'; available: x2, pair"),
        (dict(x=[1.0]), dict(dims=dict(pair=("t", "n"))), r"dims\['pair'\] must name 1 dimensions, of shape \(2,\)"),
    ],
)
def test_errors_say_what_was_given(axes, options, message):
    fn = lambda x, y=2.0: dict(x2=x**2, pair=jnp.stack([x, x]))
    done = []
    with pytest.raises(ValueError, match=message) as e:
        bs.sweep(fn, **axes, **options, progress=lambda *x: done.append(x))
    assert sum(points for points, _ in done) == 0  # it is said before the first point is done
    assert "\n" not in str(e.value)


def test_an_output_may_not_have_the_name_of_an_axis():
    with pytest.raises(ValueError, match="output 'x' has the name of an axis"):
        bs.sweep(lambda x: dict(x=x), x=[1.0])
    with pytest.raises(ValueError, match="must return an array or a dict of arrays, got <object"):
        bs.sweep(lambda x: object(), x=[1.0])


# --- parameters by path -----------------------------------------------------------------------------------------------


def test_parameters_by_path():
    cell: Any = bs.Population(3, bs.AdEx(), dict(exc=bs.ExpCurrent(tau=5.0)))
    names = bs.parameters(cell)
    assert names["neuron.tau_w"] is cell.neuron.tau_w and names["receptors.exc.tau"] is cell.receptors["exc"].tau
    changed: Any = bs.with_params(cell, {"exc.tau": 2.0}, tau_w=30)
    assert changed.receptors["exc"].tau.item() == 2.0 and changed.neuron.tau_w.item() == 30.0
    assert cell.neuron.tau_w.item() == 144.0
    assert changed.neuron.tau_w.dtype == cell.neuron.tau_w.dtype


def test_parameters_with_one_name_are_not_confused():
    with pytest.raises(ValueError, match=r"two parameters of dict are called 'a\.b': rename one of them"):
        bs.parameters({"a.b": jnp.ones(2), "a": {"b": jnp.zeros(2)}})


def test_with_params_under_transformations(x64):
    traces = []

    @jax.jit
    def end(tau):
        traces.append(tau)
        cell = bs.Population(1, bs.with_params(bs.LIF(), tau=tau))
        return bs.simulate(cell, 10.0, 0.1, 300.0, dict(v="v"))["v"][-1, 0]

    exact = lambda tau: -70 + 300 / 250 * tau * (1 - np.exp(-10 / tau))
    assert end(8.0) == pytest.approx(exact(8.0), rel=1e-9) and end(12.0) == pytest.approx(exact(12.0), rel=1e-9)
    assert len(traces) == 1
    np.testing.assert_allclose(jax.vmap(end)(jnp.array([8.0, 12.0])), [exact(8.0), exact(12.0)], rtol=1e-9)
    assert jax.grad(end)(8.0) == pytest.approx((exact(8 + 1e-5) - exact(8 - 1e-5)) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(tau_x=1.0), "no parameter 'tau_x'; available: neuron.c (pF), neuron.tau (ms)"),
        (dict(tau=1.0), "parameter 'tau' is ambiguous; it may be neuron.tau or receptors.exc.tau"),
        ({"exc.tau": [1.0, 2.0]}, "must be scalars or have shape (1,), but tau of receptor 'exc' has shape (2,)"),
        ({"exc.tau": 1.0, "receptors.exc.tau": 2.0}, "'receptors.exc.tau' is named twice"),
        (dict(v_th="high"), "parameter neuron.v_th (mV) must be a number or an array in mV, got 'high'"),
    ],
)
def test_parameter_errors(values, message):
    with pytest.raises(ValueError, match=re.escape(message)) as e:
        bs.with_params(bs.Population(1, bs.LIF(), dict(exc=bs.ExpCurrent(tau=5.0))), values)
    assert "\n" not in str(e.value)


def test_importing_brainsim_is_cheap():
    heavy = "import sys, brainsim; print(sorted({'xarray', 'pandas', 'matplotlib', 'h5py'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
