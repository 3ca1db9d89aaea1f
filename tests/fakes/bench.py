"""The arms of LeRobot's stand-in, and a person who drives one and says when it is done."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from silri.core.commands import Command
from silri.core.protocols import OperatorInput
from silri.intervention.operators import OperatorConfig

STAND_IN = Path(__file__).parent / "lerobot_stand_in"
GOAL = 30.0  # position of the first joint where the task is done
NEAR = 3.0


@pytest.fixture
def arms(monkeypatch):
    """The plug-in's module; LeRobot's stand-in is importable meanwhile."""
    monkeypatch.syspath_prepend(str(STAND_IN))
    before = set(sys.modules)
    module = importlib.import_module("lerobot_robot_bench.arms")
    module.HELD.clear()
    yield module
    for name in set(sys.modules) - before:
        if name.startswith("lerobot"):
            del sys.modules[name]


class Driver:
    """Brings the first joint to :data:`GOAL` and says so; helps in every other step of training."""

    Config: ClassVar = OperatorConfig

    def __init__(self, size, every):
        self._size, self._every = size, every

    @classmethod
    def create(cls, config, context):
        return cls(context.action_spec.size, every=2)

    def demonstrator(self):
        return Driver(self._size, every=1)

    def begin_episode(self, rng):
        pass

    def decide(self, view):
        off = GOAL - float(view.observation["state"][0])
        if abs(off) < NEAR:
            return OperatorInput(engaged=False, commands=(Command.SUCCESS,))
        action = np.zeros(self._size, np.float32)
        action[0] = np.clip(off / 6.0, -1.0, 1.0)
        action[-1] = 1.0
        return OperatorInput(engaged=view.step % self._every == 0, action=action)

    def end_episode(self, summary):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass
