"""Parameter sweeps: a function over named axes, vmapped in chunks, as an xarray Dataset."""

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._carried import carried
from ._doors import by_name, check_function, check_progress, choice, given_count
from ._points import evaluate
from ._progress import Progress
from ._quantity import numbers, shown
from ._resumable import asked_for, check_free
from ._text import choices

if TYPE_CHECKING:
    import xarray as xr


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Axis:
    """The values of one axis of a sweep, with a unit.

    **Arguments:**

    - `values`: shape (n,), or (n, ...) or random keys, whose coordinate is then 0 ... n - 1.
    - `unit`: what the numbers are in, e.g. `"ms"`. Quantities in another unit are converted to it.
    - `doc`: what the axis means, in a few words.

    ```python
    >>> import brainsim as bs
    >>> data = bs.sweep(lambda tau: 1e3 / tau, tau=bs.Axis([5.0, 10.0], "ms"), units=dict(result="Hz"))
    >>> data.tau.attrs["units"], data.result.attrs["units"], data.result.values.tolist()
    ('ms', 'Hz', [200.0, 100.0])

    ```
    """

    values: Any
    unit: str = ""
    doc: str = ""

    def __post_init__(self):
        for name in ("unit", "doc"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"the {name} of an axis must be text, got {shown(getattr(self, name))}")
        if not isinstance(self.values, jax.Array):  # which may be random keys
            try:
                object.__setattr__(self, "values", numbers(self.values, self.unit))
                np.asarray(self.values)
            except ValueError as e:
                said = str(e)
                why = said if said.startswith("must") else f"must have rows of one length, got {shown(self.values)}"
                raise ValueError(f"the values of an axis {why}") from None


def sweep(
    fn: Callable[..., Any],
    axes: Mapping[str, Any] | None = None,
    /,
    *,
    mode: str = "grid",
    chunk: int | None = None,
    dims: Mapping[str, tuple[str, ...]] | None = None,
    units: Mapping[str, str] | None = None,
    progress: Progress = True,
    out: str | os.PathLike | None = None,
    resume: bool | str = False,
    overwrite: bool = False,
    **named: Any,
) -> "xr.Dataset":
    """Evaluate `fn` at every point of a grid (or along zipped axes), many points at once.

    `fn` is traced once, vmapped over chunks of equal size and compiled once. NaNs stay in the result.

    **Main arguments:**

    - `fn`: takes one value of every axis, by name; a pure JAX function. It returns a scalar, an array, or a dict of
      them.
    - `axes`, `named`: name to values: an array of shape (n,), or an `Axis`, which has a unit. The mapping is for names
      that cannot be keywords: `bs.sweep(lambda **p: rate(bs.with_params(net, p)), {"E.neuron.tau": taus})`. Whole
      numbers, such as seeds, are what they are to `fn`, or refused: in 32 bits there are none from 2^32 on.

    **Other arguments:**

    - `mode`: `"grid"`, every combination (default), or `"zip"`, the axes side by side along one dimension `point`.
    - `chunk`: how many points at once; default an eighth of them, between 16 and 1024, or what fits into a quarter of
      the memory.
    - `dims`: names of the dimensions of an output's own array, e.g. `dict(v=("time", "neuron"))`; default `v_0`, `v_1`.
    - `units`: units of the outputs, e.g. `dict(rate="Hz")`.
    - `progress`: `True` for a bar in a terminal, `False`, or a function that is called with (done, total).
    - `out`: a folder that shall appear, where each chunk is kept as soon as it is done; default none.
    - `resume`: take from `out` what is there and do the rest, with the same bits as an uninterrupted sweep. If there is
      nothing, start. `"anyway"`: also on another machine or with other versions, which may change last bits.
    - `overwrite`: replace a sweep that is in `out`.

    **Returns:** an `xarray.Dataset` with one dimension for each axis and one variable for each output (`result`, if
    `fn` returns a single array); units are in `attrs["units"]`.

    **Raises:** `ValueError` for no or empty axes, numbers that JAX would change, zipped axes of different
    lengths, names that clash or are unknown, an `out` that exists or is of another sweep. `OSError` if the disk is full
    or `out` disappears: what was done by then can be resumed.

    ```python
    >>> import brainsim as bs, jax.numpy as jnp
    >>> def rate(current, tau):
    ...     cell = bs.Population(1, bs.with_params(bs.LIF(), tau=tau))
    ...     return bs.rate(bs.simulate(cell, 100.0, dt=0.1, inputs=current, record=dict(spikes=True)).spikes, 0.1)[0]
    >>> data = bs.sweep(rate, current=bs.Axis([400.0, 600.0, 800.0], "pA"), tau=bs.Axis([10.0, 20.0], "ms"))
    >>> data.result.sel(tau=20.0).values.tolist()
    [60.0, 100.0, 130.0]

    ```
    """
    check_function(fn, "what is swept")
    check_progress(progress)
    chunk, mode = given_count(chunk, "chunk"), choice(mode, "mode", ("grid", "zip"))
    dims = by_name(dims, "dims", "dict(v=('time', 'neuron'))")
    units = by_name(units, "units", "dict(rate='Hz')")
    given = by_name(axes, "axes", "dict(tau=[5.0, 10.0])") | named
    read = {name: _Values.read(name, axis) for name, axis in given.items()}
    if not read:
        raise ValueError("nothing to sweep: give at least one axis, e.g. bs.sweep(fn, tau=[5.0, 10.0])")
    _check_names(fn, read)
    lengths = {name: len(axis) for name, axis in read.items()}
    if mode == "zip":
        if len(set(lengths.values())) > 1:
            raise ValueError(f"zipped axes must have equal lengths, got {_listed(lengths)}")
        shape = (next(iter(lengths.values())),)
    else:
        shape = tuple(lengths.values())

    total = int(np.prod(shape))
    places = np.unravel_index(np.arange(total), shape)  # of every point on every axis
    index = dict(zip(read, places if mode == "grid" else places * len(read), strict=True))
    path, continued = asked_for(out, resume, overwrite)
    if path is not None and not continued:
        check_free("sweep", path, overwrite)
    values = {name: axis.values for name, axis in read.items()}
    check = lambda shapes: _check_outputs(read, shapes, dims, units)
    outputs = evaluate(fn, values, index, total, chunk, progress, path, continued, overwrite, check)
    return _dataset(read, outputs, shape, mode, dims, units)


@final
@dataclasses.dataclass(frozen=True)
class _Values:
    """The values of an axis as `fn` gets them, and as the result is labelled."""

    values: Array
    labels: np.ndarray
    attrs: dict[str, str]

    def __len__(self) -> int:
        return self.values.shape[0]

    @staticmethod
    def read(name: str, given: Any) -> "_Values":
        axis = given if isinstance(given, Axis) else Axis(given)
        values = carried(f"axis {name!r}", axis.values)
        if values.ndim == 0:
            raise ValueError(f"axis {name!r} must have shape (n,), got the single value {axis.values!r}")
        if values.shape[0] == 0:
            raise ValueError(f"axis {name!r} is empty")
        plain = values.ndim == 1 and not jnp.issubdtype(values.dtype, jax.dtypes.prng_key)
        labels = np.asarray(axis.values) if plain else np.arange(values.shape[0])
        attrs = {"units": axis.unit, "long_name": axis.doc}
        return _Values(values, labels, {k: x for k, x in attrs.items() if x})


def _check_names(fn: Callable, axes: dict[str, _Values]) -> None:
    """One line for an axis that `fn` does not take, or an argument that has no axis."""
    try:
        takes = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # a callable that does not tell
        return
    names = [p.name for p in takes if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY)]
    needed = [p.name for p in takes if p.name in names and p.default is p.empty]
    if not any(p.kind is p.VAR_KEYWORD for p in takes):
        for name in axes:
            if name not in names:
                raise ValueError(f"the function takes no {name!r}; it takes: {', '.join(names) or 'nothing by name'}")
    for name in needed:
        if name not in axes:
            raise ValueError(f"the function needs {name!r}, which has no axis; axes: {', '.join(axes)}")


def _dataset(
    axes: dict[str, _Values],
    outputs: dict[str, np.ndarray],
    shape: tuple[int, ...],
    mode: str,
    dims: dict[str, tuple[str, ...]],
    units: dict[str, str],
) -> "xr.Dataset":
    import xarray as xr  # half a second, needed only here

    over = tuple(axes) if mode == "grid" else ("point",)
    coords = {name: ((name,) if mode == "grid" else over, axis.labels, axis.attrs) for name, axis in axes.items()}
    variables = {}
    for name, x in outputs.items():
        own = _own_dims(name, x.shape[1:], dims)
        attrs = {"units": units[name]} if name in units else {}
        variables[name] = ((*over, *own), x.reshape(*shape, *x.shape[1:]), attrs)
    return xr.Dataset(variables, coords)


def _check_outputs(axes: Iterable[str], shapes: dict[str, tuple[int, ...]], dims: dict, units: dict[str, str]) -> None:
    """What is said of the outputs fits them, which is known before the first point is done."""
    for what, given in (("dims", dims), ("units", units)):
        if unknown := [name for name in given if name not in shapes]:
            raise ValueError(f"{what} for unknown output {unknown[0]!r}; {choices(unknown[0], shapes)}")
    if clash := [name for name in shapes if name in axes]:
        raise ValueError(f"output {clash[0]!r} has the name of an axis")
    for name, shape in shapes.items():
        own = _own_dims(name, shape, dims)
        if len(own) != len(shape) or not all(isinstance(x, str) for x in own):
            raise ValueError(f"dims[{name!r}] must name {len(shape)} dimensions, of shape {shape}; got {own}")


def _own_dims(name: str, shape: tuple[int, ...], dims: dict[str, Any]) -> tuple[str, ...]:
    """The names of the dimensions of one point's output."""
    own = dims.get(name, tuple(f"{name}_{i}" for i in range(len(shape))))
    return tuple(own) if isinstance(own, list | tuple) else (own,)


def _listed(lengths: dict[str, int]) -> str:
    return ", ".join(f"{name}: {n}" for name, n in lengths.items())
