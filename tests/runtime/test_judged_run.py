"""A run whose reward and success come from a classifier."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from silri.core.errors import ConfigError, DataError
from silri.rewards.config import RewardConfig
from silri.runtime.acting.judging import CLASSIFIER, judge_of, with_kept_classifier
from silri.runtime.session import Interrupted
from silri.runtime.starting.opening import open_env_and_operator
from silri.vision.config import VisionConfig
from tests.fakes.envs import cameras, point
from tests.fakes.envs.cameras import ENCODER
from tests.fakes.envs.point import FakeEnvConfig
from tests.fakes.models.classifiers import NAME, SPEC, write_classifier
from tests.fakes.runs import StopAfter, fingerprint, metrics, prepare, tiny_run, train


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_classifier(folder)
    return folder / "classifier"


def configuration(model, **fields):
    return replace(
        tiny_run("silri", steps=40),
        env_name=NAME,
        env=FakeEnvConfig(kind="fake/one-arm"),
        vision=VisionConfig(encoder=ENCODER, size=8),
        reward=RewardConfig(model=str(model), consecutive=1),
        **fields,
    )


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "run"
    return train(configuration(model), path), path


def test_training_is_rewarded_by_the_classifier(finished):
    """The lamp is the success, so that both agree here; test_judge.py has where they do not."""
    run, _ = finished
    episodes = [run.store.read(index) for index in range(len(run.store.rows))]
    assert {episode.success for episode in episodes if not episode.is_demo} == {True, False}
    for episode in episodes:
        expected = np.full(len(episode), -0.05, np.float32)
        if episode.success:
            expected[-1] = 10.0
        np.testing.assert_array_equal(episode.frames["reward"], expected)
        assert episode.frames["terminated"][-1] == episode.success
        lamp = episode.observations["front"][1:, :8, :8].min(axis=(1, 2, 3)) == 255
        assert lamp[-1] == episode.success
        assert not lamp[:-1].any()


def test_an_evaluation_has_both_numbers(finished):
    run, path = finished
    rows = [row for row in metrics(path) if "evaluation/success_rate" in row]
    assert len(rows) == len(run.state.evaluations) > 1
    for row in rows:
        assert row["evaluation/classifier_success_rate"] == row["evaluation/success_rate"]
        assert row["evaluation/classifier_agreement"] == 1.0


def test_a_run_goes_on_with_the_classifier_that_it_began_with(finished, model, tmp_path):
    whole, _ = finished
    copied = tmp_path / "model"
    shutil.copytree(model, copied)
    config, path = configuration(copied), tmp_path / "run"
    with pytest.raises(Interrupted):
        prepare(config, path, stop=StopAfter(13)).run()
    shutil.rmtree(copied)
    resumed = train(config, path)
    assert fingerprint(resumed) == fingerprint(whole)
    assert with_kept_classifier(config, path).reward.model == str(path / CLASSIFIER)
    assert with_kept_classifier(config, tmp_path) == config


def test_a_classifier_that_cannot_judge_is_refused_before_anything_is_written(model, tmp_path):
    with pytest.raises(DataError, match="nowhere holds no success classifier"):
        open_env_and_operator(configuration(Path("nowhere")))
    blind = replace(configuration(model), env_name=point.NAME)
    with pytest.raises(ConfigError, match="looks at 'front'"):
        open_env_and_operator(blind)
    env, _ = open_env_and_operator(replace(configuration(model), env_name=cameras.NAME))
    assert not env.config.end_on_success  # nothing but the classifier ends a success


def test_what_watches_a_finished_run_is_its_own_copy(finished, tmp_path):
    run, path = finished
    assert judge_of(run.config, SPEC, path) is not None
    assert judge_of(run.config, SPEC, tmp_path) is None
    assert judge_of(replace(run.config, reward=RewardConfig()), SPEC, path) is None
