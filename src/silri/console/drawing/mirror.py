"""A second instance of a simulation, which does what the run's does, so that it can be drawn.

The run's own never draws: a picture costs more than a step. The mirror gets the seed and the
executed actions, and says so when what it observes is not what the run has observed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from silri.core.errors import SilriError
from silri.core.protocols import Env, Pictured
from silri.envs.config import EnvConfig
from silri.envs.registry import create_env

NICE = 10  # of the threads that draw
TOLERANCE = 1e-3  # of an observation, in its own unit (metres)


def step_back() -> None:
    """Let this thread, and those that it starts, wait for the run when both want a core."""
    if sys.platform == "linux":  # elsewhere it would be the whole process, inputs included
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))


class Mirror:
    """One episode at a time; not for two threads at once.

    Attributes:
        env: the instance.
        exact: what it observes is what the run has observed, in all of this episode.
        steps: that it has made in this episode; None before the first reset and after a fault.
    """

    def __init__(self, env: Env) -> None:
        self.env = env
        self.exact = True
        self.steps: int | None = None

    @classmethod
    def of(cls, name: str, config: EnvConfig) -> Mirror:
        """Open another instance of a run's environment.

        Raises:
            SilriError: it cannot be opened, or not drawn.
        """
        env = create_env(name, config, pictures=True)
        if not isinstance(env, Pictured):
            env.close()
            raise SilriError(f"{name} has no render(): it cannot be drawn")
        return cls(env)

    def reset(self, seed: int, observation: Mapping[str, np.ndarray] | None = None) -> None:
        """Begin an episode as the run did.

        Raises:
            SilriError: the environment refuses.
        """
        self.steps = None
        mine, _ = self.env.reset(seed=seed)
        self.steps, self.exact = 0, True
        self._compare(mine, observation)

    def step(self, action: np.ndarray, observation: Mapping[str, np.ndarray] | None = None) -> None:
        """Do what the run did.

        Args:
            action: (A,) that was executed.
            observation: that came of it, to compare with.

        Raises:
            SilriError: the environment refuses; it can be reset all the same.
        """
        if self.steps is None:
            raise SilriError("the mirror has missed the beginning of the episode")
        steps, self.steps = self.steps, None
        mine, *_ = self.env.step(np.array(action, np.float32))
        self.steps = steps + 1
        self._compare(mine, observation)

    def picture(self) -> np.ndarray | None:
        """(H, W, 3) uint8 of what is there now; None if the environment has none.

        Raises:
            SilriError: it cannot be drawn; says why.
        """
        assert isinstance(self.env, Pictured)
        return self.env.render()

    @property
    def view(self) -> Any:
        """Where +1 of each action goes in a picture, (right, up) each; None if nobody knows."""
        return getattr(self.env, "view", None)

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _compare(
        self, mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray] | None
    ) -> None:
        for key, value in (theirs or {}).items():
            if value.ndim == 1 and np.abs(mine[key] - value).max(initial=0.0) > TOLERANCE:
                self.exact = False
