"""The networks of `_models.py` in NEST, one thread. Runs in an environment of its own (see `_peers.py`).

A run draws the network anew and prepares it, then times `nest.Run` alone. NEST has one integrator per neuron model:
an adaptive Runge-Kutta-Fehlberg for conductances (`iaf_cond_exp`), exact propagation for currents.
"""

import _worker
import numpy as np
from _models import Balanced, Brunel

with _worker.measured() as imports:
    import nest  # pyright: ignore[reportMissingImports]


def balanced(model: Balanced):
    """The cells of COBA, CUBA or COBA-HH, wired."""
    common = dict(C_m=model.c, E_L=model.e_l, I_e=model.current, tau_syn_ex=model.tau_e, tau_syn_in=model.tau_i)
    conductances = dict(g_L=model.g_l, E_ex=model.e_e, E_in=model.e_i)
    jump = dict(V_th=model.v_th, V_reset=model.v_reset, t_ref=model.t_ref)
    if model.g_na:
        channels = dict(
            g_Na=model.g_na, g_K=model.g_k, E_Na=model.e_na, E_K=model.e_k, V_T=model.v_t, Act_m=0.0, Inact_h=0.0,
            Act_n=0.0,
        )  # fmt: skip
        cells = nest.Create("hh_cond_exp_traub", model.neurons, common | conductances | channels)
    elif model.conductances:
        cells = nest.Create("iaf_cond_exp", model.neurons, common | conductances | jump)
    else:
        cells = nest.Create("iaf_psc_exp", model.neurons, common | jump | dict(tau_m=model.c / model.g_l))
    uniform, normal = nest.random.uniform(model.v_low, model.v_high), nest.random.normal(model.v_mean, model.v_sd)
    cells.V_m = normal if model.g_na else uniform
    for sources, weight in ((cells[: model.n_e], model.w_e), (cells[model.n_e :], -abs(model.w_i))):
        nest.Connect(
            sources,
            cells,
            dict(rule="pairwise_bernoulli", p=model.p),
            dict(synapse_model="static_synapse_hom_w_" + ("e" if weight > 0 else "i")),
        )
    return cells


def brunel(model: Brunel):
    cells = nest.Create(
        "iaf_psc_delta", model.neurons,
        dict(C_m=1.0, tau_m=model.tau, t_ref=model.t_ref, E_L=0.0, V_reset=model.v_reset, V_m=0.0, V_th=model.v_th),
    )  # fmt: skip
    drive = nest.Create("poisson_generator", params=dict(rate=model.drive))
    nest.Connect(drive, cells, syn_spec=dict(weight=model.j, delay=model.delay))
    for sources, k, sign in ((cells[: model.n_e], model.k_e, "e"), (cells[model.n_e :], model.k_i, "i")):
        nest.Connect(
            sources, cells, dict(rule="fixed_indegree", indegree=k), dict(synapse_model=f"static_synapse_hom_w_{sign}")
        )
    return cells


def main() -> None:
    args = _worker.arguments(__doc__, ["rkf45", "exact"], ["float64"], ["coba", "cuba", "coba_hh", "brunel"])
    _worker.pin(args.core)
    model = args.model
    nest.set_verbosity("M_ERROR")
    last = {}

    def build() -> None:
        nest.ResetKernel()
        nest.set(resolution=model.dt, local_num_threads=1, rng_seed=args.seed)
        weights = (model.j, -model.g * model.j) if isinstance(model, Brunel) else (model.w_e, -abs(model.w_i))
        for sign, weight in zip("ei", weights, strict=True):  # one weight for all synapses: NEST's leanest synapse
            nest.CopyModel(
                "static_synapse_hom_w", f"static_synapse_hom_w_{sign}", dict(weight=weight, delay=model.delay)
            )
        cells = brunel(model) if isinstance(model, Brunel) else balanced(model)
        last["recorder"] = nest.Create("spike_recorder")
        nest.Connect(cells, last["recorder"])
        nest.Prepare()

    def run() -> dict:
        build()
        with _worker.measured() as took:
            nest.Run(args.duration)
        nest.Cleanup()
        return took

    def statistics() -> dict:
        events = last["recorder"].events
        return _worker.population_statistics(model, events["times"], events["senders"] - 1, args.duration)

    with _worker.measured() as built:
        build()
    nest.Cleanup()
    about = dict(
        versions=dict(nest=nest.__version__, numpy=np.__version__),
        **_worker.phases(loading=imports, build=built),
    )
    _worker.serve(about, run, statistics)


if __name__ == "__main__":
    main()
