"""How long, how often and how early people take over: one habit of theirs at a time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from silri.bench.report.figures import STYLE, Drawn, legend, save
from silri.bench.results import Results
from silri.bench.suite import Person
from silri.evaluation.style import COLOURS, MARKERS
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
    """The person's seconds, or success over the budget, against each habit.

    Not steps to 90 %: one dip of a curve moves them by a thousand. A point is the mean over tasks
    of the mean over seeds. None if no habit has two numbers with runs.
    """
    lines = _lines(results, effort)
    if not lines:
        return None
    operators = list(dict.fromkeys(operator for _, operator in lines))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.0 + 3.2 * len(HABITS), 3.0), layout="constrained")
        panels = figure.subplots(1, len(HABITS), sharey=True, squeeze=False)[0]
        for panel, (habit, words) in zip(panels, HABITS.items(), strict=True):
            for number, operator in enumerate(operators):
                _draw_line(panel, lines.get((habit, operator), []), operator, number)
            panel.set_xscale("log")
            panel.set_xlabel(words)
            drawn = [line for (name, _), line in lines.items() if name == habit]
            ticks = sorted({x for line in drawn for x, _ in line})
            panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            panel.set_xticks([], minor=True)
        panels[0].set_ylim(0, None if effort else 1.04)
        if not effort:
            panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        panels[0].set_ylabel("seconds driven" if effort else "success over the budget")
        legend(figure, list(panels), len(operators))
        save(figure, path)
    what = "The person's seconds" if effort else "Success over the budget (mean of all evaluations)"
    return Drawn(
        path,
        f"{what} against one habit at a time, the others as they are. Mean over tasks of the mean "
        "over seeds.",
    )


def _draw_line(panel: Axes, line: list[tuple[float, float]], operator: str, number: int) -> None:
    if line:
        x, y = zip(*line, strict=True)
        panel.plot(x, y, color=COLOURS[number], marker=MARKERS[number], label=operator)


def _lines(results: Results, effort: bool) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(habit, operator) to its points (number, value)."""
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for person in results.suite.people:
        by_task: dict[str, list[float]] = {}
        for run in results.runs:
            if run.cell.person.label == person.label:
                value = run.human_seconds if effort else run.mean_success
                by_task.setdefault(run.cell.task.label, []).append(value)
        if by_task:
            point = statistics.fmean(map(statistics.fmean, by_task.values()))
            for habit, number in habit_values(person).items():
                lines.setdefault((habit, person.operator), []).append((number, point))
    return {key: sorted(line) for key, line in lines.items() if len(line) > 1}
