"""Your own environment: a planar two-link arm that must touch a target.

    silri train --env examples.reach_arm:ReachArm-v0 --steps 2000

``silri`` needs a registered Gymnasium id with Box observations (or a Dict of them) and a bounded
Box action. ``privileged`` is optional: with it, simulated operators can demonstrate and intervene.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from silri.core.protocols import Privileged

LINKS = np.array([0.5, 0.4])  # metres
REACHED = 0.05  # metres
SPEED = 0.2  # radians per step at full action


class ReachArm(gymnasium.Env):
    """Two joint velocities in; joint angles, hand and target out; done at the target."""

    def __init__(self) -> None:
        self.action_space = Box(-SPEED, SPEED, (2,), np.float32)
        self.observation_space = Dict(
            state=Box(-np.inf, np.inf, (6,), np.float32),
            environment_state=Box(-1.0, 1.0, (2,), np.float32),
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict, dict]:
        """A new target; the arm starts stretched out."""
        super().reset(seed=seed, options=options)
        angle, radius = self.np_random.uniform(-2.5, 2.5), self.np_random.uniform(0.3, 0.8)
        self.target = radius * np.array([np.cos(angle), np.sin(angle)])
        self.joints = np.array([0.0, 0.3])
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Reward 1 at the target, else 0."""
        self.joints = self.joints + np.asarray(action, np.float64)
        success = bool(np.linalg.norm(self._hand() - self.target) < REACHED)
        return self._observation(), float(success), success, False, {"is_success": success}

    def privileged(self) -> Privileged:
        """Jacobian-transpose control towards the target."""
        error = self.target - self._hand()
        first, second = np.cumsum(self.joints)
        jacobian = np.array(
            [
                [-LINKS[0] * np.sin(first) - LINKS[1] * np.sin(second), -LINKS[1] * np.sin(second)],
                [LINKS[0] * np.cos(first) + LINKS[1] * np.cos(second), LINKS[1] * np.cos(second)],
            ]
        )
        hand, target = (np.append(point, 0.0) for point in (self._hand(), self.target))
        return Privileged(12.0 * jacobian.T @ error, hand=hand, object=target, goal=target)

    def _hand(self) -> np.ndarray:
        angles = np.cumsum(self.joints)
        return np.array([LINKS @ np.cos(angles), LINKS @ np.sin(angles)])

    def _observation(self) -> dict[str, np.ndarray]:
        joints = np.concatenate([np.cos(self.joints), np.sin(self.joints), self._hand()])
        return {
            "state": joints.astype(np.float32),
            "environment_state": self.target.astype(np.float32),
        }


gymnasium.register("ReachArm-v0", entry_point=ReachArm, max_episode_steps=50)
