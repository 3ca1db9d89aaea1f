"""Meta-World with a note of when each action was executed: chosen as ``--env timed:Timed``.

The notes go to the folder in ``SILRI_TIMED``, one file per process, one line of JSON per reset and
per step, with the seconds of the system's monotonic clock: every process of a machine reads it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from silri.core.specs import Observation
from silri.envs.config import MetaworldConfig
from silri.envs.metaworld.env import MetaworldEnv

TASK = "drawer-open-v3"


class TimedEnv(MetaworldEnv):
    """See the module's docstring."""

    def __init__(self, config: MetaworldConfig) -> None:
        super().__init__(TASK, config)
        path = Path(os.environ["SILRI_TIMED"]) / f"{os.getpid()}.jsonl"
        self._notes = path.open("a", buffering=1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Note the seed."""
        result = super().reset(seed=seed, options=options)
        self._note({"seed": seed})
        return result

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Note the action, in the moment in which the robot begins with it."""
        self._note({"action": [round(float(value), 5) for value in action]})
        return super().step(action)

    def _note(self, record: dict[str, Any]) -> None:
        self._notes.write(json.dumps({"at": time.monotonic(), **record}) + "\n")


class Timed:
    """For the command line."""

    Config: ClassVar = MetaworldConfig

    @staticmethod
    def create(config: MetaworldConfig, name: str) -> TimedEnv:
        """Build the simulator."""
        del name
        return TimedEnv(config)
