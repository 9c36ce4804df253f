"""The likelihood of spikes: against closed forms, an obvious loop, finite differences, and models that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import one_precision, rows
from tolerances import RTOL

import brainsim as bs
from brainsim.losses import spike_log_likelihood
from brainsim.neurons import GIF, AuditoryReceptor, EscapeLIF


def recording(dt=0.5, duration=200.0, seed=0, unit="pA", scale=100.0, mean=300.0):
    """Filtered noise as a stimulus, and spikes at least 8 ms apart that have nothing to do with it."""
    rng = np.random.default_rng(seed)
    n = round(duration / dt)
    stimulus = mean + scale * np.convolve(rng.normal(size=n + 9), np.full(10, 10**-0.5), "valid")
    spikes = np.round(np.cumsum(8.0 + rng.exponential(10.0, size=100)), 1)
    return bs.io.Recording(dt=dt, stimulus=stimulus, stimulus_unit=unit, spike_times=spikes[spikes < duration - 1])


def sound(**kwargs):
    return recording(unit="dB", mean=76.0, scale=6.0, **kwargs)


def without(data, k):
    return bs.io.Recording(dt=data.dt, stimulus=data.stimulus, stimulus_unit=data.stimulus_unit,
                           spike_times=np.delete(data.spike_times, k))  # fmt: skip


CASES = {"EscapeLIF": (EscapeLIF, recording), "GIF": (GIF, recording), "AuditoryReceptor": (AuditoryReceptor, sound)}
cases = pytest.mark.parametrize("name", CASES)


def case(name, **kwargs):
    model, data = CASES[name]
    return model(), data(**kwargs)


def terms_of(cell, data, **options):
    """The output of the terms, the sum of their weights and their mean, in one program."""

    def of(cell):
        terms = spike_log_likelihood(cell, data, **options)
        return terms.output, terms.weight.sum(), terms.mean()

    return jax.jit(of)(cell)


@one_precision
@pytest.mark.parametrize("bin", [None, 2.0])
def test_homogeneous_poisson(precision, bin):
    """Nothing moves v, so the hazard is 1 / tau_0 at all times."""
    data = bs.io.Recording(dt=0.5, stimulus=np.zeros(2000), spike_times=np.array([10.2, 400.0, 401.9, 950.0]))
    output, weight, mean = terms_of(EscapeLIF(v_th=-70.0, tau_0=40.0, t_ref=0.0), data, bin=bin)
    h = (bin or 0.5) / 40.0
    bins = round(1000.0 / (bin or 0.5))
    expected = -4 * np.log(-np.expm1(-h)) + (bins - 4) * h
    assert float(weight) == 4
    np.testing.assert_allclose(float(mean), expected / 4, rtol=1e-6)
    np.testing.assert_allclose(output, -np.log(40.0), rtol=RTOL[output.dtype.name])


def test_renewal_process(x64):
    """Without input the intervals of a leaky neuron are a renewal process, whose hazard has a closed form."""
    dt, t_ref, tau, v_inf = 0.1, 3.0, 12.0, -50.0
    cell = EscapeLIF(tau=tau, v_rest=v_inf, v_reset=-68.0, v_th=-52.0, delta_u=1.7, tau_0=2.0, t_ref=t_ref)
    spikes = np.array([0.1, 15.3, 19.9, 60.0, 71.7])
    data = bs.io.Recording(dt=dt, stimulus=np.zeros(1000), spike_times=np.asarray(spikes))
    ends = dt * np.arange(1, 1001)  # a step's hazard is that of its end, before a spike there
    last = np.array([spikes[spikes < t - 1e-6].max(initial=-np.inf) for t in ends])
    age = ends - last
    v = np.where(np.isinf(age), v_inf, v_inf + (-68.0 - v_inf) * np.exp(-(age - t_ref) / tau))
    log_rate = np.where(age < t_ref + 1e-6, -30.0, (v + 52.0) / 1.7 - np.log(2.0))
    output, _, mean = terms_of(cell, data)
    np.testing.assert_allclose(output, log_rate, rtol=1e-9)
    h = dt * np.exp(log_rate)
    fired = np.isin(np.round(ends, 6), spikes)
    np.testing.assert_allclose(float(mean), (h[~fired].sum() - np.log(-np.expm1(-h[fired])).sum()) / 5)


def test_auditory_receptor_against_its_equations(x64):
    """The docstring's equations in a loop, with variables that are constant over a step."""
    cell, data = AuditoryReceptor(delay=4.0), sound()
    m = {k: float(x) for k, x in bs.parameters(cell).items()}
    dt, level = data.dt, np.asarray(data.stimulus)
    h, v, a, age, expected = 1.0, 0.0, 0.0, 1000.0, []
    for k, fired in enumerate(data.counts(dt)):
        p = 1 / (1 + np.exp(-(level[max(0, k - 8)] - m["l_half"]) / m["l_slope"]))  # 8 steps of 0.5 ms
        speed = (1 + m["k_h"] * p) / m["tau_h"]
        h, v = (
            h + (1 / (1 + m["k_h"] * p) - h) * -np.expm1(-speed * dt),
            v + (m["r"] * p * h - v) * -np.expm1(-dt / m["tau_m"]),
        )
        a, age = a * np.exp(-dt / m["tau_a"]), age + dt
        q = age ** m["n_q"] / (age ** m["n_q"] + m["t_q"] ** m["n_q"])
        hazard = m["rate_0"] / 1e3 + q * np.log1p(np.exp((v - m["v_th"] - a) / m["delta_v"]))
        expected.append(np.log(hazard))
        if fired:
            a, age = a + m["b_a"], 0.0
    np.testing.assert_allclose(terms_of(cell, data)[0], expected, rtol=1e-9)


@pytest.mark.parametrize("name", rows(CASES, long={"GIF"}))
def test_gradient(name, x64):
    """Against central differences, in every parameter but the refractory period, which is a number of steps."""
    cell, data = case(name, duration=150.0)
    if name == "AuditoryReceptor":
        cell = AuditoryReceptor(delay=6.3)  # not a whole number of steps, where the second derivative jumps
    loss = lambda p: spike_log_likelihood(bs.with_params(cell, p), data).mean()
    at = {k: x for k, x in bs.parameters(cell).items() if k != "t_ref"}
    gradient = jax.jit(jax.grad(loss))(at)
    loss = jax.jit(loss)
    for k, x in at.items():
        step = 1e-5 * max(1.0, abs(float(x)))
        difference = (loss({**at, k: x + step}) - loss({**at, k: x - step})) / (2 * step)
        np.testing.assert_allclose(gradient[k], difference, rtol=1e-5, atol=1e-9, err_msg=k)


@cases
@pytest.mark.parametrize("bin", [None, 2.0])
def test_a_spike_bears_on_later_bins_only(name, bin, x64):
    """Without it, every hazard up to and including its own bin is the same to the last bit; later ones are not."""
    cell, data = case(name)
    with_it = np.asarray(spike_log_likelihood(cell, data, bin=bin).output)
    for k in (3, len(data.spike_times) - 1):
        less = np.asarray(spike_log_likelihood(cell, without(data, k), bin=bin).output)
        own = int(np.ceil(data.spike_times[k] / (bin or data.dt) - 1e-6)) - 1
        np.testing.assert_array_equal(with_it[: own + 1], less[: own + 1])
        assert (with_it[own + 1 : own + 4] != less[own + 1 : own + 4]).any()


@cases
def test_bins_without_a_spike_hold_the_mean_hazard(name, x64):
    cell, data = case(name)
    steps = np.exp(np.asarray(spike_log_likelihood(cell, data).output)).reshape(-1, 4).mean(1)
    bins = np.exp(np.asarray(spike_log_likelihood(cell, data, bin=2.0).output))
    silent = data.counts(2.0) == 0
    np.testing.assert_allclose(bins[silent], steps[silent], rtol=1e-9)
    assert (
        bins[~silent] >= steps[~silent] * (1 - 1e-9)
    ).all()  # there the steps know of the spike, and the bin does not


@pytest.mark.parametrize("model", [EscapeLIF, GIF])
def test_affine_flows_are_exact_at_any_step(model, x64):
    """Whatever is constant over the longest step: the hazard at its ends does not depend on the step."""
    data = recording(dt=0.5)
    spikes = 0.5 * np.round(np.asarray(data.spike_times) / 0.5)
    at = lambda m: bs.io.Recording(
        dt=0.5 / m, stimulus=np.repeat(np.asarray(data.stimulus), m), spike_times=np.asarray(spikes)
    )
    coarse, fine = (spike_log_likelihood(model(t_ref=2.0), at(m)).output for m in (1, 5))
    np.testing.assert_allclose(fine[4::5], coarse, rtol=1e-9)


@pytest.mark.slow
def test_steps_converge(x64):
    """The density of the likelihood settles at first order in the step, whatever is constant over the longest step."""
    coarse = sound(dt=0.4, duration=160.0)
    spikes = 0.4 * np.round(np.asarray(coarse.spike_times) / 0.4)
    density = []
    for m in (2, 4, 8):
        stimulus = np.repeat(np.asarray(coarse.stimulus), m)
        data = bs.io.Recording(dt=0.4 / m, stimulus=stimulus, stimulus_unit="dB", spike_times=np.asarray(spikes))
        terms = spike_log_likelihood(AuditoryReceptor(delay=4.8), data)
        density.append(float(terms.cost(terms.output).sum()) + len(spikes) * np.log(0.4 / m))
    changes = np.abs(np.diff(density))
    np.testing.assert_allclose(changes[:-1] / changes[1:], 2.0, rtol=0.25)


@one_precision
@pytest.mark.parametrize("fired", [True, False])
def test_cost_is_finite_and_convex(precision, fired):
    """However far off a parameter is: Gauss-Newton takes the first two derivatives."""
    spikes = 0.5 * np.arange(1, 201 if fired else 2)
    data = bs.io.Recording(dt=0.5, stimulus=np.zeros(200), spike_times=spikes)
    terms = spike_log_likelihood(EscapeLIF(t_ref=0.0), data)
    terms = terms._replace(output=jnp.linspace(-200.0, 200.0, 200, dtype=terms.output.dtype))
    for x, sign in zip(
        jax.jit(lambda x: terms._replace(output=x).derivatives())(terms.output), (1, -1 if fired else 1, 1), strict=True
    ):
        assert bool(jnp.isfinite(x).all())
        assert float((sign * x)[1:].min()) >= -1e-6
    if fired:  # to full precision where a spike was unlikely, and where it was certain
        h = 0.5 * np.exp(np.asarray(terms.output, float))
        near = (h > 1e-12) & (h < 30)
        exact = -np.log(-np.expm1(-h[near]))
        np.testing.assert_allclose(terms.cost(terms.output)[near], exact, rtol=2e-5)


@pytest.mark.slow
def test_recovers_the_parameters_of_a_simulation(x64):
    """Spikes drawn step by step from the hazard of a leaky neuron, fitted from starts all over the bounds."""
    truth = dict(tau=15.0, v_th=-53.0, delta_u=2.0)
    dt, n, rng = 0.5, 60_000, np.random.default_rng(3)
    current = 260.0 + 150.0 * np.convolve(rng.normal(size=n + 19), np.full(20, 20**-0.5), "valid")
    spikes, v, held = [], -70.0, 0
    for k in range(n):
        if held:
            held -= 1
            continue
        target = -70.0 + truth["tau"] / 250.0 * current[k]
        v = target + (v - target) * np.exp(-dt / truth["tau"])
        if rng.random() < -np.expm1(-dt * np.exp((v - truth["v_th"]) / truth["delta_u"])):
            spikes.append(dt * (k + 1))
            v, held = -70.0, 4
    data = bs.io.Recording(dt=dt, stimulus=current, spike_times=np.asarray(spikes))
    free = dict(tau=(5.0, 60.0), v_th=(-65.0, -40.0), delta_u=(0.5, 10.0))
    fit = bs.fit(EscapeLIF(), data, free=free, loss=spike_log_likelihood, starts=4, steps=12, progress=False)
    for name, value in truth.items():
        found = fit.params[name]
        half = 0.5 * (found.high - found.low)
        assert abs(found.value - value) < 2 * half, f"{name}: {found}"
        assert half < 0.2 * abs(value)


def test_the_auditory_receptor_delays_smoothly(x64):
    """A whole number of steps is a shift; in between, values and slopes join."""
    level = jnp.asarray(70.0 + 10 * np.sin(np.arange(60) / 4.0))
    delayed = lambda steps: AuditoryReceptor(delay=steps * 0.5).drive(level, 0.5)
    np.testing.assert_allclose(delayed(3.0)[3:], delayed(0.0)[:-3], rtol=1e-12)
    np.testing.assert_allclose(delayed(3.0)[:3], delayed(0.0)[0], rtol=1e-12)
    slope = jax.jit(jax.jacfwd(delayed))
    np.testing.assert_allclose(slope(3.0 - 1e-9), slope(3.0), atol=1e-7)
    between = 1 / (1 + np.exp(-(70.0 + 10 * np.sin((np.arange(60) - 3.4) / 4.0) - 83.0) / 3.0))
    np.testing.assert_allclose(delayed(3.4)[6:], between[6:], rtol=2e-2)


def test_many_parameters_at_once(x64):
    """Vmapped over parameters, as a fit runs it, it is what it is one by one, and those share a program."""
    data, traces = sound(duration=100.0), []

    def loss(r):
        traces.append(r)
        return spike_log_likelihood(AuditoryReceptor(r=r), data).mean()

    rs, one = jnp.array([20.0, 50.0, 100.0]), jax.jit(loss)
    single = jnp.stack([one(r) for r in rs])
    assert len(traces) == 1
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(rs), single, rtol=1e-10)


@pytest.mark.parametrize(
    "model, data, bin, said",
    [
        (lambda: bs.LIF(), recording, None, "needs a neuron with a hazard, got LIF; EscapeLIF or GIF have one"),
        (lambda: 3.0, recording, None, "needs a neuron with a hazard, got float"),
        (AuditoryReceptor, recording, None, "takes a stimulus in dB, the recording's is in pA"),
        (EscapeLIF, lambda: bs.io.Recording(dt=0.5, stimulus=np.zeros(9)), None, "the recording has no spike times"),
        (
            EscapeLIF,
            lambda: bs.io.Recording(dt=0.5, duration=9.0, spike_times=np.array([1.0])),
            None,
            "has no stimulus",
        ),
        (EscapeLIF, recording, 0.7, "a whole number of steps of 0.5 ms"),
        (EscapeLIF, recording, 150.0, "a whole number of bins, got bins of 150 ms"),
        (EscapeLIF, recording, 200.0, "spikes in one bin of 200 ms"),
    ],
)
def test_errors(model, data, bin, said):
    with pytest.raises(ValueError, match=said):
        spike_log_likelihood(model(), data(), bin=bin)
