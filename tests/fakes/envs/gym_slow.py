"""The point mass at the pace of a robot, for runs whose learner and robots live side by side."""

from __future__ import annotations

import time

import gymnasium

from tests.fakes.envs.gym_point import GymPoint

IDENTIFIER = "tests.fakes.envs.gym_slow:SlowPoint-v0"
STEP_S = 0.15


class SlowPoint(GymPoint):
    def step(self, action):
        time.sleep(STEP_S)
        return super().step(action)


gymnasium.register("SlowPoint-v0", SlowPoint, max_episode_steps=8)
