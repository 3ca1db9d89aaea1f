"""What critics learn from does not depend on the unit that somebody measures rewards in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from silri.runtime.learn import reward_scale
from silri.runtime.session import Interrupted
from silri.store.dataset import read_dataset
from tests.data.episodes import make_episode
from tests.fakes.envs.point import FakeEnvConfig, PointMass
from tests.fakes.runs import StopAfter, fingerprint, prepare, tiny_agent, tiny_run, train

SPEC = PointMass().env_spec


def run_with(factor, unit=10.0, agent="silri", **fields):
    """A tiny run whose every reward is ``factor`` times the usual."""
    usual = FakeEnvConfig(kind="fake/one-arm")
    env = replace(
        usual,
        success_reward=factor * usual.success_reward,
        step_reward=factor * usual.step_reward,
        grasp_penalty=factor * usual.grasp_penalty,
    )
    config = tiny_run(agent, **fields)
    return replace(config, env=env, agent=tiny_agent(agent, reward_unit=unit))


def parameters(run):
    return fingerprint(run)["parameters"]


def test_the_scale_brings_the_largest_return_to_the_unit():
    demo = make_episode(SPEC, 0, 3, is_demo=True)
    demo.frames["reward"][:] = [-1.0, -2.0, 0.5]
    config = tiny_agent(reward_unit=10.0, discount=0.5)
    assert reward_scale(config, [demo]) == pytest.approx(10 / 1.875)  # 1 + 0.5 (2 - 0.5 0.5)
    assert reward_scale(replace(config, reward_unit=0.0), [demo]) == 1.0
    assert reward_scale(config, []) == 1.0
    demo.frames["reward"][:] = 0
    assert reward_scale(config, [demo]) == 1.0  # nobody knows what there is to earn


@pytest.mark.parametrize("agent", ["silri", "hil_serl"])
@pytest.mark.parametrize("factor", [0.125, 16.0])
def test_rewards_of_another_size_are_learned_alike(agent, factor, tmp_path):
    usual = train(run_with(1.0, agent=agent), tmp_path / "usual")
    other = train(run_with(factor, agent=agent), tmp_path / "other")
    assert other.mixer.reward_scale == pytest.approx(1 / factor)
    assert parameters(usual) == parameters(other)  # powers of two: no rounding differs, either
    raw = train(run_with(factor, unit=0.0, agent=agent), tmp_path / "raw")
    assert parameters(usual) != parameters(raw)


def test_rewards_of_ten_are_in_the_unit_already(tmp_path):
    """So results that were made before there was one are results of today's default."""
    scaled, raw = train(run_with(1.0), tmp_path / "a"), train(run_with(1.0, 0.0), tmp_path / "b")
    assert scaled.mixer.reward_scale == 1.0
    assert fingerprint(scaled) == fingerprint(raw)


def test_a_resumed_run_keeps_its_unit(tmp_path):
    whole = train(run_with(0.1), tmp_path / "whole")
    with pytest.raises(Interrupted):
        prepare(run_with(0.1), tmp_path / "run", stop=StopAfter(13)).run()
    resumed = train(run_with(0.1), tmp_path / "run")
    assert resumed.mixer.reward_scale == whole.mixer.reward_scale == pytest.approx(10.0)
    assert fingerprint(resumed) == fingerprint(whole)


def test_what_is_stored_has_the_rewards_of_the_environment(tmp_path):
    train(run_with(0.1), tmp_path / "run")
    rewards = np.concatenate(
        [episode.frames["reward"] for episode in read_dataset(tmp_path / "run/episodes")]
    )
    assert set(rewards.tolist()) == {1.0, float(np.float32(-0.005))}


@pytest.mark.parametrize("reward", ["sparse", "env"])
def test_a_dataset_takes_on_sparse_rewards(reward, tmp_path):
    train(run_with(0.1, steps=30), tmp_path / "given")
    config = run_with(1.0, steps=10)
    config = replace(
        config,
        env=replace(config.env, reward=reward),
        data=replace(config.data, dataset=str(tmp_path / "given/episodes")),
    )
    run = train(config, tmp_path / "run")
    given, stored = read_dataset(tmp_path / "given/episodes"), read_dataset(run.folder.episodes)
    assert any(not episode.success for episode in given)
    for before, after in zip(given, stored, strict=False):
        assert after.success == before.success
        if reward == "env":  # whatever the environment gives: nobody can say what it would have
            np.testing.assert_array_equal(after.frames["reward"], before.frames["reward"])
            continue
        expected = np.full(len(before), -0.05, np.float32)
        expected[-1] = 10.0 if before.success else -0.05
        np.testing.assert_array_equal(after.frames["reward"], expected)
