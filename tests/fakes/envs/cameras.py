"""The point mass as two small cameras see it, and a frozen encoder of a moment; see the names."""

from __future__ import annotations

import jax
import numpy as np

from silri.core.specs import ArraySpec
from silri.nn.encoders.backbone import Backbone
from tests.fakes.envs.point import FakeEnvConfig, PointMass

NAME = "tests.fakes.envs.cameras:Cameras"
ENCODER = "tests.fakes.envs.cameras:load"
OTHER_ENCODER = "tests.fakes.envs.cameras:load_other"
SIDE, STRIDE, CHANNELS = 32, 8, 6


class SeenPoint(PointMass):
    """``front`` sees point and goal from above, ``side`` from the side; ``state`` no goal."""

    def __init__(self, name="one-arm", config=None):
        super().__init__(name, config)
        frames = ArraySpec((SIDE, SIDE, 3), "uint8")
        observation = {"state": self.env_spec.observation["state"], "front": frames, "side": frames}
        object.__setattr__(self.env_spec, "observation", observation)

    def _observation(self):
        state = super()._observation()["state"]
        return {"state": state, "front": self._seen((0, 1)), "side": self._seen((0, 2))}

    def _seen(self, axes):
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        for places, colour in ((self._goal, 1), (self._place, 0)):
            for place in places:
                column, row = ((place[list(axes)] + 1.5) / 3.0 * (SIDE - 6)).astype(int)
                image[row : row + 6, column : column + 6, colour] = 255
        return image


class Cameras:
    """For the command line and :class:`~silri.configs.run.RunConfig`."""

    Config = FakeEnvConfig

    @staticmethod
    def create(config, name):
        return SeenPoint("one-arm", config)


def load(weights=None):
    """Random patches, as a backbone."""
    return _backbone("fake", 0)


def load_other(weights=None):
    """Other random patches."""
    return _backbone("other", 1)


def _backbone(name, seed):
    kernel = np.random.default_rng(seed).normal(0, 0.1, (STRIDE, STRIDE, 3, CHANNELS))
    params = {"kernel": kernel.astype(np.float32)}
    return Backbone(name, f"{seed:016x}", STRIDE, CHANNELS, _apply), params


def _apply(params, frames):
    pixels = frames.astype(np.float32) / 255.0
    axes = ("NHWC", "HWIO", "NHWC")
    strides = (STRIDE, STRIDE)
    maps = jax.lax.conv_general_dilated(
        pixels, params["kernel"], strides, "VALID", dimension_numbers=axes
    )
    return jax.nn.relu(maps)
