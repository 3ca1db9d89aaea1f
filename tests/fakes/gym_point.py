"""The point mass as a registered Gymnasium id, for commands: see :data:`IDENTIFIER`."""

from __future__ import annotations

import gymnasium
import numpy as np

from tests.fakes.point import PointMass

IDENTIFIER = "tests.fakes.gym_point:Point-v0"


class GymPoint(gymnasium.Env):
    """One arm whose last action dimension is declared a gripper with ``--env.gripper-dims 3``."""

    def __init__(self) -> None:
        self._inner = PointMass()
        spec = self._inner.env_spec
        self.observation_space = gymnasium.spaces.Dict(
            {
                key: gymnasium.spaces.Box(-2.0, 2.0, array.shape, np.float32)
                for key, array in spec.observation.items()
            }
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (spec.action.size,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._inner.reset(seed=seed)

    def step(self, action):
        return self._inner.step(action)

    def privileged(self):
        return self._inner.privileged()


gymnasium.register("Point-v0", GymPoint, max_episode_steps=8)
