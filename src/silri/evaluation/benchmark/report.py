"""The report of a suite: ``report.md``, its figures and one self-contained ``report.html``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from silri.data import files
from silri.evaluation.benchmark import figures, sections
from silri.evaluation.benchmark.aggregate import import_rliable
from silri.evaluation.benchmark.figures import Drawn
from silri.evaluation.benchmark.html import to_html
from silri.evaluation.benchmark.results import Results
from silri.evaluation.benchmark.suite import BUILT_IN

FIGURES = "figures"


def write_report(results: Results, folder: Path, command: str) -> Path:
    """Write Markdown, figures and HTML; the same runs give the same files.

    Args:
        results: of a suite, complete or not.
        folder: where to.
        command: that makes this report again.

    Returns:
        The HTML page.

    Raises:
        MissingExtraError: the extra ``report`` is not installed.
    """
    import_rliable()  # before anything is written
    files.make_dir(folder)
    blocks = [
        *_head(results, command),
        *_study(results, folder),
        *(
            block
            for person in results.suite.people
            for block in _person(results, person.label, folder)
        ),
        *_tail(results, command),
    ]
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


def _person(results: Results, person: str, folder: Path) -> Iterator[str]:
    if not any(run.cell.person.label == person for run in results.runs):
        return
    several = len(results.suite.people) > 1
    level = "###" if several else "##"
    if several:
        yield f"## Operator {person}"
    if goals := sections.goals_section(results, person) if _has_goals(results) else "":
        yield f"{level} Goals"
        yield goals
    rows = sections.aggregates(results, person)
    yield f"{level} Over all tasks"
    name = f"{person}_" if several else ""
    if any(one.count for _, estimates in rows for one in estimates.values()):
        yield _image(figures.draw_intervals(results, rows, _figure(folder, f"{name}aggregate")))
    yield sections.aggregate_table(results, person, rows)
    yield f"{level} Learning curves"
    for effort, stem in ((False, "steps"), (True, "human_seconds")):
        path = _figure(folder, f"{name}curves_{stem}")
        yield _image(figures.draw_curves(results, person, path, effort=effort))
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
    if disturbed := sections.disturbance_section(results, person):
        yield f"{level} Disturbances"
        yield disturbed


def _has_goals(results: Results) -> bool:
    return results.suite.study == "comparison"


def _study(results: Results, folder: Path) -> Iterator[str]:
    """The figure of a suite's own question."""
    if results.suite.study == "operators":
        yield "## How much the person matters"
        yield _image(figures.draw_skill(results, _figure(folder, "skill")))
    elif results.suite.study == "ablation":
        yield "## What each part contributes"
        for person in results.suite.people:
            path = _figure(folder, f"ablation_{person.label}")
            yield _image(figures.draw_ablation(results, person.label, path))


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


def _figure(folder: Path, name: str) -> Path:
    return folder / FIGURES / f"{name}.svg"


def _image(drawn: Drawn | None) -> str:
    if drawn is None:
        return ""
    return f"![{drawn.path.stem}]({FIGURES}/{drawn.path.name})\n\n*{drawn.caption}*"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
