"""A classifier that goes on learning from what a person corrected: the arithmetic."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import DataError
from silri.rewards.classifier import DESCRIPTION, flat, load_classifier
from silri.rewards.memory import Memory
from silri.rewards.refit import (
    Corrections,
    decode_answer,
    encode_order,
    obey_order,
    refit,
    verdict_of,
    with_refitted,
)
from silri.store.safety import files
from tests.fakes.models.classifiers import CONFIG, attempt, write_classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("fitted"))[0]


def lamps(classifier, brightness, count=5):
    """(count, F): the ends of successes, with lamps of another brightness than it knows."""
    rows = []
    for number in range(100, 100 + count):
        last = {k: a[-1].copy() for k, a in attempt(number, success=True).observations.items()}
        for camera in classifier.sight.cameras:
            last[camera][:16] = brightness
        frames = {camera: last[camera] for camera in classifier.sight.cameras}
        rows.append(flat([classifier.sight(frames)], classifier.sight.cameras)[0])
    return np.stack(rows)


def go_on(classifier, features, label):
    labels = np.full(len(features), label, np.int8)
    before = verdict_of(classifier)
    return refit(classifier.memory, CONFIG, before, Corrections(features, labels), 1)


def test_the_side_of_the_boundary_is_the_verdict(classifier):
    memory, verdict = classifier.memory, verdict_of(classifier)
    rows = memory.features.astype(np.float32)
    seen = [dict(zip(classifier.sight.cameras, np.split(row, 2), strict=True)) for row in rows]
    called = classifier.probabilities(seen) > classifier.known.threshold
    np.testing.assert_array_equal(called, verdict.sides(rows) > 0)
    assert called.any()


def test_a_correction_changes_the_verdict_on_that_kind_of_frame(classifier):
    """Two dim lamps are called a success by a person: others as dim are one then, too."""
    dim = lamps(classifier, 110)
    assert (verdict_of(classifier).sides(dim) < 0).all()
    done = go_on(classifier, dim[:2], 1)
    assert (done.learned, done.held_out, done.wrong, done.worse) == (2, 6, 0, False)
    after = with_refitted(classifier, done, ("a", "b"))
    assert (verdict_of(after).sides(dim[2:]) > 0).all()
    assert (verdict_of(after).sides(lamps(classifier, 0)) < 0).all()  # no lamp is still none
    assert after.known.corrections == ("a", "b")
    assert after.known.threshold == classifier.known.threshold
    assert after.digest != classifier.digest


def test_one_that_becomes_worse_is_said_to_be(classifier):
    """A person takes back what looks like the successes of the other episodes."""
    done = go_on(classifier, lamps(classifier, 200, 4), 0)
    assert done.wrong_before == 0
    assert done.worse


def test_one_class_only_is_refused_with_the_counts(classifier):
    memory = classifier.memory
    losses = replace(memory, labels=np.where(memory.labels == 1, -1, memory.labels))
    frames = Corrections(lamps(classifier, 110, 2), np.zeros(2, np.int8))
    with pytest.raises(DataError, match=r"there are 0 frames with a success and \d\d without"):
        refit(losses, CONFIG, verdict_of(classifier), frames, 1)


def test_another_process_is_asked_in_bytes(classifier):
    dim = lamps(classifier, 110, 2)
    corrections = Corrections(dim, np.ones(2, np.int8))
    answer = decode_answer(obey_order(encode_order(classifier, corrections, 1)))
    here = go_on(classifier, dim, 1)
    assert (answer.wrong, answer.learned) == (here.wrong, here.learned)
    for name, array in here.network.arrays.items():
        np.testing.assert_array_equal(answer.network.arrays[name], array)
    classifier_of_before = with_refitted(classifier, here, ())
    classifier_of_before.memory = None
    with pytest.raises(DataError, match="has no examples .* 'silri reward fit'"):
        encode_order(classifier_of_before, corrections, 1)


def test_what_replaces_another_is_whole_or_not_there(classifier, tmp_path):
    """Whoever dies at any write call leaves the old one or the new one."""
    home, deaths = tmp_path / "reward", []
    classifier.save(home)
    fresh = with_refitted(classifier, go_on(classifier, lamps(classifier, 110, 2), 1), ("a",))

    def on_write(step, path):
        deaths.append(tmp_path / str(len(deaths)))
        shutil.copytree(home, deaths[-1])

    files.on_write = on_write
    try:
        fresh.save(home)
    finally:
        files.on_write = None
    found = [load_classifier(folder).digest for folder in [*deaths, home]]
    assert len(found) > 8
    assert set(found) == {classifier.digest, fresh.digest}
    assert found[-1] == fresh.digest
    assert sorted(found, key=lambda each: each == fresh.digest) == found  # never back
    assert len(list(home.iterdir())) == 2
    for folder in deaths:  # and the next one is written over whatever was left
        classifier.save(folder)
        assert load_classifier(folder).digest == classifier.digest
        assert len(list(folder.iterdir())) == 2


def test_what_is_remembered_is_stored_and_checked(classifier, tmp_path):
    classifier.save(tmp_path)
    again = load_classifier(tmp_path).memory
    for name, array in classifier.memory.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    arrays = classifier.memory.arrays()
    assert Memory.of({}, "here") is None
    for broken in ({"labels": arrays["labels"][1:]}, {"held_out": arrays["held_out"][:1]}):
        with pytest.raises(DataError, match="the examples in here do not belong together"):
            Memory.of({**arrays, **broken}, "here")
    assert (tmp_path / DESCRIPTION).is_file()
