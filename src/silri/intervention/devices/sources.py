"""Where a device's events come from: its reader thread, or a file that plays it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from silri.core.clock import Clock
from silri.core.errors import ConfigError, SilriError
from silri.intervention.devices.events import BACK, GONE, InputWriter, RawEvent

READ_S = 0.05  # a read waits for this long at most
SILENT_S = 0.5  # a reader that has not come back from a read for this long is stuck
RETRY_S = 0.5  # between two tries to open a device that is gone


class Handle(Protocol):
    """An open device."""

    def read(self, timeout: float) -> Sequence[tuple[str, Any]]:
        """(kind, data) of what it says within ``timeout`` seconds; may be nothing.

        Raises:
            OSError: it is gone.
        """

    def close(self) -> None:
        """Let others open it; may be called again."""


@runtime_checkable
class Listens(Protocol):
    """A device that can be told something, such as where the robot is."""

    def send(self, data: Any) -> None:
        """Take ``data``; called by the thread that reads.

        Raises:
            OSError: it is gone.
        """


class Source(Protocol):
    """Events with their times."""

    @property
    def ended(self) -> bool:
        """Whether nothing will ever come any more."""

    def now(self) -> float:
        """Seconds on the events' clock."""

    def poll(self) -> list[RawEvent]:
        """What has come since the last call; does not wait."""

    def send(self, data: Any) -> None:
        """Tell the device something, if it listens; does not wait. Only the last counts."""

    def rewind(self) -> bool:
        """Begin again; False if that is impossible."""

    def close(self) -> None:
        """Release the device."""


class Reader:
    """Reads a device on a thread of its own, so that :meth:`poll` never waits for it.

    A device that fails is closed, announced as GONE and tried again until it is BACK. So is one
    whose driver does not come back from a read: what it said last may no longer be true.
    """

    ended: bool = False

    def __init__(self, name: str, open_device: Callable[[], Handle], clock: Clock) -> None:
        """Open the device and begin to read.

        Args:
            name: of the device, for the thread.
            open_device: opens it; called again after it was gone.
            clock: of the events.

        Raises:
            ConfigError: it cannot be opened; from ``open_device``.
        """
        self._open, self._clock = open_device, clock
        self._start = clock.now()
        self._events: deque[RawEvent] = deque()
        self._told: Any = None
        self._closing = threading.Event()
        self._handle: Handle | None = open_device()
        self._beat, self._silent = clock.now(), False
        self._thread = threading.Thread(target=self._run, name=f"silri-{name}", daemon=True)
        self._thread.start()

    def now(self) -> float:
        """Seconds since the device was opened."""
        return self._clock.now() - self._start

    def poll(self) -> list[RawEvent]:
        """What the device has said; see :class:`Source`.

        Raises:
            SilriError: the thread has ended; its traceback was printed.
        """
        if not (self._thread.is_alive() or self._closing.is_set()):
            raise SilriError("the thread that reads the device has ended; see its traceback")
        events = []
        while self._events:  # only this thread takes; append and popleft are atomic
            events.append(self._events.popleft())
        silent = self._clock.now() - self._beat > SILENT_S and self._handle is not None
        if silent and not self._silent:
            events.append(RawEvent(self.now(), GONE, f"it has not answered for {SILENT_S} s"))
        self._silent = silent
        return events

    def send(self, data: Any) -> None:
        """Before its next read."""
        self._told = data

    def rewind(self) -> bool:
        """A device cannot."""
        return False

    def close(self) -> None:
        """End the thread and close the device."""
        self._closing.set()
        self._thread.join(timeout=2.0)
        if self._handle is not None:
            self._handle.close()

    def _put(self, kind: str, data: Any) -> None:
        self._events.append(RawEvent(self.now(), kind, data))

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._handle is None:
                self._reopen()
            else:
                self._read(self._handle)

    def _read(self, handle: Handle) -> None:
        began = self._clock.now()
        try:
            told, self._told = self._told, None
            if told is not None and isinstance(handle, Listens):
                handle.send(told)
            said = handle.read(READ_S)
            if (took := self._clock.now() - began) > SILENT_S:
                # It was announced as gone meanwhile. Opened anew, it says everything again.
                raise OSError(f"it did not answer for {took:.1f} s")
            for kind, data in said:
                self._put(kind, data)
        except OSError as error:
            self._handle = None
            handle.close()
            self._put(GONE, str(error))
        self._beat = self._clock.now()

    def _reopen(self) -> None:
        try:
            self._handle = self._open()
        except ConfigError:  # not there yet
            self._closing.wait(RETRY_S)
            return
        self._beat = self._clock.now()
        self._put(BACK, None)


class Replay:
    """Plays recorded events."""

    _began: float | None

    def __init__(self, events: Sequence[RawEvent], clock: Clock, hz: float = 0.0) -> None:
        """Begin with the first poll.

        Args:
            events: in the order of their times.
            clock: that they are played by.
            hz: polls per second of the recording, whatever the clock says; 0: by the clock.
        """
        self._all, self._clock, self._hz = events, clock, hz
        self.rewind()

    @property
    def ended(self) -> bool:
        """Whether everything was played."""
        return self._next == len(self._all)

    def now(self) -> float:
        """Seconds since the first poll."""
        if self._hz:
            return max(self._polls - 1, 0) / self._hz
        return 0.0 if self._began is None else self._clock.now() - self._began

    def poll(self) -> list[RawEvent]:
        """What is due."""
        self._polls += 1
        if self._began is None:
            self._began = self._clock.now()
        first, now = self._next, self.now() + 1e-9
        while self._next < len(self._all) and self._all[self._next].time <= now:
            self._next += 1
        return list(self._all[first : self._next])

    def send(self, data: Any) -> None:
        """A file does not listen."""

    def rewind(self) -> bool:
        """From the beginning."""
        self._next = self._polls = 0
        self._began = None
        return True

    def close(self) -> None:
        """Nothing to release."""


class Recorded:
    """Another source, whose events are also written to a file."""

    def __init__(self, source: Source, path: Path, device: str) -> None:
        """Begin the file.

        Raises:
            ConfigError: it is there already, or cannot be written.
        """
        self._writer, self._source = InputWriter(path, device), source

    @property
    def ended(self) -> bool:
        """Of the source."""
        return self._source.ended

    def now(self) -> float:
        """Of the source."""
        return self._source.now()

    def poll(self) -> list[RawEvent]:
        """Of the source; written before anybody acts on it."""
        events = self._source.poll()
        self._writer.write(events)
        return events

    def send(self, data: Any) -> None:
        """To the source."""
        self._source.send(data)

    def rewind(self) -> bool:
        """What was written stays written."""
        return False

    def close(self) -> None:
        """Both."""
        self._source.close()
        self._writer.close()
