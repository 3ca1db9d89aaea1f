"""A full disk loses nothing that was stored, and the store goes on when there is room again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from silri.core.errors import DataError, RunFolderError
from silri.store.safety import files
from silri.store.safety.space import explained
from tests.data.episodes import assert_equal
from tests.store.scenarios import broken_episode, episode, fill, open_store
from tests.store.test_store import snapshot


class FullDisk:
    """Refuses the write call ``number`` (from 1), and with ``lasting`` all after it."""

    def __init__(self, number: int = 0, lasting: bool = False) -> None:
        self.number, self.lasting, self.calls = number, lasting, 0

    def __call__(self, step: str, path: Path) -> None:
        self.calls += 1
        if self.calls == self.number or (self.lasting and self.calls > self.number):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def commit(store, one):
    """What it was refused with; None if it was stored."""
    try:
        store.commit(one)
    except DataError as error:
        return str(error)
    return None


def count_calls(monkeypatch, run):
    disk = FullDisk()
    monkeypatch.setattr(files, "on_write", disk)
    run()
    monkeypatch.setattr(files, "on_write", None)
    return disk.calls


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("stored", [0, 2])
def test_full_at_every_write_of_a_commit(tmp_path, monkeypatch, stored, lasting):
    """0: every folder is new; 2: the task is."""
    fill(tmp_path / "whole", stored)
    with open_store(tmp_path / "whole") as store:
        calls = count_calls(monkeypatch, lambda: store.commit(episode(stored)))
    with open_store(tmp_path / "whole") as store:
        store.commit(episode(stored + 1))
    whole = snapshot(tmp_path / "whole/episodes")
    refused = 0
    for number in range(1, calls + 1):
        folder = fill(tmp_path / str(number), stored)
        with open_store(folder) as store:
            monkeypatch.setattr(files, "on_write", FullDisk(number, lasting))
            refusal = commit(store, episode(stored))
            monkeypatch.setattr(files, "on_write", None)
            if refusal is not None:
                refused += 1
                assert f"the disk of {folder / 'episodes'} is full" in refusal
                assert f"storing episode {stored} needs 0.0 MB there" in refusal
                assert len(store) == stored
                assert store.next_episode_id == stored
                if not lasting:  # then not even a deletion may go wrong
                    assert not list(folder.rglob("data/*/*.tmp"))
                    assert len(list(folder.glob("episodes/data/*/*"))) == stored
                    assert len(list(folder.glob("episodes/meta/episodes/*/*.parquet"))) == stored
                store.commit(episode(stored))
            assert len(store) == stored + 1
            store.commit(episode(stored + 1))
        with open_store(folder) as store:
            assert store.messages == []
            for index, one in enumerate(store.episodes()):
                assert_equal(one, episode(index))
        assert snapshot(folder / "episodes") == whole
    assert calls - 12 <= refused < calls  # what can be derived again is no reason to refuse


def test_full_at_every_write_of_a_quarantine(tmp_path, monkeypatch):
    fill(tmp_path / "whole", 1)
    with open_store(tmp_path / "whole") as store:
        calls = count_calls(monkeypatch, lambda: store.quarantine(broken_episode(1), "NaN"))
    whole = snapshot(tmp_path / "whole/quarantine")
    for number in range(1, calls + 1):
        folder = fill(tmp_path / str(number), 1)
        with open_store(folder) as store:
            monkeypatch.setattr(files, "on_write", FullDisk(number))
            with pytest.raises(DataError, match="setting episode 1 aside needs"):
                store.quarantine(broken_episode(1), "NaN")
            monkeypatch.setattr(files, "on_write", None)
            if not store.quarantined():
                store.quarantine(broken_episode(1), "NaN")
            assert store.next_episode_id == 2
        with open_store(folder) as store:
            assert [entry.episode_id for entry in store.quarantined()] == [1]
        assert snapshot(folder / "quarantine") == whole


def test_full_while_opening(tmp_path, monkeypatch):
    fill(tmp_path, 2)
    (tmp_path / "episodes/meta/info.json").unlink()
    monkeypatch.setattr(files, "on_write", FullDisk(1))
    with pytest.raises(DataError, match="is full .*: no room for putting it in order"):
        open_store(tmp_path)
    monkeypatch.setattr(files, "on_write", None)
    with open_store(tmp_path) as store:
        assert len(store) == 2


def test_other_errors_pass(tmp_path):
    def refuse() -> None:
        raise InterruptedError(errno.EINTR, "Interrupted")

    with pytest.raises(InterruptedError), explained(tmp_path, "x"):
        refuse()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.ENOENT])
def test_a_place_that_cannot_be_written_is_named(tmp_path, number):
    def refuse() -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "there"))

    words = rf"there cannot be written \({os.strerror(number)}\); choose another place with --out"
    with pytest.raises(RunFolderError, match=words), explained(tmp_path, "x"):
        refuse()
