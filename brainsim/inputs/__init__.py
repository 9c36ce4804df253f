"""Stimuli: what can be given as `inputs=` besides a number, an array or a function of time."""

from ._abstract import AbstractInput as AbstractInput
from ._processes import (
    AbstractProcess as AbstractProcess,
    Bernoulli as Bernoulli,
    Poisson as Poisson,
    with_own_keys as with_own_keys,
)
from ._trains import SpikeTrain as SpikeTrain
