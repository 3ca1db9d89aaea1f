"""Where the processes of a cluster run meet on disk, and the small records they leave there."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from silri.store.safety import files

PROTOCOL = 4  # raised when what uplink and hub tell each other changes, setups included


class LivePaths:
    """``runs/NAME/live``: between the learner, the hub and the supervisor of one run."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "live"

    setup = property(lambda self: self.folder / "setup.json")  # what the hub needs to know
    policy = property(lambda self: self.folder / "policy.msgpack")  # newest parameters
    progress = property(lambda self: self.folder / "progress.json")  # of the learner
    evaluation = property(lambda self: self.folder / "evaluation.json")  # the last result
    robots = property(lambda self: self.folder / "robots.json")  # who is connected
    ray = property(lambda self: self.folder / "ray.json")  # process and ports of the Ray head
    link = property(lambda self: self.folder / "link.json")  # heartbeat of the link
    logs = property(lambda self: self.folder / "logs")


class SpoolPaths:
    """What lies beside a spool's episodes: between a control loop and its uplink."""

    def __init__(self, spool: Path) -> None:
        self.folder = spool

    setup = property(lambda self: self.folder / "setup.json")  # the run's, as the hub sent it
    policy = property(lambda self: self.folder / "policy.msgpack")  # newest parameters
    orders = property(lambda self: self.folder / "orders.json")  # go on, hold or done
    uplink = property(lambda self: self.folder / "uplink.json")  # heartbeat of the uplink
    control = property(lambda self: self.folder / "control.json")  # heartbeat of the loop
    operator = property(lambda self: self.folder / "operator.json")  # the operator's own state
    loop = property(lambda self: self.folder / "loop.json")  # timing of the control loop
    spec = property(lambda self: self.folder / "spec.json")  # what the robot observes and does
    evaluation = property(lambda self: self.folder / "evaluation.json")  # the last one made here
    errors = property(lambda self: self.folder / "errors.log")  # tracebacks of others' code
    page = property(lambda self: self.folder / "page.json")  # where the loop waits for its console
    told = property(lambda self: self.folder / "told.json")  # what the robot's page says of it


def write_record(path: Path, record: dict[str, Any], *, durable: bool = False) -> None:
    """Replace a small JSON file in one step; heartbeats need not survive a power cut."""
    files.atomic_write(path, (json.dumps(record) + "\n").encode(), durable=durable)


def leave_record(path: Path, record: dict[str, Any]) -> None:
    """A sign of life. On a full disk it is left out: whoever stopped then would help nobody."""
    with contextlib.suppress(OSError):
        write_record(path, record)


def read_record(path: Path) -> dict[str, Any]:
    """The record at ``path``; empty if there is none or it is no JSON object."""
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
