"""A person who does a task in two ways, both of which are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from silri.core.protocols import OperatorView, Privileged
from silri.core.seeding import Stream, rng
from silri.core.specs import ActionSpec
from silri.envs.config import MetaworldConfig
from silri.envs.registry import create_env
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import OPERATORS, create_operator
from silri.intervention.skill import Skill, SkillConfig

SPEC = ActionSpec(4, (3,))
EXPERT = np.array([0.2, -0.3, -0.4, -1.0], np.float32)
FAR = np.array([0.0, 0.0, 0.2])  # from object to hand


def hand(seed: int, aside: float = 0.12) -> Skill:
    skill = Skill(SPEC, SkillConfig(aside=aside))
    skill.begin_episode(np.random.default_rng(seed))
    return skill


def test_each_episode_has_one_of_two_ways_and_begins_with_it() -> None:
    ways = []
    for seed in range(100):
        skill = hand(seed)
        own, other, straight = skill.observe(EXPERT, away=FAR)
        np.testing.assert_array_equal(own, [*own[:1], 0.0, 0.0, -1.0])  # sideways only
        np.testing.assert_array_equal(other[:3], -own[:3])
        np.testing.assert_array_equal(straight, EXPERT)
        np.testing.assert_array_equal(skill.act(1.0), own)
        ways.append(float(own[0]))
    assert set(ways) == {-1.0, 1.0}
    assert 35 < sum(way > 0 for way in ways) < 65


@pytest.mark.parametrize("where", [(0.11, 0.0, 0.2), (-0.11, 0.0, 0.2), (0.0, 0.0, 0.05)])
def test_once_aside_or_at_the_object_it_goes_as_the_expert_does(where: tuple[float, ...]) -> None:
    skill = hand(0)
    way = float(skill.observe(EXPERT, away=FAR)[0][0])
    there = np.array([abs(where[0]) * way, *where[1:]])
    assert len(skill.observe(EXPERT, away=there)) == 1
    (back,) = skill.observe(EXPERT, away=FAR)  # and it stays so
    np.testing.assert_array_equal(back, EXPERT)


def test_nobody_knows_where_the_object_is_and_it_goes_straight() -> None:
    (only,) = hand(0).observe(EXPERT)
    np.testing.assert_array_equal(only, EXPERT)
    assert len(hand(0, aside=0.0).observe(EXPERT, away=FAR)) == 1


@pytest.mark.parametrize(("motion", "helps"), [((1.0, 0.0, 0.0), 0), ((0.0, 0.0, 0.0), 1)])
def test_a_robot_that_goes_the_other_way_is_left_alone(
    motion: tuple[float, ...], helps: int
) -> None:
    person = create_operator(
        OPERATORS.load("two-ways").preset().config, OperatorContext(SPEC, "two-ways")
    )
    for sign in (1.0, -1.0):
        person.begin_episode(np.random.default_rng(0))
        action = np.array([sign * motion[0], *motion[1:], -1.0], np.float32)
        known = Privileged(EXPERT * 5, np.array([0.0, 0.0, 0.2]), np.zeros(3), np.ones(3))
        views = [OperatorView({}, action, known, step, False) for step in range(40)]
        assert any(person.decide(view).engaged for view in views) == bool(helps)


@pytest.mark.parametrize(("task", "reset_range"), [("pick-place-v3", 0.03), ("push-v3", None)])
def test_each_way_succeeds_by_itself(task: str, reset_range: float | None) -> None:
    env = create_env(f"metaworld/{task}", MetaworldConfig(reset_range=reset_range))
    spec = env.env_spec
    config = OPERATORS.load("two-ways").preset().config
    config = replace(config, skill=replace(config.skill, jitter=0.0))  # the ways, nothing else
    person = create_operator(config, OperatorContext.of(env, "two-ways")).demonstrator()
    furthest: dict[float, list[float]] = {-1.0: [], 1.0: []}
    for episode in range(12):
        observation, _ = env.reset(seed=episode)
        person.begin_episode(rng(0, Stream.DEMO_OPERATOR, episode))
        places, done = [], False
        while not done:
            known = env.privileged()
            places.append(float(known.hand[0] - known.object[0]))
            view = OperatorView(observation, np.zeros(spec.action.size), known, 0, True)
            action = person.decide(view).action
            observation, _, terminated, truncated, info = env.step(action)
            done = terminated or truncated
        assert info["success"], episode
        far = max(places, key=abs)
        furthest[float(np.sign(far))].append(abs(far))
    assert all(len(each) >= 3 and min(each) > 0.09 for each in furthest.values())
