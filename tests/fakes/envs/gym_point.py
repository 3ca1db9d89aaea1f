"""The point mass as a registered Gymnasium id, for commands: see :data:`IDENTIFIER`."""

from __future__ import annotations

import time

import gymnasium
import numpy as np

from tests.fakes.envs.point import PointMass

IDENTIFIER = "tests.fakes.envs.gym_point:Point-v0"
CAMERA = "tests.fakes.envs.gym_point:PointCamera-v0"  # the same, seen by a camera too

ROBOT = "tests.fakes.envs.gym_point:PointRobot-v0"  # the same, which paces itself
WAITED: list[float] = []  # seconds, by robots in this process


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


class GymPointCamera(GymPoint):
    """A camera of 16 x 16 looks at the point."""

    def __init__(self) -> None:
        super().__init__()
        camera = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
        self.observation_space["images.top"] = camera

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        return self._seen(observation), info

    def step(self, action):
        observation, *rest = super().step(action)
        return self._seen(observation), *rest

    def _seen(self, observation):
        image = np.zeros((16, 16, 3), np.uint8)
        row, column = (8 + 4 * observation["state"][:2]).astype(int).clip(0, 15)
        image[row, column] = 255
        return {**observation, "images.top": image}


gymnasium.register("PointCamera-v0", GymPointCamera, max_episode_steps=8)


class GymPointRobot(GymPoint):
    """A robot: it waits by itself, between its command and its sensing."""

    def __init__(self) -> None:
        super().__init__()
        self._wait = None

    def pace(self, wait):
        self._wait = wait

    def step(self, action):
        if self._wait is None:
            return super().step(action)
        before = time.monotonic()
        self._wait()
        WAITED.append(time.monotonic() - before)
        return super().step(action)


gymnasium.register("PointRobot-v0", GymPointRobot, max_episode_steps=8)
