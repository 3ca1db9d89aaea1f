"""gym-hil's Franka: seeded layouts, ends that are told apart, an expert; with silri[hil] only."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from silri.core.errors import MissingExtraError
from silri.core.specs import ActionSpec
from silri.envs import opengl
from silri.envs.config import PickCubeConfig
from silri.envs.gym.adapter import GymEnv
from silri.envs.registry import create_env, find_env
from tests.envs.experts import experts

NAME = "hil/pick-cube"


def build(**fields: Any) -> GymEnv:
    pytest.importorskip("gym_hil", reason="needs silri[hil]", exc_type=ImportError)
    env = create_env(NAME, PickCubeConfig(**fields))
    assert isinstance(env, GymEnv)
    return env


def test_it_is_listed_and_opens_without_being_imported() -> None:
    choice = find_env(NAME)
    assert choice.config is PickCubeConfig
    assert choice.preset().config.max_episode_steps == 100


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gym_hil.envs", None)
    monkeypatch.setitem(sys.modules, "gym_hil", None)
    monkeypatch.setattr(opengl, "prepare", lambda what: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silri\[hil\]'"):
        create_env(NAME, PickCubeConfig())


def test_the_expert_succeeds_and_success_terminates(drawing: None) -> None:
    env = build()
    assert env.env_spec.action == ActionSpec(4, (3,))
    assert env.env_spec.control_hz == 10.0
    for seed in range(2):
        *before, last = experts(env, seed)
        assert last == (10.0, True, False, True)
        assert set(before) == {(-0.05, False, False, False)}
        assert len(before) < 40


def test_a_time_out_is_truncated_and_a_cube_that_is_gone_is_a_failure(drawing: None) -> None:
    env = build(max_episode_steps=3)
    env.reset(seed=0)
    up = np.float32([0, 0, 1, -1])
    ends = [env.step(up)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    env.reset(seed=0)
    raw = env._env.unwrapped._raw  # type: ignore[attr-defined]
    raw.data.joint("block").qpos[0] = 0.8
    _, reward, terminated, truncated, info = env.step(up)
    assert (reward, terminated, truncated, info["success"]) == (-0.05, True, False, False)


def test_the_seed_decides_the_layout_and_the_episode(drawing: None) -> None:
    env = build()
    layouts = [env.reset(seed=seed)[1]["layout"] for seed in (4, 5, 4)]
    np.testing.assert_array_equal(layouts[0], layouts[2])
    assert np.abs(layouts[0] - layouts[1]).max() > 0.01
    assert experts(env, 4) == experts(build(), 4)


def test_cameras_show_the_cube_and_nothing_else_does(drawing: None) -> None:
    env = build(observation="pixels", image_size=48)
    shapes = {key: array.shape for key, array in env.env_spec.observation.items()}
    assert shapes == {"state": (18,), "images.front": (48, 48, 3), "images.wrist": (48, 48, 3)}
    first, other = env.reset(seed=4)[0], env.reset(seed=5)[0]
    np.testing.assert_array_equal(first["state"], other["state"])
    assert (first["images.front"] != other["images.front"]).any()
    again, _ = env.reset(seed=4)
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
