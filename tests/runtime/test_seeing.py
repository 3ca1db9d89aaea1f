"""A run that sees by frozen eyes: a stop and a resumption, its export, a robot's policy."""

from __future__ import annotations

import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from silri.core.errors import ConfigError, DataError
from silri.evaluation.evaluate import mean_actor, sampling_actor
from silri.runtime.cluster.parameters import Parameters, pack, write_parameters
from silri.runtime.cluster.paths import SpoolPaths
from silri.runtime.cluster.policy import RobotPolicy
from silri.runtime.keeping.export import encode_parameters, load_policy
from silri.vision.config import VisionConfig
from silri.vision.files import FILE
from tests.fakes.envs.cameras import ENCODER, NAME, OTHER_ENCODER, SeenPoint
from tests.fakes.envs.point import FakeEnvConfig
from tests.fakes.runs import assert_equal_runs, interrupt, prepare, tiny_run, train

VISION = VisionConfig(encoder=ENCODER, size=8)


def configuration(agent="silri", vision=VISION):
    where = {"env_name": NAME, "env": FakeEnvConfig(kind="fake/one-arm")}
    return replace(tiny_run(agent, steps=40), **where, vision=vision)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("seen") / "run"
    return train(configuration(), path), path


def frames(seed=3):
    return SeenPoint().reset(seed=seed)[0]


def test_the_store_keeps_frames_and_the_replay_features(finished):
    run, _ = finished
    stored = run.store.read(0)
    assert stored.observations["front"].dtype == np.uint8
    batch = run.mixer.online.sample(np.random.default_rng(0), (2, 4))
    assert batch.observation["front"].shape == (2, 4, 8)
    assert batch.observation["front"].dtype == np.float16
    seen = run.sight.episode(stored).observations["front"]
    guidance = run.mixer.guidance.at(np.arange(len(stored)))
    np.testing.assert_array_equal(guidance.observation["front"], seen[:-1])


def test_the_policy_decides_by_what_it_sees(finished):
    """The goal is in the pictures only."""
    run, _ = finished
    one, other = frames(3), {**frames(3), "front": frames(4)["front"], "side": frames(4)["side"]}
    assert not np.array_equal(
        run.acting.act_deterministic(one), run.acting.act_deterministic(other)
    )


@pytest.mark.parametrize("steps", [3, 33])
def test_a_run_that_was_stopped_ends_as_the_one_that_was_not(finished, tmp_path, steps):
    interrupt(configuration(), tmp_path / "run", steps)
    resumed = train(configuration(), tmp_path / "run")
    assert_equal_runs(resumed, tmp_path / "run", *finished)


def test_an_exported_policy_sees_the_same(finished):
    run, path = finished
    assert (path / "policy" / FILE).is_file()
    loaded, _, spec = load_policy(path / "policy")
    assert spec.observation == dict(SeenPoint().env_spec.observation)
    for act in (mean_actor, sampling_actor):
        mine, theirs = (act(acting)(frames(), 0, 2) for acting in (run.acting, loaded))
        np.testing.assert_array_equal(mine, theirs)
    batch = {key: np.stack([value, value]) for key, value in frames().items()}
    assert loaded.act_deterministic(batch).shape == (2, 4)


def test_a_policy_of_one_encoder_refuses_another(finished, tmp_path):
    _, path = finished
    folder = shutil.copytree(path, tmp_path / "run")
    with pytest.raises(ConfigError, match="'fake' .* here is 'other'"):
        train(configuration(vision=replace(VISION, encoder=OTHER_ENCODER)), folder)


def test_a_robot_of_a_cluster_sees_with_what_the_learner_fitted(finished, tmp_path):
    run, _ = finished
    config, paths = configuration(), SpoolPaths(tmp_path)
    policy = RobotPolicy(config, SeenPoint().env_spec, paths)
    policy.warm_up()  # before there is anything to see with
    write_parameters(paths.policy, pack(Parameters(7, encode_parameters(run.acting))))
    assert policy.refresh()
    policy.noise = 5
    action, _ = policy.propose(frames(), episode=0, step=1)
    expected, _ = run.acting.act(frames(), episode=5, step=1, explore=True)
    np.testing.assert_array_equal(action, expected)


def test_maps_are_pooled_by_each_network(tmp_path):
    run = train(configuration("bc", replace(VISION, keep="maps")), tmp_path / "run")
    batch = run.mixer.guidance.sample(np.random.default_rng(0), (1, 2))
    assert batch.observation["front"].shape == (1, 2, 4, 4, 6)
    names = str(jax.tree_util.tree_structure(run.agent.actor.params))
    assert "pooling_front" in names
    assert "pooling_side" in names
    loaded, _, _ = load_policy(tmp_path / "run" / "policy")
    np.testing.assert_array_equal(
        loaded.act_deterministic(frames()), run.acting.act_deterministic(frames())
    )


@pytest.mark.parametrize("agent", ["bc", "hil_serl"])
def test_every_agent_sees(tmp_path, agent):
    run = train(configuration(agent), tmp_path / "run")
    assert run.state.env_steps >= 40 or not run.config.agent.learns_online


def test_frames_are_kept_for_eyes_that_learn(tmp_path):
    run = prepare(configuration("bc", replace(VISION, keep="frames")), tmp_path / "run")
    kept, _, _ = run.mixer.online.signature
    assert kept["front"].dtype == "uint8"
    run.store.close()


def test_frozen_eyes_without_demonstrations_are_refused(tmp_path):
    config = configuration()
    config = replace(config, data=replace(config.data, demos=0))
    with pytest.raises(DataError, match="nothing to fit what the cameras see on"):
        train(config, tmp_path / "run")
