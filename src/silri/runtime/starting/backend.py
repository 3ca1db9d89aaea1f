"""What a process tells JAX before it computes anything."""

from __future__ import annotations

import os

import jax

from silri.runtime.starting.compilation import enable_compilation_cache


def prepare_jax(*, decides: bool = False) -> None:
    """Settings of this process's JAX; what the user's environment says goes first.

    To be called before anything uses JAX. JAX takes three quarters of a GPU's memory at its first
    use, and the next process on that GPU fails: another run, or the learner beside what started
    it. Our networks need megabytes (beside one gigabyte of CUDA's own), so memory is taken as it is
    needed (``XLA_PYTHON_CLIENT_PREALLOCATE``).

    Args:
        decides: this process only acts, or only starts others that learn. It does so on the CPU
            (``JAX_PLATFORMS``): one decision takes half as long there, and it never waits behind
            a learner on the GPU (``benchmarks/gpu.py``).
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if decides and not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")
    enable_compilation_cache()
