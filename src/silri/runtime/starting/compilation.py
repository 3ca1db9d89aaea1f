"""JAX's persistent compilation cache: the second start of a command compiles nothing."""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from pathlib import Path

import jax

VARIABLE = "SILRI_COMPILATION_CACHE"
GRACE_S = 60.0  # clocks of file systems differ


def enable_compilation_cache() -> Path | None:
    """Use the folder in ``SILRI_COMPILATION_CACHE`` (empty: none), else one in the user's cache."""
    given = os.environ.get(VARIABLE)
    if given == "":
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(given) if given else base / "silri" / "jax"
    drop_cut_entries(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return folder


def drop_cut_entries(folder: Path) -> None:
    """Remove what a process left half-written when it was killed.

    JAX does not write its entries in one step, warns of a cut one at every start, and never
    replaces it. Only what is new since the last look is read.
    """
    mark = folder / "checked"
    since = mark.stat().st_mtime if mark.exists() else 0.0
    if not folder.is_dir():
        return
    begun = time.time()
    for path in folder.glob("*-cache"):
        # One that is being written at this moment is compiled again: no harm.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime >= since - GRACE_S and _is_cut(path.read_bytes()):
                path.unlink()
    mark.touch()
    os.utime(mark, (begun, begun))


def _is_cut(entry: bytes) -> bool:
    if entry[:1] != b"\x78":  # not zlib's: empty, or compressed by zstandard if that is there
        return not entry
    decompressor = zlib.decompressobj()
    try:
        decompressor.decompress(entry)
    except zlib.error:
        return True
    return not decompressor.eof
