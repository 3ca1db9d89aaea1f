"""Does the process that started us still live? A lock that the kernel releases when it dies.

Process ids are used again and signals can be missed; a lock on a file of the owner's own cannot
be mistaken for another's. The other way round, everybody who was started shares a second lock, so
that the next owner can wait for those that are about to notice that theirs is dead.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from silri.core.errors import RunFolderError

POLL_S = 0.5
LEAVE_S = 30.0  # for those whose owner died to end; they have less


class Lifeline:
    """Held by an owner while it lives.

    Attributes:
        path: what its children are given.
    """

    def __init__(self, folder: Path) -> None:
        """Take a lock of one's own in ``folder``, when everybody of dead owners has left.

        Raises:
            RunFolderError: another owner lives, or somebody does not leave.
        """
        for old in folder.glob("lifeline-*"):
            if is_held(old):
                raise RunFolderError(
                    f"{folder.parent if folder.name == 'live' else folder} is in use by process "
                    f"{_holder(old)}; wait for it, or stop it"
                )
            _wait_for_crew(old)
            _remove_if_dead(old)
            _crew(old).unlink(missing_ok=True)
        self.path = folder / f"lifeline-{uuid.uuid4().hex[:12]}"
        # Not inherited by children, or they would keep it alive.
        self._descriptor: int | None = None
        while not self.path.exists():  # again: another owner removed it before it was held
            if self._descriptor is not None:
                os.close(self._descriptor)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.path.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        """Let the children know; twice is fine."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            _crew(self.path).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether the owner of ``path`` lives."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _remove_if_dead(path: Path) -> None:
    """Held meanwhile, so that it is not one that is about to be."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


def watch(path: Path, on_death: Callable[[], None]) -> None:
    """Call ``on_death`` once, on a thread of its own, when the owner of ``path`` is dead."""
    pause = threading.Event()
    if is_held(path):
        # Never closed: the kernel does it when this process is gone.
        crew = os.open(_crew(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(crew, fcntl.LOCK_SH)

    def loop() -> None:
        while is_held(path):
            pause.wait(POLL_S)
        on_death()

    threading.Thread(target=loop, name="lifeline", daemon=True).start()


def _crew(path: Path) -> Path:
    return path.with_name(path.name.replace("lifeline", "crew"))


def _wait_for_crew(lifeline: Path) -> None:
    """Until everybody who watches ``lifeline``, whose owner is dead, is gone."""
    try:
        descriptor = os.open(_crew(lifeline), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    deadline = time.monotonic() + LEAVE_S
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RunFolderError(
                        f"processes of an earlier start still use {lifeline.parent}: stop them"
                    ) from None
                time.sleep(POLL_S / 5)
            else:
                return
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    """Who wrote itself into ``path``; it may let go at any moment."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
    except FileNotFoundError:
        return "unknown"
