"""The robot's side of the wire: from the spool to the hub, and parameters back.

A process of its own beside the control loop. It may die, hang or lose the network: the loop goes
on with the parameters it has and the spool grows. Upload is at-least-once: an episode leaves the
spool when the hub has said that it is committed.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol

from silri.core.clock import Clock
from silri.core.errors import DataError, SilriError, UsageError
from silri.runtime.cluster.parameters import unpack, write_parameters
from silri.runtime.cluster.paths import (
    PROTOCOL,
    SpoolPaths,
    leave_record,
    read_record,
    write_record,
)
from silri.runtime.cluster.spool import Spool

_LOG = logging.getLogger(__name__)

BEAT_S = 1.0  # between signs of life
TOLD_S = 5.0  # older words of a robot's page are not passed on
FETCH_S = 2.0  # between two versions of the parameters: megabytes, taken up between episodes only
BACKOFF_S = (0.5, 3.0)  # before the next attempt to connect: first, longest
PATIENCE_S = 15.0  # before the first complaint that nobody is there
CALL_S = 10.0  # deadline of a small call
REGISTER_S = 40.0  # of the first: the hub may be opening a large store
UPLOAD_S = 60.0  # and of an episode with images over a slow line


class Disconnected(Exception):
    """The hub does not answer in time; connect again."""


class Connection(Protocol):
    """A line to the hub."""

    def call(self, method: str, *arguments: Any, timeout_s: float) -> Any:
        """What the hub's method returns.

        Raises:
            Disconnected: no answer within ``timeout_s``.
            SilriError: what the hub raised.
        """

    def close(self) -> None:
        """Hang up; never raises."""


class Uplink:
    """One robot's line to the hub, one small step at a time.

    Attributes:
        spool: what it empties.
        connected: whether the hub answered the last call.
    """

    def __init__(self, spool: Spool, connect: Callable[[], Connection], clock: Clock) -> None:
        self.spool = spool
        self.connected = False
        self._paths = SpoolPaths(spool.folder)
        self._connect = connect
        self._clock = clock
        self._session = spool.identity  # its successor is the same robot, and let in at once
        self._line: Connection | None = None
        self._introduced = False  # on this line
        self._evaluated = ""  # the evaluation that was handed over
        self._next_attempt = self._next_beat = clock.now()
        self._backoff = BACKOFF_S[0]
        self._newest = -1  # version that the hub has
        self._version = _version(self._paths)  # version that is here
        self._problem = "not connected yet"
        self._said = ""
        self._silent_until = clock.now() + PATIENCE_S  # starting together takes a moment
        self._failed = 0  # uploads that the hub could not take, in a row
        self._next_upload = self._next_report = self._next_fetch = clock.now()

    def step(self) -> bool:
        """Do what is due, with deadlines; True if there is more to do at once."""
        now = self._clock.now()
        try:
            if self._line is None:
                if now < self._next_attempt:
                    self._report(now)
                    return False
                self._register()
            if not self._introduced:
                self._introduce()
            if now >= self._next_beat:
                self._beat()
            if self._newest > self._version and now >= self._next_fetch:
                self._fetch()
            return self._send()
        except (Disconnected, UsageError) as error:
            self._hang_up(str(error))
        finally:
            self._report(now)
        return False

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _register(self) -> None:
        self._line, self._introduced = self._connect(), False
        setup = self._call(
            "register",
            *(self.spool.robot, self._session, socket.gethostname(), PROTOCOL),
            timeout_s=REGISTER_S,
        )
        known = read_record(self._paths.setup)
        if known and known.get("run_id") != setup["run_id"]:
            raise UsageError(
                f"{self.spool.folder} holds episodes of run {known.get('run_id')}, the learner "
                f"trains run {setup['run_id']}; give this robot another --spool"
            )
        if known != setup:
            write_record(self._paths.setup, setup, durable=True)
        self._backoff = BACKOFF_S[0]
        self.connected, self._problem, self._silent_until = True, "", 0.0
        self._next_beat = self._clock.now()
        _LOG.warning("robot '%s' is connected", self.spool.robot)

    def _introduce(self) -> None:
        """Pass on what the control loop says of its robot, once it has said it."""
        told = read_record(self._paths.spec)
        if not told:
            return
        setup = self._call(
            "introduce",
            *(self.spool.robot, told["spec"], told["diagnostics"]),
            timeout_s=UPLOAD_S,  # the hub may import a data set
        )
        if read_record(self._paths.setup) != setup:
            write_record(self._paths.setup, setup, durable=True)
        self._introduced = True

    def _beat(self) -> None:
        control = read_record(self._paths.control)
        status = {
            "waiting": len(self.spool.waiting()),
            "version": self._version,
            "episodes": control.get("episodes", 0),
            "steps": control.get("steps", 0),
            "late": control.get("late", 0),
            "faults": control.get("faults", 0),
            "note": control.get("note", ""),
            "page": self._told(),
        }
        done = read_record(self._paths.evaluation)
        if done and done["id"] != self._evaluated:
            self._call("evaluated", self.spool.robot, done)
            self._evaluated = done["id"]
        orders = self._call("beat", self.spool.robot, self._session, status)
        self._newest = orders["version"]
        leave_record(self._paths.orders, orders)
        self._next_beat = self._clock.now() + BEAT_S

    def _told(self) -> dict[str, Any] | None:
        """What the robot's page says of it, for the learner's; None if it has none, or is dead."""
        told = read_record(self._paths.told)
        beat = told.pop("beat", None)  # of this machine's clock, as ours
        fresh = isinstance(beat, int | float) and 0 <= self._clock.now() - beat < TOLD_S
        return told if fresh else None

    def _fetch(self) -> None:
        data = self._call("parameters", self._version)
        if data is None:
            return
        try:
            version = unpack(data, "what the hub sent").version
        except DataError as error:
            raise Disconnected(str(error)) from error
        try:
            write_parameters(self._paths.policy, data)
            self._version = version
            self._next_fetch = self._clock.now() + FETCH_S
        except OSError:  # no room: once more after the next beat, and episodes are sent meanwhile
            self._newest = self._version

    def _send(self) -> bool:
        """Upload the oldest waiting episode; True if there are more."""
        waiting = self.spool.waiting()
        if not waiting or self._clock.now() < self._next_upload:
            return False
        number = waiting[0]
        try:
            data = self.spool.read(number)
        except DataError as error:
            place = self.spool.set_aside(number)
            _LOG.error("%s; it is kept in %s", error, place)
            return True
        try:
            answer = self._call("upload", data, timeout_s=UPLOAD_S)
            self.spool.acknowledge(number)
        except UsageError:
            raise
        except SilriError as error:  # a disk is full, say: the episode is safe here
            wait = min(BACKOFF_S[0] * 2**self._failed, BACKOFF_S[1])
            self._failed += 1
            self._next_upload = self._clock.now() + wait
            # The first one's words: a full disk is a little fuller each time.
            self._problem = self._problem or f"episode {number} cannot be handed over: {error}"
            return False
        self._failed, self._problem = 0, ""
        if answer["state"] == "quarantined":
            _LOG.warning("episode %d went into quarantine: %s", number, answer["reason"])
        return len(waiting) > 1

    def _call(self, method: str, *arguments: Any, timeout_s: float = CALL_S) -> Any:
        if self._line is None:
            raise Disconnected("there is no line to the hub")
        return self._line.call(method, *arguments, timeout_s=timeout_s)

    def _hang_up(self, problem: str) -> None:
        self.close()
        if self.connected:  # nobody waits for a learner that cannot be reached
            orders = read_record(self._paths.orders)
            leave_record(self._paths.orders, orders | {"hold": False})
        self.connected, self._problem = False, problem
        self._next_attempt = self._clock.now() + self._backoff
        self._backoff = min(2 * self._backoff, BACKOFF_S[1])

    def _report(self, now: float) -> None:
        """The heartbeat that the supervisor watches, and a line when something changed."""
        if self._problem != self._said and (not self._problem or now >= self._silent_until):
            if self._problem:
                _LOG.warning(
                    "robot '%s': %s; the robot goes on, %d episodes wait here",
                    self.spool.robot,
                    self._problem,
                    len(self.spool.waiting()),
                )
            self._said = self._problem
        elif now < self._next_report:
            return
        self._next_report = now + BEAT_S / 2
        record = {
            "pid": os.getpid(),
            "beat": now,
            "connected": self.connected,
            "problem": self._problem,
            "version": self._version,
        }
        leave_record(self._paths.uplink, record)


def _version(paths: SpoolPaths) -> int:
    try:
        return unpack(paths.policy.read_bytes(), str(paths.policy)).version
    except (FileNotFoundError, DataError):
        return -1


def run_uplink(uplink: Uplink, stop: Callable[[], bool], clock: Clock, *, drain_s: float) -> None:
    """Work until asked to stop, then up to ``drain_s`` more while episodes wait."""
    deadline: float | None = None
    while True:
        more = uplink.step()
        if stop():
            deadline = clock.now() + drain_s if deadline is None else deadline
            idle = not uplink.spool.waiting() or not uplink.connected
            if idle or clock.now() >= deadline:
                break
        if not more:
            clock.sleep(0.1)
    uplink.close()
