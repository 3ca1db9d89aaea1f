"""A suite: tasks x variants x people x seeds with a budget, read from a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from silri.bench.asked import Goals
from silri.configs.overrides import Layer, configured
from silri.configs.run import RunConfig
from silri.core.registry import unknown_name


@dataclass(frozen=True)
class Task:
    """What is to be learned.

    Attributes:
        label: in tables and folder names.
        env: as ``silri train --env`` takes it.
        ceiling: success of the expert under these settings; goals are relative to it.
        steps: budget in environment steps.
        long_horizon: one of those whose success at the end is a goal of its own.
        paper: the task of the SiLRI paper that it stands for; empty if none.
        analogy: where that analogy ends.
        overrides: of the run's configuration.
    """

    label: str
    env: str
    steps: int
    ceiling: float = 1.0
    long_horizon: bool = False
    paper: str = ""
    analogy: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """An algorithm with its settings.

    Attributes:
        label: in tables and folder names.
        agent: as ``silri train --agent`` takes it.
        preset: of that agent.
        seeds: how many of the suite's seeds it has; None for all.
        overrides: of the run's configuration.
        learns_online: False for one that takes no environment steps (BC).
    """

    label: str
    agent: str
    preset: str = "default"
    seeds: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    learns_online: bool = True


@dataclass(frozen=True)
class Person:
    """Who demonstrates and intervenes.

    Attributes:
        label: in tables and folder names.
        operator: as ``silri train --operator`` takes it.
        quality: their place on the axis of the operator study, 0 for the expert, larger is worse;
            None for somebody who is compared but is not on it.
        tasks: labels of the tasks that they do; empty for all.
        budget_of: label of another person: this one may drive as many steps of a run as that one
            drove in the cell of the same task, variant and seed, which is run first. Empty: no end.
        overrides: of the run's configuration.
    """

    label: str
    operator: str
    quality: float | None = None
    tasks: tuple[str, ...] = ()
    budget_of: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A checked suite.

    Attributes:
        path: the file.
        name: also the name of its folder of runs.
        summary: one sentence.
        study: which figures its report has beside the common ones; one of
            :data:`silri.bench.suite_file.STUDIES`.
        seeds: of every cell.
        tasks, variants, people: in the order of the tables.
        overrides: of the configuration of all runs.
        goals: what ours is to reach.
        reference: role (ours, rival, published, imitation) to a variant's label, for ratios.
        development: labels of the tasks that settings were chosen on.
        disturbances: whether every trained policy is also evaluated with disturbances.
    """

    path: Path
    name: str
    summary: str
    study: str
    seeds: tuple[int, ...]
    tasks: tuple[Task, ...]
    variants: tuple[Variant, ...]
    people: tuple[Person, ...]
    overrides: Mapping[str, Any]
    goals: Goals
    reference: Mapping[str, str]
    development: tuple[str, ...]
    disturbances: bool

    def seeds_of(self, variant: Variant) -> tuple[int, ...]:
        """The seeds of a variant's cells: all of the suite's, or the first few."""
        return self.seeds[: variant.seeds]


@dataclass(frozen=True)
class Cell:
    """One run of a suite.

    Attributes:
        suite: that it belongs to.
        task, variant, person, seed: its place in the table.
    """

    suite: Suite
    task: Task
    variant: Variant
    person: Person
    seed: int

    @property
    def name(self) -> str:
        """Of the run folder."""
        return f"{self.task.label}_{self.variant.label}_{self.person.label}_s{self.seed}"

    @property
    def steps(self) -> int:
        """The budget; 0 for an agent that takes no environment steps."""
        return self.task.steps if self.variant.learns_online else 0

    @property
    def source(self) -> Cell | None:
        """The cell whose human-driven steps are this one's budget; None where there is none."""
        if not self.person.budget_of:
            return None
        by_label = {person.label: person for person in self.suite.people}
        return replace(self, person=by_label[self.person.budget_of])

    def config(self, budget: int | None = None) -> RunConfig:
        """What the cell is run with; the more special wins: a person's value over the suite's.

        Args:
            budget: human-driven steps of :attr:`source`; None while they are not known.

        Raises:
            ConfigError: an override does not fit; names the file, its row and the field.
        """
        file = self.suite.path
        own = {
            "env": {"name": self.task.env},
            "operator": {"name": self.person.operator},
            "steps": self.steps,
            "seed": self.seed,
        }
        layers: list[Layer] = [
            (f"{file}: cell {self.name}", own),
            (f"{file}: [overrides]", self.suite.overrides),
            (f"{file}: [[tasks]] {self.task.label}: overrides", self.task.overrides),
            (f"{file}: [[variants]] {self.variant.label}: overrides", self.variant.overrides),
            (f"{file}: [[people]] {self.person.label}: overrides", self.person.overrides),
        ]
        if budget is not None:
            where = f"{file}: [[people]] {self.person.label}: budget_of"
            layers.append((where, {"operator": {"gate": {"budget": budget}}}))
        return configured(self.variant.agent, self.variant.preset, layers)


def cells(
    suite: Suite,
    tasks: Sequence[str] = (),
    variants: Sequence[str] = (),
    people: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> list[Cell]:
    """The cells of a suite, seed by seed: whatever is done first is a balanced comparison.

    Args:
        suite: the suite.
        tasks: labels to keep; empty for all.
        variants: labels to keep; empty for all.
        people: labels to keep; empty for all.
        seeds: to keep; empty for all.

    Raises:
        UnknownNameError: there is no such label or seed; lists the right ones.
    """
    _check_filter("task", tasks, [task.label for task in suite.tasks])
    _check_filter("variant", variants, [variant.label for variant in suite.variants])
    _check_filter("person", people, [person.label for person in suite.people])
    _check_filter("seed", [str(seed) for seed in seeds], [str(seed) for seed in suite.seeds])
    return [
        Cell(suite, task, variant, person, seed)
        for seed in suite.seeds
        for person in suite.people
        for variant in suite.variants
        for task in suite.tasks
        if (not person.tasks or task.label in person.tasks)
        and (not tasks or task.label in tasks)
        and (not variants or variant.label in variants)
        and (not people or person.label in people)
        and (not seeds or seed in seeds)
        and seed in suite.seeds_of(variant)
    ]


def _check_filter(kind: str, chosen: Sequence[str], known: Sequence[str]) -> None:
    for name in chosen:
        if name not in known:
            raise unknown_name(kind, name, known)
