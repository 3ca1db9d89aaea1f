"""One writer per folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from silri.core.errors import RunFolderError

LOCK = ".lock"


class FolderLock:
    """Held from construction to :meth:`release`; the kernel releases it when the process dies.

    Local file systems only: on some network file systems ``flock`` is a no-op.
    """

    def __init__(self, folder: Path) -> None:
        """Take the lock of ``folder``, which exists.

        Raises:
            RunFolderError: if another writer holds it; names its process id.
        """
        self._path = path = folder / LOCK
        # Not one of data.files' primitives: a lock file has no content that a crash could harm.
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            self.release()
            raise RunFolderError(
                f"{folder} is in use by process {holder}; wait for it, stop it, "
                "or give this run a folder of its own with --out"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def in_place(self) -> bool:
        """Whether the folder's lock is still this one: not deleted, and not another folder's."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Let the next writer in; twice is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
