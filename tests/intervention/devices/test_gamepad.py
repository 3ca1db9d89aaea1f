"""A gamepad, through the real SDL with a virtual pad; its decoding alone where that is enough."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("pygame", reason="pip install 'silri[devices]'")

from silri.core.errors import ConfigError
from silri.intervention.devices import sources
from silri.intervention.devices.events import RawEvent
from silri.intervention.devices.gamepad import (
    BUTTONS,
    GamepadConfig,
    GamepadDecoder,
    GamepadHandle,
    pads,
    unreadable,
)
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import create_operator
from tests.intervention.devices.twin import ARM, view
from tests.intervention.devices.virtual_pad import VirtualPad


@pytest.fixture
def pad(monkeypatch):
    monkeypatch.setattr(sources, "RETRY_S", 0.02)
    pad = VirtualPad()
    yield pad
    pad.pull_out()


@pytest.fixture
def device(pad):
    device = create_operator(GamepadConfig(), OperatorContext(ARM, "gamepad"))
    device.begin_episode(np.random.default_rng(0))
    yield device
    device.close()


def until(device, condition, seconds=5.0):
    """Decide until the condition holds for what is asked."""
    end = time.monotonic() + seconds
    while True:
        asked = device.decide(view())
        if condition(asked):
            return asked
        assert time.monotonic() < end, asked
        time.sleep(0.002)


def test_sticks_and_buttons_of_a_pad_become_an_action(device, pad):
    assert not until(device, lambda asked: True).engaged
    pad.press("rightshoulder")
    pad.move("lefty", -1.0)  # pushed away: forward
    asked = until(device, lambda asked: asked.engaged and asked.action[0] > 0.9)
    np.testing.assert_allclose(asked.action, [1, 0, 0, -1], atol=1e-3)
    pad.move("lefty", 0.0)
    pad.move("leftx", 0.55)  # to the right
    asked = until(device, lambda asked: asked.action[1] < -0.1)
    np.testing.assert_allclose(asked.action, [0, -0.5, 0, -1], atol=1e-3)
    pad.press("a")
    until(device, lambda asked: asked.action[3] == 1.0)
    pad.press("rightshoulder", down=False)
    until(device, lambda asked: not asked.engaged)


def test_a_pad_that_is_pulled_out_pauses_the_robot_until_it_is_back(device, pad):
    pad.press("rightshoulder")
    pad.move("lefty", -1.0)
    until(device, lambda asked: asked.engaged)
    pad.pull_out()
    asked = until(device, lambda asked: asked.pause)
    assert "it was unplugged" in asked.notices[0]
    assert until(device, lambda asked: True).pause
    pad.plug_in()
    asked = until(device, lambda asked: not asked.pause)
    assert asked.notices == ("the gamepad is back",)
    assert not asked.engaged
    pad.press("rightshoulder")
    until(device, lambda asked: asked.engaged)


def test_every_button_of_sdl_has_its_name(pad):
    handle = GamepadHandle(0)
    for name in BUTTONS:
        pad.press(name)
        assert ("button", [name, 1]) in handle.read(0.05)
        pad.press(name, down=False)
        assert ("button", [name, 0]) in handle.read(0.05)
    handle.close()


def test_pads_are_listed_with_whether_they_are_known(pad):
    assert [known for _, known in pads()] == [True]


def test_no_pad_is_one_line():
    with pytest.raises(ConfigError, match=r"gamepad 0 is not there \(found: none\); plug it in"):
        GamepadHandle(0)


LISTING = """I: Bus=0003
N: Name="A keyboard"
H: Handlers=sysrq kbd event2

I: Bus=0003
N: Name="Wireless Pad"
H: Handlers=event7 js0
"""


def test_a_pad_that_may_not_be_read_is_named_with_the_rule(tmp_path, monkeypatch):
    """SDL sees nothing then."""
    listing = tmp_path / "devices"
    listing.write_text(LISTING)
    monkeypatch.setattr("os.access", lambda path, mode: path != "/dev/input/event7")
    reason = unreadable(listing)
    assert "no permission to read /dev/input/event7 ('Wireless Pad')" in reason
    assert 'ENV{ID_INPUT_JOYSTICK}=="1"' in reason
    monkeypatch.setattr("os.access", lambda path, mode: True)
    assert unreadable(listing) == ""
    assert unreadable(tmp_path / "nowhere") == ""


@pytest.mark.parametrize(
    "event",
    [
        RawEvent(0, "axis", ["leftx"]), RawEvent(0, "axis", None),
        RawEvent(0, "axis", ["leftx", "a"]),
        RawEvent(0, "axis", ["wheel", 1.0]), RawEvent(0, "button", ["z", 1]),
        RawEvent(0, "smell", ["a", 1]),
    ],
)  # fmt: skip
def test_what_is_malformed_changes_nothing(event):
    decoder = GamepadDecoder()
    decoder.feed(event)
    controls = decoder.read(0.0)
    assert not any(controls.motion.values())
    assert not controls.held


def test_the_cross_turns_the_hand():
    decoder = GamepadDecoder()
    decoder.feed(RawEvent(0, "button", ["dpleft", 1]))
    decoder.feed(RawEvent(0, "button", ["dpdown", 1]))
    motion = decoder.read(0.0).motion
    assert (motion["roll"], motion["pitch"]) == (-1.0, 1.0)
