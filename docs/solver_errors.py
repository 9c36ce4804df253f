"""The numbers of solvers.md: errors of solvers on Hodgkin-Huxley and AdEx neurons (`python docs/solver_errors.py`)."""

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


def main():
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
