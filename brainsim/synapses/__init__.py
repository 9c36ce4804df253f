"""Synapses: receptors on the postsynaptic side, connectivity and the rules that draw it."""

from ._connectivity import CSR as CSR, Dense as Dense, Diagonal as Diagonal, FanOut as FanOut, Full as Full
from ._convolution import Convolution as Convolution
from ._delays import DelayedCSR as DelayedCSR, LearnableDelays as LearnableDelays
from ._distributions import AbstractDistribution as AbstractDistribution, Normal as Normal, Uniform as Uniform
from ._procedural import Procedural as Procedural, Regenerated as Regenerated
from ._procedural_delays import DelayedRegenerated as DelayedRegenerated
from ._receptors import (
    AlphaConductance as AlphaConductance,
    AlphaCurrent as AlphaCurrent,
    DeltaConductance as DeltaConductance,
    DeltaCurrent as DeltaCurrent,
    ExpConductance as ExpConductance,
    ExpCurrent as ExpCurrent,
)
from ._total_number import FixedTotalNumber as FixedTotalNumber
from ._wiring import (
    AllToAll as AllToAll,
    FixedInDegree as FixedInDegree,
    FixedOutDegree as FixedOutDegree,
    FixedProbability as FixedProbability,
    FromArrays as FromArrays,
    OneToOne as OneToOne,
)
