"""Keeps processes alive: starts them, watches their exits and heartbeats, starts them again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from silri.core.clock import Clock
from silri.runtime.cluster.paths import read_record

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0  # before a restart
STEADY_S = 30.0  # who lived so long is started again without delay
CRASHES = 10  # in a row: it will not get better by itself
STOPPED = 100  # exit code: a person has said 'stop', and means everything here
USAGE = 2  # exit code: wrong input, which a restart does not mend
TAIL = 15  # lines of a log that are shown


@dataclass(frozen=True)
class Child:
    """A process to keep alive.

    Attributes:
        name: for people.
        argv: the command.
        log: file that its output is appended to; None: it has the terminal.
        environment: variables beside this process's.
        heartbeat: a record whose ``beat`` must change; None: only the exit is watched.
        patience_s: without a new ``beat`` for so long it is killed and started again.
        leads: when it is done (exit code 0), everything is.
        grace_s: between asking it to stop and killing it.
    """

    name: str
    argv: Sequence[str]
    log: Path | None
    environment: Mapping[str, str] = field(default_factory=dict)
    heartbeat: Path | None = None
    patience_s: float = 60.0
    leads: bool = False
    grace_s: float = 10.0


class _Running:
    """A child and what has become of it."""

    def __init__(self, child: Child, now: float) -> None:
        self.child = child
        self.process: subprocess.Popen | None = None
        self.start_at = now
        self.started = now
        self.crashes = 0
        self.starts = 0
        self.done = False
        self.beat: object = None
        self.beat_at = now
        self.well = False  # it has shown a second sign of life


class Supervisor:
    """A fixed set of children.

    Attributes:
        failed: what made it give up, with the end of the child's log; None while all is well.
        finished: a child that leads is done.
        stopped: a person has asked one of the children to stop.
    """

    def __init__(self, children: Sequence[Child], clock: Clock) -> None:
        self._clock = clock
        self._running = [_Running(child, clock.now()) for child in children]
        self.failed: tuple[int, str] | None = None
        self.finished = self.stopped = False

    def poll(self) -> list[str]:
        """Start what is due, look at everybody; returns what a person should know."""
        messages: list[str] = []
        now = self._clock.now()
        for running in self._running:
            if self.over:
                break
            if running.done:
                continue
            if running.process is None:
                if now >= running.start_at:
                    self._start(running, now)
                continue
            code = running.process.poll()
            if code is not None:
                messages += self._ended(running, code, now)
            elif message := self._hangs(running, now):
                messages.append(message)
                running.process.kill()
        return messages

    @property
    def over(self) -> bool:
        """Whether it is time to stop the others."""
        return self.finished or self.stopped or self.failed is not None

    def pids(self) -> dict[str, int]:
        """Process ids of the children that run, by name."""
        return {
            running.child.name: running.process.pid
            for running in self._running
            if running.process is not None and running.process.poll() is None
        }

    def starts(self) -> dict[str, int]:
        """How often each child was started."""
        return {running.child.name: running.starts for running in self._running}

    def stop(self, names: Callable[[str], bool] = lambda name: True) -> None:
        """Ask the children so named to stop, one after the other, and insist when they do not."""
        chosen = [running for running in self._running if names(running.child.name)]
        for running in chosen:
            running.done = True  # whoever was about to be started again, too
            _signal(running, signal.SIGTERM)
        for running in chosen:
            process = running.process
            if process is None:
                continue
            try:
                process.wait(timeout=running.child.grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            running.process = None

    def _start(self, running: _Running, now: float) -> None:
        child = running.child
        environment = {**os.environ, **child.environment}
        with contextlib.ExitStack() as stack:
            output = None
            if child.log is not None:
                child.log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(child.log.open("ab"))
            running.process = subprocess.Popen(
                list(child.argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                # Ctrl-C in the terminal is for the supervisor, which stops them in order.
                start_new_session=True,
            )
        running.started = running.beat_at = now
        running.well = False
        running.starts += 1

    def _ended(self, running: _Running, code: int, now: float) -> list[str]:
        child, running.process = running.child, None
        if code == 0:
            running.done = True
            self.finished = self.finished or child.leads
            return []
        if code == STOPPED:
            running.done = self.stopped = True
            return [f"{child.name} was told to stop"]
        steady = running.well or now - running.started > STEADY_S
        running.crashes = 1 if steady else running.crashes + 1
        wait = min(FIRST_WAIT_S * 2 ** (running.crashes - 1), LONGEST_WAIT_S)
        running.start_at = now + (0.0 if steady else wait)
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"failed (exit {code})"
        if code == USAGE or running.crashes >= CRASHES:
            self.failed = (USAGE if code == USAGE else 1, f"{child.name} {how}\n{_tail(child.log)}")
            return []
        return [f"{child.name} {how}; it is started again"]

    def _hangs(self, running: _Running, now: float) -> str:
        path = running.child.heartbeat
        if path is None:
            return ""
        beat = read_record(path).get("beat")
        if beat != running.beat:
            running.well = running.beat_at > running.started
            running.beat, running.beat_at = beat, now
        silent = now - running.beat_at
        if silent <= running.child.patience_s:
            return ""
        return f"{running.child.name} shows no sign of life for {silent:.0f} s; it is killed"


def _signal(running: _Running, number: int) -> None:
    if running.process is not None:
        with contextlib.suppress(ProcessLookupError):
            running.process.send_signal(number)


def _tail(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
    return "\n".join([f"the end of {log}:", *(f"  {line}" for line in lines)])
