"""Reverse mode through COBA, all weights of all synapses: time and memory beside those of the simulation itself.

    python benchmarks/gradient.py
    python benchmarks/gradient.py --delays 1 5    # every synapse with a delay of its own, ms

Timed are a run of `--steps[0]` steps and the value and gradient of its mean rate (with `--delays`, where the history
holds the spikes of many steps, of its mean potential), each after compilation; memory is that of the compiled gradient,
for both numbers of steps.
"""

from typing import Any

from _brainsim import balanced, drive
from _models import MODELS
from _report import common_arguments, finish, interleaved, median, rounded, say
from _worker import measured, pin


def main() -> None:
    parser = common_arguments(__doc__)
    parser.add_argument("--steps", type=int, nargs=2, default=[1000, 10_000], help="timed: the first (1000 10000)")
    parser.add_argument("--neurons", type=int, default=4000)
    parser.add_argument("--delays", type=float, nargs=2, help="of single synapses, uniform between these, ms (none)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    pin(args.core)  # before JAX, which starts as many threads as it finds cores

    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import brainsim as bs

    model: Any = MODELS["coba"].scaled(args.neurons)
    inputs, key = drive(model, ["E", "I"], args.seed), jax.random.key(args.seed)
    spikes = lambda state: state.history["E"].sum() + state.history["I"].sum()  # of a step
    voltages = lambda state: state.populations["E"].neuron.v.sum() + state.populations["I"].neuron.v.sum()
    record = dict(total=voltages if args.delays else spikes)
    populations, projections = balanced(model)
    if args.delays:
        drawn = bs.Uniform(*args.delays)
        projections = [bs.Projection(p.pre, p.post, p.connect, delay=drawn) for p in projections]
    coba = bs.Network(populations, projections, key=jax.random.key(args.seed))
    layouts_of = lambda net: list(net.bundles.values()) or [p.connect for p in net.projections.values()]
    weights_of = lambda net: [x.weight for x in layouts_of(net)]
    per_synapse = [jnp.broadcast_to(x.weight, x.indices.shape) for x in layouts_of(coba)]
    coba = eqx.tree_at(weights_of, coba, per_synapse)
    surrogates = {
        "SuperSpike()": bs.SuperSpike(),
        "Triangle()": bs.Triangle(),
        "Triangle(beta=10, area=0.02)": bs.Triangle(beta=10.0, area=0.02),
    }
    nets = {
        name: eqx.tree_at(lambda n: [p.neuron.surrogate for p in n.populations.values()], coba, [s] * 2)
        for name, s in surrogates.items()
    }

    def run(net, steps):
        return bs.simulate(net, steps * model.dt, model.dt, inputs, record, key=key)["total"]

    def mean(weights, net, steps):
        """The mean rate in Hz, or the mean potential in mV."""
        total = run(eqx.tree_at(weights_of, net, weights), steps).sum() / model.neurons / steps
        return total if args.delays else total / (model.dt * 1e-3)

    gradient = eqx.filter_jit(lambda net: jax.value_and_grad(mean)(weights_of(net), net, args.steps[0]))
    works = {
        (what, name): program
        for name in nets
        for what, program in (
            ("forward", lambda name=name: run(nets[name], args.steps[0])),
            ("gradient", lambda name=name: gradient(nets[name])),
        )
    }
    processor = {f"{what} {name}": [] for what, name in works}

    def timed(what, name):
        with measured() as took:
            jax.block_until_ready(works[what, name]())
        processor[f"{what} {name}"].append(took["processor_seconds"])
        return took["seconds"]

    runs = {f"{what} {name}": lambda what=what, name=name: timed(what, name) for what, name in works}
    seconds = interleaved(args.runs, runs, budget=120.0)
    wall = {work: median(s) for work, s in seconds.items()}
    used = {work: median(processor[work][-len(s) :]) for work, s in seconds.items()}
    table = lambda times: {w: {n: rounded(times[f"{w} {n}"]) for n in nets} for w in ("forward", "gradient")}
    over = lambda times: {n: round(times[f"gradient {n}"] / times[f"forward {n}"], 2) for n in nets}

    def memory(net, steps):
        """Bytes that the compiled gradient needs for temporary arrays and results."""
        program = jax.jit(lambda weights: jax.value_and_grad(mean)(weights, net, steps))
        needs: Any = program.lower(weights_of(net)).compile().memory_analysis()
        return needs.temp_size_in_bytes + needs.output_size_in_bytes

    needed = {name: {steps: memory(net, steps) for steps in args.steps} for name, net in nets.items()}
    found = {name: gradient(net) for name, net in nets.items()}
    for name, against in over(used).items():
        say(f"{name:30s} gradient = {against} x forward (processor time)")
    unit = "mean_mv" if args.delays else "rate_hz"
    report = dict(
        benchmark="gradient",
        network=dict(neurons=model.neurons, weights=sum(w.size for w in per_synapse), dt_ms=model.dt),
        delays_ms=args.delays,
        steps=args.steps[0],
        median_s=table(wall),
        gradient_over_forward=over(wall),
        processor_s=table(used),
        processor_gradient_over_forward=over(used),
        memory_bytes=needed,
        memory_10000_over_1000={n: round(b[args.steps[1]] / b[args.steps[0]], 3) for n, b in needed.items()},
        statistics={
            name: {unit: round(float(value), 3), "finite": all(bool(jnp.isfinite(x).all()) for x in grad)}
            for name, (value, grad) in found.items()
        },
        versions=dict(jax=jax.__version__, kernels=bs.ops.backend()),
    )
    finish(report, args.save, args.core)


if __name__ == "__main__":
    main()
