"""What models are made of: equinox modules, whose constructors say which names they take."""

import functools as ft
import inspect

import equinox as eqx

from ._text import choices


class Module(eqx.Module):
    """An equinox module that answers a wrong name with those that there are."""

    def __new__(cls, *args, **kwargs):
        names = _names(cls) if kwargs else None
        for name in kwargs:
            if names is not None and name not in names:
                raise TypeError(f"{cls.__name__} takes no {name!r}; {choices(name, names)}")
        return super().__new__(cls, *args, **kwargs)


@ft.cache
def _names(cls: type) -> tuple[str, ...] | None:
    """The names that a constructor takes; None if it takes any."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return tuple(p.name for p in parameters if p.kind is not p.VAR_POSITIONAL)
