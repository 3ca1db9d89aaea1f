"""Reading the runs of a suite back, from their folders or from a folder of collected summaries."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from silri.core.errors import DataError, UsageError
from silri.data import files
from silri.evaluation.benchmark.origins import Origin, read_origins, write_origins
from silri.evaluation.benchmark.suite import Cell, Suite, cells
from silri.evaluation.statistics import (
    THRESHOLD,
    final_success,
    scheduled,
    steps_to_threshold,
)
from silri.evaluation.summary import SECONDS_PER_STEP

WINDOW: Final = 3  # successive evaluations whose mean must not fall
ROUNDING: Final = 1e-9  # 0.9 x 0.8 is a little more than 0.72, which 36 of 50 must reach
NUMBERS = ("env_steps", "demo_steps", "intervention_steps", "intervention_rate", "wall_s")


@dataclass(frozen=True)
class Reached:
    """When something was reached; a censored value is only known to be larger."""

    value: float
    censored: bool


@dataclass(frozen=True)
class Disturbed:
    """What a trained policy does when its object is moved in one way.

    Attributes:
        success_rate: over all episodes.
        episodes: how many.
        occurred: in how many of them the disturbance really happened.
    """

    success_rate: float
    episodes: int
    occurred: int


@dataclass(frozen=True)
class Run:
    """A completed run of a cell.

    Attributes:
        cell: of the suite.
        evaluations: (step, success rate) in order of steps; those by schedule
            (:func:`~silri.evaluation.statistics.scheduled`).
        evaluation_interventions: human-driven steps before each evaluation; None in summaries of
            versions that did not count them.
        env_steps, demo_steps, intervention_steps: totals of the run.
        intervention_rate: human-driven share of the steps.
        mean_success_length: steps of the successes of the last evaluation; None without any.
        wall_s: seconds on one core.
        disturbed: kind ("none" included) to outcome; None if it was not evaluated.
    """

    cell: Cell
    evaluations: tuple[tuple[int, float], ...]
    evaluation_interventions: tuple[int, ...] | None
    env_steps: int
    demo_steps: int
    intervention_steps: int
    intervention_rate: float
    mean_success_length: float | None
    wall_s: float
    disturbed: Mapping[str, Disturbed] | None

    @property
    def rates(self) -> np.ndarray:
        """(N,) success of the evaluations."""
        return np.asarray([rate for _, rate in self.evaluations])

    @property
    def steps(self) -> np.ndarray:
        """(N,) environment steps of the evaluations."""
        return np.asarray([float(step) for step, _ in self.evaluations])

    @cached_property
    def steps_to_90(self) -> Reached | None:
        """First of two consecutive evaluations at 0.9 of the ceiling; None without online steps.

        A run that never got there is censored at the budget.
        """
        if not self.cell.variant.learns_online:
            return None
        threshold = THRESHOLD * self.cell.task.ceiling - ROUNDING
        reached = steps_to_threshold(self.evaluations, threshold)
        return Reached(float(self.cell.steps if reached is None else reached), reached is None)

    @cached_property
    def intervention_steps_to_90(self) -> Reached | None:
        """Human-driven steps until then; censored at those of the whole run."""
        reached = self.steps_to_90
        if reached is None or self.evaluation_interventions is None:
            return None
        if reached.censored:
            return Reached(float(self.intervention_steps), censored=True)
        index = [step for step, _ in self.evaluations].index(int(reached.value))
        return Reached(float(self.evaluation_interventions[index]), censored=False)

    @property
    def final_success(self) -> float:
        """Mean of the last three evaluations."""
        return float(final_success(self.evaluations) or 0.0)

    @property
    def mean_success(self) -> float:
        """Mean over all evaluations: how early and how steadily."""
        return float(self.rates.mean())

    @property
    def fall(self) -> float | None:
        """Greatest fall of the mean of three successive evaluations from its best so far.

        None with fewer evaluations than that.
        """
        if len(self.rates) < WINDOW:
            return None
        means = np.convolve(self.rates, np.full(WINDOW, 1.0 / WINDOW), "valid")
        return float((np.maximum.accumulate(means) - means).max())

    @property
    def human_seconds(self) -> float:
        """Of interventions, without the demonstrations."""
        return self.intervention_steps * SECONDS_PER_STEP

    @property
    def demo_seconds(self) -> float:
        """Of the demonstrations."""
        return self.demo_steps * SECONDS_PER_STEP

    @property
    def effort(self) -> np.ndarray | None:
        """(N,) human seconds before each evaluation, demonstrations included; None if unknown."""
        if self.evaluation_interventions is None:
            return None if self.cell.variant.learns_online else np.asarray([self.demo_seconds])
        steps = np.asarray(self.evaluation_interventions) + self.demo_steps
        return steps * SECONDS_PER_STEP


@dataclass(frozen=True)
class Results:
    """The runs of a suite that are completed.

    Attributes:
        suite: the suite.
        runs: in the suite's order.
        expected: number of cells of the whole suite.
        source: folder that they were read from.
        origins: cell to what it was run with, of those that say it.
        differing: cell to the fields in which its run differs from what the suite asks for.
    """

    suite: Suite
    runs: tuple[Run, ...]
    expected: int
    source: Path
    origins: Mapping[str, Origin] = field(default_factory=dict)
    differing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, task: str, variant: str, person: str) -> list[Run]:
        """The seeds of one entry of the table."""
        return [
            run
            for run in self.runs
            if (run.cell.task.label, run.cell.variant.label, run.cell.person.label)
            == (task, variant, person)
        ]

    def values(self, task: str, variant: str, person: str, name: str) -> list[Any]:
        """One quantity of those seeds, without the unknown."""
        values = [getattr(run, name) for run in self.of(task, variant, person)]
        return [value for value in values if value is not None]

    def tasks(self, person: str) -> list[str]:
        """Labels of the tasks that a person does."""
        chosen = next(p.tasks for p in self.suite.people if p.label == person)
        return [task.label for task in self.suite.tasks if not chosen or task.label in chosen]


def read_results(suite: Suite, folder: Path) -> Results:
    """Every completed run of ``suite`` below ``folder``.

    Args:
        suite: the suite.
        folder: holds a run folder ``<cell>`` or a collected ``<cell>.json`` per cell.

    Raises:
        UsageError: there is nothing.
        DataError: a file is damaged, or of another run than its name says.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; run 'silri bench {suite.path.stem}' first")
    everything = cells(suite)
    runs = [run for cell in everything if (run := _read_cell(cell, folder)) is not None]
    if not runs:
        raise UsageError(
            f"{folder} has no completed run of the suite {suite.name}; its cells are called e.g. "
            f"{everything[0].name}"
        )
    origins = read_origins(folder, [run.cell.name for run in runs])
    return Results(suite, tuple(runs), len(everything), folder, origins)


def collect(suite: Suite, folder: Path, target: Path) -> int:
    """Copy the summaries of completed runs to ``target``, with what they were run with.

    Returns:
        How many.

    Raises:
        UsageError: there is none.
        DataError: one is damaged.
    """
    results = read_results(suite, folder)
    files.make_dir(target)
    for run in results.runs:
        for source, name in zip(_paths(run.cell, folder), _collected(run.cell), strict=True):
            if not source.exists():
                files.remove(target / name)  # of an earlier policy of this run
            elif source.resolve() != (target / name).resolve():
                shutil.copyfile(source, files.temporary(target / name))
                files.rename(files.temporary(target / name), target / name)
    write_origins(target, results.origins, lambda name: (target / f"{name}.json").exists())
    return len(results.runs)


def _collected(cell: Cell) -> tuple[str, str]:
    return f"{cell.name}.json", f"{cell.name}.disturbance.json"


def _paths(cell: Cell, folder: Path) -> tuple[Path, Path]:
    """Summary and disturbance file of a cell."""
    run = folder / cell.name
    if run.is_dir():
        return run / "summary.json", run / "disturbance.json"
    summary, disturbance = _collected(cell)
    return folder / summary, folder / disturbance


def _read_cell(cell: Cell, folder: Path) -> Run | None:
    path, disturbance = _paths(cell, folder)
    if not path.is_file():
        return None
    data = _Reader(path, _object(path))
    if data.take("completed", bool) is not True or data.number("env_steps") < cell.steps:
        return None  # the latter: of a time when the suite's budget was smaller
    _check_identity(cell, data)
    numbers = {name: data.number(name) for name in NUMBERS}
    everything = data.evaluations()
    interventions = data.interventions(len(everything))
    judged = scheduled(everything)
    if len(judged) > 1 and everything[judged[-2]][0] > cell.steps:
        raise DataError(
            f"{path} goes on to step {everything[-1][0]:,}, and the suite to {cell.steps:,}: it is "
            "of a larger budget; raise the suite's, or run the cell into another folder"
        )
    return Run(
        cell=cell,
        evaluations=tuple(everything[index] for index in judged),
        evaluation_interventions=(
            None if interventions is None else tuple(interventions[index] for index in judged)
        ),
        env_steps=int(numbers["env_steps"]),
        demo_steps=int(numbers["demo_steps"]),
        intervention_steps=int(numbers["intervention_steps"]),
        intervention_rate=numbers["intervention_rate"],
        mean_success_length=data.number("mean_success_length", optional=True),
        wall_s=numbers["wall_s"],
        disturbed=_disturbed(disturbance) if disturbance.is_file() else None,
    )


def _check_identity(cell: Cell, data: _Reader) -> None:
    wanted = {
        "agent": cell.variant.agent,
        "preset": cell.variant.preset,
        "env": cell.task.env,
        "operator": cell.person.operator,
        "seed": cell.seed,
    }
    for name, value in wanted.items():
        if data.data.get(name) != value:
            raise data.error(name, f"{value!r}, as the suite says: it is another run's summary")


def _disturbed(path: Path) -> dict[str, Disturbed]:
    rows = _Reader(path, _object(path)).take("rows", dict)
    disturbed = {}
    for kind, row in rows.items():
        if not isinstance(row, dict):
            raise DataError(f"{path}: rows.{kind} is no table; evaluate the run again")
        one = _Reader(path, row)
        disturbed[kind] = Disturbed(
            one.number("success_rate"),
            int(one.number("episodes")),
            int(one.number("occurred", optional=True) or 0),
        )
    if "none" not in disturbed:
        raise DataError(f"{path}: it has no row 'none' to compare with; evaluate the run again")
    return disturbed


def _object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged ({error}); {_REMEDY}") from error
    if not isinstance(data, dict):
        raise DataError(f"{path} holds no JSON object; {_REMEDY}")
    return data


_REMEDY = "restore it, or remove it and run its cell again"


@dataclass(frozen=True)
class _Reader:
    """A JSON object whose values are checked when they are taken."""

    path: Path
    data: Mapping[str, Any]

    def error(self, name: str, takes: str) -> DataError:
        """For the value of ``name``."""
        got = f"{name} = {self.data[name]!r}" if name in self.data else f"{name} is missing"
        return DataError(f"{self.path}: {got}; it takes {takes}; {_REMEDY}")

    def take(self, name: str, kind: type[Any]) -> Any:
        """A value of this kind."""
        value = self.data.get(name)
        if not isinstance(value, kind):
            raise self.error(name, f"a {kind.__name__}")
        return value

    def number(self, name: str, *, optional: bool = False) -> Any:
        """A finite number that is not negative; None only if ``optional``."""
        value: Any = self.data.get(name)
        if value is None and optional:
            return None
        if not _is_number(value) or value < 0:
            raise self.error(name, "a number from 0 on")
        return value

    def evaluations(self) -> tuple[tuple[int, float], ...]:
        """[[step, success rate], ...] with ascending steps."""
        rows = self._list("evaluations", lambda row: isinstance(row, list) and len(row) == 2)
        good = all(_is_number(s) and _is_number(r) and s >= 0 and 0 <= r <= 1 for s, r in rows)
        steps = [row[0] for row in rows]
        if not rows or not good or steps != sorted(set(steps)):
            raise self.error("evaluations", "[[step, success rate], ...] in order of steps")
        return tuple((int(step), float(rate)) for step, rate in rows)

    def interventions(self, count: int) -> tuple[int, ...] | None:
        """Human-driven steps at every evaluation, if this version counted them."""
        if "evaluation_intervention_steps" not in self.data:
            return None
        rows = self._list("evaluation_intervention_steps", _is_number)
        if len(rows) != count:
            raise self.error("evaluation_intervention_steps", "one number per evaluation")
        return tuple(int(row) for row in rows)

    def _list(self, name: str, good: Callable[[Any], bool]) -> Sequence[Any]:
        rows: Sequence[Any] = self.take(name, list)
        if not all(map(good, rows)):
            raise self.error(name, "a list of such values")
        return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
