"""Ctrl-C, or a terminal that is gone: the first asks to stop, and everything is saved.

The second insists.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yields a callable that turns True at the first SIGINT, SIGTERM or SIGHUP.

    SIGHUP is what a lost terminal sends; under ``nohup`` it goes on being ignored.

    Raises:
        KeyboardInterrupt: at the second.
    """
    requested: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if requested:
            raise KeyboardInterrupt
        requested.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield lambda: bool(requested)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
