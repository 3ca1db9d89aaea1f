"""One clock for the whole system: monotonic, and fakeable in tests."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since an arbitrary origin, never going back."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait; returns at once for a value that is not positive."""


class MonotonicClock:
    """The real one."""

    def now(self) -> float:
        """``time.monotonic()``."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """``time.sleep`` for positive values."""
        if seconds > 0:
            time.sleep(seconds)


class FakeClock:
    """A clock that a test moves by hand; ``sleep`` moves it too."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """The time the test has set."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Advance by ``seconds``."""
        self.advance(max(seconds, 0.0))

    def advance(self, seconds: float) -> None:
        """Move forward; a clock that goes back is a bug in the test."""
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back by {seconds} s")
        self._now += seconds
