"""A suite: tasks x variants x people x seeds with a budget, read from a TOML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from silri.agents.registry import load_agent
from silri.bench.asked import Goals, read_goals
from silri.bench.toml_tables import Table, named, read_toml, tables
from silri.configs.overrides import Layer, configured
from silri.configs.run import RunConfig
from silri.core.errors import ConfigError, UnknownNameError
from silri.core.registry import unknown_name
from silri.envs.registry import create_env, find_env, metaworld_names
from silri.intervention.registry import OPERATORS

BUILT_IN = Path(__file__).parent / "suites"
STUDIES = ("comparison", "frontier", "ablation", "operators", "people")
_SUITE_KEYS = (
    *("name", "summary", "study", "seeds", "first_seed", "steps", "disturbances", "development"),
    *("overrides", "goals", "reference", "tasks", "variants", "people"),
)
_ROLES = ("ours", "rival", "published", "imitation")


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
        overrides: of the run's configuration.
    """

    label: str
    operator: str
    quality: float | None = None
    tasks: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A checked suite.

    Attributes:
        path: the file.
        name: also the name of its folder of runs.
        summary: one sentence.
        study: which figures its report has beside the common ones (:data:`STUDIES`).
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

    def config(self) -> RunConfig:
        """What the cell is run with; the more special wins: a person's value over the suite's.

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


def built_in_names() -> list[str]:
    """The suites that come with silri."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def load_suite(name: str) -> Suite:
    """The built-in suite of this name, or the one in the user's own ``.toml`` file.

    Raises:
        UnknownNameError: there is none; lists the right names and the nearest.
        ConfigError: the file does not fit; names file, table, key, value and remedy.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    if name not in built_in_names():
        error = unknown_name("suite", name, built_in_names())
        raise UnknownNameError(f"{error} A suite of your own is a path that ends in .toml.")
    return _read(BUILT_IN / f"{name}.toml")


def _read(path: Path) -> Suite:
    data = read_toml(path)
    table = Table(str(path), data, _SUITE_KEYS)
    steps = table.count("steps", least=1)
    tasks = tuple(_task(where, row, steps) for where, row in tables(data, "tasks", path))
    labels = [task.label for task in tasks]
    count = table.count("seeds")
    variants = tuple(_variant(where, row, count) for where, row in tables(data, "variants", path))
    people = tuple(_person(where, row, labels) for where, row in tables(data, "people", path))
    study = table.name("study", "comparison")
    if study not in STUDIES:
        raise ConfigError(f"{path}: {unknown_name('study', study, STUDIES)}")
    first = table.count("first_seed", 0, least=0)
    name = table.name("name", path.stem)
    if Path(name).name != name or name.startswith("."):
        raise table.error("name", "a name without '/'; it becomes a folder's name")
    suite = Suite(
        path=path,
        name=name,
        summary=table.name("summary", name),
        study=study,
        seeds=tuple(range(first, first + count)),
        tasks=tasks,
        variants=variants,
        people=people,
        overrides=table.overrides(),
        goals=read_goals(path, table.take("goals", dict, {})),
        reference=_reference(path, table, [variant.label for variant in variants]),
        development=table.labels("development", labels, "task"),
        disturbances=table.take("disturbances", bool, False),
    )
    _check_unique(suite)
    _check_goals(suite)
    return suite


def _task(where: str, row: Mapping[str, Any], steps: int) -> Task:
    keys = ("label", "env", "steps", "ceiling", "long_horizon", "paper", "analogy", "overrides")
    table = Table(where, row, keys)
    ceiling = table.take("ceiling", float, 1.0)
    if not 0 < ceiling <= 1:
        raise table.error("ceiling", "the expert's success, above 0 and up to 1")
    env = table.name("env")
    try:
        _check_env(env)
    except UnknownNameError as error:
        raise named(where, "env", error) from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return Task(
        label=table.label(),
        env=env,
        steps=table.count("steps", steps),
        ceiling=ceiling,
        long_horizon=table.take("long_horizon", bool, False),
        paper=table.take("paper", str, ""),
        analogy=table.take("analogy", str, ""),
        overrides=table.overrides(),
    )


def _check_env(name: str) -> None:
    if name.startswith("metaworld/"):  # without its simulator
        if name not in metaworld_names():
            raise unknown_name("environment", name, metaworld_names())
    else:
        create_env(name, find_env(name).preset().config).close()


def _variant(where: str, row: Mapping[str, Any], count: int) -> Variant:
    table = Table(where, row, ("label", "agent", "preset", "seeds", "overrides"))
    agent, preset = table.name("agent"), table.name("preset", "default")
    try:
        entry = load_agent(agent)
    except UnknownNameError as error:
        raise named(where, "agent", error) from error
    try:
        entry.preset(preset)
    except UnknownNameError as error:
        raise named(where, "preset", error) from error
    online = entry.preset(preset).config.learns_online
    seeds = table.count("seeds") if table.has("seeds") else None
    if seeds is not None and seeds > count:
        raise table.error("seeds", f"at most the suite's {count}")
    return Variant(table.label(), agent, preset, seeds, table.overrides(), online)


def _person(where: str, row: Mapping[str, Any], tasks: Sequence[str]) -> Person:
    table = Table(where, row, ("label", "operator", "quality", "tasks", "overrides"))
    operator = table.name("operator")
    try:
        OPERATORS.load(operator)
    except UnknownNameError as error:
        raise named(where, "operator", error) from error
    quality = table.take("quality", float) if table.has("quality") else None
    chosen = table.labels("tasks", tasks, "task")
    return Person(table.label(), operator, quality, chosen, table.overrides())


def _reference(path: Path, table: Table, variants: Sequence[str]) -> dict[str, str]:
    chosen = Table(f"{path}: [reference]", table.take("reference", dict, {}), _ROLES)
    roles = {role: chosen.name(role) for role in _ROLES if chosen.has(role)}
    for role, label in roles.items():
        if label not in variants:
            raise named(chosen.where, role, unknown_name("variant", label, variants))
    return roles


def _check_unique(suite: Suite) -> None:
    for kind, rows in (
        ("tasks", suite.tasks),
        ("variants", suite.variants),
        ("people", suite.people),
    ):
        label, count = Counter(row.label for row in rows).most_common(1)[0]
        if count > 1:
            raise ConfigError(
                f"{suite.path}: [[{kind}]]: label = {label!r} is there {count} times; "
                "give each its own"
            )
    # Labels may hold '_', which also stands between them.
    name, count = Counter(cell.name for cell in cells(suite)).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{suite.path}: {count} cells would share the folder {name}; change a label"
        )


def _check_goals(suite: Suite) -> None:
    """A goal needs somebody to be compared with, and something to be measured on."""
    needs = {
        "disturbances = true": suite.disturbances or suite.goals.disturbed is None,
        "a task with long_horizon = true": any(task.long_horizon for task in suite.tasks)
        or suite.goals.long_horizon_success is None,
    }
    needs |= {f"[reference] {role}": role in suite.reference for role in suite.goals.roles()}
    for need, there in needs.items():
        if not there:
            raise ConfigError(f"{suite.path}: [goals] need {need}; add it, or leave out the goal")


def _check_filter(kind: str, chosen: Sequence[str], known: Sequence[str]) -> None:
    for name in chosen:
        if name not in known:
            raise unknown_name(kind, name, known)
