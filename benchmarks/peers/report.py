"""Tables in Markdown and the figure, from the committed results alone."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np


def tables(folder: Path) -> str:
    """Everything that docs/explanation/peers.md quotes."""
    parts = [_parity(folder), _time(folder), _learn(folder)]
    return "\n\n".join(part for part in parts if part)


def _read(folder: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]


def _parity(folder: Path) -> str:
    if not (result := _read(folder, "parity.json")):
        return ""
    lines = [
        "| | after iterations | Q: difference (of a spread of) | mean action | gripper agrees |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, rows in result[0].items():
        lines += [
            f"| {name} | {row['iteration']:,} | {row['q_rms']:.1e} ({row['q_std']:.2f}) "
            f"| {row['action_rms']:.1e} ({row['action_std']:.2f}) | {row['gripper_agrees']:.0%} |"
            for row in rows
            if row["iteration"] in (0, 1, 10, 100, 200)
        ]
    return "\n".join(lines)


def _time(folder: Path) -> str:
    results = _read(folder, "time_*.json")
    if not results:
        return ""
    names = list(results[0]["best_ms"])
    head = [f"{r['device']}, threads: {r['threads']}" for r in results]
    lines = ["| ms: best, median (processor) | " + " | ".join(head) + " |"]
    lines.append("| --- |" + " --- |" * len(head))
    for name in names:
        cells = [
            f"{r['best_ms'][name]:.1f}, {r['median_ms'][name]:.1f} ({r['median_cpu_ms'][name]:.1f})"
            for r in results
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name in results[0]["silri_over"]:
        ratios = [r["silri_over"][name] for r in results]
        cells = [
            f"{x['best']:.2f}, {x['median_of_rounds']:.2f} ({x['median_of_rounds_cpu']:.2f})"
            for x in ratios
        ]
        lines.append(f"| **silri / {name}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _learn(folder: Path) -> str:
    runs = _read(folder, "learn_*.json")
    if not runs:
        return ""
    lines = [
        "| who acted | learner | seeds | "
        + " | ".join(f"{row['step']:,}" for row in runs[0]["evaluations"])
        + " |",
        "| --- | --- | --- |" + " --- |" * len(runs[0]["evaluations"]),
    ]
    for driver, group in _by_driver(runs).items():
        for name in _learners(group[0]):
            columns = zip(*([row[name] for row in r["evaluations"]] for r in group), strict=True)
            cells = [
                f"{np.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"
                for values in columns
            ]
            role = f"**{name}**" if name == driver else name
            lines.append(f"| {driver} | {role} | {len(group)} | " + " | ".join(cells) + " |")
    lines += ["", _differences(runs), "", _values(runs)]
    return "\n".join(lines)


def _differences(runs: list[dict[str, Any]]) -> str:
    """Mean success of each learner in the same role, over all evaluations but the first."""
    grouped = _by_driver(runs)
    roles = {
        "acting": {"lerobot": "lerobot", "silri": "silri"},
        "following": {"lerobot": "silri", "silri": "lerobot"},
    }
    parts = []
    for role, drivers in roles.items():
        if not all(driver in grouped for driver in drivers.values()):
            continue
        means = [
            f"{name} {_mean_success(grouped[driver], name):.3f}" for name, driver in drivers.items()
        ]
        parts.append(f"{role}: {', '.join(means)}")
    return "Mean success after the first evaluation: " + "; ".join(parts) + "."


def _mean_success(group: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for run in group for row in run["evaluations"][1:]]))


def _values(runs: list[dict[str, Any]]) -> str:
    """Losses and values along training, median over runs."""
    lines = [
        (
            "| iteration | critic loss: silri, lerobot | Q: silri, lerobot | correlation of Q "
            "| temperature: silri, lerobot |"
        ),
        "| --- | --- | --- | --- | --- |",
    ]
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        for point in run["curves"]:
            rows[point["iteration"]].append(point)
    for iteration, points in sorted(rows.items()):
        if iteration % 500 or len(points) < len(runs):
            continue

        def pair(key: str, spec: str, points: list[dict[str, Any]] = points) -> str:
            values = (np.median([p[name][key] for p in points]) for name in ("silri", "lerobot"))
            return ", ".join(format(value, spec) for value in values)

        correlation = np.median([p["q_correlation"] for p in points])
        lines.append(
            f"| {iteration:,} | {pair('critic_loss', '.3f')} | {pair('q', '.2f')} "
            f"| {correlation:.3f} | {pair('temperature', '.4f')} |"
        )
    return "\n".join(lines)


def _by_driver(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        grouped[run["plan"]["driver"]].append(run)
    return dict(grouped)


def _learners(run: dict[str, Any]) -> list[str]:
    return [name for name in run["evaluations"][0] if name != "step"]


def figure(folder: Path, path: Path) -> None:
    """Success and Q of both learners along training; nothing where there is no run."""
    runs = _read(folder, "learn_*.json")
    if not runs:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    grouped = _by_driver(runs)
    drawing, axes = plt.subplots(1, 2 + len(grouped), figsize=(4 * (2 + len(grouped)), 3.2))
    colours = {"silri": "tab:blue", "lerobot": "tab:orange"}
    for axis, (driver, group) in zip(axes, grouped.items(), strict=False):
        for name in ("silri", "lerobot"):
            curves = np.asarray([[row[name] for row in r["evaluations"]] for r in group])
            steps = [row["step"] for row in group[0]["evaluations"]]
            axis.plot(steps, curves.T, color=colours[name], alpha=0.3, linewidth=1)
            axis.plot(steps, curves.mean(0), color=colours[name], marker="o", label=name)
        axis.set(title=f"success, {driver} acts", ylim=(-0.02, 1.02), xlabel="environment steps")
        axis.legend()
    for axis, (key, title) in zip(
        axes[len(grouped) :],
        (("q", "mean Q of the batch"), ("critic_loss", "critic loss")),
        strict=True,
    ):
        for run in runs:
            for name, colour in colours.items():
                points = [(p["iteration"], p[name][key]) for p in run["curves"]]
                label = name if run is runs[0] else None
                axis.plot(*zip(*points, strict=True), color=colour, alpha=0.6, label=label)
        axis.set(title=title, xlabel="iterations")
        axis.legend()
    axes[-1].set_yscale("log")
    drawing.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=120)
    print(f"wrote {path}")
