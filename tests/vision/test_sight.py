from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import ConfigError, DataError
from silri.core.specs import ArraySpec
from silri.vision.config import VisionConfig
from silri.vision.files import FILE, load_sight, save_sight
from silri.vision.sight import Sight
from tests.data.episodes import make_episode
from tests.fakes.envs.cameras import ENCODER, OTHER_ENCODER, SIDE, SeenPoint
from tests.fakes.envs.point import PointMass

CONFIG = VisionConfig(encoder=ENCODER, size=12)
SPEC = SeenPoint().env_spec


def episode(number=0, steps=7):
    """What the cameras show while a point wanders."""
    env, rng = SeenPoint(), np.random.default_rng(number)
    observation, _ = env.reset(seed=number)
    rows = [observation]
    for _ in range(steps):
        action = rng.uniform(-1, 1, 4).astype(np.float32)
        rows.append(env.step(action)[0])
    stacked = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    return replace(make_episode(SPEC, number, steps), observations=stacked)


def row(each, index):
    return {key: value[index] for key, value in each.observations.items()}


@pytest.fixture
def demos():
    return [episode(0), episode(1)]


@pytest.fixture
def sight(demos):
    sight = Sight(CONFIG, SPEC)
    sight.fit(demos)
    return sight


def test_frames_become_vectors_of_the_wanted_size(sight, demos):
    assert sight.seen.observation["front"] == ArraySpec((12,), "float16")
    assert sight.seen.observation["state"] == SPEC.observation["state"]
    seen = sight(row(demos[0], 3))
    assert sight.seen.validate_observation(seen).keys() == SPEC.observation.keys()
    np.testing.assert_array_equal(seen["state"], demos[0].observations["state"][3])


def test_two_cameras_are_two_views(sight, demos):
    seen = sight(row(demos[0], 3))
    assert not np.array_equal(seen["front"], seen["side"])


def test_an_episode_is_seen_as_its_steps_were(sight):
    fresh = episode(5)
    live = [sight(row(fresh, index)) for index in range(len(fresh) + 1)]
    stored = sight.episode(fresh)
    for camera in ("front", "side"):
        expected = np.stack([step[camera] for step in live])
        np.testing.assert_array_equal(stored.observations[camera], expected)
        assert stored.observations[camera].dtype == np.float16


def test_no_frame_is_encoded_twice(sight, demos, monkeypatch):
    calls = []
    encode = sight._maps
    monkeypatch.setattr(sight, "_maps", lambda seen: calls.append(1) or encode(seen))
    sight.episode(demos[0])  # it was fitted on
    assert not calls
    fresh = episode(6)
    for index in range(len(fresh)):
        sight(row(fresh, index))
    sight.episode(fresh)
    assert len(calls) == len(fresh) + 1  # the last observation is nobody's to act on


def test_a_second_pair_of_eyes_sees_the_same_bits(sight, demos, tmp_path):
    """What a resumed run, an exported policy and a robot elsewhere see."""
    save_sight(sight, tmp_path)
    other = Sight(CONFIG, SPEC)
    assert not other.fitted
    load_sight(other, tmp_path)
    fresh = episode(7)
    for camera in ("front", "side"):
        np.testing.assert_array_equal(
            other.episode(fresh).observations[camera], sight.episode(fresh).observations[camera]
        )
    again = Sight(CONFIG, SPEC)
    again.fit(demos)
    assert all(np.array_equal(again.arrays()[k], v) for k, v in sight.arrays().items())


def test_a_batch_is_seen_row_by_row(sight, demos):
    batch = sight.batch(demos[0].observations)
    one = sight.batch(row(demos[0], 2))
    np.testing.assert_array_equal(batch["front"][2], one["front"])
    assert batch["front"].shape == (8, 12)


def test_without_cameras_everything_is_as_it_was():
    spec = PointMass().env_spec
    sight = Sight(VisionConfig(encoder="nobody:knows"), spec)
    assert sight.fitted
    assert sight.seen is spec
    observation = PointMass().reset(seed=0)[0]
    assert sight(observation) is observation
    assert sight.arrays() == {}


def test_frames_are_kept_for_an_encoder_that_learns():
    sight = Sight(replace(CONFIG, keep="frames"), SPEC)
    assert sight.seen is SPEC
    assert sight.fitted


def test_maps_can_be_kept_whole(tmp_path):
    """Then there is nothing to fit."""
    config = replace(CONFIG, keep="maps")
    sight = Sight(config, SPEC)
    assert sight.fitted
    assert sight.seen.observation["front"] == ArraySpec((4, 4, 6), "float16")
    fresh = episode(3)
    seen = sight.episode(fresh)
    assert seen.observations["front"].shape == (8, 4, 4, 6)
    assert seen.observations["front"].max() > 0
    save_sight(sight, tmp_path)
    load_sight(Sight(config, SPEC), tmp_path)
    with pytest.raises(ConfigError, match="here is 'other'"):
        load_sight(Sight(replace(config, encoder=OTHER_ENCODER), SPEC), tmp_path)


def test_nothing_is_seen_before_it_is_fitted(demos):
    with pytest.raises(DataError, match="not fitted yet"):
        Sight(CONFIG, SPEC)(row(demos[0], 0))
    with pytest.raises(DataError, match="takes demonstrations"):
        Sight(CONFIG, SPEC).fit([])


def test_what_was_fitted_for_another_encoder_is_refused_by_both_names(sight, tmp_path):
    save_sight(sight, tmp_path)
    with pytest.raises(ConfigError, match=r"'fake' \(0{16}\); here is 'other' \(0{15}1\)"):
        load_sight(Sight(replace(CONFIG, encoder=OTHER_ENCODER), SPEC), tmp_path)


def test_a_missing_and_a_damaged_file_are_named(sight, tmp_path):
    with pytest.raises(DataError, match=rf"{FILE} is missing.*copy the whole folder"):
        load_sight(Sight(CONFIG, SPEC), tmp_path)
    save_sight(sight, tmp_path)
    data = (tmp_path / FILE).read_bytes()
    for damaged in (b"", data[:5], data[: len(data) // 2]):
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(DataError, match=f"{FILE} is damaged"):
            load_sight(Sight(CONFIG, SPEC), tmp_path)


def test_other_cameras_are_refused_by_name(sight, tmp_path):
    save_sight(sight, tmp_path)
    with pytest.raises(DataError, match="'front/weights' .* has shape"):
        load_sight(Sight(replace(CONFIG, size=9), SPEC), tmp_path)


def test_a_camera_that_does_not_fit_the_encoder_is_refused_at_once():
    odd = replace(SPEC, observation={"front": ArraySpec((SIDE, SIDE + 1, 3), "uint8")})
    with pytest.raises(ConfigError, match=r"'front' gives frames \(32, 33, 3\).*multiples of 8"):
        Sight(CONFIG, odd)
    grey = replace(SPEC, observation={"front": ArraySpec((SIDE, SIDE, 1), "uint8")})
    with pytest.raises(ConfigError, match="takes \\(H, W, 3\\)"):
        Sight(CONFIG, grey)


def test_its_memory_is_bounded(sight, monkeypatch):
    step = 2 * 12 * 2  # cameras, features, bytes
    monkeypatch.setattr("silri.vision.sight.REMEMBERED", 5 * step)
    sight.episode(episode(8))
    sight.episode(episode(9))
    assert len(sight._memory) == 5
