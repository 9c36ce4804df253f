"""A parameter sweep on one core: 64 parameter sets of COBA with 1,000 neurons, at once and one after the other.

    python benchmarks/sweep.py

The sets are 64 excitatory weights. Every way of running them returns the mean rates of E and I of each set, from the
same network and the same initial voltages, so the results are the same spikes. `bs.sweep` compiles in every call.
"""

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
    record = dict(spikes=bs.Record(["E", "I"], dtype=bool))
    solver = bs.ExponentialEuler()
    weights = jnp.linspace(4.0, 8.0, args.sets)

    def rates(w):
        varied = bs.with_params(net, {f"E->{post}.exc.connect.weight": w for post in "EI"})
        run = bs.simulate(varied, args.duration, model.dt, inputs, record, solver=solver, key=key)
        counts = {name: jnp.count_nonzero(x, axis=(-2, -1)) for name, x in run.spikes.items()}
        return jnp.stack([counts[name] / (net.sizes[name] * args.duration * 1e-3) for name in "EI"])

    together, single = jax.jit(jax.vmap(rates)), jax.jit(rates)

    def sweep():
        return np.asarray(bs.sweep(rates, w=weights, progress=False).result)

    # 64 single runs twice: `simulate` itself, compiled with the options that it chooses, and inside of a user's jit.
    ways = {
        "64 calls of simulate": lambda: np.stack([np.asarray(rates(w)) for w in weights]),
        "64 calls, jit": lambda: np.stack([np.asarray(single(w)) for w in weights]),
        "vmap": lambda: np.asarray(together(weights)),
        "bs.sweep": sweep,
    }
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
    singles = [name for name in ways if name.startswith("64")]
    fastest, fastest_used = min(wall[n] for n in singles), min(used[n] for n in singles)
    reference = found[singles[0]]
    report = dict(
        benchmark="sweep",
        network=dict(neurons=model.neurons, duration_ms=args.duration, dt_ms=model.dt, sets=args.sets),
        median_s=wall,
        processor_s=used,
        ratio={name: rounded(fastest / wall[name]) for name in ("vmap", "bs.sweep")},
        processor_ratio={name: rounded(fastest_used / used[name]) for name in ("vmap", "bs.sweep")},
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
