"""The code that the page shows. Each piece runs as it stands after the imports (tests run them)."""

NETWORK = """
cell = bs.LIF(c=200.0, tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0)
receptors = dict(exc=bs.ExpConductance(tau=5.0, e_rev=0.0), inh=bs.ExpConductance(tau=10.0, e_rev=-80.0))
start = dict(v=lambda key, n: jax.random.uniform(key, (n,), minval=-60.0, maxval=-50.0))
wire = lambda pre, post, w: bs.Projection(pre, post, bs.FixedProbability(0.02, weight=w), delay=0.1)

net = bs.Network(
    dict(E=bs.Population(3200, cell, receptors, start), I=bs.Population(800, cell, receptors, start)),
    dict(EE=wire("E", "E.exc", 6.0), EI=wire("E", "I.exc", 6.0),
         IE=wire("I", "E.inh", 67.0), II=wire("I", "I.inh", 67.0)),
    key=jax.random.key(1))
run = bs.simulate(net, 1000.0, dt=0.1, inputs=dict(E=200.0, I=200.0),
                  record=dict(spikes=["E", "I"]), key=jax.random.key(2))
"""

SWEEP = """
def mean_rate(w_exc, w_inh):
    names = {"EE.connect.weight": w_exc, "EI.connect.weight": w_exc,
             "IE.connect.weight": w_inh, "II.connect.weight": w_inh}
    run = bs.simulate(bs.with_params(net, names), 200.0, dt=0.1, inputs=dict(E=200.0, I=200.0),
                      record=dict(spikes=["E", "I"]), key=jax.random.key(2))
    spikes = jnp.concatenate([run.spikes["E"], run.spikes["I"]], axis=1)
    return bs.rate(spikes[500:], 0.1).mean()

rates = bs.sweep(mean_rate, w_exc=bs.Axis(jnp.linspace(2.0, 7.5, 12), "nS"),
                 w_inh=bs.Axis(jnp.linspace(22.0, 121.0, 12), "nS"), units=dict(result="Hz"))
rates.result.plot()
"""

FIT = """
recording = bs.io.Recording(dt=0.05, stimulus=level, stimulus_unit="dB", spike_times=spikes)
fit = bs.fit(bs.neurons.AuditoryReceptor(), recording, free=FREE, dt=0.25, split=8000.0, starts=32, steps=12,
             loss=bs.losses.spike_log_likelihood)

terms = bs.losses.spike_log_likelihood(fit.model, recording.resample(0.25), bin=1.0)
probability = 1 - np.exp(-np.exp(terms.output))  # of a spike in each ms, given what came before it
spiked = terms.weight
bits = bs.observables.bits_per_spike(probability[8000:], spiked[8000:], baseline=spiked[:8000].mean())
"""
