"""Progress of the demo's parts on stderr: a bar on a terminal, a line for each part anywhere else."""

import shutil
import sys
from typing import Protocol, Self, final

from tqdm import tqdm


class Report(Protocol):
    """What long work calls now and then: how much is done of how much, and what it is doing."""

    def __call__(self, done: float, total: float, what: str, /) -> None: ...


def silent(done: float, total: float, what: str) -> None:
    """Reports to nobody."""


@final
class Bar:
    """One named part of a long job, as a context that is its own `Report`."""

    def __init__(self, name: str):
        self._name = name
        self._bar = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns = shutil.get_terminal_size().columns  # 80 where the terminal does not say
            shape = "{desc} {percentage:3.0f}% |{bar:24}| {elapsed}{postfix}"
            self._bar = tqdm(total=1.0, desc=self._name, bar_format=shape, file=sys.stderr, ncols=columns)
        else:
            print(self._name, file=sys.stderr, flush=True)
        return self

    def __call__(self, done: float, total: float, what: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(what, refresh=False)
            self._bar.n = min(1.0, done / max(total, 1e-9))
            self._bar.refresh()

    def __exit__(self, kind, *_) -> None:
        if self._bar is not None:
            if kind is None:
                self._bar.n = 1.0
                self._bar.set_postfix_str("", refresh=False)
                self._bar.refresh()
            self._bar.close()
