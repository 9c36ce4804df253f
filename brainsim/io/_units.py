"""Names with units, as they stand in the header of a table: ``current_nA``, ``voltage (mV)``, ``time [s]``."""

import re
from typing import NamedTuple

import numpy as np

from ._recording import RecordingError

# unit -> (unit of brainsim, factor)
TIME = {"s": ("ms", 1e3), "ms": ("ms", 1.0), "us": ("ms", 1e-3)}
VOLTAGE = {"V": ("mV", 1e3), "mV": ("mV", 1.0), "uV": ("mV", 1e-3)}
CURRENT = {"A": ("pA", 1e12), "uA": ("pA", 1e6), "nA": ("pA", 1e3), "pA": ("pA", 1.0)}
DENSITY = {"mA/cm2": ("uA/cm2", 1e3), "uA/cm2": ("uA/cm2", 1.0), "nA/cm2": ("uA/cm2", 1e-3)}
STIMULUS = CURRENT | DENSITY | VOLTAGE | {"dB": ("dB", 1.0), "a.u.": ("a.u.", 1.0)}

_SPELLINGS = {
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "msec": "ms",
    "milliseconds": "ms",
    "usec": "us",
    "microseconds": "us",
    "volt": "V",
    "volts": "V",
    "millivolts": "mV",
    "ampere": "A",
    "amperes": "A",
    "amps": "A",
    "nanoamperes": "nA",
    "picoamperes": "pA",
    "au": "a.u.",
}

_NAMES = {
    "time": ("time", "times", "t"),
    "voltage": ("voltage", "v", "vm", "membrane_potential", "membrane_voltage"),
    "spikes": ("spike_time", "spike_times", "spikes", "spike"),
    "stimulus": ("stimulus", "stim", "current", "injected_current", "i", "input", "sound", "light"),
    "dt": ("dt",),
    "t0": ("t0",),
    "duration": ("duration",),
}
_ROLE_OF = {name: role for role, names in _NAMES.items() for name in names}
UNITS_OF = {
    "time": TIME,
    "voltage": VOLTAGE,
    "spikes": TIME,
    "stimulus": STIMULUS,
    "dt": TIME,
    "t0": TIME,
    "duration": TIME,
}
EXAMPLE = {
    "time": "time_ms",
    "voltage": "voltage_mV",
    "spikes": "spike_time_ms",
    "stimulus": "current_pA",
    "dt": "dt_ms",
    "t0": "t0_ms",
    "duration": "duration_ms",
}


class Column(NamedTuple):
    """What one header says: the role of the column, its bare name, its unit as written."""

    header: str
    role: str
    name: str
    unit: str


def normal(unit: str) -> str:
    """One spelling per unit: ``uA/cm2`` for ``µA/cm²`` and ``uA_per_cm2``."""
    unit = unit.strip().replace("µ", "u").replace("μ", "u").replace("²", "2").replace("_per_", "/").replace("^", "")
    return _SPELLINGS.get(unit.lower(), unit)


def header_unit(unit: str) -> str:
    """The unit as part of a column name or of a key in an npz file, where a slash would be a folder."""
    return unit.replace("/", "_per_")


def parse_header(header: str, role: str | None = None) -> Column | None:
    """Reads one header. None if it plays no part here, unless a `role` is asked of it."""
    text = header.strip()
    bracket = re.fullmatch(r"(.*?)\s*[(\[]\s*(.*?)\s*[)\]]", text)
    splits = [(bracket[1], bracket[2])] if bracket else [(text, "")]
    if not bracket:  # the longest name first: "spike_time_ms" is a spike time in ms
        splits += [(text[: m.start()], text[m.end() :]) for m in reversed(list(re.finditer("_", text)))]
    for name, unit in splits:
        found = _ROLE_OF.get(name.strip().lower().replace(" ", "_"))
        if found is not None and role in (None, found):
            return Column(header, found, name.strip().replace(" ", "_"), normal(unit))
    if role is None:
        return None
    for name, unit in splits:
        if normal(unit) in UNITS_OF[role]:
            return Column(header, role, name.strip().replace(" ", "_"), normal(unit))
    return Column(header, role, text, "")


def convert(values: np.ndarray, unit: str, allowed: dict[str, tuple[str, float]], what: str, hint: str = "") -> str:
    """Converts `values`, float64 of one's own, where they are, and returns brainsim's unit. Refuses unknown units."""
    unit = normal(unit)
    if unit not in allowed:
        said = f"unknown unit '{unit}'" if unit else "no unit"
        more = f"; write it into the name, as in '{hint}'" if hint and not unit else ""
        raise RecordingError(f"{what}: {said}; known units here are {', '.join(allowed)}{more}")
    target, factor = allowed[unit]
    if factor > 1:
        values *= factor
    elif factor < 1:  # dividing by 1000 is correctly rounded, multiplying by 0.001 is not
        values /= round(1 / factor)
    return target
