"""``summary.json`` from hand-made counters; docs/guides/benchmark.md has the definitions."""

from __future__ import annotations

import dataclasses
import json

import pytest

from silri.evaluation.statistics import wilson_interval
from silri.evaluation.summary import summarise
from silri.runtime.keeping.state import RunState
from tests.fakes.envs.point import NAME
from tests.fakes.runs import tiny_run


def evaluation(step, rate, interventions=0, length=5.0):
    return {
        "step": step,
        "success_rate": rate,
        "successes": rate * 10,
        "episodes": 10.0,
        "mean_success_length": length,
        "intervention_steps": interventions,
    }


STATE = RunState(
    env_steps=40,
    episodes=5,
    updates=30,
    demo_episodes=2,
    demo_steps=11,
    intervention_steps=8,
    interventions=3,
    successes=4,
    successes_alone=2,
    episodes_alone=3,
    quarantined=1,
    evaluations=[
        evaluation(10, 0.9, 2),
        evaluation(20, 0.8, 3),
        evaluation(30, 0.9, 5),
        evaluation(40, 1.0, 8),
    ],
    train_wall_s=8.0,
    eval_wall_s=2.0,
    wall_s=10.0,
)


def test_counts_and_rates():
    summary = summarise(tiny_run(steps=40, seed=3), STATE)
    json.dumps(summary, allow_nan=False)
    expected = {
        "agent": "silri",
        "preset": "default",
        "env": NAME,
        "operator": "steady",
        "seed": 3,
        "env_steps": 40,
        "episodes": 5,
        "intervention_rate": 8 / 40,
        "human_seconds": pytest.approx(0.8),
        "demo_seconds": pytest.approx(1.1),
        "success_rate": 1.0,
        "success_ci95": list(wilson_interval(10, 10)),
        "final_success": pytest.approx(0.9),  # mean of the last three
        "learner_updates_per_s": 30 / 8,
        "env_steps_per_s": 40 / 8,
        "successes": 4,
        "successes_alone": 2,
        "episodes_alone": 3,
        "quarantined": 1,
        "completed": True,
    }
    assert {key: summary[key] for key in expected} == expected


def test_a_person_s_seconds_are_real_ones_where_the_loop_keeps_a_rate():
    config = tiny_run(steps=40)
    paced = dataclasses.replace(config, runtime=dataclasses.replace(config.runtime, rate_hz=20.0))
    summary = summarise(paced, STATE)
    assert (summary["human_seconds"], summary["demo_seconds"]) == pytest.approx((0.4, 0.55))


def test_steps_to_90_is_the_first_of_two_in_a_row():
    summary = summarise(tiny_run(steps=40), STATE)
    assert summary["steps_to_90"] == 30
    assert summary["intervention_steps_to_90"] == 5


def test_the_closing_evaluation_counts_once():
    rows = [evaluation(10, 0.8), evaluation(20, 0.8), evaluation(30, 0.9), evaluation(32, 1.0)]
    summary = summarise(tiny_run(steps=30), RunState(env_steps=32, evaluations=rows))
    assert summary["steps_to_90"] is None
    assert summary["final_success"] == pytest.approx((0.8 + 0.8 + 0.9) / 3)
    assert summary["success_rate"] == 1.0  # of the policy that is left
    assert len(summary["evaluations"]) == 4


def test_before_the_first_evaluation_nothing_is_known():
    summary = summarise(tiny_run(steps=40), RunState())
    json.dumps(summary, allow_nan=False)
    for key in ("success_rate", "success_ci95", "steps_to_90", "mean_success_length"):
        assert summary[key] is None
    assert summary["intervention_rate"] == 0.0
    assert summary["completed"] is False


def test_nobody_succeeded():
    state = RunState(env_steps=10, evaluations=[evaluation(10, 0.0, length=float("nan"))])
    summary = summarise(tiny_run(steps=40), state)
    json.dumps(summary, allow_nan=False)
    assert summary["mean_success_length"] is None
    assert summary["steps_to_90"] is None
    assert summary["intervention_steps_to_90"] is None


@pytest.mark.parametrize(
    ("agent", "env_steps", "evaluated_at", "completed"),
    [
        ("silri", 40, 40, True),
        ("silri", 44, 44, True),  # the last episode is finished
        ("silri", 39, 39, False),
        ("silri", 40, 30, False),  # what came of it is not evaluated yet
        ("bc", 0, 0, True),
        ("bc", 0, None, False),
    ],
)
def test_completed(agent, env_steps, evaluated_at, completed):
    evaluations = [] if evaluated_at is None else [evaluation(evaluated_at, 0.5)]
    state = RunState(env_steps=env_steps, evaluations=evaluations)
    assert summarise(tiny_run(agent, steps=40), state)["completed"] is completed
