"""What must hold for every one of the fifty tasks, on the real simulator."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from silri.core.protocols import HasPrivileged
from silri.envs.config import MetaworldConfig
from silri.envs.metaworld.env import MetaworldEnv
from silri.envs.registry import EXPERT_CEILINGS, create_env

TASKS = list(EXPERT_CEILINGS)
# One of each kind: a handle, a grasp, a hinge, a button, a tool, and success that needs a grasp.
QUICK = (
    "drawer-open-v3",
    "pick-place-v3",
    "door-close-v3",
    "button-press-topdown-v3",
    "hammer-v3",
    "stick-push-v3",
)
# Building fifty simulators takes minutes.
EVERY = [task if task in QUICK else pytest.param(task, marks=pytest.mark.slow) for task in TASKS]


def build(task: str, **fields: Any) -> MetaworldEnv:
    env = create_env(f"metaworld/{task}", MetaworldConfig(**fields))
    assert isinstance(env, MetaworldEnv)
    assert isinstance(env, HasPrivileged)
    return env


def flat(observation: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate((observation["state"], observation["environment_state"]))


def episode(env: MetaworldEnv, seed: int, steps: int) -> np.ndarray:
    """Observations (steps + 1, 39) of a noisy expert: it touches things, where chance does not."""
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    seen = [flat(observation)]
    for _ in range(steps):
        action = env.privileged().expert_action + rng.normal(0.0, 0.3, 4)
        observation, _, terminated, _, _ = env.step(np.clip(action, -1, 1))
        seen.append(flat(observation))
        if terminated:
            break
    return np.asarray(seen)


def test_the_names_are_metaworlds() -> None:
    assert sorted(TASKS) == sorted(ALL_V3_ENVIRONMENTS)


@pytest.mark.parametrize("task", EVERY)
def test_layout_goal_and_seed(task: str) -> None:
    """One simulator for three properties: building it is most of the time."""
    env = build(task, reset_range=0.03)
    fresh = episode(env, seed=5, steps=20)
    _, info = env.reset(seed=6)
    check_layout(env, info["layout"])
    check_goal(env)
    used = episode(env, seed=5, steps=20)
    np.testing.assert_array_equal(fresh, used)  # to the last bit
    assert not np.array_equal(fresh[0], episode(env, seed=6, steps=0)[0])


def check_layout(env: MetaworldEnv, layout: np.ndarray) -> None:
    box = env._raw._random_reset_space  # upstream's own range
    center = (box.low + box.high) / 2
    assert (layout >= np.maximum(box.low, center - 0.03)).all()
    assert (layout <= np.minimum(box.high, center + 0.03)).all()


def check_goal(env: MetaworldEnv) -> None:
    for _ in range(3):
        observation, *_ = env.step(np.zeros(4, np.float32))
        goal = observation["environment_state"][28:]
        assert np.abs(goal).max() > 0
        np.testing.assert_allclose(goal, env._raw._target_pos, atol=1e-6)


@pytest.mark.parametrize("task", EVERY)
def test_physics_and_success_are_upstreams(task: str) -> None:
    """The same layout and actions through SawyerXYZEnv.step itself, with its cache disarmed."""
    env = build(task, action_repeat=1, gripper="continuous", max_episode_steps=200)
    _, info = env.reset(seed=3)
    theirs: Any = ALL_V3_ENVIRONMENTS[task]()
    theirs._partially_observable = False
    theirs._set_task_called = True
    theirs._last_rand_vec = info["layout"]
    vars(theirs)["sawyer_observation_space"] = gymnasium.spaces.Box(-np.inf, np.inf, (39,))
    theirs.reset()
    # Upstream reads the first observation before the kinematics know what was placed.
    mujoco.mj_forward(theirs.model, theirs.data)
    theirs._prev_obs = theirs._get_curr_obs_combined_no_goal()
    terminated = truncated = False
    while not (terminated or truncated):
        action = np.clip(env.privileged().expert_action, -1, 1)
        _, _, terminated, truncated, info = env.step(action)
        observed, _, _, _, upstream = theirs.step(action)
        np.testing.assert_allclose(env._observed, observed, atol=1e-12)
        assert info["success"] == bool(upstream["success"]) == terminated
    assert terminated or task not in QUICK  # a success was compared, not only failures
