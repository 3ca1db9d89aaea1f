"""Demonstrations that lerobot recorded; benchmarks/with_lerobot/writes.sh asks the real one."""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from silri.core.errors import DataError, MissingExtraError, NonFiniteError, SpecError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.data.episode import check_episode
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.store.dataset import iterate_dataset, read_dataset
from silri.store.store import EpisodeStore
from tests.data.episodes import assert_equal
from tests.store.foreign import LENGTHS, SIDE, columns, picture, png, write_lerobot, write_video

SPEC = EnvSpec(
    name="arm",
    observation={"state": ArraySpec((3,)), "environment_state": ArraySpec((1,))},
    action=ActionSpec(2),
    max_episode_steps=20,
)
EYE = EnvSpec(
    name="arm-with-eye",
    observation={"state": ArraySpec((3,)), "images.front": ArraySpec((SIDE, SIDE, 3), "uint8")},
    action=ActionSpec(2),
    max_episode_steps=20,
)


def test_a_dataset_is_read_as_demonstrations(tmp_path):
    made = columns()
    folder = write_lerobot(tmp_path / "d", made)
    episodes = read_dataset(folder, SPEC)
    assert [len(episode) for episode in episodes] == list(LENGTHS)
    assert [episode.episode_id for episode in episodes] == [0, 1, 2]
    assert [episode.task for episode in episodes] == ["push", "push", "pull"]
    start = 0
    for episode in episodes:
        steps = len(episode)
        rows = slice(start, start + steps)
        start += steps
        np.testing.assert_array_equal(episode.frames["action"], made["action"][rows])
        np.testing.assert_array_equal(episode.frames["human_action"], made["action"][rows])
        np.testing.assert_array_equal(episode.frames["reward"], made["next.reward"][rows])
        state = made["observation.state"][rows].astype(np.float32)
        # Nobody saw what came after the last action: the last observation stands for it.
        np.testing.assert_array_equal(
            episode.observations["state"], np.concatenate([state, state[-1:]])
        )
        assert episode.observations["state"].dtype == np.float32
        assert episode.frames["is_intervention"].all()
        assert episode.frames["terminated"].tolist() == [False] * (steps - 1) + [True]
        assert not episode.frames["truncated"].any()
        assert (episode.is_demo, episode.success, episode.origin) == (True, True, "")
    mixer = Mixer(Replay(50, SPEC), Replay(50, SPEC), 4)
    mixer.add(episodes[0])
    assert (len(mixer.online), len(mixer.guidance)) == (0, LENGTHS[0])
    with EpisodeStore(tmp_path / "e", tmp_path / "q", SPEC) as store:
        for episode in episodes:
            store.commit(episode)
    for copy, episode in zip(read_dataset(tmp_path / "e", SPEC), episodes, strict=True):
        assert_equal(copy, episode)


def test_without_rewards_a_demonstration_succeeded(tmp_path):
    folder = write_lerobot(tmp_path / "d", columns(reward=False))
    for episode in iterate_dataset(folder, SPEC):
        assert episode.frames["reward"].tolist() == [0] * (len(episode) - 1) + [1]
        assert episode.success


def test_a_time_out_keeps_a_true_final_observation(tmp_path):
    """Then something does bootstrap, so the last frame is given up for its observation."""
    made = columns()
    made["next.reward"][:] = 0
    made["next.truncated"] = made["next.done"]
    folder = write_lerobot(tmp_path / "d", made)
    first = read_dataset(folder, SPEC)[0]
    check_episode(first, SPEC)
    assert len(first) == LENGTHS[0] - 1
    assert first.observations["state"][:, 1].tolist() == [0, 1, 2, 3]
    assert first.frames["truncated"].tolist() == [False, False, True]
    assert not first.frames["terminated"].any()
    assert not first.success
    made["next.success"] = made["next.done"]  # done in time is no time-out
    folder = write_lerobot(tmp_path / "e", made)
    assert [len(episode) for episode in read_dataset(folder, SPEC)] == list(LENGTHS)


@pytest.mark.parametrize(
    "name", ["complementary_info.is_intervention", "intervention", "intervene_flag"]
)
def test_flags_say_who_acted_unless_it_is_read_as_demonstrations(tmp_path, name):
    made = columns()
    made[name] = np.arange(sum(LENGTHS)) % 2 == 0
    made["complementary_info.discrete_penalty"] = np.full(sum(LENGTHS), -0.02, np.float32)
    folder = write_lerobot(tmp_path / "d", made)
    first = read_dataset(folder, SPEC, demonstrations=False)[0]
    assert first.frames["is_intervention"].tolist() == [True, False, True, False]
    assert np.isnan(first.frames["human_action"][1]).all()
    assert first.frames["grasp_penalty"][0] == np.float32(-0.02)
    assert not first.is_demo
    assert read_dataset(folder, SPEC)[0].frames["is_intervention"].all()


def test_images_are_bit_exact(tmp_path):
    folder = write_lerobot(tmp_path / "d", columns(image="image"), image="image")
    for number, episode in enumerate(read_dataset(folder, EYE)):
        images = episode.observations["images.front"]
        for step in range(len(episode)):
            np.testing.assert_array_equal(images[step], picture(number, step))
        np.testing.assert_array_equal(images[-1], images[-2])
    assert "environment_state" not in episode.observations  # the spec has none


def test_videos_show_the_right_frames(tmp_path):
    pytest.importorskip("av")
    folder = write_lerobot(tmp_path / "d", columns(image="video"), image="video")
    for number, episode in enumerate(read_dataset(folder, EYE)):
        images = episode.observations["images.front"].astype(int)
        for step in range(len(episode)):
            errors = [
                np.abs(images[step] - picture(n, s)).mean()
                for n in range(len(LENGTHS))
                for s in range(LENGTHS[n])
            ]
            wanted = sum(LENGTHS[:number]) + step
            assert int(np.argmin(errors)) == wanted
            assert errors[wanted] < 6  # lossy


def test_what_is_wrong_with_a_video_is_said(tmp_path, monkeypatch):
    pytest.importorskip("av")
    folder = write_lerobot(tmp_path / "d", columns(image="video"), image="video")
    (video,) = folder.rglob("*.mp4")
    content = video.read_bytes()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silri\[video\]'"):
        read_dataset(folder, EYE)
    assert len(read_dataset(folder, SPEC)) == 3  # the videos are not needed for these
    monkeypatch.undo()
    video.write_bytes(content[:200])
    with pytest.raises(DataError, match=r"file-000.mp4 is no readable video"):
        read_dataset(folder, EYE)
    video.unlink()
    with pytest.raises(DataError, match=r"file-000.mp4 is missing; 'observation.images.front'"):
        read_dataset(folder, EYE)
    longer = write_lerobot(tmp_path / "e", columns(image="video"), image="video")
    write_video(next(longer.rglob("*.mp4")), columns(image="video")["observation.images.front"][:8])
    with pytest.raises(DataError, match="has no frame at 0.800 s"):
        read_dataset(longer, EYE)


def without(name):
    made = columns()
    del made[name]
    return made


def with_action(value):
    made = columns()
    made["action"][5, 1] = value
    return made


@pytest.mark.parametrize(
    ("made", "info", "error", "message"),
    [
        (with_action(4.5), {}, SpecError, r"'action' of episode 1 .* is 4.5 in frame 1, dim.* 1"),
        (with_action(np.nan), {}, NonFiniteError, r"'action' of episode 1 .* is nan in frame 1"),
        (without("action"), {}, SpecError, "no column 'action', which arm needs; it has .'next.do"),
        (without("observation.state"), {}, SpecError, "no column 'observation.state', which arm"),
        (
            {**columns(), "observation.state": np.zeros((sum(LENGTHS), 5), np.float32)},
            {},
            SpecError,
            r"'observation.state' of .* has shape \(5,\); arm needs \(3,\)",
        ),
        (columns(), {"codebase_version": "v2.1"}, DataError, r"codebase_version 'v2.1'.*convert_"),
        (columns(), {"total_episodes": 9}, DataError, r"3 episodes in meta/episodes and 9 in"),
        (columns(), {"fps": 0}, DataError, "a positive 'fps'"),
        (columns(), {"features": {"action": {}}}, SpecError, "no column 'observation.state'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, made, info, error, message):
    folder = write_lerobot(tmp_path / "d", made, info=info)
    with pytest.raises(error, match=message):
        read_dataset(folder, SPEC)


def test_images_that_do_not_fit_are_named(tmp_path):
    folder = write_lerobot(tmp_path / "d", columns(image="image"), image="image")
    small = EnvSpec("eye", {"images.front": ArraySpec((8, 8, 3), "uint8")}, ActionSpec(2), 10)
    with pytest.raises(SpecError, match=r"'observation.images.front'.*\(16, 16, 3\); eye needs"):
        read_dataset(folder, small)
    vector = EnvSpec("eye", {"images.front": ArraySpec((SIDE, SIDE, 3))}, ActionSpec(2), 10)
    with pytest.raises(SpecError, match=r"is image; eye needs float32"):
        read_dataset(folder, vector)
    path = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    rows = table["observation.images.front"].to_pylist()
    at = table.column_names.index("observation.images.front")
    for change, message in (
        ({"bytes": None, "path": "x.png"}, "names image files instead of holding them"),
        ({"bytes": b"damaged", "path": None}, "of frame 2 is no readable image"),
        ({"bytes": png(np.zeros((4, 4, 3), np.uint8)), "path": None}, r"image of \(4, 4, 3\)"),
    ):
        rows[2] = change
        column = pa.array(rows, table["observation.images.front"].type)
        pq.write_table(table.set_column(at, "observation.images.front", column), path)
        with pytest.raises(DataError, match=message):
            read_dataset(folder, EYE)


def test_missing_and_damaged_files_are_named(tmp_path):
    folder = write_lerobot(tmp_path / "d", columns())
    path = folder / "data/chunk-000/file-001.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    episodes = iterate_dataset(folder, SPEC)
    assert [len(next(episodes)), len(next(episodes))] == list(LENGTHS[:2])
    with pytest.raises(DataError, match=r"file-001.parquet is no readable parquet file"):
        next(episodes)
    path.unlink()
    with pytest.raises(DataError, match=r"file-001.parquet is missing; copy or download"):
        read_dataset(folder, SPEC)
    path.write_bytes((folder / "data/chunk-000/file-000.parquet").read_bytes())
    with pytest.raises(DataError, match=r"episode 2 .* has 0 frames"):
        read_dataset(folder, SPEC)


def test_a_dataset_in_progress_is_said_to_be_incomplete(tmp_path):
    folder = write_lerobot(tmp_path / "d", columns())
    (folder / "meta/episodes/chunk-000/file-000.parquet").unlink()
    with pytest.raises(DataError, match=r"0 episodes in meta/episodes and 3 in .*finalize"):
        read_dataset(folder, SPEC)
    info = json.loads((folder / "meta/info.json").read_text())
    assert "silri_format" not in info
