"""A folder of results that appears whole or not at all, and never over somebody's files."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self, final


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
