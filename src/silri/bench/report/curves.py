"""Learning curves of several seeds and tasks on common axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from silri.bench.report.aggregate import aggregate_iqm, bootstrap, iqm
from silri.bench.results import Results, Run

POINTS = 40  # of a curve against human seconds, whose evaluations are nowhere in common


@dataclass(frozen=True)
class Curve:
    """An interquartile mean with its band; low and high are NaN for a single seed."""

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def task_curve(runs: Sequence[Run], *, effort: bool) -> Curve | None:
    """Success of one variant on one task, over seeds.

    Args:
        runs: its seeds.
        effort: against human seconds (demonstrations included) instead of environment steps.

    Returns:
        None if there is no run, or none that has counted the human's steps.
    """
    axes = [_axis(run, effort=effort) for run in runs]
    known = [(run, x) for run, x in zip(runs, axes, strict=True) if x is not None]
    if not known:
        return None
    grid = _grid([x for _, x in known], effort=effort)
    values = np.stack([np.interp(grid, x, run.rates) for run, x in known])
    return Curve(grid, *bootstrap(values, iqm), seeds=len(known))


def overall_curve(
    results: Results, variant: str, person: str, tasks: Sequence[str], *, effort: bool
) -> Curve | None:
    """Success relative to the expert's ceiling over seeds and tasks, by rliable."""
    columns = []
    for task in tasks:
        axes = [(run, _axis(run, effort=effort)) for run in results.of(task, variant, person)]
        columns.append([(run, x) for run, x in axes if x is not None])
    seeds = min(map(len, columns), default=0)
    if not seeds:
        return None
    grid = _grid([x for column in columns for _, x in column[:seeds]], effort=effort)
    scores = np.stack(
        [
            [np.interp(grid, x, run.rates) / run.cell.task.ceiling for run, x in column[:seeds]]
            for column in columns
        ],
        axis=1,
    )
    return Curve(grid, *aggregate_iqm(scores), seeds=seeds)


def _axis(run: Run, *, effort: bool) -> np.ndarray | None:
    """Where a run's evaluations stand."""
    return run.effort if effort else run.steps


def _grid(axes: Sequence[np.ndarray], *, effort: bool) -> np.ndarray:
    """Common points, from where all have been evaluated.

    Beyond its last evaluation a run keeps that value: no more of the human's time was spent. In
    environment steps the last, unscheduled evaluations differ by the length of an episode and
    are left to the last scheduled one.
    """
    start = max(float(x[0]) for x in axes)
    end = max(float(x[-1]) for x in axes) if effort else min(float(x[-1]) for x in axes)
    if effort:
        return np.linspace(start, max(start, end), POINTS if end > start else 1)
    union = np.unique(np.concatenate(list(axes)))
    inside = union[(union >= start) & (union <= end)]
    common = inside[[all(np.isin(x, axis) for axis in axes) for x in inside]]
    points = common if common.size else inside if inside.size else np.asarray([end])
    if len(points) > 2 and points[-1] - points[-2] < 0.5 * np.median(np.diff(points)):
        points = points[:-1]
    return points
