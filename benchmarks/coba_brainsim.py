"""COBA in brainsim, as a user would write it: the counterpart of `coba_brian2.py`."""

import argparse
import importlib.metadata
import time

import _worker
from _coba import COBA


def network(seed: int):
    """The network of `_coba.py`: excitatory cells E and inhibitory cells I, wired at random."""
    import jax

    import brainsim as bs

    cell = bs.LIF(
        c=COBA.c, tau=COBA.c / COBA.g_l, v_rest=COBA.e_l, v_th=COBA.v_th, v_reset=COBA.v_reset,
        t_ref=COBA.t_ref,
    )  # fmt: skip
    receptors = dict(
        exc=bs.ExpConductance(tau=COBA.tau_e, e_rev=COBA.e_e),
        inh=bs.ExpConductance(tau=COBA.tau_i, e_rev=COBA.e_i),
    )
    low, high = COBA.v_low, COBA.v_high
    start = dict(v=lambda key, n: jax.random.uniform(key, (n,), minval=low, maxval=high))
    wiring = dict(exc=bs.FixedProbability(COBA.p, weight=COBA.w_e), inh=bs.FixedProbability(COBA.p, weight=COBA.w_i))
    return bs.Network(
        populations=dict(
            E=bs.Population(COBA.n_e, cell, receptors, initial=start),
            I=bs.Population(COBA.n_i, cell, receptors, initial=start),
        ),
        projections=[
            bs.Projection(pre, f"{post}.{receptor}", wiring[receptor], delay=COBA.delay)
            for pre, receptor in (("E", "exc"), ("I", "inh"))
            for post in ("E", "I")
        ],
        key=jax.random.key(seed),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="exponential_euler", choices=["exponential_euler", "euler"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration", type=float, default=COBA.duration)
    args = parser.parse_args()
    _worker.pin(args.core)  # before JAX, which starts as many threads as it finds cores

    import diffrax
    import jax
    import numpy as np

    import brainsim as bs

    jax.config.update("jax_enable_x64", args.dtype == "float64")
    solver = dict(exponential_euler=bs.ExponentialEuler(), euler=diffrax.Euler())[args.method]
    net = network(args.seed)
    inputs = dict.fromkeys("EI", COBA.current)
    record = dict(spikes=bs.Record(["E", "I"], dtype=bool))
    key = jax.random.key(args.seed)
    last = {}

    def run() -> dict:
        start, processor_start = time.perf_counter(), time.process_time()
        result = bs.simulate(net, args.duration, COBA.dt, inputs, record, solver=solver, key=key)
        last["spikes"] = jax.block_until_ready(result.spikes)
        return dict(seconds=time.perf_counter() - start, processor_seconds=time.process_time() - processor_start)

    def statistics() -> dict:
        found = {}
        for name, raster in last["spikes"].items():
            steps, neurons = np.nonzero(np.asarray(raster))
            found[name] = _worker.spike_statistics((steps + 1) * COBA.dt, neurons, raster.shape[1], args.duration)
        return found

    first = run()
    versions = dict(brainsim=importlib.metadata.version("brainsim"), jax=jax.__version__, numpy=np.__version__)
    about = dict(versions=versions, kernels=bs.ops.backend(), compile_and_run_s=round(first["seconds"], 2))
    _worker.serve(about, run, statistics)


if __name__ == "__main__":
    main()
