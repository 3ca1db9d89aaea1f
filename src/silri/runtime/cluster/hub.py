"""The learner's side of the wire: the store's single writer, and the robots' letter box.

A plain class: Ray calls its methods from several threads, tests call them directly. It needs no
JAX, knows nothing of learning and keeps nothing in memory that is not on the disk, except who
was heard of lately. Messages are JSON-able values and bytes.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

from silri.core.clock import Clock, MonotonicClock
from silri.core.errors import DataError, SpecError, UsageError
from silri.core.specs import EnvSpec
from silri.data.episode import Episode, check_episode
from silri.data.spool import decode_upload
from silri.data.store import EpisodeStore
from silri.runtime.cluster.parameters import unpack
from silri.runtime.cluster.paths import PROTOCOL, LivePaths, leave_record, read_record

SILENT_S = 10.0  # a robot that was not heard of for so long is missing


@dataclasses.dataclass
class _Robot:
    """What the hub knows of one robot."""

    session: str  # of its uplink process: tells two robots of one name apart
    host: str
    heard: float
    status: dict[str, Any]
    reported_missing: bool = False


class Hub:
    """Receives episodes, hands out parameters, knows who is missing.

    Attributes:
        store: of the run.
    """

    def __init__(self, run: Path, clock: Clock | None = None) -> None:
        """Open the run's store; ``live/setup.json`` says what belongs there.

        Raises:
            RunFolderError: another process writes there.
            DataError: the run was not set up for robots.
        """
        self._paths = LivePaths(run)
        self._clock = clock or MonotonicClock()
        self._setup = read_record(self._paths.setup)
        if not self._setup:
            raise DataError(f"{self._paths.setup} is missing: 'silri learner' writes it")
        self._spec = EnvSpec.from_json(self._setup["spec"])
        self.store = EpisodeStore(
            run / "episodes", run / "quarantine", self._spec, self._setup["diagnostics"]
        )
        self._robots: dict[str, _Robot] = {}
        self._messages: list[str] = list(self.store.messages)
        self._writing = threading.Lock()  # one upload at a time
        self._looking = threading.Lock()  # the table of robots

    # -- called by uplinks ----------------------------------------------------------------------

    def register(self, robot: str, session: str, host: str, protocol: int) -> dict[str, Any]:
        """A robot introduces itself and gets the run's setup.

        Raises:
            UsageError: of another version, or another robot of this name is connected.
        """
        if protocol != PROTOCOL:
            raise UsageError(
                f"robot '{robot}' speaks protocol {protocol}, the learner {PROTOCOL}: install the "
                "same version of silri on both"
            )
        now = self._clock.now()
        with self._looking:
            known = self._robots.get(robot)
            if known is not None and known.session != session and not self._silent(known, now):
                raise UsageError(
                    f"a robot '{robot}' on {known.host} is connected already; choose another "
                    "--name, or stop that one"
                )
            if known is None or known.reported_missing or known.session != session:
                self._messages.append(f"robot '{robot}' on {host} is connected")
            self._robots[robot] = _Robot(session, host, now, {})
        return self._setup

    def beat(self, robot: str, session: str, status: dict[str, Any]) -> dict[str, Any]:
        """A sign of life; answered with the orders for the robot and the newest version.

        Raises:
            UsageError: it is not registered (this hub is new, or another took its name).
        """
        with self._looking:
            known = self._robots.get(robot)
            if known is None or known.session != session:
                raise UsageError(f"robot '{robot}' is not registered here; register again")
            known.heard, known.status = self._clock.now(), status
            if known.reported_missing:
                self._messages.append(f"robot '{robot}' on {known.host} is back")
            known.reported_missing = False
        progress = read_record(self._paths.progress)
        limit = int(self._setup["max_lag"])
        lag = self._training_steps() - float(progress.get("learnt_steps", 0.0))
        # Nobody waits for a learner that is dead.
        learning = bool(progress.get("learning", False)) and _alive(progress.get("pid"))
        return {
            "phase": progress.get("phase", "starting"),
            "version": int(progress.get("version", -1)),
            "hold": learning and limit > 0 and lag > limit,
            "lag": int(lag),
        }

    def parameters(self, newer_than: int) -> bytes | None:
        """The newest parameters, as :func:`~silri.runtime.cluster.parameters.pack` made them.

        None if there are none after ``newer_than``, or they are damaged: others will come.
        """
        if int(read_record(self._paths.progress).get("version", -1)) <= newer_than:
            return None
        try:
            data = self._paths.policy.read_bytes()
            version = unpack(data, str(self._paths.policy)).version
        except (FileNotFoundError, DataError):
            return None
        return data if version > newer_than else None

    def upload(self, data: bytes) -> dict[str, Any]:
        """Store an episode once, however often it is sent; the answer comes after the commit.

        Returns:
            ``state`` (stored, duplicate or quarantined) and ``reason``.

        Raises:
            DataError: the message is damaged, or the disk is full: send it again.
        """
        upload = decode_upload(data, "an upload")
        with self._writing:
            if upload.episode.origin in self.store.origins:
                return {"state": "duplicate", "reason": ""}
            episode = dataclasses.replace(upload.episode, episode_id=self.store.next_episode_id)
            reason = upload.reason or self._unfit(episode)
            if not reason:
                self.store.commit(episode)
                return {"state": "stored", "reason": ""}
            self.store.quarantine(episode, reason)
            with self._looking:
                self._messages.append(f"episode {episode.origin} is in quarantine: {reason}")
            return {"state": "quarantined", "reason": reason}

    def _unfit(self, episode: Episode) -> str:
        try:
            check_episode(episode, self._spec)
        except SpecError as error:  # NaN too
            return str(error)
        return ""

    # -- called by the link ---------------------------------------------------------------------

    def run_id(self) -> str:
        """Of the run whose hub this is."""
        return str(self._setup.get("run_id", ""))

    def tick(self) -> list[str]:
        """Write down who is here; returns what a person should know since the last call."""
        now = self._clock.now()
        with self._looking:
            for name, robot in self._robots.items():
                if self._silent(robot, now) and not robot.reported_missing:
                    robot.reported_missing = True
                    self._messages.append(
                        f"robot '{name}' on {robot.host} is missing: not heard of for "
                        f"{now - robot.heard:.0f} s (last: {_describe(robot.status)})"
                    )
            robots = {
                name: {
                    "host": robot.host,
                    "silent_s": round(now - robot.heard, 1),
                    "missing": self._silent(robot, now),
                    **robot.status,
                }
                for name, robot in self._robots.items()
            }
            messages, self._messages = self._messages, []
        episodes = len(self.store.rows)
        leave_record(self._paths.robots, {"robots": robots, "episodes": episodes})
        return messages

    def close(self) -> None:
        """Let another process write."""
        with self._writing:
            self.store.close()

    # -- inside -----------------------------------------------------------------------------------

    def _silent(self, robot: _Robot, now: float) -> bool:
        return now - robot.heard > SILENT_S

    def _training_steps(self) -> int:
        rows = self.store.rows
        total = rows[-1].first_frame + rows[-1].steps if rows else 0
        return total - int(self._setup["demo_steps"])


def _alive(pid: Any) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it exists
        return True
    return True


def _describe(status: dict[str, Any]) -> str:
    if not status:
        return "nothing"
    return f"{status.get('episodes', 0)} episodes driven, {status.get('waiting', 0)} waiting"
