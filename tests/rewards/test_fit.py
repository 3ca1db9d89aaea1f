"""Success classifiers: labels, the split, the fit, the files, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import ConfigError, DataError
from silri.core.specs import ArraySpec
from silri.rewards.classifier import DESCRIPTION, WEIGHTS, load_classifier
from silri.rewards.config import FitConfig
from silri.rewards.examples import label_frames, read_attempts, spec_of, split
from silri.rewards.fit import fit_classifier, seen
from silri.rewards.labels import Label, read_labels, write_label
from silri.rewards.network import calibrate, sigmoid, threshold_for
from tests.fakes.envs.cameras import OTHER_ENCODER
from tests.fakes.envs.point import PointMass
from tests.fakes.models.classifiers import CONFIG, SPEC, write_classifier, write_dataset


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    classifier, held_out = write_classifier(folder)
    return folder, classifier, held_out


def test_the_end_of_a_success_is_positive_and_what_leads_to_it_is_left_out():
    config = FitConfig(positives=2, margin=3)
    assert label_frames(8, True, config).tolist() == [0, 0, 0, -1, -1, -1, 1, 1]
    assert label_frames(4, True, config).tolist() == [-1, -1, 1, 1]
    assert label_frames(4, False, config).tolist() == [0, 0, 0, 0]


def test_whole_episodes_of_both_classes_are_held_out(tmp_path):
    attempts = read_attempts([write_dataset(tmp_path / "data", 10, 5)], CONFIG)
    fitted, held_out = split(attempts, CONFIG)
    assert {a.key for a in fitted} | {a.key for a in held_out} == {a.key for a in attempts}
    assert len(fitted) + len(held_out) == 15
    assert [a.success for a in held_out].count(True) == 3  # 0.3 of 10, and 2 of 5
    assert [a.success for a in held_out].count(False) == 2
    other, _ = split(attempts, replace(CONFIG, seed=1))
    assert {a.key for a in other} != {a.key for a in fitted}


def test_it_tells_frames_apart_that_it_never_saw(fitted):
    _, classifier, held_out = fitted
    assert held_out
    for attempt in held_out:
        said = classifier.probabilities(seen(classifier.sight, attempt))
        called = said > classifier.known.threshold
        assert called[-1] == attempt.success
        assert not called[:-1].any()
        assert classifier(attempt.row(0)) == said[0]  # one by one, bit for bit


def test_the_same_seed_gives_the_same_classifier(fitted):
    folder, classifier, _ = fitted
    again, _ = fit_classifier([folder / "data"], CONFIG)
    assert again.digest == classifier.digest
    other, _ = fit_classifier([folder / "data"], replace(CONFIG, seed=1))
    assert other.digest != classifier.digest


def test_what_is_stored_judges_alike(fitted):
    folder, classifier, held_out = fitted
    again = load_classifier(folder / "classifier")
    assert again.known == classifier.known
    assert again.digest == classifier.digest
    row = held_out[0].row(2)
    assert again(row) == classifier(row)


@pytest.mark.parametrize(("wins", "losses"), [(4, 0), (0, 4), (2, 5), (5, 2)])
def test_too_few_of_a_class_are_refused_with_the_counts(wins, losses, tmp_path):
    write_dataset(tmp_path / "data", wins, losses)
    with pytest.raises(DataError, match=f"{wins} successes and {losses} failures"):
        fit_classifier([tmp_path / "data"], CONFIG)


def test_a_dataset_without_a_camera_is_refused(tmp_path):
    from silri.store.store import EpisodeStore
    from tests.data.episodes import make_episode

    spec = PointMass().env_spec
    with EpisodeStore(tmp_path / "data", tmp_path / "aside", spec) as store:
        store.commit(make_episode(spec, 0))
    with pytest.raises(DataError, match="has no camera, only"):
        read_attempts([tmp_path / "data"], CONFIG)


def test_another_encoder_is_refused_by_both_names(fitted, tmp_path):
    _, classifier, _ = fitted
    classifier.save(tmp_path)
    path = tmp_path / DESCRIPTION
    record = json.loads(path.read_text())
    record["known"]["config"]["encoder"] = OTHER_ENCODER
    path.write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r"'fake' .* here is 'other'"):
        load_classifier(tmp_path)


def test_a_damaged_classifier_is_refused(fitted, tmp_path):
    _, classifier, _ = fitted
    with pytest.raises(DataError, match="holds no success classifier"):
        load_classifier(tmp_path)
    classifier.save(tmp_path)
    data = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DataError, match=f"{WEIGHTS} is damaged"):
        load_classifier(tmp_path)
    (tmp_path / DESCRIPTION).write_text('{"format": 7}')
    with pytest.raises(DataError, match="format 7"):
        load_classifier(tmp_path)


def test_an_environment_with_other_cameras_is_refused_by_both(fitted):
    _, classifier, _ = fitted
    classifier.check_fits(SPEC, "here")
    with pytest.raises(ConfigError, match="in here looks at 'front', .* has no such camera"):
        classifier.check_fits(PointMass().env_spec, "here")
    wider = {**SPEC.observation, "side": ArraySpec((32, 64, 3), "uint8")}
    with pytest.raises(ConfigError, match=r"looks at 'side', frames \(32, 32, 3\).*\(32, 64, 3\)"):
        classifier.check_fits(replace(SPEC, observation=wider), "here")


def test_what_a_person_said_of_a_frame_wins(tmp_path):
    run = tmp_path / "run"
    write_dataset(run / "episodes", 3, 3)
    (run / "config.json").write_text("{}")
    frames = {"front": np.full((32, 32, 3), 7, np.uint8), "side": np.zeros((32, 32, 3), np.uint8)}
    write_label(run / "labels", Label(4, 2, True, 0.25, "abc", frames))
    write_label(run / "labels", Label(99, 5, False, 0.75, "abc", frames))
    stored = read_labels(run / "labels")
    assert [(each.episode, each.frame, each.success) for each in stored] == [
        (4, 2, True),
        (99, 5, False),
    ]
    np.testing.assert_array_equal(stored[0].frames["front"], frames["front"])
    assert stored[1].probability == 0.75
    attempts = {a.number: a for a in read_attempts([run], CONFIG)}
    assert attempts[4].labels[2] == 1
    assert attempts[4].labels.sum() == 1
    assert attempts[99].labels.tolist() == [0]  # of an episode that is not there
    assert not attempts[99].success


def test_a_label_that_is_none_is_named(tmp_path):
    (tmp_path / "episode-000001-frame-0001.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="is no label"):
        read_labels(tmp_path)


def test_calibration_finds_the_slope_that_the_answers_have():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    answers = (rng.random(20_000) < sigmoid(0.5 * logits - 1.0)).astype(np.int8)
    scale, shift = calibrate(logits, answers)
    assert scale == pytest.approx(0.5, abs=0.03)
    assert shift == pytest.approx(-1.0, abs=0.05)


def test_classes_that_do_not_overlap_give_no_certainty():
    scale, shift = calibrate(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))
    assert np.isfinite([scale, shift]).all()
    assert 0.5 < sigmoid(np.array(scale * 3.0 + shift)) < 0.9  # of two, one cannot be sure


def test_the_threshold_keeps_the_rate():
    labels = np.zeros(1_000, np.int8)
    probabilities = np.linspace(0, 1, 1_000)
    for rate in (0.01, 0.1):
        threshold = threshold_for(probabilities, labels, rate)
        assert (probabilities > threshold).mean() == pytest.approx(rate)
    assert threshold_for(probabilities / 10, labels, 0.01) == 0.5


def test_the_spec_of_a_classifier_is_of_its_cameras_only(fitted):
    _, _, held_out = fitted
    assert sorted(spec_of(held_out).observation) == ["front", "side"]
