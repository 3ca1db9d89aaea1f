"""The console's end of the line to a robot's loop: what it tells becomes what pages see."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from silri.console.desk import Desk
from silri.console.drawing.mirror import Mirror
from silri.console.drawing.painter import Painter
from silri.console.line import Where
from silri.console.narrate import (
    actions_of,
    camera_keys,
    cameras_of,
    coach_after,
    diagnostics_of,
    live_step,
)
from silri.console.stored.archive import Archive
from silri.console.stored.curves import Curves
from silri.console.stored.record import RunRecord
from silri.console.wire import TO_CONSOLE, WireError, body_size, pack, unpack
from silri.core.specs import EnvSpec
from silri.intervention.coach import Coach

RETRY_S = 0.2
AWAY = "its control loop is not there; it is started again"
BEHIND = 1 << 20  # bytes that the run has not taken; inputs are worth nothing by then
_LOG = logging.getLogger(__name__)


class Feed:
    """Follows one robot's loop, and the next one when it has died.

    Attributes:
        name: of the robot.
        desk: of the pages.
        archive: of its stored episodes; None while it is not known.
    """

    def __init__(
        self,
        name: str,
        where: Where,
        now: Callable[[], float],
        numbers: Iterator[int] | None = None,
        *,
        stops: str = "run",
    ) -> None:
        """Prepare; :meth:`follow` does the work.

        Args:
            name: of the robot.
            where: its loop waits.
            now: seconds of a monotonic clock.
            numbers: of pages; robots of one console share them.
            stops: what the command STOP ends, ``run`` or ``robot``, for pages to say.
        """
        self.name, self._where, self._stops = name, where, stops
        self.desk = Desk(self._to_run, self._want, now, numbers)
        self.archive: Archive | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._painter: Painter | None = None
        self._spec: EnvSpec | None = None
        self._record: RunRecord | None = None
        self._curves = Curves(1.0)
        self._coach = Coach()
        self._demonstrated = 0
        self._human = self._length = 0
        self._total = 0.0
        self._diagnostics: list[str] = []
        self._handlers: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "run": self._on_run,
            "control": self._on_control,
            "applied": self._on_applied,
            "refused": self._on_refused,
            "notice": self._on_notice,
            "learner": self._on_learner,
            "evaluation": self._on_evaluation,
            "episode": self._on_episode,
            "step": self._on_step,
            "end": self._on_end,
        }

    async def follow(self) -> None:
        """Connect, again and again, and tell the desk what the run says; until cancelled."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._connect()
            if self.desk.phase_now not in ("ended", "away") and self._record is not None:
                self.desk.phase("away", AWAY)
            await asyncio.sleep(RETRY_S)

    async def _connect(self) -> None:
        """Talk to the loop that is there now, to its end."""
        line = self._where()
        if line is None:
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        try:
            await self._talk(reader, writer, line.secret)
        except WireError as error:
            _LOG.warning("the line of %s broke: %s", self.name, error)
        finally:
            self._writer = None
            writer.close()

    def close(self) -> None:
        """Let the mirror go."""
        if self._painter is not None:
            self._painter.close()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str
    ) -> None:
        writer.write(pack({"kind": "hello", "token": secret}))
        self._writer = writer
        while True:
            size = body_size(await reader.readexactly(4), TO_CONSOLE)
            self._hear(unpack(await reader.readexactly(size)))

    def _to_run(self, message: dict[str, Any]) -> None:
        writer = self._writer
        if writer is not None and writer.transport.get_write_buffer_size() < BEHIND:
            writer.write(pack(message))

    def _want(self, camera: int) -> None:
        if self._painter is not None:
            self._painter.want(camera)

    # -- what the run says ---------------------------------------------------------------------

    def _hear(self, message: dict[str, Any]) -> None:
        handler = self._handlers.get(message["kind"])
        if handler is None:
            raise WireError(f"there is no message '{message['kind']}'")
        handler(message)

    def _on_run(self, message: dict[str, Any]) -> None:
        if self._record is not None:  # the line broke, or another loop goes on: we know it all
            if self.desk.phase_now == "away":
                self.desk.phase("standby", "the robot gets ready")
            return
        record = self._record = RunRecord.read(Path(message["folder"]))
        spec = self._spec = EnvSpec.from_json(message["spec"])
        self._diagnostics, drawn = message["diagnostics"], message["drawn"]
        opens = (lambda: Mirror.of(record.env, record.env_config)) if drawn else None
        archive = Archive(record, spec, opens)
        entries = archive.library.entries()
        self._curves = Curves.of(record, entries)
        self._coach = coach_after(entries)
        self._demonstrated = sum(entry.is_demo for entry in entries)
        self.archive = archive
        loop = asyncio.get_running_loop()

        # The painter has a thread of its own; pages belong to the event loop.
        def publish(camera: int, number: int, step: int, data: bytes) -> None:
            loop.call_soon_threadsafe(self.desk.picture, camera, number, step, data)

        def say(picture: str, text: str) -> None:
            loop.call_soon_threadsafe(self._on_picture, picture, text)

        def ready(mirror: Mirror | None) -> None:
            view = None if mirror is None else mirror.view
            loop.call_soon_threadsafe(self._open, drawn, view)

        self._painter = Painter(opens, camera_keys(spec), publish, say, ready)

    def _open(self, drawn: bool, view: Any) -> None:
        """Everything is there: pages may come in."""
        record, spec = self._record, self._spec
        assert record is not None
        assert spec is not None
        hello = hello_of(record, spec, "live", cameras_of(spec, drawn=drawn), self._diagnostics)
        hello |= {"robot": self.name, "stops": self._stops}
        if view is not None:
            hello["view"] = {"scene": view}
        self.desk.open(hello, lambda: self._curves.points)

    def _on_picture(self, picture: str, text: str) -> None:
        self.desk.say({"type": "picture", "picture": picture, "text": text})

    def _on_control(self, message: dict[str, Any]) -> None:
        self.desk.phase(message["phase"], message["reason"])

    def _on_applied(self, message: dict[str, Any]) -> None:
        self.desk.applied(message["page"], message["sequence"])

    def _on_refused(self, message: dict[str, Any]) -> None:
        self.desk.tell(message["page"], {"type": "refused", "text": message["text"]})

    def _on_notice(self, message: dict[str, Any]) -> None:
        self.desk.say({"type": "notice", "text": message["text"]})

    def _on_learner(self, message: dict[str, Any]) -> None:
        numbers = {"env_step": message["env_step"], "metrics": message["metrics"]}
        self.desk.say({"type": "learner", **numbers})

    def _on_evaluation(self, message: dict[str, Any]) -> None:
        rate = message["metrics"].get("success_rate")
        if rate is not None:
            point = self._curves.evaluated(self._counted(message["env_step"], 0), rate)
            self.desk.say({"type": "curves", "points": [point]})

    def _on_episode(self, message: dict[str, Any]) -> None:
        assert self._spec is not None
        assert self._record is not None
        self._human = self._length = 0
        self._total = 0.0
        self._coach.begin_episode()
        done, of = message["env_step"], self._record.steps
        if message["what"] == "demonstration":
            done, of = self._demonstrated, self._record.demos
        self.desk.say(
            {
                "type": "episode",
                "episode": message["episode"],
                "kind": message["what"],
                "task": message["task"],
                "done": done,
                "of": of,
                "limit": self._spec.max_episode_steps,
            }
        )
        if self._painter is not None:
            self._painter.begin(message["seed"], message["observation"])

    def _on_step(self, message: dict[str, Any]) -> None:
        assert self._spec is not None
        self._length = message["step"] + 1
        self._human += message["human"] is not None
        self._total += message["reward"]
        self.desk.say(live_step(message, self._spec.action, self._coach))
        if self._painter is not None:
            self._painter.step(self._length, message["action"], message["observation"])

    def _on_end(self, message: dict[str, Any]) -> None:
        self.desk.say(
            {
                "type": "end",
                "episode": message["episode"],
                "kind": message["what"],
                "end": message["end"],
                "success": message["success"],
                "length": self._length,
                "return": round(self._total, 4),
                "human_steps": self._human,
            }
        )
        if message["end"] != "finished":
            return
        if message["what"] == "demonstration":
            if message["success"]:  # others are not kept
                self._demonstrated += 1
                self._curves.demonstrated(self._human)
            return
        point = self._curves.trained(
            self._counted(message["env_step"], self._length),
            self._length,
            self._human,
            success=message["success"],
        )
        self._coach.end_episode(
            success=message["success"], length=self._length, human_steps=self._human
        )
        self.desk.say({"type": "curves", "points": [point]})

    def _counted(self, env_step: int, more: int) -> int:
        """Where a point goes: a robot's loop counts from 0 whenever it begins again."""
        assert self._record is not None
        return self._curves.env_step + more if self._record.is_robot else env_step


def hello_of(
    record: RunRecord, spec: EnvSpec, mode: str, cameras: list[str], diagnostics: list[str]
) -> dict[str, Any]:
    """What a page is told first.

    Args:
        record: of the run.
        spec: of its environment.
        mode: ``live`` or ``replay``.
        cameras: that there are.
        diagnostics: that its agent tells.
    """
    return {
        "type": "hello",
        "mode": mode,
        "run": record.folder.resolve().name,
        "agent": record.agent,
        "env": record.env,
        "operator": record.operator,
        "rate_hz": record.rate_hz or spec.control_hz,
        "actions": actions_of(spec.action),
        "cameras": cameras,
        "diagnostics": diagnostics_of(diagnostics),
        # A robot's part of a run has no budget of its own.
        "steps": 0 if record.is_robot else record.steps,
        "part": record.is_robot,
    }
