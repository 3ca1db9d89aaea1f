"""Evaluation with disturbances, on a point that is kicked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from silri.core.errors import ConfigError, EnvironmentFault
from silri.core.seeding import Stream, rng
from silri.evaluation.disturbance import (
    Disturbed,
    DisturbedResult,
    evaluate_disturbed,
    offered,
    robustness,
)
from silri.evaluation.evaluate import EvaluationResult, evaluate
from silri.evaluation.statistics import wilson_interval
from tests.fakes.envs.point import PointMass


class Kickable(PointMass):
    """A point whose place is thrown far off in step 2, or never, or which breaks."""

    disturbances = ("kick", "never", "break")

    def __init__(self):
        super().__init__()
        self.offers = []  # (episode, step, kind, first draw)

    def disturb(self, kind, rng):
        self.offers.append((len(self.resets) - 1, self._taken, kind, rng.random()))
        if kind == "break":
            raise EnvironmentFault("kicked to pieces")
        if kind == "never" or self._taken < 2:
            return False
        self._place = self._place + 50.0
        return True


def expert(env):
    return lambda observation, episode, step: env.privileged().expert_action


def late(env):
    """An expert that does nothing for three steps, and then is there at once."""

    def act(observation, episode, step):
        return env.privileged().expert_action if step >= 3 else np.zeros(4)

    return act


def test_each_episode_is_disturbed_once_on_the_layouts_of_every_evaluation():
    calm, env = PointMass(), Kickable()
    evaluate(calm, late(calm), 5)
    result = evaluate_disturbed(env, late(env), 5, "kick")
    assert env.resets == calm.resets
    assert result.occurred.tolist() == [True] * 5
    assert [offer[:3] for offer in env.offers] == [
        (episode, step, "kick") for episode in range(5) for step in range(3)
    ]


def test_what_happens_is_decided_by_the_layout_alone():
    env = Kickable()
    evaluate_disturbed(env, late(env), 4, "kick")
    for episode, _, _, drawn in env.offers:
        assert drawn == rng(0, Stream.DISTURBANCE, episode).random()
    assert len({drawn for *_, drawn in env.offers}) == 4
    later = Kickable()
    evaluate_disturbed(later, late(later), 2, "kick", first=2)
    assert later.resets == env.resets[2:]
    assert {o[3] for o in later.offers} == {o[3] for o in env.offers if o[0] >= 2}
    other = Kickable()
    evaluate_disturbed(other, lambda *_: np.ones(4), 4, "kick")
    assert {(o[0], o[3]) for o in other.offers} == {(o[0], o[3]) for o in env.offers}


def test_it_happens_between_the_decision_and_its_execution():
    env = Kickable()
    seen = []

    def act(observation, episode, step):
        seen.append(observation["state"][0])
        return np.zeros(4)

    evaluate_disturbed(env, act, 1, "kick")
    assert abs(seen[2]) < 1.5 == seen[3]  # the place is clipped to its box
    assert env.offers[-1][1] == 2


def test_an_episode_that_is_over_before_is_not_disturbed():
    env = Kickable()
    result = evaluate_disturbed(env, expert(env), 12, "kick")
    quick = result.evaluation.lengths <= 2
    assert quick.any()
    np.testing.assert_array_equal(result.occurred, ~quick)


def test_the_row_counts_what_was_disturbed():
    successes = np.array([True, False, True, False])
    evaluation = EvaluationResult(
        successes, np.array([3, 8, 5, 8]), *(np.zeros(4), np.zeros(4, bool), np.ones(4, bool))
    )
    row = DisturbedResult(evaluation, np.array([False, True, True, True])).row()
    low, high = wilson_interval(2, 4)
    assert row == {
        "success_rate": 0.5,
        "successes": 2,
        "episodes": 4,
        "ci_low": low,
        "ci_high": high,
        "mean_success_length": 4.0,
        "mean_return": 0.0,
        "faults": 0,
        "occurred": 3,
        "success_rate_occurred": 1 / 3,
    }


def test_what_is_not_known_is_null_and_not_nan():
    env = Kickable()
    row = evaluate_disturbed(env, lambda *_: np.zeros(4), 3, "never").row()
    assert row["occurred"] == 0
    assert row["success_rate_occurred"] is None
    assert row["mean_success_length"] is None
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_a_fault_in_the_disturbance_is_a_failure_and_the_evaluation_goes_on():
    result = evaluate_disturbed(Kickable(), lambda *_: np.zeros(4), 3, "break")
    assert result.evaluation.faults.all()
    assert not result.occurred.any()


def test_a_reset_that_fails_shifts_nothing():
    class Sleepy(Kickable):
        def reset(self, *, seed=None, options=None):
            observation = super().reset(seed=seed)
            if len(self.resets) == 2:
                raise EnvironmentFault("the simulator does not wake up")
            return observation

    env = Sleepy()
    result = evaluate_disturbed(env, late(env), 4, "kick")
    assert result.evaluation.faults.tolist() == [False, True, False, False]
    assert result.occurred.tolist() == [True, False, True, True]
    for episode, _, _, drawn in env.offers:
        assert drawn == rng(0, Stream.DISTURBANCE, episode).random()


def test_all_rows_in_order_the_first_undisturbed():
    env, calm = Kickable(), PointMass()
    rows = robustness(env, late(env), 4)
    assert list(rows) == ["none", "kick", "never", "break"]
    metrics = evaluate(calm, late(calm), 4).metrics()
    assert {key: rows["none"][key] for key in metrics} == metrics
    assert rows["none"]["occurred"] == 0
    assert rows["never"] == rows["none"]
    assert rows["kick"]["occurred"] == 4


@pytest.mark.parametrize("kinds", [None, ()])
def test_an_environment_without_any_is_an_error(kinds):
    env = PointMass()
    if kinds is not None:
        env.disturbances, env.disturb = kinds, lambda kind, rng: True
    for call in (offered, lambda env: robustness(env, expert(env), 1)):
        with pytest.raises(ConfigError, match=r"fake/one-arm offers no disturbances"):
            call(env)
    assert not env.resets


def test_a_kind_that_is_not_offered_is_an_error():
    with pytest.raises(ConfigError, match="no disturbance 'push'; it offers kick, never, break"):
        evaluate_disturbed(Kickable(), lambda *_: np.zeros(4), 1, "push")


def test_closing_it_closes_the_environment():
    env = Kickable()
    Disturbed(env, "kick").close()
    assert env.closed
