"""Over seeds and tasks: interquartile means, bootstrap intervals, ratios with censored values.

Every interval is a 95 % percentile bootstrap that resamples seeds within each task (stratified):
it says what other seeds on the same tasks would have given, not what other tasks would.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from silri.bench.results import Reached, Results, Run
from silri.core.errors import MissingExtraError

REPETITIONS = 2_000  # of a bootstrap; its own error is then a hundredth of an interval
LEVELS = (2.5, 97.5)
TRIMMED = 0.25  # on each side, for an interquartile mean
ROLL = 0  # of the generators: the same runs always give the same report


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval; no interval (NaN) with a single seed."""

    value: float
    low: float
    high: float
    count: int

    def format(self, spec: str = ".2f") -> str:
        """``0.93 [0.90, 0.97]``."""
        if np.isnan(self.value):
            return "-"
        text = f"{self.value:{spec}}"
        if np.isnan(self.low):
            return text
        return f"{text} [{self.low:{spec}}, {self.high:{spec}}]"


class Statistic(Protocol):
    """A numpy reduction."""

    def __call__(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Reduce one axis."""


def iqm(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Interquartile mean: of what is left without the lowest and the highest quarter.

    With fewer than four values nothing is left out.
    """
    count = values.shape[axis]
    cut = int(TRIMMED * count)
    kept = np.sort(values, axis).take(range(cut, count - cut), axis)
    result: np.ndarray = kept.mean(axis)
    return result


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Arithmetic mean, as a :class:`Statistic`."""
    result: np.ndarray = values.mean(axis=axis)
    return result


def bootstrap(
    values: np.ndarray, statistic: Statistic = mean
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``statistic`` over the first axis (seeds) with its interval.

    Args:
        values: (N, ...), one row per seed.
        statistic: reduces an axis.

    Returns:
        value, low, high, each of shape ``values.shape[1:]``; low and high are NaN for one seed.
    """
    value = statistic(values, axis=0)
    count = len(values)
    if count < 2:
        nothing = np.full(np.shape(value), np.nan)
        return value, nothing, nothing
    rows = np.random.default_rng(ROLL).integers(count, size=(REPETITIONS, count))
    low, high = np.percentile(statistic(values[rows], axis=1), LEVELS, axis=0)
    return value, low, high


def mean_of(values: Sequence[float]) -> Estimate:
    """Mean over seeds."""
    if not values:
        return Estimate(np.nan, np.nan, np.nan, 0)
    value, low, high = bootstrap(np.asarray(values, np.float64))
    return Estimate(float(value), float(low), float(high), len(values))


# -- over tasks: rliable ---------------------------------------------------------------------------


def import_rliable() -> Any:
    """The module ``rliable.library``.

    Raises:
        MissingExtraError: they are not installed.
    """
    try:
        from rliable import library
    except ImportError as error:
        raise MissingExtraError("report", "a benchmark's report (rliable)") from error
    return library


def aggregate_iqm(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interquartile mean over seeds and tasks by rliable (arXiv 2108.13264).

    Args:
        scores: (N seeds, M tasks) or (N, M, T points of a curve).

    Returns:
        value, low, high: () or (T,); low and high are NaN for a single seed.
    """
    library = import_rliable()
    curves = scores[..., None] if scores.ndim == 2 else scores

    def points(values: np.ndarray) -> np.ndarray:
        # rliable.metrics.aggregate_iqm for all points at once: a curve has many.
        return iqm(values.reshape(-1, values.shape[-1]))

    if len(scores) < 2:
        value, low, high = points(curves), *np.full((2, curves.shape[-1]), np.nan)
    else:
        # rliable draws from numpy's global generator, whatever it is handed.
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(ROLL)  # noqa: NPY002
        try:
            estimates, intervals = library.get_interval_estimates(
                {"": curves}, points, reps=REPETITIONS
            )
        finally:
            np.random.set_state(before)  # noqa: NPY002
        value, (low, high) = estimates[""], intervals[""]
    if scores.ndim == 2:
        return value[0], low[0], high[0]
    return value, low, high


def score_matrix(
    results: Results,
    variant: str,
    person: str,
    tasks: Sequence[str],
    score: Callable[[Run], float],
) -> np.ndarray:
    """(N, M) scores, N the smallest number of seeds that any of ``tasks`` has; the first ones."""
    columns = [[score(run) for run in results.of(task, variant, person)] for task in tasks]
    count = min(map(len, columns), default=0)
    return np.asarray([column[:count] for column in columns], np.float64).T.reshape(
        count, len(tasks)
    )


def common_tasks(results: Results, person: str) -> list[str]:
    """The tasks of the first variant that has any; another that lacks one has no aggregate.

    Were they the tasks that all variants have, one run of a new variant would take the others'.
    """
    found = (
        [task for task in results.tasks(person) if results.of(task, variant.label, person)]
        for variant in results.suite.variants
    )
    return next((tasks for tasks in found if tasks), [])


def estimate_iqm(matrix: np.ndarray) -> Estimate:
    """The interquartile mean of a matrix of scores; ``-`` if it is empty."""
    if not matrix.size:
        return Estimate(np.nan, np.nan, np.nan, 0)
    value, low, high = aggregate_iqm(matrix)
    return Estimate(float(value), float(low), float(high), len(matrix))


# -- ratios ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """Median of one variant over the median of another, on one task.

    Attributes:
        task: its label.
        value: the ratio, with censored values counted at where they were censored.
        ours_censored: our median is only known to be larger, so the ratio is too.
        rival_censored: the rival's is, so the ratio is smaller.
        seeds: of ours and of the rival.
    """

    task: str
    value: float
    ours_censored: bool
    rival_censored: bool
    seeds: tuple[int, int]

    @property
    def mark(self) -> str:
        """What censoring makes of it: ``<``, ``>``, ``?`` (neither got there) or nothing."""
        if self.ours_censored and self.rival_censored:
            return "?"
        return ">" if self.ours_censored else "<" if self.rival_censored else ""


@dataclass(frozen=True)
class Ratios:
    """Per task, and the median over tasks with its bootstrap interval over seeds."""

    rows: tuple[Ratio, ...]
    median: Estimate
    missing: tuple[str, ...]


def ratios(results: Results, quantity: str, ours: str, rival: str, person: str) -> Ratios:
    """Ratios of ``steps_to_90`` or ``intervention_steps_to_90``.

    A task on which neither got there counts as 1: no advantage was shown.

    Args:
        results: of a suite.
        quantity: attribute of a run that is a :class:`Reached`.
        ours: label of a variant.
        rival: label of the other.
        person: label of the person.
    """
    rows, samples, missing = [], [], []
    rng = np.random.default_rng(ROLL)
    for task in results.tasks(person):
        mine = results.values(task, ours, person, quantity)
        theirs = results.values(task, rival, person, quantity)
        if not mine or not theirs:
            missing.append(task)
            continue
        left, right = median_reached(mine), median_reached(theirs)
        both = left.censored and right.censored
        value = 1.0 if both else float(_quotient(left.value, right.value))
        rows.append(Ratio(task, value, left.censored, right.censored, (len(mine), len(theirs))))
        samples.append(_sample_ratio(mine, theirs, rng))
    if not rows:
        return Ratios((), Estimate(np.nan, np.nan, np.nan, 0), tuple(missing))
    low = high = np.nan
    if all(min(row.seeds) > 1 for row in rows):
        low, high = np.percentile(np.median(samples, axis=0), LEVELS)
    middle = statistics.median(row.value for row in rows)
    return Ratios(tuple(rows), Estimate(middle, float(low), float(high), len(rows)), tuple(missing))


def median_reached(values: Sequence[Reached]) -> Reached:
    """Median over seeds; censored if a value in the middle, or one that may lie beyond, is."""
    # Of equal values the censored one is the larger.
    ordered = sorted(values, key=lambda reached: (reached.value, reached.censored))
    lower = ordered[: len(ordered) // 2 + 1]
    middle = lower[(len(ordered) - 1) // 2 :]
    return Reached(
        statistics.mean(reached.value for reached in middle),
        any(reached.censored for reached in lower),
    )


def _quotient(left: np.ndarray | float, right: np.ndarray | float) -> np.ndarray:
    """Of counts of steps; who needed none needed one, so that none against none is 1."""
    result: np.ndarray = np.maximum(left, 1.0) / np.maximum(right, 1.0)
    return result


def _sample_ratio(
    mine: Sequence[Reached], theirs: Sequence[Reached], rng: np.random.Generator
) -> np.ndarray:
    """(REPETITIONS,) ratios of medians of resampled seeds."""
    medians, censored = [], []
    for side in (mine, theirs):
        # Sorting by (value, censored) makes a resampled median one of ranks.
        ordered = sorted(side, key=lambda reached: (reached.value, reached.censored))
        ranks = np.sort(rng.integers(len(side), size=(REPETITIONS, len(side))), axis=1)
        lower = ranks[:, : len(side) // 2 + 1]
        pair = lower[:, (len(side) - 1) // 2 :]
        medians.append(np.asarray([r.value for r in ordered])[pair].mean(axis=1))
        censored.append(np.asarray([r.censored for r in ordered])[lower].any(axis=1))
    return np.where(censored[0] & censored[1], 1.0, _quotient(*medians))
