"""COBA in Brian2, C++ standalone: the peer of `coba_brainsim.py`. Runs in its own environment (see `_peers.py`).

Brian2 is used as its documentation advises for speed: one group of neurons with two slices, C++ standalone, one thread,
and its own default compiler flags (-O3 -ffast-math -fno-finite-math-only -march=native). Its `_last_run_time` is
processor time (brian2 issue 1718), so the generated program also reads a steady clock just before and after the run.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import _worker
import brian2 as b2  # pyright: ignore[reportMissingImports]
import numpy as np
from _coba import COBA

EQUATIONS = """
dv/dt = (g_l * (e_l - v) + g_e * (e_e - v) + g_i * (e_i - v) + current) / c : volt (unless refractory)
dg_e/dt = -g_e / tau_e : siemens
dg_i/dt = -g_i / tau_i : siemens
"""
UNITS = dict(
    c=b2.pF, g_l=b2.nS, e_l=b2.mV, v_th=b2.mV, v_reset=b2.mV, t_ref=b2.ms, tau_e=b2.ms, tau_i=b2.ms, e_e=b2.mV,
    e_i=b2.mV, current=b2.pA, w_e=b2.nS, w_i=b2.nS, delay=b2.ms,
)  # fmt: skip


def build(method: str, dtype: str, seed: int, duration: float) -> tuple[b2.SpikeMonitor, Path]:
    """Generate and compile the program; nothing is simulated yet."""
    b2.prefs.core.default_float_dtype = np.dtype(dtype).type
    b2.prefs["codegen.cpp.headers"] = ["<chrono>", "<fstream>"]
    b2.set_device("cpp_standalone", build_on_run=False)
    b2.defaultclock.dt = COBA.dt * b2.ms
    b2.seed(seed)
    namespace = {name: getattr(COBA, name) * unit for name, unit in UNITS.items()}

    n_e, n_i = COBA.n_e, COBA.n_i
    neurons = b2.NeuronGroup(
        n_e + n_i, EQUATIONS, method=method, threshold="v > v_th", reset="v = v_reset",
        refractory=namespace["t_ref"], namespace=namespace,
    )  # fmt: skip
    neurons.v = f"({COBA.v_low} + {COBA.v_high - COBA.v_low} * rand()) * mV"
    network = b2.Network(neurons)
    for source, on_spike in ((neurons[:n_e], "g_e += w_e"), (neurons[n_e:], "g_i += w_i")):
        synapses = b2.Synapses(source, neurons, on_pre=on_spike, delay=namespace["delay"], namespace=namespace)
        synapses.connect(p=COBA.p)
        network.add(synapses)
    monitor = b2.SpikeMonitor(neurons)
    network.add(monitor)

    directory = Path(tempfile.mkdtemp(prefix="brian2-coba-"))
    clock = "std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()"
    b2.device.insert_code("main", f"const double _wall_start = {clock};")
    network.run(duration * b2.ms)
    b2.device.insert_code("main", f'std::ofstream("wall.txt") << {clock} - _wall_start;')
    b2.device.build(directory=str(directory), compile=True, run=False)
    return monitor, directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="exponential_euler")
    parser.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration", type=float, default=COBA.duration)
    args = parser.parse_args()
    monitor, directory = build(args.method, args.dtype, args.seed, args.duration)
    _worker.pin(args.core)  # the compiler may have all cores, the program that `run` starts has one

    def run() -> dict:
        b2.device.run(str(directory), with_output=False)
        return dict(seconds=float((directory / "wall.txt").read_text()), processor_seconds=b2.device._last_run_time)

    def statistics() -> dict:
        times, neurons = np.asarray(monitor.t / b2.ms), np.asarray(monitor.i)
        excitatory = neurons < COBA.n_e
        return dict(
            E=_worker.spike_statistics(times[excitatory], neurons[excitatory], COBA.n_e, args.duration),
            I=_worker.spike_statistics(times[~excitatory], neurons[~excitatory] - COBA.n_e, COBA.n_i, args.duration),
        )

    versions = dict(brian2=b2.__version__, numpy=np.__version__)
    flags = b2.prefs["codegen.cpp.extra_compile_args_gcc"]
    try:
        _worker.serve(dict(versions=versions, compiler_flags=flags), run, statistics)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
