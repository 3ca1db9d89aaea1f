"""How much success is lost when the object is moved: per task, variant and kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from silri.bench.report.aggregate import LEVELS, REPETITIONS, ROLL, Estimate, mean_of
from silri.bench.results import Results

UNDISTURBED = "none"
SMALLEST = 0.01  # a drop of less than half of this is none


@dataclass(frozen=True)
class Loss:
    """A kind of disturbance on one task for one variant, over seeds.

    Attributes:
        kind: of the disturbance.
        rate: success with it.
        drop: (N,) success without it minus success with it, one per seed.
        occurred: share of the episodes in which it really happened.
    """

    kind: str
    rate: Estimate
    drop: np.ndarray
    occurred: float

    @property
    def mean_drop(self) -> float:
        """Over seeds."""
        return float(self.drop.mean())


def kinds(results: Results) -> list[str]:
    """Every kind of disturbance that was measured, in the order of the files."""
    found: dict[str, None] = {}
    for run in results.runs:
        found |= dict.fromkeys(run.disturbed or ())
    return [kind for kind in found if kind != UNDISTURBED]


def undisturbed(results: Results, task: str, variant: str, person: str) -> Estimate:
    """Success in the same episodes without a disturbance."""
    runs = [run.disturbed for run in results.of(task, variant, person) if run.disturbed]
    return mean_of([row[UNDISTURBED].success_rate for row in runs])


def loss(results: Results, task: str, variant: str, person: str, kind: str) -> Loss | None:
    """What a kind of disturbance costs; None if it was not measured or never happened."""
    runs = [
        run.disturbed
        for run in results.of(task, variant, person)
        if run.disturbed and kind in run.disturbed
    ]
    episodes = sum(row[kind].episodes for row in runs)
    occurred = sum(row[kind].occurred for row in runs)
    if not occurred:
        return None
    rates = [row[kind].success_rate for row in runs]
    drop = np.asarray([row[UNDISTURBED].success_rate for row in runs]) - rates
    return Loss(kind, mean_of(rates), drop, occurred / episodes)


def relative_drop(ours: Loss, rival: Loss) -> Estimate:
    """Our drop as a share of the rival's, with its bootstrap interval over the seeds of each.

    A resample in which the rival loses nothing makes the share infinite: the interval is open.
    """
    value = _share(ours.drop.mean(), rival.drop.mean())
    count = min(len(ours.drop), len(rival.drop))
    if count < 2:
        return Estimate(float(value), np.nan, np.nan, count)
    rng = np.random.default_rng(ROLL)
    means = [
        side.drop[rng.integers(len(side.drop), size=(REPETITIONS, len(side.drop)))].mean(axis=1)
        for side in (ours, rival)
    ]
    # No interpolation: half way to infinity is infinity.
    low, high = np.percentile(_share(*means), LEVELS, method="nearest")
    return Estimate(float(value), float(low), float(high), count)


def _share(ours: np.ndarray, rival: np.ndarray) -> np.ndarray:
    nothing = rival < 0.5 * SMALLEST
    return np.where(nothing, np.inf, ours / np.where(nothing, 1.0, rival))
