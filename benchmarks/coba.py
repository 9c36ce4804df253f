"""COBA (Vogels & Abbott 2005): integrate-and-fire cells with conductance synapses, 80 per neuron, on one core.

    python benchmarks/coba.py                                   # 4,000 neurons, 1 s, all simulators
    python benchmarks/coba.py --sizes 4000 40000 400000
    python benchmarks/coba.py --peers brian2 --methods exponential_euler --runs 9 --core 1

Progress goes to standard error; the last line of standard output is one JSON object. README.md says what is timed.
"""

from _run import Entrant, network_benchmark

ENTRANTS = [
    Entrant("brainsim", "exponential_euler", "float32"),
    Entrant("brainsim", "euler", "float32"),
    Entrant("brian2", "exponential_euler", "float64"),
    Entrant("brian2", "euler", "float64"),
    Entrant("brian2", "rk4", "float64"),
    Entrant("brainpy", "exponential_euler", "float32"),
    Entrant("nest", "rkf45", "float64"),
]

if __name__ == "__main__":
    network_benchmark("coba", __doc__, ENTRANTS, {4_000: 1000.0, 40_000: 1000.0, 400_000: 100.0})
