"""A suite's ``.toml`` file: what it may say, checked, with errors that name file, row and key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from silri.agents.registry import load_agent
from silri.bench.asked import read_goals
from silri.bench.suite import Person, Suite, Task, Variant, cells
from silri.bench.toml_tables import Table, named, read_toml, tables
from silri.core.errors import ConfigError, UnknownNameError
from silri.core.registry import unknown_name
from silri.envs.registry import create_env, find_env, metaworld_names
from silri.intervention.registry import OPERATORS

BUILT_IN = Path(__file__).parent / "suites"
STUDIES = (*("comparison", "frontier", "ablation", "operators", "people", "coach", "takeovers"),)
_SUITE_KEYS = (
    *("name", "summary", "study", "seeds", "first_seed", "steps", "disturbances", "development"),
    *("overrides", "goals", "reference", "tasks", "variants", "people"),
)
_ROLES = ("ours", "rival", "published", "imitation")


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
    _check_budgets(suite)
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
    table = Table(where, row, ("label", "operator", "quality", "tasks", "budget_of", "overrides"))
    operator = table.name("operator")
    try:
        OPERATORS.load(operator)
    except UnknownNameError as error:
        raise named(where, "operator", error) from error
    quality = table.take("quality", float) if table.has("quality") else None
    chosen = table.labels("tasks", tasks, "task")
    budget_of = table.take("budget_of", str, "")
    return Person(table.label(), operator, quality, chosen, budget_of, table.overrides())


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


def _check_budgets(suite: Suite) -> None:
    """A budget is that of somebody who has none and does the same tasks."""
    people = {person.label: person for person in suite.people}
    for person in suite.people:
        if not person.budget_of:
            continue
        where = f"{suite.path}: [[people]] {person.label}"
        if person.budget_of not in people:
            raise named(where, "budget_of", unknown_name("person", person.budget_of, people))
        other = people[person.budget_of]
        if other.budget_of or other.tasks != person.tasks:
            raise ConfigError(
                f"{where}: budget_of takes somebody without a budget_of and with the same tasks, "
                f"got {other.label}"
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
