"""Environments as strangers bring them, as Gymnasium ids: each breaks one promise.

A name of :data:`IDS` that begins with ``Third`` breaks in every third episode, one with ``Dead``
from the eighth on.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os

import gymnasium
import numpy as np

from tests.fakes.envs.gym_point import GymPoint


class Odd(GymPoint):
    """A point mass with something wrong."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what, self._resets = what, 0

    def _breaks(self, where: str) -> None:
        third = self._what == f"Third{where}" and self._resets % 3 == 0
        if third or (self._what == f"Dead{where}" and self._resets >= 8):
            raise RuntimeError(f"the bus is down\nin {where.lower()}")

    def reset(self, *, seed=None, options=None):
        self._resets += 1
        self._breaks("Reset")
        observation, info = super().reset(seed=seed)
        if self._what == "NoKey":
            del observation["state"]
        return observation if self._what == "NoInfo" else (observation, info)

    def step(self, action):
        self._breaks("Step")
        observation, reward, terminated, truncated, info = super().step(action)
        success = info.pop("success")
        if self._what == "FourValues":
            return observation, reward, terminated, info
        if self._what == "Succeed":
            info["succeed"] = success
        elif self._what == "Unjudged":
            return observation, reward - 100.0, False, truncated, {}
        else:
            info["success"] = success
        return observation, reward, terminated, truncated, info

    def privileged(self):
        self._breaks("Privileged")
        return super().privileged()

    def close(self):
        if self._what == "BadClose":
            raise RuntimeError("it cannot be closed")


class NoOpenGL(gymnasium.Env):
    """MuJoCo on a computer without libosmesa6: the library is hidden from the loader."""

    def __init__(self) -> None:
        os.environ["MUJOCO_GL"] = "osmesa"
        ctypes.util.find_library = lambda name: None
        load = ctypes.CDLL.__init__

        def hidden(self, name=None, *arguments, **keywords):
            if "osmesa" in str(name).lower():
                raise OSError(f"{name}: cannot open shared object file")
            load(self, name, *arguments, **keywords)

        ctypes.CDLL.__init__ = hidden
        import mujoco  # noqa: F401

        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = self.observation_space


IDS = {
    name: f"{__name__}:{name}-v0"
    for name in (
        *("Fine", "NoInfo", "NoKey", "FourValues", "BadClose", "Succeed", "Unjudged"),
        *("ThirdReset", "ThirdStep", "ThirdPrivileged", "DeadReset", "DeadStep"),
    )
}
for _name in IDS:
    gymnasium.register(f"{_name}-v0", Odd, max_episode_steps=8, kwargs={"what": _name})
gymnasium.register("NoOpenGL-v0", NoOpenGL, max_episode_steps=8)
NO_OPENGL = f"{__name__}:NoOpenGL-v0"
