"""The networks of `_models.py` in Brian2, C++ standalone. Runs in an environment of its own (see `_peers.py`).

Brian2 is used as its documentation advises for speed: one group of neurons with two slices, C++ standalone, one thread,
and its own default compiler flags (-O3 -ffast-math -fno-finite-math-only -march=native). Its `_last_run_time` is
processor time (brian2 issue 1718), so the generated program also reads a steady clock just before and after the run.
"""

import shutil
import tempfile
from pathlib import Path

import _worker
import numpy as np
from _models import Balanced, Brunel

with _worker.measured() as imports:
    import brian2 as b2  # pyright: ignore[reportMissingImports]

METHODS = ["exponential_euler", "euler", "rk4", "exact"]
CONDUCTANCES = """
dv/dt = (g_l * (e_l - v) + g_e * (e_e - v) + g_i * (e_i - v) + current) / c : volt (unless refractory)
dg_e/dt = -g_e / tau_e : siemens
dg_i/dt = -g_i / tau_i : siemens
"""
CHANNELS = """
dv/dt = (g_l * (e_l - v) + g_e * (e_e - v) + g_i * (e_i - v)
         - g_na * m**3 * h * (v - e_na) - g_k * n**4 * (v - e_k)) / c : volt
dm/dt = alpha_m * (1 - m) - beta_m * m : 1
dn/dt = alpha_n * (1 - n) - beta_n * n : 1
dh/dt = alpha_h * (1 - h) - beta_h * h : 1
dg_e/dt = -g_e / tau_e : siemens
dg_i/dt = -g_i / tau_i : siemens
alpha_m = 0.32 * 4 / exprel((13 - v / mV + v_t / mV) / 4) / ms : Hz
beta_m = 0.28 * 5 / exprel((v / mV - v_t / mV - 40) / 5) / ms : Hz
alpha_h = 0.128 * exp((17 - v / mV + v_t / mV) / 18) / ms : Hz
beta_h = 4 / (1 + exp((40 - v / mV + v_t / mV) / 5)) / ms : Hz
alpha_n = 0.032 * 5 / exprel((15 - v / mV + v_t / mV) / 5) / ms : Hz
beta_n = 0.5 * exp((10 - v / mV + v_t / mV) / 40) / ms : Hz
"""
CURRENTS = """
dv/dt = (g_l * (e_l - v) + g_e + g_i + current) / c : volt (unless refractory)
dg_e/dt = -g_e / tau_e : amp
dg_i/dt = -g_i / tau_i : amp
"""
UNITS = dict(
    c=b2.pF, g_l=b2.nS, e_l=b2.mV, v_th=b2.mV, v_reset=b2.mV, t_ref=b2.ms, tau_e=b2.ms, tau_i=b2.ms, e_e=b2.mV,
    e_i=b2.mV, current=b2.pA, delay=b2.ms, g_na=b2.nS, g_k=b2.nS, e_na=b2.mV, e_k=b2.mV, v_t=b2.mV,
)  # fmt: skip


def balanced(model: Balanced, method: str) -> tuple[b2.Network, b2.SpikeMonitor]:
    """COBA and CUBA."""
    namespace = {name: getattr(model, name) * unit for name, unit in UNITS.items()}
    weight_unit = b2.nS if model.conductances else b2.pA
    namespace |= dict(w_e=model.w_e * weight_unit, w_i=model.w_i * weight_unit)
    if model.g_na:  # a spike is an upward crossing
        equations, jump = CHANNELS, dict(refractory="v > v_th")
        start = f"({model.v_mean} + {model.v_sd} * randn()) * mV"
    else:
        equations = CONDUCTANCES if model.conductances else CURRENTS
        jump = dict(reset="v = v_reset", refractory=namespace["t_ref"])
        start = f"({model.v_low} + {model.v_high - model.v_low} * rand()) * mV"
    neurons = b2.NeuronGroup(model.neurons, equations, method=method, threshold="v > v_th", namespace=namespace, **jump)
    neurons.v = start
    network = b2.Network(neurons)
    for source, on_spike in ((neurons[: model.n_e], "g_e += w_e"), (neurons[model.n_e :], "g_i += w_i")):
        synapses = b2.Synapses(source, neurons, on_pre=on_spike, delay=namespace["delay"], namespace=namespace)
        synapses.connect(p=model.p)
        network.add(synapses)
    monitor = b2.SpikeMonitor(neurons)
    network.add(monitor)
    return network, monitor


def brunel(model: Brunel, method: str, seed: int) -> tuple[b2.Network, b2.SpikeMonitor]:
    namespace = dict(tau=model.tau * b2.ms, v_th=model.v_th * b2.mV, v_reset=model.v_reset * b2.mV)
    neurons = b2.NeuronGroup(
        model.neurons, "dv/dt = -v / tau : volt (unless refractory)", method=method, threshold="v > v_th",
        reset="v = v_reset", refractory=model.t_ref * b2.ms, namespace=namespace,
    )  # fmt: skip
    inputs = 1000  # so many independent processes per neuron, one binomial number per step
    poisson = b2.PoissonInput(neurons, "v", inputs, model.drive / inputs * b2.Hz, model.j * b2.mV)
    network = b2.Network(neurons, poisson)
    rng = np.random.default_rng(seed)
    for source, k, weight in (
        (neurons[: model.n_e], model.k_e, model.j),
        (neurons[model.n_e :], model.k_i, -model.g * model.j),
    ):
        post = np.repeat(np.arange(model.neurons), k)
        pre = rng.integers(len(source), size=post.size)
        synapses = b2.Synapses(source, neurons, on_pre="v += w", delay=model.delay * b2.ms)
        synapses.namespace["w"] = weight * b2.mV
        order = np.argsort(pre, kind="stable")
        synapses.connect(i=pre[order], j=post[order])
        network.add(synapses)
    monitor = b2.SpikeMonitor(neurons)
    network.add(monitor)
    return network, monitor


def build(args) -> tuple[b2.SpikeMonitor, Path]:
    """Generate and compile the program; nothing is simulated yet."""
    b2.prefs.core.default_float_dtype = np.dtype(args.dtype).type
    b2.prefs["codegen.cpp.headers"] = ["<chrono>", "<fstream>"]
    b2.set_device("cpp_standalone", build_on_run=False)
    b2.defaultclock.dt = args.model.dt * b2.ms
    b2.seed(args.seed)
    if isinstance(args.model, Brunel):
        network, monitor = brunel(args.model, args.method, args.seed)
    else:
        network, monitor = balanced(args.model, args.method)
    directory = Path(tempfile.mkdtemp(prefix="brian2-bench-"))
    clock = "std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()"
    b2.device.insert_code("main", f"const double _wall_start = {clock};")
    network.run(args.duration * b2.ms)
    b2.device.insert_code("main", f'std::ofstream("wall.txt") << {clock} - _wall_start;')
    b2.device.build(directory=str(directory), compile=True, run=False)
    return monitor, directory


def main() -> None:
    args = _worker.arguments(__doc__, METHODS, ["float64", "float32"], ["coba", "cuba", "coba_hh", "brunel"])
    _worker.pin(args.core)
    with _worker.measured() as built:
        monitor, directory = build(args)

    def run() -> dict:
        b2.device.run(str(directory), with_output=False)
        return dict(seconds=float((directory / "wall.txt").read_text()), processor_seconds=b2.device._last_run_time)

    def statistics() -> dict:
        times, neurons = np.asarray(monitor.t / b2.ms), np.asarray(monitor.i)
        return _worker.population_statistics(args.model, times, neurons, args.duration)

    about = dict(
        versions=dict(brian2=b2.__version__, numpy=np.__version__),
        compiler_flags=b2.prefs["codegen.cpp.extra_compile_args_gcc"],
        **_worker.phases(loading=imports, build=built, first=run()),
    )
    try:
        _worker.serve(about, run, statistics)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
