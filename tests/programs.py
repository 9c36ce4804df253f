"""Which of the two programs of a network's run a test wants: see `brainsim._differentiated`."""

import jax
import pytest

from brainsim import _simulate


def apart(go):
    """`go`, traced, with networks stepped population by population, as they are where somebody differentiates."""

    def plainly(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_simulate, "better_together", lambda node: False)
            return go(*args)

    return jax.jit(plainly)
