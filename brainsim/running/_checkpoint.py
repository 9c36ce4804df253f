"""What it takes to go on after a crash: the state of a run in a file, and a fingerprint of what ran."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._dynamics import AbstractNode
from .._record import Record, Snapshot
from .._simulate import program

_FILE = "checkpoint.npz"
_ABOUT = "about.json"


class Progress(NamedTuple):
    """How far a run is: steps done, and the rows that each table has by then. What lies beyond is not valid."""

    steps: int
    rows: dict[str, int]


def save(folder: Path, progress: Progress, state: Snapshot) -> None:
    """Writes the checkpoint: arrays by path, keys as their data. The file is replaced at once or not at all."""
    arrays = {name: _plain(x) for name, x in _leaves(state).items()}
    about = np.frombuffer(json.dumps(progress._asdict()).encode(), np.uint8)
    partial = folder / f".{_FILE}"
    with open(partial, "wb") as file:
        np.savez(file, **{_ABOUT: about, **arrays})  # pyright: ignore[reportArgumentType]
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / _FILE)


def load(folder: Path) -> tuple[Progress, dict[str, np.ndarray]]:
    """The checkpoint in a folder.

    **Raises:** `ValueError` if there is none that can be read.
    """
    try:
        with np.load(folder / _FILE, allow_pickle=False) as file:
            arrays = dict(file)
        progress = Progress(**json.loads(arrays.pop(_ABOUT).tobytes()))
    except Exception as error:  # whatever numpy says to a broken file
        raise ValueError(f"{folder}: not a run of brainsim ({' '.join(str(error).split())[:120]})") from None
    return progress, arrays


def restore(arrays: Mapping[str, np.ndarray], like: Snapshot) -> Snapshot:
    """The saved state, with the structure and the types of `like`."""
    leaves = [_restored(arrays[name], x) for name, x in _leaves(like).items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _leaves(tree: Any) -> dict[str, Any]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in paths}


def _plain(x: Any) -> np.ndarray:
    if _is_key(x):
        x = jax.random.key_data(x)
    x = np.asarray(x)
    return x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "V" else x  # bfloat16 and the like


def _restored(x: np.ndarray, like: Any) -> jax.Array:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(x), impl=jax.random.key_impl(like))
    return jnp.asarray(x.view(like.dtype) if like.dtype.kind == "V" else x)


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


# ---- the fingerprint


def fingerprint(
    node: AbstractNode, dt: float, inputs: dict[str, Any], records: dict[str, Record], state: Snapshot, solver: Any
) -> dict[str, Any]:
    """What must be the same for a run to go on with the same bits: the step, records, values and the program itself."""
    given = {"": node, "inputs.": inputs, "solver.": solver, "state.": state}
    values = {f"{prefix}{name}": _digest(_plain(x)) for prefix, tree in given.items() for name, x in _arrays(tree)}
    text = program(node, dt, inputs, {n: _dense(r) for n, r in records.items()}, state, solver)
    return {
        "dt": float(dt),
        "records": {name: _spelled(record) for name, record in records.items()},
        "values": values,
        "program": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
        "jax": jax.__version__,
    }


def difference(now: Mapping[str, Any], then: Mapping[str, Any]) -> str:
    """What keeps a run from being resumed; empty if nothing does."""
    if now["dt"] != then["dt"]:
        return f"dt is {now['dt']:g} ms, but the run has {then['dt']:g} ms"
    if now["records"] != then["records"]:
        show = lambda records: ", ".join(f"{name}={x}" for name, x in records.items()) or "nothing"
        return f"the records are {show(now['records'])}, but the run has {show(then['records'])}"
    a, b = now["values"], then["values"]
    if other := [name for name in {**a, **b} if name not in a or name not in b]:
        return f"{other[0]} is only in the {'new' if other[0] in a else 'old'} model"
    if other := [name for name in a if a[name] != b[name]]:
        return f"{other[0]} has another value than in the run" + (f" (and {len(other) - 1} more)" if other[1:] else "")
    if now["program"] != then["program"]:
        jax_too = "" if now["jax"] == then["jax"] else f", or JAX {then['jax']} was another than {now['jax']}"
        return f"the model's equations, inputs or recorded functions are not those of the run{jax_too}"
    return ""


def _arrays(tree: Any) -> list[tuple[str, Any]]:
    return [(name, x) for name, x in _leaves(tree).items() if isinstance(x, jax.Array | np.ndarray)]


def _dense(record: Record) -> Record:
    """The record without a capacity, which grows as needed and changes nothing."""
    return record if record.events is None else Record(record.what, index=record.index, events=1)


def _spelled(record: Record) -> str:
    what = record.what if isinstance(record.what, str | tuple | bool) else "a function"
    index = "" if record.index is None else f", index={record.index}"
    return re.sub(r"\s+", " ", f"{what}, every={record.every}{index}, dtype={record.dtype}")


def _digest(x: np.ndarray) -> str:
    digest = hashlib.blake2b(f"{x.dtype}{x.shape}".encode(), digest_size=8)
    digest.update(np.ascontiguousarray(x).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
