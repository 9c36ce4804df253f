"""Every use of JAX API that is not public, in one place, so that a new JAX release is one folder's work.

What a release of JAX lacks is replaced by something slower, and if there is nothing, one line says so.
"""

from . import _version as _version
from ._devices import alike as alike, as_carried as as_carried, scan as scan
from ._double import double as double, in_double as in_double
from ._options import cpu_options as cpu_options, is_cuda as is_cuda
from ._primitives import (
    Primitive as Primitive,
    ShapedArray as ShapedArray,
    Zero as Zero,
    define_call as define_call,
    define_dce as define_dce,
    define_lowering as define_lowering,
    define_primitive as define_primitive,
    instantiated as instantiated,
    is_undefined_primal as is_undefined_primal,
    primitives as primitives,
)
from ._programs import as_function as as_function, evaluate as evaluate, is_literal as is_literal
from ._tracing import (
    as_jax as as_jax,
    at_once as at_once,
    is_outermost as is_outermost,
    is_traced as is_traced,
    zeros as zeros,
)
