"""Meta-World as an environment: episode ends, rewards, gripper, faults."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silri.core.errors import ConfigError, EnvironmentFault, NonFiniteError, SpecError
from silri.core.specs import ActionSpec
from silri.envs.config import MetaworldConfig
from silri.envs.metaworld.env import MetaworldEnv
from silri.envs.registry import create_env

UP = np.array([0, 0, 1, -1], np.float32)
CLOSE = np.array([0, 0, 0, 1], np.float32)
OPEN = np.array([0, 0, 0, -1], np.float32)


def build(task: str = "drawer-open-v3", **fields: Any) -> MetaworldEnv:
    env = create_env(f"metaworld/{task}", MetaworldConfig(**fields))
    assert isinstance(env, MetaworldEnv)
    return env


@pytest.fixture(scope="module")
def env() -> MetaworldEnv:
    return build()


def succeed(env: MetaworldEnv, seed: int = 0) -> list[tuple[float, bool, bool, dict[str, Any]]]:
    """The expert's whole episode."""
    env.reset(seed=seed)
    steps = []
    while True:
        _, reward, terminated, truncated, info = env.step(
            np.clip(env.privileged().expert_action, -1, 1)
        )
        steps.append((reward, terminated, truncated, info))
        if terminated or truncated:
            return steps


def test_a_success_that_ends_nothing_goes_on_to_the_time_out() -> None:
    ends, goes_on = build(), build(end_on_success=False)
    short, long = succeed(ends), succeed(goes_on)
    assert len(short) < len(long) == 100
    assert [row[1:3] for row in long] == [(False, False)] * 99 + [(False, True)]
    assert [row[3]["success"] for row in long[: len(short)]] == [row[3]["success"] for row in short]
    assert {row[0] for row in long if row[3]["success"]} == {10.0}


def test_spec_and_observation(env: MetaworldEnv) -> None:
    observation, info = env.reset(seed=0)
    spec = env.env_spec
    assert spec.name == "metaworld/drawer-open-v3"
    assert spec.max_episode_steps == 100
    assert spec.control_hz == 40.0  # 2 simulator steps of 1/80 s
    assert spec.action == ActionSpec(4, (3,), (-1.0, 1.0))
    assert {key: value.shape for key, value in observation.items()} == {
        "state": (8,),
        "environment_state": (31,),
    }
    assert all(value.dtype == np.float32 for value in observation.values())
    spec.validate_observation(observation)
    assert env.observation_space.contains(observation)
    assert env.action_space.contains(UP)
    assert info["success"] is False
    state, scene = observation["state"], observation["environment_state"]
    known = env.privileged()
    np.testing.assert_allclose(state[:3], known.hand, atol=1e-6)
    np.testing.assert_allclose(scene[:3], known.object, atol=1e-6)
    np.testing.assert_allclose(scene[28:], known.goal, atol=1e-6)
    np.testing.assert_array_equal(state[:4], state[4:])  # nothing came before the first frame
    np.testing.assert_array_equal(scene[:14], scene[14:28])


@pytest.mark.parametrize("repeat", [1, 3])
def test_the_rate_is_that_of_simulated_time(repeat: int) -> None:
    env = build(action_repeat=repeat)
    env.reset(seed=0)
    before = env._raw.data.time
    for _ in range(5):
        env.step(np.zeros(4, np.float32))
    assert (env._raw.data.time - before) / 5 == pytest.approx(1 / env.env_spec.control_hz)


@pytest.mark.parametrize(
    ("task", "objects"), [("pick-place-v3", (0, 14)), ("stick-push-v3", (0, 7, 14, 21))]
)
def test_points_are_hand_objects_and_goal(task: str, objects: tuple[int, ...]) -> None:
    env = build(task)
    points = env.env_spec.points
    observation, _ = env.reset(seed=3)
    truth = env.privileged()
    state, environment = observation["state"], observation["environment_state"]
    assert points["state"] == ((0, 1, 2), (4, 5, 6))  # this frame's and the last's
    assert points["environment_state"] == tuple((at, at + 1, at + 2) for at in (*objects, 28))
    *things, goal = points["environment_state"]
    assert env.env_spec.objects == {"environment_state": tuple(things)}
    assert env.env_spec.goals == {"environment_state": (goal,)}
    for at in (0, 4):
        np.testing.assert_allclose(state[at : at + 3], truth.hand, atol=0.05)
    np.testing.assert_allclose(environment[0:2], truth.object[:2], rtol=1e-5)
    np.testing.assert_allclose(environment[28:30], truth.goal[:2], rtol=1e-5)
    for at in objects[2:]:  # the first object again, or the second one: not the padding
        assert np.abs(environment[at : at + 2]).max() > 0


@pytest.mark.parametrize(
    ("task", "said"), [("reach-v3", {}), ("reach-wall-v3", {}), ("push-v3", {"reward": "env"})]
)
def test_a_goal_that_matters_all_the_time_is_not_named(task: str, said: dict[str, Any]) -> None:
    assert build(task, **said).env_spec.goals == {}


def test_the_last_frame_is_one_simulator_step_old() -> None:
    once = build(action_repeat=1)
    first, _ = once.reset(seed=0)
    second, *_ = once.step(UP)
    np.testing.assert_array_equal(second["state"][4:], first["state"][:4])
    assert second["state"][2] > second["state"][6]


def test_action_repeat_is_the_same_action_twice() -> None:
    once, twice = build(action_repeat=1), build(action_repeat=2)
    once.reset(seed=0)
    twice.reset(seed=0)
    for _ in range(3):
        once.step(UP)
        one, *_ = once.step(UP)
        two, *_ = twice.step(UP)
        np.testing.assert_array_equal(one["state"], two["state"])


def test_action_repeat_stops_at_success() -> None:
    env = build(action_repeat=7, max_episode_steps=500)
    start = env.reset(seed=0)
    begun = env._raw.data.time
    decisions = len(succeed(env))
    simulator_steps = round((env._raw.data.time - begun) / env._raw.dt)
    assert start
    assert 7 * (decisions - 1) < simulator_steps < 7 * decisions  # seed 0: in mid-decision


def test_success_terminates_and_pays(env: MetaworldEnv) -> None:
    *before, last = succeed(env)
    assert all(
        (reward, terminated, truncated, info["success"]) == (-0.05, False, False, False)
        for reward, terminated, truncated, info in before
    )
    reward, terminated, truncated, info = last
    assert (reward, terminated, truncated, info["success"]) == (10.0, True, False, True)


def test_time_out_truncates() -> None:
    env = build(max_episode_steps=5)
    env.reset(seed=0)
    ends = [env.step(UP)[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_success_in_the_last_step_is_no_time_out(env: MetaworldEnv) -> None:
    length = len(succeed(env))
    tight = build(max_episode_steps=length)
    assert succeed(tight)[-1][1:3] == (True, False)


def test_long_episodes_are_not_cut_by_upstreams_own_limit() -> None:
    env = build("reach-v3", max_episode_steps=300)
    env.reset(seed=0)
    for step in range(300):
        *_, terminated, truncated, _ = env.step(OPEN)
        assert not terminated
        assert truncated == (step == 299)


@pytest.mark.parametrize("start", ["never reset", "ended"])
def test_a_step_outside_an_episode_is_a_fault(start: str) -> None:
    env = build(max_episode_steps=1)
    if start == "ended":
        env.reset(seed=0)
        env.step(UP)
    with pytest.raises(EnvironmentFault, match=r"step\(\) without reset\(\)"):
        env.step(UP)


def test_rewards_can_be_changed() -> None:
    env = build(success_reward=1.0, step_reward=0.0)
    rewards = [reward for reward, *_ in succeed(env)]
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]


def test_the_environments_own_reward_is_the_sum_over_repeats() -> None:
    once, twice = build(reward="env", action_repeat=1), build(reward="env")
    once.reset(seed=0)
    twice.reset(seed=0)
    first, second = once.step(UP)[1], once.step(UP)[1]
    assert twice.step(UP)[1] == pytest.approx(first + second)
    assert first > 0


def test_grasp_penalty_is_for_changes_of_the_executed_class(env: MetaworldEnv) -> None:
    env.reset(seed=0)
    weak = np.array([0, 0, 0, 0.3], np.float32)  # snapped to closed
    penalties = [env.step(a)[4]["grasp_penalty"] for a in (OPEN, CLOSE, weak, OPEN, OPEN)]
    assert penalties == [0.0, -0.02, 0.0, -0.02, 0.0]
    env.reset(seed=0)  # an episode starts open, whatever the last one ended with
    assert env.step(CLOSE)[4]["grasp_penalty"] == -0.02


def test_continuous_gripper() -> None:
    env = build(gripper="continuous")
    assert env.env_spec.action == ActionSpec(4)
    env.reset(seed=0)
    assert env.step(CLOSE)[4]["grasp_penalty"] == 0.0
    half = np.array([0, 0, 0, 0.2], np.float32)
    openings = []
    for action in (CLOSE, half):
        env.reset(seed=0)
        for _ in range(20):
            observation, *_ = env.step(action)
        openings.append(observation["state"][3])
    assert openings[0] < 0.9 < 1.0
    assert openings[0] <= openings[1]


def test_the_gripper_closes_and_opens(env: MetaworldEnv) -> None:
    observation, _ = env.reset(seed=0)
    start = observation["state"][3]
    for _ in range(20):
        observation, *_ = env.step(CLOSE)
    closed = observation["state"][3]
    for _ in range(20):
        observation, *_ = env.step(OPEN)
    assert closed < start - 0.1 < observation["state"][3]


def test_the_expert_speaks_in_classes(env: MetaworldEnv) -> None:
    actions = []
    env.reset(seed=0)
    for _ in range(40):
        actions.append(env.privileged().expert_action)
        env.step(np.clip(actions[-1], -1, 1))
    assert {float(action[3]) for action in actions} <= {-1.0, 1.0}
    assert np.abs(actions).max() > 1.0  # motion is not clipped


def test_only_the_experts_own_warning_is_silenced(env: MetaworldEnv) -> None:
    env.reset(seed=0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        env.privileged()
        warnings.warn("Constant(s) may be too high", stacklevel=1)
    assert len(seen) == 1


def test_privileged_is_a_copy(env: MetaworldEnv) -> None:
    env.reset(seed=0)
    known = env.privileged()
    before = known.hand.copy()
    env.step(UP)
    np.testing.assert_array_equal(known.hand, before)


@pytest.mark.parametrize("task", ["door-close-v3", "door-open-v3"])
def test_asking_the_expert_changes_nothing(task: str) -> None:
    env = build(task)
    scene = env.reset(seed=0)[0]["environment_state"]
    first, again = env.privileged(), env.privileged()
    np.testing.assert_array_equal(first.expert_action, again.expert_action)
    np.testing.assert_allclose(again.object, scene[:3], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused(env: MetaworldEnv, bad: float) -> None:
    env.reset(seed=0)
    with pytest.raises(NonFiniteError, match="'action' is not finite at index"):
        env.step(np.array([0, bad, 0, 1], np.float32))


def test_an_action_of_another_length_is_refused(env: MetaworldEnv) -> None:
    env.reset(seed=0)
    with pytest.raises(SpecError, match=r"shape \(3,\)"):
        env.step(np.zeros(3, np.float32))


@pytest.mark.parametrize("poison", [np.nan, 1e12])
def test_a_diverged_simulation_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: float
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes MUJOCO_LOG.TXT where it is
    env = build()
    env.reset(seed=0)
    env._raw.data.qvel[:] = poison
    with pytest.raises(EnvironmentFault, match="the simulation diverged at"):
        env.step(UP)
    with pytest.raises(EnvironmentFault, match="without reset"):
        env.step(UP)
    observation, _ = env.reset(seed=0)  # and the next episode is a good one
    np.testing.assert_array_equal(observation["state"], build().reset(seed=0)[0]["state"])


def test_without_a_seed_layouts_go_on(env: MetaworldEnv) -> None:
    def three() -> list[np.ndarray]:
        env.reset(seed=1)
        return [env.reset()[1]["layout"] for _ in range(3)]

    first, again = three(), three()
    np.testing.assert_array_equal(first, again)
    assert len({tuple(layout) for layout in first}) == 3


def test_layouts_use_the_whole_range() -> None:
    env = build("pick-place-v3")
    layouts = np.array([env.reset(seed=seed)[1]["layout"] for seed in range(60)])
    box = env._raw._random_reset_space
    share = (layouts - box.low)[:, [0, 1, 3, 5]] / (box.high - box.low)[[0, 1, 3, 5]]
    assert (share.min(axis=0) < 0.1).all()
    assert (share.max(axis=0) > 0.9).all()
    # The task's own rule survives: object and goal at least 0.15 m apart.
    assert (np.linalg.norm(layouts[:, :2] - layouts[:, 3:5], axis=1) >= 0.15).all()


def test_a_box_without_any_layout_is_an_error_and_not_a_loop() -> None:
    env = build("coffee-pull-v3", reset_range=0.005)  # centres 0.125 m apart; the task wants 0.15
    with pytest.raises(ConfigError, match=r"env.reset_range = 0.005: .*coffee-pull-v3.*wider"):
        env.reset(seed=0)
