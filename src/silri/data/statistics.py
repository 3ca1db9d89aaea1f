"""Statistics of what was recorded: for normalisation, and for LeRobot's ``stats.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from silri.core.errors import DataError
from silri.data.episode import Episode

DEVIATION_FLOOR = 1e-2
CONSTANT = 1e-3  # of the floor: what varies by less did not vary
# Images are sampled: this many of an episode, and every n-th pixel of large ones.
_IMAGES, _IMAGE_SIDE = 32, 150


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
            hardly moves in a demonstration (a hand that stays level) has a deviation near 0;
            divided by it, the first millimetre that the policy strays would come out as
            hundreds of deviations and drive the networks far out of their range.

    What does not move at all (a goal that is always at one height) keeps its own unit, a deviation
    of 1. Demonstrations do not teach the weights behind such an input: what they make of it on the
    day that it changes is as they were drawn, and by the floor four centimetres would come out
    as four deviations of noise.

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
        std = rows.std(0)
        std = np.where(std <= CONSTANT * floor, np.maximum(1.0, floor), np.maximum(std, floor))
        result[key] = Statistics(rows.mean(0).astype(np.float32), std.astype(np.float32))
    return result


def largest_return(episodes: Iterable[Episode], discount: float) -> float:
    """The largest size of a discounted return from any step of any episode; 0 if there is none.

    The size that a critic's values have. Of episodes that end with success for a reward that is
    larger than what the way there costs, it is that reward, whatever their lengths.
    """
    largest = 0.0
    for episode in episodes:
        following = 0.0
        for reward in episode.frames["reward"][::-1].tolist():
            following = reward + discount * following
            largest = max(largest, abs(following))
    return largest


def column_statistics(columns: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    """Statistics of one episode's columns, (T, ...) each; (T, H, W, C) uint8 are images.

    Returns:
        ``column/statistic`` to a number per dimension; for images (C, 1, 1) in [0, 1].
    """
    result: dict[str, list[Any]] = {}
    for name, column in columns.items():
        if column.dtype == np.uint8 and column.ndim == 4:
            result |= {f"{name}/{k}": v for k, v in _image_statistics(column).items()}
            continue
        rows = column.reshape(len(column), -1).astype(np.float64)
        with np.errstate(invalid="ignore"):  # an episode for quarantine may hold infinities
            for statistic in ("min", "max", "mean", "std"):
                result[f"{name}/{statistic}"] = getattr(rows, statistic)(0).tolist()
        result[f"{name}/count"] = [len(column)]
    return result


class ColumnStatistics:
    """LeRobot's statistics per column, merged one episode at a time (``meta/stats.json``).

    The cost of an episode does not grow with what is stored, and merging the same episodes in
    the same order gives the same bits, whether they come from memory or from disk.
    """

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, np.ndarray]] = {}

    def add(self, stats: Mapping[str, Sequence[Any]]) -> None:
        """Merge what :func:`column_statistics` said about one more episode."""
        grouped: dict[str, dict[str, np.ndarray]] = {}
        for name, values in stats.items():
            column, _, statistic = name.rpartition("/")
            grouped.setdefault(column, {})[statistic] = np.asarray(values)
        for column, new in grouped.items():
            old = self._columns.get(column)
            self._columns[column] = new if old is None else _merge(old, new)

    def as_json(self) -> dict[str, dict[str, list[Any]]]:
        """The content of ``meta/stats.json``."""
        return {
            column: {statistic: values.tolist() for statistic, values in stats.items()}
            for column, stats in self._columns.items()
        }


def _image_statistics(images: np.ndarray) -> dict[str, list[Any]]:
    """Per channel over a sample; ``count`` is in images, as LeRobot counts them."""
    steps, height, width, channels = images.shape
    chosen = np.unique(np.linspace(0, steps - 1, min(steps, _IMAGES)).round().astype(np.int64))
    stride = max(1, max(height, width) // _IMAGE_SIDE)
    pixels = images[chosen, ::stride, ::stride]
    values = np.arange(256) / 255
    columns = []
    for channel in range(channels):
        # From a histogram: exact, and several times as fast as float arithmetic on every pixel.
        counts = np.bincount(pixels[..., channel].ravel(), minlength=256)
        seen = np.flatnonzero(counts)
        share = counts / counts.sum()
        mean = share @ values
        deviation = np.sqrt(share @ (values - mean) ** 2)
        columns.append((values[seen[0]], values[seen[-1]], mean, deviation))
    result: dict[str, list[Any]] = {
        name: np.reshape(numbers, (channels, 1, 1)).tolist()
        for name, numbers in zip(
            ("min", "max", "mean", "std"), zip(*columns, strict=True), strict=True
        )
    }
    return {**result, "count": [len(chosen)]}


def _merge(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Statistics of two sets of rows together (Chan's parallel variance)."""
    count = a["count"] + b["count"]
    shift = b["mean"] - a["mean"]
    share = b["count"] / count
    variance = a["std"] ** 2 * (1 - share) + b["std"] ** 2 * share + shift**2 * share * (1 - share)
    return {
        "min": np.minimum(a["min"], b["min"]),
        "max": np.maximum(a["max"], b["max"]),
        "mean": a["mean"] + shift * share,
        "std": np.sqrt(variance),
        "count": count,
    }
