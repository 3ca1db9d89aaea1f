"""Robots of the run on other machines: each is heard of through the hub, and has its own page.

A robot's console leaves a record in its spool, its uplink passes it on with its heartbeat, the hub
writes down what it hears, and the console of the learner's machine reads that. No token is in it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from silri.runtime.cluster.paths import SpoolPaths, leave_record, read_record

PERIOD_S = 1.0  # between two records, and two looks at what the hub has heard
SILENT_S = 5.0  # whoever was not heard of for so long may be doing anything
_ROUNDED_S = 5  # of a silence, so that pages are not told every second
_ADDRESS = re.compile(r"http://(\[[0-9a-f:]+\]|[0-9.]+):\d{1,5}/")
_WORD = re.compile(r"[\w.-]{1,60}")


async def report(spool: Path, address: str, status: Callable[[], dict[str, Any]]) -> None:
    """Leave word of a robot in its spool, until cancelled.

    Args:
        spool: of the robot.
        address: of its page, without the token.
        status: what there is to say, see :meth:`~silri.console.desk.Desk.status`.
    """
    path = SpoolPaths(spool).told
    while True:
        leave_record(path, {**status(), "address": address, "beat": time.monotonic()})
        await asyncio.sleep(PERIOD_S)


class Elsewhere:
    """What the hub has heard of the robots that are not of this console."""

    def __init__(self, heard: Path, now: Callable[[], float], here: str | None = None) -> None:
        """Read nothing yet.

        Args:
            heard: the hub's record, which it replaces every second.
            now: seconds of a monotonic clock.
            here: name of this machine; None: as the system says.
        """
        self._path, self._now = heard, now
        self._here = socket.gethostname() if here is None else here
        self._next = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._changed: float | None = None  # None: what is there may be of an earlier session
        self._robots: dict[str, Any] = {}

    def robots(self, known: Collection[str]) -> list[dict[str, Any]]:
        """For pages: those with a page, by name, without the ``known`` ones."""
        now = self._now()
        if now >= self._next:
            self._next = now + PERIOD_S
            self._look(now)
        if self._changed is None:
            return []
        passed = now - self._changed
        names = sorted(name for name in self._robots if name not in known and _word(name))
        shown = (_shown(name, self._robots[name], passed, self._here) for name in names)
        return [robot for robot in shown if robot is not None]

    def _look(self, now: float) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return
        stamp = (status.st_ino, status.st_mtime_ns)
        if stamp == self._stamp:
            return
        if self._stamp is not None:
            self._changed = now
        self._stamp = stamp
        robots = read_record(self._path).get("robots")
        self._robots = robots if isinstance(robots, dict) else {}


def _shown(name: str, heard: Any, passed: float, here: str) -> dict[str, Any] | None:
    """A robot as pages show it; None if it has no page, or what came is not what a robot says."""
    page = heard.get("page") if isinstance(heard, Mapping) else None
    if not isinstance(page, Mapping) or not isinstance(heard.get("host"), str):
        return None
    address, success = page.get("address"), page.get("success")
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        return None
    silent = _number(heard.get("silent_s")) + passed
    host = heard["host"] if _word(heard["host"]) else "another machine"
    # A page on the loopback of another machine is not there under that address.
    forwarded = host != here and re.match(r"http://(127\.|\[::1\])", address)
    return {
        "name": name,
        "phase": _word(page.get("phase")) or "away",
        "holder": _word(page.get("holder")),
        "ready": page.get("ready") is True,
        "success": None if success is None else min(max(_number(success), 0.0), 1.0),
        "coach": _word(page.get("coach")),
        "host": host,
        "address": address,
        "reachable": not forwarded,
        "silent": int(silent) // _ROUNDED_S * _ROUNDED_S if silent > SILENT_S else 0,
    }


def _number(value: Any) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    return float(value) if known else 0.0


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None
