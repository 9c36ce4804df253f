# %% [markdown]
# # Fit a neuron to a recording
#
# An adaptive exponential neuron is fitted to a voltage trace. The recording is made by simulation, with noise, so that
# we know what the fit should find. A recording of yours is one line: `cell = bs.io.read_recording("cell_07.nwb")`.

# %%
from pathlib import Path

import jax
import numpy as np

import brainsim as bs

# %% [markdown]
# ## The recording
# A fluctuating current, 600 ms at dt 0.1 ms. Sample k of a recording is at k dt and row k of a run at (k + 1) dt, so
# the trace is shifted by one sample.

# %%
rng = np.random.default_rng(1)
levels = rng.normal(700.0, 350.0, 60)
current = np.repeat(levels, 100)  # pA, a new level every 10 ms

truth = bs.AdEx(c=200.0, g_l=12.0, tau_w=120.0, b=60.0)
run = bs.simulate(bs.Population(1, truth), 600.0, dt=0.1, inputs=current[:, None], record=dict(spikes=True, v="v"))
voltage = np.append(truth.e_l, run["v"][:-1, 0]) + rng.normal(0.0, 0.2, current.size)
cell = bs.io.Recording(
    dt=0.1,
    stimulus=current,
    voltage=voltage,
    spike_times=bs.spike_times(run.spikes, run.dt)[0],
    source="simulated AdEx",
)
print(cell)

# %% [markdown]
# Recordings go to and from files; the unit is part of a column's name.

# %%
bs.io.write_recording(cell, "cell.csv", overwrite=True)
print(*Path("cell.csv").read_text().splitlines()[:4], sep="\n")
cell = bs.io.read_recording("cell.csv")

# %% [markdown]
# ## The fit
# Four free parameters with bounds in their own units, 8 starts at once. The last fifth of the recording is not shown to
# the fit; its loss is the one to believe. The loss is in mV² and the noise of 0.2 mV leaves 0.04.

# %%
free = dict(c=(100.0, 400.0), g_l=(3.0, 60.0), tau_w=(30.0, 300.0), b=(10.0, 200.0))
fit = bs.fit(bs.AdEx(), cell, free=free, starts=8, key=jax.random.key(0), progress=False)
print(fit)
fit.plot().savefig("fit.png")

# %% [markdown]
# ## What it found

# %%
for name, found in fit.params.items():
    print(f"{name:6} {float(found.value):8.2f} {found.unit:4} true {float(getattr(truth, name)):8.2f}")
    assert abs(float(found.value) / float(getattr(truth, name)) - 1) < 0.1

# %% [markdown]
# With real data there is no truth to compare with. Look at the held-out loss, at the intervals, and at where the other
# starts ended: if they found the same loss elsewhere, the recording does not determine the parameters.

# %%
ended = fit.history[:, -1]
for k in np.argsort(ended)[:3]:
    print(f"start {k}: loss {ended[k]:.4f},", ", ".join(f"{name} {x[k]:.1f}" for name, x in fit.finals.items()))
