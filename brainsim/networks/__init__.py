"""Networks of the literature, each an ordinary `Network` with the inputs that belong to it."""

from ._balanced import coba as coba, coba_hh as coba_hh, cuba as cuba
from ._brunel import brunel as brunel
from ._microcircuit import microcircuit as microcircuit
from ._model import Model as Model
