"""How much memory a reader takes for a file."""

import tracemalloc

from brainsim.io import read_recording


def peak(path):
    """Bytes at most while `path` is read."""
    tracemalloc.start()
    read_recording(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most
