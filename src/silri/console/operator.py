"""The operator ``web``: a person in a browser, asked once per step on the loop's thread.

What is said here decides, whatever a page or its server believes: an input that is older than
250 ms drives nothing, and the robot stands still until there is another.
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np

from silri.console.child import Child
from silri.console.line import Line, leave
from silri.console.link import RunLink
from silri.console.messages import COMMANDS, Refused, Rising, check_axes
from silri.console.places import listen, own_token, url
from silri.console.tell import Teller
from silri.console.wheel import Wheel
from silri.core.commands import ENDS_EPISODE, Command, CommandQueue
from silri.core.errors import MissingExtraError
from silri.core.events import DemonstrationStep, EpisodeBegan, Event, RunBegan, StepTaken
from silri.core.protocols import OperatorInput, OperatorView
from silri.core.registry import Preset
from silri.core.settings import Field, settings
from silri.core.specs import ActionSpec
from silri.intervention.operators import OperatorConfig, OperatorContext

NEEDS = ("starlette", "uvicorn", "websockets")  # of the extra
ROBOT = "robot-1"  # of a run in one process
_LOG = logging.getLogger(__name__)
_NOT_ENGAGED, _WAIT = OperatorInput(engaged=False), OperatorInput(engaged=False, pause=True)


@settings("operator")
class WebConfig(OperatorConfig):
    """A person in a browser."""

    free: ClassVar[tuple[str, ...]] = ("port", "host", "token_file", "scene")

    # of the page; 0: any that is free
    port: Annotated[int, Field(ge=0, le=65535)] = 8420
    # address that the page is served on; other than loopback only with token_file
    host: str = "127.0.0.1"
    # file with the token that pages must show; None: a new one for every start
    token_file: str | None = None
    # whether the page draws a simulation by running it a second time; auto: if it is surely one
    scene: Literal["auto", "always", "never"] = "auto"

    def describe(self) -> str:
        """Where the page will be."""
        port = f"port {self.port}" if self.port else "any free port"
        return f"The page is on {self.host}, {port}."


PRESET = Preset(
    WebConfig(),
    "a person in a browser",
    # A person needs a steady pace, and has less patience than a script.
    {"runtime": {"rate_hz": 20.0}, "data": {"demos": 5}},
)


class WebOperator:
    """See the module's docstring. Created, it holds its port; a run starts its console.

    In a cluster run it has no port: the supervisor of this machine serves the pages of its robots,
    so that they are the same ones when this process has died and begun again.

    Attributes:
        announcement: the line with the page's address; empty if somebody else serves it.
    """

    Config: ClassVar = WebConfig
    presets: ClassVar = {"default": PRESET}
    live = True

    def __init__(
        self,
        config: WebConfig,
        spec: ActionSpec,
        listener: socket.socket | None,
        token: str,
        *,
        spool: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over a listening socket, or none if there is ``spool``; see :meth:`create`."""
        self._config, self._spec, self._listener, self._token = config, spec, listener, token
        self._spool = spool
        self.announcement = ""
        if listener is not None:
            self.announcement = f"teach the robot at {url(listener, token)}"
        self._wheel = Wheel(spec, now)
        self._secret = secrets.token_hex(32)
        self._link = RunLink(self._secret, self._hear, self._connected)
        self._teller = Teller(self._link.send)
        self._child: Child | None = None
        self._sequences: dict[str, Rising] = {}
        self._commands: CommandQueue | None = None
        self._episode: int | None = None
        self._demonstrating = False
        self._paused_by = ""
        self._applied = ("", -1)

    @classmethod
    def create(cls, config: WebConfig, context: OperatorContext) -> Self:
        """Bind the port; not in a cluster run, whose supervisor has done it.

        Raises:
            MissingExtraError: the extra ``console`` is not installed.
            ConfigError: the port is taken, the host is not this machine's, or others can reach it
                and there is no token of your own.
        """
        if not all(map(importlib.util.find_spec, NEEDS)):
            raise MissingExtraError("console", "operator 'web'")
        if context.spool is not None:
            return cls(config, context.action_spec, None, "", spool=context.spool)
        token = own_token(config.token_file, config.host)
        listener = listen(config.host, config.port, "--operator.port")
        return cls(config, context.action_spec, listener, token)

    # -- the loop asks ------------------------------------------------------------------------

    def begin_episode(self, rng: np.random.Generator) -> None:
        """Draws nothing."""

    def decide(self, view: OperatorView) -> OperatorInput:
        """What the person wants now; in a demonstration the robot waits until they drive."""
        del view
        wish = self._wheel.ask()
        if wish.silence:
            self._teller.phase("paused", wish.silence)
            return _WAIT
        if not wish.driving:
            if self._demonstrating:
                self._teller.phase("waiting", "drive: the robot waits for you to show the task")
                return _WAIT
            self._tell_phase("autonomous")
            return _NOT_ENGAGED
        self._tell_phase("demonstration" if self._demonstrating else "human")
        if not self._paused_by and self._applied != (wish.page, wish.sequence):
            self._applied = (wish.page, wish.sequence)
            self._teller.applied(wish.page, wish.sequence)
        return OperatorInput(engaged=True, action=wish.action)

    def _tell_phase(self, phase: str) -> None:
        if self._paused_by:
            self._teller.phase("paused", f"paused by {self._paused_by}")
        else:
            self._teller.phase(phase, "")

    def end_episode(self, summary: Mapping[str, float]) -> None:
        """A person's attention is their own affair."""

    def state(self) -> dict[str, float]:
        """Nothing to survive a restart."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Nothing to restore."""

    # -- the run tells ------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Pass it on to the pages; on the loop's thread."""
        if isinstance(event, RunBegan):
            self._commands = event.commands
            scene = self._config.scene
            drawn = event.simulated if scene == "auto" else scene == "always"
            self._teller.run(event, drawn=drawn)
            self._start(Path(event.folder))
        elif isinstance(event, EpisodeBegan):
            self._episode, self._demonstrating = event.episode_id, event.kind == "demonstration"
            self._wheel.begin()
        elif isinstance(event, StepTaken | DemonstrationStep):
            self._wheel.moved(event.transition.action)
        self._teller.tell(event)

    def close(self) -> None:
        """Say that the run is over, and end the console with it, if it is ours."""
        if self._spool is None:  # a robot's loop has said so itself, or goes on in another process
            self._teller.phase("ended", "the run is over")
        self._link.close()
        if self._child is not None:
            self._child.close()
        if self._listener is not None:
            self._listener.close()

    def _start(self, folder: Path) -> None:
        line = Line(self._link.port, self._secret)
        if self._spool is not None:
            leave(self._spool, line)
            return
        assert self._listener is not None
        robot = {"name": ROBOT, **line._asdict()}
        settings = {"robots": [robot], "token": self._token, "host": self._config.host}
        self._child = Child(settings, self._listener, folder / "console.log", self._died)

    def _died(self, text: str, *, again: bool) -> None:
        """The console's process has ended; on the thread that watches it."""
        _LOG.warning("%s", text)
        lasting = "; Ctrl-C saves and ends the run, which then goes on with --resume"
        self._wheel.lose(text if again else text + lasting)

    # -- the console says ---------------------------------------------------------------------

    def _connected(self) -> None:
        """A console, perhaps a new one: no page of it drives yet; on the link's thread."""
        self._wheel.release()
        self._sequences.clear()

    def _hear(self, message: Mapping[str, Any]) -> None:
        """A message of the console, which is checked like a page's; on the link's thread."""
        kind, page = message["kind"], str(message.get("page", ""))
        try:
            if kind == "input":
                self._input(page, message)
            elif kind == "release":
                self._wheel.release()
            elif kind == "command":
                self._ask(page, message)
            elif kind == "lost":
                self._wheel.lose(f"{page} is gone")
            else:
                raise Refused("malformed", f"there is no message '{kind}'")
        except Refused as refused:
            self._link.refused[refused.kind] += 1
            self._teller.refused(page, refused.text)

    def _input(self, page: str, message: Mapping[str, Any]) -> None:
        axes = check_axes(message.get("axes"), self._spec.size)
        sequence, hold = message.get("sequence"), message.get("hold")
        if not isinstance(sequence, int) or not isinstance(hold, bool):
            raise Refused("malformed", "an input has a sequence and hold")
        self._sequences.setdefault(page, Rising()).check(sequence)
        self._wheel.put(page, sequence, axes, hold=hold)

    def _ask(self, page: str, message: Mapping[str, Any]) -> None:
        name, episode = message.get("command"), message.get("episode")
        if not isinstance(name, str) or name not in COMMANDS or not isinstance(episode, int | None):
            raise Refused("malformed", f"there is no command '{name}'")
        if self._commands is None:
            raise Refused("late", f"'{name}' is refused: the run has not begun")
        command = COMMANDS[name]
        if command in ENDS_EPISODE:
            # Never the one that happens to begin while the message is on its way.
            episode = self._episode if episode is None else episode
            if episode is None or episode != self._episode:
                raise Refused("late", f"'{name}' is refused: episode {episode} is not running")
        else:
            episode = None
        if command is Command.PAUSE:
            self._paused_by = page
        elif command is Command.RESUME:
            self._paused_by = ""
            if self._wheel.ask().silence:
                self._wheel.release()
        self._commands.put(command, episode)
