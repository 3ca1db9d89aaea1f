"""gym-hil's Franka that picks up a cube (``silri[hil]``), for policies and simulated people.

Built from its environment class, not from the registered ids: those draw a cube's place from
numpy's global generator, which ``reset(seed=)`` does not decide, and keep a renderer even for
vectors. Here the seed decides the layout, and both cameras share one quick renderer.

The hand always points down. An action is (4,): x, y, z as shares of 0.025 m per decision, and a
gripper. The episode ends with success (the cube is 0.1 m higher), or as a failure where the cube
leaves the table's middle; a time-out is neither, and bootstraps.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np

from silri.core.errors import MissingExtraError
from silri.core.protocols import Privileged
from silri.envs import opengl
from silri.envs.config import PickCubeConfig
from silri.envs.gym.adapter import GymEnv, env_from
from silri.envs.mujoco_renderer import QuickRenderer, free

STEP = 0.025  # metres per decision of a full action
LOW, HIGH = np.array([0.3, -0.15]), np.array([0.5, 0.15])  # where a cube may lie, metres
LIFT = 0.1  # metres: success
_CAMERAS = {"front": "front", "wrist": "handcam_rgb"}
_ABOVE, _ALIGNED, _AT, _HELD = 0.06, 0.02, 0.012, 0.03  # metres, of the expert
_SQUEEZED = 3  # decisions until the fingers hold it


def create(name: str, config: PickCubeConfig) -> GymEnv:
    """Build the simulation.

    Raises:
        MissingExtraError: gym-hil is not installed.
        EnvironmentFault: nothing draws here; gym-hil draws once even where only numbers are wanted.
    """
    opengl.prepare("gym-hil's first picture")
    try:
        from gym_hil.envs import PandaPickCubeGymEnv
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "gym_hil":
            raise
        raise MissingExtraError("hil", f"'{name}'") from error
    return env_from(PickCube(PandaPickCubeGymEnv(), config), name, config)


class PickCube(gymnasium.Env[Any, np.ndarray]):
    """The task with a seeded layout, a (4,) action and an expert.

    Observation: ``agent_pos`` (18,) = 7 joint positions and velocities in radians, gripper
    command, hand xyz in metres; and ``environment_state`` (3,), the cube's xyz, or two cameras.
    """

    def __init__(self, raw: Any, config: PickCubeConfig) -> None:
        """Take over upstream's environment."""
        free(raw._viewer)
        raw._viewer = None
        self._raw, self._pixels = raw, config.observation == "pixels"
        size = config.image_size or 128
        self._renderer = (
            QuickRenderer(raw.model, size, "what the cameras see") if self._pixels else None
        )
        box = gymnasium.spaces.Box
        pictures: dict[str, gymnasium.Space[Any]] = {
            name: box(0, 255, (size, size, 3), np.uint8) for name in _CAMERAS
        }
        seen: dict[str, Any] = (
            {"pixels": gymnasium.spaces.Dict(pictures)}
            if self._pixels
            else {"environment_state": box(-np.inf, np.inf, (3,), np.float32)}
        )
        state = box(-np.inf, np.inf, (raw.get_robot_state().size,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"agent_pos": state, **seen})
        self.action_space = box(-1.0, 1.0, (4,), np.float32)
        self.metadata = {"render_modes": [], "render_fps": round(1.0 / raw.control_dt)}
        self._closed_for = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; the cube lies where ``seed`` says."""
        del options  # Gymnasium's signature; there are none
        super().reset(seed=seed)
        raw, place = self._raw, self.np_random.uniform(LOW, HIGH)
        raw.reset(seed=seed)
        raw.data.joint("block").qpos[:2] = place
        mujoco.mj_forward(raw.model, raw.data)
        raw._z_init = raw.data.sensor("block_pos").data[2]
        raw._z_success = raw._z_init + LIFT
        self._closed_for = 0
        return self._observation(), {"layout": place}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Move the hand by ``action`` (4,); the gripper closes where its last is above 0."""
        closing = bool(action[3] > 0)
        self._closed_for = self._closed_for + 1 if closing else 0
        command = np.array([*action[:3] * STEP, 0.0, 0.0, 0.0, 1.0 if closing else -1.0])
        _, reward, terminated, truncated, info = self._raw.step(command)
        info = {"succeed": bool(info["succeed"])}
        return self._observation(), float(reward), bool(terminated), bool(truncated), info

    def privileged(self) -> Privileged:
        """Above the cube, down, close, up."""
        data = self._raw.data
        hand, cube = data.sensor("2f85/pinch_pos").data, data.sensor("block_pos").data
        goal = np.array([*cube[:2], self._raw._z_init + LIFT])
        way = cube - hand
        aside, away = float(np.hypot(*way[:2])), float(np.linalg.norm(way))
        holds = self._closed_for > 0 and away < _HELD
        if holds or away < _AT:
            target = np.array([*hand[:2], goal[2] + _ABOVE])
            lift = target - hand if self._closed_for >= _SQUEEZED else np.zeros(3)
            action = np.array([*lift / STEP, 1.0], np.float32)
        else:
            if aside > _ALIGNED:
                way = way + np.array([0.0, 0.0, _ABOVE])
            action = np.array([*way / STEP, -1.0], np.float32)
        return Privileged(action, hand=hand.copy(), object=cube.copy(), goal=goal)

    def close(self) -> None:
        """Release the simulator."""
        if self._renderer is not None:
            self._renderer.close()

    def _observation(self) -> dict[str, Any]:
        raw = self._raw
        seen: dict[str, Any] = {"agent_pos": raw.get_robot_state().astype(np.float32)}
        if self._renderer is None:
            cube = raw.data.sensor("block_pos").data
            return {**seen, "environment_state": cube.astype(np.float32)}
        pictures = {}
        for name, camera in _CAMERAS.items():
            self._renderer.update_scene(raw.data, camera=camera)
            pictures[name] = self._renderer.render()
        return {**seen, "pixels": pictures}
