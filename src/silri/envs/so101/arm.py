"""The SO-101 as it is told: joint targets, moved a little in every decision.

The servos hold joint angles, so what the arm is told is always five of them. Both ways to drive
move *that*, never the place where the arm is: it sags by a centimetre or two under its own weight,
and an action of zero would let it sink a little more each time. What it is told stays within a
leash of where it is, so that whoever takes over at a table that is in the way need not unwind.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
HAND_STEP = 0.015  # metres per decision of a full action
JOINT_STEP = np.deg2rad(6.0)  # radians per decision of a full action
BOX = np.array([[0.08, -0.25, 0.005], [0.42, 0.25, 0.3]])  # of the hand, metres
LEASH, JOINT_LEASH = 0.06, 0.5  # how far it may be told to be from where it is: metres, radians
HOME = np.array([0.22, 0.0, 0.13])  # of the hand at the start of an episode, metres
_SETTLE = 400  # physics steps until the arm hangs still
_ITERATIONS, _DAMPING = 12, 1e-5  # of the inverse kinematics
# Metres per radian: above 0.1 m the wrist cannot bend far enough to point down. Place goes first.
_TURN = 0.015
# The hand points down, its jaws open to the left: columns are the site's axes in the world.
_DOWN = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])


class Arm:
    """Drives the arm of one simulation, and says where its hand is.

    The hand is the point between the fingertips, where a cube is to be.
    """

    def __init__(self, raw: Any) -> None:
        """Take over the arm.

        Args:
            raw: upstream's environment, made with ``top_down_ik``: it knows where the hand is.
        """
        self._raw, self._model, self._data = raw, raw.model, raw.data
        self._scratch = mujoco.MjData(self._model)
        joints = [self._model.joint(name) for name in JOINTS]
        self._at = np.array([joint.qposadr[0] for joint in joints])
        self._dof = np.array([joint.dofadr[0] for joint in joints])
        self._motors = np.array([self._model.actuator(name).id for name in JOINTS])
        self._low, self._high = self._model.actuator_ctrlrange[self._motors].T
        self._grip = self._model.actuator("gripper").id
        self._grip_at = self._model.joint("gripper").qposadr[0]
        self._grip_range = self._model.actuator_ctrlrange[self._grip]
        self._site, self._offset = raw._ee_site_id, raw._ik_point_offset
        self._body = self._model.site_bodyid[self._site]
        self._home = self.solve(np.zeros(len(JOINTS)), HOME, iterations=200)
        self._rest: np.ndarray | None = None
        self.told = self._home.copy()

    def reset(self) -> None:
        """Stand above the table, jaws open, as still as after a second there."""
        data = self._data
        self.told = self._home.copy()
        data.qpos[self._at] = self.told
        data.qpos[self._grip_at] = self._grip_range[1]
        data.ctrl[self._motors], data.ctrl[self._grip] = self.told, self._grip_range[1]
        if self._rest is None:
            scene = data.qpos.copy(), data.qvel.copy(), data.time
            for _ in range(_SETTLE):
                mujoco.mj_step(self._model, data)
            self._rest = data.qpos[[*self._at, self._grip_at]].copy()
            data.qpos[:], data.qvel[:], data.time = scene
        data.qpos[[*self._at, self._grip_at]] = self._rest
        mujoco.mj_forward(self._model, data)

    def move_hand(self, metres: np.ndarray) -> None:
        """Tell it to be ``metres`` (3,) from where it is told to be."""
        if not metres.any():
            return
        away = self.told_hand + metres - self.hand
        length = float(np.linalg.norm(away))
        target = np.clip(self.hand + away * min(1.0, LEASH / max(length, 1e-9)), *BOX)
        self.told = self.solve(self.told, target)

    def move_joints(self, radians: np.ndarray) -> None:
        """Tell it to turn by ``radians`` (5,) from what it is told."""
        there = self._data.qpos[self._at]
        told = np.clip(self.told + radians, there - JOINT_LEASH, there + JOINT_LEASH)
        self.told = np.clip(told, self._low, self._high)

    def send(self, closed: bool) -> None:
        """Give the servos what they are told."""
        self._data.ctrl[self._motors] = self.told
        self._data.ctrl[self._grip] = self._grip_range[0 if closed else 1]

    @property
    def hand(self) -> np.ndarray:
        """(3,) metres: between the fingertips."""
        return self._raw.ik_point_pos

    @property
    def told_hand(self) -> np.ndarray:
        """(3,) metres: where the hand would be if the arm did what it is told."""
        self._pose(self.told)
        return self._point()

    @property
    def opening(self) -> float:
        """Of the jaws as they are, 0 closed to 1."""
        low, high = self._grip_range
        return float((self._data.qpos[self._grip_at] - low) / (high - low))

    def solve(
        self, joints: np.ndarray, target: np.ndarray, *, iterations: int = _ITERATIONS
    ) -> np.ndarray:
        """(5,) radians with the hand at ``target`` (3,), pointing down as well as it can.

        Args:
            joints: (5,) radians to begin at; the solution nearest to them is found.
            target: metres.
            iterations: of damped least squares.
        """
        joints = joints.copy()
        linear, angular = np.zeros((2, 3, self._model.nv))
        for _ in range(iterations):
            self._pose(joints)
            point, turned = self._point(), self._scratch.site_xmat[self._site].reshape(3, 3)
            turn = 0.5 * np.cross(turned, _DOWN, axis=0).sum(axis=1)
            error = np.concatenate([target - point, _TURN * turn])
            if np.abs(error).max() < 1e-5:
                break
            mujoco.mj_jac(self._model, self._scratch, linear, angular, point, self._body)
            jacobian = np.concatenate([linear[:, self._dof], _TURN * angular[:, self._dof]])
            step = self._step(jacobian, error, joints)
            joints = np.clip(joints + np.clip(step, -0.3, 0.3), self._low, self._high)
        return joints

    def _step(self, jacobian: np.ndarray, error: np.ndarray, joints: np.ndarray) -> np.ndarray:
        """(5,) radians that make ``error`` (6,) less; a joint at its limit leaves it to others."""
        free = np.ones(len(joints), bool)
        while True:
            moving = jacobian * free
            square = moving.T @ moving + _DAMPING * np.eye(len(joints))
            step = np.linalg.solve(square, moving.T @ error)
            stuck = free & (
                ((joints <= self._low) & (step < 0)) | ((joints >= self._high) & (step > 0))
            )
            if not stuck.any():
                return step
            free &= ~stuck

    def _pose(self, joints: np.ndarray) -> None:
        self._scratch.qpos[self._at] = joints
        mujoco.mj_kinematics(self._model, self._scratch)
        mujoco.mj_comPos(self._model, self._scratch)

    def _point(self) -> np.ndarray:
        turned = self._scratch.site_xmat[self._site].reshape(3, 3)
        return self._scratch.site_xpos[self._site] + turned @ self._offset
