"""The console's process, from the run's side: started, watched, started again, ended."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

RESTARTS = 2  # in a row: a console that dies more often will not live
STEADY_S = 60.0  # whoever lived so long begins a new row
END_S = 3.0  # for it to end by itself


class Died(Protocol):
    """Told when the process has ended without being asked to."""

    def __call__(self, text: str, *, again: bool) -> None:
        """``text`` says what happened; ``again``: it is started once more."""


class Child:
    """Runs ``python -m silri.console.server`` while the run lasts.

    It inherits the listening socket, so that pages find it again after a restart. It ends when
    its standard input does, which no death of the run can prevent.
    """

    def __init__(
        self, settings: Mapping[str, Any], listener: socket.socket, log: Path, died: Died
    ) -> None:
        """Start it.

        Args:
            settings: the console's, secrets included; sent through its standard input.
            listener: that pages connect to.
            log: file that its output is appended to.
            died: told, on a thread of its own, when it ends without being asked to.
        """
        self._settings, self._listener, self._log, self._died = settings, listener, log, died
        self._closing = False
        self._lock = threading.Lock()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, name="console-watch", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._process.pid

    def close(self) -> None:
        """End it: by itself, or after :data:`END_S` whatever it does."""
        with self._lock:
            self._closing = True
            process = self._process
        _end(process)
        self._thread.join()

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "silri.console.server"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[descriptor],
                # Ctrl-C in the terminal is for the run, which then ends the console.
                start_new_session=True,
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: the watch says so
            process.stdin.write(json.dumps({**self._settings, "fd": descriptor}).encode() + b"\n")
            process.stdin.flush()
        return process

    def _watch(self) -> None:
        deaths, again = 0, True
        while again:
            started = time.monotonic()
            code = self._process.wait()
            with self._lock:
                if self._closing:
                    return
                deaths = 1 if time.monotonic() - started > STEADY_S else deaths + 1
                again = deaths <= RESTARTS
                text = f"the console's process ended (exit code {code}, see {self._log})"
                ending = "; it is started again" if again else "; the robot has no page any more"
                self._died(text + ending, again=again)
                if again:
                    _end(self._process)
                    self._process = self._start()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
