# %% [markdown]
# # A first neuron
#
# A leaky integrate-and-fire neuron: run it, look at it, vary its input, differentiate its spike times.
# Run this file with `python tutorials/01_first_neuron.py`, or cell by cell in an editor that knows `# %%`.

# %%
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import brainsim as bs
from brainsim.plotting import LIGHT, theme

jax.config.update("jax_enable_x64", True)  # float64: we will compare with closed forms

# %% [markdown]
# ## Run it
# `bs.LIF()` is a model: its parameters, and what its flow, threshold and reset are. A `Population` is n of them.

# %%
lif = bs.LIF(c=250.0, tau=10.0, v_rest=-70.0, v_th=-55.0, v_reset=-70.0, t_ref=2.0)
print(bs.units(lif))

cell = bs.Population(1, lif)
run = bs.simulate(cell, 60.0, dt=0.1, inputs=1000.0, record=dict(spikes=True, v="v"))
times = bs.spike_times(run.spikes, run.dt)[0]
print("spikes at", times, "ms")

# %% [markdown]
# A spike carries the time of the end of its step, so on this grid the first one is at 4.8 ms. The exact time is
# tau log(40 / 25) = 4.70004 ms: a current of 1000 pA pulls the potential 40 mV up, and the threshold is at 15.
#
# ## A current that changes
# Inputs are numbers, arrays with a row for every step, or functions of time in ms.

# %%
wave = bs.simulate(
    cell, 60.0, dt=0.1, inputs=lambda t: 500.0 + 400.0 * jnp.sin(t / 4.0), record=dict(spikes=True, v="v")
)

with theme():
    figure = Figure(figsize=(8, 4), layout="constrained")
    for ax, result, title in zip(figure.subplots(2, 1, sharex=True), (run, wave), ("constant", "wave"), strict=True):
        ax.plot(result.times("v"), result["v"][:, 0], color=LIGHT.first)
        ax.vlines(bs.spike_times(result.spikes, result.dt)[0], -52.0, -45.0, color=LIGHT.second)
        ax.set_title(title)
        ax.set_ylabel("v (mV)")
    ax.set_xlabel("time (ms)")
    figure.savefig("first_neuron.png")

# %% [markdown]
# ## Vary it
# `simulate` is a pure function, so `jax.vmap` runs it for many inputs at once. `bs.sweep` does that for named axes.


# %%
def rate(current, tau):
    population = bs.Population(1, bs.with_params(lif, tau=tau))
    spikes = bs.simulate(population, 500.0, dt=0.1, inputs=current, record=dict(spikes=True)).spikes
    return bs.rate(spikes, 0.1)[0]


curve = bs.sweep(
    rate,
    current=bs.Axis(np.linspace(200.0, 1000.0, 17), "pA"),
    tau=bs.Axis([5.0, 10.0, 20.0], "ms"),
    units=dict(result="Hz"),
    progress=False,
)
print(curve.result.sel(tau=10.0).values)

# %% [markdown]
# ## Exact spike times, and their derivative
# `simulate_events` uses the same neuron without a grid: it integrates to the threshold, resets, and goes on. What it
# returns can be differentiated. The third spike of this neuron, as a function of the current I, is at
# 3 tau log(u / (u - 15)) + 2 t_ref with u = tau I / c.


# %%
def third(current):
    events = bs.simulate_events(lif, 30.0, current, max_spikes=4, adjoint=diffrax.ForwardMode())
    return events.times[0, 2]


closed = lambda current: 30.0 * jnp.log(current / 25.0 / (current / 25.0 - 15.0)) + 4.0

time, slope = jax.jvp(third, (1000.0,), (1.0,))
print(f"third spike at {time:.9f} ms, closed form {closed(1000.0):.9f} ms")
print(f"derivative {slope:.9f} ms/pA, closed form {jax.grad(closed)(1000.0):.9f} ms/pA")
assert abs(time - closed(1000.0)) < 1e-8 and abs(slope - jax.grad(closed)(1000.0)) < 1e-8
