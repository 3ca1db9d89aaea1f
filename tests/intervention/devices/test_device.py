"""What all devices do: who drives, grippers, commands, unplugging, demonstrations."""

from __future__ import annotations

import time

import numpy as np
import pytest

from silri.core.commands import Command
from silri.core.errors import ConfigError
from silri.core.specs import ActionSpec
from tests.intervention.devices.twin import decide, play, state, view

DRIVE = "rightshoulder"


def pad(*rows, **fields):
    """A gamepad; each row is (time, motion, buttons that are held)."""
    script = [event for row in rows for event in state("gamepad", row[0], row[1], *row[2:])]
    return play("gamepad", script, **fields)


# -- who drives ------------------------------------------------------------------------------------


def test_who_holds_the_button_drives_and_nobody_else():
    device = pad((0.0, {"x": 1.0}), (0.1, {"x": 1.0}, DRIVE), (0.2, {"x": 1.0}))
    assert [asked.engaged for asked in decide(device, 6)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


def test_who_moves_it_drives_until_a_moment_after_the_last_motion():
    device = pad((0.0, {}), (0.1, {"y": -0.6}), (0.2, {}), drive="motion", linger_s=0.1)
    asked = decide(device, 8)
    # At 0.15 s it still moves, until 0.25 s it lingers.
    assert [each.engaged for each in asked] == [False, False, True, True, True, True, False, False]
    np.testing.assert_allclose(asked[2].action[1], -(0.6 - 0.1) / 0.9, rtol=1e-5)
    np.testing.assert_array_equal(asked[4].action[:3], 0.0)


def test_what_is_within_the_dead_zone_does_not_take_over():
    device = pad((0.0, {"x": 0.09, "y": -0.09}), drive="motion")
    assert not any(asked.engaged for asked in decide(device, 3))


def test_the_environment_says_which_way_its_dimensions_go():
    rows = ((0.0, {"x": 1.0}, DRIVE),)
    device = pad(*rows, directions=("right", "forward", "up"))
    np.testing.assert_array_equal(decide(device, 1)[0].action[:3], [0, 1, 0])
    mine = pad(*rows, directions=("right", "forward", "up"), axes=("back",))
    np.testing.assert_array_equal(decide(mine, 1)[0].action[:3], [-1, 0, 0])


def test_a_person_can_go_slower_and_faster():
    device = pad((0.0, {"x": 1.0}, DRIVE, "leftstick"), (0.1, {"x": 1.0}, DRIVE, "rightstick"))
    asked = decide(device, 3)
    assert asked[0].action[0] == pytest.approx(0.8)
    assert asked[0].notices == ("speed 0.80",)
    assert asked[2].action[0] == pytest.approx(1.0)


def test_a_decision_takes_less_than_a_millisecond():
    device = pad((0.0, {"x": 1.0}, DRIVE))
    shown, took = view(), []
    for _ in range(300):
        began = time.perf_counter()
        device.decide(shown)
        took.append(time.perf_counter() - began)
    assert np.percentile(took, 90) < 1e-3


# -- grippers --------------------------------------------------------------------------------------


def gripper(asked):
    return [float(each.action[3]) for each in asked]


def test_a_press_closes_the_gripper_and_the_next_opens_it():
    device = pad((0.0, {}, DRIVE, "a"), (0.1, {}, DRIVE), (0.2, {}, DRIVE, "a"))
    assert gripper(decide(device, 6)) == [1, 1, 1, 1, -1, -1]


def test_or_it_is_closed_while_the_button_is_held():
    device = pad((0.0, {}, DRIVE), (0.1, {}, DRIVE, "a"), (0.2, {}, DRIVE), gripper="hold")
    assert gripper(decide(device, 6)) == [-1, -1, 1, 1, -1, -1]


@pytest.mark.parametrize("mode", ["toggle", "hold"])
def test_taking_over_does_not_drop_what_the_policy_holds(mode):
    device = pad((0.0, {}), (0.1, {"x": 1.0}, DRIVE), (0.2, {}), gripper=mode)
    holds, lets_go = (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, -1.0)
    decide(device, 2, holds)
    assert gripper(decide(device, 2, lets_go)) == [1, 1]  # it is held now; the policy would drop it
    decide(device, 2, lets_go)  # the policy drives
    assert gripper(decide(device, 1, lets_go)) == [-1]


def test_two_grippers_of_two_arms():
    device = pad((0.0, {}, DRIVE, "a"), spec=ActionSpec(8, (3, 7)))
    np.testing.assert_array_equal(decide(device, 1)[0].action[[3, 7]], 1.0)


# -- commands --------------------------------------------------------------------------------------


def commands(asked):
    return [command for each in asked for command in each.commands]


@pytest.mark.parametrize(
    ("button", "command"),
    [
        ("y", Command.SUCCESS), ("x", Command.FAILURE), ("b", Command.RESET),
        ("back", Command.DISCARD), ("start", Command.PAUSE), ("leftshoulder", Command.TAKE),
    ],
)  # fmt: skip
def test_a_button_gives_its_command_once(button, command):
    device = pad((0.0, {}), (0.1, {}, button), (0.3, {}))
    assert commands(decide(device, 10)) == [command]


def test_the_same_button_takes_and_releases():
    take, pause = ("leftshoulder",), ("start",)
    rows = [(0.1, {}, *take), (0.2, {}), (0.3, {}, *take), (0.4, {}, *pause), (0.5, {})]
    device = pad((0.0, {}), *rows, (0.6, {}, *pause))
    assert commands(decide(device, 14)) == [
        Command.TAKE, Command.RELEASE, Command.PAUSE, Command.RESUME,
    ]  # fmt: skip


def test_who_has_taken_control_need_not_hold_anything():
    device = pad((0.0, {"x": 1.0}, "leftshoulder"))
    asked = decide(device, 2)
    assert not any(each.engaged for each in asked)
    assert [each.action[0] for each in asked] == [1.0, 1.0]  # the arbiter uses it


def test_a_label_for_an_episode_that_has_ended_is_refused():
    device = pad((0.0, {}), (0.1, {}, "y", "start"))
    decide(device, 2)
    device.begin_episode(np.random.default_rng(0))  # it is pressed before the first decision
    asked = decide(device, 1)[0]
    assert asked.commands == (Command.PAUSE,)
    assert asked.notices == ("'success' is refused: no episode was running",)


def test_buttons_can_mean_something_else():
    device = pad((0.0, {}), (0.1, {}, "y"), bind=("y=discard", "a=none"))
    assert commands(decide(device, 4)) == [Command.DISCARD]
    assert "a = gripper" not in device.config.describe()


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        ("y", "takes button=meaning with one of drive, gripper"),
        ("y=explode", "takes button=meaning"),
        ("thumb=success", "no button 'thumb'; there are rightshoulder"),
    ],
)
def test_a_wrong_binding_is_refused(bind, message):
    with pytest.raises(ConfigError, match=message):
        pad((0.0, {}), bind=(bind,))


def test_replaying_and_recording_exclude_each_other():
    with pytest.raises(ConfigError, match="exclude each other"):
        pad((0.0, {}), replay="a", record_input="b")


# -- unplugged -------------------------------------------------------------------------------------


def test_unplugged_in_motion_it_stops_says_so_and_goes_on():
    script = [
        *state("gamepad", 0.0, {"x": 1.0}, DRIVE),
        (0.1, "gone", "it was unplugged"),
        (0.3, "back", None),
        *state("gamepad", 0.4, {"x": 1.0}, DRIVE),
    ]
    asked = decide(play("gamepad", script), 10)
    assert [each.pause for each in asked] == [False] * 2 + [True] * 4 + [False] * 4
    # What was held before is not held any more: somebody must take it in the hand again.
    assert [each.engaged for each in asked] == [True] * 2 + [False] * 6 + [True] * 2
    assert [notice for each in asked for notice in each.notices] == [
        "the gamepad is gone (it was unplugged); the robot stands still until it is back",
        "the gamepad is back",
    ]


# -- demonstrations --------------------------------------------------------------------------------


def demonstrate(device, steps):
    person = device.demonstrator()
    person.begin_episode(np.random.default_rng(0))
    return [person.decide(view()) for _ in range(steps)]


def test_a_demonstration_waits_for_the_person():
    rows = ((0.0, {}), (0.1, {"x": 1.0}, DRIVE), (0.2, {}), (0.3, {"x": 1.0}, DRIVE))
    asked = demonstrate(pad(*rows), 8)
    assert [each.pause for each in asked] == [True, True, False, False, True, True, False, False]
    assert [each.engaged for each in asked] == [not each.pause for each in asked]


def test_or_time_goes_on_once_the_person_has_begun():
    rows = ((0.0, {}), (0.1, {"x": 1.0}, DRIVE, "a"), (0.2, {}), (9.0, {}))
    asked = demonstrate(pad(*rows, idle="stand"), 8)
    assert [each.pause for each in asked] == [True, True] + [False] * 6
    np.testing.assert_array_equal(asked[-1].action, [0, 0, 0, 1])  # the gripper stays closed


def test_the_gripper_of_a_demonstration_is_the_person_s_over_pauses():
    rows = ((0.0, {}, DRIVE, "a"), (0.1, {}), (0.2, {}, DRIVE))
    asked = demonstrate(pad(*rows), 6)
    assert gripper(asked) == [1] * 6


def test_a_recording_that_has_ended_stops_a_demonstration():
    asked = demonstrate(pad((0.0, {}), (0.1, {}, DRIVE), (0.15, {}), ends=True), 5)
    assert [Command.STOP in each.commands for each in asked] == [False] * 3 + [True] * 2


def test_when_a_recording_is_over_its_hand_is_gone():
    device = pad((0.0, {"x": 1.0}, DRIVE), ends=True)
    assert [asked.engaged for asked in decide(device, 3)] == [True, False, False]


def test_opening_a_run_plays_nothing_of_the_recording():
    device = pad((0.0, {"x": 1.0}, DRIVE, "a"))
    decide(device, 1)
    device.begin_episode(np.random.default_rng(0))
    assert gripper(decide(device, 1)) == [1]
