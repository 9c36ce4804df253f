"""Synapses: receptors on the postsynaptic side, connectivity and the rules that draw it."""

from ._receptors import (
    AlphaConductance as AlphaConductance,
    AlphaCurrent as AlphaCurrent,
    DeltaConductance as DeltaConductance,
    DeltaCurrent as DeltaCurrent,
    ExpConductance as ExpConductance,
    ExpCurrent as ExpCurrent,
)
