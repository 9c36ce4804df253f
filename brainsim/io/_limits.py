"""How much a file may ask for: numbers are read only where they can be, and as many as a file of its size may hold."""

import os
import stat
from pathlib import Path

from ._recording import RecordingError

FREE = 256 << 20  # bytes of float64 that a file of any size may unpack to
FACTOR = 4  # and so many times its own size, beyond that


def regular(path: Path, what: str = "") -> None:
    """Refuses what is not a file that ends: a folder, a device, a pipe, which would keep a reader waiting."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and not os.access(path, os.R_OK):
            raise PermissionError(0, "Permission denied")
    except (FileNotFoundError, NotADirectoryError):
        raise RecordingError(f"{path}: no such file{what}") from None
    except (OSError, ValueError) as error:  # a ValueError for a name with a NUL in it
        raise RecordingError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(mode):
        raise RecordingError(f"{path}: not a file, but a {'folder' if stat.S_ISDIR(mode) else 'device or a pipe'}")


def affordable(path: Path, numbers: int, what: str, *, wide: int = 8) -> None:
    """Refuses to unpack more `numbers` (each `wide` bytes in the file) than a file of this size should hold."""
    size, asked = path.stat().st_size, numbers * max(wide, 8)
    if asked > max(FREE, FACTOR * size):
        raise RecordingError(
            f"{path}: {what} declares {numbers:,} numbers ({asked / 2**30:.3g} GiB) in a file of {size:,} bytes; "
            f"at most {FREE >> 20} MiB or {FACTOR} times the file are unpacked: store it with less compression"
        )
