"""A reader beside the writer sees every episode once, in order, whatever is repaired meanwhile."""

from __future__ import annotations

import shutil

import pytest

from silri.store.follow import Follower
from silri.store.format.layout import DATA_PATH, ROW_PATH, file_path
from silri.store.safety import files
from tests.data.episodes import assert_equal
from tests.store.scenarios import broken_episode, episode, fill, open_store


def follow(folder, last_id=-1):
    return Follower(folder / "episodes", last_id)


def ids(episodes):
    return [each.episode_id for each in episodes]


def damage(folder, pattern, index):
    path = folder / "episodes" / file_path(pattern, index)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    return path


def test_nothing_is_there_yet(tmp_path):
    follower = follow(tmp_path)
    assert list(follower.new()) == []
    fill(tmp_path, 0)
    assert list(follower.new()) == []
    assert follower.last_id == -1


def test_each_episode_once_and_as_it_was_committed(tmp_path):
    follower = follow(tmp_path)
    with open_store(tmp_path) as store:
        for count in (1, 3, 0, 2):
            first = len(store)
            for number in range(first, first + count):
                store.commit(episode(number))
            found = list(follower.new())
            assert ids(found) == list(range(first, first + count))
            for each in found:
                assert_equal(each, episode(each.episode_id))
    assert follower.last_id == 5
    assert list(follower.new()) == []


def test_it_goes_on_after_an_episode_that_is_known(tmp_path):
    fill(tmp_path, 4)
    assert ids(follow(tmp_path, last_id=1).new()) == [2, 3]
    assert ids(follow(tmp_path, last_id=9).new()) == []


def test_numbers_in_quarantine_are_passed_over(tmp_path):
    fill(tmp_path, 2)
    follower = follow(tmp_path)
    assert ids(follower.new()) == [0, 1]
    with open_store(tmp_path) as store:
        store.quarantine(broken_episode(2), "NaN")
        store.commit(episode(3))
    assert ids(follower.new()) == [3]


@pytest.mark.parametrize("pattern", [DATA_PATH, ROW_PATH])
def test_a_damaged_episode_is_waited_for_until_the_writer_has_set_it_aside(tmp_path, pattern):
    fill(tmp_path, 5)
    damage(tmp_path, pattern, 2)
    follower = follow(tmp_path)
    assert ids(follower.new()) == [0, 1]
    assert ids(follower.new()) == []
    with open_store(tmp_path) as store:
        assert ids(follower.new()) == [3, 4]
        store.commit(episode(5))
    assert ids(follower.new()) == [5]


def test_data_that_is_away_for_a_moment(tmp_path):
    fill(tmp_path, 2)
    path = tmp_path / "episodes" / file_path(DATA_PATH, 1)
    path.rename(tmp_path / "away")
    follower = follow(tmp_path)
    assert ids(follower.new()) == [0]
    (tmp_path / "away").rename(path)
    assert ids(follower.new()) == [1]


@pytest.mark.parametrize("seen", [0, 2, 5])
@pytest.mark.parametrize("broken", [0, 3])
def test_gaps_are_closed_behind_and_before_the_reader(tmp_path, broken, seen):
    fill(tmp_path, 5)
    follower = follow(tmp_path)
    read = [next(iter(follower.new())).episode_id for _ in range(seen)]
    damage(tmp_path, DATA_PATH, broken)
    with open_store(tmp_path) as store:
        store.commit(episode(5))
    read += ids(follower.new())
    assert read == [n for n in range(6) if n != broken or n < seen]


def test_gaps_are_closed_while_the_reader_is_busy_with_an_episode(tmp_path):
    """It evaluates for minutes between two episodes; one more moves to the place it was at."""
    fill(tmp_path, 5)
    follower = follow(tmp_path)
    reading = follower.new()
    read = [next(reading).episode_id for _ in range(3)]
    damage(tmp_path, DATA_PATH, 0)
    damage(tmp_path, DATA_PATH, 1)
    open_store(tmp_path).close()
    read += ids(reading)
    assert read == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seen", [0, 3])
def test_at_every_write_of_a_recovery_nothing_is_skipped_or_repeated(tmp_path, monkeypatch, seen):
    """The reader looks at the folder as every write of the recovery finds it."""
    fill(tmp_path / "run", 5)
    follower = follow(tmp_path / "run")
    reading = follower.new()
    read = [next(reading).episode_id for _ in range(seen)]
    damage(tmp_path / "run", DATA_PATH, 1)
    calls = []

    def on_write(step, path):
        calls.append(step)
        read.extend(ids(follower.new()))

    monkeypatch.setattr(files, "on_write", on_write)
    with open_store(tmp_path / "run") as store:
        store.commit(episode(5))
    monkeypatch.setattr(files, "on_write", None)
    read += ids(follower.new())
    assert len(calls) > 30
    assert read == [n for n in range(6) if n != 1 or n < seen]


def test_killed_in_a_recovery_a_new_reader_is_in_order(tmp_path, monkeypatch):
    """Each copy of the folder is what a killed hub leaves behind; the next one repairs it."""
    fill(tmp_path / "run", 4)
    damage(tmp_path / "run", DATA_PATH, 1)
    copies = []

    def on_write(step, path):
        copies.append(tmp_path / f"{len(copies):03d}")
        shutil.copytree(tmp_path / "run", copies[-1])

    monkeypatch.setattr(files, "on_write", on_write)
    open_store(tmp_path / "run").close()
    monkeypatch.setattr(files, "on_write", None)
    for copy in copies[::8]:
        follower = follow(copy)
        read = ids(follower.new())
        open_store(copy).close()
        read += ids(follower.new())
        assert read == [0, 2, 3], copy
