"""From what a hand does to an action: dead zone, scale, sign, and which dimension is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from silri.core.errors import ConfigError
from silri.core.specs import ActionSpec

# What a hand can do, in the frame of robots: x forward, y to the left, z up, and about them.
Motion = Literal["x", "y", "z", "roll", "pitch", "yaw"]
MOTIONS: tuple[Motion, ...] = ("x", "y", "z", "roll", "pitch", "yaw")
ROTATIONS = frozenset({"roll", "pitch", "yaw"})

# What an action dimension does when it is positive, as the person sees it.
Direction = Literal[
    "forward", "back", "left", "right", "up", "down",
    "roll", "pitch", "yaw", "roll-", "pitch-", "yaw-", "gripper", "none",
]  # fmt: skip
_MOTION_OF: Mapping[str, tuple[Motion, float]] = {
    "forward": ("x", 1.0),
    "back": ("x", -1.0),
    "left": ("y", 1.0),
    "right": ("y", -1.0),
    "up": ("z", 1.0),
    "down": ("z", -1.0),
    "roll": ("roll", 1.0),
    "pitch": ("pitch", 1.0),
    "yaw": ("yaw", 1.0),
    "roll-": ("roll", -1.0),
    "pitch-": ("pitch", -1.0),
    "yaw-": ("yaw", -1.0),
}
DEFAULT_DIRECTIONS: tuple[Direction, ...] = ("forward", "left", "up", "roll", "pitch", "yaw")


def without_dead_zone(value: float, zone: float) -> float:
    """A deflection in [-1, 1] that is 0 up to ``zone`` and goes on from there without a jump."""
    size = min(abs(value), 1.0)
    return 0.0 if size <= zone else float(np.copysign((size - zone) / (1.0 - zone), value))


class ActionMap:
    """Which motion of the hand drives which continuous dimension of the action."""

    def __init__(
        self,
        spec: ActionSpec,
        directions: Sequence[str],
        *,
        invert: Sequence[str] = (),
        scale: float = 1.0,
        rotation_scale: float = 1.0,
        dead_zone: float = 0.0,
    ) -> None:
        """Map ``directions[i]`` to the i-th continuous dimension; the rest is never moved.

        Args:
            spec: of the environment.
            directions: see :data:`Direction`; none: those of a robot, as many as there are.
            invert: motions whose sign is turned.
            scale: action of a full deflection.
            rotation_scale: the same for rotations, times ``scale``.
            dead_zone: deflection below which nothing moves.

        Raises:
            ConfigError: there are more directions than continuous dimensions.
        """
        dims = spec.continuous
        directions = tuple(directions) or DEFAULT_DIRECTIONS[: len(dims)]
        if len(directions) > len(dims):
            raise ConfigError(
                f"operator.axes has {len(directions)} directions ({' '.join(directions)}); the "
                f"action has {len(dims)} continuous dimensions"
            )
        self.directions = directions
        self.spec, self._zone = spec, dead_zone
        self._weight = np.zeros((spec.size, len(MOTIONS)), np.float32)
        self._gripper_dims = [
            dim for dim, name in zip(dims, directions, strict=False) if name == "gripper"
        ]
        for dim, name in zip(dims, directions, strict=False):
            if name in _MOTION_OF:
                motion, sign = _MOTION_OF[name]
                sign = -sign if motion in invert else sign
                size = scale * (rotation_scale if motion in ROTATIONS else 1.0)
                self._weight[dim, MOTIONS.index(motion)] = sign * size

    @property
    def has_gripper(self) -> bool:
        """Whether anything of the action is a gripper."""
        return bool(self.spec.gripper or self._gripper_dims)

    @property
    def motions(self) -> tuple[Motion, ...]:
        """The motions that move something."""
        return tuple(m for i, m in enumerate(MOTIONS) if self._weight[:, i].any())

    def deflection(self, motion: Mapping[str, float]) -> np.ndarray:
        """(6,) in [-1, 1], without the dead zone, in the order of :data:`MOTIONS`."""
        return np.asarray(
            [without_dead_zone(motion.get(name, 0.0), self._zone) for name in MOTIONS], np.float32
        )

    def action(self, deflection: np.ndarray, closed: bool, speed: float = 1.0) -> np.ndarray:
        """(A,) in [-1, 1].

        Args:
            deflection: (6,) of :meth:`deflection`.
            closed: the grippers.
            speed: of the motion; 1 is what the configuration says.
        """
        return self.with_grippers(self._weight @ (speed * deflection), closed)

    def with_grippers(self, action: np.ndarray, closed: bool) -> np.ndarray:
        """``action`` (A,) with its grippers open or closed, in [-1, 1]."""
        action = action.copy()
        action[self._gripper_dims] = 1.0 if closed else -1.0
        values = self.spec.gripper_values
        action[list(self.spec.gripper)] = values[-1] if closed else values[0]
        return self.spec.snap(action)

    def is_closed(self, action: np.ndarray) -> bool:
        """Whether ``action`` (A,) closes a gripper; False without one."""
        if self.spec.gripper:
            values = self.spec.gripper_values
            middle = (values[0] + values[-1]) / 2
            grippers = np.asarray(action)[list(self.spec.gripper)] > middle
            return bool(grippers.any() == (values[-1] > values[0]))
        return bool((np.asarray(action)[self._gripper_dims] > 0).any())
