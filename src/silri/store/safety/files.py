"""The only write primitives of the store and of checkpoints.

Every step that changes the disk announces itself to :data:`on_write` first, so that a test can
count the steps and kill the process before any one of them, or in the middle of a write. What
a caller may rely on:

- :func:`atomic_write` and :func:`rename`: afterwards the new content is there, whole and
  durable; after a crash at any point the old or the new one is, never a mixture.
- a crash may leave files and folders whose name ends in :data:`TEMPORARY`, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

TEMPORARY = ".tmp"

# Called with the name of the step and its path *before* the step happens. For tests.
on_write: Callable[[str, Path], None] | None = None


def temporary(path: Path) -> Path:
    """Where ``path`` is prepared before it is renamed into place."""
    return path.with_name(path.name + TEMPORARY)


def atomic_write(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace the content of ``path``: written beside, fsync, rename, fsync of the folder.

    Args:
        path: the file; its folder exists.
        data: the whole content.
        durable: False for what can be derived again from other files. It then still changes in
            one step, but a power cut (not a killed process) may undo or damage it.
    """
    beside = temporary(path)
    write_file(beside, data, durable=durable)
    rename(beside, path, durable=durable)


def write_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file that nobody looks at yet, in place. See :func:`atomic_write` for the rest."""
    _announce("open", path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        _write(descriptor, path, data)
        if durable:
            _announce("fsync", path)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: Path, line: str) -> None:
    """Append one line and make it durable; a crash can leave half a line at the end.

    Raises:
        ValueError: if ``line`` contains a line break.
    """
    if "\n" in line:
        raise ValueError(f"one line expected for {path}, got a line break in {line[:40]!r}")
    _announce("open", path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        _write(descriptor, path, line.encode() + b"\n")
        _announce("fsync", path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_dir(path: Path) -> None:
    """Create a folder and what is missing above it, durably. One that exists is fine."""
    if path.is_dir():
        return
    make_dir(path.parent)
    _announce("mkdir", path)
    path.mkdir(exist_ok=True)
    sync_dir(path.parent)


def rename(source: Path, target: Path, *, durable: bool = True) -> None:
    """Move within one file system in one step, replacing a *file* that is in the way."""
    _announce("rename", target)
    source.replace(target)
    if durable:
        sync_dir(target.parent)
        if source.parent != target.parent:
            sync_dir(source.parent)


def link(target: str, path: Path) -> None:
    """Make ``path`` a symbolic link to ``target``, replacing a former link in one step."""
    beside = temporary(path)
    if beside.is_symlink():
        remove(beside)
    _announce("symlink", beside)
    beside.symlink_to(target)
    rename(beside, path)


def remove(path: Path) -> None:
    """Delete a file or a link; one that is gone is fine."""
    _announce("unlink", path)
    path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Delete a folder and all it holds.

    It is renamed first, so that after a crash half a folder never carries the true name.
    """
    if not path.name.endswith(TEMPORARY):
        beside = temporary(path)
        if beside.exists():
            remove_tree(beside)
        rename(path, beside)
        path = beside
    for child in sorted(path.iterdir()):
        if child.is_dir() and not child.is_symlink():
            remove_tree(child)
        else:
            remove(child)
    _announce("rmdir", path)
    path.rmdir()


def sync_dir(path: Path) -> None:
    """Make the names in a folder durable."""
    _announce("fsync", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, path: Path, data: bytes) -> None:
    # In two pieces, so that a torn write is one of the points where a test can kill us.
    middle = len(data) // 2
    for piece in (data[:middle], data[middle:]):
        _announce("write", path)
        left = memoryview(piece)
        while left:
            left = left[os.write(descriptor, left) :]


def _announce(step: str, path: Path) -> None:
    if on_write is not None:
        on_write(step, path)
