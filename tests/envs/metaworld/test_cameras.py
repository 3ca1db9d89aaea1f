"""Meta-World through two cameras: nothing else of the objects, the same bytes for the same seed."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from silri.core.errors import ConfigError, EnvironmentFault
from silri.envs.config import MetaworldConfig
from silri.envs.metaworld.cameras import FRONT, WRIST, Cameras
from silri.envs.metaworld.env import MetaworldEnv
from silri.envs.registry import create_env

SIZE = 48


def build(task: str, **fields: Any) -> MetaworldEnv:
    config = MetaworldConfig(observation="pixels", image_size=SIZE, **fields)
    env = create_env(f"metaworld/{task}", config)
    assert isinstance(env, MetaworldEnv)
    return env


def episode(env: MetaworldEnv, seed: int = 3, steps: int = 12) -> list[dict[str, np.ndarray]]:
    """What is seen in the expert's first steps."""
    seen = [env.reset(seed=seed)[0]]
    while len(seen) <= steps:
        seen.append(env.step(np.clip(env.privileged().expert_action, -1, 1))[0])
    return seen


def test_the_spec_has_cameras_and_the_hand_and_nothing_of_the_objects(drawing: None) -> None:
    env = build("push-v3")
    spec = env.env_spec
    assert {key: (array.shape, array.dtype) for key, array in spec.observation.items()} == {
        "state": ((8,), "float32"),
        FRONT: ((SIZE, SIZE, 3), "uint8"),
        WRIST: ((SIZE, SIZE, 3), "uint8"),
    }
    # With the hand's position alone a shift would tear it away from what the cameras show.
    assert (spec.points, spec.objects, spec.goals) == ({}, {}, {})
    observation, _ = env.reset(seed=0)
    spec.validate_observation(observation)
    assert env.observation_space.contains(observation)
    assert all(observation[key].std() > 20 for key in (FRONT, WRIST))
    env.close()


def test_the_state_is_the_hands_whatever_the_objects_do(drawing: None) -> None:
    env, numbers = build("push-v3"), create_env("metaworld/push-v3", MetaworldConfig())
    states, layouts = [], []
    for seed in (0, 1):
        observation, info = env.reset(seed=seed)
        np.testing.assert_array_equal(observation["state"], numbers.reset(seed=seed)[0]["state"])
        states.append(observation["state"])
        layouts.append(info["layout"])
    assert np.abs(layouts[0] - layouts[1]).max() > 0.02
    np.testing.assert_allclose(*states, atol=1e-4)


def test_the_same_seed_and_actions_give_the_same_bytes(drawing: None) -> None:
    env, other = build("drawer-open-v3"), build("drawer-open-v3")
    other.reset(seed=8)  # one that was used before
    for first, again in zip(episode(env), episode(other), strict=True):
        for key in first:
            np.testing.assert_array_equal(first[key], again[key])
    assert (first[FRONT] != episode(env, seed=4)[-1][FRONT]).any()


@pytest.mark.parametrize("task", ["pick-place-v3", "peg-insert-side-v3"])
def test_what_is_left_out_of_the_scene_would_not_have_been_seen(
    drawing: None, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    env = build(task)
    quick = episode(env)
    monkeypatch.setattr(Cameras, "_leave_out_unseen", lambda *_: None)
    for one, other in zip(quick, episode(env), strict=True):
        for key in (FRONT, WRIST):
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("task", ["push-v3", "pick-place-v3"])
def test_the_goal_is_seen(drawing: None, task: str) -> None:
    env = build(task)
    observation, _ = env.reset(seed=3)
    env._raw.model.site("goal").rgba[3] = 0.0
    assert env._cameras is not None
    without = env._cameras.draw(env._raw.data)[FRONT]
    assert (observation[FRONT] != without).any(axis=-1).sum() >= 2  # at 48 pixels


def test_up_in_the_wrists_picture_is_forward_and_right_is_right(drawing: None) -> None:
    env = build("push-v3")
    env.reset(seed=0)
    camera = env._raw.data.cam("gripperPOV").xmat.reshape(3, 3)
    right, up = camera[:, 0], camera[:, 1]
    assert right[0] > 0.9
    assert up[1] > 0.9


def test_a_persons_view_has_its_plumb_line_and_the_policys_has_not(drawing: None) -> None:
    env = build("drawer-open-v3")
    observation, _ = env.reset(seed=0)
    persons = env.render()
    again = env.reset(seed=0)[0]  # after somebody looked
    np.testing.assert_array_equal(observation[FRONT], again[FRONT])
    assert yellow(persons) > 5
    assert yellow(observation[FRONT]) == 0


def yellow(image: np.ndarray) -> int:
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return int(((red > 150) & (green > 120) & (blue < 90) & (red - blue > 80)).sum())


@pytest.mark.parametrize("end", ["closed", "forgotten"])
def test_the_end_of_one_environment_leaves_anothers_pictures_alone(drawing: None, end: str) -> None:
    env, other = build("push-v3"), build("push-v3")
    other.reset(seed=1)
    seen, _ = env.reset(seed=0)  # its context is the current one
    if end == "closed":
        other.close()
    else:
        del other
        gc.collect()
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(seen[FRONT], again[FRONT])
    np.testing.assert_array_equal(seen[WRIST], again[WRIST])


@pytest.mark.parametrize("size", [31, 513])
def test_sizes_have_a_range(size: int) -> None:
    with pytest.raises(ConfigError, match=rf"env\.image_size takes .*32.*512.*got {size}"):
        MetaworldConfig(image_size=size)


def test_without_opengl_opening_it_is_an_error_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    with pytest.raises(EnvironmentFault, match="what the cameras see cannot be drawn.*MUJOCO_GL"):
        build("drawer-open-v3")


def test_a_picture_is_not_written_over_by_the_next(drawing: None) -> None:
    seen = episode(build("drawer-open-v3"), steps=2)
    assert (seen[0][WRIST] != seen[2][WRIST]).any()
