"""Mean and deviation of observations, for normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from silri.core.errors import DataError
from silri.data.episode import Episode

DEVIATION_FLOOR = 1e-2


class Statistics(NamedTuple):
    """Of one observation key. A pytree without importing JAX.

    Attributes:
        mean, std: (*shape) float32; ``std`` is at least the floor it was made with.
    """

    mean: np.ndarray
    std: np.ndarray


def observation_statistics(
    episodes: Sequence[Episode], floor: float = DEVIATION_FLOOR
) -> dict[str, Statistics]:
    """Per-dimension statistics over all observations (the final ones too) of ``episodes``.

    Args:
        episodes: normally the demonstrations, at least one.
        floor: smallest deviation, in the observation's own unit (metres for positions). What
            never moves in a demonstration (a fixed goal, a hand that stays level) has a
            deviation near 0; divided by it, the first millimetre that the policy strays would
            come out as hundreds of deviations and drive the networks far out of their range.

    Returns:
        Statistics per float key. Images (uint8) are left out: their scale is known.

    Raises:
        DataError: if there is no episode.
    """
    if not episodes:
        raise DataError("no episode to take observation statistics from; record demonstrations")
    result = {}
    for key, first in episodes[0].observations.items():
        if first.dtype == np.uint8:
            continue
        # float64: a mean over 1e5 rows in float32 loses the digits that the deviation is made of.
        rows = np.concatenate([episode.observations[key] for episode in episodes], dtype=np.float64)
        result[key] = Statistics(
            rows.mean(0).astype(np.float32),
            np.maximum(rows.std(0), floor).astype(np.float32),
        )
    return result
