"""COBA-HH (Brette et al. 2007, benchmark 3): Hodgkin-Huxley cells with conductance synapses, on one core.

    python benchmarks/coba_hh.py

The same arguments as `coba.py`. The cells have the currents of Traub and Miles; their activity sustains itself.
"""

from _run import Entrant, network_benchmark

ENTRANTS = [
    Entrant("brainsim", "exponential_euler", "float32"),
    Entrant("brian2", "exponential_euler", "float64"),
    Entrant("nest", "rkf45", "float64"),
]

if __name__ == "__main__":
    network_benchmark("coba_hh", __doc__, ENTRANTS, {4_000: 1000.0, 40_000: 200.0})
