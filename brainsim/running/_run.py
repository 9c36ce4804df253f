"""`run`: the host-side driver of long simulations."""

import contextlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from jaxtyping import Array

from .._compat import is_outermost
from .._doors import by_name, check_node, check_progress, check_solvers
from .._dynamics import AbstractNode
from .._progress import Progress, progress_bar
from .._record import Record, Snapshot
from .._resumable import asked_for
from .._simulate import named_inputs, named_records
from .._start import started
from .._text import choices
from .._typing import as_path, number, whole
from ._open import open_store
from ._result import Run
from ._sink import Job, Sink

_BYTES = 2**28  # of what a chunk records, by default
_STEPS = 1000  # in a chunk, by default and at least


def run(
    node: AbstractNode,
    duration: float,
    dt: float,
    inputs: Any = None,
    record: Mapping[str, Any] | None = None,
    *,
    out: str | os.PathLike | None = None,
    chunk: float | None = None,
    resume: bool | str = False,
    overwrite: bool = False,
    units: Mapping[str, str] | None = None,
    progress: Progress = True,
    state: Snapshot | None = None,
    start: float | None = None,
    solver: Any = None,
    key: Array | None = None,
) -> Run:
    """Runs `node` for `duration` ms as `simulate` does, to the bit, but in chunks: with a bar, to disk, resumable.

    Spikes are kept as lists of events (`brainsim.Spikes`), whether a raster was asked for or a list. A list that has
    too little room for a chunk gets more, and the chunk is run again: no spike is lost.

    **Arguments:** `node`, `duration`, `dt`, `inputs`, `record`, `state`, `start`, `solver` and `key` are those of
    `simulate`.

    - `out`: a folder that shall appear, with the zarr store `records.zarr`, which has a group for each record and which
      xarray reads; default none, records stay in memory. After every chunk the state is saved in the folder, too.
      What is saved outlasts a power loss. While a process writes there, another one gets an error.
    - `chunk`: ms to simulate between writes; default a twentieth of the run, as far as memory allows. It is rounded up
      to two steps and to a multiple of the longest `every`, and does not change the result.
    - `resume`: continue what is in `out` after a crash, or up to a longer duration, with the same bits as an
      uninterrupted run. If there is nothing, start. `"anyway"`: also on another machine or with other versions, which
      may change last bits.
    - `overwrite`: replace a run that is in `out`.
    - `units`: of records, e.g. `dict(g="nS")`; membrane potentials, named v, have mV by themselves.
    - `progress`: `True` for a bar in a terminal, `False`, or a function that is called with (done, total) steps.

    **Returns:** a `Run`. Ctrl-C ends a run after the chunk it is in. What is on disk can be resumed then, and
    `KeyboardInterrupt` goes on; without `out`, the part that was run is returned, with a warning.

    **Raises:** `ValueError`, in one line: what `simulate` refuses; `out` exists; another model, time step, inputs,
    records, units, machine or versions than in the run to be resumed; a call inside of `jit` and the like. `OSError`,
    in one line, if the disk is full or `out` disappears: what was run by then can be resumed.

    ```python
    >>> import brainsim as bs, tempfile, pathlib
    >>> cells = bs.Population(3, bs.LIF())
    >>> out = pathlib.Path(tempfile.mkdtemp()) / "run"
    >>> run = bs.run(cells, 100.0, dt=0.1, inputs=500.0, record=dict(spikes=True, v="v"), out=out, chunk=20.0)
    >>> run["v"].dims, run["v"].attrs["units"], len(run.spikes.numpy()[0])
    (('time', 'neuron'), 'mV', 18)
    >>> bs.run(cells, 200.0, dt=0.1, inputs=500.0, record=dict(spikes=True, v="v"), out=out, resume=True).times("v")[-1]
    np.float64(200.0)

    ```
    """
    if not is_outermost():
        raise ValueError("run drives a simulation from outside; inside of jit, grad or vmap use simulate")
    check_node(node, "run")
    check_solvers(solver)
    check_progress(progress)
    units = by_name(units, "units of records", "dict(g='nS')")
    steps, dt = whole(duration, dt, "the duration"), number(dt, "dt", unit="ms")
    duration = number(duration, "the duration", unit="ms")
    given = named_inputs(node, inputs, steps)
    records = named_records(node, record)
    if unknown := [name for name in units if name not in records]:
        raise ValueError(f"units for unknown record {unknown[0]!r}; {choices(unknown[0], records)}")
    path, continued = asked_for(out, resume, overwrite)
    longest = max((r.every for r in records.values()), default=1)
    least = max(longest, 2)  # of a loop of a single step XLA would make another program
    size = max(-(-_chunk(node, steps, dt, chunk, records) // longest) * longest, least)
    job = Job(node, dt, steps, given, records, started(node, dt, steps, state, key, start), solver, units)
    sink = Sink(job, path, resume=continued, overwrite=overwrite)
    with contextlib.closing(sink), _interrupts() as interrupted, progress_bar(progress, steps, "run") as update:
        update(sink.done)
        while sink.done < steps and not interrupted.is_set():
            begun = time.perf_counter()
            length = _length(sink.done, steps, size, least)
            job, result = job.chunk(sink.done, length, sink.state)
            sink.add(result, length)
            update(sink.done, **{"s/s": length * dt * 1e-3 / (time.perf_counter() - begun)})
    if sink.done < steps:
        message = f"interrupted at {sink.done * dt:g} ms of {duration:g} ms"
        if path is not None:
            raise KeyboardInterrupt(f"{message}; {path} holds what was run, and resume=True continues it")
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return sink.result()


def open_run(path: str | os.PathLike) -> Run:
    """The run in a folder that `run(out=...)` wrote, or is writing: what is complete by now.

    **Raises:** `ValueError` if there is none, or if a file of it is missing, cut short or a link.

    ```python
    >>> import brainsim as bs, tempfile, pathlib
    >>> out = pathlib.Path(tempfile.mkdtemp()) / "run"
    >>> _ = bs.run(bs.Population(3, bs.LIF()), 100.0, dt=0.1, inputs=500.0, record=dict(v="v"), out=out)
    >>> bs.open_run(out)["v"].shape
    (1000, 3)

    ```
    """
    path = as_path(path, "the path of a run")
    found = open_store(path)
    progress = found.progress
    return Run(found.tables, found.store, progress.rows, found.dt, found.start, progress.steps, progress.of, path, None)


def _chunk(node: AbstractNode, steps: int, dt: float, chunk: float | None, records: dict[str, Record]) -> int:
    """The steps of a chunk that were asked for, or that seem right."""
    if chunk is not None:
        return whole(chunk, dt, "the chunk")
    width = sum(node.sizes.values())  # numbers that a record takes in a step, unless it says that it takes few
    row = sum(width / r.every for r in records.values() if r.index is None and r.events is None)
    return int(min(max(_STEPS, steps // 20), max(1, _BYTES // (4 * max(1.0, row)))))


def _length(done: int, steps: int, chunk: int, least: int) -> int:
    """The steps of the next chunk: a rest of fewer than `least` steps joins the chunk before it."""
    left = steps - done
    return left if left - chunk < least else chunk


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one interrupts at once, as does one in another thread."""
    pressed = threading.Event()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed
        return

    def handler(number, frame):
        if pressed.is_set():
            signal.default_int_handler(number, frame)
        pressed.set()

    signal.signal(signal.SIGINT, handler)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
