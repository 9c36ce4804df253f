"""Results on disk: a folder that appears whole or not at all and never over somebody's files, and strict JSON."""

import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Self, final

import numpy as np


@final
class Output:
    """A folder to write results into: a context that hands out a temporary folder and, if all went well, moves it.

    **Arguments**

    - `path`: the folder that shall appear.
    - `force`: allow a folder that is not empty. Files of the same name are replaced, others stay.

    **Raises** `ValueError` before anything is done: the folder is not empty, is a file, or cannot be made.
    """

    def __init__(self, path: str | os.PathLike, *, force: bool = False):
        self.final = Path(path)
        if self.final.exists() and not self.final.is_dir():
            raise ValueError(f"{path}: is a file, not a folder; nothing was written")
        if self.final.is_dir() and any(self.final.iterdir()) and not force:
            raise ValueError(
                f"{path}: the folder is not empty; nothing was written (--force replaces files, --out names another)"
            )

    def __enter__(self) -> Self:
        parent = self.final.absolute().parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=f".{self.final.name}-", dir=parent))
        except OSError as error:
            raise ValueError(f"{self.final}: cannot be written ({error.strerror})") from None
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            if kind is None:
                self.final.mkdir(exist_ok=True)
                for file in sorted(self.folder.iterdir()):
                    os.replace(file, self.final / file.name)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


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
