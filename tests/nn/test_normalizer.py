from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from silri.core.errors import ConfigError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.nn.normalizer import Normalizer

SPEC = EnvSpec(
    name="fake/two-keys",
    observation={"state": ArraySpec((2,)), "environment_state": ArraySpec((2, 2))},
    action=ActionSpec(2),
    max_episode_steps=5,
)
STATE = np.array([1.0, 2.0], np.float32)
ENVIRONMENT = np.array([[3.0, 4.0], [5.0, 6.0]], np.float32)
STATISTICS = {
    "state": (np.array([1.0, 0.0], np.float32), np.array([2.0, 0.5], np.float32)),
    "environment_state": (np.ones((2, 2), np.float32), np.full((2, 2), 2.0, np.float32)),
}


def test_without_statistics_keys_are_joined_in_alphabetical_order():
    features = Normalizer.create(SPEC).prepare({"state": STATE, "environment_state": ENVIRONMENT})[
        "vector"
    ]
    np.testing.assert_array_equal(features, [3, 4, 5, 6, 1, 2])


def test_statistics_are_applied_per_element():
    normalizer = Normalizer.create(SPEC).fitted(STATISTICS)
    features = normalizer.prepare({"state": STATE, "environment_state": ENVIRONMENT})["vector"]
    np.testing.assert_array_equal(features, [1.0, 1.5, 2.0, 2.5, 0.0, 4.0])
    assert features.dtype == jnp.float32


@pytest.mark.parametrize("lead", [(3,), (2, 3)])
def test_leading_axes_stay(lead):
    normalizer = Normalizer.create(SPEC).fitted(STATISTICS)
    batch = {
        "state": np.broadcast_to(STATE, (*lead, 2)),
        "environment_state": np.broadcast_to(ENVIRONMENT, (*lead, 2, 2)),
    }
    features = normalizer.prepare(batch)["vector"]
    assert features.shape == (*lead, 6)
    single = normalizer.prepare({"state": STATE, "environment_state": ENVIRONMENT})["vector"]
    np.testing.assert_array_equal(features, np.broadcast_to(single, (*lead, 6)))


def test_positions_seen_from_the_hand_come_last_in_the_unit_asked_for():
    spec = replace(
        SPEC, observation={"state": ArraySpec((2,)), "environment_state": ArraySpec((3,))}
    )
    spec = replace(spec, points={"state": ((0, 1),), "environment_state": ((1, 2),)})
    observation = {"state": STATE, "environment_state": np.array([9.0, 1.5, 1.0], np.float32)}
    plain = Normalizer.create(spec).prepare(observation)["vector"]
    features = Normalizer.create(spec, 0.25).prepare(observation)["vector"]
    np.testing.assert_array_equal(features[:-2], plain)
    np.testing.assert_allclose(features[-2:], [2.0, -4.0])


def test_a_key_that_is_named_without_positions_is_passed_over():
    spec = replace(
        SPEC, observation={"state": ArraySpec((2,)), "environment_state": ArraySpec((4,))}
    )
    spec = replace(spec, points={"state": (), "environment_state": ((0, 1), (2, 3))})
    observation = {"state": STATE, "environment_state": ENVIRONMENT.ravel()}
    features = Normalizer.create(spec, 1.0).prepare(observation)["vector"]
    np.testing.assert_allclose(features[-2:], [2.0, 2.0])
    nowhere = replace(spec, points={"state": ()})
    assert Normalizer.create(nowhere, 1.0).prepare(observation)["vector"].shape == (6,)


def test_without_positions_there_is_nothing_to_see():
    observation = {"state": STATE, "environment_state": ENVIRONMENT}
    assert Normalizer.create(SPEC, 0.05).prepare(observation)["vector"].shape == (6,)


def test_a_missing_key_of_the_statistics_is_an_error():
    with pytest.raises(KeyError, match="state"):
        Normalizer.create(SPEC).fitted({"environment_state": STATISTICS["environment_state"]})


def test_frames_pass_as_they_are():
    spec = replace(
        SPEC, observation={**SPEC.observation, "images.top": ArraySpec((8, 8, 3), "uint8")}
    )
    frames = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    seen = Normalizer.create(spec).prepare(
        {"state": STATE, "environment_state": ENVIRONMENT, "images.top": frames}
    )
    assert seen.keys() == {"vector", "images.top"}
    np.testing.assert_array_equal(seen["images.top"], frames)
    assert seen["images.top"].dtype == np.uint8


def test_positions_that_cannot_be_in_metres_are_refused_as_features_in_metres():
    spec = replace(
        SPEC,
        observation={"state": ArraySpec((3,))},
        points={"state": ((0, 1),)},
    )
    mean = np.zeros(3, np.float32)
    metres = {"state": (mean, np.array([0.1, 2.0, 80.0], np.float32))}  # the last is no position
    pixels = {"state": (mean, np.array([0.1, 80.0, 1.0], np.float32))}
    Normalizer.create(spec, 0.05).fitted(metres)
    Normalizer.create(spec).fitted(pixels)
    with pytest.raises(ConfigError, match=r"points of 'state'.*of 80 .*augment.relative to 0"):
        Normalizer.create(spec, 0.05).fitted(pixels)


def test_a_sentence_comes_at_a_scale_of_its_own():
    """Statistics of a few sentences say nothing about one that nobody has said yet."""
    spec = replace(
        SPEC, observation={"said": ArraySpec((1, 2), "float16"), "state": ArraySpec((2,))}
    )
    statistics = {**STATISTICS, "said": (np.full((1, 2), 9.0), np.full((1, 2), 1e-2))}
    normalizer = Normalizer.create(spec).fitted(statistics)
    said = np.array([[0.5, -1.5]], np.float16)
    features = normalizer.prepare({"said": said, "state": STATE})["vector"]
    np.testing.assert_array_equal(features, [0.5, -1.5, 0.0, 4.0])
