"""From deflections to actions: properties that hold for every device."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silri.core.errors import ConfigError
from silri.core.specs import ActionSpec
from silri.intervention.devices.mapping import MOTIONS, ActionMap, without_dead_zone

ARM = ActionSpec(4, gripper=(3,))
SPECS = [ActionSpec(2), ARM, ActionSpec(7, gripper=(6,)), ActionSpec(8, gripper=(3, 7))]
values = st.floats(-3.0, 3.0)
zones = st.floats(0.0, 0.9)


@given(values, zones)
def test_the_dead_zone_keeps_range_and_sign(value, zone):
    result = without_dead_zone(value, zone)
    assert -1.0 <= result <= 1.0
    assert result * value >= 0.0
    assert (result == 0.0) == (min(abs(value), 1.0) <= zone)
    assert without_dead_zone(-value, zone) == -result


@given(values, values, zones)
def test_the_dead_zone_is_continuous_and_monotonic(one, other, zone):
    small, large = sorted((one, other))
    step = without_dead_zone(large, zone) - without_dead_zone(small, zone)
    assert 0.0 <= step <= (large - small) / (1.0 - zone) + 1e-9  # no jump at its edge


@given(
    st.dictionaries(st.sampled_from(MOTIONS), st.floats(-5.0, 5.0)),
    st.sampled_from(SPECS),
    st.floats(0.1, 1.0),
    zones,
    st.booleans(),
    st.sets(st.sampled_from(MOTIONS)),
)
def test_an_action_never_leaves_its_range(motion, spec, scale, zone, closed, invert):
    mapped = ActionMap(spec, (), invert=sorted(invert), scale=scale, dead_zone=zone)
    action = mapped.action(mapped.deflection(motion), closed)
    assert action.shape == (spec.size,)
    assert action.dtype == np.float32
    assert np.abs(action[list(spec.continuous)]).max() <= scale + 1e-6
    np.testing.assert_array_equal(action[list(spec.gripper)], 1.0 if closed else -1.0)


@pytest.mark.parametrize(
    ("direction", "motion"),
    [
        ("forward", {"x": 0.5}), ("back", {"x": -0.5}), ("left", {"y": 0.5}),
        ("right", {"y": -0.5}), ("up", {"z": 0.5}), ("down", {"z": -0.5}),
        ("roll", {"roll": 0.5}), ("pitch-", {"pitch": -0.5}), ("yaw", {"yaw": 0.5}),
    ],
)  # fmt: skip
def test_a_direction_is_positive_when_the_hand_goes_there(direction, motion):
    mapped = ActionMap(ARM, ("none", direction))
    np.testing.assert_allclose(
        mapped.action(mapped.deflection(motion), closed=False), [0, 0.5, 0, -1]
    )
    name = next(iter(motion))
    turned = ActionMap(ARM, ("none", direction), invert=(name,), scale=0.5)
    np.testing.assert_allclose(
        turned.action(turned.deflection(motion), closed=True), [0, -0.25, 0, 1]
    )


def test_without_directions_it_is_the_frame_of_robots():
    mapped = ActionMap(ActionSpec(7, (6,)), (), rotation_scale=0.5)
    motion = {name: (index + 1) / 10 for index, name in enumerate(MOTIONS)}
    action = mapped.action(mapped.deflection(motion), closed=True)
    np.testing.assert_allclose(action, [0.1, 0.2, 0.3, 0.2, 0.25, 0.3, 1.0], rtol=1e-6)
    assert ActionMap(ActionSpec(2), ()).motions == ("x", "y")
    assert mapped.motions == MOTIONS


def test_a_continuous_gripper_is_a_direction():
    mapped = ActionMap(ActionSpec(4), ("right", "forward", "up", "gripper"))
    assert mapped.has_gripper
    rest = mapped.deflection({})
    assert mapped.action(rest, closed=True)[3] == 1.0
    assert mapped.is_closed(np.float32([0, 0, 0, 0.4]))
    assert not mapped.is_closed(np.float32([0, 0, 0, -0.4]))
    assert not ActionMap(ActionSpec(3), ()).has_gripper


@pytest.mark.parametrize("values", [(-1.0, 1.0), (1.0, -1.0), (0.0, 0.5, 1.0)])
def test_open_is_the_first_class_of_a_gripper_and_closed_the_last(values):
    mapped = ActionMap(ActionSpec(2, (1,), values), ())
    for closed in (False, True):
        action = mapped.action(mapped.deflection({}), closed)
        assert action[1] == (values[-1] if closed else values[0])
        assert mapped.is_closed(action) == closed


def test_too_many_directions_are_refused():
    with pytest.raises(ConfigError, match=r"4 directions .* 3 continuous dimensions"):
        ActionMap(ARM, ("left", "up", "down", "yaw"))
