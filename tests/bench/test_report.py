from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from PIL import Image

from silri.bench.report import sections
from silri.bench.report.advice import advice_table
from silri.bench.report.constants import constant_of
from silri.bench.report.figures import draw_curves, looks
from silri.bench.report.help import help_section
from silri.bench.report.html import to_html
from silri.bench.report.report import write_report
from silri.bench.report.takeovers import habit_values
from silri.bench.results import read_results
from silri.bench.suite import cells
from silri.core.errors import DataError, MissingExtraError, UsageError
from tests.fakes.suites import (
    BUDGET,
    DISTURBED,
    TOML,
    small_suite,
    summary_of,
    write_disturbance,
    write_results,
    write_summary,
)

pytest.importorskip("rliable")
RATES = {"silri": (0.9, 0.95, 1.0), "hil_serl": (0.1, 0.5, 0.8)}


def results_of(tmp_path, text=TOML, rates=RATES, **keywords):
    suite = small_suite(tmp_path, text)
    return read_results(suite, write_results(suite, tmp_path / "r", rates, **keywords))


def written(tmp_path, results):
    page = write_report(results, tmp_path / "report", "silri bench small.toml --report")
    return (tmp_path / "report" / "report.md").read_text(), page.read_text()


def rows(table, first):
    return [line.split(" | ") for line in table.splitlines() if line.startswith(f"| {first} ")]


def test_the_main_table_says_what_was_measured(tmp_path):
    table = sections.main_table(results_of(tmp_path), "steady")
    silri, hil_serl, bc = rows(table, "push")
    assert silri[2:6] == ["2 of 2", "1,000 (1,000 - 1,000)", "100 (100 - 100)", "0.95 [0.95, 0.95]"]
    assert silri[6:] == ["4.0", "0.10", "30", "50 |"]
    assert hil_serl[3:5] == [">3,000 (>3,000 - >3,000)", ">300 (>300 - >300)"]
    assert bc[3:5] == ["-", "-"]


def test_what_help_came_to(tmp_path):
    silri, *_ = rows(help_section(results_of(tmp_path), "steady"), "push")
    # Two seeds; 3,000 steps are 300 s, of which 30 s by the person, and 50 s of demonstrations.
    assert silri[2:] == ["0.80 of 50", "0.67 of 30", "360", "22.5 |"]
    older = tmp_path / "older"
    older.mkdir()
    assert help_section(results_of(older, successes=None), "steady") == ""


def test_a_report_is_markdown_figures_and_one_page(tmp_path):
    markdown, page = written(tmp_path, results_of(tmp_path))
    assert "**12 of 12 cells** are done" in markdown
    assert "They took 12.0 hours" in markdown
    assert "silri bench small.toml --report" in markdown
    assert "fewer seeds" not in markdown
    for heading in ("Goals", "Over all tasks", "Learning curves", "Ratios", "Stability"):
        assert f"## {heading}" in markdown
    images = re.findall(r"\]\((figures/\S+)\)", markdown)
    assert images == [
        *("figures/aggregate.png", "figures/curves_steps.png", "figures/curves_human_seconds.png")
    ]
    for image in images:
        assert (tmp_path / "report" / image).read_bytes().startswith(b"\x89PNG")
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing from outside
    assert '<span class="good">met</span>' in page
    assert "viewport" in page


def test_the_same_runs_give_the_same_report(tmp_path):
    results = results_of(tmp_path)
    first = written(tmp_path, results)  # the page has the bytes of the figures
    assert written(tmp_path, results) == first


def test_a_report_has_only_the_figures_that_are_chosen(tmp_path):
    page = write_report(results_of(tmp_path), tmp_path / "report", "x", ["curves_steps"])
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert re.findall(r"\]\((\S+)\)", markdown) == ["figures/curves_steps.png"]
    assert [p.name for p in (tmp_path / "report" / "figures").iterdir()] == ["curves_steps.png"]
    assert page.read_text().count("data:image/png;base64,") == 1


def test_a_figure_that_no_report_has_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="unknown figure 'curves'. Did you mean 'curves_steps'"):
        write_report(results_of(tmp_path), tmp_path / "report", "x", ["curves"])
    assert not (tmp_path / "report" / "report.md").exists()


def test_every_variant_keeps_its_colour_in_the_palette(tmp_path):
    rows = "".join(f'[[variants]]\nlabel = "v{n}"\nagent = "silri"\n\n' for n in range(3))
    results = results_of(tmp_path, TOML.replace("[[variants]]", f"{rows}[[variants]]", 1))
    drawn = draw_curves(results, "steady", tmp_path / "curves.png", effort=False)
    palette = np.array(Image.open(drawn.path).getpalette()).reshape(-1, 3)
    for look in looks(results).values():
        colour = [int(look.colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert np.abs(palette - colour).max(axis=1).min() <= 12, look


def test_figures_are_small_enough_to_be_kept(tmp_path):
    written(tmp_path, results_of(tmp_path))
    figures = list((tmp_path / "report" / "figures").iterdir())
    assert max(path.stat().st_size for path in figures) < 30_000


def test_a_partial_report_says_what_is_missing(tmp_path):
    skip = ["push_silri_steady_s1", *(f"box_{v}_steady_s{s}" for v in RATES for s in (0, 1))]
    skip += ["box_bc_steady_s1"]
    markdown, _ = written(tmp_path, results_of(tmp_path, skip=skip))
    assert "**6 of 12 cells** are done" in markdown
    assert "| push | silri | 1 |" in markdown
    assert "| box | silri, hil_serl | 0 |" in markdown
    assert rows(markdown, "push | silri")[1][2] == "1 of 2"
    assert "Over 1 of 2 tasks (push)" in markdown
    assert "so far" in markdown


def test_a_single_cell_makes_a_report(tmp_path):
    results = results_of(tmp_path)
    one = type(results)(results.suite, results.runs[:1], results.expected, results.source)
    markdown, _ = written(tmp_path, one)
    assert "**1 of 12 cells** are done" in markdown
    assert "nan" not in markdown


def test_disturbances_are_a_table_like_the_papers(tmp_path):
    suite = small_suite(tmp_path, DISTURBED)
    folder = write_results(suite, tmp_path / "r")
    for seed in (0, 1):
        write_disturbance(folder, f"push_silri_steady_s{seed}", none=1.0, grasp=0.8, push=(0.9, 0))
        write_disturbance(folder, f"push_bc_steady_s{seed}", none=0.6, grasp=(0.2, 25))
    table = sections.disturbance_section(read_results(suite, folder), "steady")
    assert rows(table, "original")[0] == ["| original", "silri", "1.00 [1.00, 1.00] |"]
    assert [row[1:] for row in rows(table, "grasp")] == [
        ["silri", "0.80 [0.80, 0.80] |"],
        ["bc", "0.20 [0.20, 0.20] (50%) |"],
    ]
    assert not rows(table, "push")  # it never happened
    missing = sections.missing_section(read_results(suite, folder))
    assert "evaluated with disturbances" in missing
    assert [row[1:] for row in rows(missing, "push")] == [["hil_serl", "0 |"]]
    assert [row[1:] for row in rows(missing, "box")] == [["all", "0 |"]]
    (folder / "push_bc_steady_s0" / "disturbance.json").unlink()
    table = sections.disturbance_section(read_results(suite, folder), "steady")
    assert rows(table, "grasp")[1][-1] == "0.20 (50%), n = 1 |"
    # A suite that has none may share the runs of one that does.
    assert sections.disturbance_section(read_results(small_suite(tmp_path), folder), "steady") == ""


def test_the_ablation_study_has_bars(tmp_path):
    text = TOML.replace("seeds = 2", 'seeds = 2\nstudy = "ablation"')
    markdown, _ = written(tmp_path, results_of(tmp_path, text))
    assert "## What each part contributes" in markdown
    assert (tmp_path / "report" / "figures" / "ablation_steady.png").is_file()


def test_a_suite_without_goals_has_no_section_of_goals(tmp_path):
    stated = TOML.partition("[goals]")[2].partition("[reference]")[0]
    markdown, _ = written(tmp_path, results_of(tmp_path, TOML.replace(stated, "\n")))
    assert "## Goals" not in markdown


def test_overrides_are_shown_with_the_paths_of_their_fields(tmp_path):
    section = sections.variants_section(results_of(tmp_path))
    assert rows(section, "hil_serl")[0][-1] == "`agent.batch_size` 16 |"
    assert "*For all: `env.reset_range` 0.03, `agent.batch_size` 8.*" in section


def test_a_variant_with_fewer_seeds_is_complete_with_them(tmp_path):
    text = TOML.replace('label = "bc"', 'label = "bc"\nseeds = 1')
    results = results_of(tmp_path, text)
    assert results.expected == 10
    assert rows(sections.main_table(results, "steady"), "push")[2][2] == "1 of 1"
    assert sections.missing_section(results) == ""


def test_the_operator_study_has_a_curve_over_people(tmp_path):
    text = TOML.replace("seeds = 2", 'seeds = 2\nstudy = "operators"')
    text = text.replace('operator = "steady"', 'operator = "steady"\nquality = 0')
    text += '\n[[people]]\nlabel = "new"\noperator = "novice"\nquality = 1.5\n'
    text += '\n[[people]]\nlabel = "careless"\noperator = "careless"\ntasks = ["push"]\n'
    markdown, _ = written(tmp_path, results_of(tmp_path, text))
    assert "(figures/skill.png)" in markdown
    for person in ("steady", "new", "careless"):
        assert f"## Operator {person}" in markdown
        assert (tmp_path / "report" / "figures" / f"{person}_curves_steps.png").is_file()


def test_the_study_of_people_has_a_curve_over_constants(tmp_path):
    silri = '[[variants]]\nlabel = "silri"'
    constants = "".join(
        f'[[variants]]\nlabel = "const_{value}"\nagent = "silri"\n'
        f'overrides.agent = {{ multiplier = "const", initial_multiplier = {value} }}\n'
        for value in (0.05, 5.0)
    )
    text = TOML.replace("seeds = 2", 'seeds = 2\nstudy = "people"')
    results = results_of(tmp_path, text.replace(silri, constants + silri, 1))
    assert [constant_of(v) for v in results.suite.variants] == [0.05, 5.0, None, None, None]
    markdown, _ = written(tmp_path, results)
    assert "(figures/constants.png)" in markdown

    none = tmp_path / "none"
    none.mkdir()
    markdown, _ = written(none, results_of(none, text))
    assert "constants.png" not in markdown


def test_the_study_of_the_coach_compares_the_same_cells_with_each_other(tmp_path):
    text = BUDGET.replace("seeds = 2", 'seeds = 2\nstudy = "coach"')
    text = text.replace("budget_of", 'overrides.operator.gate.follows = "chance"\nbudget_of')
    suite = small_suite(tmp_path, text)
    write_results(suite, tmp_path / "runs", skip=("push_silri_blind_s1",))
    name = "push_silri_blind_s0"
    half = next(cell for cell in cells(suite) if cell.name == name)
    write_summary(tmp_path / "runs", name, summary_of(half, intervention_steps=0))
    results = read_results(suite, tmp_path / "runs")
    eyes, chance = (line.split(" | ") for line in advice_table(results).splitlines()[2:])
    assert eyes[:3] == ["| steady", "eyes", "11"]  # of 12: push_silri_s1 has nothing beside it
    assert chance[1:3] == ["chance", "11"]
    assert eyes[-1] == "100% |"
    assert int(chance[-2]) < int(eyes[-2])
    markdown, _ = written(tmp_path, results)
    assert "(figures/advice.png)" in markdown


def test_the_study_of_takeovers_has_a_line_per_person_and_habit(tmp_path):
    text = TOML.replace("seeds = 2", 'seeds = 2\nstudy = "takeovers"')
    for label, override in (("long", "hold = [30, 50]"), ("often", "probability = 0.5")):
        text += f'\n[[people]]\nlabel = "{label}"\noperator = "steady"\n'
        text += f"overrides.operator.gate = {{ {override} }}\n"
    text += '\n[[people]]\nlabel = "nobody"\noperator = "none"\n'
    results = results_of(tmp_path, text)
    steady, long, often, nobody = results.suite.people
    assert habit_values(steady) == {"hold": 15.0, "probability": 0.15, "disagreement": 0.8}
    assert habit_values(long) == {"hold": 40.0}
    assert habit_values(often) == {"probability": 0.5}
    assert habit_values(nobody) == {}
    markdown, _ = written(tmp_path, results)
    assert "(figures/takeovers_success.png)" in markdown
    assert "(figures/takeovers_seconds.png)" in markdown


def test_words_from_a_suite_are_text_not_markup(tmp_path):
    text = TOML.replace('label = "push"', 'label = "push"\nanalogy = "<b>no</b> | bar"')
    markdown, page = written(tmp_path, results_of(tmp_path, text))
    assert "no</b> \\| bar" in markdown
    assert "&lt;b&gt;no&lt;/b&gt; | bar" in page


def test_a_missing_extra_is_one_line_and_nothing_is_written(tmp_path, monkeypatch):
    results = results_of(tmp_path)
    monkeypatch.setitem(sys.modules, "rliable", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'silri\[report\]'"):
        write_report(results, tmp_path / "report", "silri bench")
    assert not (tmp_path / "report").exists()


def test_a_figure_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"figures/none\.png"):
        to_html("![x](figures/none.png)", tmp_path)
