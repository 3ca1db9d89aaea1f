"""Who drives, and when nobody may be believed to."""

from __future__ import annotations

import numpy as np
import pytest

from silri.console.wheel import SILENCE_S, Wheel
from silri.core.clock import FakeClock
from silri.core.specs import ActionSpec

SPEC = ActionSpec(4, (3,))


@pytest.fixture
def clock():
    return FakeClock(100.0)


@pytest.fixture
def wheel(clock):
    return Wheel(SPEC, clock.now)


def test_nobody_drives_before_the_first_input(wheel):
    assert not wheel.ask().driving


@pytest.mark.parametrize(
    ("axes", "hold", "driving"),
    [
        ([0, 0, 0, 0], False, False),
        ([0, 0, 0, 1], False, False),  # what the gripper is to have moves nothing by itself
        ([0, 0, 0, 1], True, True),
        ([0, 0, 0, 0], True, True),
        ([0, 0, 0.01, 0], False, True),
    ],
)
def test_holding_or_moving_is_driving(wheel, axes, hold, driving):
    wheel.put("page-1", 1, axes, hold=hold)
    assert wheel.ask().driving == driving


def test_an_input_counts_for_a_quarter_of_a_second(wheel, clock):
    wheel.put("page-1", 3, [0.5, 0, 0, -1], hold=True)
    clock.advance(SILENCE_S)
    wish = wheel.ask()
    assert (wish.page, wish.sequence, wish.silence) == ("page-1", 3, "")
    np.testing.assert_array_equal(wish.action, np.float32([0.5, 0, 0, -1]))
    clock.advance(0.001)
    wish = wheel.ask()
    assert wish.driving
    assert wish.action is None
    assert wish.silence == "no input from page-1 for 250 ms"


def test_it_goes_on_when_there_is_input_again_or_the_hand_is_off(wheel, clock):
    wheel.put("page-1", 1, [1, 0, 0, 0], hold=True)
    clock.advance(5.0)
    assert wheel.ask().silence
    wheel.put("page-1", 2, [0, 1, 0, 0], hold=True)
    assert wheel.ask().action[1] == 1.0
    clock.advance(5.0)
    assert wheel.ask().silence
    wheel.put("page-1", 3, [0, 0, 0, 0], hold=False)
    assert not wheel.ask().driving
    clock.advance(5.0)
    assert not wheel.ask().driving  # silence of somebody who does not drive is none


def test_a_page_that_is_known_to_be_gone_is_not_waited_for(wheel):
    wheel.put("page-1", 1, [1, 0, 0, 0], hold=True)
    wheel.lose("page-1 is gone")
    assert wheel.ask().silence == "page-1 is gone"
    wheel.put("page-2", 1, [0, 1, 0, 0], hold=True)
    assert wheel.ask().page == "page-2"
    wheel.lose("page-2 is gone")
    wheel.release()
    assert not wheel.ask().driving


def test_the_gripper_stays_as_the_robot_left_it(wheel):
    wheel.moved(np.float32([0, 0, 0, 1]))  # the policy has closed it
    wheel.put("page-1", 1, [0, 0, 1, 0], hold=True)
    assert wheel.ask().action[3] == 1.0
    wheel.put("page-1", 2, [0, 0, 1, -1], hold=True)
    assert wheel.ask().action[3] == -1.0
    wheel.moved(wheel.ask().action)
    wheel.put("page-1", 3, [0, 0, 1, 0], hold=True)
    assert wheel.ask().action[3] == -1.0
    wheel.moved(np.float32([0, 0, 0, 1]))
    wheel.begin()  # of a new episode: open
    assert wheel.ask().action[3] == -1.0


def test_what_was_asked_is_nobody_elses_to_change(wheel):
    axes = np.float32([0.5, 0, 0, 0])
    wheel.put("page-1", 1, axes, hold=True)
    axes[0] = -1.0
    wheel.ask().action[0] = 9.0
    assert wheel.ask().action[0] == 0.5
