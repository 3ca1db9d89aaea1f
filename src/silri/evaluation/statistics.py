"""The numbers that a run is judged by, defined once so that tables agree.

An *evaluation* is a pair ``(step, success_rate)``; lists of them are in order of steps.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

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


def scheduled(evaluations: Evaluations) -> list[int]:
    """Indices of the evaluations that are there by schedule.

    A run ends with an evaluation of its own, a part of an episode after the last scheduled one:
    nearly the same policy, which would count twice. Of two within half of the first interval the
    one that is no multiple of it is left out, and of two that are none the later: a run may have
    gone on after such an end. If nothing is near it (a run shorter than an interval), it stays.
    """
    if not evaluations:
        return []
    kept, interval = [0], evaluations[0][0]
    for index in range(1, len(evaluations)):
        step, before = evaluations[index][0], evaluations[kept[-1]][0]
        if 2 * (step - before) >= interval:
            kept.append(index)
        elif step % interval == 0 and before % interval:
            kept[-1] = index
    return kept


def steps_to_threshold(evaluations: Evaluations, threshold: float = THRESHOLD) -> int | None:
    """The step of the first of two *consecutive* evaluations at success >= ``threshold``.

    One lucky evaluation does not count. None if it never happens; tables then censor it at the
    budget.
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
