"""What a classifier was fitted on, as features: kept with it, so that it can be fitted again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from silri.core.errors import DataError

_DTYPES = {
    "features": "float16",
    "labels": "int8",
    "episodes": "int32",
    "held_out": "bool",
    "successes": "bool",
}


@dataclass(frozen=True)
class Memory:
    """Every frame of every episode; a hundred bytes of each camera's.

    Attributes:
        features: (N, F) float16, rows of one episode together and in order.
        labels: (N,) int8, see :mod:`silri.rewards.examples`.
        episodes: (N,) int32: which episode a row is of.
        held_out: (E,) bool: nothing is fitted on the episode.
        successes: (E,) bool: the episode ended in a success.
    """

    features: np.ndarray
    labels: np.ndarray
    episodes: np.ndarray
    held_out: np.ndarray
    successes: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, for a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], where: str) -> Memory | None:
        """The inverse of :meth:`arrays`; None if there are none.

        Raises:
            DataError: they do not belong together; names ``where``.
        """
        if not arrays:
            return None
        dtypes = {name: str(array.dtype) for name, array in arrays.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        sound = dtypes == _DTYPES and len(shapes["features"]) == 2 and len(shapes["held_out"]) == 1
        if sound:
            rows, episodes = shapes["features"][:1], shapes["held_out"]
            sound = shapes["labels"] == shapes["episodes"] == rows
            sound = sound and shapes["successes"] == episodes
            used = arrays["episodes"]
            sound = sound and bool(((used >= 0) & (used < episodes[0])).all())
        if not sound:
            raise DataError(
                f"the examples in {where} do not belong together ({shapes}): fit it again"
            )
        return cls(**arrays)
