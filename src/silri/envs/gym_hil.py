"""gym-hil's Franka (``silri[hil]``), for policies and simulated people: a cube, or five boxes.

Built from its environment classes, not from the registered ids: those draw a layout from
numpy's global generator, which ``reset(seed=)`` does not decide, and keep a renderer even for
vectors. Here the seed decides the layout, and both cameras share one quick renderer.

The hand always points down. An action is (4,): x, y, z as shares of 0.025 m per decision, and a
gripper. The episode ends with success (the cube is 0.1 m higher; each box is on the mark of its
colour), or as a failure where the cube, or the red box, leaves the table's middle; a time-out is
neither, and bootstraps.

gym-hil gives both tasks 100 decisions. Five boxes take a hand of this speed more: 18 down to the
table, then some 40 a box, there and back and up and down. ``hil/arrange-boxes`` has 400.
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
BOXES = 5
_CAMERAS = {"front": "front", "wrist": "handcam_rgb"}
_ABOVE, _ALIGNED, _AT, _HELD = 0.06, 0.02, 0.012, 0.03  # metres, of the expert
_SQUEEZED = 3  # decisions until the fingers hold it
_PLACED, _NEAR = 0.018, 0.03  # metres off its mark: where to open, and to lower; likewise to close
_RESTING, _CARRIED = 0.026, 0.09  # metres: heights of a box
_DEEP = 0.02  # metres above or below a box at which the fingers still hold it
_RELEASED = 2  # decisions until the fingers have let go


def create(name: str, config: PickCubeConfig) -> GymEnv:
    """Build the simulation.

    Raises:
        MissingExtraError: gym-hil is not installed.
        EnvironmentFault: nothing draws here; gym-hil draws once even where only numbers are wanted.
    """
    opengl.prepare("gym-hil's first picture")
    try:
        from gym_hil import envs
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "gym_hil":
            raise
        raise MissingExtraError("hil", f"'{name}'") from error
    if name == "hil/arrange-boxes":
        return env_from(ArrangeBoxes(envs.PandaArrangeBoxesGymEnv(), config), name, config)
    return env_from(PickCube(envs.PandaPickCubeGymEnv(), config), name, config)


class Franka(gymnasium.Env[Any, np.ndarray]):
    """What both tasks share: a seeded layout and a (4,) action.

    Observation: ``agent_pos`` (18,) = 7 joint positions and velocities in radians, gripper
    command, hand xyz in metres; and ``environment_state``, what lies on the table, xyz each; or two
    cameras.
    """

    objects: tuple[str, ...]  # sensors of what lies on the table

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
            else {"environment_state": box(-np.inf, np.inf, (3 * len(self.objects),), np.float32)}
        )
        state = box(-np.inf, np.inf, (raw.get_robot_state().size,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"agent_pos": state, **seen})
        self.action_space = box(-1.0, 1.0, (4,), np.float32)
        self.metadata = {"render_modes": [], "render_fps": round(1.0 / raw.control_dt)}
        self._closed_for = self._open_for = 0  # decisions

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; things lie where ``seed`` says."""
        del options  # Gymnasium's signature; there are none
        super().reset(seed=seed)
        self._raw.reset(seed=seed)
        layout = self._lay()
        mujoco.mj_forward(self._raw.model, self._raw.data)
        self._begin()
        self._closed_for, self._open_for = 0, _RELEASED
        return self._observation(), {"layout": layout}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Move the hand by ``action`` (4,); the gripper closes where its last is above 0."""
        closing = bool(action[3] > 0)
        self._closed_for = self._closed_for + 1 if closing else 0
        self._open_for = 0 if closing else self._open_for + 1
        command = np.array([*action[:3] * STEP, 0.0, 0.0, 0.0, 1.0 if closing else -1.0])
        _, reward, terminated, truncated, info = self._raw.step(command)
        info = {"succeed": bool(info["succeed"])}
        return self._observation(), float(reward), bool(terminated), bool(truncated), info

    def privileged(self) -> Privileged:
        """What the expert does, and where things are."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the simulator."""
        if self._renderer is not None:
            self._renderer.close()

    def _lay(self) -> np.ndarray:
        """Put things where this episode's generator says; the layout."""
        raise NotImplementedError

    def _begin(self) -> None:
        """What depends on where things lie."""

    def _place(self, sensor: str) -> np.ndarray:
        place: np.ndarray = self._raw.data.sensor(sensor).data
        return place

    def _observation(self) -> dict[str, Any]:
        raw = self._raw
        seen: dict[str, Any] = {"agent_pos": raw.get_robot_state().astype(np.float32)}
        if self._renderer is None:
            places = np.concatenate([self._place(sensor) for sensor in self.objects])
            return {**seen, "environment_state": places.astype(np.float32)}
        pictures = {}
        for name, camera in _CAMERAS.items():
            self._renderer.update_scene(raw.data, camera=camera)
            pictures[name] = self._renderer.render()
        return {**seen, "pixels": pictures}


class PickCube(Franka):
    """One cube is to be lifted."""

    objects = ("block_pos",)

    def privileged(self) -> Privileged:
        """Above the cube, down, close, up."""
        hand, cube = self._place("2f85/pinch_pos"), self._place("block_pos")
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

    def _lay(self) -> np.ndarray:
        place = self.np_random.uniform(LOW, HIGH)
        self._raw.data.joint("block").qpos[:2] = place
        return place

    def _begin(self) -> None:
        raw = self._raw
        raw._z_init = self._place("block_pos")[2]
        raw._z_success = raw._z_init + LIFT


class ArrangeBoxes(Franka):
    """Five boxes in a row, in any order, are to lie on the marks of their colours."""

    objects = tuple(f"block{number}_pos" for number in range(1, BOXES + 1))

    def privileged(self) -> Privileged:
        """The nearest box that is not on its mark: above, down, close, up, over, down, open."""
        hand = self._place("2f85/pinch_pos").copy()
        boxes = np.stack([self._place(sensor) for sensor in self.objects])
        marks = np.stack([self._place(f"target{n}_pos") for n in range(1, BOXES + 1)])
        away = np.linalg.norm(boxes - hand, axis=1)
        held = self._closed_for > 0 and away.min() < _HELD
        off = np.linalg.norm((boxes - marks)[:, :2], axis=1)
        placed = (off < _PLACED) & (boxes[:, 2] < _RESTING)
        number = int(np.argmin(away if held or placed.all() else np.where(placed, np.inf, away)))
        box = boxes[number]
        goal = np.array([*marks[number, :2], boxes[number, 2] if placed[number] else 0.02])
        if held and not placed[number]:
            action = self._carried(box, goal)
        elif held or placed.all():
            action = np.array([0.0, 0.0, 0.0, -1.0], np.float32)
        else:
            action = self._fetched(hand, box)
        return Privileged(action, hand=hand, object=box.copy(), goal=goal)

    def _fetched(self, hand: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Go to a box and close."""
        if self._open_for < _RELEASED and self._closed_for == 0:
            return np.array([0.0, 0.0, 0.0, -1.0], np.float32)
        way = box - hand
        aside = float(np.hypot(*way[:2]))
        if aside < _PLACED and abs(way[2]) < _DEEP:
            return np.array([0.0, 0.0, 0.0, 1.0], np.float32)
        if aside > _NEAR:
            way[2] += _ABOVE
            if aside > _ABOVE and hand[2] < box[2] + _HELD:  # from another: up before all else
                way[:2] = 0.0
        return np.array([*way / STEP, -1.0], np.float32)

    def _carried(self, box: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Go with a box to its mark and open."""
        way = goal - box
        if self._closed_for < _SQUEEZED:
            return np.array([0.0, 0.0, 0.0, 1.0], np.float32)
        off = float(np.hypot(*way[:2]))
        if off > _NEAR:
            way[2] = _CARRIED - box[2]
            if way[2] > _HELD:  # over the others, not through them
                way[:2] = 0.0
        elif box[2] < _RESTING and off < _PLACED:
            return np.array([0.0, 0.0, 0.0, -1.0], np.float32)
        return np.array([*way / STEP, 1.0], np.float32)

    def _lay(self) -> np.ndarray:
        order = self.np_random.permutation(BOXES)
        row = np.linspace(-self._raw.block_range, self._raw.block_range, BOXES)
        for number, place in enumerate(row[order], start=1):
            self._raw.data.joint(f"block{number}").qpos[1] = place
        return order
