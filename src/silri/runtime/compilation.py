"""JAX's persistent compilation cache: the second start of a command compiles nothing."""

from __future__ import annotations

import os
from pathlib import Path

import jax

VARIABLE = "SILRI_COMPILATION_CACHE"


def enable_compilation_cache() -> Path | None:
    """Use the folder in ``SILRI_COMPILATION_CACHE`` (empty: none), else one in the user's cache."""
    given = os.environ.get(VARIABLE)
    if given == "":
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(given) if given else base / "silri" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return folder
