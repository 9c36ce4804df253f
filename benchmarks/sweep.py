"""A parameter sweep on one core: 64 parameter sets of COBA with 1,000 neurons, at once and one after the other.

    python benchmarks/sweep.py

The sets are 64 excitatory weights. Every way of running them returns the mean rates of E and I of each set, from the
same network and the same initial voltages, so the results are the same spikes. They come from the number of spikes in
each step (`counts`), or from a raster of all spikes, which costs memory traffic. `bs.sweep` compiles in every call.
"""

import functools as ft

from _brainsim import drive, network
from _models import MODELS
from _report import common_arguments, finish, interleaved, median, rounded, say
from _worker import measured, pin


def main() -> None:
    parser = common_arguments(__doc__, runs=3)
    parser.add_argument("--sets", type=int, default=64, help="parameter sets (default 64)")
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--duration", type=float, default=1000.0, help="ms")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    pin(args.core)

    import jax
    import jax.numpy as jnp
    import numpy as np

    import brainsim as bs

    model = MODELS["coba"].scaled(args.neurons)
    net = network(model, args.seed)
    inputs, key = drive(model, ["E", "I"], args.seed), jax.random.key(args.seed)
    solver = bs.ExponentialEuler()
    weights = jnp.linspace(4.0, 8.0, args.sets)

    def counted(state):
        return {name: spikes.sum() for name, spikes in state.history.items()}  # the spikes of the last step

    def rates(w, record):
        varied = bs.with_params(net, {f"E->{post}.exc.connect.weight": w for post in "EI"})
        run = bs.simulate(varied, args.duration, model.dt, inputs, dict(spikes=record), solver=solver, key=key)
        counts = [run.spikes[name].sum(dtype=jnp.int32) for name in "EI"]
        return jnp.stack([n / (net.sizes[name] * args.duration * 1e-3) for name, n in zip("EI", counts, strict=True)])

    records = dict(counts=bs.Record(counted), raster=bs.Record(["E", "I"], dtype=bool))
    ways = {}
    for name, record in records.items():
        of = ft.partial(rates, record=record)
        single, together = jax.jit(of), jax.jit(jax.vmap(of))
        ways[f"{args.sets} calls, {name}"] = lambda f=single: np.stack([np.asarray(f(w)) for w in weights])
        ways[f"vmap, {name}"] = lambda f=together: np.asarray(f(weights))
    ways["bs.sweep, counts"] = lambda: np.asarray(
        bs.sweep(lambda w: rates(w, records["counts"]), w=weights, progress=False).result
    )
    processor: dict[str, list[float]] = {name: [] for name in ways}
    found = {}

    def timed(name):
        with measured() as took:
            found[name] = ways[name]()
        processor[name].append(took["processor_seconds"])
        return took["seconds"]

    seconds = interleaved(args.runs, {name: lambda name=name: timed(name) for name in ways}, budget=120.0)
    wall = {name: median(s) for name, s in seconds.items()}
    used = {name: median(processor[name][-len(s) :]) for name, s in seconds.items()}
    singles, vmaps = [[way for way in ways if way.startswith(start)] for start in (str(args.sets), "vmap")]
    reference = found[singles[0]]
    times_faster = lambda times: {
        vmap: rounded(times[single] / times[vmap]) for single, vmap in zip(singles, vmaps, strict=True)
    }
    report = dict(
        benchmark="sweep",
        network=dict(neurons=model.neurons, duration_ms=args.duration, dt_ms=model.dt, sets=args.sets),
        median_s=wall,
        processor_s=used,
        ratio=times_faster(wall),
        processor_ratio=times_faster(used),
        statistics=dict(
            rates_hz=dict(
                E=[rounded(float(x)) for x in reference[:, 0]], I=[rounded(float(x)) for x in reference[:, 1]]
            ),
            largest_difference_hz={n: rounded(float(np.abs(found[n] - reference).max())) for n in ways},
        ),
        versions=dict(jax=jax.__version__, numpy=np.__version__, kernels=bs.ops.backend()),
    )
    for name in ways:
        say(f"{name:24s} {wall[name]:8.4g} s, processor {used[name]:8.4g} s")
    finish(report, args.save, args.core)


if __name__ == "__main__":
    main()
