"""Spike times of 40 random AdEx cells in NEST: writes nest_adex.json. Run with NEST 3.10.0 (PyPI: nest-simulator).

The cells are `aeif_psc_exp` from rest with a constant current and without a refractory period, which NEST counts in
whole steps. Parameters are drawn uniformly around those of Brette & Gerstner (2005), the slope factor down to 0.8 mV
and the peak up to 20 mV, so that the upstroke diverges as steeply as NEST allows: (V_peak - V_th) / Delta_T below
log(1e20).
"""

import json
from pathlib import Path

import nest
import numpy as np

DT, DURATION, CELLS = 0.01, 200.0, 40  # ms, ms
RANGES = dict(
    C_m=(150.0, 350.0),
    g_L=(8.0, 30.0),
    E_L=(-75.0, -65.0),
    V_th=(-54.0, -46.0),
    Delta_T=(0.8, 3.0),
    a=(-2.0, 6.0),
    b=(0.0, 120.0),
    tau_w=(40.0, 200.0),
    V_reset=(-72.0, -55.0),
    V_peak=(0.0, 20.0),
)
DRIVE = (1.3, 3.0)  # times the current at which a cell without adaptation starts to fire


def draw(rng):
    while True:
        p = {name: round(rng.uniform(*span), 3) for name, span in RANGES.items()}
        if (p["V_peak"] - p["V_th"]) / p["Delta_T"] < np.log(1e20):
            rheobase = (p["g_L"] + max(p["a"], 0)) * (p["V_th"] - p["E_L"] - p["Delta_T"])
            return {**p, "I_e": round(rheobase * rng.uniform(*DRIVE), 1)}


def spikes(p):
    nest.ResetKernel()
    nest.resolution = DT
    nest.local_num_threads = 1
    cell = nest.Create("aeif_psc_exp", params={**p, "V_m": p["E_L"], "w": 0.0, "t_ref": 0.0, "gsl_error_tol": 1e-9})
    recorder = nest.Create("spike_recorder")
    nest.Connect(cell, recorder)
    nest.Simulate(DURATION)
    return [round(float(t), 2) for t in recorder.events["times"]]


if __name__ == "__main__":
    nest.verbosity = nest.VerbosityLevel.ERROR
    rng = np.random.default_rng(1)
    cells = [draw(rng) for _ in range(CELLS)]
    runs = [dict(params=p, spikes=spikes(p)) for p in cells]
    found = dict(model="aeif_psc_exp", nest=nest.__version__, dt=DT, duration=DURATION, cells=runs)
    Path(__file__).with_suffix(".json").write_text(json.dumps(found) + "\n")
