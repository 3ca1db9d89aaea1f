"""Ctrl-C: the first asks to stop, and everything is saved; the second insists."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yields a callable that turns True at the first SIGINT or SIGTERM.

    Raises:
        KeyboardInterrupt: at the second.
    """
    requested: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if requested:
            raise KeyboardInterrupt
        requested.append(number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(requested)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
