"""Learning curves: success of evaluations and human effort, against environment steps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from silri.core.errors import UsageError
from silri.evaluation.curves import WINDOW, Key, RunCurve, read_run
from silri.evaluation.statistics import THRESHOLD, wilson_interval
from silri.evaluation.style import COLOURS, MARKERS, QUIET, STYLE
from silri.store.safety.space import check_writable, explained

__all__ = ["RunCurve", "plot_learning_curves", "read_run"]

FORMATS = ("png", "pdf", "svg")
_GRID = 200  # points that curves of several seeds are compared at

_STYLE: Any = {**STYLE, "font.size": 10.5, "svg.fonttype": "none", "pdf.fonttype": 42}


def plot_learning_curves(runs: Sequence[RunCurve], path: str | Path) -> Path:
    """Draw success rate and intervention rate of ``runs`` against environment steps.

    Runs that differ by their seed only are one curve: their median, and their range as a band. A
    single run has the Wilson interval of each evaluation as its band. Without any evaluation the
    success of training episodes without help is drawn instead, and where nothing says what success
    is, the mean return; the axis says so.

    Args:
        runs: one or several, from :func:`read_run`.
        path: the figure; its suffix decides the format (:data:`FORMATS`).

    Returns:
        ``path``; the file is replaced in one step, so that a viewer never sees half of it.

    Raises:
        UsageError: if there is no run, the suffix is none of :data:`FORMATS`, or ``path`` cannot
            be written.
    """
    if not runs:
        raise UsageError("there is no run to plot")
    path = Path(path)
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in FORMATS:
        raise UsageError(f"a figure is written as {', '.join(FORMATS)}; '{path.name}' is none")
    check_writable(path)
    groups: dict[Key, list[RunCurve]] = {}
    for run in runs:
        groups.setdefault(run.key, []).append(run)
    labels = _labels(groups)
    evaluated = any(run.evaluation_steps.size for run in runs)
    judged = any(run.judged for run in runs)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.0, 5.6), layout="constrained")
        success, effort = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        limit = _last_step(runs)
        for index, (key, members) in enumerate(groups.items()):
            look = _Look(
                COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], stagger=index
            )
            label = labels[key] + (f" ({len(members)} seeds)" if len(members) > 1 else "")
            if evaluated:
                _draw_evaluations(success, members, look, label, limit, judged=judged)
            else:
                _draw_training(success, members, look, label)
            _draw_effort(effort, members, look)
        _dress(success, effort, limit, evaluated=evaluated, judged=judged)
        bands = _band_text(groups.values(), evaluated=evaluated, judged=judged)
        _title(figure, groups, bands=bands)
        temporary = path.with_name(f".{path.name}.part")
        with explained(path, "a figure"):
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(temporary, format=suffix, dpi=200)
            os.replace(temporary, path)  # noqa: PTH105
    return path


@dataclass(frozen=True)
class _Look:
    colour: str
    marker: str
    stagger: int


def _draw_evaluations(
    axes: Axes, members: list[RunCurve], look: _Look, label: str, limit: float, *, judged: bool
) -> None:
    """Success of evaluations: one run with its Wilson band, or median and range of several.

    Not judged: their mean return, without a band of its own.
    """
    members = [run for run in members if run.evaluation_steps.size]
    if not members:
        axes.plot([], [], color=look.colour, marker=look.marker, label=f"{label}, not evaluated")
        return
    if len(members) == 1:
        run = members[0]
        steps, middle = run.evaluation_steps, run.success_rates if judged else run.mean_returns
        low, high = middle, middle
        if run.evaluation_episodes and judged:
            bounds = [
                wilson_interval(rate * run.evaluation_episodes, run.evaluation_episodes)
                for rate in middle
            ]
            low, high = np.asarray(bounds).T
    else:
        steps = _common_steps([run.evaluation_steps for run in members])
        values = [run.success_rates if judged else run.mean_returns for run in members]
        rates = [
            np.interp(steps, run.evaluation_steps, each)
            for run, each in zip(members, values, strict=True)
        ]
        middle, low, high = np.median(rates, 0), np.min(rates, 0), np.max(rates, 0)
    style: dict[str, Any] = {"color": look.colour, "linewidth": 1.8, "label": label}
    if steps[-1] == 0:
        # Trained without a single environment step (BC): a level to compare with, not a curve.
        steps, middle, low, high = (np.resize(a[-1:], 2) for a in (steps, middle, low, high))
        steps = np.asarray([0.0, max(limit, 1.0)])
        style |= {"linestyle": (0, (5, 2)), "label": f"{label}, 0 steps"}
    else:
        style |= {"marker": look.marker, "markersize": 5, "markeredgecolor": "white"}
    axes.plot(steps, middle, zorder=3, clip_on=False, **style)
    if len(steps) == 1:  # a band of no width would not be seen
        axes.vlines(steps, low, high, color=look.colour, alpha=0.4, linewidth=1.8)
    axes.fill_between(steps, low, high, color=look.colour, alpha=0.16, linewidth=0)


def _draw_training(axes: Axes, members: list[RunCurve], look: _Look, label: str) -> None:
    curves = [(run.episode_steps, run.unaided_successes()) for run in members]
    _draw_bundle(axes, curves, look, label)


def _draw_effort(axes: Axes, members: list[RunCurve], look: _Look) -> None:
    _draw_bundle(axes, [(r.episode_steps, r.intervention_rates()) for r in members], look, None)


def _draw_bundle(
    axes: Axes, curves: list[tuple[np.ndarray, np.ndarray]], look: _Look, label: str | None
) -> None:
    """One curve, or median and range of several on a common grid."""
    curves = [curve for curve in curves if curve[0].size]
    if len(curves) == 1:
        steps, middle = curves[0]
    elif curves:
        start = max(steps[0] for steps, _ in curves)
        end = min(steps[-1] for steps, _ in curves)
        steps = np.linspace(start, max(start, end), _GRID)
        values = [np.interp(steps, *curve) for curve in curves]
        middle = np.median(values, 0)
        low, high = np.min(values, 0), np.max(values, 0)
        axes.fill_between(steps, low, high, color=look.colour, alpha=0.16, linewidth=0)
    else:
        steps = middle = np.empty(0)
    every = max(1, len(steps) // 8)
    axes.plot(
        steps,
        middle,
        color=look.colour,
        linewidth=1.8,
        label=label,
        marker=look.marker,
        markersize=5,
        markeredgecolor="white",
        # Staggered, so that markers of curves that meet do not hide one another.
        markevery=((1 + 2 * look.stagger) * every // 8 % every, every),
        # Markers on the axis stay whole; an empty line without clipping would upset the layout.
        clip_on=not curves,
        zorder=3,
    )


def _dress(success: Axes, effort: Axes, limit: float, *, evaluated: bool, judged: bool) -> None:
    """Scales, ticks and words of the two panels."""
    words = "success of evaluations" if judged else "mean return of evaluations"
    success.set_ylabel(words if evaluated else "success without help")
    effort.set_ylabel("intervention rate")
    effort.set_xlabel("environment steps" if limit else "no environment steps")
    if judged:
        success.set_ylim(0, 1.02)
    rates = [np.asarray(line.get_ydata()) for line in effort.lines]
    highest = max((float(rate.max()) for rate in rates if rate.size), default=0.0)
    effort.set_ylim(0, min(1.02, max(0.1, 1.15 * highest)))
    effort.set_xlim(0, max(limit, 1.0) * 1.01)
    effort.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    effort.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if limit == 0:
        effort.set_xticks([])
        effort.text(
            0.5, 0.5, "no online episode", color=QUIET, transform=effort.transAxes, ha="center"
        )
    for axes in (success, effort):
        if judged or axes is effort:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="x", visible=False)
    effort.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if evaluated and judged:
        success.axhline(THRESHOLD, color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    entries = len(success.get_legend_handles_labels()[1])
    success.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2 if entries == 4 else 3,
        frameon=False,
        handlelength=2.2,
    )


def _title(figure: Figure, groups: Iterable[Key], *, bands: str) -> None:
    """What all curves share goes into the title, what the bands mean below the panels."""
    shared = [
        values.pop() if len(values := {key[field] for key in groups}) == 1 else ""
        for field in range(4)
    ]
    words = [shared[2], f"operator {shared[3]}" if shared[3] else ""]
    figure.suptitle(" · ".join(filter(None, words)) or "learning curves", fontsize=11.5)
    figure.supxlabel(bands, fontsize=8.5, color=QUIET, x=0.99, ha="right")


def _band_text(groups: Iterable[list[RunCurve]], *, evaluated: bool, judged: bool) -> str:
    sizes = {min(len(members), 2) for members in groups}
    words = []
    if evaluated and judged and 1 in sizes:
        words.append("one run: 95 % Wilson interval")
    if 2 in sizes:
        words.append("several seeds: median and range")
    if not evaluated:
        words.insert(0, f"no evaluation yet: training episodes, mean of the last {WINDOW}")
    if not judged:
        words.append("nothing says what success is: mean return")
    if evaluated and judged:
        words.append(f"dotted: {THRESHOLD * 100:g} %")
    return "; ".join([*words, f"interventions over the last {WINDOW} episodes"])


def _labels(groups: Iterable[Key]) -> dict[Key, str]:
    """The agent, and of preset, environment and operator what tells the groups apart."""
    groups = list(groups)
    varies = [len({key[field] for key in groups}) > 1 for field in range(4)]
    return {
        key: " · ".join(
            part for field, part in enumerate(key) if part and (field == 0 or varies[field])
        )
        for key in groups
    }


def _last_step(runs: Iterable[RunCurve]) -> float:
    ends = (
        steps[-1] for r in runs for steps in (r.evaluation_steps, r.episode_steps) if steps.size
    )
    return max(ends, default=0.0)


def _common_steps(all_steps: list[np.ndarray]) -> np.ndarray:
    """Every step at which a seed was evaluated, as far as all of them have come."""
    union = np.unique(np.concatenate(all_steps))
    start, end = max(s[0] for s in all_steps), min(s[-1] for s in all_steps)
    common = union[(union >= start) & (union <= end)]
    return common if common.size else union[-1:]
