"""A device as an operator: what the hand does becomes what the arbiter is asked for.

A device's own file says how to open it (:class:`~silri.intervention.devices.sources.Handle`) and
what its events mean (:class:`Decoder`). Everything else is here, and the same for all: who drives,
the gripper, commands from buttons, a device that is unplugged, demonstrations.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from silri.core.clock import Clock, MonotonicClock
from silri.core.commands import ENDS_EPISODE, Command
from silri.core.protocols import OperatorInput, OperatorView
from silri.intervention.devices.config import COMMANDS, DeviceConfig
from silri.intervention.devices.events import BACK, GONE, RawEvent, read_input
from silri.intervention.devices.mapping import MOTIONS, ActionMap
from silri.intervention.devices.sources import Handle, Reader, Recorded, Replay, Source
from silri.intervention.operators import OperatorContext

SPEED_STEP, SLOWEST = 1.25, 0.1


@dataclass(frozen=True)
class Controls:
    """What a device says now.

    Attributes:
        motion: deflection in [-1, 1] by :data:`~silri.intervention.devices.mapping.Motion`.
        held: buttons that are down.
        pressed: buttons that went down since the last look, in order.
        engaged: whether the person drives, of a device that knows; else None.
        closed: the gripper, of a device that has one; else None.
        place: where the device is, of one that has no rest to return to, by name and in its own
            units; else None.
    """

    motion: Mapping[str, float] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    pressed: tuple[str, ...] = ()
    engaged: bool | None = None
    closed: bool | None = None
    place: Mapping[str, float] | None = None


class Decoder(Protocol):
    """The meaning of a device's events."""

    def feed(self, event: RawEvent) -> None:
        """One event; what is malformed changes nothing."""

    def read(self, now: float) -> Controls:
        """What the device says at ``now``, seconds on the events' clock; presses only once."""

    def release(self) -> None:
        """The device is gone, or begins anew: nothing is deflected or held."""

    def encode(self, motion: Mapping[str, float], held: Sequence[str]) -> list[tuple[str, Any]]:
        """Events that say so: what :meth:`feed` reads, for a twin made by hand."""


class Device:
    """A person at a device. The arbiter decides; see :class:`~silri.core.protocols.Operator`."""

    kind: ClassVar[str]  # what its recorded input is called
    Config: ClassVar[type[DeviceConfig]]
    live = True

    def __init__(
        self,
        config: DeviceConfig,
        context: OperatorContext,
        source: Source,
        decoder: Decoder,
    ) -> None:
        """Read ``source`` through ``decoder``; see :meth:`create`."""
        self.config, self.name = config, context.name
        self.map = ActionMap(
            context.action_spec,
            config.axes or context.directions,
            invert=config.invert,
            scale=config.scale,
            rotation_scale=config.rotation_scale,
            dead_zone=config.dead_zone,
        )
        self.source, self.decoder = source, decoder
        self._meanings = config.bindings()
        self._decisions = 0
        self._gone: str | None = None
        self._paused = False
        self._forget()

    # -- how it is made -------------------------------------------------------------------------

    @classmethod
    def create(cls, config: DeviceConfig, context: OperatorContext) -> Self:
        """Open the device, or the file that stands for it.

        Raises:
            ConfigError: it cannot be opened; names what to do.
            DataError: the file is damaged.
        """
        clock = MonotonicClock()
        source: Source
        if config.replay is not None:
            events = read_input(Path(config.replay), cls.kind)
            source = Replay(events, clock, config.replay_hz)
        else:
            source = cls.open_source(config, context.name, clock)
        if config.record_input is not None:
            source = Recorded(source, Path(config.record_input), cls.kind)
        return cls(config, context, source, cls.make_decoder(config))

    @classmethod
    def open_source(cls, config: DeviceConfig, name: str, clock: Clock) -> Source:
        """The device itself, read on a thread."""
        return Reader(cls.kind, lambda: cls.open_device(config, name), clock)

    @classmethod
    @abstractmethod
    def open_device(cls, config: DeviceConfig, name: str) -> Handle:
        """Open the device.

        Raises:
            ConfigError: it is not there or may not be opened; MissingExtraError: its library.
        """

    @classmethod
    @abstractmethod
    def make_decoder(cls, config: DeviceConfig) -> Decoder:
        """What its events mean."""

    # -- an operator ----------------------------------------------------------------------------

    def demonstrator(self) -> Demonstration:
        """The same person, who drives the whole time; the loop waits meanwhile."""
        return Demonstration(self)

    def begin_episode(self, rng: np.random.Generator) -> None:
        """Environments and robots open their grippers between episodes."""
        del rng
        # Opening a run asks once, before anything runs.
        if self._decisions <= 1 and self.source.rewind():
            self.decoder.release()
        self._forget()

    def decide(self, view: OperatorView) -> OperatorInput:
        """What the person asks for now; waits for nothing."""
        self._decisions += 1
        self._follow(view)
        notices = self._listen()
        controls = self.decoder.read(self.source.now())
        commands = self._commands(controls, notices)
        self._fresh = False
        if self._gone is not None:
            self.engaged = False
            return OperatorInput(
                engaged=False, pause=True, commands=commands, notices=tuple(notices)
            )
        self._grip(controls)
        self.engaged, action = self.steer(controls, view)
        return OperatorInput(
            engaged=self.engaged, action=action, commands=commands, notices=tuple(notices)
        )

    def end_episode(self, summary: Mapping[str, float]) -> None:
        """A person remembers by himself."""

    def state(self) -> dict[str, float]:
        """Nothing to survive a restart."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Nothing to restore."""

    def close(self) -> None:
        """Release the device."""
        self.source.close()

    # -- who drives, and how --------------------------------------------------------------------

    def steer(self, controls: Controls, view: OperatorView) -> tuple[bool, np.ndarray]:
        """(whether the person drives, what the person asks for (A,)).

        ``drive = "motion"``: from the first motion until ``linger_s`` after the last one, so that
        a hand that turns round does not let go.
        """
        del view
        deflection = self.map.deflection(controls.motion)
        now = self.source.now()
        if deflection.any() or self._says(controls.pressed, "gripper"):
            self._moved_at = now
        if controls.engaged is not None:
            engaged = controls.engaged
        elif self.config.drive == "hold":
            engaged = self._says(controls.held, "drive")
        else:
            engaged = self.lingers(now)
        return engaged, self.map.action(deflection, self._closed, self.speed)

    def lingers(self, now: float) -> bool:
        """Whether the last motion was a moment ago."""
        return now - self._moved_at <= self.config.linger_s + 1e-9

    def come_back(self) -> None:
        """The device was gone and is back: it may be somewhere else."""

    @property
    def closed(self) -> bool:
        """The gripper, as the person wants it."""
        return self._closed

    def _forget(self) -> None:
        """What belongs to one episode."""
        self._closed = self.engaged = self.taken = self.demonstrating = False
        self.view: OperatorView | None = None  # the last one
        self._fresh = True  # no decision in this episode yet
        self._level: bool | None = None  # of the hand's gripper
        self._moved_at = -np.inf
        self.speed = getattr(self, "speed", 1.0)

    def _follow(self, view: OperatorView) -> None:
        """Go on from what the policy's gripper holds; a new step says that the last was made."""
        last, self.view = self.view, view
        if last is None or last.step == view.step or self.demonstrating:
            return
        if not (self.engaged or self.taken):
            self._closed = self.map.is_closed(last.policy_action)

    def _listen(self) -> list[str]:
        """Take what has come; what a person should know."""
        notices: list[str] = []
        events = self.source.poll()
        if self.source.ended and not events:
            self.decoder.release()  # a recording is over: the hand is gone
        for event in events:
            if event.kind == GONE:
                known, self._gone = self._gone, str(event.data)
                self.decoder.release()
                if known is None:
                    notices.append(
                        f"the {self.name} is gone ({self._gone}); the robot stands still until it "
                        "is back"
                    )
            elif event.kind == BACK:
                self._gone = None
                self.decoder.release()
                self.come_back()
                notices.append(f"the {self.name} is back")
            else:
                self.decoder.feed(event)
        return notices

    def _says(self, buttons: Sequence[str] | frozenset[str], meaning: str) -> bool:
        return any(self._meanings.get(button) == meaning for button in buttons)

    def _grip(self, controls: Controls) -> None:
        """Only a change of the hand moves the gripper: to take over must not drop what it holds."""
        level = controls.closed
        if level is None and self.config.gripper == "hold":
            level = self._says(controls.held, "gripper")
        if level is None:
            presses = [b for b in controls.pressed if self._meanings.get(b) == "gripper"]
            self._closed ^= len(presses) % 2 == 1
        elif self._level is not None and level is not self._level:
            self._closed = level
        elif controls.closed is not None and controls.place is None:
            self._closed = level  # it says so only while it is told to
        self._level = level

    def _commands(self, controls: Controls, notices: list[str]) -> tuple[Command, ...]:
        """What the buttons ask of the loop."""
        asked = []
        for button in controls.pressed:
            meaning = self._meanings.get(button, "")
            if meaning in ("faster", "slower"):
                factor = SPEED_STEP if meaning == "faster" else 1.0 / SPEED_STEP
                self.speed = float(np.clip(self.speed * factor, SLOWEST, 1.0))
                notices.append(f"speed {self.speed:.2f}")
            command = COMMANDS.get(meaning)
            if command is None:
                continue
            if self._fresh and command in ENDS_EPISODE:
                # Pressed before the episode had begun: it was meant for the last one.
                notices.append(f"'{command.value}' is refused: no episode was running")
                continue
            if command is Command.TAKE:
                self.taken = not self.taken
                command = Command.TAKE if self.taken else Command.RELEASE
            elif command is Command.PAUSE:
                self._paused = not self._paused
                command = Command.PAUSE if self._paused else Command.RESUME
            asked.append(command)
        return tuple(asked)


class Demonstration:
    """A person at a device who shows the task: nothing happens until the person drives.

    While nobody drives, time stands still (``idle = "wait"``), or, once the person has begun, the
    robot does (``idle = "stand"``). A recording that has come to its end stops the run.
    """

    def __init__(self, device: Device) -> None:
        self._device, self._begun = device, False

    def begin_episode(self, rng: np.random.Generator) -> None:
        """Of the device."""
        self._device.begin_episode(rng)
        self._device.demonstrating = True
        self._begun = False

    def decide(self, view: OperatorView) -> OperatorInput:
        """What the person asks for; a pause while nobody drives."""
        device = self._device
        asked = device.decide(view)
        if asked.pause:
            return asked
        if asked.engaged or device.taken:
            self._begun = True
            return dataclasses.replace(asked, engaged=True)
        if self._begun and device.config.idle == "stand":
            rest = device.map.action(np.zeros(len(MOTIONS), np.float32), device.closed)
            return dataclasses.replace(asked, engaged=True, action=rest)
        commands = asked.commands + ((Command.STOP,) if device.source.ended else ())
        return dataclasses.replace(asked, pause=True, commands=commands)

    def end_episode(self, summary: Mapping[str, float]) -> None:
        """Of the device."""
        self._device.end_episode(summary)

    def state(self) -> dict[str, float]:
        """Of the device."""
        return self._device.state()

    def restore(self, state: Mapping[str, float]) -> None:
        """Of the device."""
        self._device.restore(state)
