"""Results on disk: a folder that appears whole or not at all and never over somebody's files, and strict JSON."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from ._durable import NEW, OLD, NewFolder, clean, sync, sync_tree


@final
class Output:
    """A folder to write results into: a context that hands out a temporary folder and, if all went well, moves it.

    **Arguments**

    - `path`: the folder that shall appear.
    - `force`: allow a folder that is not empty. Files of the same name are replaced, others stay.
    - `writes`: names of files that will be written. The first tells folders written before from those of others.

    **Raises** `ValueError` before anything is done: the folder is not empty, is a file, or cannot be made; what would
    be replaced is a folder, or was not written before. At the end, all files are replaced or none; if the process is
    killed meanwhile, the next one that writes there replaces the rest.
    """

    def __init__(self, path: str | os.PathLike, *, force: bool = False, writes: Sequence[str] = ()):
        self.final, self.mark = Path(path), next(iter(writes), None)
        if self.final.absolute().parent.is_dir():
            clean(self.final.absolute())
        if self.final.exists() and not self.final.is_dir():
            raise ValueError(f"{path}: is a file, not a folder; nothing was written")
        if self.final.is_dir() and any(self.final.iterdir()) and not force:
            raise ValueError(
                f"{path}: the folder is not empty; nothing was written (--force replaces files, --out names another)"
            )
        self._check(writes)

    def _check(self, names: Iterable[str]) -> None:
        """Refuses to replace anything but files of a folder that was written before."""
        ours = self.mark is None or (self.final / self.mark).is_file()
        for there in (self.final / name for name in names):
            if there.is_dir() and not there.is_symlink():
                raise ValueError(f"{there}: is a folder, not a file to replace; nothing was written")
            if not ours and os.path.lexists(there):
                raise ValueError(
                    f"{there}: is not replaced, for without a {self.mark} beside it this is somebody else's; "
                    "nothing was written (--out names another folder)"
                )

    def __enter__(self) -> Self:
        self._new = NewFolder(self.final)
        self._new.__enter__()
        self.folder = self._new.folder / NEW
        self.folder.mkdir()
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            if kind is None:
                self._move()
        finally:
            self._new.__exit__(kind, *_)

    def _move(self) -> None:
        """Moves all files to where they belong; if one cannot be moved, puts back what was there."""
        names = sorted(file.name for file in self.folder.iterdir())
        self._check(names)
        sync_tree(self.folder)
        made = not self.final.exists()
        self.final.mkdir(exist_ok=True)
        aside = self._new.folder / OLD
        aside.mkdir()
        begun = []
        try:
            for name in names:
                begun.append(name)
                if os.path.lexists(self.final / name):
                    os.rename(self.final / name, aside / name)
                os.rename(self.folder / name, self.final / name)
        except BaseException:
            for name in begun:
                if os.path.lexists(aside / name):
                    os.replace(aside / name, self.final / name)
                elif not os.path.lexists(self.folder / name):
                    os.unlink(self.final / name)
            if made:
                self.final.rmdir()
            raise
        sync(self.final)
        sync(self.final.absolute().parent)


def strict(value: Any) -> Any:
    """Arrays, tuples and numbers as strict JSON has them: what is not a finite number becomes None."""
    if isinstance(value, dict):
        return {str(k): strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strict(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return strict(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, value: Any) -> Path:
    """Writes `value` as strict JSON."""
    path.write_text(json.dumps(strict(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path
