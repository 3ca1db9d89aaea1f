"""A learned multiplier beside constant ones: the figure of the study of people."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from silri.bench.report.aggregate import mean_of
from silri.bench.report.figures import STYLE, Drawn, legend, save
from silri.bench.results import Results
from silri.bench.suite import Variant
from silri.evaluation.style import COLOURS, MARKERS

LEARNED = {"state": "-", "scalar": ":"}  # what is learned -> how its level is drawn


def draw_constants(results: Results, path: Path) -> Drawn | None:
    """Success at the end against the constant, one line per person; learned ones are levels.

    None if no constant has a run.
    """
    constants = sorted(
        (value, variant.label)
        for variant in results.suite.variants
        if (value := constant_of(variant)) is not None
        and any(run.cell.variant.label == variant.label for run in results.runs)
    )
    tasks = [
        task.label
        for task in results.suite.tasks
        if any(run.cell.task.label == task.label for run in results.runs)
    ]
    if not constants or not tasks:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.0 + 3.2 * len(tasks), 3.4), layout="constrained")
        grid = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for panel, task in zip(grid, tasks, strict=True):
            _draw_task(panel, results, task, constants)
            panel.set_title(task)
            panel.set_xscale("log")
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_xticks([c for c, _ in constants], [f"{c:g}" for c, _ in constants])
            panel.set_xticks([], minor=True)
            panel.set_ylim(-0.02, 1.04)
            panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        grid[0].set_ylabel("success at the end")
        figure.supxlabel("constant λ", fontsize=9.5)
        legend(figure, [grid[0]], min(4, len(results.suite.people)))
        save(figure, path)
    return Drawn(
        path,
        "Success at the end against a constant multiplier, one line per person (mean over seeds). "
        "Levels are learned multipliers of the same colour's person: a full line is one per state, "
        "a dotted line one number for all states.",
    )


def constant_of(variant: Variant) -> float | None:
    """The constant of a variant whose multiplier is one; None for every other."""
    config = variant.overrides.get("agent", {})
    if variant.agent != "silri" or config.get("multiplier") != "const":
        return None
    value = config.get("initial_multiplier")
    return None if value is None else float(value)


def _draw_task(
    panel: Axes, results: Results, task: str, constants: list[tuple[float, str]]
) -> None:
    for number, person in enumerate(results.suite.people):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        known = [
            (constant, mean_of(values).value)
            for constant, label in constants
            if (values := results.values(task, label, person.label, "final_success"))
        ]
        if known:
            x, y = zip(*known, strict=True)
            panel.plot(x, y, color=colour, marker=marker, markersize=5, label=person.label)
        for variant in results.suite.variants:
            style = LEARNED.get(_learned(variant) or "")
            values = results.values(task, variant.label, person.label, "final_success")
            if style and values:
                panel.axhline(
                    mean_of(values).value, color=colour, linestyle=style, linewidth=1.3, alpha=0.8
                )


def _learned(variant: Variant) -> str | None:
    if variant.agent != "silri" or variant.preset != "default":
        return None
    kind: str = variant.overrides.get("agent", {}).get("multiplier", "state")
    return kind
