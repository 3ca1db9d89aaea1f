"""Any LeRobot teleoperator: leader arms, phones, plug-ins named ``lerobot_teleoperator_*``.

What its ``get_action`` returns decides how it drives:

- ``delta_x`` and the like: a deflection, as of a gamepad;
- a position of the hand (``phone.pos``, ``target_x`` ...), or joints (``elbow.pos`` ...): relative
  motion, what it has moved since the person took over. The robot never jumps to where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np

from silri.core.lerobot import PREFIX
from silri.core.protocols import OperatorView
from silri.core.registry import Preset
from silri.core.settings import Field, NonNegativeInt, Positive, settings
from silri.intervention.devices.config import DeviceConfig, preset_for
from silri.intervention.devices.device import Controls, Device
from silri.intervention.devices.events import RawEvent
from silri.intervention.devices.lerobot import TeleoperatorHandle
from silri.intervention.devices.mapping import MOTIONS, ROTATIONS

EVENTS = ("success", "failure", "rerecord_episode", "terminate_episode")
CARRY = 5.0  # full actions: a robot that is slower than the hand does not go on for long
_HAND = {
    "x": "x", "y": "y", "z": "z", "roll": "roll", "pitch": "pitch", "yaw": "yaw",
    "wx": "roll", "wy": "pitch", "wz": "yaw",
}  # fmt: skip
_PHONE = {
    f"phone.{part}.{index}": MOTIONS[first + index]
    for part, first in (("pos", 0), ("rot", 3))
    for index in range(3)
}


@settings("operator")
class TeleoperatorConfig(DeviceConfig):
    """A LeRobot teleoperator."""

    buttons: ClassVar[Mapping[str, str]] = {
        "success": "success", "failure": "failure", "rerecord_episode": "reset",
        "terminate_episode": "failure",
    }  # fmt: skip

    # of the teleoperator's own configuration, as name=value, e.g. port=/dev/ttyACM0 id=my_leader
    options: tuple[str, ...] = ()
    # its motion (degrees of a joint, metres of a hand) that makes a full action in one decision
    unit: Positive = 1.0
    # the same for rotations of a hand, rad
    rotation_unit: Positive = 0.1
    # motion by which it takes over, in units of unit; what follows the robot lags behind it
    threshold: Positive = 1.0
    # its gripper is closed below this
    closed_below: float = 50.0
    # indices, in observation follow_key, of the robot's own joints in the order of the device's
    # feedback: it follows them while the robot drives; without: it does not
    follow: tuple[NonNegativeInt, ...] = ()
    # observation that has the robot's joints, in the device's units
    follow_key: Annotated[str, Field(min_length=1)] = "state"

    def legend(self) -> str:
        """What it is given."""
        given = f" with {' '.join(self.options)}" if self.options else ""
        return f"A LeRobot teleoperator{given}; relative motion."


class TeleoperatorDecoder:
    """What ``get_action`` and ``get_teleop_events`` returned."""

    _action: dict[str, float]
    _down: set[str]
    _pressed: list[str]

    def __init__(self, closed_below: float) -> None:
        self._closed_below = closed_below
        self.feedback: tuple[str, ...] = ()  # what it can be told, in this order
        self.release()

    def feed(self, event: RawEvent) -> None:
        """``action`` {name: number}, ``events`` {name: bool}, or ``feedback`` [name]."""
        if event.kind == "feedback" and isinstance(event.data, list):
            self.feedback = tuple(str(name) for name in event.data)
        if not isinstance(event.data, dict):
            return
        if event.kind == "action":
            numbers = (int, float)
            self._action = {k: float(v) for k, v in event.data.items() if isinstance(v, numbers)}
        elif event.kind == "events":
            down = {name for name, value in event.data.items() if value}
            new = down - self._down
            # An end has one meaning: 'terminate' comes along with the others.
            said = [name for name in EVENTS if name in new]
            self._pressed += said[:1]
            self._down = down
            self._knows |= "is_intervention" in event.data

    def read(self, now: float) -> Controls:
        """See :class:`~silri.intervention.devices.device.Decoder`."""
        del now
        motion: dict[str, float] = {}
        place: dict[str, float] = {}
        closed: bool | None = None
        engaged = "is_intervention" in self._down if self._knows else None
        for name, value in self._action.items():
            last = name.rpartition(".")[2].rpartition("_")[2]
            if name == "phone.enabled":
                engaged = bool(value)
            elif name.startswith("phone.raw_inputs"):
                continue
            elif name in _PHONE:
                place[f"hand {_PHONE[name]}"] = value
            elif "delta_" in name and last in _HAND:
                motion[_HAND[last]] = max(-1.0, min(1.0, value))
            elif name == "gripper":  # 0 close, 1 stay, 2 open
                closed = None if value == 1.0 else value < 1.0
            elif "gripper" in name:
                closed = value < self._closed_below
            elif last in _HAND:
                place[f"hand {_HAND[last]}"] = value
            else:
                place[name] = value
        pressed, self._pressed = tuple(self._pressed), []
        held = frozenset(self._down)
        return Controls(motion, held, pressed, engaged, closed, place or None)

    def release(self) -> None:
        """Nobody drives."""
        self._action, self._down, self._pressed = {}, set(), []
        self._knows = False

    def encode(self, motion: Mapping[str, float], held: Sequence[str]) -> list[tuple[str, Any]]:
        """The events that say so, of a device of deflections."""
        action = {f"delta_{name}": motion.get(name, 0.0) for name in MOTIONS}
        events = dict.fromkeys(("is_intervention", *EVENTS), False)
        events |= dict.fromkeys(held, True)
        return [("action", action), ("events", events)]


class Teleoperator(Device):
    """Chosen by ``--operator lerobot:TYPE``."""

    kind: ClassVar[str] = "lerobot"
    Config: ClassVar[type[DeviceConfig]] = TeleoperatorConfig
    presets: ClassVar[Mapping[str, Preset]] = preset_for(
        TeleoperatorConfig(), "a LeRobot teleoperator; who moves it drives"
    )
    _last: dict[str, float]  # where it was at the last decision
    _rest: dict[str, float]  # where it was when it last moved by itself
    _push: dict[str, float]  # how far the person has pushed it off the robot's place
    _owed: dict[str, float]  # motion that the robot has not made yet, in full actions

    @classmethod
    def open_device(cls, config: DeviceConfig, name: str) -> TeleoperatorHandle:
        """The teleoperator that the name says."""
        assert isinstance(config, TeleoperatorConfig)
        kind = name.removeprefix(PREFIX)
        return TeleoperatorHandle(kind, config.options, follows=bool(config.follow))

    @classmethod
    def make_decoder(cls, config: DeviceConfig) -> TeleoperatorDecoder:
        """Of what it returns."""
        assert isinstance(config, TeleoperatorConfig)
        return TeleoperatorDecoder(config.closed_below)

    def steer(self, controls: Controls, view: OperatorView) -> tuple[bool, np.ndarray]:
        """See the module's docstring."""
        config = self.config
        assert isinstance(config, TeleoperatorConfig)
        driving = self.engaged or self.taken
        target = self._lead(config, view, driving) if config.follow else {}
        if controls.place is None:
            return super().steer(controls, view)
        moved = self._moved(config, controls.place, target, driving)
        now = self.source.now()
        if moved:
            self._moved_at = now
        engaged = controls.engaged
        if engaged is None:
            engaged = self.lingers(now)
        return engaged, self._asked(controls.place)

    def come_back(self) -> None:
        """Where it is now is where it rests."""
        self._rest, self._last, self._push = {}, {}, {}

    def _forget(self) -> None:
        super()._forget()
        self.come_back()
        self._owed = {}

    def _moved(
        self,
        config: TeleoperatorConfig,
        place: Mapping[str, float],
        target: Mapping[str, float],
        driving: bool,
    ) -> bool:
        """Whether the person moves it; what is moved while nobody drives is forgotten.

        Of one that follows the robot only what leads it away from its target is the person's: it
        lags behind a robot that moves, and has a way to go at first.
        """
        moved = False
        for name, value in place.items():
            size, last = self._unit(config, name), self._last.get(name, value)
            if name in target:
                away = abs(value - target[name]) - abs(last - target[name])
                push = max(0.0, self._push.get(name, 0.0) + away)
                self._push[name], self._rest[name] = push, value
            else:
                push = abs(value - self._rest.setdefault(name, value))
            if push > config.threshold * size:
                moved, self._push[name], self._rest[name] = True, 0.0, value
            step = (value - last) / size if driving else 0.0
            self._owed[name] = self._owed.get(name, 0.0) + step if driving else 0.0
        self._last = dict(place)
        return moved

    def _asked(self, place: Mapping[str, float]) -> np.ndarray:
        """(A,): as much of the owed motion as one action can make."""
        now = {name: max(-1.0, min(1.0, self._owed[name])) for name in place}
        for name, part in now.items():
            self._owed[name] = max(-CARRY, min(CARRY, self._owed[name] - part))
        if any(name.startswith("hand ") for name in place):
            deflection = np.asarray([now.get(f"hand {name}", 0.0) for name in MOTIONS], np.float32)
            return self.map.action(deflection, self.closed, self.speed)
        action = np.zeros(self.map.spec.size, np.float32)
        joints = list(self.map.spec.continuous)[: len(now)]
        action[joints] = self.speed * np.asarray(list(now.values()), np.float32)[: len(joints)]
        return self.map.with_grippers(action, self.closed)

    def _lead(
        self, config: TeleoperatorConfig, view: OperatorView, driving: bool
    ) -> dict[str, float]:
        """While the robot drives, tell the device where it is; returns what it was told."""
        names = self.decoder.feedback if isinstance(self.decoder, TeleoperatorDecoder) else ()
        if driving or not names:
            self.source.send("free")
            return {}
        joints = np.asarray(view.observation[config.follow_key]).ravel()
        target = [float(joints[index]) for index in config.follow]
        self.source.send(target)
        return dict(zip(names, target, strict=False))

    @staticmethod
    def _unit(config: TeleoperatorConfig, name: str) -> float:
        rotation = name.startswith("hand ") and name.removeprefix("hand ") in ROTATIONS
        return config.rotation_unit if rotation else config.unit
