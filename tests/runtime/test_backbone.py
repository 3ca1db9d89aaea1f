"""A run that stands on a vision-language-action model: stopped, resumed, exported, broken."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

import silri
from silri.core.errors import BackboneFault, ConfigError
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import SpoolPaths
from silri.runtime.cluster.policy import RobotPolicy
from silri.runtime.keeping.export import encode_parameters, load_policy
from silri.runtime.learn import learn
from silri.runtime.session import Interrupted
from silri.vision.config import VisionConfig
from silri.vla.config import VlaConfig
from tests.fakes.envs.point import FakeEnvConfig
from tests.fakes.models import backbones
from tests.fakes.models.backbones import ACTION, MODEL, NAME, AskedPoint
from tests.fakes.runs import StopAfter, fingerprint, metrics, summary, tiny_run, train

VLA = VlaConfig(model=MODEL, size=8, prior_action=True)


def configuration(agent="conrft", **vla):
    where = {"env_name": NAME, "env": FakeEnvConfig(kind="fake/one-arm")}
    # No eyes are opened: the model stands in their place.
    eyes = VisionConfig(encoder="nobody:knows")
    return replace(tiny_run(agent, steps=24), **where, vision=eyes, vla=replace(VLA, **vla))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("vla") / "run"
    return train(configuration(), path), path


def observed():
    return AskedPoint().reset(seed=3)[0]


def test_conrft_stands_on_the_embedding_and_the_action(finished):
    run, _ = finished
    batch = run.mixer.guidance.sample(np.random.default_rng(0), (2, 4))
    shapes = {key: value.shape[2:] for key, value in batch.observation.items()}
    assert shapes == {"state": (4,), "embedding": (8,), "prior_action": (ACTION,)}
    assert run.store.read(0).observations["front"].dtype == np.uint8  # the disk keeps pictures


def test_no_update_asks_the_model(finished, monkeypatch):
    run, _ = finished
    monkeypatch.setattr(type(run.sight._embedder), "__call__", None)
    agent, _, _ = learn(run.agent, run.mixer, 0, run.state.updates, "online")
    assert int(agent.iterations) == int(run.agent.iterations) + 1


def test_a_run_that_was_stopped_ends_as_the_one_that_was_not(finished, tmp_path):
    run, path = finished
    with pytest.raises(Interrupted):
        train(configuration(), tmp_path / "run", stop=StopAfter(13))
    resumed = train(configuration(), tmp_path / "run")
    assert fingerprint(resumed) == fingerprint(run)
    assert metrics(tmp_path / "run") == metrics(path)
    assert summary(tmp_path / "run") == summary(path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("load_other", "vision-language model 'fake, 40 numbers'.*here is 'other, 40 numbers'"),
        ("load_drifting", "made with fake by numpy; here it runs by other torch.*the same bits"),
    ],
)
def test_another_model_cannot_resume_it(finished, tmp_path, model, message):
    folder = shutil.copytree(finished[1], tmp_path / "run")
    with pytest.raises(ConfigError, match=message):
        train(configuration(model=f"tests.fakes.models.backbones:{model}"), folder)


def test_a_policy_knows_which_model_it_needs(finished):
    run, path = finished
    loaded, config, _ = load_policy(path / "policy")
    assert config.vla == VLA
    expected = run.acting.act_deterministic(observed())
    np.testing.assert_array_equal(loaded.act_deterministic(observed()), expected)
    np.testing.assert_array_equal(silri.load(path)(observed()), expected)


def test_a_robot_of_a_cluster_sees_as_the_learner_does(finished, tmp_path):
    run, _ = finished
    paths = SpoolPaths(tmp_path)
    policy = RobotPolicy(configuration(), AskedPoint().env_spec, paths)
    write_parameters(paths.policy, pack(Parameters(7, encode_parameters(run.acting))))
    assert policy.refresh()
    policy.noise = 5
    action, _ = policy.propose(observed(), episode=0, step=1)
    expected, _ = run.acting.act(observed(), episode=5, step=1, explore=True)
    np.testing.assert_array_equal(action, expected)


class Closing(AskedPoint):
    """Tells that it was let go of: a real arm stops then."""

    closed = False

    def close(self):
        self.closed = True


class SwitchAfter(StopAfter):
    """Stops nothing: after so many steps the models of the fakes fail."""

    def on_event(self, event):
        super().on_event(event)
        backbones.SWITCH.on = self.left <= 0

    def __call__(self):
        return False


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("load_broken", "vision-language model 'broken': its embedding is not finite"),
        ("load_silent", "the feature server at 127.0.0.1:1 has not answered within 1 s"),
    ],
)
def test_a_model_that_fails_stops_the_run_which_can_be_resumed(
    finished, tmp_path, monkeypatch, model, message
):
    monkeypatch.setattr(backbones.SWITCH, "on", False)
    config, arm = configuration(model=f"tests.fakes.models.backbones:{model}"), Closing()
    with pytest.raises(BackboneFault, match=message):
        train(config, tmp_path / "run", env=arm, stop=SwitchAfter(17))
    assert arm.closed
    assert not list((tmp_path / "run").glob("quarantine/*.parquet"))
    backbones.SWITCH.on = False
    resumed = train(config, tmp_path / "run")
    assert fingerprint(resumed) == fingerprint(finished[0])
