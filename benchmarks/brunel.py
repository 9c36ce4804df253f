"""Brunel (2000), order 2500: 12,500 neurons, 15.6 million delta synapses, each neuron with its own Poisson drive.

    python benchmarks/brunel.py
    python benchmarks/brunel.py --sizes 1250 --peers none

The same arguments as `coba.py`. g = 5, twice the threshold rate, J = 0.1 mV, delay 1.5 ms: asynchronous irregular.
"""

from _run import Entrant, network_benchmark

ENTRANTS = [
    Entrant("brainsim", "exact", "float32"),
    Entrant("brian2", "exact", "float64"),
    Entrant("nest", "exact", "float64"),
]

if __name__ == "__main__":
    network_benchmark("brunel", __doc__, ENTRANTS, {12_500: 1000.0})
