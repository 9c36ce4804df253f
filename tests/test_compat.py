"""What JAX lacks is replaced: each module of `_compat` imported again, without what a release may not have."""

import functools as ft
import importlib.util
import runpy
import sys
import types
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from xla_flags import known_flags

from brainsim import _compat

FOLDER = Path(_compat.__file__).parent


class Lost:
    """Finds no module of these names."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, *_):
        if name in self.names:
            raise ModuleNotFoundError(f"no {name}", name=name)


@pytest.fixture
def again(monkeypatch):
    """Imports a module of `_compat` again, after names such as `"jax.interpreters.mlir"` have been taken away."""

    def load(name, *missing):
        with monkeypatch.context() as m:
            m.setattr(sys, "meta_path", [Lost(missing), *sys.meta_path])
            for path in missing:
                module, _, attribute = path.rpartition(".")
                m.delattr(sys.modules[module], attribute)
                m.delitem(sys.modules, path, raising=False)
            spec = importlib.util.spec_from_file_location(f"brainsim._compat.{name}_again", FOLDER / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module

    return load


def test_one_line_for_an_untested_jax(monkeypatch):
    for version, expected in (((0, 10, 0), 0), ((0, 12, 7), 0), ((0, 13, 0), 1), ((1, 0, 0), 1)):
        monkeypatch.setattr(jax, "__version_info__", version)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            runpy.run_path(str(FOLDER / "_version.py"))
        assert [w.category for w in seen] == [RuntimeWarning] * expected


def test_without_primitives_there_is_one_line(again):
    with pytest.raises(
        ImportError, match=r"^this brainsim needs JAX 0\.10 to 0\.12, and this is .*: pip install 'jax>=0\.10,<0\.13'$"
    ):
        again("_primitives", "jax.interpreters.mlir")


def test_without_rules_for_what_is_not_used(again, monkeypatch):
    lost = again("_primitives", "jax.interpreters.xla")
    monkeypatch.delattr(jax.interpreters.partial_eval, "dce_rules")
    f = lost.define_primitive("f", abstract=lambda x: x, reference=lambda x: x + x, jvp=lambda *_: None)
    lost.define_dce(f, lambda used, eqn: 1 / 0)
    assert int(f.bind(jnp.int32(3))) == 6


def test_rules_for_what_is_not_used_take_either_form(monkeypatch):
    rules = {}
    monkeypatch.setattr(jax.interpreters.partial_eval, "dce_rules", rules)
    _compat.define_dce("f", lambda used, eqn: (used, eqn))
    assert rules["f"]([True], "equation") == rules["f"]([True], [False], "equation") == ([True], "equation")


def test_tracing(again):
    lost = again("_tracing", "jax._src.core.trace_state_clean", "jax.core.eval_context")
    inside = lambda x: (seen.append(lost.is_outermost()), lost.at_once(lambda: jnp.ones(2)), x)[1:]
    seen = [lost.is_outermost()]
    one, _ = jax.jit(lambda x: (seen.append(lost.is_traced(lost.at_once(lambda: jnp.ones(2)))), inside(x))[1])(1.0)
    assert seen == [True, False, False] and one.shape == (2,)


def test_programs(again):
    lost = again("_programs", "jax.extend.core.jaxpr_as_fun")
    f = ft.partial(jax.lax.fori_loop, 0, 3, lambda i, x: jnp.sin(x) + np.float32(0.5))
    closed = jax.make_jaxpr(lambda x: [f(x), 2.0, jax.jit(jnp.cos)(x)])(jnp.float32(0.1))
    for module in (lost, _compat):
        out = module.as_function(closed)(jnp.float32(0.1))
        np.testing.assert_allclose(out, [f(jnp.float32(0.1)), 2.0, np.cos(0.1)], rtol=1e-6)
    bare = types.SimpleNamespace(primitive=jax.lax.sin_p, params={"accuracy": None})  # an equation without context
    assert lost.evaluate(bare, [jnp.float32(0.0)]) == [0.0]


def test_devices(again):
    assert again("_devices", "jax._src.dispatch.prim_requires_devices_during_lowering").needing_devices == set()
    assert again("_options", "jax.extend.backend.get_backend").is_cuda() is False


def test_flags_are_tried_before_they_are_set():
    tried = []

    def attempt(flags):
        tried.append(list(flags))
        unknown = [f"--{flag}" for flag in flags if flag.startswith("no")]
        return f"Unknown flags in XLA_FLAGS: {' '.join(unknown)}\n" if unknown else None

    cache = types.SimpleNamespace(known={}, get=lambda key, default: cache.known.get(key, default))
    cache.set = lambda key, value: cache.known.update({key: value})
    for _ in range(2):  # the second time it is known
        assert known_flags(["yes=1", "no=2", "no_more=0", "also=x"], cache, attempt) == ["yes=1", "also=x"]
    assert tried == [["yes=1", "no=2", "no_more=0", "also=x"], ["yes=1", "also=x"]]
    assert known_flags(["yes=1"], None, lambda flags: "something else") == []
