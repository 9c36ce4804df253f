"""COBA and CUBA in BrainPy 2.x on one core. Runs in an environment of its own (see `_peers.py`).

The form that BrainPy's documentation gives for this network and that was its fastest here: event-driven CSR operators
(numba), synaptic variables merged on the postsynaptic side, one compiled loop over all steps that returns all spikes.
Compilation is not timed. The state is put back before every run; what is compiled stays.
"""

import importlib.metadata

import _worker
import numpy as np
from _models import Balanced

METHODS = ["exponential_euler"]


def bernoulli(rng: np.random.Generator, n_pre: int, n_post: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a random matrix: indices and row pointers. (BrainPy's own rule takes a minute for 40,000 neurons.)"""
    degrees = rng.binomial(n_post, p, n_pre)
    indices = np.concatenate([np.sort(rng.choice(n_post, k, replace=False, shuffle=False)) for k in degrees])
    return indices.astype(np.int32), np.concatenate([[0], np.cumsum(degrees)]).astype(np.int32)


def main() -> None:
    args = _worker.arguments(__doc__, METHODS, ["float32"], ["coba", "cuba"])
    _worker.pin(args.core)
    model: Balanced = args.model
    with _worker.measured() as imports:
        import brainpy as bp  # pyright: ignore[reportMissingImports]
        import brainpy.math as bm  # pyright: ignore[reportMissingImports]
        import jax

    bm.set_platform("cpu")
    bm.set_dt(model.dt)
    rng = np.random.default_rng(args.seed)

    class Net(bp.DynSysGroup):
        def __init__(self):
            super().__init__()
            n = model.neurons
            start = bm.asarray(rng.uniform(model.v_low, model.v_high, n).astype(np.float32))
            self.cells = bp.dyn.LifRef(
                n, V_rest=model.e_l, V_th=model.v_th, V_reset=model.v_reset, tau=model.c / model.g_l,
                R=1 / model.g_l, tau_ref=model.t_ref, V_initializer=lambda shape: start,
            )  # fmt: skip
            self.delay = bp.VarDelay(self.cells.spike, entries={"now": None})
            self.exc = self.projection(model.n_e, model.w_e, model.tau_e, model.e_e)
            self.inh = self.projection(model.n_i, model.w_i, model.tau_i, model.e_i)

        def projection(self, n_pre, weight, tau, e_rev):
            indices, indptr = bernoulli(rng, n_pre, model.neurons, model.p)
            connected = bp.conn.CSRConn(indices, indptr)(n_pre, model.neurons)
            return bp.dyn.HalfProjAlignPostMg(
                comm=bp.dnn.EventCSRLinear(connected, weight),
                syn=bp.dyn.Expon.desc(size=model.neurons, tau=tau),
                out=bp.dyn.COBA.desc(E=e_rev) if model.conductances else bp.dyn.CUBA.desc(),
                post=self.cells,
            )

        def update(self, current):
            spikes = self.delay.at("now")
            self.exc(spikes[: model.n_e])
            self.inh(spikes[model.n_e :])
            self.delay(self.cells(current))
            return self.cells.spike.value

    with _worker.measured() as build:
        net = Net()
    steps = bm.arange(round(args.duration / model.dt))
    loop = bm.jit(lambda: bm.for_loop(lambda i: net.step_run(i, model.current), steps))
    last = {}

    def run() -> dict:
        last.clear()
        bp.reset_state(net)
        with _worker.measured() as took:
            last["spikes"] = jax.block_until_ready(bm.as_jax(loop()))
        return took

    def statistics() -> dict:
        fired, neurons = np.nonzero(np.asarray(last["spikes"]))
        return _worker.population_statistics(model, (fired + 1) * model.dt, neurons, args.duration)

    first = run()
    about = dict(
        versions={
            name: importlib.metadata.version(name) for name in ("brainpy", "brainevent", "jax", "numba", "numpy")
        },
        **_worker.phases(loading=imports, build=build, first=first),
        raster_dtype=str(last["spikes"].dtype),
    )
    _worker.serve(about, run, statistics)


if __name__ == "__main__":
    main()
