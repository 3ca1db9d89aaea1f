"""A full disk, said in words."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from silri.core.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def explained(folder: Path, what: str, size: int = 0) -> Iterator[None]:
    """Turn the operating system's error of a full disk into ours; other errors pass.

    Args:
        folder: on the disk in question.
        what: is being done, e.g. ``storing episode 7``.
        size: bytes that it needs; 0 if nobody knows.

    Raises:
        DataError: the disk or the user's share of it is full.
    """
    try:
        yield
    except OSError as error:
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
