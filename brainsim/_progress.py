"""One way to show progress: a bar on stderr, a function of yours, or nothing."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

Progress: TypeAlias = bool | Callable[[int, int], None]
"""`True` for a bar (shown in a terminal only), `False` for none, or a function that is called with (done, total)."""


@contextlib.contextmanager
def progress_bar(progress: Progress, total: int, what: str) -> Iterator[Callable[..., None]]:
    """Gives a function to call with how much is done so far, and with numbers to show beside the bar."""
    if not isinstance(progress, bool) and callable(progress):
        yield lambda done, **numbers: progress(done, total)
        return
    if not progress:
        yield lambda done, **numbers: None
        return
    from tqdm import tqdm  # a tenth of the import time of brainsim, needed only here

    with tqdm(total=total, desc=what, disable=None, leave=False, dynamic_ncols=True) as bar:

        def update(done: int, **numbers: float) -> None:
            bar.update(done - bar.n)
            bar.set_postfix({k: f"{x:.4g}" for k, x in numbers.items()}, refresh=False)

        yield update
