"""``brainsim fit``: from a file of the laboratory to fitted parameters, figures and a page."""

from ._run import MODELS as MODELS, run_fit as run_fit
