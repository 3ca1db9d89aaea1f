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
from silri.runtime.acting.demos import import_dataset
from silri.runtime.cluster.parameters import unpack
from silri.runtime.cluster.paths import (
    PROTOCOL,
    LivePaths,
    leave_record,
    read_record,
    write_record,
)
from silri.runtime.cluster.spec import check_same_spec
from silri.runtime.cluster.spool import decode_upload
from silri.store.store import EpisodeStore

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

    The first robot that introduces itself says what the run's observations and actions are. Until
    then there is no store.
    """

    def __init__(self, run: Path, clock: Clock | None = None) -> None:
        """Open the run's store, if ``live/setup.json`` says what belongs there.

        Raises:
            RunFolderError: another process writes there.
            DataError: the run was not set up for robots.
        """
        self._run = run
        self._paths = LivePaths(run)
        self._clock = clock or MonotonicClock()
        self._setup = read_record(self._paths.setup)
        if not self._setup:
            raise DataError(f"{self._paths.setup} is missing: 'silri learner' writes it")
        self._robots: dict[str, _Robot] = {}
        self._chosen = ""  # the robot that demonstrates and evaluates
        self._messages: list[str] = []
        self._store: EpisodeStore | None = None
        if "spec" in self._setup:
            self._store = self._open_store(self._setup)
        self._writing = threading.Lock()  # one upload at a time
        self._looking = threading.Lock()  # the table of robots

    @property
    def store(self) -> EpisodeStore:
        """Of the run.

        Raises:
            DataError: no robot has introduced itself yet.
        """
        if self._store is None:
            raise DataError("no robot has said yet what it observes and does")
        return self._store

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

    def introduce(self, robot: str, spec: dict[str, Any], diagnostics: list[str]) -> dict[str, Any]:
        """A robot says what it observes and does; the first one's word holds for the run.

        Args:
            robot: its name.
            spec: see :meth:`~silri.core.specs.EnvSpec.to_json`.
            diagnostics: names that its policy reports.

        Returns:
            The run's setup, with the spec.

        Raises:
            UsageError: it differs from the run's; names the field.
            DataError: it is no spec, or the demonstrations of the run's data set do not fit it.
        """
        EnvSpec.from_json(spec)
        with self._writing:
            if "spec" in self._setup:
                check_same_spec(robot, spec, self._setup["spec"])
                return self._setup
            setup = {**self._setup, "spec": spec, "diagnostics": diagnostics}
            store = self._open_store(setup)
            try:
                if self._setup["dataset"] is not None:
                    import_dataset(Path(self._setup["dataset"]), store, self._setup["rewards"])
                write_record(self._paths.setup, setup, durable=True)
            except BaseException:
                store.close()
                raise
            self._store, self._setup = store, setup
            with self._looking:
                self._messages.append(f"robot '{robot}' brings {spec['name']}")
        return self._setup

    def evaluated(self, robot: str, record: dict[str, Any]) -> None:
        """The result of an evaluation that the learner has asked for."""
        wanted = read_record(self._paths.progress).get("evaluate") or {}
        if record.get("id") == wanted.get("id"):
            write_record(self._paths.evaluation, {**record, "robot": robot}, durable=True)

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
            chosen = self._choose(robot)
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
            "demonstrate": self._missing_demonstrations() if chosen else None,
            "evaluate": progress.get("evaluate") if chosen else None,
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
            if upload.episode.is_demo and upload.episode.seed in self._demonstrated():
                return {"state": "duplicate", "reason": ""}  # two robots, one after the other
            episode, reason = upload.episode.numbered(self.store.next_episode_id), upload.reason
            if not reason:
                try:
                    self.store.commit(episode)
                    return {"state": "stored", "reason": ""}
                except SpecError as error:  # NaN too
                    reason = str(error)
            self.store.quarantine(episode, reason)
            with self._looking:
                self._messages.append(f"episode {episode.origin} is in quarantine: {reason}")
            return {"state": "quarantined", "reason": reason}

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
        episodes = 0 if self._store is None else len(self._store.rows)
        leave_record(self._paths.robots, {"robots": robots, "episodes": episodes})
        return messages

    def close(self) -> None:
        """Let another process write."""
        with self._writing:
            if self._store is not None:
                self._store.close()

    # -- inside -----------------------------------------------------------------------------------

    def _silent(self, robot: _Robot, now: float) -> bool:
        return now - robot.heard > SILENT_S

    def _open_store(self, setup: dict[str, Any]) -> EpisodeStore:
        spec = EnvSpec.from_json(setup["spec"])
        folders = self._run / "episodes", self._run / "quarantine"
        store = EpisodeStore(*folders, spec, setup["diagnostics"])
        self._messages += store.messages
        return store

    def _choose(self, robot: str) -> bool:
        """Whether ``robot`` is the one that demonstrates and evaluates; another if it is away."""
        chosen = self._robots.get(self._chosen)
        if chosen is None or self._silent(chosen, self._clock.now()):
            self._chosen = robot
        return self._chosen == robot

    def _demonstrated(self) -> list[int]:
        """Layouts of the stored demonstrations."""
        return [row.seed for row in self.store.rows if row.is_demo]

    def _missing_demonstrations(self) -> dict[str, Any] | None:
        """What a robot is to demonstrate: how many in all, and the layouts that are here."""
        if self._store is None or not self._setup["demos"]:
            return None
        seeds = self._demonstrated()
        if len(seeds) >= self._setup["demos"]:
            return None
        return {"count": self._setup["demos"], "seeds": seeds}

    def _training_steps(self) -> int:
        if self._store is None:
            return 0
        return sum(row.steps for row in self._store.rows if not row.is_demo)


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
