"""The numbers of solvers.md: errors of solvers on Hodgkin-Huxley and AdEx neurons (`python docs/solver_errors.py`)."""

import json
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import brainsim as bs

jax.config.update("jax_enable_x64", True)

PULSE = lambda t: jnp.where((t >= 5.0) & (t < 95.0), 10.0, 0.0)
AT = np.array([20.0, 50.0, 90.0])


def hodgkin_huxley(solver, dt):
    """Delay of the last of 7 spikes (ms) and relative errors of dV/dg_na at 20, 50 and 90 ms."""
    rows = np.round(AT / dt).astype(int) - 1
    start = np.arange(round(100.0 / dt)) * dt
    current = jnp.asarray(np.where((start > 5 - 1e-9) & (start < 95 - 1e-9), 10.0, 0.0)[:, None])

    def v(g_na):
        cell = bs.Population(1, bs.HH(g_na=g_na))
        return bs.simulate(cell, 100.0, dt, current, dict(v="v"), solver=solver)["v"][:, 0]

    trace, slope = jax.jvp(v, (jnp.asarray(120.0),), (jnp.asarray(1.0),))
    trace = np.asarray(trace)
    k = np.flatnonzero((trace[:-1] < 0) & (trace[1:] >= 0))
    return ((k + 1) + trace[k] / (trace[k] - trace[k + 1])) * dt, np.asarray(slope)[rows]


MODELS = {
    "AdEx": (bs.AdEx(), (600.0, 800.0, 1000.0)),
    "Izhikevich": (bs.Izhikevich(), (6.0, 10.0, 15.0)),
    "HH": (bs.HH(), (8.0, 10.0, 20.0)),
    "HHTraub": (bs.HHTraub(), (300.0, 500.0, 700.0)),
}


def spike_times(cell, current, dt, solver):
    run = bs.simulate(bs.Population(1, cell), 200.0, dt, current, dict(spikes=True), solver=solver)
    return np.asarray(bs.spike_times(run.spikes, dt)[0])


def models():
    """Spikes of every model at the step, by default and with a solver of second order, for three currents."""
    print("| model | solver | dt (ms) | spikes | last one late by (ms) |\n|---|---|---|---|---|")
    for name, (cell, currents) in MODELS.items():
        exact = []
        for current in currents:
            times = np.asarray(bs.simulate_events(cell, 200.0, current, max_spikes=60).times[0])
            exact.append(times[np.isfinite(times)])
        for solver in (bs.ExponentialEuler(), diffrax.Heun()):
            for dt in (0.1, 0.05, 0.025, 0.01):
                counts, late = [], []
                for times, current in zip(exact, currents, strict=True):
                    got = spike_times(cell, current, dt, solver)
                    common = min(len(times), len(got))
                    counts.append(f"{len(got)} of {len(times)}")
                    late.append(got[common - 1] - times[common - 1] if common else np.nan)
                numbers = ", ".join(f"{x:+.2f}" for x in late)
                print(f"| {name} | {type(solver).__name__} | {dt} | {', '.join(counts)} | {numbers} |")


def random_cells():
    """The 40 AdEx cells of nest_adex.json in tests/reference, against NEST at 0.01 ms: spikes lost, and how late."""
    cells = json.loads((Path(__file__).parent.parent / "tests/reference/nest_adex.json").read_text())["cells"]
    names = dict(c="C_m", g_l="g_L", e_l="E_L", v_t="V_th", delta_t="Delta_T", a="a", b="b", tau_w="tau_w",
                 v_reset="V_reset", v_peak="V_peak")  # fmt: skip
    adex = bs.AdEx(**{ours: np.array([x["params"][theirs] for x in cells]) for ours, theirs in names.items()})
    current = np.array([x["params"]["I_e"] for x in cells])
    print("| dt (ms) | cells that lose a spike | late by (ms): median, 90 %, most |\n|---|---|---|")
    for dt in (0.1, 0.05, 0.025, 0.01):
        run = bs.simulate(bs.Population(len(cells), adex), 200.0, dt, current, dict(spikes=True))
        got = bs.spike_times(run.spikes, dt)
        lost = sum(len(a) < len(x["spikes"]) for a, x in zip(got, cells, strict=True))
        late = np.concatenate([a[: len(x["spikes"])] - x["spikes"][: len(a)] for a, x in zip(got, cells, strict=True)])
        median, most = np.quantile(late, [0.5, 0.9]), np.abs(late).max()
        print(f"| {dt} | {lost} of {len(cells)} | {median[0]:.2f}, {median[1]:.2f}, {most:.2f} |")


def main():
    models()
    print()
    random_cells()
    print()
    print()
    exact = hodgkin_huxley(diffrax.Dopri8(), 0.005)
    print("| solver | order | dt (ms) | last spike late by (ms) | error of dV/dg_na at 20, 50, 90 ms |")
    print("|---|---|---|---|---|")
    for solver, order, dt in [
        (bs.ExponentialEuler(), 1, 0.1),
        (bs.ExponentialEuler(), 1, 0.025),
        (bs.ExponentialEuler(), 1, 0.005),
        (diffrax.Heun(), 2, 0.025),
        (diffrax.Tsit5(), 5, 0.025),
        (diffrax.Tsit5(), 5, 0.05),
    ]:
        times, slopes = hodgkin_huxley(solver, dt)
        late = f"{times[-1] - exact[0][-1]:.2g}" if len(times) == len(exact[0]) else f"{len(times)} spikes"
        errors = ", ".join(f"{100 * e:+.2g} %" for e in slopes / exact[1] - 1)
        print(f"| {type(solver).__name__} | {order} | {dt} | {late} | {errors} |")

    events = bs.simulate_events(bs.AdEx(), 200.0, 800.0, max_spikes=10)
    times = np.asarray(events.times[0, : int(events.count[0])])
    print(f"\nAdEx, 800 pA, 200 ms: exact events at {', '.join(f'{t:.3f}' for t in times)} ms\n")
    print("| solver | dt (ms) | spikes | last spike late by (ms) |\n|---|---|---|---|")
    for solver in (bs.ExponentialEuler(), diffrax.Euler(), diffrax.Heun(), diffrax.Tsit5()):
        for dt in (0.1, 0.025):
            cell = bs.Population(1, bs.AdEx())
            run = bs.simulate(cell, 200.0, dt, 800.0, dict(spikes=True), solver=solver)
            got = bs.spike_times(run.spikes, dt)[0]
            late = f"{got[-1] - times[-1]:.2f}" if len(got) == len(times) else ""
            print(f"| {type(solver).__name__} | {dt} | {len(got)} | {late} |")


if __name__ == "__main__":
    main()
