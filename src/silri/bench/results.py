"""Reading the runs of a suite back, from their run folders or from a table of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from silri.bench.origins import Origin, origin_of
from silri.bench.records import (
    Fields,
    Record,
    read_records,
    read_table,
    write_table,
)
from silri.bench.suite import Cell, Suite, cells
from silri.core.errors import DataError, UsageError
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
class Training:
    """What a run's training episodes came to.

    Attributes:
        episodes, successes: all of them.
        episodes_alone, successes_alone: those in which nobody drove.
    """

    episodes: int
    successes: int
    episodes_alone: int
    successes_alone: int


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
        training: None in summaries of versions that did not count it.
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
    training: Training | None = None

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
        source: folder or table that they were read from.
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


def read_results(suite: Suite, source: Path) -> Results:
    """Every completed run of ``suite`` in ``source``.

    Args:
        suite: the suite.
        source: a folder with a run folder per cell, or a table of results.

    Raises:
        UsageError: there is nothing.
        DataError: a file is damaged, or of another run than its name says.
        ConfigError: a configuration is of a later version.
    """
    if not source.exists():
        raise UsageError(f"there is no {source}; run 'silri bench {suite.path.stem}' first")
    everything = cells(suite)
    records = read_records(source, [cell.name for cell in everything])
    runs = [
        run
        for cell in everything
        if cell.name in records and (run := _run(cell, records[cell.name])) is not None
    ]
    if not runs:
        raise UsageError(
            f"{source} has no completed run of the suite {suite.name}; its cells are called e.g. "
            f"{everything[0].name}"
        )
    origins = {
        name: origin_of(config)
        for name in (run.cell.name for run in runs)
        if (config := records[name].config) is not None
    }
    return Results(suite, tuple(runs), len(everything), source, origins)


def collect(suite: Suite, folder: Path, table: Path) -> tuple[int, int]:
    """Write the completed runs of ``folder`` into a table of results.

    Rows of other cells of the suite stay in a table that is there. Rows of cells that the suite
    does not have any more are dropped.

    Returns:
        How many runs were collected, and how many rows the table has now.

    Raises:
        UsageError: there is no completed run.
        DataError: one is damaged.
    """
    names = [cell.name for cell in cells(suite)]
    done = [run.cell.name for run in read_results(suite, folder).runs]
    records = read_table(table) if table.is_file() else {}
    records = {name: record for name, record in records.items() if name in set(names)}
    write_table(table, records | read_records(folder, done))
    return len(done), len(records.keys() | set(done))


def _run(cell: Cell, record: Record) -> Run | None:
    data = record.summary
    if data.take("completed", bool) is not True or data.number("env_steps") < cell.steps:
        return None  # the latter: of a time when the suite's budget was smaller
    _check_identity(cell, data)
    numbers = {name: data.number(name) for name in NUMBERS}
    everything = data.evaluations()
    interventions = data.interventions(len(everything))
    judged = scheduled(everything)
    if len(judged) > 1 and everything[judged[-2]][0] > cell.steps:
        raise DataError(
            f"{data.where} goes on to step {everything[-1][0]:,}, and the suite to "
            f"{cell.steps:,}: it is of a larger budget; raise the suite's, or run the cell into "
            "another folder"
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
        disturbed=None if record.disturbance is None else _disturbed(record.disturbance),
        training=_training(data),
    )


def _training(data: Fields) -> Training | None:
    names = [item.name for item in fields(Training)]
    counts = {name: data.number(name, optional=True) for name in names}
    if any(count is None for count in counts.values()):
        return None
    return Training(**{name: int(count) for name, count in counts.items()})


def _check_identity(cell: Cell, data: Fields) -> None:
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


def _disturbed(data: Fields) -> dict[str, Disturbed]:
    disturbed = {}
    for kind, row in data.take("rows", dict).items():
        if not isinstance(row, dict):
            raise DataError(f"{data.where}: rows.{kind} is no table; evaluate the run again")
        one = Fields(f"{data.where}: rows.{kind}", row)
        disturbed[kind] = Disturbed(
            one.number("success_rate"),
            int(one.number("episodes")),
            int(one.number("occurred", optional=True) or 0),
        )
    if "none" not in disturbed:
        raise DataError(f"{data.where}: it has no row 'none' to compare with; evaluate again")
    return disturbed
