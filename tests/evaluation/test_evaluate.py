from __future__ import annotations

import math

import numpy as np
import pytest

from silri.core.seeding import Stream, derive_seed
from silri.evaluation.evaluate import evaluate, sampling_actor
from silri.evaluation.statistics import wilson_interval
from tests.fakes.envs.point import FakeEnvConfig, PointMass
from tests.fakes.models.words import ToldPoint


def expert(env):
    return lambda observation, episode, step: env.privileged().expert_action


def idle(observation, episode, step):
    return np.zeros(4, np.float32)


def test_layouts_are_fixed_and_none_that_training_can_draw():
    first, second = PointMass(), PointMass()
    evaluate(first, idle, 6)
    evaluate(second, expert(second), 6)
    assert first.resets == second.resets
    assert len(set(first.resets)) == 6
    assert first.resets == [derive_seed(77, Stream.EVALUATION_LAYOUT, i) for i in range(6)]
    assert min(first.resets) >= 1 << 30  # training seeds are all below
    longer = PointMass()
    evaluate(longer, idle, 9)
    assert longer.resets[:6] == first.resets  # more episodes: the same ones and more
    later = PointMass()
    evaluate(later, idle, 3, first=6)
    assert later.resets == longer.resets[6:]


def test_what_succeeds_is_counted_with_its_length_and_return():
    env = PointMass()
    result = evaluate(env, expert(env), 5)
    assert result.successes.all()
    assert not result.faults.any()
    assert env.steps == result.lengths.sum()
    np.testing.assert_allclose(result.returns, 10.0 - 0.05 * (result.lengths - 1))
    metrics = result.metrics()
    assert metrics["success_rate"] == 1.0
    assert (metrics["successes"], metrics["episodes"], metrics["faults"]) == (5.0, 5.0, 0.0)
    assert metrics["mean_success_length"] == result.lengths.mean()
    assert (metrics["ci_low"], metrics["ci_high"]) == wilson_interval(5, 5)


def test_a_time_out_is_a_failure_and_no_fault():
    env = PointMass()
    result = evaluate(env, idle, 3)
    assert not result.successes.any()
    assert not result.faults.any()
    assert (result.lengths == env.env_spec.max_episode_steps).all()
    assert math.isnan(result.metrics()["mean_success_length"])


def test_only_successes_have_a_success_length():
    env = PointMass()

    def every_other(observation, episode, step):
        return env.privileged().expert_action if episode % 2 else np.zeros(4)

    result = evaluate(env, every_other, 6)
    np.testing.assert_array_equal(result.successes, [False, True] * 3)
    assert result.metrics()["mean_success_length"] == result.lengths[1::2].mean()


def test_the_actor_is_told_where_it_is():
    asked = []

    def remember(observation, episode, step):
        asked.append((episode, step))
        return np.zeros(4)

    evaluate(PointMass(), remember, 2)
    assert asked == [(episode, step) for episode in range(2) for step in range(8)]


def test_actions_are_clipped_and_grippers_snapped():
    evaluate(PointMass(), lambda *_: np.array([7.0, -7.0, 0.1, 0.3]), 1)  # the fake asserts it


@pytest.mark.parametrize(
    "fault", ["nan-observation", "wrong-shape", "raises", "nan-reset", "reset-raises"]
)
def test_a_fault_is_a_failure_and_the_evaluation_goes_on(fault):
    env = FakeEnvConfig(kind=f"fake/one-arm!{fault}:1@0").create()
    env._seeds = {derive_seed(0, Stream.EVALUATION_LAYOUT, 1)}
    result = evaluate(env, idle, 3)
    np.testing.assert_array_equal(result.faults, [False, True, False])
    assert not result.successes.any()
    assert result.metrics()["faults"] == 1.0


def test_sampling_never_shares_a_random_key_with_training():
    asked = []

    class Agent:
        def act(self, observation, *, episode, step, explore):
            asked.append(episode)
            assert explore
            return np.zeros(4, np.float32), {}

    evaluate(PointMass(), sampling_actor(Agent()), 3)
    assert min(asked) >= 1 << 30
    assert len(set(asked)) == 3


def test_success_of_each_task_where_there_are_several():
    env = ToldPoint()

    def goes_left(observation, episode, step):
        move = env.privileged().expert_action
        return np.where(env._goal[0, 0] < 0, move, -move).clip(-1, 1).astype(np.float32)

    result = evaluate(env, goes_left, 12)
    left = sum(task == "left" for task in result.tasks)
    assert set(result.tasks) == {"left", "right"}
    assert result.by_task() == {"left": (left, left), "right": (0, 12 - left)}
    metrics = result.metrics()
    assert metrics["success_rate/left"] == 1.0
    assert metrics["success_rate/right"] == 0.0
    assert metrics["episodes/left"] == left
    assert metrics["success_rate"] == left / 12


def test_one_task_alone_has_no_table():
    result = evaluate(PointMass(), idle, 2)
    assert result.tasks == ("", "")
    assert result.by_task() == {}
    assert not any("/" in name for name in result.metrics())
