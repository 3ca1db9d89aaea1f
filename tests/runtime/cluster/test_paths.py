from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from silri.runtime.cluster.paths import (
    LivePaths,
    SpoolPaths,
    leave_record,
    read_record,
    write_record,
)
from silri.store.safety import files


def test_a_record_is_read_as_it_was_written(tmp_path):
    write_record(tmp_path / "a", {"beat": 1.25, "note": "größer"})
    assert read_record(tmp_path / "a") == {"beat": 1.25, "note": "größer"}


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": ', b"\xff", b"null"])
def test_what_is_no_record_is_empty(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert read_record(tmp_path / "a") == {}
    assert read_record(tmp_path / "missing") == {}


@pytest.mark.parametrize(("durable", "flushed"), [(True, True), (False, False)])
def test_only_a_durable_record_is_flushed(tmp_path, monkeypatch, durable, flushed):
    steps = []
    monkeypatch.setattr(files, "on_write", lambda step, path: steps.append(step))
    write_record(tmp_path / "a", {}, durable=durable)
    assert ("fsync" in steps) == flushed
    assert "rename" in steps


def test_a_sign_of_life_is_left_out_when_there_is_no_room(tmp_path, monkeypatch):
    leave_record(tmp_path / "a", {"beat": 1})

    def full(step, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "on_write", full)
    leave_record(tmp_path / "a", {"beat": 2})
    with pytest.raises(OSError, match="No space"):
        write_record(tmp_path / "a", {"beat": 2})
    assert read_record(tmp_path / "a") == {"beat": 1}


@pytest.mark.parametrize("kind", [LivePaths, SpoolPaths])
def test_no_two_files_have_the_same_name(kind):
    paths = kind(Path("x"))
    names = [name for name, value in vars(kind).items() if isinstance(value, property)]
    assert len({getattr(paths, name) for name in names}) == len(names) > 5
