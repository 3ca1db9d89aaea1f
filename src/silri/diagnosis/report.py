"""Findings as text for a terminal, and as one page with pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from silri.diagnosis.evidence import Evidence
from silri.diagnosis.findings import Finding, Picture
from silri.diagnosis.rules import RULES

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
section { border-left: 4px solid #d55e00; padding-left: 1rem; margin: 2rem 0; }
h2 { font-size: 1.15rem; margin: 0 0 .3rem; }
code { opacity: .7; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
"""


def as_text(run: Evidence, findings: Sequence[Finding]) -> str:
    """What ``silri diagnose`` prints."""
    lines = [_headline(run), _verdict(run, findings)]
    for number, finding in enumerate(findings, start=1):
        lines += [
            "",
            f"{number}. {finding.problem}  [{finding.rule}]",
            f"   Seen: {finding.evidence}.",
            *(f"   Try: {remedy}." for remedy in finding.remedies),
        ]
    return "\n".join(lines)


def as_page(run: Evidence, findings: Sequence[Finding]) -> str:
    """One self-contained page: no script, no network, pictures inside."""
    parts = [
        f"<section><h2>{number}. {html.escape(finding.problem)}</h2>"
        f"<p><code>{finding.rule}</code> {html.escape(finding.evidence)}.</p>"
        f'<p><img alt="{html.escape(finding.picture.title)}" src="{draw(finding.picture)}"></p>'
        f"<p>What to try:</p><ul>"
        + "".join(f"<li>{html.escape(remedy)}</li>" for remedy in finding.remedies)
        + "</ul></section>"
        for number, finding in enumerate(findings, start=1)
    ]
    title = html.escape(f"Diagnosis of {run.name}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<p>{html.escape(_headline(run))}</p><p>{html.escape(_verdict(run, findings))}</p>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def draw(picture: Picture) -> str:
    """The picture as a data URI."""
    figure = Figure(figsize=(7.0, 2.8), layout="constrained")
    axes = figure.subplots()
    for label, series in picture.lines.items():
        style = {"linestyle": "", "marker": "."} if picture.dots else {"linewidth": 1.5}
        axes.plot(series.steps, series.values, label=label, **style)
    for label, limit in picture.limits.items():
        axes.axhline(limit, color="#d55e00", linestyle="--", linewidth=1.0, label=label)
    axes.set(title=picture.title, xlabel=picture.x)
    axes.legend(fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}"


def _headline(run: Evidence) -> str:
    config = run.config
    return (
        f"{run.name}: {config.agent_name} ({config.preset}) on {config.env_name} with "
        f"{config.operator_name}, {run.steps:,} steps, success {run.success:.2f}"
    )


def _verdict(run: Evidence, findings: Sequence[Finding]) -> str:
    if not findings:
        text = f"{len(RULES)} rules have looked at it, and none has anything to say."
        if not run.solved:
            text += " Its success is low all the same: it may need more steps, or another setting."
        return text
    return f"{len(findings)} of {len(RULES)} rules found something:"
