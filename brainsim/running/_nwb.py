"""A run as a file of Neurodata Without Borders (pynwb, an optional dependency)."""

import datetime
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._durable import replacing
from ..observables import spike_times
from ._layout import Table

if TYPE_CHECKING:
    from ._result import Run

_SWEEPS = 100  # membrane potentials of more neurons than that go into one series


def write(run: "Run", path: Path, overwrite: bool) -> Path:
    """The file; it appears whole or not at all."""
    try:
        from pynwb import NWBHDF5IO, NWBFile
    except ImportError:
        raise ValueError(f"{path}: writing NWB files needs pynwb: pip install 'brainsim[io]'") from None
    if path.suffix != ".nwb":
        raise ValueError(f"{path}: the name of an NWB file ends in .nwb")
    if path.exists() and not overwrite:
        raise ValueError(f"{path}: the file exists; nothing was written (overwrite=True replaces it)")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder '{path.parent}'")
    start = datetime.datetime.now(datetime.UTC)
    make: Any = NWBFile  # pynwb's classes do not tell type checkers what they take
    file = make(f"A simulation of {run.duration:g} ms by brainsim", str(uuid.uuid4()), start)
    for table in run.tables:
        if table.spikes:
            _add_units(file, run, table)
        else:
            _add_trace(file, run, table)
    with replacing(path) as partial:
        opened: Any = NWBHDF5IO(path=str(partial), mode="w")
        with opened as io:
            io.write(file)
    return path


def _add_units(file: Any, run: "Run", table: Table) -> None:
    if file.units is None:
        file.add_unit_column("record", "name of the record")
        file.add_unit_column("population", "name of the population; empty for a lone one")
        file.add_unit_column("neuron", "number of the neuron in its population")
    spikes: Any = run[table.record]
    spikes = spikes[table.part] if table.part else spikes
    observed = [[run.start * 1e-3, (run.start + run.duration) * 1e-3]]
    for neuron, times in zip(table.numbers, spike_times(spikes), strict=True):
        file.add_unit(
            spike_times=times * 1e-3, obs_intervals=observed, record=table.record, population=table.part, neuron=neuron
        )


def _add_trace(file: Any, run: "Run", table: Table) -> None:
    from pynwb import TimeSeries
    from pynwb.icephys import CurrentClampSeries

    values = run.dataset(table.path)[table.record].values
    every = run.dt * table.every * 1e-3
    base = dict(starting_time=run.start * 1e-3 + every, rate=1 / every)  # a row is the state at the end of its steps
    name = table.path.replace("/", "_")
    if table.unit == "mV" and 0 < table.n <= _SWEEPS:
        device = file.devices.get("brainsim") or file.create_device(name="brainsim", description="a simulator")
        for column, neuron in zip(values.T, table.numbers, strict=True):
            electrode = file.create_icephys_electrode(name=f"{name}_{neuron}", description="ideal", device=device)
            number = np.uint32(len(file.icephys_electrodes) - 1)
            file.add_acquisition(
                CurrentClampSeries(
                    name=f"{name}_{neuron}",
                    data=np.asarray(column, float),
                    conversion=1e-3,
                    electrode=electrode,
                    sweep_number=number,
                    gain=1.0,
                    **base,
                )
            )
        return
    data = values.astype(np.int8) if values.dtype == bool else values
    file.add_acquisition(TimeSeries(name=name, data=data, unit=table.unit or "n.a.", **base))
