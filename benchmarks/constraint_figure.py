"""SiLRI's constraint along one episode of a finished run: the figure of docs/explanation/silri.md.

    python benchmarks/constraint_figure.py RUN --episode 142

Reads what the run stored beside every step: lambda, bound, distance, the person's deviation. It
draws them with how strongly the person is imitated: what the policy's gradient pulls it towards
the person with, lambda / (1 + lambda) / sigma^2 per unit of difference, as a mean over dimensions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from silri.data.episode import Episode
from silri.nn.constraint import LEAST_DEVIATION
from silri.store.dataset import read_dataset

ROWS = (
    ("lambda", ""),
    ("distance and bound", "nats"),
    ("deviation of the person, as learned", "action units"),
    ("strength of imitation: lambda / (1 + lambda) / deviation²", ""),
)


def series(episode: Episode) -> dict[str, np.ndarray]:
    """What the figure shows, each (T,).

    Raises:
        SystemExit: the episode was not made by SiLRI, so there is nothing to show.
    """
    said = episode.diagnostics
    if "lambda" not in said:
        raise SystemExit(f"episode {episode.episode_id} has no lambda: name a run of silri")
    dimensions = sorted(name for name in said if name.startswith("human_std."))
    std = np.stack([said[name] for name in dimensions], axis=-1)
    weight = said["lambda"] / (1 + said["lambda"])
    pull = (weight[:, None] / np.maximum(std, LEAST_DEVIATION) ** 2).mean(axis=-1)
    names = ("lambda", "bound", "distance")
    return {name: said[name] for name in names} | {"std": std.mean(axis=-1), "pull": pull}


def takeovers(episode: Episode) -> list[tuple[int, int]]:
    """First step and end of every stretch in which the person drives."""
    flags = np.concatenate([[0], episode.frames["is_intervention"].astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flags))
    return [(int(first), int(end)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def choose(episodes: list[Episode], number: int | None) -> Episode:
    """The episode called ``number``, or the last success in which a person took over.

    Raises:
        SystemExit: there is none.
    """
    if number is not None:
        found = [episode for episode in episodes if episode.episode_id == number]
    else:
        found = [e for e in episodes if takeovers(e) and e.success and not e.is_demo]
    if not found:
        wanted = "success with a takeover" if number is None else f"episode {number}"
        raise SystemExit(f"the run has no {wanted}: 'silri data list RUN' shows its episodes")
    return found[-1]


def draw(episode: Episode, out: Path) -> None:
    """Four panels over the steps of one episode, stretches with the person shaded."""
    values = series(episode)
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(4, 1, figsize=(7.2, 5.6), sharex=True, layout="constrained")
    steps = np.arange(len(episode))
    lines = (("lambda",), ("distance", "bound"), ("std",), ("pull",))
    colours = {"lambda": "C0", "distance": "C0", "bound": "0.4", "std": "C2", "pull": "C3"}
    for axis, (title, unit), names in zip(axes, ROWS, lines, strict=True):
        for name in names:
            style = "--" if name == "bound" else "-"
            axis.plot(steps, values[name], style, color=colours[name], label=name, lw=1.6)
        for first, end in takeovers(episode):
            axis.axvspan(first - 0.5, end - 0.5, color="C1", alpha=0.25, lw=0)
        axis.set_title(title, loc="left", fontsize=9, fontweight="bold")
        axis.set_ylabel(unit, fontsize=7)
        axis.set_ylim(bottom=0)
        axis.margins(x=0)
    if found := takeovers(episode):
        place = (sum(found[0]) / 2, 0.8)
        axes[0].text(
            *place, "the person drives", transform=axes[0].get_xaxis_transform(), fontsize=8
        )
    axes[1].legend(loc="upper right", fontsize=7, frameon=False, ncols=2)
    axes[-1].set_xlabel("step of the episode")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
    print(f"episode {episode.episode_id}, {len(episode)} steps, success {episode.success} -> {out}")


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of silri")
    parser.add_argument("--episode", type=int, help="default: the last success with a takeover")
    parser.add_argument("--out", type=Path, default=Path("docs/images/constraint.png"))
    chosen = parser.parse_args()
    episodes = list(read_dataset(chosen.run / "episodes"))
    draw(choose(episodes, chosen.episode), chosen.out)


if __name__ == "__main__":
    mpl.use("Agg")
    main()
