from __future__ import annotations

import numpy as np
import pytest

from silri.core.errors import DataError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.statistics import (
    ColumnStatistics,
    column_statistics,
    largest_return,
    observation_statistics,
)
from tests.data.episodes import make_episode

SPEC = EnvSpec(
    name="fake",
    observation={"state": ArraySpec((3,)), "image": ArraySpec((2, 2, 3), "uint8")},
    action=ActionSpec(2),
    max_episode_steps=10,
)


def test_observation_statistics_cover_final_observations_and_have_a_floor():
    episodes = [make_episode(SPEC, number, 4 + number) for number in range(3)]
    for episode in episodes:
        episode.observations["state"][:, 2] = 0.7 + 0.01 * np.arange(len(episode) + 1)
    statistics = observation_statistics(episodes, floor=0.05)
    assert statistics.keys() == {"state"}  # images have a known scale
    rows = np.concatenate([episode.observations["state"] for episode in episodes])
    assert len(rows) == 5 + 6 + 7
    mean, std = statistics["state"]
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, rows.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(std[:2], rows.std(0, dtype=np.float64)[:2], rtol=1e-6)
    assert std[2] == np.float32(0.05)


@pytest.mark.parametrize(
    ("rewards", "largest"),
    [
        ([-0.05, -0.05, 10.0], 10.0),
        ([0.0, 0.0, 1.0], 1.0),
        ([-1.0, -1.0, -1.0], 1.75),
        ([3.0, 0.0, 4.0], 4.0),  # 3 + 4 / 4 from the start
        ([3.5, 0.0, 4.0], 4.5),
        ([0.0, 0.0, 0.0], 0.0),
    ],
)
def test_the_largest_return_is_from_any_step_and_of_either_sign(rewards, largest):
    episode, nothing = make_episode(SPEC, 0, 3), make_episode(SPEC, 1, 2)
    episode.frames["reward"][:] = rewards
    nothing.frames["reward"][:] = 0
    assert largest_return([nothing, episode, nothing], 0.5) == pytest.approx(largest, rel=1e-6)
    assert largest_return([], 0.5) == 0.0


def test_what_never_moved_keeps_its_own_unit():
    episodes = [make_episode(SPEC, number, 6) for number in range(2)]
    for episode in episodes:
        episode.observations["state"][:, 2] = 0.7
        episode.observations["state"][:, 1] = 0.7 + 1e-4 * np.arange(7)  # moved, but hardly
    mean, std = observation_statistics(episodes)["state"]
    assert mean[2] == np.float32(0.7)  # so that the networks see exactly 0 until it moves
    assert std[2] == 1.0
    assert std[1] == np.float32(0.01)


def test_no_precision_is_lost_far_from_the_origin():
    episode = make_episode(SPEC, 0, 2000)
    episode.observations["state"][:, 1] = 1e4 + np.linspace(-1, 1, 2001, dtype=np.float32)
    _, std = observation_statistics([episode])["state"]
    assert std[1] == pytest.approx(1 / np.sqrt(3), rel=1e-2)


def test_no_episode_is_an_error():
    with pytest.raises(DataError, match="no episode"):
        observation_statistics([])


def columns_of(episode):
    columns = {f"observation.{key}": rows[:-1] for key, rows in episode.observations.items()}
    return columns | {"action": episode.frames["action"], "next.reward": episode.frames["reward"]}


def test_column_statistics_merge_to_those_of_all_frames():
    episodes = [make_episode(SPEC, number, steps) for number, steps in enumerate((1, 7, 4))]
    merged = ColumnStatistics()
    for episode in episodes:
        merged.add(column_statistics(columns_of(episode)))
    stats = merged.as_json()
    assert stats.keys() == {"observation.state", "observation.image", "action", "next.reward"}
    rows = np.concatenate([episode.frames["action"] for episode in episodes], dtype=np.float64)
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(stats["action"][name], getattr(rows, name)(0), rtol=1e-12)
    assert stats["action"]["count"] == [12]
    frames = np.concatenate([episode.observations["state"][:-1] for episode in episodes])
    np.testing.assert_allclose(stats["observation.state"]["max"], frames.max(0), rtol=1e-12)


def test_image_statistics_are_lerobots():
    """Per channel, (C, 1, 1), in [0, 1], counted in images, merged like any other."""
    episodes = [make_episode(SPEC, number, steps) for number, steps in enumerate((1, 7, 4))]
    merged = ColumnStatistics()
    for episode in episodes:
        merged.add(column_statistics(columns_of(episode)))
    stats = merged.as_json()["observation.image"]
    pixels = np.concatenate([episode.observations["image"][:-1] for episode in episodes]) / 255
    for name in ("min", "max", "mean", "std"):
        expected = getattr(pixels, name)((0, 1, 2)).reshape(3, 1, 1)
        np.testing.assert_allclose(stats[name], expected, rtol=1e-12)
    assert stats["count"] == [12]


def test_image_statistics_take_a_sample():
    large = np.zeros((100, 300, 300, 3), np.uint8)
    large[..., 1] = 255
    spec = EnvSpec("eye", {"image": ArraySpec((300, 300, 3), "uint8")}, ActionSpec(2), 10)
    episode = make_episode(spec, 0, 1)
    episode.observations["image"] = large
    episode.frames["action"] = np.zeros((99, 2), np.float32)
    episode.frames["reward"] = np.zeros(99, np.float32)
    stats = column_statistics(columns_of(episode))
    assert stats["observation.image/count"] == [32]
    assert stats["observation.image/mean"] == [[[0.0]], [[1.0]], [[0.0]]]
    assert stats["observation.image/std"] == [[[0.0]], [[0.0]], [[0.0]]]
