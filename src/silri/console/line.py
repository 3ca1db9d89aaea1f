"""Where a run waits for its console: given to it, or left by a robot in its spool.

A robot's control loop may die and come again at another port, while its console goes on.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from silri.runtime.cluster.paths import SpoolPaths, read_record


class Line(NamedTuple):
    """A port on loopback, and what must be said there."""

    port: int
    secret: str


Where = Callable[[], Line | None]


def leave(spool: Path, line: Line) -> None:
    """For the console of this robot, and nobody else: not for a moment readable by others."""
    path = SpoolPaths(spool).page
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(line._asdict(), file)
    beside.replace(path)


def find(spool: Path) -> Line | None:
    """What the robot's newest control loop has left; None before the first."""
    record = read_record(SpoolPaths(spool).page)
    return Line(int(record["port"]), str(record["secret"])) if record else None


def where(settings: Mapping[str, Any]) -> Where:
    """Where a robot waits, by what its console is told of it."""
    if spool := settings.get("spool"):
        return lambda: find(Path(spool))
    line = Line(settings["port"], settings["secret"])
    return lambda: line
