"""The tables of a report, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from silri.bench import disturbances
from silri.bench.goals import evaluate_goals
from silri.bench.origins import describe
from silri.bench.report.aggregate import (
    Estimate,
    Ratios,
    common_tasks,
    estimate_iqm,
    mean_of,
    median_reached,
    ratios,
    score_matrix,
)
from silri.bench.results import Reached, Results, Run
from silri.evaluation.summary import SECONDS_PER_STEP

NOTHING = "-"
DEVELOPED = "†"  # after a task that settings were chosen on


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A pipe table; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def task_name(results: Results, task: str) -> str:
    """The label, marked if settings were chosen on that task."""
    return task + (f" {DEVELOPED}" if task in results.suite.development else "")


def main_table(results: Results, person: str) -> str:
    """One row per task and variant."""
    head = (
        *("task", "variant", "seeds", "steps to 90 %", "interventions to 90 %"),
        *("success at the end", "time to success, s", "intervention rate"),
        *("human s", "demonstrations s"),
    )
    rows = []
    for task in results.tasks(person):
        for variant in results.suite.variants:
            runs = results.of(task, variant.label, person)
            if not runs:
                continue
            lengths = [run.mean_success_length for run in runs if run.mean_success_length]
            rows.append(
                (
                    task_name(results, task),
                    variant.label,
                    f"{len(runs)} of {len(results.suite.seeds_of(variant))}",
                    _reached([run.steps_to_90 for run in runs]),
                    _reached([run.intervention_steps_to_90 for run in runs]),
                    mean_of([run.final_success for run in runs]).format(),
                    f"{SECONDS_PER_STEP * statistics.mean(lengths):.1f}" if lengths else NOTHING,
                    _range([run.intervention_rate for run in runs], ".2f"),
                    _range([run.human_seconds for run in runs], ",.0f"),
                    f"{statistics.median(run.demo_seconds for run in runs):,.0f}",
                )
            )
    return markdown_table(head, rows)


def aggregates(results: Results, person: str) -> list[tuple[str, dict[str, Estimate]]]:
    """(title, variant to interquartile mean) over the tasks of the first variant that has any."""
    tasks = common_tasks(results, person)
    ceilings = {task.label: task.ceiling for task in results.suite.tasks}

    def final(run: Run) -> float:
        return run.final_success / ceilings[run.cell.task.label]

    def whole(run: Run) -> float:
        return run.mean_success / ceilings[run.cell.task.label]

    quantities = (("success at the end", final), ("mean success over the budget", whole))
    return [
        (
            title,
            {
                variant.label: estimate_iqm(
                    score_matrix(results, variant.label, person, tasks, score)
                )
                for variant in results.suite.variants
            },
        )
        for title, score in quantities
    ]


def aggregate_table(
    results: Results, person: str, rows: Sequence[tuple[str, dict[str, Estimate]]]
) -> str:
    """Over tasks: one row per variant."""
    head = ["variant", *(title for title, _ in rows), "seeds used per task"]
    body = [
        [
            variant.label,
            *(estimates[variant.label].format() for _, estimates in rows),
            str(rows[0][1][variant.label].count),
        ]
        for variant in results.suite.variants
    ]
    tasks = common_tasks(results, person)
    note = (
        f"*Over {len(tasks)} of {len(results.tasks(person))} tasks "
        f"({', '.join(tasks) or 'none in common yet'}), relative to the expert's ceiling: the "
        "interquartile mean of all seeds and tasks, with a 95 % stratified bootstrap interval "
        "(rliable). With unequal numbers of seeds the smallest number counts for every task. `-`: "
        "not on all of these tasks yet.*"
    )
    return f"{markdown_table(head, body)}\n\n{note}"


def ratio_section(results: Results, person: str) -> str:
    """Ours against the rival and the published setting; empty without such references."""
    reference = results.suite.reference
    ours = reference.get("ours")
    others = [reference[role] for role in ("rival", "published") if role in reference]
    if ours is None or not others:
        return ""
    quantities = (
        ("steps to 90 %", "steps_to_90"),
        ("interventions to 90 %", "intervention_steps_to_90"),
    )
    columns: list[tuple[str, Ratios]] = [
        (f"{words}: {ours} / {other}", ratios(results, name, ours, other, person))
        for other in others
        for words, name in quantities
    ]
    rows = []
    for task in results.tasks(person):
        cells = []
        for _, column in columns:
            one = next((row for row in column.rows if row.task == task), None)
            cells.append(NOTHING if one is None else _ratio(one.mark, one.value))
        rows.append([task_name(results, task), *cells])
    medians = ["**median**", *(f"**{column.median.format()}**" for _, column in columns)]
    table = markdown_table(["task", *(words for words, _ in columns)], [*rows, medians])
    note = (
        "*Ratios of medians over seeds; below 1 is better. A run that never got there counts at "
        "its budget (interventions: at all that it had): `<` the other never got there, so the "
        "ratio is at most this; `>` ours never did, so it is at least this; `neither` counts as 1: "
        "no advantage was shown. Median over tasks; its interval is a bootstrap over seeds.*"
    )
    return f"{table}\n\n{note}"


def stability_table(results: Results, person: str) -> str:
    """How far success falls after its best, and where it ends."""
    rows = []
    ceilings = {task.label: task.ceiling for task in results.suite.tasks}
    for task in results.tasks(person):
        for variant in results.suite.variants:
            falls = results.values(task, variant.label, person, "fall")
            ends = results.values(task, variant.label, person, "final_success")
            if not variant.learns_online or not ends:
                continue
            relative = statistics.mean(ends) / ceilings[task]
            rows.append(
                (
                    task_name(results, task),
                    variant.label,
                    f"{statistics.median(falls):.2f}" if falls else NOTHING,
                    f"{max(falls):.2f}" if falls else NOTHING,
                    f"{relative:.2f}",
                    f"{min(ends) / ceilings[task]:.2f}",
                )
            )
    head = (
        *("task", "variant", "fall, median seed", "fall, worst seed"),
        *("end / ceiling, mean", "end / ceiling, worst seed"),
    )
    note = (
        "*Fall: the greatest drop of the mean of three successive evaluations from its best so "
        "far, to the end of the budget. End: the mean of the last three evaluations.*"
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def disturbance_section(results: Results, person: str) -> str:
    """Like the paper's Table I: original and disturbed success per task; empty without data."""
    if not results.suite.disturbances:  # runs that are another suite's may have some
        return ""
    found = disturbances.kinds(results)
    tasks = [
        task
        for task in results.tasks(person)
        if any(results.values(task, v.label, person, "disturbed") for v in results.suite.variants)
    ]
    if not found or not tasks:
        return ""
    rows = []
    for kind in ("original", *found):
        for variant in results.suite.variants:
            cells = []
            for task in tasks:
                if kind == "original":
                    one = disturbances.undisturbed(results, task, variant.label, person)
                    cells.append(one.format())
                    continue
                loss = disturbances.loss(results, task, variant.label, person, kind)
                if loss is None:
                    cells.append(NOTHING)
                    continue
                seldom = f" ({loss.occurred:.0%})" if loss.occurred < 0.995 else ""
                short = loss.rate.count < len(results.suite.seeds_of(variant))
                seeds = f", n = {loss.rate.count}" if short else ""
                cells.append(loss.rate.format() + seldom + seeds)
            if any(cell != NOTHING for cell in cells):
                rows.append([kind, variant.label, *cells])
    head = ["episodes", "variant", *(task_name(results, task) for task in tasks)]
    note = (
        "*Success of the final policy: mean over seeds with its 95 % bootstrap interval; the same "
        "layouts in every row. In brackets the share of episodes in which the disturbance really "
        "happened, where that is not all: a policy that never comes near the object is not "
        "disturbed. n: seeds, where that is not all. `-`: it never happened, or was not "
        "measured.*"
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def goals_section(results: Results, person: str) -> str:
    """The goals; empty if the suite has none."""
    goals = evaluate_goals(results, person)
    if not goals:
        return ""
    rows = [(goal.text, goal.verdict, goal.value) for goal in goals]
    return markdown_table(("goal", "verdict", "measured"), rows)


def tasks_section(results: Results) -> str:
    """What the tasks are, what they stand for, and where that ends."""
    described = any(task.paper or task.analogy for task in results.suite.tasks)
    head = ["task", "environment", "budget", "expert's ceiling"]
    head += ["in the paper", "where the analogy ends"] if described else []
    rows = []
    for task in results.suite.tasks:
        row = [
            task_name(results, task.label),
            f"`{task.env}`",
            f"{task.steps:,} steps",
            f"{task.ceiling:.2f}",
        ]
        rows.append(row + ([task.paper or NOTHING, task.analogy or NOTHING] if described else []))
    note = ""
    if results.suite.development:
        note = f"\n\n*{DEVELOPED} settings were chosen on this task.*"
    return markdown_table(head, rows) + note


def variants_section(results: Results) -> str:
    """What each variant is: agent, preset, and what is set on top of them."""
    rows = []
    for variant in results.suite.variants:
        own = _settings(variant.overrides) or NOTHING
        rows.append((variant.label, f"`{variant.agent}`", f"`{variant.preset}`", own))
    table = markdown_table(("variant", "agent", "preset", "set besides"), rows)
    common = _settings(results.suite.overrides)
    return f"{table}\n\n*For all: {common}.*" if common else table


def _settings(overrides: Mapping[str, Any], prefix: str = "") -> str:
    """Overrides in words: field paths with their values."""
    words = []
    for name, value in overrides.items():
        nested = isinstance(value, Mapping)
        path = f"{prefix}{name}"
        words.append(_settings(value, f"{path}.") if nested else f"`{path}` {value}")
    return ", ".join(words)


def missing_section(results: Results) -> str:
    """What has fewer seeds than the suite asks for; empty if nothing has."""
    text = "Cells with fewer seeds than the suite asks for, which count with those they have:"
    blocks = [_short(results, text, "seeds done", len)]
    if results.suite.disturbances:
        text = "Cells with fewer seeds that were evaluated with disturbances than asked for:"
        count = "seeds evaluated"
        blocks.append(
            _short(
                results, text, count, lambda runs: sum(run.disturbed is not None for run in runs)
            )
        )
    return "\n\n".join(block for block in blocks if block)


def differing_section(results: Results) -> str:
    """What was run with another configuration than the suite asks for now; empty if nothing."""
    if not results.differing:
        return ""
    cells: dict[tuple[str, ...], list[str]] = {}
    for name, fields in results.differing.items():
        cells.setdefault(fields, []).append(name)
    lines = [
        f"- {', '.join(fields)}: {len(names)}, e.g. {names[0]}" for fields, names in cells.items()
    ]
    return (
        f"**{len(results.differing)} of these runs had another configuration than the suite asks "
        "for in this version** (theirs -> the suite's):\n\n" + "\n".join(lines)
    )


def origin_section(results: Results) -> str:
    """What the runs were run with."""
    lines = describe(results.origins, [run.cell.name for run in results.runs])
    return "\n".join(f"- {line}" for line in lines)


def _short(
    results: Results, text: str, title: str, count_of: Callable[[Sequence[Run]], int]
) -> str:
    """A table of the cells whose count is below the suite's seeds; empty if there are none."""
    short: dict[tuple[str, int], list[str]] = {}
    for person in results.suite.people:
        for task in results.tasks(person.label):
            for variant in results.suite.variants:
                count = count_of(results.of(task, variant.label, person.label))
                if count < len(results.suite.seeds_of(variant)):
                    several = f" with {person.label}" if len(results.suite.people) > 1 else ""
                    key = (task + several, count)
                    short.setdefault(key, []).append(variant.label)
    if not short:
        return ""
    rows = [
        (task, "all" if len(names) == len(results.suite.variants) else ", ".join(names), str(count))
        for (task, count), names in short.items()
    ]
    return f"{text}\n\n{markdown_table(('task', 'variants', title), rows)}"


def _reached(values: Sequence[Reached | None]) -> str:
    """``2,000 (1,000 - >5,000)``; ``-`` for an agent without online steps."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    middle = median_reached(known)
    text = _mark(middle)
    if len(known) == 1:
        return text
    ordered = sorted(known, key=lambda reached: (reached.value, reached.censored))
    # A smaller value that is censored may be the greatest.
    greatest = replace(ordered[-1], censored=any(reached.censored for reached in known))
    return f"{text} ({_mark(ordered[0])} - {_mark(greatest)})"


def _mark(reached: Reached) -> str:
    return f"{'>' if reached.censored else ''}{reached.value:,.0f}"


def _range(values: Sequence[float], spec: str) -> str:
    text = f"{statistics.median(values):{spec}}"
    if len(values) == 1 or np.ptp(values) == 0:
        return text
    return f"{text} ({min(values):{spec}} - {max(values):{spec}})"


def _ratio(mark: str, value: float) -> str:
    return "neither" if mark == "?" else f"{mark}{value:.2f}"
