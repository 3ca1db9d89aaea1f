"""Disturbances on the real simulator: when they happen, what they change, what they leave alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import mujoco
import numpy as np
import pytest

from silri.core.errors import EnvironmentFault, UnknownNameError
from silri.core.protocols import Disturbable
from silri.core.specs import Observation
from silri.envs.config import MetaworldConfig
from silri.envs.metaworld.disturbance import DISPLACEMENTS, KINDS, TARGETS
from silri.envs.metaworld.env import MetaworldEnv
from silri.envs.registry import create_env

SEED = 3
FIXTURES = ("door-close-v3", "drawer-open-v3")
OFFERED = [(task, kind) for task, target in TARGETS.items() for kind in target.kinds]
CLOSE = np.array([0, 0, 0, 1], np.float32)


def build(task: str, **fields: Any) -> MetaworldEnv:
    env = create_env(f"metaworld/{task}", MetaworldConfig(reset_range=0.03, **fields))
    assert isinstance(env, MetaworldEnv)
    return env


@cache
def used(task: str) -> MetaworldEnv:
    """An environment that other tests have used, too."""
    return build(task)


@cache
def undisturbed(task: str) -> np.ndarray:
    """(steps + 1, 39) of the expert's episode on a new environment."""
    return Episode(build(task)).observations


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flat(observation: Observation) -> np.ndarray:
    return np.concatenate((observation["state"], observation["environment_state"]))


class Episode:
    """An expert's episode; ``kind`` is offered before every step until it happens."""

    def __init__(
        self, env: MetaworldEnv, kind: str | None = None, seed: int = 0, steps: int = 100
    ) -> None:
        observation, _ = env.reset(seed=SEED)
        seen = [flat(observation)]
        self.at: int | None = None
        for step in range(steps):
            action = np.clip(env.privileged().expert_action, -1, 1)
            if kind and self.at is None:
                self.before = env.privileged()
                velocity = env._raw.data.qvel.copy()
                if env.disturb(kind, generator(seed)):
                    self.at, self.after = step, env.privileged()
                    assert env._disturber is not None
                    self.contact = env._disturber._nearest_contact(env._raw.data)
                else:
                    np.testing.assert_array_equal(env._raw.data.qvel, velocity)
            observation, _, terminated, truncated, info = env.step(action)
            seen.append(flat(observation))
            if terminated or truncated:
                break
        self.observations, self.success = np.asarray(seen), info["success"]


@pytest.mark.parametrize(("task", "kind"), OFFERED)
def test_the_object_is_moved_and_nothing_else(task: str, kind: str) -> None:
    env = used(task)
    spec = env.env_spec
    episode = Episode(env, kind)
    assert episode.at is not None
    # Until it happens, offering it leaves no trace.
    calm = undisturbed(task)
    np.testing.assert_array_equal(
        episode.observations[: episode.at + 1], calm[: episode.at + 1], strict=True
    )
    before, after = episode.before, episode.after
    shift = after.object - before.object
    how_far = DISPLACEMENTS[kind]
    assert how_far.nearest <= np.linalg.norm(shift) <= how_far.farthest
    assert abs(shift[2]) < 1e-9
    np.testing.assert_allclose(after.hand, before.hand, atol=1e-9)
    moved_goal = shift if task in FIXTURES else np.zeros(3)
    np.testing.assert_allclose(after.goal - before.goal, moved_goal, atol=1e-9)
    assert episode.contact == np.inf  # in nobody's way
    if task in FIXTURES:  # all that the task remembers of its place
        model, raw = env._raw.model, env._raw
        np.testing.assert_allclose(raw.obj_init_pos, model.body(TARGETS[task].body).pos)
        np.testing.assert_allclose(raw._target_pos, model.site("goal").pos)
    assert episode.success  # what the task asks for can still be done
    assert env.env_spec == spec
    # The next episode knows nothing of it.
    again = Episode(env, steps=12).observations
    np.testing.assert_array_equal(again, calm[: len(again)])
    fresh = build(task)
    fresh.reset(seed=SEED)
    for (array, _), (new, _) in zip(env._pristine, fresh._pristine, strict=True):
        np.testing.assert_array_equal(array, new)


@pytest.mark.parametrize(("task", "kind"), [("pick-place-v3", "push"), ("drawer-open-v3", "grasp")])
def test_the_same_draws_make_the_same_episode(task: str, kind: str) -> None:
    first, again = Episode(used(task), kind), Episode(build(task), kind)
    assert first.at == again.at
    np.testing.assert_array_equal(first.observations, again.observations)
    other = Episode(used(task), kind, seed=1)
    assert other.at == first.at
    assert np.linalg.norm(other.after.object - first.after.object) > 0.01


def test_the_policy_sees_it_in_the_next_observation() -> None:
    episode = Episode(used("drawer-open-v3"), "approach")
    assert episode.at is not None
    scene = episode.observations[episode.at : episode.at + 2, 8:]
    shift = episode.after.object - episode.before.object
    np.testing.assert_allclose(scene[1, :3] - scene[0, :3], shift, atol=1e-3)
    np.testing.assert_allclose(scene[1, 28:] - scene[0, 28:], shift, atol=1e-6)


def test_kinds_happen_one_after_the_other() -> None:
    for task, target in TARGETS.items():
        steps = [Episode(used(task), kind).at for kind in target.kinds]
        known = [step for step in steps if step is not None]
        assert known == sorted(set(known)), task
        assert len(known) == len(steps), task


@pytest.mark.parametrize("task", list(TARGETS))
def test_before_the_hand_has_gone_anywhere_nothing_is_grasped_or_pushed(task: str) -> None:
    env = used(task)
    start, _ = env.reset(seed=SEED)
    velocity = env._raw.data.qvel.copy()
    draws = generator()
    for kind in env.disturbances:
        if kind != "approach":
            assert not env.disturb(kind, draws)
    assert draws.random() == generator().random()  # untouched
    np.testing.assert_array_equal(flat(env._observation()), flat(start))
    np.testing.assert_array_equal(env._raw.data.qvel, velocity)


@pytest.mark.parametrize("task", list(TARGETS))
def test_what_moves_by_itself_is_not_pushed(task: str) -> None:
    """A lid falls onto the table, a door swings a little: with an idle hand nothing is offered."""
    env = used(task)
    env.reset(seed=SEED)
    for _ in range(60):
        env.step(CLOSE)
        if "push" in env.disturbances:
            assert not env.disturb("push", generator())
        aside = np.linalg.norm((env.privileged().hand - env.privileged().object)[:2])
        if aside > 0.05:
            assert not env.disturb("grasp" if "grasp" in env.disturbances else "push", generator())


def test_what_is_held_is_neither_approached_nor_about_to_be_grasped() -> None:
    env = used("pick-place-v3")
    env.reset(seed=SEED)
    for _ in range(16):  # the fingers have closed
        env.step(np.clip(env.privileged().expert_action, -1, 1))
    assert env._disturber is not None
    assert env._disturber._nearest_contact(env._raw.data) < 0
    for kind in ("approach", "grasp"):
        assert not env.disturb(kind, generator())


def test_nothing_is_taken_through_a_finger() -> None:
    env = used("pick-place-v3")
    env.reset(seed=SEED)
    for _ in range(18):  # the puck is between the fingers, which close along y
        env.step(np.clip(env.privileged().expert_action, -1, 1))
    disturber = env._disturber
    assert disturber is not None
    assert disturber._nearest_contact(env._raw.data) < 0
    free = {
        (x, y): disturber._free(np.array([x, y, 0.0]))
        for x, y in ((0.02, 0), (0.06, 0), (-0.06, 0), (0, 0.06), (0, -0.06), (0, 0.08))
    }
    assert free == {
        (0.02, 0): False,  # not out of the hand yet
        (0.06, 0): True,
        (-0.06, 0): True,
        (0, 0.06): False,
        (0, -0.06): False,
        (0, 0.08): False,  # there is room, but a finger is in between
    }
    assert disturber._contact(np.array([0, 0.08, 0.0])) == np.inf


def places(env: MetaworldEnv, count: int) -> np.ndarray:
    """(count, 3) where ``approach`` would put a free object in the present state."""
    data = env._raw.data
    position = data.qpos.copy()
    found = []
    for seed in range(count):
        assert env.disturb("approach", generator(seed))
        found.append(env.privileged().object)
        data.qpos[:] = position
        mujoco.mj_forward(env._raw.model, data)
    return np.asarray(found)


def test_every_direction_is_as_good() -> None:
    env = used("pick-place-v3")
    env.reset(seed=SEED)
    for _ in range(4):
        env.step(np.clip(env.privileged().expert_action, -1, 1))
    start = env._raw.data.qpos[9:12].copy()
    shifts = places(env, 80) - start
    far = np.linalg.norm(shifts[:, :2], axis=1)
    assert far.min() >= DISPLACEMENTS["approach"].nearest - 1e-9
    assert far.max() <= DISPLACEMENTS["approach"].farthest + 1e-9
    assert far.min() < 0.033 < 0.047 < far.max()
    quadrants = (shifts[:, 0] > 0) * 2 + (shifts[:, 1] > 0)
    assert (np.bincount(quadrants, minlength=4) > 10).all()


@pytest.mark.parametrize("corner", ["edge", "goal"])
def test_it_stays_within_reach_and_out_of_the_goal(corner: str) -> None:
    env = build("pick-place-v3")
    env.reset(seed=SEED)
    raw = env._raw
    for _ in range(4):
        env.step(np.clip(env.privileged().expert_action, -1, 1))
    if corner == "edge":
        raw.mocap_high = raw._get_pos_objects() + 0.03  # the task's own box, for this episode
    else:
        raw._target_pos = raw._get_pos_objects() + np.array([0.11, 0.0, 0.0])
    high, goal = raw.mocap_high.copy(), raw._target_pos.copy()
    found = places(env, 40)
    if corner == "edge":
        assert (found[:, :2] <= high[:2] - 0.02 + 1e-9).all()
    else:
        assert (np.linalg.norm(found - goal, axis=1) >= 0.10).all()


def test_no_place_is_no_disturbance() -> None:
    env = build("pick-place-v3")
    env.reset(seed=SEED)
    for _ in range(4):
        env.step(np.clip(env.privileged().expert_action, -1, 1))
    env._raw.mocap_high = env._raw._get_pos_objects()
    env._raw.mocap_low = env._raw._get_pos_objects()
    before = env._raw.data.qpos.copy()
    assert not env.disturb("approach", generator())
    np.testing.assert_array_equal(env._raw.data.qpos, before)


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        ("pick-place-v3", "graps", "'graps'. Did you mean 'grasp'? Known: approach, grasp, push"),
        ("door-close-v3", "grasp", "'grasp'. Known: approach, push"),
        ("assembly-v3", "push", "'push'. Known: approach, grasp"),
        ("reach-v3", "push", "'push'. Known: none"),
    ],
)
def test_a_wrong_kind_is_refused_by_name(task: str, kind: str, message: str) -> None:
    env = build(task)
    env.reset(seed=SEED)
    with pytest.raises(UnknownNameError, match=f"disturbance of metaworld/{task}") as error:
        env.disturb(kind, generator())
    assert message in str(error.value)


@pytest.mark.parametrize("start", ["never reset", "ended"])
def test_outside_an_episode_is_a_fault(start: str) -> None:
    env = build("push-v3", max_episode_steps=1)
    if start == "ended":
        env.reset(seed=0)
        env.step(CLOSE)
    with pytest.raises(EnvironmentFault, match=r"disturb\(\) without reset\(\)"):
        env.disturb("approach", generator())


def test_what_is_offered() -> None:
    assert isinstance(used("push-v3"), Disturbable)
    assert used("push-v3").disturbances == KINDS
    assert build("reach-v3").disturbances == ()
    assert set(DISPLACEMENTS) == set(KINDS)
    assert all(set(target.kinds) <= set(KINDS) for target in TARGETS.values())
