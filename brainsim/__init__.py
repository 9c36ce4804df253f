"""brainsim: a differentiable brain simulator on JAX."""

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

from . import fitting as fitting, io as io, losses as losses, networks as networks, ops as ops
from ._dynamics import (
    AbstractConnectivity as AbstractConnectivity,
    AbstractDelayed as AbstractDelayed,
    AbstractDynamics as AbstractDynamics,
    AbstractNeuron as AbstractNeuron,
    AbstractNode as AbstractNode,
    AbstractReceptor as AbstractReceptor,
    AbstractRule as AbstractRule,
    Past as Past,
)
from ._events import Events as Events, simulate_events as simulate_events
from ._network import Network as Network, NetworkState as NetworkState
from ._parameters import parameters as parameters, with_params as with_params
from ._population import Population as Population, PopulationState as PopulationState
from ._projection import Projection as Projection
from ._record import Record as Record, Result as Result, Snapshot as Snapshot
from ._simulate import simulate as simulate
from ._solver import Exact as Exact, ExponentialEuler as ExponentialEuler
from ._spikes import Spikes as Spikes
from ._start import initial_state as initial_state
from ._surrogate import (
    AbstractCompactSurrogate as AbstractCompactSurrogate,
    AbstractSurrogate as AbstractSurrogate,
    ArcTan as ArcTan,
    FastSigmoid as FastSigmoid,
    Gaussian as Gaussian,
    SuperSpike as SuperSpike,
    Triangle as Triangle,
)
from ._typing import Param as Param, docs as docs, domains as domains, param as param, units as units
from ._version import __version__ as __version__
from .fitting import Fit as Fit, fit as fit
from .inputs import (
    AbstractInput as AbstractInput,
    Bernoulli as Bernoulli,
    Poisson as Poisson,
    SpikeTrain as SpikeTrain,
)
from .neurons import (
    HH as HH,
    LIF as LIF,
    AdEx as AdEx,
    HHTraub as HHTraub,
    Izhikevich as Izhikevich,
    neuron as neuron,
)
from .observables import cv_isi as cv_isi, rate as rate, spike_times as spike_times
from .running import Run as Run, open_run as open_run, run as run
from .sweeping import Axis as Axis, sweep as sweep
from .synapses import (
    CSR as CSR,
    AllToAll as AllToAll,
    AlphaConductance as AlphaConductance,
    AlphaCurrent as AlphaCurrent,
    Convolution as Convolution,
    DelayedCSR as DelayedCSR,
    DelayedRegenerated as DelayedRegenerated,
    DeltaConductance as DeltaConductance,
    DeltaCurrent as DeltaCurrent,
    Dense as Dense,
    Diagonal as Diagonal,
    ExpConductance as ExpConductance,
    ExpCurrent as ExpCurrent,
    FanOut as FanOut,
    FixedInDegree as FixedInDegree,
    FixedOutDegree as FixedOutDegree,
    FixedProbability as FixedProbability,
    FixedTotalNumber as FixedTotalNumber,
    FromArrays as FromArrays,
    Full as Full,
    LearnableDelays as LearnableDelays,
    Normal as Normal,
    OneToOne as OneToOne,
    Procedural as Procedural,
    Regenerated as Regenerated,
    Uniform as Uniform,
)

if _TYPE_CHECKING:
    from . import plotting as plotting


def __getattr__(name: str) -> _Any:
    """`brainsim.plotting`, which is imported when it is asked for, since it needs matplotlib."""
    if name != "plotting":
        raise AttributeError(f"module 'brainsim' has no attribute {name!r}")
    try:
        return _importlib.import_module(".plotting", __name__)
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError(
            f"brainsim.plotting needs {e.name}: pip install 'brainsim[plot]'", name=e.name
        ) from None


def __dir__() -> list[str]:
    return sorted({*globals(), "plotting"})
