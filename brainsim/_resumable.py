"""The folder of a run, a sweep or a fit: it appears whole, has one writer, and is resumed by the same work only."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from ._durable import Lock, NewFolder, drop_partials, is_folder, is_free, read, reported, write
from ._fingerprint import asked, difference
from ._packed import pack, unpack
from ._typing import as_path, truth

AGAIN = "resume=True continues it"


def asked_for(out: Any, resume: Any, overwrite: bool) -> tuple[Path | None, bool | str]:
    """The folder, if there shall be one, and whether to go on with what is in it."""
    resume, overwrite = asked(resume), truth(overwrite, "overwrite")
    if out is None and (resume or overwrite):
        raise ValueError("resume and overwrite are about work on disk: give out=PATH")
    return (None if out is None else as_path(out, "out")), resume


def check_free(kind: str, path: Path, overwrite: bool) -> None:
    """Refuses a path with something at it, unless it is work of that kind that may be overwritten."""
    if is_free(path):
        return
    if not (path / _about(kind)).is_file():
        raise ValueError(f"{path}: exists and is not a {kind} of brainsim; nothing was written")
    if not overwrite:
        raise ValueError(f"{path}: exists; nothing was written ({AGAIN}, overwrite=True replaces it)")


def create(
    kind: str, path: Path, about: Mapping[str, Any], fill: Callable[[Path], None] | None, overwrite: bool
) -> Lock:
    """Makes the folder with what it is about; `fill` writes what else is in it from the start."""
    with NewFolder(path) as new, reported(path, "nothing was written"):
        if fill is not None:
            fill(new.folder)
        write([(new.folder / _about(kind), pack(about))])
        check_free(kind, path, overwrite)
        return new.publish(overwrite=overwrite)


def described(kind: str, path: Path) -> dict[str, Any]:
    """What `create` was told about the work in a folder.

    **Raises:** `ValueError` if there is none that can be read.
    """
    return unpacked(path, path / _about(kind), f"not a {kind} of brainsim")[0]


def unpacked(path: Path, file: Path, otherwise: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts and the arrays in a packed file of the folder `path`, or one line that says that there are none."""
    try:
        if not is_folder(path.resolve()):
            raise ValueError("there is no such folder")
        return unpack(read(file))
    except (OSError, ValueError) as error:
        why = error.strerror or error if isinstance(error, OSError) else error
        raise ValueError(f"{path}: {otherwise} ({file.name}: {why})") from None


def resumed(kind: str, path: Path, mark: Mapping[str, Any], resume: Any) -> tuple[Lock, dict[str, Any]]:
    """The lock of a folder and what it is about, if its work is the same as that of the fingerprint `mark`."""
    about = described(kind, path)
    lock = Lock(path)
    try:
        if reason := difference(mark, about["fingerprint"], f"the {kind}", resume):
            raise ValueError(f"{path}: cannot be resumed: {reason}")
        with reported(path, "nothing was written"):
            drop_partials(path)
    except BaseException as error:
        lock.release()
        if isinstance(error, KeyError | TypeError | AttributeError):
            raise ValueError(f"{path}: not a {kind} of brainsim") from None
        raise
    return lock, about


@final
class Work:
    """Work in a folder, whose parts are kept as they are done; or, without a folder, nothing is kept.

    **Arguments:**

    - `kind`: `"sweep"` or `"fit"`.
    - `path`, `resume`, `overwrite`: the folder, whether to go on with what is there or to replace it.
    - `mark`: makes the fingerprint of the work, if there is a folder.

    **Raises:** `ValueError` for a folder that is in use, is not such work, or is other work.
    """

    def __init__(self, kind: str, path: Path | None, resume: Any, overwrite: bool, mark: Callable[[], dict[str, Any]]):
        self.path, self.kind, self._lock = path, kind, None
        if path is None:
            return
        if resume and not is_free(path):
            self._lock, _ = resumed(kind, path, mark(), resume)
        else:
            check_free(kind, path, overwrite)
            self._lock = create(kind, path, {"fingerprint": mark()}, None, overwrite)

    def keep(self, part: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Writes a part, in place of what had its name: on disk when this returns."""
        if self.path is None or self._lock is None:
            return
        with reported(self.path, f"what was done before is there, and {AGAIN}"):
            self._lock.check()
            write([(self._file(self.path, part), pack(about, arrays))])

    def kept(self, part: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """A part that was kept; None if there is none, or if it is damaged and has to be done again."""
        if self.path is None:
            return None
        try:
            return unpack(read(self._file(self.path, part)))
        except (OSError, ValueError):
            return None

    def _file(self, path: Path, part: str) -> Path:
        return path / f"{part}.brainsim"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        if self._lock is not None:
            self._lock.release()


def _about(kind: str) -> str:
    return f"{kind}.brainsim"
