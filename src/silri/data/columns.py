"""Columns that an agent's losses need beside a transition, computed when an episode is added.

An agent names them in ``AgentConfig.columns``; a batch has them in ``Batch.columns``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from silri.core.errors import UsageError
from silri.core.registry import unknown_name
from silri.data.episode import Episode


def mc_return(episode: Episode, discount: float) -> np.ndarray:
    """(T,) float32: the discounted sum of all rewards from each step to the episode's end.

    A time-out is no end of the task: its last reward counts as if it came for ever, r / (1 - gamma)
    (of an attempt that never succeeds that is what ConRFT's code takes; without it a failure that
    was cut short would look better than a success that takes its time). In the environment's
    unit; a batch has it in the unit that is learned in.
    """
    result, total = np.empty(len(episode), np.float32), 0.0
    if len(episode) and not episode.frames["terminated"][-1] and discount < 1.0:
        total = float(episode.frames["reward"][-1]) / (1.0 - discount)
    for step in range(len(episode) - 1, -1, -1):
        total = float(episode.frames["reward"][step]) + discount * total
        result[step] = total
    return result


def success(episode: Episode, discount: float) -> np.ndarray:
    """(T,) float32: 1 in every step of an episode that succeeded, else 0."""
    del discount
    return np.full(len(episode), float(episode.success), np.float32)


COLUMNS: Mapping[str, Callable[[Episode, float], np.ndarray]] = {
    "mc_return": mc_return,
    "success": success,
}
IN_REWARDS = ("mc_return",)  # scaled as rewards are


def check_columns(names: tuple[str, ...]) -> None:
    """Raise for a name that is no column; lists the right ones.

    Raises:
        UnknownNameError: see above.
    """
    for name in names:
        if name not in COLUMNS:
            error: UsageError = unknown_name("column of a batch", name, COLUMNS)
            raise error
