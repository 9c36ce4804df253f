"""CUBA (Vogels & Abbott 2005): integrate-and-fire cells with current synapses, 80 per neuron, on one core.

    python benchmarks/cuba.py --sizes 4000 40000

The same arguments as `coba.py`. The flow is linear, so brainsim, Brian2 and NEST propagate it exactly.
"""

from _run import Entrant, network_benchmark

ENTRANTS = [
    Entrant("brainsim", "exact", "float32"),
    Entrant("brainsim", "euler", "float32"),
    Entrant("brian2", "exact", "float64"),
    Entrant("brian2", "euler", "float64"),
    Entrant("brainpy", "exponential_euler", "float32"),
    Entrant("nest", "exact", "float64"),
]

if __name__ == "__main__":
    network_benchmark("cuba", __doc__, ENTRANTS, {4_000: 1000.0, 40_000: 1000.0, 400_000: 100.0})
