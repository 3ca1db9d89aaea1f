"""The SO-101 in simulation (``silri[so101]``), for its owners and for simulated people.

``so101/pick-cube`` lifts a cube by 0.1 m, ``so101/pick-place`` carries it to a place on the table.
Model, physics and success are ``lerobot-env-so101``'s, with its pads on the fingertips: without
them nothing lifts the cube, its own pick cube included.

**Actions** are relative to what the arm is told now (:mod:`silri.envs.so101.arm`). Absolute targets
would make it jump whenever somebody takes over; relative to where it *is*, it would sink.

- ``control="hand"`` (the default): (4,), x forward, y left, z up as shares of 0.015 m per decision,
  and a gripper. The hand points down, its jaws open to the left. Few dimensions, each of which
  means something to a person at a keyboard: a policy learns it from hundreds of steps.
- ``control="joints"``: (6,), five joints as shares of 6 degrees per decision, and a gripper. A
  leader arm drives all of the arm with it; a policy has more to learn.

The episode ends with success, or as a failure where the cube leaves the table's middle; a time-out
is neither, and bootstraps.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import gymnasium
import mujoco
import numpy as np

from silri.core.errors import MissingExtraError
from silri.core.protocols import Privileged
from silri.envs.config import So101Config
from silri.envs.gym.adapter import GymEnv, env_from
from silri.envs.mujoco_renderer import QuickRenderer, fixed_camera, seen_from
from silri.envs.so101.arm import HAND_STEP, JOINT_STEP, JOINTS, Arm

PICK, PLACE = "so101/pick-cube", "so101/pick-place"
LOW, HIGH = np.array([0.17, -0.12]), np.array([0.3, 0.12])  # where cube and goal may be, metres
APART = 0.08  # metres between cube and goal, at least
LIFT = 0.1  # metres: success of the pick cube
CAMERAS = ("front", "wrist")
_SCENE = 256  # pixels of the picture for a person, from behind the arm, at its right
_AZIMUTH, _ELEVATION, _DISTANCE, _MIDDLE = 30.0, -35.0, 0.75, (0.2, 0.0, 0.05)
_ABOVE, _ALIGNED, _AT, _NEAR, _SLOWLY = 0.06, 0.01, 0.012, 0.03, 0.04  # metres, of the expert
# Metres from the cube's middle to where the hand goes: the pads hold its upper half, and the jaw
# that does not move passes beside it. The other one brings the cube to it.
_GRASP = np.array([0.0, -0.008, 0.008])
_CARRY, _ARRIVED, _DOWN, _UP = 0.05, 0.012, 0.008, 0.06  # metres, of the expert with the cube
_SAG = np.array([0.004, 0.0, 0.01])  # metres by which it is told to be above where it hangs
_SQUEEZED = 4  # decisions until the jaws hold it
# Of the wrist's camera in the frame of the gripper's site, metres: its place, what it looks at
_MOUNT, _LOOK_AT = np.array([-0.06, -0.075, 0.01]), np.array([0.03, 0.0, 0.015])
_FOVY = math.radians(70.0)


def create(name: str, config: So101Config) -> GymEnv:
    """Build the simulation.

    Raises:
        MissingExtraError: lerobot-env-so101 is not installed.
        EnvironmentFault: cameras are wanted, and nothing draws here.
    """
    try:
        with _without_lerobot():
            from lerobot_env_so101.pick_env import SO101PickCubeGymEnv
            from lerobot_env_so101.pick_place_env import SO101PickPlaceGymEnv
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lerobot_env_so101":
            raise
        raise MissingExtraError("so101", f"'{name}'") from error
    kind = SO101PickPlaceGymEnv if name == PLACE else SO101PickCubeGymEnv
    joints = config.control == "joints"
    size = len(JOINTS) if joints else 3
    env = So101(kind(top_down_ik=True, jaw_pads=True), config, places=name == PLACE)
    made = env_from(env, name, replace(config, gripper_dims=(size,)))
    if not joints:  # for the arrow keys of a page
        vars(made)["view"] = [*seen_from(_AZIMUTH, _ELEVATION), [0.0, 0.0]]
    return made


@contextmanager
def _without_lerobot() -> Iterator[None]:
    """The package registers itself with LeRobot where that is there: PyTorch, and 0.6 or newer.

    A leader arm needs LeRobot in the same process, of any version, and not that.
    """
    name = "lerobot_env_so101.configuration_so101"
    stands_in = name not in sys.modules
    sys.modules.setdefault(name, ModuleType(name))
    try:
        yield
    finally:
        if stands_in:
            sys.modules.pop(name, None)


class So101(gymnasium.Env[Any, np.ndarray]):
    """A task with a seeded layout, relative actions and an expert.

    Observation: ``agent_pos`` (18,) = 5 joint positions and velocities in radians, gripper command,
    hand xyz and the xyz that it is told in metres, opening of the jaws; and ``environment_state``,
    (3,) the cube's xyz, with the goal's behind it (6,) where there is one, or two cameras.
    """

    def __init__(self, raw: Any, config: So101Config, *, places: bool) -> None:
        """Take over upstream's environment; ``places`` says whether it has a goal."""
        self._raw, self._places, self._arm = raw, places, Arm(raw)
        raw.apply_action = self._apply
        self._joints = config.control == "joints"
        if not self._joints:
            self.directions = ("forward", "left", "up")
        self._size = config.image_size or 128
        pixels = config.observation == "pixels"
        self._renderer = self._open(self._size, "what the cameras see") if pixels else None
        self._scene: QuickRenderer | None = None
        self._behind = fixed_camera(_AZIMUTH, _ELEVATION, _DISTANCE, _MIDDLE)
        box = gymnasium.spaces.Box
        shape = (self._size, self._size, 3)
        pictures: dict[str, gymnasium.Space[Any]] = {
            name: box(0, 255, shape, np.uint8) for name in CAMERAS
        }
        seen: dict[str, Any] = (
            {"pixels": gymnasium.spaces.Dict(pictures)}
            if pixels
            else {"environment_state": box(-np.inf, np.inf, (6 if places else 3,), np.float32)}
        )
        state = box(-np.inf, np.inf, (2 * len(JOINTS) + 8,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"agent_pos": state, **seen})
        moving = len(JOINTS) if self._joints else 3
        self.action_space = box(-1.0, 1.0, (moving + 1,), np.float32)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(1.0 / raw.control_dt)}
        self.render_mode = "rgb_array"
        self._closed_for = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; cube and goal lie where ``seed`` says."""
        del options  # Gymnasium's signature; there are none
        super().reset(seed=seed)
        raw, data = self._raw, self._raw.data
        place = self.np_random.uniform(LOW, HIGH)
        goal = self.np_random.uniform(LOW, HIGH)
        while self._places and math.dist(place, goal) < APART:
            goal = self.np_random.uniform(LOW, HIGH)
        raw.reset(seed=seed)
        data.joint("block").qpos[:2] = place
        if self._places:
            raw._goal_pos[:2] = goal
        self._arm.reset()
        self._closed_for = 0
        self._floor = float(data.sensor("block_pos").data[2])
        return self._observation(), {"layout": np.array([*place, *goal[: 2 * self._places]])}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Move by ``action`` (4,) or (6,); the gripper closes where its last is above 0."""
        self._closed_for = self._closed_for + 1 if action[-1] > 0 else 0
        _, reward, terminated, truncated, info = self._raw.step(action)
        info = {"succeed": bool(info["succeed"])}
        return self._observation(), float(reward), bool(terminated), bool(truncated), info

    def privileged(self) -> Privileged:
        """Above the cube, down, close, up; then above the goal, down, open."""
        data, hand = self._raw.data, self._arm.hand
        cube = data.sensor("block_pos").data.copy()
        goal = np.array([*cube[:2], self._floor + LIFT])
        if self._places:
            goal = self._raw.goal_pos
        way, closed = self._place(hand, cube, goal) if self._places else (None, False)
        if way is None:
            way, closed = self._pick(hand, cube)
        action = np.array([*self._towards(way), 1.0 if closed else -1.0], np.float32)
        return Privileged(action, hand=hand.copy(), object=cube, goal=goal)

    def render(self) -> np.ndarray:
        """(256, 256, 3) uint8: the table from behind the arm, at its right; nothing moves.

        Raises:
            EnvironmentFault: there is no OpenGL to draw with; says how to get some.
        """
        if self._scene is None:
            self._scene = self._open(_SCENE, "the scene")
        self._scene.update_scene(self._raw.data, camera=self._behind)
        self._mark_goal(self._scene)
        return self._scene.render()

    def close(self) -> None:
        """Release the simulator."""
        for renderer in (self._renderer, self._scene):
            if renderer is not None:
                renderer.close()
        self._renderer = self._scene = None

    def _apply(self, action: np.ndarray) -> None:
        """Stands in for upstream's, whose targets run away and sink."""
        if self._joints:
            self._arm.move_joints(action[:-1] * JOINT_STEP)
        else:
            self._arm.move_hand(action[:-1] * HAND_STEP)
        self._arm.send(bool(action[-1] > 0))
        mujoco.mj_step(self._raw.model, self._raw.data, nstep=self._raw._n_substeps)

    def _pick(self, hand: np.ndarray, cube: np.ndarray) -> tuple[np.ndarray, bool]:
        """The way (3,) in metres, and whether the jaws close: until the cube is in the air."""
        way = cube + _GRASP - hand
        away = float(np.linalg.norm(way))
        if (self._closed_for > 0 and away < _NEAR) or away < _AT:
            if self._closed_for >= _SQUEEZED:
                return np.array([0.0, 0.0, _UP]), True
            return way * (1.0, 0.0, 1.0), True  # it springs: stay down; the jaws decide y
        if math.hypot(way[0], way[1]) > _ALIGNED:
            return way + np.array([0.0, 0.0, _ABOVE]), False
        if away < _SLOWLY:
            way = np.clip(way, -HAND_STEP, HAND_STEP)
        return way, False

    def _place(
        self, hand: np.ndarray, cube: np.ndarray, goal: np.ndarray
    ) -> tuple[np.ndarray | None, bool]:
        """The same with the cube in the hand, and after; None while it is neither."""
        left = goal - cube
        aside, high = math.hypot(left[0], left[1]), cube[2] - self._floor
        near = float(np.linalg.norm(cube - hand)) < _NEAR + float(_GRASP[2])
        carried = bool(self._raw._was_carried)
        if carried and aside < 2 * _ARRIVED and high < _DOWN:  # it lies there: let go
            return np.array([0.0, 0.0, 0.0 if self._arm.opening < 0.4 else _UP]), False
        if not near or self._closed_for < _SQUEEZED:
            return None, False
        if aside < (_ARRIVED if high > _CARRY / 2 else 2 * _ARRIVED) and carried:
            return np.array([left[0], left[1], -min(high, 0.012)]), True
        if high < _CARRY / 2:
            return np.array([0.0, 0.0, _UP]), True
        return np.array([left[0], left[1], _CARRY - high]), True

    def _towards(self, way: np.ndarray) -> np.ndarray:
        """(3,) or (5,) in action units, unclipped: what moves the hand by ``way`` (3,) metres."""
        arm = self._arm
        told = arm.told_hand
        # What it is told already is on its way. Half of the rest: a person's hand is late.
        change = 0.5 * (way - (told - arm.hand - _SAG))
        if not self._joints:
            return change / HAND_STEP
        near = told + np.clip(change, -HAND_STEP, HAND_STEP)
        return (arm.solve(arm.told, near) - arm.told) / JOINT_STEP

    def _observation(self) -> dict[str, Any]:
        raw, arm = self._raw, self._arm
        body = raw.get_robot_state()[: 2 * len(JOINTS) + 1]
        state = np.concatenate([body, arm.hand, arm.told_hand, [arm.opening]])
        seen: dict[str, Any] = {"agent_pos": state.astype(np.float32)}
        if self._renderer is not None:
            return {**seen, "pixels": {name: self._picture(name) for name in CAMERAS}}
        cube = raw.data.sensor("block_pos").data
        scene = np.concatenate([cube, raw.goal_pos]) if self._places else cube
        return {**seen, "environment_state": scene.astype(np.float32)}

    def _picture(self, camera: str) -> np.ndarray:
        renderer = self._renderer
        assert renderer is not None
        renderer.update_scene(self._raw.data, camera="front")
        if camera == "wrist":
            self._look_from_wrist(renderer.scene)
        self._mark_goal(renderer)
        return renderer.render()

    def _look_from_wrist(self, scene: Any) -> None:
        """Move both eyes of ``scene`` to the wrist: the model has no camera there."""
        data, site = self._raw.data, self._raw._ee_site_id
        turned = data.site_xmat[site].reshape(3, 3)
        place = data.site_xpos[site] + turned @ _MOUNT
        ahead = data.site_xpos[site] + turned @ _LOOK_AT - place
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, turned[:, 0])
        up = np.cross(right / np.linalg.norm(right), ahead)
        for eye in scene.camera:
            eye.pos[:], eye.forward[:], eye.up[:] = place, ahead, up
            half = eye.frustum_near * math.tan(_FOVY / 2)
            eye.frustum_bottom, eye.frustum_top, eye.frustum_width = -half, half, half
            eye.frustum_center = 0.0

    def _mark_goal(self, renderer: QuickRenderer) -> None:
        """A green plate where the cube is to go."""
        scene = renderer.scene
        if not self._places or scene.ngeom >= scene.maxgeom:
            return
        plate = scene.geoms[scene.ngeom]
        scene.ngeom += 1
        at, size = np.array([*self._raw.goal_pos[:2], 0.0005]), np.array([0.022, 0.022, 0.0005])
        colour = np.array([0.2, 0.8, 0.3, 1.0], np.float32)
        mujoco.mjv_initGeom(plate, mujoco.mjtGeom.mjGEOM_BOX, size, at, np.eye(3).ravel(), colour)

    def _open(self, size: int, what: str) -> QuickRenderer:
        self._raw.model.vis.global_.offwidth = max(size, self._raw.model.vis.global_.offwidth)
        self._raw.model.vis.global_.offheight = max(size, self._raw.model.vis.global_.offheight)
        return QuickRenderer(self._raw.model, size, what)
