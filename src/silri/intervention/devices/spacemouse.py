"""A 3Dconnexion SpaceMouse, read as a plain HID device: no driver, no display.

Its reports: 1 is translation x, y, z (and rotation behind it, on newer ones), 2 is rotation, 3 the
buttons; 16-bit numbers, low byte first. The frame is x to the right, y towards the person, z down.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from silri.core.errors import ConfigError, MissingExtraError
from silri.core.registry import Preset
from silri.core.settings import Positive, settings
from silri.intervention.devices.config import DeviceConfig, preset_for
from silri.intervention.devices.device import Controls, Device
from silri.intervention.devices.events import RawEvent

VENDOR = 0x256F
# Before 3Dconnexion had a number of its own they were Logitech's.
LOGITECH = 0x046D
LOGITECH_PRODUCTS = frozenset(
    {0xC603, 0xC605, 0xC606, 0xC621, 0xC623, 0xC625, 0xC626, 0xC627, 0xC628, 0xC629, 0xC62B}
)
MULTI_AXIS = (0x01, 0x08)  # HID usage page and usage of the interface that says where the cap is
TRANSLATION, ROTATION, BUTTONS = 1, 2, 3  # reports
# Number of a report's axis -> our motion; every sign is turned, see the module's docstring.
TRANSLATIONS = ("y", "x", "z")
ROTATIONS = ("pitch", "roll", "yaw")
SILENT_S = 0.4  # a deflected cap says so all the time; one that does not has been let go
UDEV_RULE = (
    'SUBSYSTEM=="hidraw", ATTRS{idVendor}=="256f", MODE="0660", TAG+="uaccess"'
    '\nSUBSYSTEM=="hidraw", ATTRS{idVendor}=="046d", ATTRS{idProduct}=="c6[02]?", '
    'MODE="0660", TAG+="uaccess"'
)
UDEV_FILE = "/etc/udev/rules.d/70-spacemouse.rules"


@settings("operator")
class SpaceMouseConfig(DeviceConfig):
    """A SpaceMouse: who moves the cap drives."""

    buttons: ClassVar[Mapping[str, str]] = {
        "0": "gripper", "1": "success", "2": "reset", "3": "discard", "4": "pause", "5": "take",
    }  # fmt: skip

    # report of a full deflection
    full_scale: Positive = 350.0

    def legend(self) -> str:
        """Which way is which."""
        return f"Push, lift and twist the cap. Dead zone {self.dead_zone}."


class SpaceMouseDecoder:
    """HID reports."""

    _motion: dict[str, float]
    _held: set[str]
    _pressed: list[str]

    def __init__(self, full_scale: float) -> None:
        self._full = full_scale
        self.release()

    def feed(self, event: RawEvent) -> None:
        """``report``: its bytes in hexadecimal digits."""
        if event.kind != "report" or not isinstance(event.data, str):
            return
        try:
            report = bytes.fromhex(event.data)
        except ValueError:
            return
        if not report:
            return
        number, payload = report[0], report[1:]
        if number == BUTTONS:
            self._press(int.from_bytes(payload[:4], "little"))
        elif number in (TRANSLATION, ROTATION) and len(payload) >= 6:
            names: tuple[str, ...] = TRANSLATIONS if number == TRANSLATION else ROTATIONS
            if number == TRANSLATION and len(payload) >= 12:
                names = TRANSLATIONS + ROTATIONS
            self._heard = event.time
            for name, value in zip(
                names, struct.unpack(f"<{len(names)}h", payload[: 2 * len(names)]), strict=True
            ):
                self._motion[name] = max(-1.0, min(1.0, -value / self._full))

    def read(self, now: float) -> Controls:
        """See :class:`~silri.intervention.devices.device.Decoder`."""
        if now - self._heard > SILENT_S:
            self._motion = {}
        pressed, self._pressed = tuple(self._pressed), []
        return Controls(dict(self._motion), frozenset(self._held), pressed)

    def release(self) -> None:
        """The cap in the middle, buttons up."""
        self._motion, self._held, self._pressed = {}, set(), []
        self._heard = 0.0

    def encode(self, motion: Mapping[str, float], held: Sequence[str]) -> list[tuple[str, Any]]:
        """The reports that say so."""
        mask = sum(1 << int(button) for button in held)
        return [
            self._report(TRANSLATION, [motion.get(name, 0.0) for name in TRANSLATIONS]),
            self._report(ROTATION, [motion.get(name, 0.0) for name in ROTATIONS]),
            ("report", (bytes([BUTTONS]) + mask.to_bytes(2, "little")).hex()),
        ]

    def _report(self, number: int, values: list[float]) -> tuple[str, Any]:
        payload = struct.pack("<3h", *(round(-value * self._full) for value in values))
        return "report", (bytes([number]) + payload).hex()

    def _press(self, mask: int) -> None:
        down = {str(bit) for bit in range(32) if mask >> bit & 1}
        self._pressed += sorted(down - self._held)
        self._held = down


def import_hid() -> Any:
    """The HID library; on Linux the kernel's own interface, which also sees Bluetooth.

    Raises:
        MissingExtraError: it is not installed.
    """
    names = ("hidraw", "hid") if sys.platform == "linux" else ("hid",)
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error
    raise MissingExtraError("devices", "operator 'spacemouse'") from missing


def mice() -> list[dict[str, Any]]:
    """What the system says of every SpaceMouse: ``path``, ``product_string`` and so on.

    Raises:
        MissingExtraError: the HID library is not installed.
    """
    found = [
        info
        for info in import_hid().enumerate()
        if info["vendor_id"] == VENDOR
        or (info["vendor_id"] == LOGITECH and info["product_id"] in LOGITECH_PRODUCTS)
    ]
    axes = [info for info in found if (info.get("usage_page"), info.get("usage")) == MULTI_AXIS]
    return axes or found


def unusable(info: Mapping[str, Any]) -> str:
    """Why a SpaceMouse that was found cannot be opened; empty if it can."""
    path = os.fsdecode(info["path"])
    if path.startswith("/dev/") and not os.access(path, os.R_OK | os.W_OK):
        return (
            f"no permission to read {path} (it would read zero): put these two lines into "
            f"{UDEV_FILE} and plug it in again:\n{UDEV_RULE}"
        )
    return ""


class SpaceMouseHandle:
    """An open SpaceMouse."""

    def __init__(self) -> None:
        """Open the first one.

        Raises:
            ConfigError: there is none, or it may not be read.
        """
        found = mice()
        if not found:
            raise ConfigError(
                "no SpaceMouse is there; plug it in by USB or its receiver, or pair it by "
                "Bluetooth and take the cable out: with both it reads zero"
            )
        reason = unusable(found[0])
        if reason:
            raise ConfigError(reason)
        self._device = import_hid().device()
        try:
            self._device.open_path(found[0]["path"])
        except OSError as error:
            path = os.fsdecode(found[0]["path"])
            raise ConfigError(f"the SpaceMouse at {path} cannot be opened: {error}") from error

    def read(self, timeout: float) -> Sequence[tuple[str, Any]]:
        """The next report, if one comes.

        Raises:
            OSError: it was unplugged.
        """
        report = self._device.read(64, round(1e3 * timeout))
        return [("report", bytes(report).hex())] if report else []

    def close(self) -> None:
        """Let others open it."""
        self._device.close()


class SpaceMouse(Device):
    """Chosen by ``--operator spacemouse``."""

    kind: ClassVar[str] = "spacemouse"
    Config: ClassVar[type[DeviceConfig]] = SpaceMouseConfig
    presets: ClassVar[Mapping[str, Preset]] = preset_for(
        SpaceMouseConfig(), "a 3Dconnexion SpaceMouse; who moves the cap drives"
    )

    @classmethod
    def open_device(cls, config: DeviceConfig, name: str) -> SpaceMouseHandle:
        """The first one."""
        del config, name
        return SpaceMouseHandle()

    @classmethod
    def make_decoder(cls, config: DeviceConfig) -> SpaceMouseDecoder:
        """Of 3Dconnexion's reports."""
        full = config.full_scale if isinstance(config, SpaceMouseConfig) else 350.0
        return SpaceMouseDecoder(full)
