"""Durations in buckets of 1 %: fixed memory, mergeable, cheap enough for a control loop."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from silri.core.errors import DataError

LOWEST_S = 1e-5
HIGHEST_S = 100.0
GROWTH = 1.01  # upper over lower edge of a bucket: the resolution
_LOG_LOWEST = math.log(LOWEST_S)
_PER_LOG = 1.0 / math.log(GROWTH)
BUCKETS = math.ceil(math.log(HIGHEST_S / LOWEST_S) * _PER_LOG)
_LAYOUT = {"lowest_s": LOWEST_S, "highest_s": HIGHEST_S, "growth": GROWTH}


class Histogram:
    """How often which duration occurred, in seconds.

    What lies outside 10 us to 100 s counts in the first or the last bucket; ``least``, ``most``
    and ``total`` are exact.

    Attributes:
        count: values recorded.
        total: their sum.
        least, most: the extremes; infinite with the wrong sign while there is none.
    """

    __slots__ = ("_buckets", "count", "least", "most", "total")

    def __init__(self) -> None:
        self._buckets = array("q", bytes(8 * BUCKETS))
        self.clear()

    def clear(self) -> None:
        """Forget every value."""
        self._counts()[:] = 0
        self.count, self.total, self.least, self.most = 0, 0.0, math.inf, -math.inf

    def record(self, seconds: float) -> None:
        """Count one finite value."""
        index = 0
        if seconds > LOWEST_S:
            index = min(int((math.log(seconds) - _LOG_LOWEST) * _PER_LOG), BUCKETS - 1)
        self._buckets[index] += 1
        self.count += 1
        self.total += seconds
        if seconds < self.least:
            self.least = seconds
        if seconds > self.most:
            self.most = seconds

    def merge(self, other: Histogram) -> None:
        """Add everything that ``other`` has counted."""
        counts = self._counts()
        counts += other._counts()
        self.count += other.count
        self.total += other.total
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)

    def percentile(self, q: float) -> float:
        """The value that ``q`` percent do not exceed, within 1 %; NaN while empty.

        Args:
            q: 0 to 100; 0 and 100 are exact.
        """
        if not self.count:
            return math.nan
        if q <= 0:
            return self.least
        rank = math.ceil(self.count * min(q, 100.0) / 100)
        if rank == self.count:
            return self.most
        index = int(np.searchsorted(np.cumsum(self._counts()), rank))
        middle = LOWEST_S * GROWTH ** (index + 0.5)
        return min(max(middle, self.least), self.most)

    @property
    def mean(self) -> float:
        """Seconds; NaN while empty."""
        return self.total / self.count if self.count else math.nan

    def counts(self) -> np.ndarray:
        """(BUCKETS,) a copy."""
        return self._counts().copy()

    @staticmethod
    def edges() -> np.ndarray:
        """(BUCKETS + 1,) seconds: where the buckets begin and end."""
        return LOWEST_S * GROWTH ** np.arange(BUCKETS + 1)

    def describe(self) -> str:
        """One row for a person, in milliseconds."""
        if not self.count:
            return "n 0"
        parts = [f"p{q:g} {1e3 * self.percentile(q):.3f}" for q in (50, 90, 99, 99.9)]
        return f"n {self.count}  {'  '.join(parts)}  max {1e3 * self.most:.3f} ms"

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads; buckets that are empty are left out."""
        counts = self._counts()
        filled = np.flatnonzero(counts)
        return {
            **_LAYOUT,
            "count": self.count,
            "total_s": self.total,
            "least_s": self.least if self.count else None,
            "most_s": self.most if self.count else None,
            "buckets": [[int(i), int(counts[i])] for i in filled],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`.

        Raises:
            DataError: it was stored with other buckets, or does not add up.
        """
        self = cls()
        try:
            if {name: stored[name] for name in _LAYOUT} != _LAYOUT:
                raise DataError(f"a histogram's buckets are {_LAYOUT}; this one has others")
            for index, count in stored["buckets"]:
                if index < 0:
                    raise DataError(f"a histogram has no bucket {index}")
                self._buckets[index] = count
            self.count = stored["count"]
            if self.count:
                self.total = float(stored["total_s"])
                self.least, self.most = float(stored["least_s"]), float(stored["most_s"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"not a stored histogram: {error!r}") from error
        if int(self._counts().sum()) != self.count:
            raise DataError(f"a histogram of {self.count} values has {self._counts().sum()}")
        return self

    def _counts(self) -> np.ndarray:
        """The buckets as numpy sees them, without a copy."""
        return np.frombuffer(self._buckets, np.int64)
