"""A run that begins with the policy of an earlier one."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import ConfigError, DataError
from silri.core.events import Notice
from silri.runtime.keeping.export import load_policy
from silri.runtime.session import Interrupted
from silri.runtime.starting.opening import open_env_and_operator
from silri.runtime.starting.prepare import started_from
from silri.vision.config import VisionConfig
from silri.vision.sight import Sight
from tests.fakes.envs.cameras import ENCODER, NAME, SeenPoint
from tests.fakes.envs.point import FakeEnvConfig
from tests.fakes.runs import Recorder, StopAfter, fingerprint, tiny_run, train


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    path = tmp_path_factory.mktemp("before") / "run"
    train(tiny_run("bc", steps=0), path)
    return path


def later(path, agent="silri", **fields):
    return tiny_run(agent, start_from=str(path), **fields)


def test_a_run_begins_as_that_policy_and_ends_as_itself(before, tmp_path):
    recorder, config = Recorder(), later(before)
    run = train(config, tmp_path / "run", subscribers=[recorder])
    assert f"the policy begins as that of {before}" in [n.text for n in recorder.of(Notice)]
    trained, _, spec = load_policy(before / "policy")
    sight = Sight(config.vision, spec)
    fresh = type(run.agent).create(config.agent, spec, 0, config.augment)
    agent, _ = started_from(config, fresh, sight)
    seen = {k: np.ones(a.shape, a.dtype) for k, a in spec.observation.items()}
    wanted = trained.act_deterministic(seen)
    np.testing.assert_array_equal(agent.act_deterministic(seen), wanted)
    # The statistics are the policy's, and are kept.
    for key, mean in trained.agent.normalizer.mean.items():
        np.testing.assert_array_equal(run.agent.normalizer.mean[key], mean)
    assert fingerprint(run) != fingerprint(train(tiny_run(), tmp_path / "anew"))


def test_a_stopped_run_goes_on_without_what_it_began_with(before, tmp_path):
    source = tmp_path / "copy"
    shutil.copytree(before / "policy", source)  # an export alone will do
    whole = train(later(source), tmp_path / "whole")
    stop = StopAfter(20)
    with pytest.raises(Interrupted):
        train(later(source), tmp_path / "run", stop=stop)
    shutil.rmtree(source)
    assert fingerprint(train(later(source), tmp_path / "run")) == fingerprint(whole)


def test_what_does_not_fit_is_refused_before_anything_is_written(before, tmp_path):
    for path, error, message in (
        (tmp_path / "none", DataError, "none/policy holds no exported policy"),
        (before, ConfigError, r"the policy of .* is another network"),
    ):
        agent = "conrft" if path == before else "silri"
        with pytest.raises(error, match=message):
            open_env_and_operator(later(path, agent))
    open_env_and_operator(later(tmp_path / "none"), learns=False)  # a robot has no copy of it


def test_eyes_come_with_the_policy(tmp_path):
    vision = VisionConfig(encoder=ENCODER, size=8)
    where = {"env_name": NAME, "env": FakeEnvConfig(kind="fake/one-arm"), "vision": vision}
    seen = train(replace(tiny_run("bc", steps=0), **where), tmp_path / "seen")
    run = train(replace(later(tmp_path / "seen"), **where, seed=5), tmp_path / "run")
    observation = SeenPoint().reset(seed=3)[0]
    for key, features in seen.sight(observation).items():
        np.testing.assert_array_equal(run.sight(observation)[key], features)
