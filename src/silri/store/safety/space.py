"""A disk that is full or cannot be written to, said in words."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from silri.core.errors import DataError, RunFolderError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT),
    *(errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EIO, errno.ENODEV),
    *(errno.ENOTSUP, errno.ESTALE, errno.ENXIO),
)


def check_writable(path: Path) -> None:
    """Whether a file or a folder can be made at ``path``, before anything takes its time.

    It is tried with an empty folder that is gone again: what a permission says is not all, for
    root, or of a disk that became read-only. A full disk is said by :func:`explained` later.

    Raises:
        RunFolderError: something is in the way, or writing there is not possible.
    """
    try:
        existing = next(each for each in (path, *path.absolute().parents) if each.exists())
        if existing.is_dir():
            trial = existing / f".silri-{os.getpid()}"
            trial.mkdir()
            trial.rmdir()
        elif existing != path:
            raise NotADirectoryError(errno.ENOTDIR, f"{existing} is a file")
    except OSError as error:
        if error.errno in _FULL:
            return
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> RunFolderError:
    why = error.strerror or str(error)
    return RunFolderError(
        f"{path} cannot be written ({why}); choose another place with --out, or mend this one"
    )


@contextmanager
def explained(folder: Path, what: str, size: int = 0) -> Iterator[None]:
    """Turn the operating system's error of a disk that cannot be written to into ours.

    Args:
        folder: on the disk in question.
        what: is being done, e.g. ``storing episode 7``.
        size: bytes that it needs; 0 if nobody knows.

    Raises:
        DataError: the disk or the user's share of it is full.
        RunFolderError: writing is not allowed or not possible there; the place is named.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED:
            raise _refused(Path(error.filename or folder), error) from error
        if error.errno not in _FULL:
            raise
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        needs = f"{what} needs {_megabytes(size)} there" if size else f"no room for {what}"
        raise DataError(
            f"the disk of {folder} is full ({error.strerror}): {needs}, {_megabytes(free)} are "
            "free. What was stored before is safe; make room and go on"
        ) from error


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
