"""What a batch is changed by before it is learned from."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from silri.agents.augment import Augment, Augmentation
from silri.core.specs import ArraySpec
from silri.core.transition import fake_batch
from tests.agents.small import STILL

KEY = jax.random.key(3)


def moved(spec, batch, key=KEY, **settings):
    """How far every number of every vector was moved, here and in what followed."""
    after = Augmentation.create(replace(STILL, **settings), spec)(key, batch)
    pairs = (
        (batch.observation, after.observation),
        (batch.next_observation, after.next_observation),
    )
    return [{key: np.asarray(there[key]) - here[key] for key in here} for here, there in pairs]


def test_rows_are_moved_as_a_whole_and_by_no_more_than_said(spec):
    batch = fake_batch(spec, (2, 64))
    here, there = moved(spec, batch, shift=0.06)
    for key in here:
        np.testing.assert_allclose(here[key], there[key], atol=1e-6)
    x_and_y = here["state"][..., :2]
    np.testing.assert_allclose(x_and_y, here["environment_state"][..., 1:3], atol=1e-6)
    np.testing.assert_array_equal(here["state"][..., 2:], 0.0)
    np.testing.assert_array_equal(here["environment_state"][..., 0], 0.0)
    assert 0.05 < np.abs(x_and_y).max() <= 0.06 + 1e-6
    still = (x_and_y == 0.0).all(-1)
    assert 0.3 < still.mean() < 0.7  # about half of the rows stay
    assert len(np.unique(x_and_y[..., 0].round(5))) > 0.9 * (~still).sum()  # one offset per row
    later, _ = moved(spec, batch, jax.random.key(4), shift=0.06)
    assert (later["state"] != here["state"]).any(-1).mean() > 0.5


@pytest.mark.parametrize("settings", [{}, {"shift": 0.06, "points": {}}])
def test_without_reach_or_points_nothing_is_moved(spec, settings):
    spec = replace(spec, points=settings.pop("points", spec.points))
    for side in moved(spec, fake_batch(spec, (2, 8)), **settings):
        for key in side:
            np.testing.assert_array_equal(side[key], 0.0)


def test_goals_are_moved_on_their_own_while_nothing_but_the_hand_moves(spec):
    hand, thing, goal = ((0, 1),), ((0, 1),), ((2, 3),)
    spec = replace(
        spec,
        observation={"state": ArraySpec((4,)), "environment_state": ArraySpec((4,))},
        points={"state": hand, "environment_state": (*thing, *goal)},
        objects={"environment_state": thing},
        goals={"environment_state": goal},
    )
    batch = fake_batch(spec, (2, 256))
    still = np.arange(256) < 128
    scene = batch.observation["environment_state"]
    rest, pushed = [0.001, -0.001, 1.0, 1.0], [0.0, 0.003, 0.0, 0.0]
    there = {"state": batch.next_observation["state"]}  # the hand moves, and so may the goal
    there["environment_state"] = np.where(
        still[:, None], scene + np.asarray(rest, np.float32), scene + np.asarray(pushed, np.float32)
    )
    batch = batch._replace(next_observation=there)
    here, after = moved(spec, batch, goal_shift=0.1)
    np.testing.assert_array_equal(here["state"], 0.0)
    np.testing.assert_allclose(here["environment_state"], after["environment_state"], atol=1e-6)
    np.testing.assert_array_equal(here["environment_state"][..., :2], 0.0)
    goal_moved = here["environment_state"][..., 2:]
    goes_on = np.asarray(batch.mask) > 0
    assert (~goes_on & still).any()
    np.testing.assert_array_equal(goal_moved[~(goes_on & still)], 0.0)
    share = (goal_moved[goes_on & still] != 0.0).all(-1)
    assert 0.35 < share.mean() < 0.65
    assert 0.09 < np.abs(goal_moved).max() <= 0.1 + 1e-6


def test_frames_are_cropped_each_by_an_offset_of_its_own(spec):
    camera = replace(spec, observation={"images.top": ArraySpec((12, 12, 1), "uint8")}, points={})
    batch = fake_batch(camera, (1, 64))
    ramp = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None], (1, 64, 12, 12, 1)).copy()
    both = {"images.top": ramp}
    batch = batch._replace(observation=both, next_observation=both)
    after = Augmentation.create(replace(STILL, crop=2), camera)(KEY, batch)
    here, there = (np.asarray(s["images.top"]) for s in (after.observation, after.next_observation))
    offsets = here[0, :, 6, 6, 0].astype(int) - 6
    assert set(offsets) == {-2, -1, 0, 1, 2}
    assert (here != there).any()  # both sides of a transition are cropped on their own
    edge = here[0, offsets == 2][0]
    np.testing.assert_array_equal(edge[-3:, 0, 0], [11, 11, 11])  # what comes in repeats the edge
    assert here.dtype == np.uint8


def test_settings_are_checked():
    from silri.core.errors import ConfigError

    with pytest.raises(ConfigError, match=r"augment\.shift takes .*, got -0\.1"):
        Augment(shift=-0.1)


def test_features_of_cameras_get_noise_of_their_own_and_nothing_else_does(spec):
    seen = {**spec.observation, "front": ArraySpec((16,), "float16")}
    spec = replace(spec, observation=seen)
    batch = fake_batch(spec, (2, 256))
    here, there = moved(spec, batch, feature_noise=0.3)
    for side in (here, there):
        noise = side["front"].astype(np.float32)
        assert abs(noise.std() - 0.3) < 0.01
        assert abs(noise.mean()) < 0.01
        np.testing.assert_array_equal(side["state"], 0.0)
    assert abs(np.corrcoef(here["front"].ravel(), there["front"].ravel())[0, 1]) < 0.05
    for side in moved(spec, batch, feature_noise=0.0):
        np.testing.assert_array_equal(side["front"], 0.0)


def test_noise_on_a_sentence_is_that_of_its_row_before_and_after(spec):
    spec = replace(spec, observation={**spec.observation, "said": ArraySpec((1, 5), "float16")})
    batch = fake_batch(spec, (2, 64))
    here, there = moved(spec, batch, sentence_noise=0.5)
    np.testing.assert_allclose(here["said"], there["said"], atol=1e-6)
    assert here["said"].std() == pytest.approx(0.5, rel=0.1)
    assert abs(np.corrcoef(here["said"][0, :, 0, 0], here["said"][0, :, 0, 1])[0, 1]) < 0.5
    for key in ("state", "environment_state"):
        np.testing.assert_array_equal(here[key], 0.0)
    still, _ = moved(spec, batch, feature_noise=0.5)
    np.testing.assert_array_equal(still["said"], 0.0)  # that is for cameras
