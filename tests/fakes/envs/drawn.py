"""The point mass with a picture of itself; chosen by :data:`NAME`."""

from __future__ import annotations

import numpy as np

from tests.fakes.envs.point import FakeEnvConfig, PointMass

NAME = "tests.fakes.envs.drawn:Drawn"
SIDE = 64


class DrawnPoint(PointMass):
    """White: where the point is; green: where it is to go."""

    view = ([1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0])

    def render(self):
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        for place, colour in ((self._goal, (0, 255, 0)), (self._place, (255, 255, 255))):
            column, row = ((place[0, :2] * [1, -1] + 1.5) / 3.0 * (SIDE - 8)).astype(int)
            image[row : row + 8, column : column + 8] = colour
        return image


class Drawn:
    """For the command line and :class:`~silri.configs.run.RunConfig`."""

    Config = FakeEnvConfig

    @staticmethod
    def create(config, name):
        return DrawnPoint("one-arm", config)
