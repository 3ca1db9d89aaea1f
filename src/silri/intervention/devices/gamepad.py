"""A gamepad, through SDL: any pad that its table of game controllers knows, without a display."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from silri.core.errors import ConfigError, MissingExtraError
from silri.core.registry import Preset
from silri.core.settings import NonNegativeInt, settings
from silri.intervention.devices.config import DeviceConfig, preset_for
from silri.intervention.devices.device import Controls, Device
from silri.intervention.devices.events import RawEvent

# SDL's standard layout, whatever the make; in the order of SDL's numbers.
AXES = ("leftx", "lefty", "rightx", "righty", "lefttrigger", "righttrigger")
BUTTONS = (
    "a", "b", "x", "y", "back", "guide", "start", "leftstick", "rightstick", "leftshoulder",
    "rightshoulder", "dpup", "dpdown", "dpleft", "dpright",
)  # fmt: skip
UDEV_RULE = 'SUBSYSTEM=="input", ENV{ID_INPUT_JOYSTICK}=="1", MODE="0660", TAG+="uaccess"'
UDEV_FILE = "/etc/udev/rules.d/70-gamepad.rules"
FULL = 32767  # of SDL's axes
SAMPLE_S = 0.004  # between two looks at the pad
# Motion -> (axis, sign): a stick that is pushed away or to the left reads negative.
STICKS: Mapping[str, tuple[str, float]] = {
    "x": ("lefty", -1.0),
    "y": ("leftx", -1.0),
    "z": ("righty", -1.0),
    "yaw": ("rightx", -1.0),
}
# Motion -> (positive, negative) button.
PADS: Mapping[str, tuple[str, str]] = {
    "roll": ("dpright", "dpleft"),
    "pitch": ("dpdown", "dpup"),
}


@settings("operator")
class GamepadConfig(DeviceConfig):
    """A gamepad: sticks move, a shoulder button must be held to drive."""

    buttons: ClassVar[Mapping[str, str]] = {
        "rightshoulder": "drive",
        "leftshoulder": "take",
        "a": "gripper",
        "y": "success",
        "x": "failure",
        "b": "reset",
        "back": "discard",
        "start": "pause",
        "leftstick": "slower",
        "rightstick": "faster",
    }

    # who moves a stick drives, or only who holds the button 'drive' down
    drive: Literal["motion", "hold"] = "hold"
    # which of several gamepads; 'silri list devices' shows them
    index: NonNegativeInt = 0

    def legend(self) -> str:
        """Which stick does what."""
        return (
            "Left stick: forward, left. Right stick: up, yaw. Cross: roll, pitch. "
            f"Dead zone {self.dead_zone}."
        )


class GamepadDecoder:
    """Axes and buttons in SDL's names."""

    _axes: dict[str, float]
    _held: set[str]
    _pressed: list[str]

    def __init__(self) -> None:
        self.release()

    def feed(self, event: RawEvent) -> None:
        """``axis`` [name, value in [-1, 1]] or ``button`` [name, 0 or 1]."""
        if not (isinstance(event.data, list) and len(event.data) == 2):
            return
        name, value = event.data
        if not isinstance(value, int | float):
            return
        if event.kind == "axis" and name in AXES:
            self._axes[name] = max(-1.0, min(1.0, float(value)))
        elif event.kind == "button" and name in BUTTONS:
            if value and name not in self._held:
                self._pressed.append(name)
            (self._held.add if value else self._held.discard)(name)

    def read(self, now: float) -> Controls:
        """See :class:`~silri.intervention.devices.device.Decoder`."""
        del now
        motion = {name: sign * self._axes.get(axis, 0.0) for name, (axis, sign) in STICKS.items()}
        for name, (positive, negative) in PADS.items():
            motion[name] = float(positive in self._held) - float(negative in self._held)
        pressed, self._pressed = tuple(self._pressed), []
        return Controls(motion, frozenset(self._held), pressed)

    def release(self) -> None:
        """Sticks in the middle, buttons up."""
        self._axes, self._held, self._pressed = {}, set(), []

    def encode(self, motion: Mapping[str, float], held: Sequence[str]) -> list[tuple[str, Any]]:
        """The events that say so."""
        events: list[tuple[str, Any]] = [
            ("axis", [axis, sign * motion.get(name, 0.0)]) for name, (axis, sign) in STICKS.items()
        ]
        down = set(held)
        for name, (positive, negative) in PADS.items():
            value = motion.get(name, 0.0)
            down |= {positive} if value > 0 else {negative} if value < 0 else set()
        return events + [("button", [name, int(name in down)]) for name in BUTTONS]


def import_sdl() -> Any:
    """pygame with its joysticks running, without a window.

    Raises:
        MissingExtraError: pygame is not installed.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    # A terminal has no window that could have the focus, nor need there be a display.
    os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    try:
        import pygame
        from pygame._sdl2 import controller
    except ImportError as error:
        raise MissingExtraError("devices", "operator 'gamepad'") from error
    pygame.display.init()  # SDL's events need it
    controller.init()
    pygame.joystick.init()
    pygame.event.pump()
    return pygame


def pads() -> list[tuple[str, bool]]:
    """(name, whether SDL knows its layout) of every joystick.

    Raises:
        MissingExtraError: pygame is not installed.
    """
    pygame = import_sdl()
    from pygame._sdl2 import controller

    return [
        (pygame.joystick.Joystick(index).get_name(), bool(controller.is_controller(index)))
        for index in range(pygame.joystick.get_count())
    ]


def unreadable(listing: Path = Path("/proc/bus/input/devices")) -> str:
    """Why a gamepad that the kernel knows is not seen; empty if there is none such (Linux)."""
    if not listing.is_file():
        return ""
    for block in listing.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        handlers = re.search(r"^H: Handlers=.*\bjs\d+", block, re.MULTILINE)
        events = re.findall(r"\bevent\d+", block)
        name = re.search(r'^N: Name="(.*)"', block, re.MULTILINE)
        if handlers is None or name is None:
            continue
        for event in events:
            if not os.access(f"/dev/input/{event}", os.R_OK):
                return (
                    f"no permission to read /dev/input/{event} ('{name[1]}'): put this line into "
                    f"{UDEV_FILE} and plug it in again:\n{UDEV_RULE}"
                )
    return ""


class GamepadHandle:
    """An open gamepad."""

    def __init__(self, index: int) -> None:
        """Open it.

        Raises:
            ConfigError: there is none, or SDL does not know its layout.
        """
        found = pads()
        from pygame._sdl2 import controller

        if index >= len(found):
            if reason := unreadable():
                raise ConfigError(reason)
            there = ", ".join(name for name, _ in found) or "none"
            raise ConfigError(
                f"gamepad {index} is not there (found: {there}); plug it in, and see "
                "'silri list devices'"
            )
        name, known = found[index]
        if not known:
            raise ConfigError(
                f"SDL does not know the layout of '{name}'; give it in the environment variable "
                "SDL_GAMECONTROLLERCONFIG, or use another gamepad"
            )
        self._pump = import_sdl().event.pump
        self._clear = import_sdl().event.clear
        self._pad = controller.Controller(index)
        self._axes: dict[str, float] = {}
        self._buttons: dict[str, int] = {}

    def read(self, timeout: float) -> Sequence[tuple[str, Any]]:
        """What has changed since the last look.

        Raises:
            OSError: it was unplugged.
        """
        time.sleep(min(SAMPLE_S, timeout))
        self._pump()
        self._clear()  # nobody reads SDL's queue
        if not self._pad.attached():
            raise OSError("it was unplugged")
        events: list[tuple[str, Any]] = []
        for number, name in enumerate(AXES):
            value = round(self._pad.get_axis(number) / FULL, 4)
            if self._axes.get(name, 0.0) != value:
                self._axes[name] = value
                events.append(("axis", [name, value]))
        for number, name in enumerate(BUTTONS):
            down = int(self._pad.get_button(number))
            if self._buttons.get(name, 0) != down:
                self._buttons[name] = down
                events.append(("button", [name, down]))
        return events

    def close(self) -> None:
        """Let others open it."""
        self._pad.quit()


class Gamepad(Device):
    """Chosen by ``--operator gamepad``."""

    kind: ClassVar[str] = "gamepad"
    Config: ClassVar[type[DeviceConfig]] = GamepadConfig
    presets: ClassVar[Mapping[str, Preset]] = preset_for(
        GamepadConfig(), "a gamepad; hold the right shoulder button to drive"
    )

    @classmethod
    def open_device(cls, config: DeviceConfig, name: str) -> GamepadHandle:
        """The gamepad with the configured number."""
        del name
        return GamepadHandle(config.index if isinstance(config, GamepadConfig) else 0)

    @classmethod
    def make_decoder(cls, config: DeviceConfig) -> GamepadDecoder:
        """Of SDL's layout."""
        del config
        return GamepadDecoder()
