"""Long runs: in chunks, with a bar, to disk, resumable, and bitwise what one uninterrupted `simulate` returns."""

from ._result import Run as Run
from ._run import open_run as open_run, run as run
