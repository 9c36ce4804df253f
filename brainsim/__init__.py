"""brainsim: a differentiable brain simulator on JAX."""

from . import ops as ops
