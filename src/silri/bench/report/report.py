"""The report of a suite: ``report.md``, its figures and one self-contained ``report.html``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from silri.bench.report import figures, sections
from silri.bench.report.advice import advice_table, draw_advice
from silri.bench.report.aggregate import import_rliable
from silri.bench.report.constants import draw_constants
from silri.bench.report.figures import Drawn
from silri.bench.report.help import help_section
from silri.bench.report.html import to_html
from silri.bench.report.takeovers import draw_takeovers
from silri.bench.results import Results
from silri.bench.suite_file import BUILT_IN
from silri.core.errors import UsageError
from silri.core.registry import unknown_name
from silri.store.safety import files

FIGURES = "figures"


@dataclass
class _Gallery:
    """The figures of a report.

    Attributes:
        folder: of the report.
        chosen: names of the figures to draw; None for all.
        names: of the figures that there are, drawn or not.
    """

    folder: Path
    chosen: Collection[str] | None
    names: list[str] = field(default_factory=list)

    def show(self, name: str, draw: Callable[[Path], Drawn | None]) -> str:
        """The Markdown of a figure; empty if it is not chosen or has nothing to show."""
        self.names.append(name)
        if self.chosen is not None and name not in self.chosen:
            return ""
        drawn = draw(self.folder / FIGURES / f"{name}.png")
        if drawn is None:
            return ""
        return f"![{drawn.path.stem}]({FIGURES}/{drawn.path.name})\n\n*{drawn.caption}*"

    def check(self) -> None:
        """Refuse a chosen name that no figure has.

        Raises:
            UsageError: there is one.
        """
        for name in self.chosen or ():
            if name not in self.names:
                raise UsageError(f"--figures: {unknown_name('figure', name, self.names)}")


def write_report(
    results: Results, folder: Path, command: str, chosen: Collection[str] | None = None
) -> Path:
    """Write Markdown, figures and HTML; the same runs give the same files.

    Args:
        results: of a suite, complete or not.
        folder: where to.
        command: that makes this report again.
        chosen: names of the figures to draw; None for all.

    Returns:
        The HTML page.

    Raises:
        MissingExtraError: the extra ``report`` is not installed.
        UsageError: there is no figure of a chosen name.
    """
    import_rliable()  # before anything is written
    files.make_dir(folder)
    gallery = _Gallery(folder, chosen)
    blocks = [
        *_head(results, command),
        *_study(results, gallery),
        *(
            block
            for person in results.suite.people
            for block in _person(results, person.label, gallery)
        ),
        *_tail(results, command),
    ]
    gallery.check()
    markdown = "\n\n".join(block for block in blocks if block) + "\n"
    page = folder / "report.html"
    files.atomic_write(folder / "report.md", markdown.encode(), durable=False)
    files.atomic_write(page, to_html(markdown, folder).encode(), durable=False)
    return page


def _head(results: Results, command: str) -> Iterator[str]:
    suite = results.suite
    hours = sum(run.wall_s for run in results.runs) / 3600
    yield f"# Benchmark {suite.name}"
    yield f"{suite.summary[:1].upper()}{suite.summary[1:]}."
    yield (
        f"**{len(results.runs)} of {results.expected} cells** are done, of "
        f"{_count(len(suite.tasks), 'task', 'tasks')}, "
        f"{_count(len(suite.variants), 'variant', 'variants')}, "
        f"{_count(len(suite.people), 'person', 'people')} and "
        f"{_count(len(suite.seeds), 'seed', 'seeds')}. They took {hours:,.1f} hours on one core "
        "each, evaluations included."
    )
    yield f"```\n{command}\n```"
    yield sections.differing_section(results)
    yield sections.missing_section(results)


def _person(results: Results, person: str, gallery: _Gallery) -> Iterator[str]:
    if not any(run.cell.person.label == person for run in results.runs):
        return
    several = len(results.suite.people) > 1
    level = "###" if several else "##"
    if several:
        yield f"## Operator {person}"
    if goals := sections.goals_section(results, person):
        yield f"{level} Goals"
        yield goals
    rows = sections.aggregates(results, person)
    yield f"{level} Over all tasks"
    name = f"{person}_" if several else ""
    if any(one.count for _, estimates in rows for one in estimates.values()):
        yield gallery.show(
            f"{name}aggregate", lambda path: figures.draw_intervals(results, rows, path)
        )
    yield sections.aggregate_table(results, person, rows)
    yield f"{level} Learning curves"
    for effort, stem in ((False, "steps"), (True, "human_seconds")):
        draw = partial(figures.draw_curves, results, person, effort=effort)
        yield gallery.show(f"{name}curves_{stem}", draw)
    yield f"{level} Every task"
    yield sections.main_table(results, person)
    yield (
        "*Median (range) over seeds; success at the end is the mean with its 95 % bootstrap "
        "interval. `>`: not reached, censored at the budget (interventions: at those of the whole "
        "run). An agent without online steps has no steps to 90 %. Definitions below.*"
    )
    if ratio := sections.ratio_section(results, person):
        yield f"{level} Ratios"
        yield ratio
    yield f"{level} Stability"
    yield sections.stability_table(results, person)
    if helped := help_section(results, person):
        yield f"{level} With and without help"
        yield helped
    if disturbed := sections.disturbance_section(results, person):
        yield f"{level} Disturbances"
        yield disturbed


def _study(results: Results, gallery: _Gallery) -> Iterator[str]:
    """The figure of a suite's own question."""
    if results.suite.study == "operators":
        yield "## How much the person matters"
        yield gallery.show("skill", partial(figures.draw_skill, results))
    elif results.suite.study == "people":
        yield "## When a multiplier per state matters"
        yield gallery.show("constants", partial(draw_constants, results))
    elif results.suite.study == "coach":
        yield "## What the coach's advice is worth"
        yield gallery.show("advice", partial(draw_advice, results))
        yield advice_table(results)
        yield (
            "*The same people on the same tasks and seeds: by their own eyes, by what the coach "
            "says, and at random moments until they have driven as long as with the coach. Means "
            "over runs with a 95 % bootstrap interval.*"
        )
    elif results.suite.study == "takeovers":
        yield "## When to take over, and for how long"
        for effort, name in ((True, "takeovers_seconds"), (False, "takeovers_success")):
            yield gallery.show(name, partial(draw_takeovers, results, effort=effort))
    elif results.suite.study == "ablation":
        yield "## What each part contributes"
        for person in results.suite.people:
            draw = partial(figures.draw_ablation, results, person.label)
            yield gallery.show(f"ablation_{person.label}", draw)


def _tail(results: Results, command: str) -> Iterator[str]:
    yield "## Tasks"
    yield sections.tasks_section(results)
    yield "## Variants"
    yield sections.variants_section(results)
    yield "## Definitions"
    yield (
        "One step is one decision of the policy, 0.1 s of a person's time where a person makes it. "
        "An evaluation is a number of autonomous episodes with the mean action, on layouts that "
        "training never sees.\n\n"
        "- **steps to 90 %**: the step of the first of two consecutive evaluations at 0.9 of the "
        "expert's ceiling or better.\n"
        "- **interventions to 90 %**: human-driven steps until then, without demonstrations.\n"
        "- **success at the end**: the mean of the last three evaluations. An evaluation at the "
        "very end of a run, a part of an episode after the last by schedule, is left out of all "
        "of these.\n"
        "- **time to success**: mean length of the last evaluation's successful episodes.\n"
        "- **human s**: human-driven steps at 0.1 s each; demonstrations have a column of their "
        "own.\n"
        "- **intervals**: 95 % percentile bootstrap that resamples seeds within each task. Of five "
        "seeds it is too narrow (of five equal ones it has no width): read it as spread. Verdicts "
        "on goals compare the value, not its interval."
    )
    yield "## Make it again"
    runs = f"silri bench {_name(results)}"
    yield f"`{runs}` runs what is missing; `{command}` writes this report."
    yield sections.origin_section(results)


def _name(results: Results) -> str:
    """As the command line takes it."""
    path = results.suite.path
    return path.stem if path.parent == BUILT_IN else str(path)


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
