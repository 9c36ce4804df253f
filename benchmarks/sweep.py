"""A parameter sweep on one core: 64 parameter sets of COBA with 1,000 neurons, at once and one after the other.

    python benchmarks/sweep.py

The sets are 64 excitatory weights. Every way of running them returns the mean rates of E and I of each set, from the
same network and the same initial voltages, so the results are the same spikes. They come from the number of spikes in
each step (`counts`), or from a raster of all spikes, which costs memory traffic. The sets run all at once (`vmap`), or
16 at once with the options for XLA that `bs.simulate` and `bs.sweep` choose (`chunks`: what `bs.sweep` runs, without
its compilation), whose arrays stay in a core's cache; `options` are single calls compiled with them. `bs.sweep`
compiles in every call: beside it stand 64 calls of a function that is compiled first (`compiled`).
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
    from brainsim._compat import cpu_options

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
        if run.spikes["E"].ndim == 2:
            return jnp.stack([bs.rate(run.spikes[name], model.dt).mean() for name in "EI"])
        counts = [run.spikes[name].sum(dtype=jnp.int32) for name in "EI"]
        return jnp.stack([n / (net.sizes[name] * args.duration * 1e-3) for name, n in zip("EI", counts, strict=True)])

    calls = lambda f: np.stack([np.asarray(f(w)) for w in weights])
    records = dict(counts=bs.Record(counted), raster=bs.Record(["E", "I"], dtype=bool))
    options = cpu_options(wide=True)
    ways = {}

    def add(what, rates):
        single, vmap = jax.jit(rates), jax.jit(jax.vmap(rates))
        chunk = jax.jit(jax.vmap(rates), compiler_options=options)
        ways[f"{args.sets} calls, {what}"] = lambda: calls(single)
        ways[f"vmap, {what}"] = lambda: np.asarray(vmap(weights))
        ways[f"chunks, {what}"] = lambda: np.concatenate([chunk(weights[i : i + 16]) for i in range(0, args.sets, 16)])

    for name, record in records.items():
        add(name, ft.partial(rates, record=record))
    of = ft.partial(rates, record=records["counts"])
    fastest = jax.jit(lambda w: of(w), compiler_options=options)
    ways[f"{args.sets} calls, options"] = lambda: calls(fastest)
    # A new function in every call, for which nothing is compiled yet.
    ways[f"{args.sets} calls, compiled"] = lambda: calls(jax.jit(lambda w: of(w)))
    ways["bs.sweep, compiled"] = lambda: np.asarray(bs.sweep(lambda w: of(w), w=weights, progress=False).result)
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
    single = lambda way: f"{args.sets} calls, {way.split(', ')[1]}"
    reference = found[single("all, counts")]
    times_faster = lambda times: {
        way: rounded(times[single(way)] / times[way]) for way in ways if not way.startswith(f"{args.sets} calls")
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
