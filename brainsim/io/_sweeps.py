"""Sweeps of an NWB file: what was measured, and which stimulus was injected meanwhile, if the file says so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ._columns import listed
from ._recording import RecordingError


class Trace(NamedTuple):
    """A part of one time series of the file: `count` samples from `start`, or all of it."""

    series: Any
    start: int = 0
    count: int = -1


class Sweep(NamedTuple):
    """One response, and the stimuli that may belong to it: one, none, or several that the file does not tell apart."""

    number: int | None
    response: Trace
    stimuli: Sequence[Trace] = ()


def sweeps(nwb: Any) -> list[Sweep]:
    """The sweeps in current clamp.

    Which stimulus belongs to which says the table of recordings; for a response that is not in it the sweep number; or
    else, among stimuli at the same electrode, which of them overlap with it in time.
    """
    from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries

    found, given, responses = _rows(nwb.intracellular_recordings), list(nwb.stimulus.values()), nwb.acquisition.values()
    found = [s for s in found if isinstance(s.response.series, CurrentClampSeries)]
    if len({(s.number, s.response.series.name) for s in found}) < len(found):  # several rows of one series
        found = [s._replace(number=k) for k, s in enumerate(found)]
    taken = {id(trace.series) for s in found for trace in (s.response, *s.stimuli)}
    given = [s for s in given if isinstance(s, CurrentClampStimulusSeries) and id(s) not in taken]
    for k, response in enumerate(r for r in responses if isinstance(r, CurrentClampSeries) and id(r) not in taken):
        number = k if response.sweep_number is None and not taken else response.sweep_number
        stimuli = tuple(map(Trace, _partners(response, given)))
        found.append(Sweep(None if number is None else int(number), Trace(response), stimuli))
    return found


def _rows(table: Any) -> list[Sweep]:
    """The rows of the table of recordings that have a response."""
    found = []
    if table is None:
        return found
    for k in range(len(table)):
        response, given = (_reference(table[a][b][k]) for a, b in (("responses", "response"), ("stimuli", "stimulus")))
        if response is not None:
            number = getattr(response.series, "sweep_number", None)
            number = int(table.id[k]) if number is None else int(number)
            found.append(Sweep(number, response, () if given is None else (given,)))
    return found


def _reference(reference: Any) -> Trace | None:
    start, count, series = reference
    if start is None or series is None or start < 0 or count < 0:  # how the format says that there is none
        return None
    return Trace(series, int(start), int(count))


def _partners(response: Any, given: list) -> list:
    """The stimuli that may be that of a response which is in no table."""
    if response.neurodata_type == "IZeroClampSeries":  # no current, by definition
        return []
    cell = [s for s in given if s.electrode is response.electrode]
    number = response.sweep_number
    numbered = [s for s in cell if number is not None and s.sweep_number == number]
    if len(numbered) == 1:
        return numbered
    among = numbered or [s for s in cell if number is None or s.sweep_number is None]
    start, stop = _span(response)
    together = [s for s in among if (span := _span(s))[0] < stop and start < span[1]]
    return together or numbered


def _span(series: Any) -> tuple[float, float]:
    """Beginning and end, s, without the half samples by which neighbours may overlap in a rounded time."""
    n = int(series.data.shape[0])
    if series.timestamps is None:
        start, step = float(series.starting_time), 1 / float(series.rate)
    else:
        start, last = (float(series.timestamps[k]) for k in (0, -1))
        step = (last - start) / max(n - 1, 1)
    return start + 0.5 * step, start + (n - 0.5) * step


def choose_sweep(path: Path, found: list[Sweep], asked: int | str | None) -> Sweep:
    """The sweep of a number or a name."""
    names = ", ".join(f"{s.number} ({s.response.series.name})" for s in found[:12])
    names += f", ... {len(found) - 12} more" if len(found) > 12 else ""
    if asked is None:
        if len(found) > 1:
            raise RecordingError(f"{path}: {len(found)} sweeps; choose one with sweep=: {names}")
        return found[0]
    chosen = [s for s in found if asked in (s.number, s.response.series.name) or asked == str(s.number)]
    if len(chosen) != 1:
        word = "no sweep" if not chosen else f"{len(chosen)} sweeps"
        raise RecordingError(f"{path}: {word} {asked!r}; there are {names}")
    return chosen[0]


def choose_stimulus(path: Path, sweep: Sweep, asked: str | None) -> Trace | None:
    """The stimulus of a sweep, or None: never that of another one."""
    names, sweep_name = [s.series.name for s in sweep.stimuli], sweep.response.series.name
    if asked is not None:
        if asked not in names:
            raise RecordingError(f"{path}: '{asked}' is no stimulus of '{sweep_name}'; there are {listed(names)}")
        return sweep.stimuli[names.index(asked)]
    if len(names) > 1:
        raise RecordingError(
            f"{path}: {len(names)} stimuli may belong to '{sweep_name}', by electrode, sweep_number and time: "
            f"{listed(names)}; choose one with stimulus="
        )
    return sweep.stimuli[0] if names else None
