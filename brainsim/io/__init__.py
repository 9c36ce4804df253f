"""Recordings: from a file of the laboratory to one small record, and back.

A `Recording` holds one time base with a stimulus, a voltage and spike times (any of them may be missing), in
brainsim's units. `read_recording` makes one from NWB, CSV or npz, `write_recording` writes CSV or npz. Only numpy
is needed; NWB files need the optional package pynwb (``pip install 'brainsim[io]'``).
"""

from ._read import read_recording as read_recording
from ._recording import Recording as Recording, RecordingError as RecordingError
from ._write import write_recording as write_recording
