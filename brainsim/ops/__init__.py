"""Event-driven operators: sparse products whose work is proportional to the spikes, not to the synapses."""

from ._arrivals import arrivals as arrivals, spike_list as spike_list
from ._carry import carry_weights as carry_weights
from ._csr import csr_matvec as csr_matvec, csr_outer as csr_outer, csr_rmatvec as csr_rmatvec
from ._dense import (
    ConvolutionShape as ConvolutionShape,
    convolution as convolution,
    dense_matvec as dense_matvec,
)
from ._events import append_events as append_events, empty_events as empty_events
from ._fan_out import fan_out_matvec as fan_out_matvec
from ._library import backend as backend
from ._poisson import bernoulli_counts as bernoulli_counts, poisson_counts as poisson_counts
from ._procedural import (
    ProceduralPattern as ProceduralPattern,
    procedural_matvec as procedural_matvec,
    procedural_rmatvec as procedural_rmatvec,
    procedural_synapses as procedural_synapses,
)
from ._procedural_late import procedural_delays as procedural_delays, procedural_send as procedural_send
