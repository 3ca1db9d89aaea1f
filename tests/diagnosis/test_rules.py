"""Every rule speaks of the run that is sick in its way, and all are silent on a healthy one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from silri.configs.run import RunConfig, RuntimeConfig
from silri.core.specs import ActionSpec
from silri.diagnosis.evidence import Evidence
from silri.diagnosis.report import as_page, as_text
from silri.diagnosis.rules import RULES, diagnose
from tests.conftest import make_spec
from tests.data.episodes import make_episode

EPISODES, LENGTH = 30, 40
SPEC = make_spec(ActionSpec(4, gripper=(3,)))


def rows(**changes):
    """A run of 30 episodes; ``changes`` are values, or functions of the episode's number."""
    usual = {
        "episode/length": lambda i: LENGTH + i % 7,
        "episode/success": lambda i: float(i % 2),
        "episode/return": lambda i: 10.0 * (i % 2) - 0.05 * LENGTH,
        "episode/intervention_steps": 10.0,
        "episode/terminated": lambda i: float(i % 2),
        "critic/q": 4.0,
        "mix/online": 0.5,
        "mix/human": 0.4,
        "multiplier/mean": 0.4,
        "multiplier/violation": -0.1,
        "expert/std": 0.3,
        "evaluation/success_rate": 0.6,
        "loop/late": 0.0,
        "loop/period_p99_ms": 51.0,
    }
    table = []
    for i in range(EPISODES):
        values = {k: v(i) if callable(v) else v for k, v in (usual | changes).items()}
        kept = {k: float(v) for k, v in values.items() if v is not None}
        table.append({"step": (i + 1) * LENGTH, **kept})
    return table


def episodes(count=12, *, demo=False, human=0.0, policy=0.0, observed=0.0):
    """Episodes whose gripper, the last action, is ``human`` and ``policy`` at every second step."""
    made = []
    for index in range(count):
        episode = make_episode(SPEC, index, LENGTH, is_demo=demo)
        frames = dict(episode.frames)
        for name, value in (("human_action", human), ("policy_action", policy)):
            action = np.array(frames[name], np.float32)
            action[:] = np.random.default_rng(index).uniform(-0.5, 0.5, action.shape)
            action[:, -1] = -1.0
            action[::2, -1] = value
            frames[name] = action
        seen = {
            key: np.random.default_rng(index).uniform(-1, 1, value.shape).astype(np.float32)
            + np.float32(observed)
            for key, value in episode.observations.items()
        }
        frames["reward"] = np.zeros(LENGTH, np.float32)
        made.append(replace(episode, frames=frames, observations=seen))
    return made


def run(config=None, summary=None, demonstrations=None, recent=None, **changes):
    config = config or RunConfig.from_preset("silri")
    return Evidence(
        "sick",
        config,
        rows(**changes),
        summary or {"learner_updates": 1100, "env_steps": 1200},
        {},
        episodes(demo=True, human=1.0) if demonstrations is None else demonstrations,
        episodes(policy=1.0) if recent is None else recent,
    )


def test_a_healthy_run_is_left_alone():
    assert diagnose(run()) == []


SICK = {
    "never-rewarded": {
        "episode/success": 0.0,
        "episode/return": lambda i: -0.05 * (LENGTH + i % 7),
        "evaluation/success_rate": 0.0,
        "episode/terminated": 0.0,
    },
    "always-rewarded": {
        "episode/length": 1.0,
        "episode/success": 1.0,
        "episode/return": 10.0,
        "episode/intervention_steps": 0.0,
    },
    "critic-diverges": {"critic/q": lambda i: 4.0 * 1.4**i},
    "timeouts-as-ends": {
        "episode/terminated": 1.0,
        "episode/length": lambda i: LENGTH if i % 2 else 100.0,
    },
    "multiplier-at-zero": {"multiplier/mean": 0.001},
    "multiplier-at-ceiling": {"multiplier/mean": 40.0, "multiplier/violation": 3.0},
    "person-drives": {"episode/intervention_steps": lambda i: 0.9 * LENGTH},
    "loop-late": {"loop/late": 10.0},
    "episodes-set-aside": {"quarantine/id": lambda i: float(i) if i % 2 else None},
    "inputs-out-of-range": {"recent": episodes(policy=1.0, observed=500.0)},
    "gripper-collapsed": {"recent": episodes(policy=-1.0)},
    "learner-starved": {"summary": {"learner_updates": 300, "env_steps": 1200}},
}


@pytest.mark.parametrize("rule", SICK)
def test_a_rule_finds_its_illness_and_nothing_else(rule):
    sick = run(**SICK[rule])
    (finding,) = diagnose(sick)
    assert finding.rule == rule
    assert finding.remedies
    text, page = as_text(sick, [finding]), as_page(sick, [finding])
    assert f"1 of {len(RULES)} rules found something" in text
    assert f"[{rule}]" in text
    assert finding.evidence in text
    assert page.count("data:image/png;base64,") == 1


def test_every_rule_has_a_sick_run():
    assert len(SICK) == len(RULES)


def test_a_critic_that_is_no_number_any_more():
    sick = run(**{"critic/q": lambda i: None if i > 20 else 4.0})
    (finding,) = diagnose(sick)
    assert (finding.rule, "no number" in finding.evidence) == ("critic-diverges", True)


@pytest.mark.parametrize("rule", ["multiplier-at-zero", "gripper-collapsed", "inputs-out-of-range"])
def test_a_policy_that_succeeds_needs_no_advice(rule):
    assert diagnose(run(**SICK[rule] | {"evaluation/success_rate": 1.0})) == []


@pytest.mark.parametrize("rule", sorted(SICK))
def test_nothing_is_said_of_a_run_that_has_just_begun(rule):
    sick = run(**SICK[rule])
    young = replace(sick, rows=sick.rows[:3], recent=sick.recent[:1], summary={})
    assert diagnose(young) == []


def test_dense_rewards_teach_without_success():
    dense = SICK["never-rewarded"] | {"episode/return": lambda i: -100.0 + i}
    assert "never-rewarded" not in {finding.rule for finding in diagnose(run(**dense))}


def test_the_rate_is_in_the_evidence():
    config = replace(RunConfig.from_preset("silri"), runtime=RuntimeConfig(rate_hz=20.0))
    (finding,) = diagnose(run(config, **SICK["loop-late"]))
    assert "51 ms where 50 ms was asked for" in finding.evidence
