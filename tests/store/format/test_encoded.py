"""An encoded episode is checked and stored like the episode itself, its images untouched."""

from __future__ import annotations

import dataclasses

import pytest

from silri.core.errors import NonFiniteError, SpecError
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.store.format import images, lerobot
from silri.store.format.encoded import encode
from silri.store.format.lerobot import move_frames
from silri.store.format.rows import decode_row, encode_row
from silri.store.format.sealed import digest
from silri.store.store import EpisodeStore
from tests.data.episodes import assert_equal, make_episode
from tests.store.scenarios import DIAGNOSTICS, SPEC, broken_episode, episode, open_store

MIXED = EnvSpec(
    name="mixed",
    observation={
        "one": ArraySpec((1,)),
        "matrix": ArraySpec((2, 3)),
        "images.grey": ArraySpec((4, 5, 1), "uint8"),
    },
    action=ActionSpec(1),
    max_episode_steps=10,
)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("sent_at", [10.0, 40.0])
def test_the_files_are_those_of_the_episode_itself_byte_for_byte(tmp_path, sent_at):
    for name in ("plain", "encoded"):
        with open_store(tmp_path / name) as store:
            for number in range(4):
                one = episode(number)
                store.commit(one if name == "plain" else encode(one, sent_at))
            aside = broken_episode(4)
            store.quarantine(aside if name == "plain" else encode(aside, sent_at), "NaN")
    assert contents(tmp_path / "plain") == contents(tmp_path / "encoded")


def test_every_kind_of_column_is_moved_byte_for_byte(tmp_path):
    made = [
        make_episode(MIXED, 0, diagnostics=("b/x", "undeclared")),
        make_episode(MIXED, 1, diagnostics=("a",)),
    ]
    for name in ("plain", "encoded"):
        with EpisodeStore(tmp_path / name, tmp_path / "q", MIXED, ("a", "b/x")) as store:
            for one in made:
                store.commit(one if name == "plain" else encode(one, 10.0))
            if name == "encoded":
                for index, one in enumerate(made):
                    assert_equal(store.read(index), one)
    assert contents(tmp_path / "plain") == contents(tmp_path / "encoded")
    row = encode(made[0], 10.0).row
    with_all = lerobot.encode_frames(
        made[0], episode_index=0, first_frame=0, task_index=0, fps=10.0, diagnostics=("a", "z")
    )
    again = move_frames(with_all, row, 10.0)  # a column that only its former dataset had goes
    assert digest(again) == row.data_sha256


def test_nothing_is_decoded_or_encoded_again(tmp_path, monkeypatch):
    encoded = encode(episode(2), 10.0).numbered(0)

    def refuse(*arguments):
        raise AssertionError("an image was touched")

    monkeypatch.setattr(lerobot, "decode_images", refuse)
    monkeypatch.setattr(lerobot, "encode_images", refuse)
    with open_store(tmp_path) as store:
        store.commit(encoded)
        store.quarantine(encoded.numbered(1), "because")


def test_what_an_older_robot_sends_gets_its_statistics_here(tmp_path):
    encoded = encode(episode(2), 10.0).numbered(0)
    sent = encode_row(dataclasses.replace(encoded.row, stats={}))
    with open_store(tmp_path) as store:
        row = store.commit(dataclasses.replace(encoded, row=decode_row(sent, "sent")))
    assert row.stats == encoded.row.stats


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images.front": ArraySpec((5, 6, 3), "uint8")}, r"images.front' .*\(6, 5, 3\) in row 0"),
        ({"images.front": ArraySpec((6, 5, 1), "uint8")}, r"needs PNG images of \(6, 5, 1\)"),
        ({"images.side": ArraySpec((6, 5, 3), "uint8")}, r"has images \['images.front'\]; .*side"),
        ({"images.front": ArraySpec((6, 5, 3))}, r"has images \['images.front'\]; .* needs \[\]"),
        ({"state": ArraySpec((4,))}, r"'observation.state' .* needs float32\(7, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    spec = dataclasses.replace(SPEC, observation={**SPEC.observation, **change})
    with pytest.raises(SpecError, match=message):
        encode(episode(1), 10.0).check(spec)


def test_what_is_not_finite_is_refused():
    encode(episode(1), 10.0).check(SPEC)
    with pytest.raises(NonFiniteError, match=r"'observation.state' .* row 1"):
        encode(broken_episode(1), 10.0).check(SPEC)


@pytest.mark.parametrize("picture", [b"", b"\x89PNG", b"no image at all" * 9])
def test_a_picture_that_is_none_is_refused(monkeypatch, picture):
    pictures = images.encode_images(episode(1).observations["images.front"])
    pictures[3] = picture
    monkeypatch.setattr(lerobot, "encode_images", lambda frames: pictures[: len(frames)])
    with pytest.raises(SpecError, match=r"images.front' of episode 1 is None in row 3"):
        encode(episode(1), 10.0).check(SPEC)


def test_it_is_counted_and_named_like_the_episode():
    one = episode(3)
    encoded = encode(one, 10.0)
    assert len(encoded) == len(one)
    for name in ("episode_id", "origin", "task", "is_demo"):
        assert getattr(encoded, name) == getattr(one, name)
    assert encoded.numbered(9).decode().episode_id == 9
    assert set(encoded.decode().diagnostics) == set(DIAGNOSTICS)
