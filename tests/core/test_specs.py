"""Specs: what they refuse and how the message helps, and what they do to an action."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from silri.core.errors import ConfigError, NonFiniteError, SpecError
from silri.core.specs import UNKNOWN_HZ, ActionSpec, ArraySpec, EnvSpec

IMAGE = ArraySpec((8, 8, 3), "uint8")


def test_a_fitting_value_becomes_the_specs_dtype():
    value = ArraySpec((2,)).validate("state", [1, 2])
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, [1.0, 2.0])


def test_a_wrong_shape_names_both():
    with pytest.raises(SpecError, match=r"'state' has shape \(3,\); the spec says \(2,\)"):
        ArraySpec((2,)).validate("state", np.zeros(3))


def test_an_image_must_be_uint8():
    image = np.zeros((8, 8, 3), np.uint8)
    assert IMAGE.validate("images.wrist", image) is not None
    with pytest.raises(SpecError, match=r"'images.wrist' has dtype float64.*uint8"):
        IMAGE.validate("images.wrist", image / 255)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_index(bad):
    with pytest.raises(NonFiniteError, match=r"'state' is not finite at index \[1\]"):
        ArraySpec((3,)).validate("state", [0.0, bad, 0.0])


def test_a_float64_that_overflows_float32_is_not_finite():
    with np.errstate(over="ignore"), pytest.raises(NonFiniteError):
        ArraySpec((1,)).validate("state", [1e300])


def test_an_observation_is_checked_key_by_key(spec):
    good = {"state": np.zeros(4), "environment_state": np.zeros(3)}
    checked = spec.validate_observation(good)
    assert all(value.dtype == np.float32 for value in checked.values())
    with pytest.raises(SpecError, match="has keys"):
        spec.validate_observation({"state": np.zeros(4)})
    with pytest.raises(SpecError, match="has keys"):
        spec.validate_observation(good | {"velocity": np.zeros(1)})
    with pytest.raises(NonFiniteError, match=r"observation\.state"):
        spec.validate_observation(good | {"state": np.full(4, np.nan)})


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"size": 0}, "at least one dimension"),
        ({"size": 4, "gripper": (3, 3)}, "without repeats"),
        ({"size": 4, "gripper": (3, 2)}, "ascend"),
        ({"size": 4, "gripper": (4,)}, "exceed the action size 4"),
        ({"size": 4, "gripper": (-1,)}, "exceed"),
        ({"size": 4, "gripper": (3,), "gripper_values": (1.0,)}, "two classes"),
    ],
)
def test_an_action_spec_that_cannot_be_is_refused(arguments, names):
    with pytest.raises(ConfigError, match=names):
        ActionSpec(**arguments)


@pytest.mark.parametrize(
    ("action", "continuous"),
    [
        (ActionSpec(2), (0, 1)),
        (ActionSpec(4, (3,)), (0, 1, 2)),
        (ActionSpec(8, (3, 7)), (0, 1, 2, 4, 5, 6)),
        (ActionSpec(1, (0,)), ()),
    ],
)
def test_the_continuous_dimensions_are_the_others(action, continuous):
    assert action.continuous == continuous


def test_snap_clips_and_moves_grippers_to_their_nearest_value():
    three = ActionSpec(4, (1, 3), gripper_values=(-1.0, 0.0, 1.0))
    action = np.asarray([-3.0, 0.4, 0.3, 7.0])
    np.testing.assert_allclose(three.snap(action), [-1.0, 0.0, 0.3, 1.0])
    np.testing.assert_array_equal(action, [-3.0, 0.4, 0.3, 7.0])  # the argument is not edited


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(0, 5), st.just(8)), elements=st.floats(-50, 50, width=32)
    )
)
def test_snap_is_idempotent_and_in_range(actions):
    action = ActionSpec(8, (3, 7))
    snapped = action.snap(actions)
    assert snapped.shape == actions.shape
    assert snapped.dtype == np.float32
    assert (np.abs(snapped) <= 1).all()
    assert np.isin(snapped[:, [3, 7]], action.gripper_values).all()
    np.testing.assert_array_equal(action.snap(snapped), snapped)


def test_an_action_is_validated_as_a_vector():
    with pytest.raises(SpecError, match="shape"):
        ActionSpec(4).validate("action", np.zeros(3))
    with pytest.raises(NonFiniteError):
        ActionSpec(2).validate("action", [np.nan, 0.0])


def test_a_spec_says_where_positions_are():
    observation = {"state": ArraySpec((6,)), "image": ArraySpec((8, 8, 3), "uint8")}
    spec = EnvSpec("e", observation, ActionSpec(2), 5, points={"state": ((3, 4, 0), (2, 1, 5))})
    assert EnvSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    older = spec.to_json()
    del older["points"]  # what versions before wrote
    assert EnvSpec.from_json(older).points == {}


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"pose": ((0, 1),)}, "'pose': e has no float vector"),
        ({"image": ((0, 1),)}, "'image': e has no float vector"),
        ({"state": ((0, 1), (1, 2))}, "without repeats"),
        (
            {"state": ((0, 1), (2, 3, 4))},
            r"takes the indices of \(x, y\), or of \(x, y, z\) for all",
        ),
        ({"state": ((0, 1, 2, 3),)}, r"takes the indices of \(x, y\)"),
        ({"state": ((0,),)}, r"takes the indices of \(x, y\)"),
        ([[0, 1]], r"takes the indices of \(x, y\)"),
        ({"state": ((4, 5),)}, "exceed its size 5"),
    ],
)
def test_points_that_do_not_fit_are_refused(points, message):
    observation = {"state": ArraySpec((5,)), "image": ArraySpec((8, 8, 3), "uint8")}
    with pytest.raises(ConfigError, match=message):
        EnvSpec("e", observation, ActionSpec(2), 5, points=points)


def test_a_spec_is_hashable_where_it_is_a_static_argument():
    assert hash(ActionSpec(4, (3,))) == hash(ActionSpec(4, (3,)))


def test_the_rate_of_a_loop_replaces_the_environments():
    spec = EnvSpec("e", {"state": ArraySpec((1,))}, ActionSpec(1), 5)
    assert spec.control_hz == UNKNOWN_HZ == 10.0
    assert spec.at_rate(20.0) == dataclasses.replace(spec, control_hz=20.0)
    assert spec.at_rate(0.0) is spec


@pytest.mark.parametrize("hz", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_positive(hz):
    with pytest.raises(ConfigError, match="control_hz of e takes Hz > 0, got"):
        EnvSpec("e", {"state": ArraySpec((1,))}, ActionSpec(1), 5, control_hz=hz)


TEXT = ArraySpec((), "<U12")


@pytest.mark.parametrize("value", ["go left", np.array("go left"), np.str_("go left")])
def test_a_text_keeps_its_largest_length(value):
    text = TEXT.validate("instruction", value)
    assert (text.shape, text.dtype, str(text)) == ((), "<U12", "go left")
    assert TEXT.is_text
    assert not TEXT.is_vector
    assert not TEXT.is_sentence
    assert str(TEXT.conform("instruction", TEXT.blank())) == "nothing"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "is None; it takes a text"),
        (7.5, "is 7.5; it takes a text"),
        (["go", "left"], r"is \['go', 'left'\]; it takes a text"),
        (b"go", "is b'go'; it takes a text"),
        (" ", "is the empty text ' '"),
        ("turn around twice", "has 17 characters, 'turn around twice'; the spec takes up to 12"),
    ],
)
def test_a_text_that_does_not_fit_is_named_with_its_environment(value, message):
    spec = EnvSpec("fake/told", {"instruction": TEXT}, ActionSpec(2), 5)
    for check in (spec.validate_observation, spec.conform_observation):
        with pytest.raises(SpecError, match=f"'observation.instruction of fake/told' {message}"):
            check({"instruction": value})


def test_a_spec_with_a_text_is_written_down_and_read_again():
    spec = EnvSpec("fake/told", {"instruction": TEXT}, ActionSpec(2), 5)
    assert EnvSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
