from __future__ import annotations

from pathlib import Path

import pytest

from silri.core.errors import DataError
from silri.store.dataset import read_dataset
from silri.store.format.layout import DATA_PATH, file_path
from silri.store.format.sealed import read_sealed_json, sealed_json
from silri.store.safety import files
from silri.store.safety.lock import FolderLock
from tests.data.episodes import assert_equal
from tests.store.scenarios import SPEC, episode, fill


@pytest.fixture
def calls(monkeypatch):
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(files, "on_write", lambda step, path: seen.append((step, path.name)))
    return seen


def test_atomic_write_replaces_in_the_order_that_a_crash_survives(tmp_path, calls):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    files.atomic_write(path, b"new content")
    assert path.read_bytes() == b"new content"
    assert calls == [
        ("open", "a.json.tmp"),
        ("write", "a.json.tmp"),
        ("write", "a.json.tmp"),
        ("fsync", "a.json.tmp"),
        ("rename", "a.json"),
        ("fsync", tmp_path.name),
    ]
    assert [child.name for child in tmp_path.iterdir()] == ["a.json"]
    calls.clear()
    files.atomic_write(path, b"", durable=False)
    assert path.read_bytes() == b""
    assert "fsync" not in {step for step, _ in calls}


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def full_disk(step: str, _: Path) -> None:
        if step == "fsync":
            raise OSError("No space left on device")

    monkeypatch.setattr(files, "on_write", full_disk)
    with pytest.raises(OSError, match="No space"):
        files.atomic_write(path, b"new")
    assert path.read_bytes() == b"old"


def test_append_line(tmp_path, calls):
    path = tmp_path / "log.jsonl"
    files.append_line(path, "eins")
    files.append_line(path, "zwölf")
    assert path.read_text(encoding="utf-8") == "eins\nzwölf\n"
    assert calls[-1] == ("fsync", "log.jsonl")
    with pytest.raises(ValueError, match="one line"):
        files.append_line(path, "a\nb")


def test_folders_and_links(tmp_path, calls):
    deep = tmp_path / "a/b/c"
    files.make_dir(deep)
    assert [call for call in calls if call[0] == "mkdir"] == [
        ("mkdir", "a"),
        ("mkdir", "b"),
        ("mkdir", "c"),
    ]
    calls.clear()
    files.make_dir(deep)
    assert calls == []
    (deep / "file").write_text("x")
    files.link("a", tmp_path / "last")
    files.link("a/b", tmp_path / "last")
    assert (tmp_path / "last/c/file").read_text() == "x"
    files.link("gone", tmp_path / "a/dangling")
    (tmp_path / "a.tmp").mkdir()  # what a crash left of an earlier removal
    files.remove_tree(tmp_path / "a")
    assert [child.name for child in tmp_path.iterdir()] == ["last"]
    files.remove(tmp_path / "last")
    files.remove(tmp_path / "last")


def test_sealed_json_refuses_every_other_byte():
    content = sealed_json({"a": 1.5, "b": ["x", None], "é": {"n": 3}})
    assert read_sealed_json(content, "file") == {"a": 1.5, "b": ["x", None], "é": {"n": 3}}
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(DataError, match="file "):
            read_sealed_json(bytes(damaged), "file")
    with pytest.raises(DataError, match="no sealed record"):
        read_sealed_json(b"[1]", "file")


def test_lock_is_let_go_once_or_twice(tmp_path):
    with FolderLock(tmp_path) as lock:
        lock.release()
        with FolderLock(tmp_path):
            pass
    FolderLock(tmp_path).release()


def test_read_dataset_needs_no_lock_and_checks_everything(tmp_path):
    fill(tmp_path, 3)
    with FolderLock(tmp_path / "episodes"):
        for number, one in enumerate(read_dataset(tmp_path / "episodes", SPEC)):
            assert_equal(one, episode(number))
    path = tmp_path / "episodes" / file_path(DATA_PATH, 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="file-001.parquet is missing or does not match"):
        read_dataset(tmp_path / "episodes")
    with pytest.raises(DataError, match="is no dataset"):
        read_dataset(tmp_path)
