"""The report about a success classifier as one page: pictures inside, no script, no network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave

from silri.evaluation.classifier import Trust, rows_of
from silri.rewards.classifier import SuccessClassifier
from silri.rewards.examples import NONE, SUCCESS, Attempt

SHOWN = 12  # mistakes of each kind
PER_EPISODE = 2  # of them from one episode: neighbours look alike
_BLUE, _RED = "#0072b2", "#d55e00"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th { text-align: left; font-weight: 600; padding: .15rem 1.5rem .15rem 0; vertical-align: top; }
td { padding: .15rem 0; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
figure { margin: 0; }
figure img { width: 100%; image-rendering: pixelated; }
figcaption { font-size: .85rem; }
"""


@dataclass(frozen=True)
class Frame:
    """One frame in the gallery."""

    attempt: Attempt
    index: int
    probability: float


def worst(trust: Trust, label: int) -> list[Frame]:
    """The frames of one label that the classifier is most wrong about, the worst first.

    Only those on the wrong side of the threshold.
    """
    frames = [
        Frame(each.attempt, index, float(each.probabilities[index]))
        for each in trust.judged
        for index in np.flatnonzero(each.attempt.labels == label).tolist()
        if (each.probabilities[index] > trust.threshold) == (label == NONE)
    ]
    frames.sort(key=lambda frame: frame.probability, reverse=label == NONE)
    kept: list[Frame] = []
    for frame in frames:
        if sum(other.attempt is frame.attempt for other in kept) < PER_EPISODE:
            kept.append(frame)
    return kept[:SHOWN]


def as_page(trust: Trust, classifier: SuccessClassifier, title: str) -> str:
    """The whole page."""
    rows = "".join(
        f"<tr><th>{html.escape(name.strip())}</th><td>{html.escape(value)}</td></tr>"
        for name, value in rows_of(trust, classifier)
    )
    title = html.escape(f"Success classifier {title}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<table>{rows}</table>\n"
        "<h2>What it says</h2>\n"
        f'<p><img alt="probability along the episodes, and calibration" src="{_figure(trust)}"></p>'
        "\n<h2>Called a success, and is none</h2>\n"
        + _gallery(worst(trust, NONE))
        + "<h2>Not called a success, and is one</h2>\n"
        + _gallery(worst(trust, SUCCESS))
        + "</body>\n</html>\n"
    )


def _gallery(frames: Iterable[Frame]) -> str:
    cells = [
        f'<figure><img alt="frame {frame.index} of episode {frame.attempt.number}" '
        f'src="{picture(frame)}"><figcaption>p = {frame.probability:.3f}, episode '
        f"{frame.attempt.number}, step {frame.index} of {len(frame.attempt.labels) - 1}, "
        f"{html.escape(_short(frame.attempt.source))}</figcaption></figure>"
        for frame in frames
    ]
    if not cells:
        return "<p>None of the frames that are judged here.</p>\n"
    return '<div class="gallery">' + "\n".join(cells) + "</div>\n"


def _short(source: str) -> str:
    return "/".join(source.split("/")[-2:])


def picture(frame: Frame) -> str:
    """All cameras beside each other, as a data URI."""
    views = [view for _, view in sorted(frame.attempt.row(frame.index).items())]
    height = max(view.shape[0] for view in views)
    padded = [np.pad(view, ((0, height - view.shape[0]), (0, 0), (0, 0))) for view in views]
    data = io.BytesIO()
    imsave(data, np.concatenate(padded, axis=1), format="png")
    return _uri(data)


def _figure(trust: Trust) -> str:
    figure = Figure(figsize=(11.0, 3.4), layout="constrained")
    along, calibration = figure.subplots(1, 2)
    for success, colour, name in ((False, _RED, "failures"), (True, _BLUE, "successes")):
        for number, each in enumerate(trust.episodes(success=success)):
            steps = np.arange(len(each.probabilities)) - (len(each.probabilities) - 1)
            label = None if number else name
            along.plot(steps, each.probabilities, color=colour, alpha=0.5, lw=1, label=label)
    along.axhline(trust.threshold, color="#555555", ls="--", lw=1, label="threshold")
    along.set(xlabel="steps before the end", ylabel="probability", title="Along the episodes")
    calibration.plot([0, 1], [0, 1], color="#999999", lw=1)
    points = np.array([row[:2] for row in trust.calibration])
    calibration.plot(points[:, 0], points[:, 1], marker="o", color=_BLUE)
    for mean, share, count in trust.calibration:
        calibration.annotate(
            f"{count}", (mean, share), textcoords="offset points", xytext=(6, -10), fontsize=8
        )
    calibration.set(
        xlabel="what it says", ylabel="share of successes", title="Calibration (frames per bin)"
    )
    along.legend(fontsize="small", loc="center left")
    for axes in (along, calibration):
        axes.set_ylim(-0.04, 1.04)
        axes.spines[["top", "right"]].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return _uri(data)


def _uri(data: io.BytesIO) -> str:
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
