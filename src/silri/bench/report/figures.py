"""The figures of a report: small multiples of learning curves, intervals, the skill curve."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from PIL import Image

from silri.bench.report.aggregate import Estimate, common_tasks, mean_of
from silri.bench.report.curves import Curve, overall_curve, task_curve
from silri.bench.results import Results
from silri.evaluation.statistics import THRESHOLD
from silri.evaluation.style import COLOURS, INK, MARKERS, QUIET
from silri.evaluation.style import STYLE as EVERY_FIGURE
from silri.store.safety import files

COLUMNS = 3  # panels beside one another: still readable on a telephone, turned
PANEL = (2.75, 2.15)  # inches
DPI = 125  # sharp enough on a telephone, and small enough for a repository
PALETTE = 64  # colours, the steps between line and background included
STYLE: Any = {
    **EVERY_FIGURE,
    "font.size": 9.5,
    "axes.grid.axis": "y",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Drawn:
    """A figure on disk.

    Attributes:
        path: the file.
        caption: one sentence that says how to read it.
    """

    path: Path
    caption: str


@dataclass(frozen=True)
class Look:
    """How a variant is drawn in every figure of a report."""

    colour: str
    marker: str


def looks(results: Results) -> dict[str, Look]:
    """By variant that has a run, in the suite's order."""
    known = {run.cell.variant.label for run in results.runs}
    labels = [v.label for v in results.suite.variants if v.label in known]
    count = len(COLOURS)
    return {
        # The second round of colours has other markers.
        label: Look(COLOURS[n % count], MARKERS[(n + n // count) % len(MARKERS)])
        for n, label in enumerate(labels)
    }


def draw_curves(results: Results, person: str, path: Path, *, effort: bool) -> Drawn | None:
    """Learning curves per task and over all tasks; None if there is nothing to draw."""
    tasks = [
        task
        for task in results.tasks(person)
        if any(
            task_curve(results.of(task, v.label, person), effort=effort)
            for v in results.suite.variants
        )
    ]
    if not tasks:
        return None
    shared = common_tasks(results, person)
    panels = [*tasks, "all tasks"] if len(shared) > 1 else tasks
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(panels))
        for panel, name in zip(axes, panels, strict=False):
            for label, look in looks(results).items():
                if name == "all tasks":
                    curve = overall_curve(results, label, person, shared, effort=effort)
                else:
                    curve = task_curve(results.of(name, label, person), effort=effort)
                if curve is not None and curve.x[-1] == 0:
                    _draw_level(panel, curve, look, label)
                elif curve is not None:
                    _draw_curve(panel, curve, look, label)
            panel.set_title(name if name != "all tasks" else f"all {len(shared)} tasks")
            _dress_curves(panel)
        figure.supxlabel(
            "human seconds, demonstrations included" if effort else "environment steps",
            fontsize=9.5,
        )
        figure.supylabel("success of autonomous evaluations", fontsize=9.5)
        legend(figure, axes, len(looks(results)))
        save(figure, path)
    against = "human seconds (demonstrations included)" if effort else "environment steps"
    return Drawn(
        path,
        f"Success against {against}: interquartile mean over seeds with its 95 % bootstrap band; "
        f"dotted: {THRESHOLD:.0%}. Over all tasks success is relative to the expert's ceiling.",
    )


def draw_intervals(
    results: Results, rows: Sequence[tuple[str, dict[str, Estimate]]], path: Path
) -> Drawn:
    """Aggregates over tasks: a point with its interval per variant, a panel per quantity."""
    _draw_rows(results, rows, path)
    return Drawn(path, "Interquartile mean over tasks and seeds, with its 95 % bootstrap interval.")


def draw_ablation(results: Results, person: str, path: Path) -> Drawn | None:
    """Success at the end: a panel per task, a row per variant; None if there is nothing."""
    rows = [
        (
            task,
            {
                variant.label: mean_of(results.values(task, variant.label, person, "final_success"))
                for variant in results.suite.variants
            },
        )
        for task in results.tasks(person)
    ]
    if not any(one.count for _, estimates in rows for one in estimates.values()):
        return None
    _draw_rows(results, rows, path)
    return Drawn(
        path,
        "Success at the end: mean over seeds with its 95 % bootstrap interval; a single seed has "
        "none.",
    )


def _draw_rows(
    results: Results, rows: Sequence[tuple[str, dict[str, Estimate]]], path: Path
) -> None:
    """A row per variant that has a value, a panel per entry of ``rows``."""
    counts = {
        label: [e[label].count for _, e in rows if e[label].count] for label in looks(results)
    }
    shown = {label: look for label, look in looks(results).items() if counts[label]}
    wanted = {v.label: len(results.suite.seeds_of(v)) for v in results.suite.variants}
    names = [
        label + ("" if min(counts[label]) == wanted[label] else f", {_seeds(min(counts[label]))}")
        for label in shown
    ]
    width = 1.4 + (2.6 if len(rows) < 3 else 1.9) * len(rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 0.9 + 0.36 * len(shown)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(rows), sharey=True))
        for panel, (title, estimates) in zip(axes, rows, strict=True):
            for place, (label, look) in enumerate(shown.items()):
                one = estimates[label]
                if np.isnan(one.value):
                    continue
                ends = (one.low, one.high) if not np.isnan(one.low) else (one.value, one.value)
                panel.plot(ends, (place, place), color=look.colour, linewidth=6, alpha=0.3)
                panel.plot(one.value, place, look.marker, color=look.colour, markersize=7)
            panel.set_title(title)
            panel.set_yticks(range(len(names)), names)
            panel.set_ylim(len(names) - 0.5, -0.5)
            panel.set_xlim(-0.03, 1.06)
            panel.set_xticks((0.0, 0.5, 1.0))
            panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            panel.grid(axis="x", visible=True)
            panel.tick_params(axis="y", labelcolor=INK)
        save(figure, path)


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def draw_skill(results: Results, path: Path) -> Drawn | None:
    """Success at the end and the human's time against the person's quality, per task.

    People without a place on the axis stand to its right. None if nobody has one.
    """
    on_axis = sorted(
        (p for p in results.suite.people if p.quality is not None), key=lambda p: p.quality or 0.0
    )
    beside = [p for p in results.suite.people if p.quality is None]
    tasks = [
        t.label
        for t in results.suite.tasks
        if any(run.cell.task.label == t.label for run in results.runs)
    ]
    if not on_axis or not tasks:
        return None
    places = {p.label: p.quality or 0.0 for p in on_axis}
    span = max(places.values()) - min(places.values()) or 1.0
    for number, person in enumerate(beside, 1):
        places[person.label] = max(p.quality or 0.0 for p in on_axis) + 0.3 * span * number
    rows = (
        ("final_success", "success at the end"),
        ("human_seconds", "interventions, human seconds"),
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 4.0 * len(tasks), 5.2), layout="constrained")
        grid = figure.subplots(2, len(tasks), sharex="col", sharey="row", squeeze=False)
        for column, task in enumerate(tasks):
            for row, (name, words) in enumerate(rows):
                panel = grid[row][column]
                for label, look in looks(results).items():
                    curve = [(p.label, results.values(task, label, p.label, name)) for p in on_axis]
                    _draw_people(panel, curve, places, look, label, joined=True)
                    others = [(p.label, results.values(task, label, p.label, name)) for p in beside]
                    _draw_people(panel, others, places, look, None, joined=False)
                if column == 0:
                    panel.set_ylabel(words)
            here = [p for p in results.suite.people if not p.tasks or task in p.tasks]
            bottom = grid[1][column]
            grid[0][column].set_title(task)
            grid[0][column].set_ylim(-0.02, 1.04)
            grid[0][column].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            bottom.set_ylim(bottom=0)
            bottom.set_xticks(
                [places[p.label] for p in here],
                [p.label + (f" {p.quality:g}" if p.quality is not None else "") for p in here],
                rotation=35,
                ha="right",
                rotation_mode="anchor",
            )
        legend(figure, [grid[0][0]], len(looks(results)))
        save(figure, path)
    return Drawn(
        path,
        "Every algorithm against the person's skill, from the expert (0) to ever larger errors; "
        "joined points are on the axis, single ones are people of another kind. Mean over seeds "
        "with its 95 % bootstrap interval.",
    )


def _draw_people(
    panel: Axes,
    entries: Sequence[tuple[str, list[float]]],
    places: dict[str, float],
    look: Look,
    label: str | None,
    *,
    joined: bool,
) -> None:
    known = [(places[name], mean_of(values)) for name, values in entries if values]
    x = [place for place, _ in known]
    y = [one.value for _, one in known]
    (line,) = panel.plot(
        x,
        y,
        color=look.colour,
        marker=look.marker,
        markersize=5.5,
        markeredgecolor="white",
        linewidth=1.8,
        linestyle="-" if joined else "none",
        label=label,
        zorder=3,
        clip_on=False,
    )
    # Without a point it is there for the legend; its box would lie at the figure's corner.
    line.set_in_layout(bool(known))
    for place, one in known:
        if not np.isnan(one.low):
            panel.vlines(place, one.low, one.high, color=look.colour, alpha=0.4, linewidth=2.2)


def _draw_curve(panel: Axes, curve: Curve, look: Look, label: str) -> None:
    every = max(1, len(curve.x) // 6)
    panel.plot(
        curve.x,
        curve.value,
        color=look.colour,
        marker=look.marker,
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        markevery=every,
        linewidth=1.7,
        label=label,
        zorder=3,
        clip_on=False,
    )
    if np.isnan(curve.low).all():
        return
    if len(curve.x) == 1:
        panel.vlines(curve.x, curve.low, curve.high, color=look.colour, alpha=0.4, linewidth=2)
    panel.fill_between(curve.x, curve.low, curve.high, color=look.colour, alpha=0.15, linewidth=0)


def _draw_level(panel: Axes, curve: Curve, look: Look, label: str) -> None:
    """An agent that takes no environment steps: the level that it has from the start."""
    panel.axhline(
        curve.value[-1],
        color=look.colour,
        linewidth=1.3,
        linestyle=(0, (5, 2)),
        label=label,
        zorder=2,
    )
    if not np.isnan(curve.low).all():
        panel.axhspan(curve.low[-1], curve.high[-1], color=look.colour, alpha=0.08, linewidth=0)


def _dress_curves(panel: Axes) -> None:
    panel.set_ylim(0, 1.02)
    panel.set_xlim(left=0)
    panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    panel.yaxis.set_major_locator(MaxNLocator(4, steps=[2.5, 5, 10]))
    panel.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.axhline(THRESHOLD, color=QUIET, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels in rows of at most :data:`COLUMNS`."""
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    size = (PANEL[0] * columns + 0.4, PANEL[1] * rows + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel().tolist()
    for surplus in axes[count:]:
        surplus.set_visible(False)
    return figure, axes[:count]


def legend(figure: Figure, axes: Sequence[Axes], columns: int) -> None:
    """One for the whole figure: every label once, whichever panel it is in."""
    entries: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()), list(entries), loc="outside upper center", ncols=min(columns, 6)
    )


def save(figure: Figure, path: Path) -> None:
    """Write a small PNG, replaced in one step.

    A figure has few colours: a palette makes the file about a third as large. It holds no date and
    no version, so that the same runs give the same bytes.
    """
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    # The octree keeps a colour of few pixels, such as a dashed line's; the default merges it.
    image = (
        Image.open(drawn)
        .convert("RGB")
        .quantize(PALETTE, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    )
    image.save(packed, format="PNG", optimize=True)
    files.make_dir(path.parent)
    files.atomic_write(path, packed.getvalue(), durable=False)
