"""A SpaceMouse's reports, and what the system says of it."""

from __future__ import annotations

import struct

import pytest

from silri.core.errors import ConfigError
from silri.intervention.devices import spacemouse
from silri.intervention.devices.events import RawEvent
from silri.intervention.devices.spacemouse import (
    SpaceMouseDecoder,
    SpaceMouseHandle,
    mice,
    unusable,
)


def report(number, *values):
    return RawEvent(
        0.0, "report", (bytes([number]) + struct.pack(f"<{len(values)}h", *values)).hex()
    )


def decoded(*events, now=0.0):
    decoder = SpaceMouseDecoder(350.0)
    for event in events:
        decoder.feed(event)
    return decoder.read(now)


@pytest.mark.parametrize(
    ("values", "motion"),
    [
        ((-350, 0, 0), {"y": 1.0, "x": 0.0, "z": 0.0}),  # pushed to the left
        ((0, -175, 0), {"y": 0.0, "x": 0.5, "z": 0.0}),  # pushed away
        ((0, 0, 350), {"y": 0.0, "x": 0.0, "z": -1.0}),  # pressed down
        ((0, 0, 500), {"y": 0.0, "x": 0.0, "z": -1.0}),
    ],
)
def test_translation(values, motion):
    assert decoded(report(1, *values)).motion == motion


def test_rotation_in_a_report_of_its_own_or_behind_the_translation():
    old = decoded(report(1, 0, 0, 0), report(2, 35, -70, 105)).motion
    new = decoded(report(1, 0, 0, 0, 35, -70, 105)).motion
    assert old == new
    assert new == {"x": 0, "y": 0, "z": 0, "pitch": -0.1, "roll": 0.2, "yaw": pytest.approx(-0.3)}


def test_buttons_are_pressed_once():
    decoder = SpaceMouseDecoder(350.0)
    decoder.feed(RawEvent(0, "report", "0301"))
    decoder.feed(RawEvent(0, "report", "0303"))
    controls = decoder.read(0.0)
    assert controls.pressed == ("0", "1")
    assert controls.held == {"0", "1"}
    decoder.feed(RawEvent(0, "report", "0300"))
    assert decoder.read(0.0).pressed == ()
    assert not decoder.read(0.0).held


def test_a_cap_whose_last_report_was_lost_is_let_go():
    """It reports all the time while it is deflected; a radio may lose the last, zero, one."""
    decoder = SpaceMouseDecoder(350.0)
    decoder.feed(report(1, 350, 0, 0))
    assert decoder.read(0.3).motion["y"] == -1.0
    assert not any(decoder.read(0.5).motion.values())


@pytest.mark.parametrize("data", ["zz", "", "01", "0102", None, 3, "ff010203040506"])
def test_what_is_malformed_changes_nothing(data):
    controls = decoded(RawEvent(0.0, "report", data))
    assert not any(controls.motion.values())
    assert not controls.held


def info(path, vendor=0x256F, product=0xC62E, usage=8):
    return {
        "path": str(path).encode(), "vendor_id": vendor, "product_id": product, "usage_page": 1,
        "usage": usage, "product_string": "SpaceMouse Wireless",
    }  # fmt: skip


class Hid:
    """The HID library's own interface, with the devices that a test wants."""

    def __init__(self, found):
        self.found, self.opened = found, None

    def enumerate(self):
        return self.found

    def device(self):
        return self

    def open_path(self, path):
        self.opened = path

    def read(self, size, timeout):
        return [1, 94, 1, 0, 0, 0, 0]

    def close(self):
        self.opened = None


def test_of_many_devices_the_cap_of_a_spacemouse_is_found(monkeypatch):
    keyboard = info("/dev/hidraw0", vendor=0x046D, product=0xC31C)
    receiver = info("/dev/hidraw1", usage=6)
    old = info("/dev/hidraw3", vendor=0x046D, product=0xC626)
    hid = Hid([keyboard, receiver, info("/dev/hidraw2"), old])
    monkeypatch.setattr(spacemouse, "import_hid", lambda: hid)
    assert [each["path"] for each in mice()] == [b"/dev/hidraw2", b"/dev/hidraw3"]


def test_a_device_is_opened_and_read(monkeypatch, tmp_path):
    path = tmp_path / "hidraw0"
    path.touch()
    hid = Hid([info(path)])
    monkeypatch.setattr(spacemouse, "import_hid", lambda: hid)
    handle = SpaceMouseHandle()
    assert hid.opened == str(path).encode()
    assert handle.read(0.05) == [("report", "015e0100000000")]
    handle.close()
    assert hid.opened is None


def test_without_permission_the_rule_is_shown(monkeypatch):
    monkeypatch.setattr(spacemouse.os, "access", lambda *_: False)
    reason = unusable(info("/dev/hidraw2"))
    assert "no permission to read /dev/hidraw2" in reason
    assert 'ATTRS{idVendor}=="256f"' in reason
    assert spacemouse.UDEV_FILE in reason
    monkeypatch.setattr(spacemouse, "import_hid", lambda: Hid([info("/dev/hidraw2")]))
    with pytest.raises(ConfigError, match="no permission"):
        SpaceMouseHandle()


def test_nothing_is_there(monkeypatch):
    monkeypatch.setattr(spacemouse, "import_hid", lambda: Hid([]))
    with pytest.raises(ConfigError, match="no SpaceMouse is there"):
        SpaceMouseHandle()


def test_the_real_library_can_be_asked():
    pytest.importorskip("hid", reason="pip install 'silri[devices]'")
    assert isinstance(mice(), list)
