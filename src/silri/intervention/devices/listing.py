"""What is plugged in, and why something cannot be used: for ``silri list devices``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

from silri.core.errors import ConfigError, MissingExtraError
from silri.core.registry import load_attribute

# Name -> what finds it. Strings, so that a library is imported only when somebody asks.
FINDERS = {
    "terminal": "silri.intervention.devices.listing:find_terminal",
    "gamepad": "silri.intervention.devices.listing:find_gamepads",
    "spacemouse": "silri.intervention.devices.listing:find_spacemice",
    "lerobot:<type>": "silri.intervention.devices.listing:find_teleoperators",
}


class Found(NamedTuple):
    """One device, or the reason why there is none.

    Attributes:
        name: what ``--operator`` takes.
        usable: it can be chosen now.
        state: which one it is, or what to do.
    """

    name: str
    usable: bool
    state: str


def find_devices() -> list[Found]:
    """Every kind of device, with its state on this machine."""
    found: list[Found] = []
    for name, target in FINDERS.items():
        finder: Callable[[], list[Found]] = load_attribute(target, "a device")
        try:
            found += finder()
        except (ConfigError, MissingExtraError) as error:
            found.append(Found(name, False, str(error)))
    return found


def find_terminal() -> list[Found]:
    """The terminal of this process."""
    from silri.intervention.devices.terminal import terminal_path

    return [Found("terminal", True, f"ready: {terminal_path()}")]


def find_gamepads() -> list[Found]:
    """What SDL sees."""
    from silri.intervention.devices.gamepad import pads, unreadable

    found = []
    for index, (name, known) in enumerate(pads()):
        more = f" (--operator.index {index})" if index else ""
        state = f"ready: {name}{more}" if known else f"{name}: SDL does not know its layout"
        found.append(Found("gamepad", known, state))
    return found or [Found("gamepad", False, unreadable() or "none is plugged in")]


def find_spacemice() -> list[Found]:
    """What the HID library sees."""
    from silri.intervention.devices.spacemouse import mice, unusable

    found = []
    for info in mice():
        reason = unusable(info)
        state = reason or f"ready: {info.get('product_string') or 'SpaceMouse'}"
        found.append(Found("spacemouse", not reason, state))
    return found or [Found("spacemouse", False, "none is plugged in or paired")]


def find_teleoperators() -> list[Found]:
    """LeRobot and the plug-ins that are installed; none of them is imported or connected."""
    from silri.core.lerobot import TELEOPERATORS, plugin_modules

    if importlib.util.find_spec("lerobot") is None:
        raise MissingExtraError("lerobot", "a LeRobot teleoperator")
    plugins = [
        module.removeprefix(TELEOPERATORS.plugin) for module in plugin_modules(TELEOPERATORS)
    ]
    more = f"; plug-ins: {', '.join(plugins)}" if plugins else ""
    return [Found("lerobot:<type>", True, f"lerobot is installed{more}")]
