"""The search of a fit: one loss after the other, each from where the last ended, kept on disk if wanted."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import _fingerprint as fingerprint
from .._leaves import named, plain, restore
from .._progress import Progress, progress_bar
from .._resumable import Work
from ._minimise import Best, Method
from ._space import Space

_EVERY = 1.0  # s between two checkpoints


class Searched(NamedTuple):
    """What a search found.

    - `best`: of every start, and the number of the `stage` that it is of.
    - `history`: loss of every start at every step; a stage begins at each step in `begins`.
    - `failures`, `notes`: lines about starts that died, and about stages that found nothing.
    - `seconds`: how long it took, up to a crash included.
    """

    best: Best
    stage: int
    history: np.ndarray
    begins: tuple[int, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float


@final
class Search:
    """Goes downhill by `method` from `starts`, for each of `stages` at most so many `steps`.

    `nothing_found(stage, u)` says why there may be no finite loss anywhere, for example at `u`.
    """

    def __init__(
        self,
        space: Space,
        method: Method,
        stages: list[Callable],
        starts: Array,
        steps: int,
        nothing_found: Callable[[Callable, np.ndarray], str],
    ):
        self.space, self.method, self.stages, self.starts, self.steps = space, method, stages, starts, steps
        self.nothing_found = nothing_found

    def mark(self) -> dict[str, Any]:
        """The fingerprint."""
        place = self.method.begin(self.starts)
        searched = [f"{b.name} from {b.lower!r} to {b.upper!r} ({b.scale})" for b in self.space.bounds]
        return {
            "the free parameters are": ", ".join(searched),
            "the method is": self.method.name,
            "the steps are": f"{self.steps} for each of {len(self.stages)}",
            "values": fingerprint.values(model=self.space.model, loss=self.stages, start=self.starts),
            "program": fingerprint.program(*(self.method.program(loss, place) for loss in self.stages)),
            "machine": fingerprint.machine(),
        }

    def run(self, path: Path | None, resume: bool | str, overwrite: bool, progress: Progress) -> Searched:
        """From the beginning, or from the last checkpoint in the folder `path`.

        **Raises:** `ValueError` if no start has a finite loss.
        """
        total = len(self.stages) * self.steps
        with Work("fit", path, resume, overwrite, self.mark) as work, progress_bar(progress, total, "fit") as update:
            at = self._kept(work) or _At(0, self.method.begin(self.starts), self._nothing, 0, 0.0)
            began = saved = time.perf_counter() - at.seconds
            while at.stage < len(self.stages):
                if self.method.over(at.place, self.steps):
                    at = self._next(at)
                else:
                    at = self._step(at)
                    done = min(at.stage * self.steps + len(at.history) - at.begins[-1], (at.stage + 1) * self.steps)
                    update(done, loss=np.min(self.method.best(at.place).loss))
                now = time.perf_counter()
                at = at._replace(seconds=now - began)
                if now - saved >= _EVERY or at.stage == len(self.stages):
                    self._keep(work, at)
                    saved = now
        return Searched(at.best, at.last, np.stack(at.history, 1), at.begins, at.failures, at.notes, at.seconds)

    @property
    def _nothing(self) -> Best:
        return Best(np.asarray(self.starts), np.full(len(self.starts), np.inf, self.starts.dtype), None)

    def _step(self, at: "_At") -> "_At":
        place, found = self.method.step(self.stages[at.stage], at.place)
        history = (*at.history, found.now)
        died = lambda k, u: (
            f"start {k} died at step {len(history)}: no finite loss or gradient at {self.space.describe(u)}"
        )
        failures = (*at.failures, *(died(k, u) for k, u in found.died))
        return at._replace(place=place, history=history, failures=failures)

    def _next(self, at: "_At") -> "_At":
        """After a stage: the next one begins where it ended, or, if it found nothing, there is none."""
        best, count = self.method.best(at.place), len(self.stages)
        if np.isfinite(best.loss).any():
            begins = (*at.begins, len(at.history)) if at.stage + 1 < count else at.begins
            place = self.method.begin(jnp.asarray(best.u, self.starts.dtype))
            return at._replace(stage=at.stage + 1, place=place, best=best, last=at.stage, begins=begins)
        if not np.isfinite(at.best.loss).any():
            raise ValueError(self.nothing_found(self.stages[at.stage], at.best.u[0]))
        note = f"stage {at.stage + 1} of {count} found no finite loss; these are the parameters before it"
        return at._replace(stage=count, notes=(*at.notes, note))

    def _keep(self, work: Work, at: "_At") -> None:
        facts = {name: x for name, x in at._asdict().items() if name not in ("place", "best", "history")}
        trees = {"place": at.place, "best": at.best, "history": np.stack(at.history)}
        work.keep("checkpoint", facts, {name: plain(x) for name, x in named(trees).items()})

    def _kept(self, work: Work) -> "_At | None":
        """Where the search was at the last checkpoint, if there is one that can be read."""
        if (kept := work.kept("checkpoint")) is None:
            return None
        facts, arrays = kept
        try:
            place = self.method.begin(self.starts)
            best = self.method.best(place) if any(name.startswith("best.at.") for name in arrays) else self._nothing
            trees = restore(arrays, {"place": place, "best": best, "history": arrays["history"]})
            for name in ("begins", "failures", "notes"):
                facts[name] = tuple(facts[name])
            return _At(place=trees["place"], best=trees["best"], history=tuple(trees["history"]), **facts)
        except (ValueError, KeyError, TypeError):
            return None


class _At(NamedTuple):
    """Where a search is: in which stage and at which place of it, what the stages before have found, and all that was
    said."""

    stage: int
    place: Any
    best: Best
    last: int
    seconds: float
    history: tuple[np.ndarray, ...] = ()
    begins: tuple[int, ...] = (0,)
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
