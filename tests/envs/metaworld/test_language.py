"""Tasks that are said in words: nothing else tells them apart, and every expert does its own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from silri.core.errors import ConfigError, EnvironmentFault
from silri.envs.config import LANGUAGE_TASKS, MetaworldLanguageConfig
from silri.envs.metaworld.language import PLANS, SCENE_OF, MetaworldLanguageEnv, words_for
from silri.envs.metaworld.phrasings import TEST, TRAIN
from silri.envs.registry import create_env

PAIRS = [tuple(plan.tasks) for plan in PLANS.values() if len(plan.tasks) == 2]


@cache
def env(*tasks, phrasings="train"):
    return create_env(
        "metaworld-language", MetaworldLanguageConfig(tasks=tasks, phrasings=phrasings)
    )


def seeds_of(environment, task, count, first=0):
    """Seeds whose episodes ask for ``task``."""
    found = []
    while len(found) < count:
        if environment.reset(seed=first)[1]["task"] == task:
            found.append(first)
        first += 1
    return found


def attempt(environment, seed, task=None):
    """The expert's episode: success of the last step, and how many there were."""
    environment.reset(seed=seed)
    if task is not None:
        environment._scene.task = task
    for steps in range(1, 101):
        action = np.clip(environment.privileged().expert_action, -1, 1)
        _, _, terminated, truncated, info = environment.step(action)
        if terminated or truncated:
            return info["success"], steps
    raise AssertionError("no end after the limit")


def test_sentences():
    assert set(TRAIN) == set(TEST) == set(LANGUAGE_TASKS) == set(SCENE_OF)
    train = [s for words in TRAIN.values() for s in words]
    test = [s for words in TEST.values() for s in words]
    assert len({s.lower() for s in train + test}) == len(train) + len(test)  # none is in both
    assert min(map(len, TRAIN.values())) >= 8
    assert min(map(len, TEST.values())) >= 3


def test_shuffled_words_are_those_of_another_task_of_the_scene():
    assert words_for("drawer-open", "shuffled") == (TRAIN["drawer-close"],)
    assert words_for("reach-left", "shuffled") == (TRAIN["reach-right"],)
    assert words_for("button-press", "shuffled") == (TRAIN["button-press"],)  # alone in its scene
    assert words_for("window-open", "test") == (TEST["window-open"],)


def test_a_seed_decides_task_words_and_layout():
    environment = env(*LANGUAGE_TASKS)
    first = [environment.reset(seed=seed) for seed in range(60)]
    again = [environment.reset(seed=seed) for seed in reversed(range(60))][::-1]
    for (one, info), (other, same) in zip(first, again, strict=True):
        assert info["task"] == same["task"]
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
        assert str(one["instruction"]) in TRAIN[info["task"]]
    assert {info["task"] for _, info in first} == set(LANGUAGE_TASKS)
    assert len({str(o["instruction"]) for o, _ in first}) > 30


@pytest.mark.parametrize("pair", PAIRS)
def test_two_tasks_of_a_scene_begin_alike(pair):
    """The same layout for either task: the observation is the same but for the words."""
    one, other = (MetaworldLanguageEnv(MetaworldLanguageConfig(tasks=(task,))) for task in pair)
    for seed in (3, 4):
        mine, theirs = one.reset(seed=seed)[0], other.reset(seed=seed)[0]
        assert str(mine["instruction"]) != str(theirs["instruction"])
        for key in ("state", "environment_state"):
            np.testing.assert_array_equal(mine[key], theirs[key])
        # And goes on alike: no goal shows up in a later step.
        action = np.array([0.3, 0.2, -0.1, -1.0], np.float32)
        mine, theirs = one.step(action)[0], other.step(action)[0]
        for key in ("state", "environment_state"):
            np.testing.assert_array_equal(mine[key], theirs[key])
    one.close()
    other.close()


@pytest.mark.parametrize("task", LANGUAGE_TASKS)
def test_every_expert_does_what_was_said(task):
    environment = env(*LANGUAGE_TASKS)
    for seed in seeds_of(environment, task, 2, first=500):
        success, steps = attempt(environment, seed)
        assert success
        assert 5 < steps < 60  # half-way is neither end: there is something to do


@pytest.mark.parametrize("pair", PAIRS)
def test_doing_the_other_task_is_no_success(pair):
    environment = env(*LANGUAGE_TASKS)
    for asked, done in (pair, pair[::-1]):
        (seed,) = seeds_of(environment, asked, 1)
        environment.reset(seed=seed)
        expert = replace_task(environment, done)
        successes = []
        for _ in range(100):
            *_, truncated, info = environment.step(expert())
            successes.append(info["success"])
            if truncated:
                break
        assert not any(successes)


def replace_task(environment, done):
    """The expert of ``done``, while success stays what was asked for."""
    scene = environment._scene
    asked = scene.task

    def action():
        scene.task = done
        chosen = np.clip(environment.privileged().expert_action, -1, 1)
        scene.task = asked
        return chosen

    return action


def test_its_observation_has_no_goal_and_its_points_are_positions():
    environment = env(*LANGUAGE_TASKS)
    spec = environment.env_spec
    assert {k: a.shape for k, a in spec.observation.items()} == {
        "state": (8,),
        "environment_state": (28,),
        "instruction": (),
    }
    assert spec.observation["instruction"].is_text
    assert spec.goals == {}
    assert max(max(place) for place in spec.points["environment_state"]) < 28
    observation, _ = environment.reset(seed=1)
    spec.validate_observation(observation)
    assert environment.observation_space["instruction"].contains(str(observation["instruction"]))


def test_rewards_are_those_of_metaworld():
    environment = env(*LANGUAGE_TASKS)
    environment.reset(seed=seeds_of(environment, "reach-left", 1)[0])
    rewards = []
    for _ in range(100):
        _, reward, terminated, _, _ = environment.step(
            np.clip(environment.privileged().expert_action, -1, 1)
        )
        rewards.append(reward)
        if terminated:
            break
    assert rewards == [-0.05] * (len(rewards) - 1) + [10.0]


def test_simulators_are_built_once_and_only_where_needed():
    environment = MetaworldLanguageEnv(MetaworldLanguageConfig(tasks=("reach-left", "reach-right")))
    assert list(environment._scenes) == ["reach"]
    scene = environment._scene
    environment.reset(seed=0)
    environment.reset(seed=1)
    assert environment._scene is scene
    environment.close()


def test_bad_use_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"env\.tasks takes some of .* got drawer-eat"):
        MetaworldLanguageConfig(tasks=("drawer-eat",))
    with pytest.raises(ConfigError, match=r"each once; got none"):
        MetaworldLanguageConfig(tasks=())
    with pytest.raises(ConfigError, match=r"env\.phrasings takes"):
        replace(MetaworldLanguageConfig(), phrasings="loud")
    fresh = MetaworldLanguageEnv(MetaworldLanguageConfig(tasks=("button-press",)))
    with pytest.raises(EnvironmentFault, match="metaworld-language: step\\(\\) without reset"):
        fresh.step(np.zeros(4, np.float32))
    fresh.close()
