"""What compiles programs, and with which options."""

import functools as ft

import jax


def is_cuda() -> bool:
    """Whether JAX computes on NVIDIA's GPUs: others have the same name there."""
    try:
        from jax.extend.backend import get_backend

        return "cuda" in get_backend().platform_version.lower()
    except (ImportError, AttributeError):
        return jax.default_backend() == "gpu" and "nvidia" in jax.devices()[0].device_kind.lower()


@ft.cache
def cpu_options(*, wide: bool = False) -> dict[str, bool | int]:
    """Options with which XLA compiles long loops better on CPUs, if this XLA has them and runs on a CPU.

    Without region analysis XLA copies every carried array that is read more than once, in every step. With
    `wide`, vectors have 512 bits where a processor has them: that saves a twentieth if arrays stay in the cache.
    """
    if jax.default_backend() != "cpu":
        return {}
    options: dict[str, bool | int] = {"xla_cpu_copy_insertion_use_region_analysis": True}
    if wide:
        options["xla_cpu_prefer_vector_width"] = 512
    return {name: value for name, value in options.items() if _has_option(name, value)}


def _has_option(name: str, value: bool | int) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value})(0.0)
    except (jax.errors.JaxRuntimeError, ValueError):
        return False
    return True
