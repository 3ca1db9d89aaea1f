"""The numbers that a run is judged by, defined once so that tables agree.

An *evaluation* is a pair ``(step, success_rate)``; lists of them are in order of steps.
"""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from silri.core.errors import UsageError

Evaluations = Sequence[tuple[int, float]]

THRESHOLD = 0.9
FINAL_EVALUATIONS = 3


def wilson_interval(
    successes: float, episodes: int, confidence: float = 0.95
) -> tuple[float, float]:
    """The Wilson score interval of a success probability.

    With ``p = successes / n`` and ``z`` the normal quantile of ``confidence``::

        (p + z^2/2n  -+  z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)

    Unlike the textbook interval it stays inside [0, 1] and is not empty at 0 of n or n of n.

    Args:
        successes: how many of the episodes succeeded.
        episodes: ``n``.
        confidence: probability that the interval covers.

    Returns:
        (lo, hi); (0, 1) when there is no episode, for then nothing is known.

    Raises:
        UsageError: if successes are not among the episodes, or confidence not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, got {confidence}")
    if not 0 <= successes <= episodes:
        raise UsageError(f"{successes} successes in {episodes} episodes cannot be")
    if episodes == 0:
        return 0.0, 1.0
    z2 = statistics.NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    p = successes / episodes
    centre = p + z2 / (2 * episodes)
    half = math.sqrt(z2 * (p * (1 - p) / episodes + z2 / (4 * episodes**2)))
    scale = 1 + z2 / episodes
    # Rounding must not push a bound past the share itself at 0 of n and n of n.
    return min(max((centre - half) / scale, 0.0), p), max(min((centre + half) / scale, 1.0), p)


def steps_to_threshold(evaluations: Evaluations, threshold: float = THRESHOLD) -> int | None:
    """The step of the first of two *consecutive* evaluations at success >= ``threshold``.

    One lucky evaluation does not count. None if it never happens; tables then censor it at the
    budget (:func:`median_and_range`).
    """
    for (step, rate), (_, following) in itertools.pairwise(evaluations):
        if rate >= threshold and following >= threshold:
            return step
    return None


def final_success(evaluations: Evaluations) -> float | None:
    """Success at the end: the mean of the last three evaluations (of all, if there are fewer).

    None without any evaluation.
    """
    rates = [rate for _, rate in evaluations[-FINAL_EVALUATIONS:]]
    return math.fsum(rates) / len(rates) if rates else None


def intervention_steps_at(step: int, history: Sequence[tuple[int, float]]) -> int:
    """Human-driven steps in all episodes that had ended by ``step``.

    Args:
        step: environment step.
        history: (step at the episode's end, human-driven steps in it), in order of steps.
    """
    ended = bisect.bisect_right(history, step, key=lambda episode: episode[0])
    return int(sum(count for _, count in history[:ended]))


@dataclass(frozen=True, slots=True)
class Summary:
    """Median and range over seeds of a quantity that may be censored at the budget.

    ``str()`` is the table's cell, e.g. ``2000 (1000 - >5000)``.

    Attributes:
        median: None if there was no value.
        low: smallest.
        high: largest.
        censored: how many of the values are only known to exceed the budget.
        median_censored: whether the median is such a value.
        count: number of seeds.
    """

    median: float | None
    low: float | None
    high: float | None
    censored: int
    median_censored: bool
    count: int

    def format(self, spec: str = "g") -> str:
        """The table's cell, with ``spec`` for each number; censored ones are marked ``>``."""
        if self.median is None or self.low is None or self.high is None:
            return "-"
        median = _mark(self.median, spec, censored=self.median_censored)
        if self.count == 1:
            return median
        # Censored values are the largest: the low end is one only if all are.
        low = _mark(self.low, spec, censored=self.censored == self.count)
        high = _mark(self.high, spec, censored=self.censored > 0)
        return f"{median} ({low} - {high})"

    def __str__(self) -> str:
        return self.format()


def median_and_range(values: Sequence[float | None], budget: float | None = None) -> Summary:
    """Median and range over seeds; None counts as the budget and is marked.

    With an even number of seeds the median is the mean of the middle two, and is marked if
    either of them is censored.

    Args:
        values: one per seed; None where the run never got there.
        budget: the step at which such runs were stopped.

    Raises:
        UsageError: if a value is None and no budget is given, or one lies beyond the budget.
    """
    censored = sum(value is None for value in values)
    if censored and budget is None:
        raise UsageError("a value that was never reached needs the budget it is censored at")
    known = sorted(float(value) for value in values if value is not None)
    if budget is not None and known and known[-1] > budget:
        raise UsageError(f"the value {known[-1]:g} lies beyond the budget of {budget:g}")
    everything = known + [float(budget or 0.0)] * censored
    if not everything:
        return Summary(None, None, None, censored=0, median_censored=False, count=0)
    return Summary(
        median=statistics.median(everything),
        low=everything[0],
        high=everything[-1],
        censored=censored,
        # Sorted with the censored ones last: the upper of the middle pair decides.
        median_censored=len(everything) // 2 >= len(known),
        count=len(everything),
    )


def _mark(value: float, spec: str, *, censored: bool) -> str:
    return f"{'>' if censored else ''}{value:{spec}}"
