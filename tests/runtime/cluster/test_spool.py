"""What a robot has finished is never lost, never sent under a number that was used before."""

from __future__ import annotations

import errno
import os
import re
import shutil

import msgpack
import pytest

from silri.core.errors import DataError
from silri.runtime.cluster import spool as module
from silri.runtime.cluster.spool import Spool, Upload, decode_upload, encode_upload
from silri.store.format.encoded import encode
from silri.store.safety import files
from tests.data.episodes import assert_equal
from tests.store.scenarios import broken_episode, episode

FPS = 10.0


def copies_before_each_write(monkeypatch, folder, where, action):
    """Run ``action`` once; the folder as each write call finds it, and as it is afterwards."""
    copies = []

    def on_write(step, path):
        copies.append(where / f"{len(copies):03d}-{step}-{path.name}")
        shutil.copytree(folder, copies[-1])

    monkeypatch.setattr(files, "on_write", on_write)
    action()
    monkeypatch.setattr(files, "on_write", None)
    copies.append(where / "afterwards")
    shutil.copytree(folder, copies[-1])
    return copies


def full_disk(monkeypatch, number, lasting=True):
    """Every write call from ``number`` on (from 1) fails; returns the calls so far."""
    calls = []

    def on_write(step, path):
        calls.append((step, path.name))
        if len(calls) == number or (lasting and len(calls) > number):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "on_write", on_write)
    return calls


def filled(folder, count, robot="arm"):
    spool = Spool(folder, robot)
    for _ in range(count):
        number = spool.next_number()
        spool.add(number, episode(number), "", FPS)
    return spool


def received(spool, number):
    upload = decode_upload(spool.read(number), "here")
    assert upload.episode.origin.endswith(f":{number}")
    return upload.episode.decode()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_what_is_read_is_what_was_added_bit_for_bit(tmp_path, number):
    """With images, vectors, diagnostics, NaN where nobody intervened."""
    spool = Spool(tmp_path, "arm")
    spool.add(number, episode(number), "", FPS)
    upload = decode_upload(spool.read(number), "here")
    origin = f"arm/{spool.identity}:{number}"
    assert_equal(
        upload.episode.decode(), module.dataclasses.replace(episode(number), origin=origin)
    )
    assert upload.reason == ""


def test_a_reason_and_a_broken_episode_go_through(tmp_path):
    spool = Spool(tmp_path, "arm")
    spool.add(0, broken_episode(2), "NaN in the state", FPS)
    upload = decode_upload(spool.read(0), "here")
    assert upload.reason == "NaN in the state"
    named = module.dataclasses.replace(broken_episode(2), origin=spool.origin(0))
    assert_equal(upload.episode.decode(), named)


def test_numbers_go_on_where_they_were(tmp_path):
    spool = filled(tmp_path, 3)
    assert spool.waiting() == [0, 1, 2]
    spool.acknowledge(0)
    spool.acknowledge(1)
    assert Spool(tmp_path, "arm").waiting() == [2]
    assert Spool(tmp_path, "arm").next_number() == 3
    spool.acknowledge(2)
    assert Spool(tmp_path, "arm").next_number() == 3
    assert Spool(tmp_path, "arm").origin(3) == spool.origin(3)


def test_a_lost_folder_begins_with_other_origins(tmp_path):
    before = filled(tmp_path / "spool", 2)
    shutil.rmtree(tmp_path / "spool")
    after = filled(tmp_path / "spool", 2)
    assert after.waiting() == [0, 1]
    assert not {before.origin(0), before.origin(1)} & {after.origin(0), after.origin(1)}


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"robot": "arm"}', b"\xff\xfe"])
def test_a_damaged_identity_is_replaced_and_what_waits_keeps_its_origin(tmp_path, damage):
    before = filled(tmp_path, 2)
    (tmp_path / "identity.json").write_bytes(damage)
    after = Spool(tmp_path, "arm")
    assert after.identity != before.identity
    assert after.next_number() == 2
    assert received(after, 1).origin == before.origin(1)
    assert Spool(tmp_path, "arm").identity == after.identity


@pytest.mark.parametrize("waits", [False, True])
def test_a_damaged_acknowledgement_gives_no_number_twice(tmp_path, waits):
    before = filled(tmp_path, 5)
    used = {before.origin(number) for number in range(5)}
    for number in range(3 if waits else 5):
        before.acknowledge(number)
    flip(tmp_path / "acknowledged.json")
    after = Spool(tmp_path, "arm")
    number = after.next_number()
    assert after.origin(number) not in used
    after.add(number, episode(number), "", FPS)
    assert [received(after, n).origin in used for n in after.waiting()] == (
        [True, True, False] if waits else [False]
    )


def test_an_acknowledgement_that_finds_the_last_one_damaged(tmp_path):
    """The uplink finds it while the control loop goes on with the identity that it has."""
    control = filled(tmp_path, 2)
    uplink = Spool(tmp_path, "arm")
    uplink.acknowledge(0)
    flip(tmp_path / "acknowledged.json")
    uplink.acknowledge(1)
    control.add(2, episode(2), "", FPS)
    after = Spool(tmp_path, "arm")
    assert after.waiting() == [2]
    assert after.next_number() == 3
    assert after.identity != control.identity
    assert received(after, 2).origin == control.origin(2)


def test_killed_at_every_write_of_an_add(tmp_path, monkeypatch):
    spool = filled(tmp_path / "spool", 2)
    spool.acknowledge(0)
    copies = copies_before_each_write(
        monkeypatch,
        tmp_path / "spool",
        tmp_path / "copies",
        lambda: spool.add(2, episode(2), "", FPS),
    )
    assert len(copies) > 5
    there = []
    for copy in copies:
        after = Spool(copy, "arm")
        there.append(after.waiting() == [1, 2])
        assert after.waiting() in ([1], [1, 2]), copy
        assert after.next_number() == len(after.waiting()) + 1, copy
        assert_equal(received(after, 1), received(spool, 1))
        if not there[-1]:
            after.add(2, episode(2), "", FPS)
        assert_equal(received(after, 2), received(spool, 2))
        assert not list(copy.rglob("*.tmp"))
    assert there == sorted(there)
    assert (there[0], there[-1]) == (False, True)


def test_killed_at_every_write_of_an_acknowledgement(tmp_path, monkeypatch):
    """The last one: its number is then known from the acknowledgement alone."""
    spool = filled(tmp_path / "spool", 2)
    spool.acknowledge(0)
    copies = copies_before_each_write(
        monkeypatch, tmp_path / "spool", tmp_path / "copies", lambda: spool.acknowledge(1)
    )
    assert len(copies) > 5
    gone = []
    for copy in copies:
        after = Spool(copy, "arm")
        gone.append(after.waiting() == [])
        assert after.waiting() in ([], [1]), copy
        assert after.next_number() == 2, copy
        if not gone[-1]:
            after.acknowledge(1)
        assert (after.waiting(), Spool(copy, "arm").next_number()) == ([], 2)
    assert gone == sorted(gone)
    assert (gone[0], gone[-1]) == (False, True)


def test_killed_at_every_write_of_a_first_start(tmp_path, monkeypatch):
    (tmp_path / "spool").mkdir()
    copies = copies_before_each_write(
        monkeypatch,
        tmp_path / "spool",
        tmp_path / "copies",
        lambda: Spool(tmp_path / "spool", "arm"),
    )
    for copy in copies:
        assert filled(copy, 1).waiting() == [0]
        assert Spool(copy, "arm").origin(0) == received(Spool(copy, "arm"), 0).origin


def test_killed_at_every_write_of_setting_aside(tmp_path, monkeypatch):
    spool = filled(tmp_path / "spool", 1)
    flip(tmp_path / "spool/episodes/00000000")
    copies = copies_before_each_write(
        monkeypatch, tmp_path / "spool", tmp_path / "copies", lambda: spool.set_aside(0)
    )
    for copy in copies:
        after = Spool(copy, "arm")
        assert after.next_number() == 1, copy
        if after.waiting():
            after.set_aside(0)
        assert (after.waiting(), after.next_number()) == ([], 1)
        assert len(list((copy / "damaged").iterdir())) == 1


def test_the_number_of_a_damaged_file_is_not_used_again(tmp_path):
    """The store may have it: sent, committed, and damaged before the answer came."""
    spool = filled(tmp_path, 2)
    flip(tmp_path / "episodes/00000001")
    with pytest.raises(DataError, match="00000001 "):
        spool.read(1)
    place = spool.set_aside(1)
    assert place.exists()
    assert spool.waiting() == [0]
    assert Spool(tmp_path, "arm").next_number() == 2


def test_any_flipped_bit_of_an_upload_is_noticed():
    data = encode_upload(Upload(encode(episode(3), FPS), ""))
    for position in range(0, len(data), max(1, len(data) // 300)):
        damaged = bytearray(data)
        damaged[position] ^= 4
        with pytest.raises(DataError, match="an upload"):
            decode_upload(bytes(damaged), "an upload")


def sealed(body):
    packed = msgpack.packb(body)
    return msgpack.packb({"format": 1, "sha256": module.digest(packed), "body": packed})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb([1, 2]),
        msgpack.packb({"format": 1, "sha256": "", "body": "text"}),
        msgpack.packb({"format": 2, "sha256": "", "body": b""}),
        encode_upload(Upload(encode(episode(2), FPS), ""))[:-1],
        sealed([1]),
        sealed({"frames": b"", "reason": ""}),
        sealed({"frames": b"", "row": b"no parquet", "reason": ""}),
        sealed({"frames": b"", "row": 7, "reason": ""}),
    ],
)
def test_what_is_no_upload_is_refused_by_name(data):
    with pytest.raises(DataError, match="an upload"):
        decode_upload(data, "an upload")


def test_frames_of_another_episode_are_refused():
    parts = [
        msgpack.unpackb(msgpack.unpackb(encode_upload(Upload(encode(episode(n), FPS), "")))["body"])
        for n in (2, 3)
    ]
    with pytest.raises(DataError, match="frames do not match"):
        decode_upload(sealed({**parts[0], "frames": parts[1]["frames"]}), "an upload")


def test_the_spool_of_another_robot_is_refused(tmp_path):
    filled(tmp_path, 1, robot="left")
    with pytest.raises(DataError, match=r"spool of robot 'left', not of 'right'.*--spool"):
        Spool(tmp_path, "right")
    assert Spool(tmp_path, "left").waiting() == [0]


@pytest.mark.parametrize("lasting", [False, True])
def test_a_disk_that_is_full_while_adding(tmp_path, monkeypatch, lasting):
    spool = filled(tmp_path / "whole", 1)
    calls = full_disk(monkeypatch, 0, lasting=False)
    spool.add(1, episode(1), "", FPS)
    for number in range(1, len(calls) + 1):
        folder = tmp_path / str(number)
        monkeypatch.setattr(files, "on_write", None)
        spool, one = filled(folder, 1), episode(1)
        full_disk(monkeypatch, number, lasting)
        with pytest.raises(DataError, match=f"the disk of {folder} is full.*make room") as refused:
            spool.add(1, one, "", FPS)
        assert re.search(r"keeping episode 1 needs 0\.\d MB", str(refused.value))
        monkeypatch.setattr(files, "on_write", None)
        assert not list(folder.rglob("*.tmp"))
        assert_equal(one, episode(1))  # in memory it is as it was
        spool.add(1, one, "", FPS)
        assert spool.waiting() == [0, 1]
        assert spool.next_number() == 2
        received(spool, 1)


def test_a_disk_that_is_full_while_acknowledging(tmp_path, monkeypatch):
    """Letting go makes room, unless the number would be forgotten."""
    spool = filled(tmp_path, 2)
    full_disk(monkeypatch, 1, lasting=False)
    spool.acknowledge(0)
    assert (spool.waiting(), spool.next_number()) == ([1], 2)
    full_disk(monkeypatch, 1)
    with pytest.raises(DataError, match="acknowledging episode 1"):
        spool.acknowledge(1)
    monkeypatch.setattr(files, "on_write", None)
    assert (spool.waiting(), spool.next_number()) == ([1], 2)
    spool.acknowledge(1)
    assert (spool.waiting(), spool.next_number()) == ([], 2)


def test_room_is_asked_for_before_an_episode_is_driven(tmp_path, monkeypatch):
    spool = filled(tmp_path, 2)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=60_000_000))
    spool.check_room(10_000_000)
    with pytest.raises(DataError, match=rf"{tmp_path} has 60 MB left.*the 2 episodes that wait"):
        spool.check_room(10_000_001)
