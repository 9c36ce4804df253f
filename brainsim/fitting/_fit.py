"""`fit`: free parameters, a recording and a loss in; the best model out."""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from .. import losses
from .._domain import POSITIVE
from .._doors import check_function, check_progress, check_takes, given_count, key_or_none
from .._progress import Progress
from .._quantity import shown
from .._resumable import asked_for, check_free
from .._typing import number, truth, whole_number
from ._intervals import Interval, confidence
from ._minimise import GaussNewton, first_order, gauss_newton
from ._objective import Linearised, Objective
from ._result import Fit, Fitted
from ._search import Search
from ._space import Space

COARSE_TO_FINE = (2.0, 0.1)
"""Couplings (1/ms) of the stages of a fit to a voltage: the first finds the valley, the second its bottom."""


def fit(
    model: Any,
    recording: Any,
    *,
    free: Mapping[str, Any],
    loss: Callable | Sequence[Callable] | None = None,
    optimizer: optax.GradientTransformation | GaussNewton | None = None,
    starts: int = 64,
    steps: int | None = None,
    key: Array | None = None,
    holdout: float = 0.2,
    split: float | None = None,
    dt: float | None = None,
    intervals: bool = True,
    progress: Progress = True,
    out: str | os.PathLike | None = None,
    resume: bool | str = False,
    overwrite: bool = False,
) -> Fit:
    """Fit parameters of a model to a recording, within bounds, from many starts at once.

    **Main arguments:**

    - `model`: a neuron, or whatever module the loss takes. It is the first start, if it lies between the bounds.
    - `recording`: a `brainsim.io.Recording`, or whatever the loss takes (then nothing is held out).
    - `free`: name of a parameter to `(lower, upper)` or `(lower, upper, "log" or "linear")`, in the parameter's unit.
      The default scale is logarithmic for positive bounds that span a factor of 20. Names are those of
      `brainsim.parameters`, or ends of them that only one has.
    - `loss`: a pure function `loss(model, recording)` that returns `brainsim.losses.Terms`, or a number to be made
      small. A list of losses is minimised one after the other, each from where the last ended. Default:
      `brainsim.losses.voltage_mse`, first strongly, then weakly coupled to the recording, if that has a voltage, else
      `brainsim.losses.spike_log_likelihood`.

    **Other arguments:**

    - `optimizer`: `brainsim.fitting.GaussNewton()` or an optax optimiser. Default: the former if the loss returns
      `Terms`, else Adam with a rate that falls from 0.1.
    - `starts`: how many points of a Latin hypercube over the bounds to start from, default 64.
    - `steps`: at most so many for each loss, default 40 Gauss-Newton steps or 300 of another optimiser.
    - `key`: draws the starts, default `jax.random.key(0)`.
    - `holdout`: the fraction at the end of the recording that is never seen in training, default 0.2.
    - `split`: instead of `holdout`, the time (ms, on the recording's clock) at which the held-out part begins.
    - `dt`: time step of the model, ms; default the recording's. The recording is resampled to it.
    - `intervals`: whether to give 95 % intervals, if the loss returns `Terms`. Default yes.
    - `progress`: `True` for a bar in a terminal, `False`, or a function that is called with (done, total).
    - `out`: a folder that shall appear, where the state of the search is kept every second; default none.
    - `resume`: continue the fit in `out` after a crash, with the same bits as an uninterrupted one. If there is
      nothing, start. `"anyway"`: also on another machine or with other versions, which may change last bits.
    - `overwrite`: replace a fit that is in `out`.

    **Returns:** a `Fit`. With `Terms` the held-out loss is that of the last bins of a run over the whole recording;
    with a number it is the loss of the held-out part alone.

    **Raises:** `ValueError`, in one line: an unknown parameter (with what is available), empty or infinite bounds, a
    split outside the recording, no start with a finite loss, an `out` that exists or is of another fit. `OSError` if
    the disk is full or `out` disappears.

    ```python
    >>> import brainsim as bs, jax, numpy as np
    >>> pulse = np.tile(np.repeat([0.0, 200.0], 100), 2)
    >>> run = bs.simulate(bs.Population(1, bs.LIF(tau=14.0)), 40.0, dt=0.1, inputs=pulse[:, None], record=dict(v="v"))
    >>> cell = bs.io.Recording(dt=0.1, stimulus=pulse, voltage=np.append(-70.0, run["v"][:-1, 0]))
    >>> fit = bs.fit(bs.LIF(), cell, free=dict(tau=(5.0, 50.0), c=(100.0, 500.0)), starts=4, steps=10)
    >>> [round(fit.params[name].value.item(), 1) for name in ("tau", "c")]
    [14.0, 250.0]

    ```
    """
    began = time.perf_counter()
    path, continued = asked_for(out, resume, overwrite)
    if path is not None and not continued:
        check_free("fit", path, overwrite)
    check_progress(progress)
    key_or_none(key)
    intervals = truth(intervals, "intervals")
    starts, steps = whole_number(starts, "starts", least=1, most=1_000_000), given_count(steps, "steps")
    if optimizer is not None and not isinstance(optimizer, GaussNewton | optax.GradientTransformation):
        raise ValueError(f"optimizer must be GaussNewton() or one of optax's, got {shown(optimizer)}")
    for each in loss if isinstance(loss, list | tuple) else () if loss is None else (loss,):
        check_function(each, "a loss")
        check_takes(each, "a loss", "model", "recording")
    space = Space(model, free)
    train, test, whole, split, dt = _parts(recording, holdout, split, dt)
    stages = _stages(loss, recording)
    objective = Objective(space, train, stages[-1])
    if optimizer is None and objective.has_terms:
        optimizer = GaussNewton()
    if isinstance(optimizer, GaussNewton) and not objective.has_terms:
        raise ValueError("GaussNewton needs a loss that returns brainsim.losses.Terms; give an optax optimizer")
    steps = steps or (40 if isinstance(optimizer, GaussNewton) else 300)
    if isinstance(optimizer, GaussNewton):
        method = gauss_newton(objective, optimizer)
    else:
        method = first_order(objective, optimizer or optax.adam(optax.cosine_decay_schedule(0.1, steps)))

    u = space.starts(jax.random.key(0) if key is None else key, starts)

    def nothing_found(stage: Callable, u: np.ndarray) -> str:
        if objective.has_terms and _weightless(space, stage, jnp.asarray(u), train):
            return f"nothing to fit: {_what_is_missing(train)}"
        return f"no start has a finite loss; the first was {space.describe(u)}: narrow the bounds, or take a smaller dt"

    prepared = time.perf_counter() - began
    found = Search(space, method, stages, u, steps, nothing_found).run(path, continued, overwrite, progress)
    began = time.perf_counter() - prepared - found.seconds  # with what it took before it was resumed
    (last, lowest, at), final, notes = found.best, stages[found.stage], found.notes
    best = int(np.nanargmin(np.where(np.isfinite(lowest), lowest, np.nan)))
    u_best = jnp.asarray(last[best], u.dtype)

    if at is not None:
        at = jax.tree.map(lambda x: x[best : best + 1], at)
    elif objective.has_terms and intervals:
        at = eqx.filter_jit(objective.linearised)(final, u_best[None])
    held_out, output = _unseen(space, final, u_best, objective.has_terms, test, whole, split)
    infinite = held_out is not None and objective.has_terms and not math.isfinite(held_out)
    if infinite and _weightless(space, final, u_best, test):
        held_out, notes = None, (*notes, f"no held-out loss: {_what_is_missing(test)}")
    spread = _spread(space, np.asarray(u_best, float), at if intervals else None, objective.likelihood)
    values = space.values(np.asarray(u_best))
    params = {
        b.name: Fitted(np.asarray(x), b.leaf.unit, b.leaf.doc, b.lower, b.upper, b.scale, *interval)
        for b, x, interval in zip(space.bounds, values, spread, strict=True)
    }
    finals = zip(*map(space.values, last), strict=True)
    return Fit(
        model=space.at(u_best),
        params=params,
        loss=float(lowest[best]),
        held_out=held_out,
        history=found.history,
        best=best,
        stages=found.begins,
        finals={b.name: np.stack(x) for b, x in zip(space.bounds, finals, strict=True)},
        failures=found.failures,
        notes=notes,
        output=output,
        loss_fn=final,
        recording=recording,
        dt=dt,
        split=split,
        seconds=time.perf_counter() - began,
    )


def _parts(recording: Any, holdout: float, split: float | None, dt: float | None) -> tuple:
    """What is trained on, what is held out, all of it, where it is split, and the time step."""
    if isinstance(recording, str | os.PathLike):
        raise ValueError(f"fit takes a recording, not a file: bs.io.read_recording({str(recording)!r}) reads one")
    if not all(callable(getattr(recording, name, None)) for name in ("split", "resample")):
        if split is not None or dt is not None:
            raise ValueError(f"split and dt need a recording, got {type(recording).__name__}")
        return recording, None, recording, None, None
    holdout = number(holdout, "holdout", domain="[0, 1)")
    step = recording.dt if dt is None else number(dt, "dt", unit="ms", domain=POSITIVE)
    split = None if split is None else number(split, "split", unit="ms")
    sampled = lambda part: part if math.isclose(step, recording.dt, rel_tol=1e-9) else part.resample(step)
    if split is None and holdout == 0:
        whole = sampled(recording)
        return whole, None, whole, None, step
    if split is None:
        split = recording.t0 + (1 - holdout) * recording.duration
    coarse = max(step, recording.dt)  # the split falls between samples of both
    split = recording.t0 + round((split - recording.t0) / coarse) * coarse
    train, test = recording.split(split)  # before resampling, which looks at neighbours
    return sampled(train), sampled(test), sampled(recording), split, step


def _stages(loss: Callable | Sequence[Callable] | None, recording: Any) -> list[Callable]:
    if loss is None and getattr(recording, "voltage", None) is not None:
        return [jax.tree_util.Partial(losses.voltage_mse, coupling=jnp.asarray(c, float)) for c in COARSE_TO_FINE]
    if loss is None and getattr(recording, "spike_times", None) is not None:
        return [losses.spike_log_likelihood]
    stages = [loss] if callable(loss) else list(loss) if isinstance(loss, Sequence) else []
    if not stages or not all(map(callable, stages)):
        raise ValueError(f"loss must be a function of model and recording, or a list of them, got {loss!r}")
    return stages


def _unseen(
    space: Space, loss: Callable, u: Array, has_terms: bool, test: Any, whole: Any, split: float | None
) -> tuple[float | None, np.ndarray | None]:
    """The held-out loss, and the model's output over the whole recording."""
    if not has_terms:
        return (None if test is None else float(eqx.filter_jit(loss)(space.at(u), test))), None

    @eqx.filter_jit
    def long_run(loss, u):
        terms = loss(space.at(u), whole)
        first = 0 if split is None else round(terms.output.shape[0] * (split - whole.t0) / whole.duration)
        return terms.mean(first), terms.output

    held_out, output = long_run(loss, u)
    return (None if split is None else float(held_out)), np.asarray(output)


def _weightless(space: Space, loss: Callable, u: Array, part: Any) -> bool:
    """Whether the loss counts nothing in this part of the recording, and so is a number divided by 0."""
    return not float(eqx.filter_jit(lambda loss, u: jnp.sum(loss(space.at(u), part).weight))(loss, u))


def _what_is_missing(part: Any) -> str:
    span = "" if getattr(part, "end", None) is None else f" from {part.t0:g} to {part.end:g} ms"
    silent = getattr(part, "spike_times", None) is not None and not len(part.spike_times)
    return f"there are no spikes{span}" if silent else f"there is nothing that the loss counts{span}"


def _spread(space: Space, u: np.ndarray, at: Linearised | None, likelihood: bool) -> list[Interval]:
    if at is not None:
        return confidence(space, u, at, likelihood=likelihood)
    nan = [np.full(bound.leaf.value.shape, np.nan) for bound in space.bounds]
    return [Interval(x, x, "") for x in nan]
