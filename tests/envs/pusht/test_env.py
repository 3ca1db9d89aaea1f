"""Push-T: relative actions, seeded layouts, an expert; what draws it needs silri[pusht]."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from silri.core.errors import ConfigError, MissingExtraError
from silri.core.protocols import Directed
from silri.core.specs import ActionSpec
from silri.envs.config import PushTConfig
from silri.envs.gym.adapter import GymEnv
from silri.envs.registry import create_env, find_env
from tests.envs.experts import experts

NAME = "pusht/push-t"


def build(**fields: Any) -> GymEnv:
    pytest.importorskip("gym_pusht", reason="needs silri[pusht]")
    env = create_env(NAME, PushTConfig(**fields))
    assert isinstance(env, GymEnv)
    return env


def test_it_is_listed_and_opens_without_being_imported() -> None:
    choice = find_env(NAME)
    assert choice.config is PushTConfig
    assert choice.preset().config.max_episode_steps == 300
    assert "silri[pusht]" in choice.summary


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gym_pusht", "gym_pusht.envs", "gym_pusht.envs.pusht"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silri\[pusht\]'"):
        create_env(NAME, PushTConfig())


def test_what_it_needs_and_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gym_pusht", reason="needs silri[pusht]")
    for name in ("gym_pusht.envs", "gym_pusht.envs.pusht"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"cannot be imported \(.*cv2.*\): pip install") as caught:
        create_env(NAME, PushTConfig())
    assert "\n" not in str(caught.value)


def test_the_expert_succeeds_and_success_terminates() -> None:
    env = build()
    assert env.env_spec.action == ActionSpec(2)
    assert env.env_spec.control_hz == 10.0
    *before, last = experts(env, 1)
    assert last == (10.0, True, False, True)
    assert set(before) == {(-0.05, False, False, False)}


def test_what_is_observed_is_in_metres() -> None:
    env = build()
    observation, info = env.reset(seed=3)
    state, corners = observation["state"], observation["environment_state"].reshape(8, 2)
    np.testing.assert_allclose(state, [*info["layout"][:2]] * 2, atol=1e-6)
    known = env.privileged()  # type: ignore[attr-defined]
    np.testing.assert_allclose(known.hand, [*state[:2], 0], atol=1e-6)
    assert np.linalg.norm(corners[0] - corners[1]) == pytest.approx(0.12, abs=1e-6)
    assert np.linalg.norm(corners - known.object[:2], axis=1).max() < 0.1


def test_an_action_moves_the_place_that_it_is_told_and_the_pusher_follows() -> None:
    env = build()
    start, _ = env.reset(seed=0)
    observation, *_ = env.step(np.float32([0.5, -1.0]))
    np.testing.assert_allclose(
        observation["state"][2:] - start["state"][2:], [0.0125, -0.025], atol=1e-6
    )
    for _ in range(8):
        observation, *_ = env.step(np.zeros(2, np.float32))
    np.testing.assert_allclose(observation["state"][:2], observation["state"][2:], atol=1e-3)


def test_the_place_stays_on_the_table_and_a_time_out_is_truncated() -> None:
    env = build(max_episode_steps=30)
    env.reset(seed=0)
    for step in range(30):
        observation, _, terminated, truncated, _ = env.step(np.ones(2, np.float32))
        assert (terminated, truncated) == (False, step == 29)
    np.testing.assert_allclose(observation["state"][2:], 0.512, atol=1e-6)


def test_it_says_which_way_actions_go() -> None:
    env = build()
    assert isinstance(env, Directed)
    assert env.directions == ("right", "back")


def test_the_seed_decides_the_layout_and_the_episode() -> None:
    env = build()
    layouts = [env.reset(seed=seed)[1]["layout"] for seed in (4, 5, 4)]
    np.testing.assert_array_equal(layouts[0], layouts[2])
    assert np.abs(layouts[0] - layouts[1]).max() > 0.01
    assert experts(env, 4) == experts(build(), 4)


def test_the_camera_shows_the_t() -> None:
    env = build(observation="pixels", image_size=64)
    shapes = {key: array.shape for key, array in env.env_spec.observation.items()}
    assert shapes == {"state": (4,), "images.top": (64, 64, 3)}
    first, other = env.reset(seed=4)[0], env.reset(seed=5)[0]
    assert (first["images.top"] != other["images.top"]).any()
    picture = env.render()
    assert picture is not None
    assert picture.shape == (256, 256, 3)
