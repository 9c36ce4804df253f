"""Event-driven products with a sparse matrix: brainsim's beside jax.experimental.sparse, jax.numpy and scipy.sparse.

    python benchmarks/operators.py                  # in cache and out of cache; a few minutes, 2 GB
    python benchmarks/operators.py --cases in-cache

Every call of a product gets another spike vector, so rows of a matrix larger than the cache are cold. Products in JAX
run in one compiled loop; scipy has a Python loop, whose overhead per call is part of its time. "ns per event" is the
time of a call over the synapses of the neurons that spike; "above silence" subtracts that of a call without spikes.
All times are processor times: those of calls of a few microseconds are lost in what else a machine does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from _report import common_arguments, finish, interleaved, median, nested, rounded, say
from _worker import measured, pin


class Case(NamedTuple):
    """A random matrix with `k` synapses in every row; each neuron spikes with probability `rate` in a call."""

    n: int
    k: int
    rate: float
    batch: int = 1

    @property
    def label(self) -> str:
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        return f"{self.n:,} neurons x {self.k:,}, rate {self.rate:g}{batch}"


CASES = {
    "tiny": [Case(50, 5, 0.1), Case(50, 5, 0.1, 2)],
    "in-cache": [
        *[Case(4_000, k, rate) for k in (80, 400) for rate in (0.002, 0.02)],
        Case(4_000, 80, 0.002, batch=16),
    ],
    "out-of-cache": [
        *[Case(100_000, 1_000, rate) for rate in (0.002, 0.01)],
        *[Case(1_000_000, 80, rate) for rate in (0.002, 0.01)],
    ],
}
LARGE = 10_000_000  # synapses: beyond, only brainsim and scipy, which keep within the memory


def matrix(case: Case, seed: int) -> tuple[Any, Any, Any]:
    """Rows of k random columns, ascending, as (weights, indices, row pointers)."""
    import numpy as np

    rng = np.random.default_rng(seed)
    indices = rng.integers(case.n, size=(case.n, case.k), dtype=np.int32)
    indices.sort(axis=1)
    weights = rng.random(case.n * case.k, dtype=np.float32)
    return weights, indices.ravel(), np.arange(case.n + 1, dtype=np.int32) * np.int32(case.k)


def spike_vectors(case: Case, calls: int, seed: int) -> Any:
    """0 and 1, [calls, batch, n]."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return (rng.random((calls, case.batch, case.n), dtype=np.float32) < case.rate).astype(np.float32)


def in_a_loop(product: Callable, arrays: Any, spikes: Any) -> Callable[[Any], float]:
    """A function that times one product after the other, in one compiled loop: `spikes` [calls, batch, n]."""
    import jax
    import jax.numpy as jnp

    batched = spikes.shape[1] > 1

    def step(arrays, total, x):
        return total + (product(arrays, x) if batched else product(arrays, x[0])[None]), None

    def loop(arrays, spikes):
        total = jnp.zeros(spikes.shape[1:], jnp.float32)
        return jax.lax.scan(lambda total, x: step(arrays, total, x), total, spikes)[0]

    compiled = jax.jit(loop)

    def timed(spikes) -> float:
        with measured() as took:
            jax.block_until_ready(compiled(arrays, spikes))
        return took["processor_seconds"]

    return timed


def entrants(case: Case, seed: int, example: Any) -> dict[tuple[str, str], Callable[[Any], float]]:
    """(library, layout) and the function that times it for given spikes."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import scipy.sparse
    from jax.experimental import sparse

    import brainsim as bs

    weights, indices, indptr = matrix(case, seed)
    on_device = tuple(jnp.asarray(x) for x in (weights, indices, indptr))
    one = (jnp.asarray(0.5, jnp.float32), *on_device[1:])
    batched = jax.vmap if case.batch > 1 else (lambda f: f)
    ours = lambda a, x: batched(lambda s: bs.ops.csr_matvec(s, a[0], a[1], a[2], case.n))(x)
    found = {
        ("brainsim", "CSR, one weight"): in_a_loop(ours, one, example),
        ("brainsim", "CSR, weights"): in_a_loop(ours, on_device, example),
    }

    rows = scipy.sparse.csr_array((weights, indices, indptr), shape=(case.n, case.n))
    columns = rows.T  # a CSC view of the same arrays

    def scipy_events(spikes) -> float:
        with measured() as took:
            for x in spikes:
                at = np.nonzero(x)
                pointers = np.concatenate([[0], np.cumsum(np.bincount(at[0], minlength=len(x)))])
                _ = scipy.sparse.csr_array((x[at], at[1], pointers), shape=x.shape) @ rows
        return took["processor_seconds"]

    def scipy_dense(spikes) -> float:
        with measured() as took:
            for x in spikes:
                _ = columns @ x.T
        return took["processor_seconds"]

    found["scipy.sparse", "sparse spikes @ CSR"] = lambda spikes: scipy_events(np.asarray(spikes))
    if weights.size <= LARGE:
        found["scipy.sparse", "CSR.T @ dense spikes"] = lambda spikes: scipy_dense(np.asarray(spikes))
        pre = np.repeat(np.arange(case.n, dtype=np.int32), case.k)
        coo = jnp.stack([jnp.asarray(pre), on_device[1]], axis=1)
        found["jax.experimental.sparse", "BCOO"] = in_a_loop(
            lambda a, x: x @ sparse.BCOO(a, shape=(case.n, case.n), indices_sorted=True), (on_device[0], coo), example
        )
        transposed = rows.T.tocsr()
        csr = tuple(jnp.asarray(x) for x in (transposed.data, transposed.indices, transposed.indptr))
        found["jax.experimental.sparse", "BCSR"] = in_a_loop(
            lambda a, x: (sparse.BCSR(a, shape=(case.n, case.n)) @ x.T).T, csr, example
        )
    if case.n * case.n <= 2 * LARGE:
        dense = jnp.asarray(rows.toarray())
        found["jax.numpy", "dense"] = in_a_loop(lambda a, x: x @ a, dense, example)
    return found


def repeated(timed: Callable[[Any], float], spikes: Any, least: float = 0.05) -> float:
    """The mean of as many runs as take `least` seconds; only one if it takes longer."""
    first = timed(spikes)
    more = min(100, int(least / max(first, 1e-6)))
    return sum((timed(spikes) for _ in range(more)), first) / (1 + more)


def main() -> None:
    parser = common_arguments(__doc__, runs=3)
    parser.add_argument("--cases", nargs="+", default=["in-cache", "out-of-cache"], choices=list(CASES))
    parser.add_argument("--calls", type=int, default=50, help="spike vectors per run (default 50)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    pin(args.core)

    import jax
    import jax.numpy as jnp
    import scipy

    import brainsim as bs

    rows: dict[str, list] = dict(median_s=[], ns_per_event=[], ns_per_event_above_silence=[], ratio=[])
    statistics = {}
    for name in args.cases:
        for case in CASES[name]:
            spikes = spike_vectors(case, args.calls, args.seed)
            events = float(spikes.sum()) * case.k / args.calls
            statistics[case.label] = dict(case=name, synapses=case.n * case.k, events_per_call=events)
            say(f"{name}: {case.label}: {events:.0f} events per call")
            loaded, silent = jnp.asarray(spikes), jnp.zeros(spikes.shape, jnp.float32)
            timers = entrants(case, args.seed, loaded)
            per_call = lambda timed, spikes: lambda: repeated(timed, spikes) / args.calls
            work = {}
            for (library, layout), timed in timers.items():
                work[f"{library}, {layout}"] = per_call(timed, loaded)
                if library == "brainsim":
                    work[f"{library}, {layout}, silent"] = per_call(timed, silent)
            took = {key: median(s) for key, s in interleaved(args.runs, work, budget=4.0 / args.calls).items()}
            for library, layout in timers:
                path, key = (library, layout, case.label), f"{library}, {layout}"
                rows["median_s"].append((path, took[key]))
                rows["ns_per_event"].append((path, rounded(1e9 * took[key] / events)))
                if library == "brainsim":
                    above = took[key] - took[key + ", silent"]
                    rows["ns_per_event_above_silence"].append((path, rounded(1e9 * above / events)))
                else:
                    rows["ratio"].append((path, rounded(took[key] / took["brainsim, CSR, weights"])))
    versions = dict(jax=jax.__version__, scipy=scipy.__version__, kernels=bs.ops.backend())
    report = dict(benchmark="operators", statistics=statistics, **{key: nested(r) for key, r in rows.items()})
    finish(dict(report, versions=versions), args.save, args.core)


if __name__ == "__main__":
    main()
