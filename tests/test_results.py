"""The results that are kept in the repository: few files, small, and what they say they are."""

from __future__ import annotations

import re
import tomllib

import pytest

from silri.bench.records import SUFFIX, read_table
from silri.bench.suite import cells
from silri.bench.suite_file import load_suite
from silri.cli.main import main
from tests.source import ROOT

RESULTS = ROOT / "docs" / "results"
FILES = [path for path in RESULTS.rglob("*") if path.is_file()]
TABLES = sorted(path for path in FILES if path.name.endswith(SUFFIX))
SUITES = {path: path.name.removesuffix(SUFFIX) for path in TABLES if path.parent == RESULTS}
SUITES |= {
    path: str(ROOT / "benchmarks" / "tuning" / f"{path.name.removesuffix(SUFFIX)}.toml")
    for path in TABLES
    if path.parent.name == "tuning"
}


def test_results_are_few_small_files():
    assert len(FILES) < 60
    assert sum(path.stat().st_size for path in FILES) < 1_000_000
    figures = [path for path in FILES if path.suffix == ".png"]
    assert max(path.stat().st_size for path in figures) < 60_000


def test_every_figure_is_shown_by_a_report_or_a_page():
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    for path in FILES:
        if path.suffix in {".png", ".svg"}:
            assert f"figures/{path.name})" in text, path


@pytest.mark.parametrize("path", SUITES, ids=[path.name for path in SUITES])
def test_a_table_holds_runs_of_its_suite_and_no_others(path):
    names = {cell.name for cell in cells(load_suite(SUITES[path]))}
    rows = read_table(path)
    assert rows
    assert rows.keys() <= names


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in SUITES if path.parent == RESULTS], ids=str)
def test_a_report_is_what_its_table_says(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    name = SUITES[path]
    kept = (RESULTS / name / "report.md").read_text(encoding="utf-8")
    figures = re.findall(r"\(figures/(\w+)\.png\)", kept)
    command = ["bench", name, "--report", "--results", str(path.relative_to(ROOT))]
    assert main([*command, "--report-dir", str(tmp_path), "--figures", *figures]) == 0
    made = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert made.replace(f" --report-dir {tmp_path}", "") == kept


def test_the_source_distribution_leaves_results_out():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "/docs/results" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["exclude"]
