# %% [markdown]
# # A network of excitatory and inhibitory neurons
#
# The conductance-based network of Vogels and Abbott (2005, doi:10.1523/JNEUROSCI.3508-05.2005), with 4,000 neurons:
# build it, run it, look at it, and ask how its rate depends on its weights.

# %%
import time

import equinox as eqx
import jax
import numpy as np
from matplotlib.figure import Figure

import brainsim as bs
from brainsim.plotting import LIGHT, heat_map, raster, theme

# %% [markdown]
# ## Build it
# A neuron has receptors, a projection goes from a population to a receptor. Weights are peak conductances in nS, delays
# are in ms. The key of the network draws its wiring. Potentials start anywhere between rest and threshold.


# %%
def network(n_e, n_i, key):
    """Every neuron hears 64 excitatory and 16 inhibitory ones on average."""
    cell = bs.LIF(c=200.0, tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0)
    receptors = dict(exc=bs.ExpConductance(tau=5.0, e_rev=0.0), inh=bs.ExpConductance(tau=10.0, e_rev=-80.0))
    start = dict(v=lambda key, n: jax.random.uniform(key, (n,), minval=-60.0, maxval=-50.0))
    wire = lambda pre, post, weight: bs.Projection(
        pre, post, bs.FixedProbability(80.0 / (n_e + n_i), weight=weight), delay=0.1
    )
    return bs.Network(
        populations=dict(E=bs.Population(n_e, cell, receptors, start), I=bs.Population(n_i, cell, receptors, start)),
        projections=dict(
            EE=wire("E", "E.exc", 6.0),
            EI=wire("E", "I.exc", 6.0),
            IE=wire("I", "E.inh", 67.0),
            II=wire("I", "I.inh", 67.0),
        ),
        key=key,
    )


net = network(3200, 800, jax.random.key(0))
print(f"{sum(p.connect.indices.size for p in net.projections.values()):,} synapses")

# %% [markdown]
# ## Run it
# The first call compiles. Spikes are stored as booleans: a float for every neuron and step would take four times the
# memory, and is needed only for gradients.


# %%
@eqx.filter_jit
def run(net, duration, key):
    record = dict(spikes=bs.Record(["E", "I"], dtype=bool))
    return bs.simulate(net, duration, dt=0.1, inputs=dict(E=200.0, I=200.0), record=record, key=key)


for what in ("compiled and ran", "ran"):
    began = time.perf_counter()
    result = jax.block_until_ready(run(net, 500.0, jax.random.key(1)))
    print(f"{what} in {time.perf_counter() - began:.2f} s")

for name, spikes in result.spikes.items():
    times = bs.spike_times(spikes, 0.1)
    print(f"{name}: {bs.rate(spikes, 0.1).mean():.1f} Hz, CV of intervals {bs.cv_isi(times, start=100.0):.2f}")

# %%
with theme():
    figure = Figure(figsize=(8, 5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for name, shift, color in (("E", 0, LIGHT.first), ("I", 3200, LIGHT.second)):
        spikes = np.asarray(result.spikes[name])
        steps, neurons = np.nonzero(spikes[:, ::10])
        raster(top, 0.1 * (steps + 1), 10 * neurons + shift, color=color, size=2.0)
        population = spikes.reshape(-1, 50, spikes.shape[1]).mean(axis=(1, 2)) / 0.1e-3  # bins of 5 ms
        bottom.plot(5.0 * np.arange(len(population)) + 2.5, population, color=color, label=name)
    top.set_ylabel("neuron (one in ten)")
    bottom.set_ylabel("rate (Hz)")
    bottom.set_xlabel("time (ms)")
    bottom.legend()
    figure.savefig("network.png")

# %% [markdown]
# ## Sweep it
# How does the mean rate depend on the two weights? The network is built once; inside the function only its weights are
# replaced, so all points share the wiring. A smaller network keeps this short.

# %%
small = network(640, 160, jax.random.key(2))


def weighted(w_exc, w_inh):
    weights = dict(EE=w_exc, EI=w_exc, IE=w_inh, II=w_inh)
    return bs.with_params(small, {f"{name}.connect.weight": w for name, w in weights.items()})


def mean_rate(w_exc, w_inh):
    spikes = run(weighted(w_exc, w_inh), 150.0, jax.random.key(3)).spikes
    return bs.rate(spikes["E"][500:], 0.1).mean()


map_ = bs.sweep(
    mean_rate,
    w_exc=bs.Axis(np.linspace(2.0, 8.0, 6), "nS"),
    w_inh=bs.Axis(np.linspace(20.0, 120.0, 6), "nS"),
    units=dict(result="Hz"),
    progress=False,
)
with theme():
    figure = Figure(figsize=(5, 4), layout="constrained")
    ax = figure.subplots()
    heat_map(ax, map_.w_exc.values, map_.w_inh.values, map_.result.values, label="rate of E (Hz)")
    ax.set_xlabel("excitatory weight (nS)")
    ax.set_ylabel("inhibitory weight (nS)")
    figure.savefig("sweep.png")

# %% [markdown]
# ## Differentiate it
# The same rate has a gradient with respect to every parameter of the network. It goes through spikes, so it uses the
# *surrogate* of the neurons, a smooth slope in place of the step: trust its sign more than its size. Spikes are
# recorded as floats now; booleans have no gradient.
#
# In a recurrent network small changes grow with time, and so does the gradient. The default surrogate, which only
# neurons very close to threshold see, keeps it in bounds; see "Surrogates" in the documentation of the models.


# %%
@eqx.filter_grad
def gradient(net):
    result = bs.simulate(
        net, 50.0, dt=0.1, inputs=dict(E=200.0, I=200.0), record=dict(spikes=["E"]), key=jax.random.key(3)
    )
    return bs.rate(result.spikes["E"], 0.1).mean()


slopes = gradient(small)
for name, projection in slopes.projections.items():
    print(f"d rate / d weight of {name}: {float(projection.connect.weight):+.3f} Hz/nS")
assert slopes.projections["EE"].connect.weight > 0 > slopes.projections["IE"].connect.weight
