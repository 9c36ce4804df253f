"""NEST's rows of the table of models in solvers.md (`python docs/nest_errors.py`, where NEST is: PyPI, nest-simulator).

Spikes of single cells at customary steps, against NEST's own at 0.001 ms: a stamp is the end of a step, and so late by
up to one. For a Hodgkin-Huxley cell NEST counts the maximum of the action potential.
"""

import nest
import numpy as np

ADEX = dict(C_m=281.0, g_L=30.0, E_L=-70.6, V_th=-50.4, Delta_T=2.0, a=4.0, b=80.5, tau_w=144.0, V_reset=-70.6,
            V_peak=0.0, t_ref=0.0, V_m=-70.6, w=0.0)  # fmt: skip
TRAUB = dict(C_m=200.0, g_L=10.0, g_Na=20000.0, g_K=6000.0, E_L=-60.0, E_Na=50.0, E_K=-90.0, V_T=-63.0, t_ref=2.0,
             V_m=-60.0)  # fmt: skip
CELLS = {
    "AdEx": ("aeif_psc_exp", ADEX, (600.0, 800.0, 1000.0)),
    "HHTraub": ("hh_cond_exp_traub", TRAUB, (300.0, 500.0, 700.0)),
}


def spikes(model, params, current, dt):
    nest.ResetKernel()
    nest.resolution = dt
    cell = nest.Create(model, params={**params, "I_e": current})
    recorder = nest.Create("spike_recorder")
    nest.Connect(cell, recorder)
    nest.Simulate(200.0)
    return np.asarray(recorder.events["times"])


if __name__ == "__main__":
    nest.verbosity = nest.VerbosityLevel.ERROR
    for name, (model, params, currents) in CELLS.items():
        for dt in (0.1, 0.05, 0.025):
            counts, late = [], []
            for current in currents:
                exact, got = spikes(model, params, current, 0.001), spikes(model, params, current, dt)
                common = min(len(exact), len(got))
                counts.append(f"{len(got)} of {len(exact)}")
                late.append(got[common - 1] - exact[common - 1])
            print(
                f"| {name} | NEST's `{model}` | {dt} | {', '.join(counts)} | {', '.join(f'{x:+.2f}' for x in late)} |"
            )
