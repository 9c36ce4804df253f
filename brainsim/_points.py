"""A function at many points: vmapped, compiled once, in chunks that fit the memory and are kept on disk if wanted."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from . import _fingerprint as fingerprint
from ._compat import cpu_options
from ._leaves import plain, restored
from ._progress import Progress, progress_bar
from ._resumable import Work

_MOST = 1024  # points per chunk, unless memory says less: beyond it nothing gets faster
_FEWEST = 16  # points per chunk for the sake of a bar that moves


def evaluate(
    fn: Callable,
    values: dict[str, Array],
    index: dict[str, np.ndarray],
    total: int,
    chunk: int | None,
    progress: Progress,
    path: Path | None = None,
    resume: bool | str = False,
    overwrite: bool = False,
    check: Callable[[dict[str, tuple[int, ...]]], None] = lambda shapes: None,
) -> dict[str, np.ndarray]:
    """Every output at every point, shape (total, ...); given a path, chunks are kept there, and taken from there.

    `check` gets the shapes of the outputs of a point before the first one is done.
    """
    example = {name: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for name, x in values.items()}
    # Traced once, with the arrays it closes over (a network's connections) as arguments instead of constants.
    names: list[str] = []

    def called(point):
        output = _named(fn(**point))
        names.extend(output)  # in the order that `fn` has; a dict comes out of JAX sorted
        return output

    traced = eqx.filter_closure_convert(called, example)
    arrays, rest = eqx.partition(traced, eqx.is_array)

    def at(arrays, values, index):
        points = {name: x[index[name]] for name, x in values.items()}
        return jax.vmap(eqx.combine(arrays, rest))(points)

    def lowered(size):
        where = {name: jax.ShapeDtypeStruct((size,), jnp.int32) for name in values}
        return jax.jit(at, compiler_options=cpu_options(wide=True)).lower(arrays, values, where)

    size = _even(total, chunk or min(_MOST, max(_FEWEST, total // 8)))
    program = lowered(size)
    check({name: program.out_info[name].shape[1:] for name in names})
    run = program.compile()
    if chunk is None and (needed := _bytes(run)) > (budget := _memory() // 4) and size > 1:
        size = _even(total, max(1, int(size * budget / needed)))
        program = lowered(size)
        run = program.compile()

    def mark():
        return {
            "the points are": f"{total}, {size} at once",
            "values": fingerprint.values(axes=values, points=index, function=arrays),
            "program": fingerprint.program(program.as_text()),
            "machine": fingerprint.machine(),
        }

    outputs: dict[str, np.ndarray] = {}
    with Work("sweep", path, resume, overwrite, mark) as work, progress_bar(progress, total, "sweep") as update:
        for start in range(0, total, size):
            stop = min(start + size, total)
            part = _kept(work, start, stop - start, program.out_info)
            if part is None:
                padded = np.minimum(np.arange(start, start + size), total - 1)  # every chunk has the shape of the first
                found = run(arrays, values, {name: np.asarray(i[padded], np.int32) for name, i in index.items()})
                part = {name: np.asarray(x)[: stop - start] for name, x in found.items()}
                work.keep(_part(start), {}, {name: plain(x) for name, x in part.items()})
            for name, x in part.items():
                outputs.setdefault(name, np.empty((total, *x.shape[1:]), x.dtype))[start:stop] = x
            update(stop)
    return {name: outputs[name] for name in names}


def _part(start: int) -> str:
    return f"points-{start:09}"


def _kept(work: Work, start: int, count: int, like: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """The outputs of a chunk that was done before; `like` are those of a whole one."""
    kept = work.kept(_part(start))
    if kept is None:
        return None
    examples = {name: np.empty((count, *x.shape[1:]), x.dtype) for name, x in like.items()}
    try:
        return {name: restored(kept[1].get(name), x) for name, x in examples.items()}
    except ValueError:
        return None


def _named(output: Any) -> dict[str, Array]:
    if hasattr(output, "_asdict"):
        output = output._asdict()
    named = output if isinstance(output, Mapping) else {"result": output}
    try:
        return {str(name): jnp.asarray(x) for name, x in named.items()}
    except (TypeError, ValueError):
        raise ValueError(f"the function must return an array or a dict of arrays, got {output!r}") from None


def _even(total: int, most: int) -> int:
    """The size of equal chunks of at most `most` points: as little padding as their number allows."""
    return -(-total // -(-total // most))


def _bytes(compiled: Any) -> int:
    """What a compiled chunk needs besides its arguments; 0 where the backend does not say."""
    analysis = compiled.memory_analysis()
    return 0 if analysis is None else analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def _memory() -> int:
    """The memory of the default device, or of this machine, in bytes."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 8 * 2**30
