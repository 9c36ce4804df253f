"""Fits: bounded parameters, many starts at once, a held-out part, and intervals."""

from ._fit import fit as fit
from ._minimise import GaussNewton as GaussNewton
from ._result import Fit as Fit, Fitted as Fitted
