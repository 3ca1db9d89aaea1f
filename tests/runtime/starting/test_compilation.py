from __future__ import annotations

import os
import zlib

import pytest

from silri.runtime.starting.compilation import drop_cut_entries

WHOLE = zlib.compress(b"an executable" * 100)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a-cache").write_bytes(WHOLE)
    (tmp_path / "b-cache").write_bytes(WHOLE[:-9])
    (tmp_path / "c-cache").write_bytes(b"")
    (tmp_path / "d-cache").write_bytes(b"\x28\xb5\x2f\xfd not for us to judge")
    (tmp_path / "b-atime").write_bytes(b"8 bytes ")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_cut_is_removed_and_nothing_else(folder):
    drop_cut_entries(folder)
    assert names(folder) == ["a-cache", "b-atime", "checked", "d-cache"]


def test_only_what_is_new_is_read(folder, monkeypatch):
    drop_cut_entries(folder)
    for path in folder.glob("*-cache"):
        os.utime(path, (0, 0))
    (folder / "e-cache").write_bytes(WHOLE[:10])
    read = []
    original = type(folder).read_bytes
    monkeypatch.setattr(
        type(folder), "read_bytes", lambda path: read.append(path.name) or original(path)
    )
    drop_cut_entries(folder)
    assert read == ["e-cache"]
    assert "e-cache" not in names(folder)


def test_no_folder_yet(tmp_path):
    drop_cut_entries(tmp_path / "nothing")
    assert names(tmp_path) == []
