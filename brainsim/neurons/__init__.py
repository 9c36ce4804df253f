"""Neuron models."""

from ._auditory import AuditoryReceptor as AuditoryReceptor
from ._escape import GIF as GIF, AbstractEscapeNeuron as AbstractEscapeNeuron, EscapeLIF as EscapeLIF
from ._functional import FunctionalNeuron as FunctionalNeuron, neuron as neuron
from ._hodgkin_huxley import HH as HH, HHTraub as HHTraub
from ._integrate_and_fire import LIF as LIF, AdEx as AdEx, Izhikevich as Izhikevich
