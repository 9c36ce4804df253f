"""What a fit returns."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Fitted(NamedTuple):
    """One fitted parameter, in `unit`; an array if the model's parameter is one.

    - `lower`, `upper`, `scale`: what was searched, and whether linearly or logarithmically.
    - `low`, `high`: 95 % interval, NaN where there is none, and then `note` says why.
    """

    value: Any
    unit: str
    doc: str
    lower: float
    upper: float
    scale: str
    low: Any
    high: Any
    note: str


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Fit:
    """The result of `brainsim.fit`. Print it for a table; `plot` draws it.

    - `model`: the model with the best parameters.
    - `params`: name to `Fitted`, in the order of `free`.
    - `loss`, `held_out`: the loss in training, and on the part that was never seen (None if there is none).
    - `history`: loss of every start at every step, shape (starts, steps), NaN after a start has died; `best` is the
      index of the start that won, and a new stage begins at each step listed in `stages`.
    - `finals`: the best parameters of every start: name to shape (starts, ...).
    - `failures`: a line for each start whose loss or gradient turned NaN, with its parameters.
    - `notes`: lines about what could not be determined.
    - `output`: what the model says over the whole recording (the loss's `Terms.output`), or None.
    - `loss_fn`: the loss (the last, if there were several); call it with another recording for a score there.
    - `recording`, `dt`, `split`: what was fitted, at which time step, and where (ms) the held-out part begins, or None.
    - `seconds`: how long it took.
    """

    model: Any
    params: dict[str, Fitted]
    loss: float
    held_out: float | None
    history: np.ndarray
    best: int
    stages: tuple[int, ...]
    finals: dict[str, np.ndarray]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    output: np.ndarray | None
    loss_fn: Callable
    recording: Any
    dt: float | None
    split: float | None
    seconds: float

    def __str__(self) -> str:
        held_out = "" if self.held_out is None else f", held out {self.held_out:.6g}"
        tried = f"{len(self.history)} starts, {len(self.history.T)} steps, {self.seconds:.1f} s"
        lines = [f"loss {self.loss:.6g}{held_out} ({tried})"]
        names = [f"{name} ({p.unit})" if p.unit else name for name, p in self.params.items()]
        width = max(map(len, names))
        for name, p in zip(names, self.params.values(), strict=True):
            for value, low, high in np.stack([p.value, p.low, p.high], -1).reshape(-1, 3).tolist():
                interval = p.note or "no interval" if np.isnan(low) else f"95 %: {low:.4g} to {high:.4g}"
                lines.append(f"  {name:{width}}  {value:10.5g}  {interval}; searched {p.lower:g} to {p.upper:g}")
        lines += self.notes
        if self.failures:
            more = f", and {len(self.failures) - 1} more" if self.failures[1:] else ""
            lines += [f"{failure}{more}" for failure in self.failures[:1]]
        return "\n".join(lines)

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the fit as plain lists and dicts, for JSON; None where a number is not finite."""
        params = {name: {key: _plain(x) for key, x in p._asdict().items()} for name, p in self.params.items()}
        simple = ("loss", "held_out", "best", "stages", "failures", "notes", "dt", "split", "seconds", "history")
        return {"params": params, **{name: _plain(getattr(self, name)) for name in simple}}

    def plot(self) -> "Figure":
        """A figure: data and fitted trace with their difference (where there is a trace), a free run of the model with
        the stimulus alone, the loss of every start, and the parameters within their bounds. Needs matplotlib.

        Save it with `fit.plot().savefig("fit.png")`.
        """
        from ._plot import plot  # matplotlib is an extra

        return plot(self)


def _plain(x: Any) -> Any:
    if x is None or isinstance(x, str):
        return x
    if isinstance(x, tuple | list):
        return [_plain(item) for item in x]
    if np.ndim(x):
        return [_plain(item) for item in np.asarray(x)]
    number = np.asarray(x).item()
    return number if not isinstance(number, float) or np.isfinite(number) else None
