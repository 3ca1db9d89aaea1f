"""What was committed is there, what was not is gone, whatever happens to the files."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest

from silri.store.format.layout import DATA_PATH, ROW_PATH, file_path
from tests.data.episodes import assert_equal
from tests.store.killing import kill_at_every_write
from tests.store.scenarios import broken_episode, episode, fill, open_store
from tests.store.test_store import snapshot


def assert_sound(folder, ids, quarantined=()):
    """The store has exactly these episodes, numbered without gaps, and nothing left to repair."""
    with open_store(folder) as store:
        assert [row.episode_id for row in store.rows] == list(ids)
        assert [entry[:2] for entry in store.quarantined()] == list(quarantined)
        frames = 0
        for index, number in enumerate(ids):
            assert_equal(store.read(index), episode(number))
            row = store.rows[index]
            assert (row.episode_index, row.first_frame) == (index, frames)
            table = pq.read_table(folder / "episodes" / file_path(DATA_PATH, index))
            assert table["episode_index"].unique().to_pylist() == [index]
            assert table["index"].to_pylist() == list(range(frames, frames + row.steps))
            frames += row.steps
        messages = store.messages
    for pattern in ("data/*/*.parquet", "meta/episodes/*/*.parquet"):
        assert len(list((folder / "episodes").glob(pattern))) == len(ids)
    assert not list(folder.rglob("*.tmp"))
    if ids:
        info = json.loads((folder / "episodes/meta/info.json").read_text())
        assert (info["total_episodes"], info["total_frames"]) == (len(ids), frames)
    return messages


@pytest.mark.parametrize("stored", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_killed_at_every_write_of_a_commit(tmp_path, stored):
    """0: every folder is new; 2: the task is."""
    template = fill(tmp_path / "template", stored)
    calls = kill_at_every_write("tests.store.scenarios:commit_next", template, tmp_path / "runs")
    assert {"open", "write", "fsync", "rename"} <= {step for step, _ in calls}
    whole = snapshot(tmp_path / "runs/0/episodes")
    assert assert_sound(tmp_path / "runs/0", range(stored + 1)) == []
    survived = []
    for number in range(1, len(calls) + 1):
        folder = tmp_path / "runs" / str(number)
        with open_store(folder) as store:
            assert len(store) in (stored, stored + 1), calls[number - 1]
            for index, kept in enumerate(store.episodes()):
                assert_equal(kept, episode(index))
            assert store.next_episode_id == len(store)
            survived.append(len(store) > stored)
            if not survived[-1]:
                store.commit(episode(stored))
        # The run that went on from here has the bytes of the one that was never killed.
        assert snapshot(folder / "episodes") == whole, calls[number - 1]
        assert not list(folder.rglob("*.tmp"))
    assert survived == sorted(survived)  # one commit point: absent before it, there after it
    assert not survived[0]
    assert survived[-1]


def test_killed_at_every_write_of_a_quarantine(tmp_path):
    template = fill(tmp_path / "template", 1)
    calls = kill_at_every_write(
        "tests.store.scenarios:quarantine_next", template, tmp_path / "runs"
    )
    before = snapshot(template / "episodes")
    whole = snapshot(tmp_path / "runs/0/quarantine")
    seen = []
    for number in range(1, len(calls) + 1):
        folder = tmp_path / "runs" / str(number)
        with open_store(folder) as store:
            seen.append(len(store.quarantined()))
            if not seen[-1]:
                store.quarantine(broken_episode(1), "NaN in the state")
            assert store.quarantined() == [(1, 6, "NaN in the state", True, "robot-1/9f3a:1")]
            assert store.next_episode_id == 2
        assert snapshot(folder / "quarantine") == whole, calls[number - 1]
        assert snapshot(folder / "episodes") == before, calls[number - 1]
    assert seen == sorted(seen)
    assert set(seen) == {0, 1}


def flip(path, position=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 16
    path.write_bytes(content)


def flip_inside(path):
    """Where it hurts: in a value (the operator's name) of a row, in the middle of frames."""
    at = path.read_bytes().find(b"steady")
    flip(path, at if at > 0 else None)


@pytest.mark.parametrize("index", [0, 1, 3])
@pytest.mark.parametrize("pattern", [DATA_PATH, ROW_PATH])
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "deleted"])
def test_a_damaged_episode_is_set_aside_and_the_others_close_ranks(
    tmp_path, pattern, damage, index
):
    fill(tmp_path, 4)
    path = tmp_path / "episodes" / file_path(pattern, index)
    content = path.read_bytes()
    if damage == "flipped":
        flip_inside(path)
    elif damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(content[: 0 if damage == "empty" else -30])
    with open_store(tmp_path) as store:
        messages = store.messages
    others = [number for number in range(4) if number != index]
    if (damage, pattern, index) == ("deleted", ROW_PATH, 3):
        # Frames of the last episode without a row: cannot be told from a commit under way.
        assert any(message.startswith("orphan data/chunk-000/file-003") for message in messages)
        assert_sound(tmp_path, others)
        return
    steps = len(episode(index))
    assert any(f"episode {index} ({steps} steps) set aside" in message for message in messages)
    assert assert_sound(tmp_path, others, [(index, steps)]) == []
    with open_store(tmp_path) as store:
        assert store.next_episode_id == 4
        store.commit(episode(4))
    assert_sound(tmp_path, [*others, 4], [(index, steps)])


def test_both_files_of_an_episode_damaged(tmp_path):
    fill(tmp_path, 4)
    for pattern in (DATA_PATH, ROW_PATH):
        (tmp_path / "episodes" / file_path(pattern, 1)).write_bytes(b"not what it was")
    with open_store(tmp_path) as store:
        assert any("episode 1 (0 steps) set aside" in message for message in store.messages)
    assert_sound(tmp_path, [0, 2, 3], [(1, 0)])


def test_episodes_that_vanished_are_named(tmp_path):
    fill(tmp_path, 4)
    for pattern in (DATA_PATH, ROW_PATH):
        (tmp_path / "episodes" / file_path(pattern, 1)).unlink()
    messages = assert_sound(tmp_path, [0, 2, 3])
    assert any(message.startswith("episodes [1] are in neither") for message in messages)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [DATA_PATH, ROW_PATH])
def test_killed_at_every_write_of_a_repair(tmp_path, pattern):
    """Setting aside, renumbering and rebuilding can be interrupted anywhere and done again."""
    template = fill(tmp_path / "template", 3)
    flip_inside(template / "episodes" / file_path(pattern, 1))
    calls = kill_at_every_write("tests.store.scenarios:reopen", template, tmp_path / "runs")
    assert_sound(tmp_path / "runs/0", [0, 2], [(1, 6)])
    whole = snapshot(tmp_path / "runs/0/episodes")
    for number in range(1, len(calls) + 1):
        folder = tmp_path / "runs" / str(number)
        with open_store(folder) as store:
            assert [entry[:2] for entry in store.quarantined()] == [(1, 6)], calls[number - 1]
        assert snapshot(folder / "episodes") == whole, calls[number - 1]


def test_bytes_of_a_row_that_carry_no_value_are_mended(tmp_path):
    fill(tmp_path, 3)
    before = snapshot(tmp_path / "episodes")
    path = tmp_path / "episodes" / file_path(ROW_PATH, 1)
    flip(path, path.read_bytes().find(b"parquet-cpp-arrow"))  # who wrote the file
    messages = assert_sound(tmp_path, [0, 1, 2])
    assert len(messages) == 1
    assert messages[0].startswith("1 row files of meta/episodes rewritten")
    assert snapshot(tmp_path / "episodes") == before


def test_orphans_are_set_aside_and_the_number_is_used_again(tmp_path):
    fill(tmp_path, 3)
    root = tmp_path / "episodes"
    (root / file_path(ROW_PATH, 2)).unlink()
    for _ in range(2):  # the same orphan twice: a run that is killed twice at the same place
        frames = (root / file_path(DATA_PATH, 2)).read_bytes()
        with open_store(tmp_path) as store:
            assert store.next_episode_id == 2
            assert store.quarantined() == []
        assert len(list((tmp_path / "quarantine").glob("stray-*"))) == 1
        assert not (root / file_path(DATA_PATH, 2)).exists()
        (root / file_path(DATA_PATH, 2)).write_bytes(frames)
    with open_store(tmp_path) as store:
        store.commit(episode(2))
    # Frames of the same content lie in quarantine, and yet this one counts.
    assert assert_sound(tmp_path, [0, 1, 2]) == []


@pytest.mark.parametrize("name", ["meta/info.json", "meta/stats.json", "meta/tasks.parquet"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "deleted"])
def test_derived_files_are_rebuilt(tmp_path, name, damage):
    fill(tmp_path, 3)
    before = snapshot(tmp_path / "episodes")
    path = tmp_path / "episodes" / name
    if damage == "flipped":
        flip(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    with open_store(tmp_path) as store:
        assert store.messages == [f"{name} did not fit the stored episodes; rebuilt"]
        assert len(store) == 3
    assert snapshot(tmp_path / "episodes") == before


def test_a_change_under_an_open_store_is_noticed(tmp_path):
    fill(tmp_path, 2)
    with open_store(tmp_path) as store:
        flip(tmp_path / "episodes" / file_path(DATA_PATH, 0))
        with pytest.raises(Exception, match="changed since it was committed"):
            store.read(0)
        assert_equal(store.read(1), episode(1))


def test_a_damaged_reason_keeps_the_number(tmp_path):
    fill(tmp_path, 2)
    with open_store(tmp_path) as store:
        place = store.quarantine(broken_episode(2), "NaN in the state")
    flip(place / "reason.json")
    with open_store(tmp_path) as store:
        assert store.next_episode_id == 3
        (entry,) = store.quarantined()
        assert entry == (2, 3, "unreadable reason", False, "")  # its row knows the rest
        assert "reason.json" in store.messages[0]
        other = store.quarantine(broken_episode(3), "NaN in the state")
    flip(other / "reason.json")
    (place / "row.parquet").unlink()
    with open_store(tmp_path) as store:
        assert [entry[:2] for entry in store.quarantined()] == [(2, 0), (3, 5)]
        assert store.origins == {"robot-1/9f3a:1", "robot-1/9f3a:3"}


def test_a_moved_folder_is_the_same_dataset(tmp_path):
    fill(tmp_path / "a", 3)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert assert_sound(tmp_path / "b", [0, 1, 2]) == []
