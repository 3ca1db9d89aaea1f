"""Bytes of any file change at random: what comes back is what was stored, or is not there."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from silri.core.errors import DataError, SpecError
from silri.store.dataset import read_dataset
from silri.store.tools.survey import Place, problems, set_aside, stored_spec, summaries
from tests.data.episodes import assert_equal
from tests.store.foreign import columns, write_lerobot
from tests.store.scenarios import SPEC, broken_episode, episode, fill, open_store
from tests.store.tools.test_foreign import EYE
from tests.store.tools.test_foreign import SPEC as FOREIGN

STORED = 3
PARTS = ("data/", "meta/episodes", "meta/", "quarantine/")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Episodes with images, one of them in quarantine."""
    folder = fill(tmp_path_factory.mktemp("template"), STORED)
    with open_store(folder) as store:
        store.quarantine(broken_episode(STORED), "NaN in the state")
    return folder


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """A few flipped bits, a cut end, a lost or overwritten stretch, or junk at the end."""
    data = bytearray(content)
    kind = rng.integers(5)
    at = int(rng.integers(len(data)))
    if kind == 0:
        for _ in range(rng.integers(1, 4)):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        del data[at : at + int(rng.integers(1, 40))]
    elif kind == 3:
        data[at : at + 16] = rng.bytes(min(16, len(data) - at))
    else:
        data += rng.bytes(8)
    return bytes(data)


def check(folder):
    """Whatever happened to it: no wrong value, no other error, and in order afterwards."""
    place = Place.of(folder)
    try:
        assert problems(place) != []
    except DataError as error:
        assert "silri_format" in str(error)  # noqa: PT017 (3 or 6 is a later version)
    for look in (set_aside, lambda p: list(summaries(p)), stored_spec):
        try:
            look(place)
        except DataError:
            continue
    try:
        whole = read_dataset(folder / "episodes", SPEC)
    except DataError:
        pass
    else:
        assert len(whole) == STORED
        for number, one in enumerate(whole):
            assert_equal(one, episode(number))
    store = open_unless_later(folder)
    if store is None:
        return False
    with store:
        for one in store.episodes():
            assert one.episode_id < STORED
            assert_equal(one, episode(one.episode_id))
        kept = [row.episode_id for row in store.rows]
        aside = {entry.episode_id for entry in store.quarantined()}
        assert kept == sorted(set(kept))
        assert {*kept, *aside} == {*range(STORED + 1)}
        assert len(kept) >= STORED - 1
        number = store.next_episode_id
        assert number == STORED + 1
        store.commit(dataclasses.replace(episode(number), origin=""))
    with open_store(folder) as store:
        assert all("reason.json" in text for text in store.messages)  # that one stays as it is
    return True


def open_unless_later(folder):
    """None if ``silri_format`` 2 became 3 or 6: a later version, as far as anybody can tell."""
    try:
        return open_store(folder)
    except DataError as error:
        if "silri_format" not in str(error):
            raise
        return None


@pytest.mark.parametrize("part", PARTS)
def test_nothing_wrong_is_ever_read(template, tmp_path, part):
    damage_and_check(template, tmp_path, part, 6)


@pytest.mark.parametrize("image", ["image", None])
def test_a_dataset_without_checksums_fails_only_as_documented(tmp_path, image):
    """Of another program: a changed value cannot be told from a true one, but nothing crashes."""
    spec = FOREIGN if image is None else EYE
    made = columns(image=image)
    whole = write_lerobot(tmp_path / "whole", made, image=image)
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(40):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        path = folder / names[int(rng.integers(len(names)))]
        path.write_bytes(damage(path.read_bytes(), rng))
        try:
            read_dataset(folder, spec)
        except (DataError, SpecError):
            refused += 1
    assert refused > 5


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_nothing_wrong_is_ever_read_however_often(template, tmp_path, part):
    damage_and_check(template, tmp_path, part, 30)


def damage_and_check(template, tmp_path, part, count):
    """``count`` times on a copy of its own."""
    names = [
        path.relative_to(template)
        for path in sorted(template.rglob("*"))
        if path.is_file() and path.name != ".lock" and part in str(path.relative_to(template))
    ]
    if part == "meta/":
        names = [name for name in names if "meta/episodes" not in str(name)]
    rng = np.random.default_rng(len(part))
    opened = 0
    for number in range(count):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        path = folder / names[int(rng.integers(len(names)))]
        content = path.read_bytes()
        while (damaged := damage(content, rng)) == content:
            pass
        path.write_bytes(damaged)
        opened += check(folder)
        shutil.rmtree(folder)
    assert opened >= count - max(2, count // 50)
