"""A camera that freezes or goes dark is noticed while the robot moves, not in the curves.

Only a real robot's are watched (:class:`~silri.core.protocols.SelfPaced`): no two pictures of a
real sensor are the same to the byte, while a simulation's may be, when nothing moves in front of
it. And where nobody sits, a pause would never end. A picture that is missing or has another shape
is a :class:`~silri.core.errors.CameraFault` of the environment's spec.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from silri.core.specs import EnvSpec, Observation
from silri.core.transition import Transition

DARK = 8  # of 255: a lens that is covered shows some noise


class CameraWatch:
    """Counts pictures that are wrong, of every camera by itself."""

    def __init__(self, spec: EnvSpec, patience: int) -> None:
        """Begin.

        Args:
            spec: of the environment.
            patience: wrong pictures in a row until somebody is told; 0 watches nothing.
        """
        self._patience = patience
        self._cameras = [key for key, array in spec.observation.items() if array.is_image]
        self._numbers = [key for key, array in spec.observation.items() if not array.is_image]
        self._repeated = dict.fromkeys(self._cameras, 0)
        self._dark = dict.fromkeys(self._cameras, 0)

    def see(self, transition: Transition) -> list[str]:
        """What is wrong after a step: a sentence each, once in ``patience`` pictures."""
        return list(self._wrong(transition.observation, transition.next_observation))

    def _wrong(self, before: Observation, now: Observation) -> Iterator[str]:
        if not self._patience:
            return
        # Numbers that stand still with the picture say nothing of the camera.
        moves = any(not np.array_equal(before[key], now[key]) for key in self._numbers)
        for key in self._cameras:
            if not np.array_equal(before[key], now[key]):
                self._repeated[key] = 0
            elif moves:
                self._repeated[key] += 1
            self._dark[key] = self._dark[key] + 1 if now[key].max() < DARK else 0
            if self._dark[key] >= self._patience:
                self._forget(key)
                yield f"camera '{key}' is dark: no pixel of {self._patience} pictures above {DARK}"
            elif self._repeated[key] >= self._patience:
                self._forget(key)
                yield (
                    f"camera '{key}' is frozen: the same picture {self._patience} times while the "
                    "robot moved"
                )

    def _forget(self, key: str) -> None:
        self._repeated[key] = self._dark[key] = 0
