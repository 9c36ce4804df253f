"""The networks of `_models.py` in brainsim, as a user would write them."""

import importlib.metadata
from typing import Any

import _worker
from _models import Balanced, Brunel

METHODS = ["default", "exponential_euler", "euler", "exact"]


def network(model: Balanced | Brunel, seed: int) -> Any:
    """Excitatory cells E and inhibitory cells I, wired at random."""
    import jax

    import brainsim as bs

    if isinstance(model, Brunel):
        cell = bs.LIF(c=1.0, tau=model.tau, v_rest=0.0, v_th=model.v_th, v_reset=model.v_reset, t_ref=model.t_ref)
        receptors: dict = dict(exc=bs.DeltaCurrent(), inh=bs.DeltaCurrent())
        start: dict = {}
        wiring: dict = dict(
            exc=bs.FixedInDegree(model.k_e, weight=model.j, multapses=True),
            inh=bs.FixedInDegree(model.k_i, weight=-model.g * model.j, multapses=True),
        )
    else:
        cell = bs.LIF(
            c=model.c, tau=model.c / model.g_l, v_rest=model.e_l, v_th=model.v_th, v_reset=model.v_reset,
            t_ref=model.t_ref,
        )  # fmt: skip
        if model.conductances:
            receptors = dict(
                exc=bs.ExpConductance(tau=model.tau_e, e_rev=model.e_e),
                inh=bs.ExpConductance(tau=model.tau_i, e_rev=model.e_i),
            )
        else:
            receptors = dict(exc=bs.ExpCurrent(tau=model.tau_e), inh=bs.ExpCurrent(tau=model.tau_i))
        low, high = model.v_low, model.v_high
        start = dict(v=lambda key, n: jax.random.uniform(key, (n,), minval=low, maxval=high))
        weights = dict(exc=model.w_e, inh=model.w_i)
        wiring = {name: bs.FixedProbability(model.p, weight=w) for name, w in weights.items()}
    return bs.Network(
        populations=dict(
            E=bs.Population(model.n_e, cell, receptors, initial=start),
            I=bs.Population(model.n_i, cell, receptors, initial=start),
        ),
        projections=[
            bs.Projection(pre, f"{post}.{receptor}", wiring[receptor], delay=model.delay)
            for pre, receptor in (("E", "exc"), ("I", "inh"))
            for post in ("E", "I")
        ],
        key=jax.random.key(seed),
    )


def drive(model: Balanced | Brunel, seed: int) -> dict[str, Any]:
    """The inputs of the network: a constant current, or Poisson spikes."""
    import jax

    import brainsim as bs

    if isinstance(model, Balanced):
        return dict.fromkeys("EI", model.current)
    keys = jax.random.split(jax.random.key(seed + 1), 2)
    return {
        f"{name}.exc": bs.Poisson(model.drive, weight=model.j, key=key) for name, key in zip("EI", keys, strict=True)
    }


def statistics(model: Balanced | Brunel, spikes: dict, duration: float) -> dict:
    """Rates and irregularity of spike rasters by population."""
    import numpy as np

    found = {}
    for name, raster in spikes.items():
        steps, neurons = np.nonzero(np.asarray(raster))
        found[name] = _worker.spike_statistics((steps + 1) * model.dt, neurons, raster.shape[1], duration)
    return found


def main() -> None:
    args = _worker.arguments(__doc__, METHODS, ["float32", "float64"])
    _worker.pin(args.core)  # before JAX, which starts as many threads as it finds cores
    model = args.model

    with _worker.measured() as imports:
        import diffrax
        import jax
        import numpy as np

        import brainsim as bs

    jax.config.update("jax_enable_x64", args.dtype == "float64")
    solvers = dict(exponential_euler=bs.ExponentialEuler, euler=diffrax.Euler, exact=bs.Exact, default=lambda: None)
    solver = solvers[args.method]()
    with _worker.measured() as build:
        net = network(model, args.seed)
    inputs = drive(model, args.seed)
    record = dict(spikes=bs.Record(["E", "I"], dtype=bool))
    key = jax.random.key(args.seed)
    last = {}

    def run() -> dict:
        last.clear()  # the raster of the last run
        with _worker.measured() as took:
            result = bs.simulate(net, args.duration, model.dt, inputs, record, solver=solver, key=key)
            last["spikes"] = jax.block_until_ready(result.spikes)
        return took

    first = run()
    about = dict(
        versions=dict(brainsim=importlib.metadata.version("brainsim"), jax=jax.__version__, numpy=np.__version__),
        kernels=bs.ops.backend(),
        import_s=round(imports["seconds"], 3),
        build_s=round(build["seconds"], 3),
        first_s=round(first["seconds"], 3),
    )
    _worker.serve(about, run, lambda: statistics(model, last["spikes"], args.duration))


if __name__ == "__main__":
    main()
