from __future__ import annotations

import dataclasses

import pytest

from silri.core.errors import DataError, RunFolderError, SpecError, UsageError
from silri.core.specs import ActionSpec, ArraySpec
from silri.store.dataset import read_dataset
from silri.store.format.layout import DATA_PATH, ROW_PATH, file_path
from silri.store.store import EpisodeStore
from silri.store.tools.merge import merge, repair
from silri.store.tools.survey import Place, problems, stored_spec
from tests.data.episodes import assert_equal, make_episode
from tests.store.foreign import columns, write_lerobot
from tests.store.safety.test_recovery import assert_sound, flip_inside
from tests.store.scenarios import DIAGNOSTICS, SPEC, episode, fill, open_store
from tests.store.test_store import snapshot


def test_repair_does_what_opening_does(tmp_path):
    fill(tmp_path / "a", 4)
    fill(tmp_path / "b", 4)
    for name in ("a", "b"):
        flip_inside(tmp_path / name / "episodes" / file_path(DATA_PATH, 1))
        (tmp_path / name / "episodes/meta/stats.json").unlink()
    messages = repair(Place.of(tmp_path / "a"))
    with open_store(tmp_path / "b") as store:
        assert len(messages) == len(store.messages)
    assert any("episode 1 (6 steps) set aside" in message for message in messages)
    assert snapshot(tmp_path / "a/episodes") == snapshot(tmp_path / "b/episodes")
    assert problems(Place.of(tmp_path / "a")) == []
    assert repair(Place.of(tmp_path / "a")) == []
    assert assert_sound(tmp_path / "a", [0, 2, 3], [(1, 6)]) == []
    with open_store(tmp_path / "a"), pytest.raises(RunFolderError, match="in use by process"):
        repair(Place.of(tmp_path / "a"))


def test_repair_of_a_dataset_without_a_sound_episode(tmp_path):
    fill(tmp_path, 1)
    (tmp_path / "episodes" / file_path(ROW_PATH, 0)).write_bytes(b"x")
    assert any("episode 0 (4 steps) set aside" in text for text in repair(Place.of(tmp_path)))


def test_a_merge_has_every_origin_once(tmp_path):
    fill(tmp_path / "a", 3)  # episode 1 came from a robot
    with open_store(tmp_path / "b") as store:
        store.commit(dataclasses.replace(episode(1), episode_id=0))  # the same one again
        store.commit(dataclasses.replace(episode(0), episode_id=1))  # no origin: kept
        store.commit(dataclasses.replace(episode(3), episode_id=2))
    before = snapshot(tmp_path)
    done = merge([Place.of(tmp_path / "a"), Place.of(tmp_path / "b")], tmp_path / "c")
    assert done == (5, 1)
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before
    expected = [episode(0), episode(1), episode(2), episode(0), episode(3)]
    for number, one in enumerate(read_dataset(tmp_path / "c", SPEC)):
        assert_equal(one, dataclasses.replace(expected[number], episode_id=number))
    assert problems(Place.of(tmp_path / "c")) == []
    assert stored_spec(Place.of(tmp_path / "c"))[1] == tuple(sorted(DIAGNOSTICS))
    assert not list(tmp_path.glob("*.tmp"))


def test_what_cannot_be_merged(tmp_path):
    fill(tmp_path / "a", 2)
    place = Place.of(tmp_path / "a")
    for name, change, column in (
        ("b", {"action": ActionSpec(4)}, r"'action' is float32\(3,\) in .* and float32\(4,\)"),
        (
            "c",
            {"observation": {"state": ArraySpec((3,))}},
            r"'observation.environment_state' is float32\(2,\) in .*a/episodes and missing in",
        ),
        ("d", {"control_hz": 20.0}, "'fps' is 10 in .* and 20 in"),
    ):
        spec = dataclasses.replace(SPEC, **change)
        with EpisodeStore(tmp_path / name, tmp_path / "q", spec) as store:
            store.commit(make_episode(spec, 0))
        with pytest.raises(SpecError, match=column):
            merge([place, Place.of(tmp_path / name)], tmp_path / "out")
    with pytest.raises(UsageError, match="b exists already"):
        merge([place], tmp_path / "b")
    with pytest.raises(UsageError, match="at least one"):
        merge([], tmp_path / "out")
    flip_inside(tmp_path / "a/episodes" / file_path(DATA_PATH, 1))
    with pytest.raises(DataError, match="file-001.parquet is missing or does not match"):
        merge([place], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    fill(tmp_path / "good", 2)  # what the failed attempt left is no obstacle
    assert merge([Place.of(tmp_path / "good")], tmp_path / "out") == (2, 0)


def test_another_programs_datasets_become_ours(tmp_path):
    folder = write_lerobot(tmp_path / "d", columns(image="image"), image="image")
    assert merge([Place.of(folder)], tmp_path / "ours") == (3, 0)
    for one, other in zip(read_dataset(folder), read_dataset(tmp_path / "ours"), strict=True):
        assert_equal(other, one)
    with pytest.raises(DataError, match="silri did not record"):
        repair(Place.of(folder))
