"""What advice is worth: the same people by their own eyes, with the coach, and by chance."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from silri.bench.report.aggregate import mean_of, median_reached
from silri.bench.report.figures import STYLE, Drawn, legend, save
from silri.bench.report.sections import markdown_table
from silri.bench.results import Results, Run
from silri.bench.suite import Person
from silri.evaluation.style import COLOURS, MARKERS

FOLLOWED = ("eyes", "coach", "chance")  # see silri.intervention.gate:GateConfig


def advice_table(results: Results) -> str:
    """One row per person and what they follow, over the cells that all of these have."""
    head = (
        *("person", "follows", "runs", "success at the end", "success over the budget"),
        *("median steps to 90 %", "human s", "of own eyes' s"),
    )
    rows = []
    for operator, followers in _people(results):
        seconds = {name: _seconds(runs) for name, runs in followers.items()}
        for name, runs in followers.items():
            reached = [run.steps_to_90 for run in runs if run.steps_to_90 is not None]
            median = median_reached(reached) if reached else None
            own = seconds.get("eyes")
            rows.append(
                (
                    operator,
                    name,
                    str(len(runs)),
                    mean_of([run.final_success for run in runs]).format(),
                    mean_of([run.mean_success for run in runs]).format(),
                    "-" if median is None else f"{'> ' * median.censored}{median.value:,.0f}",
                    f"{seconds[name]:,.0f}",
                    f"{seconds[name] / own:.0%}" if own else "-",
                )
            )
    return markdown_table(head, rows)


def draw_advice(results: Results, path: Path) -> Drawn | None:
    """Success over the budget against the person's seconds: a panel per person, a dot per run.

    None if no run has anything to be compared with.
    """
    people = list(_people(results))
    if not people:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.0 + 3.2 * len(people), 3.4), layout="constrained")
        panels = figure.subplots(1, len(people), sharey=True, squeeze=False)[0]
        for panel, (operator, followers) in zip(panels, people, strict=True):
            for number, name in enumerate(FOLLOWED):
                runs = followers.get(name, [])
                if not runs:
                    continue
                x = [run.human_seconds for run in runs]
                y = [run.mean_success for run in runs]
                colour, marker = COLOURS[number], MARKERS[number]
                panel.plot(x, y, marker, color=colour, markersize=4, alpha=0.35)
                middle = statistics.fmean(x), statistics.fmean(y)
                panel.plot(*middle, marker, color=colour, markersize=10, label=name)
            panel.set_title(operator)
            panel.set_xlim(left=0)
            panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        panels[0].set_ylabel("success over the budget")
        figure.supxlabel("seconds that the person drove", fontsize=9.5)
        legend(figure, list(panels), len(FOLLOWED))
        save(figure, path)
    return Drawn(
        path,
        "Success over the budget (mean of all evaluations) against the person's seconds. "
        "A small mark is a run, a large one their mean. Up and to the left is better.",
    )


def followed_by(person: Person) -> str:
    """What a person of a suite follows."""
    gate = person.overrides.get("operator", {}).get("gate", {})
    return str(gate.get("follows", FOLLOWED[0]))


def _people(results: Results) -> Iterator[tuple[str, dict[str, list[Run]]]]:
    """Operators with the runs of each thing that they follow, of the same tasks and seeds."""
    operators = dict.fromkeys(person.operator for person in results.suite.people)
    for operator in operators:
        found = {
            followed_by(person): {
                (run.cell.task.label, run.cell.variant.label, run.cell.seed): run
                for run in results.runs
                if run.cell.person.label == person.label
            }
            for person in results.suite.people
            if person.operator == operator
        }
        found = {name: found[name] for name in FOLLOWED if found.get(name)}
        common = set.intersection(*(set(runs) for runs in found.values())) if found else set()
        if len(found) > 1 and common:
            order = [key for key in next(iter(found.values())) if key in common]
            yield operator, {name: [runs[key] for key in order] for name, runs in found.items()}


def _seconds(runs: list[Run]) -> float:
    return statistics.fmean(run.human_seconds for run in runs)
