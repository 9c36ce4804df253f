"""Tables of text: a line of names, then a line of numbers for every sample."""

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ._blocks import BLOCK
from ._columns import NOTES, Columns, Stored
from ._recording import RecordingError

_LINE = 1 << 20  # characters; a longer line is not one of a table
_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


def read_csv(path: Path) -> Columns:
    """The header of a table and the ``# name: value`` remarks above it. A column may end before the others."""
    above, line, notes = _header(path)
    delimiter = next((d for d in ",;\t" if d in line), ",")
    names = [name.strip().strip('"') for name in _cells(line, delimiter)]
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        raise RecordingError(f"{path}: two columns have the same name in the header '{line.strip()[:200]}'")
    return Columns(named, notes, lambda wanted: _read(path, above, delimiter, names, wanted))


def _header(path: Path) -> tuple[int, str, dict[str, str]]:
    """The number of the header line, the line, and the remarks above it."""
    notes: dict[str, str] = {}
    for number, line in _lines(path):
        if line.strip() and not line.startswith("#"):
            return number, line, notes
        key, colon, value = line[1:].partition(":")
        if colon and key.strip() in NOTES:
            notes[key.strip()] = value.strip()
    raise RecordingError(f"{path}: no header line; expected one such as 'time_ms,current_pA,voltage_mV'")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8-sig") as stream:
            number = 1
            while line := stream.readline(_LINE):
                if len(line) == _LINE and line[-1] != "\n":
                    raise RecordingError(f"{path}: not a text table (line {number} has more than {_LINE:,} characters)")
                yield number, line
                number += 1
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: not a text table (cannot be read as UTF-8)") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror})") from None


def _cells(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:  # a quoted cell without end
        return line.split(delimiter)


def _read(path: Path, header: int, delimiter: str, names: list[str], wanted: Sequence[str]) -> dict[str, Stored]:
    """One pass over the lines below the header, with 8 bytes for every number."""
    columns = {names.index(name): array("d") for name in wanted}  # of the last lines
    whole = {j: np.empty(0) for j in columns}
    ended: dict[int, int] = {}  # the line of the first empty cell
    for number, line in _lines(path):
        if number <= header:
            continue
        cells = _cells(line, delimiter)
        if len(cells) > len(names) and any(map(str.strip, cells[len(names) :])):
            raise RecordingError(
                f"{path}: line {number} has {len(cells)} cells, the header names {len(names)} columns "
                "(decimal commas? numbers are written with a point)"
            )
        for j, numbers in columns.items():
            cell = cells[j].strip() if j < len(cells) else ""
            if not cell:
                ended.setdefault(j, number)
                continue
            if j in ended:
                raise RecordingError(f"{path}: column '{names[j]}', line {ended[j]}: the cell is empty")
            try:
                numbers.append(float(cell))
            except ValueError:
                comma = "; write it with a decimal point" if _COMMA.fullmatch(cell) else ""
                said = f"'{cell[:60]}' is not a number{comma}"
                raise RecordingError(f"{path}: column '{names[j]}', line {number}: {said}") from None
        if number % BLOCK == 0:
            for j, numbers in columns.items():
                _extend(whole[j], numbers)
    for j, numbers in columns.items():
        _extend(whole[j], numbers)
    return {names[j]: Stored(values, values.dtype) for j, values in whole.items()}


def _extend(values: np.ndarray, numbers: array) -> None:
    """Appends in place and empties `numbers`: there is never a second copy."""
    size = values.size
    values.resize(size + len(numbers), refcheck=False)
    values[size:] = numbers
    del numbers[:]
