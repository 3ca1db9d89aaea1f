"""How long, how often and how early people take over: one habit of theirs at a time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from silri.bench.report.figures import STYLE, Drawn, legend, save
from silri.bench.results import Results, Run
from silri.bench.suite import Person
from silri.evaluation.style import COLOURS, MARKERS
from silri.evaluation.summary import SECONDS_PER_STEP
from silri.intervention.operators import SimulatedConfig
from silri.intervention.registry import OPERATORS

# Fields of operator.gate -> what an axis says of them.
HABITS = {
    "hold": "how long: mean hold, steps",
    "probability": "how often: chance per step with a reason",
    "disagreement": "how late: disagreement that is a reason",
}


def habit_values(person: Person) -> dict[str, float]:
    """Habit to its number, of those that a person stands for.

    One whose gate a suite does not change stands for their own number of each.
    """
    config = OPERATORS.load(person.operator).preset().config
    if not isinstance(config, SimulatedConfig):
        return {}
    changed: Mapping[str, Any] = person.overrides.get("operator", {}).get("gate", {})
    if any(name not in HABITS for name in changed) or len(changed) > 1:
        return {}
    values = {name: changed.get(name, getattr(config.gate, name)) for name in changed or HABITS}
    return {
        name: statistics.fmean(value) if name == "hold" else float(value)
        for name, value in values.items()
        if value is not None
    }


def draw_takeovers(results: Results, path: Path, *, effort: bool) -> Drawn | None:
    """Steps to 90 %, or the person's seconds until then, against each habit.

    A point is the mean over tasks of their median over seeds. A run that did not get there counts
    with its whole budget, and its point is hollow. None if no habit has two numbers with runs.
    """
    lines = _lines(results, effort)
    if not lines:
        return None
    operators = list(dict.fromkeys(operator for _, operator in lines))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.0 + 3.2 * len(HABITS), 3.4), layout="constrained")
        panels = figure.subplots(1, len(HABITS), sharey=True, squeeze=False)[0]
        for panel, (habit, words) in zip(panels, HABITS.items(), strict=True):
            for number, operator in enumerate(operators):
                _draw_line(panel, lines.get((habit, operator), []), operator, number)
            panel.set_xscale("log")
            panel.set_xlabel(words)
            ticks = sorted(
                {x for (name, _), line in lines.items() if name == habit for x, *_ in line}
            )
            panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            panel.set_xticks([], minor=True)
            panel.set_ylim(bottom=0)
        panels[0].set_ylabel("seconds driven until 90 %" if effort else "steps to 90 %")
        legend(figure, list(panels), len(operators))
        save(figure, path)
    what = "The person's seconds until 90 %" if effort else "Steps to 90 %"
    return Drawn(
        path,
        f"{what} against one habit at a time, the others as they are. Mean over tasks of the "
        "median over seeds; hollow: a run did not get there and counts with its budget.",
    )


def _draw_line(
    panel: Axes, line: list[tuple[float, float, bool]], operator: str, number: int
) -> None:
    if not line:
        return
    colour, marker = COLOURS[number], MARKERS[number]
    panel.plot([x for x, *_ in line], [y for _, y, _ in line], color=colour, alpha=0.7)
    for x, y, censored in line:
        face = "none" if censored else colour
        panel.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=6)
    panel.plot([], [], marker, color=colour, linestyle="-", label=operator)


def _lines(
    results: Results, effort: bool
) -> dict[tuple[str, str], list[tuple[float, float, bool]]]:
    """(habit, operator) to its points (number, value, censored)."""
    lines: dict[tuple[str, str], list[tuple[float, float, bool]]] = {}
    for person in results.suite.people:
        runs = [run for run in results.runs if run.cell.person.label == person.label]
        point = _point(runs, effort)
        if point is None:
            continue
        for habit, value in habit_values(person).items():
            lines.setdefault((habit, person.operator), []).append((value, *point))
    return {key: sorted(line) for key, line in lines.items() if len(line) > 1}


def _point(runs: list[Run], effort: bool) -> tuple[float, bool] | None:
    """Mean over tasks of the median over seeds, and whether any run is censored."""
    by_task: dict[str, list[float]] = {}
    censored = False
    for run in runs:
        reached = run.intervention_steps_to_90 if effort else run.steps_to_90
        if reached is not None:
            unit = SECONDS_PER_STEP if effort else 1.0
            by_task.setdefault(run.cell.task.label, []).append(unit * reached.value)
            censored |= reached.censored
    if not by_task:
        return None
    return statistics.fmean(statistics.median(values) for values in by_task.values()), censored
