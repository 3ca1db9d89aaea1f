"""LeRobot's teleoperators, through plug-ins that have exactly its interface.

``lerobot`` itself is not installed where these run: :mod:`tests.fakes.lerobot_stand_in` has the
signatures of its 0.4.4 and 0.6.1.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from silri.core.commands import Command
from silri.core.errors import ConfigError, MissingExtraError, UnknownNameError
from silri.core.lerobot import TELEOPERATORS, make, plugin_modules
from silri.core.specs import ActionSpec
from silri.intervention.devices import sources
from silri.intervention.devices.lerobot import flattened
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import OPERATORS, create_operator
from tests.intervention.devices.twin import ARM, decide, play, view

STAND_IN = Path(__file__).parents[2] / "fakes" / "lerobot_stand_in"
JOINTS = ActionSpec(4, gripper=(3,))


@pytest.fixture
def wands(monkeypatch):
    """The plug-in's module; LeRobot's stand-in is importable meanwhile."""
    monkeypatch.setattr(sources, "RETRY_S", 0.02)
    monkeypatch.syspath_prepend(str(STAND_IN))
    before = set(sys.modules)
    module = importlib.import_module("lerobot_teleoperator_wand.devices")
    module.HELD.clear()
    yield module
    for name in set(sys.modules) - before:
        if name.startswith("lerobot"):
            del sys.modules[name]


@pytest.fixture
def open_device(wands):
    """Opens ``lerobot:TYPE`` and gives (operator, the device in the test's hand)."""
    opened = []

    def opens(kind, *options, **fields):
        name = f"lerobot:{kind}"
        config = OPERATORS.load(name).target.Config(options=options, **fields)
        device = create_operator(config, OperatorContext(JOINTS, name))
        opened.append(device)
        device.begin_episode(np.random.default_rng(0))
        return device, wands.HELD[-1]

    yield opens
    for device in opened:
        device.close()


def until(device, condition, observation=None, seconds=5.0):
    end, step = time.monotonic() + seconds, 0
    while True:
        asked = device.decide(view(step=step, observation=observation))
        step += 1
        if condition(asked):
            return asked
        assert time.monotonic() < end, asked
        time.sleep(0.005)


# -- made and connected ----------------------------------------------------------------------------


def test_a_plug_in_is_found_also_with_hyphens_in_its_name(wands):
    assert plugin_modules(TELEOPERATORS) == ["lerobot_teleoperator_wand"]


def test_options_are_read_as_the_device_s_configuration_declares_them(wands):
    options = ["side=right", "fast=true", "port.path=/dev/ttyACM0", "port.baud=115200", "id=mine"]
    config = make(TELEOPERATORS, "wand", options).config
    assert config.side is wands.Side.RIGHT
    assert config.fast is True
    assert (config.port.path, config.port.baud, config.id) == ("/dev/ttyACM0", 115200, "mine")


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        ("wnd", [], UnknownNameError, "unknown LeRobot teleoperator 'wnd'. Did you mean 'wand'"),
        ("wand", ["fast"], ConfigError, "operator.options takes name=value, got 'fast'"),
        ("wand", ["sied=left"], ConfigError, "has no field 'sied'. Did you mean 'side'"),
        ("wand", ["side=up"], ConfigError, "options of lerobot:wand.side: .*'left' or 'right'"),
        ("wand", ["port.baud=x"], ConfigError, "lerobot:wand.port.baud: .*valid integer"),
        ("arm", [], ConfigError, "missing 1 required keyword-only argument: 'port'"),
    ],
)
def test_what_is_wrong_is_named(wands, kind, options, error, message):
    with pytest.raises(error, match=message):
        make(TELEOPERATORS, kind, options)


def test_without_lerobot_it_says_what_to_install():
    if importlib.util.find_spec("lerobot") is not None:
        pytest.skip("lerobot is installed")
    with pytest.raises(MissingExtraError, match=r"pip install 'silri\[lerobot\]'"):
        create_operator(
            OPERATORS.load("lerobot:wand").preset().config, OperatorContext(ARM, "lerobot:wand")
        )


def test_an_uncalibrated_arm_asks_no_questions_in_a_run(wands, open_device, monkeypatch):
    monkeypatch.setattr(wands.Arm, "is_calibrated", False)
    with pytest.raises(ConfigError, match=r"lerobot-calibrate --teleop.type=arm --teleop.port=/d"):
        open_device("arm", "port=/dev/x")
    assert not wands.HELD[-1].connected


# -- deflections and events ------------------------------------------------------------------------


def test_deflections_and_events_drive(open_device):
    device, wand = open_device("wand")
    wand.delta, wand.down = (0.5, -1.0, 0.0), ("is_intervention",)
    asked = until(device, lambda asked: asked.engaged and asked.action[0] > 0)
    np.testing.assert_allclose(asked.action, [(0.5 - 0.1) / 0.9, -1, 0, -1], rtol=1e-5)
    wand.gripper = 0
    until(device, lambda asked: asked.action[3] == 1.0)
    wand.gripper = 1  # stay
    assert until(device, lambda asked: True).action[3] == 1.0
    wand.down = ()
    until(device, lambda asked: not asked.engaged)


@pytest.mark.parametrize(
    ("down", "command"),
    [
        (("success",), Command.SUCCESS),
        (("terminate_episode",), Command.FAILURE),
        (("terminate_episode", "rerecord_episode"), Command.RESET),
        (("success", "terminate_episode"), Command.SUCCESS),
    ],
)
def test_an_end_has_one_meaning(open_device, down, command):
    device, wand = open_device("wand")
    until(device, lambda asked: True)
    wand.down = down
    assert until(device, lambda asked: asked.commands).commands == (command,)
    time.sleep(0.03)
    assert device.decide(view()).commands == ()


def test_a_cable_that_is_pulled_pauses_the_robot(open_device, wands):
    device, wand = open_device("wand")
    wand.plugged = False
    asked = until(device, lambda asked: asked.pause)
    assert "There is no status packet! (code -6)" in asked.notices[0]
    assert not wand.connected
    until(device, lambda asked: not asked.pause)  # a new one is made and connected
    assert wands.HELD[-1] is not wand


# -- positions -------------------------------------------------------------------------------------


def test_a_leader_arm_moves_the_robot_by_what_it_is_moved(open_device):
    device, arm = open_device("arm", "port=x", unit=2.0, threshold=0.5)
    asked = until(device, lambda asked: device.decoder.read(0.0).place is not None)
    assert not asked.engaged
    assert not asked.action[:3].any()
    arm.place[1] += 1.5  # 0.75 of a full action, but this is what takes over
    asked = until(device, lambda asked: asked.engaged)
    np.testing.assert_array_equal(asked.action[:3], 0.0)  # no jump to where the arm is
    arm.place[1] -= 1.0
    asked = until(device, lambda asked: asked.action[1] != 0.0)
    np.testing.assert_allclose(asked.action[:3], [0, -0.5, 0])
    assert not until(device, lambda asked: True).action[:3].any()  # once


def test_motion_beyond_one_action_is_made_up_for_and_then_dropped():
    def place(time, x):
        return time, "action", {"a.pos": x, "b.pos": 0.0, "c.pos": 0.0}

    script = [place(0.0, 0.0), place(0.1, 1.5), place(0.2, 4.0), place(0.3, 100.0)]
    device = play("lerobot:arm", script, threshold=1.0, linger_s=5.0)
    moved = [float(asked.action[0]) for asked in decide(device, 14)]
    assert moved[:4] == [0, 0, 0, 0]  # taken over at 0.1 s
    assert moved[4:6] == [1, 1]  # 2.5 actions of motion in the order of what is possible
    assert moved[6:12] == [1, 1, 1, 1, 1, 1]  # of 96, the carry keeps five
    assert moved[12:] == [0, 0]


def test_an_arm_s_gripper_counts_when_it_changes():
    def place(time, gripper, x=0.0):
        return time, "action", {"a.pos": x, "gripper.pos": gripper}

    script = [place(0.0, 80.0), place(0.1, 80.0, 3.0), place(0.2, 10.0, 3.0)]
    device = play("lerobot:arm", script, linger_s=5.0)
    policy = (0.0, 0.0, 0.0, 1.0)  # the policy holds something
    asked = decide(device, 4, policy)
    assert [float(each.action[3]) for each in asked[2:]] == [1, 1]  # the open leader drops nothing
    script = [place(0.0, 10.0), place(0.1, 10.0, 3.0), place(0.2, 80.0, 3.0)]
    asked = decide(play("lerobot:arm", script, linger_s=5.0), 6, policy)
    assert [float(each.action[3]) for each in asked[2:]] == [1, 1, -1, -1]


def test_a_leader_follows_the_robot_while_the_robot_drives(open_device):
    device, arm = open_device("arm", "port=x", threshold=2.0, follow=(0, 2, 4), linger_s=0.1)
    robot = [1.0, 9.0, 2.0, 9.0, 3.0]

    def seen():
        return (device.decoder.read(0.0).place or {}).get("shoulder.pos")

    until(device, lambda asked: arm.fed, {"state": robot})
    assert arm.fed[-1] == {"shoulder.pos": 1.0, "elbow.pos": 2.0, "wrist.pos": 3.0}
    assert arm.torque
    until(device, lambda asked: arm.place[:3] == [1.0, 2.0, 3.0], {"state": robot})
    asked = until(device, lambda asked: not asked.engaged, {"state": robot})
    assert not asked.action[:3].any()
    for _ in range(3):  # the robot moves; the leader's motion is not the person's
        robot = [value + 10.0 for value in robot]
        until(device, lambda asked: seen() == robot[0], {"state": robot})  # noqa: B023
    assert not until(device, lambda asked: True, {"state": robot}).engaged
    arm.hand[0] += 5.0  # against the motors
    until(device, lambda asked: asked.engaged, {"state": robot})
    until(device, lambda asked: not arm.torque, {"state": robot})
    fed = len(arm.fed)
    arm.hand[0] += 1.0
    until(device, lambda asked: asked.action[0] > 0.9, {"state": robot})
    assert len(arm.fed) == fed  # it is free while the person drives
    device.close()
    assert not arm.torque


def test_a_phone_moves_the_hand_while_its_button_is_held(open_device):
    device, phone = open_device("tracker", unit=0.1)
    phone.place = (1.0, 1.0, 1.0)
    asked = until(device, lambda asked: device.decoder.read(0.0).place is not None)
    assert not asked.engaged
    phone.enabled = True
    asked = until(device, lambda asked: asked.engaged)
    assert not asked.action[:3].any()
    phone.place = (1.05, 1.0, 0.9)
    asked = until(device, lambda asked: asked.action[0] != 0.0)
    np.testing.assert_allclose(asked.action, [0.5, 0, -1, -1], atol=1e-5)
    phone.enabled = False
    until(device, lambda asked: not asked.engaged)


def test_rotations_of_a_hand_have_a_unit_of_their_own():
    def pose(time, yaw):
        keys = ("phone.pos.0", "phone.pos.1", "phone.pos.2", "phone.rot.0", "phone.rot.1")
        return (
            time,
            "action",
            {**dict.fromkeys(keys, 0.0), "phone.rot.2": yaw, "phone.enabled": 1.0},
        )

    device = play(
        "lerobot:phone", [pose(0.0, 0.0), pose(0.1, 0.05)], spec=ActionSpec(6), rotation_unit=0.1
    )
    np.testing.assert_allclose(decide(device, 3)[2].action, [0, 0, 0, 0, 0, 0.5], atol=1e-6)


def test_everything_numeric_is_flattened():
    flat = flattened(
        {"a": np.float32(1.5), "b": np.asarray([1, 2]), "c": {"d": True}, "e": "text", "f": None}
    )  # fmt: skip
    assert flattened({"a": float("nan")}) == {}
    assert flat == {"a": 1.5, "b.0": 1.0, "b.1": 2.0, "c.d": 1.0}


def test_listing_operators_imports_no_lerobot():
    code = "import sys; from silri.intervention.registry import OPERATORS; list(OPERATORS); "
    code += "OPERATORS.load('lerobot:x'); print('lerobot' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
