"""Neuron models."""

from ._functional import FunctionalNeuron as FunctionalNeuron, neuron as neuron
from ._hodgkin_huxley import HH as HH
from ._integrate_and_fire import AdEx as AdEx, Izhikevich as Izhikevich, LIF as LIF
