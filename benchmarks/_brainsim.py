"""The networks of `_models.py` in brainsim, as a user would write them."""

from typing import Any

import _worker
from _models import MODELS, Balanced, Brunel, Layers, Model

MOST_HZ = 60.0  # what lists of spikes have room for; more would be an error
METHODS = ["exponential_euler", "euler", "exact"]


def network(model: Model, seed: int) -> Any:
    """The network, wired at random."""
    write = {Balanced: balanced, Brunel: brunel, Layers: layers}
    populations, projections = write[type(model)](model)
    import jax

    import brainsim as bs

    return bs.Network(populations, projections, key=jax.random.key(seed))


def balanced(model: Balanced) -> tuple[dict, list]:
    import jax

    import brainsim as bs

    low, high = model.v_low, model.v_high
    if model.g_na:
        cell: Any = bs.HHTraub(
            c=model.c, g_l=model.g_l, e_l=model.e_l, g_na=model.g_na, e_na=model.e_na, g_k=model.g_k, e_k=model.e_k,
            v_t=model.v_t,
        )  # fmt: skip
        mean, sd = model.v_mean, model.v_sd
        start: dict = dict(v=lambda key, n: mean + sd * jax.random.normal(key, (n,)), m=0.0, h=0.0, n=0.0)
    else:
        cell = bs.LIF(
            c=model.c, tau=model.c / model.g_l, v_rest=model.e_l, v_th=model.v_th, v_reset=model.v_reset,
            t_ref=model.t_ref,
        )  # fmt: skip
        start = dict(v=lambda key, n: jax.random.uniform(key, (n,), minval=low, maxval=high))
    if model.conductances:
        receptors: dict = dict(
            exc=bs.ExpConductance(tau=model.tau_e, e_rev=model.e_e),
            inh=bs.ExpConductance(tau=model.tau_i, e_rev=model.e_i),
        )
    else:
        receptors = dict(exc=bs.ExpCurrent(tau=model.tau_e), inh=bs.ExpCurrent(tau=model.tau_i))
    wiring = dict(
        exc=bs.FixedProbability(model.p, weight=model.w_e), inh=bs.FixedProbability(model.p, weight=model.w_i)
    )
    sizes = dict(E=model.n_e, I=model.n_i)
    populations = {name: bs.Population(n, cell, receptors, initial=start) for name, n in sizes.items()}
    return populations, all_to_both(wiring, model.delay)


def brunel(model: Brunel) -> tuple[dict, list]:
    import brainsim as bs

    cell = bs.LIF(c=1.0, tau=model.tau, v_rest=0.0, v_th=model.v_th, v_reset=model.v_reset, t_ref=model.t_ref)
    receptors = dict(exc=bs.DeltaCurrent(), inh=bs.DeltaCurrent())
    wiring = dict(
        exc=bs.FixedInDegree(model.k_e, weight=model.j, multapses=True),
        inh=bs.FixedInDegree(model.k_i, weight=-model.g * model.j, multapses=True),
    )
    sizes = dict(E=model.n_e, I=model.n_i)
    return {name: bs.Population(n, cell, receptors) for name, n in sizes.items()}, all_to_both(wiring, model.delay)


def all_to_both(wiring: dict, delay: float) -> list:
    """E excites and I inhibits both populations."""
    import brainsim as bs

    return [
        bs.Projection(pre, f"{post}.{receptor}", wiring[receptor], delay=delay)
        for pre, receptor in (("E", "exc"), ("I", "inh"))
        for post in ("E", "I")
    ]


def layers(model: Layers) -> tuple[dict, list]:
    import brainsim as bs

    names = [f"L{layer}{kind}" for layer in model.layers for kind in "EI"]
    receptors = dict(exc=bs.ExpCurrent(tau=0.5), inh=bs.ExpCurrent(tau=0.5))
    effect = dict(E=("exc", model.w_e, model.delay_e), I=("inh", model.w_i, model.delay_i))
    projections = []
    for pre in names:
        receptor, weight, delay = effect[pre[-1]]
        rule = bs.FixedProbability(model.p, weight=bs.Normal(weight, 0.1 * abs(weight)))
        projections += [bs.Projection(pre, f"{post}.{receptor}", rule, delay=delay) for post in names]
    return {name: bs.Population(model.n, bs.LIF(), receptors) for name in names}, projections


def drive(model: Model, populations: list[str], seed: int) -> dict[str, Any]:
    """The inputs of the network: a constant current, or Poisson spikes."""
    import jax

    import brainsim as bs

    if not isinstance(model, Brunel):
        return dict.fromkeys(populations, model.current)
    keys = jax.random.split(jax.random.key(seed + 1), len(populations))
    return {
        f"{name}.exc": bs.Poisson(model.drive, weight=model.j, key=key)
        for name, key in zip(populations, keys, strict=True)
    }


def recorded(populations: list[str], most: int, duration: float) -> Any:
    """All spikes as lists, of populations of at most so many neurons: the record that `statistics` reads."""
    import brainsim as bs

    return bs.Record(populations, events=int(MOST_HZ * 1e-3 * duration * most) + 1000)


def statistics(model: Model, spikes: dict, duration: float) -> dict:
    """Rates and irregularity by population."""
    found = {}
    for name, listed in spikes.items():
        if listed.overflow:
            raise RuntimeError(f"{name}: {listed.count} spikes did not fit in a list of {listed.capacity}")
        times, neurons = listed.numpy()
        found[name] = _worker.spike_statistics(times, neurons, listed.n, duration)
    return found


def main() -> None:
    args = _worker.arguments(__doc__, METHODS, ["float32", "float64"], list(MODELS))
    _worker.pin(args.core)  # before JAX, which starts as many threads as it finds cores
    model = args.model

    with _worker.measured() as imports:
        import diffrax
        import jax
        import numpy as np

        import brainsim as bs

    jax.config.update("jax_enable_x64", args.dtype == "float64")
    solvers = dict(exponential_euler=bs.ExponentialEuler, euler=diffrax.Euler, exact=bs.Exact)
    solver = solvers[args.method]()
    with _worker.measured() as build:
        net = network(model, args.seed)
    inputs = drive(model, list(net.populations), args.seed)
    most = max(p.n for p in net.populations.values())
    record = dict(spikes=recorded(list(net.populations), most, args.duration))
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
        versions=dict(brainsim=bs.__version__, jax=jax.__version__, numpy=np.__version__),
        kernels=bs.ops.backend(),
        **_worker.phases(loading=imports, build=build, first=first),
    )
    _worker.serve(about, run, lambda: statistics(model, last["spikes"], args.duration))


if __name__ == "__main__":
    main()
