"""Losses: how far a model is from a recording. Each is a pure function `loss(model, recording)`."""

from ._spikes import spike_log_likelihood as spike_log_likelihood
from ._terms import Terms as Terms
from ._voltage import voltage_mse as voltage_mse
