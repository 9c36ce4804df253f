"""What an input is to the time loop."""

from abc import abstractmethod

from jaxtyping import Array, Float, UInt32

from .._module import Module


class AbstractInput(Module):
    """An input with one value per step, constant over the step."""

    @abstractmethod
    def at(self, k: UInt32[Array, ""], dt: float, n: int) -> Float[Array, " n"]:
        """The value in step k, from k·dt to (k + 1)·dt, for each of `n` units."""

    def prepare(self, *, dt: float) -> "AbstractInput":
        """The same input for steps of `dt` ms, with all that can be computed before the time loop computed."""
        return self

    def check(self, n: int) -> None:
        """**Raises:** `ValueError` if there are values for another number of units than `n`."""


def check_rows(n: int, **values: Array) -> None:
    """That what is not one number for all units is one for each of `n`."""
    for name, x in values.items():
        if x.ndim and x.shape not in ((1,), (n,)):
            raise ValueError(f"has {name} of shape {x.shape}, but there are {n} neurons")
