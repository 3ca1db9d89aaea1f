from __future__ import annotations

import json

import pytest

from silri.bench.origins import describe, differing
from silri.bench.results import collect, read_results
from silri.bench.run.plan import make_plan
from silri.bench.suite import cells
from silri.core.errors import ConfigError, DataError
from tests.fakes.suites import TOML, make_run, small_suite

FIRST = "push_silri_steady_s0"


@pytest.fixture
def suite(tmp_path):
    return small_suite(tmp_path)


@pytest.fixture
def runs(suite, tmp_path):
    """Run folders: both tasks, three variants, one seed."""
    for job in make_plan(cells(suite, seeds=[0]), tmp_path / "out"):
        make_run(job, completed=True)
    return tmp_path / "out" / "small"


def change(runs, name, edit):
    path = runs / name / "config.json"
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def test_a_table_knows_what_its_run_folders_know(suite, runs, tmp_path):
    table = tmp_path / "small.jsonl.gz"
    collect(suite, runs, table)
    origins = read_results(suite, table).origins
    assert origins == read_results(suite, runs).origins
    assert len(origins) == 6
    assert origins[FIRST].config["agent"]["batch_size"] == 8
    assert origins[FIRST].made_with["packages"]["jax"]


def test_fields_that_differ_from_what_the_suite_asks_for_now(suite, runs, tmp_path):
    origins = read_results(suite, runs).origins
    assert differing(origins, cells(suite)) == {}
    changed = small_suite(tmp_path, TOML.replace("agent.batch_size = 16", "data.demos = 7"))
    found = differing(origins, cells(changed))
    fields = ("agent.batch_size: 16 -> 8", "data.demos: 20 -> 7")
    assert found == {"push_hil_serl_steady_s0": fields, "box_hil_serl_steady_s0": fields}


def test_what_a_run_did_not_know_yet_is_no_difference(suite, runs):
    def older(data):
        del data["run"]["vision"], data["run"]["operator"]["gate"]["late"]

    change(runs, FIRST, older)
    found = differing(read_results(suite, runs).origins, cells(suite))[FIRST]
    assert found == ("vision.keep: 'frames' -> 'features'",)  # what it did then


def test_results_of_options_that_have_gone_stay_readable(suite, runs):
    change(runs, FIRST, lambda data: data["run"]["agent"].update(magic=1))
    results = read_results(suite, runs)
    assert len(results.runs) == 6
    (words,) = differing(results.origins, cells(suite))[FIRST]
    assert "agent.magic" in words


def test_every_version_has_its_line(suite, runs):
    def edit(data):
        data["packages"] = {"jax": "9.9"}
        data["git"] = {"commit": "abc", "dirty": True}

    change(runs, FIRST, edit)
    (runs / "box_bc_steady_s0" / "config.json").unlink()
    results = read_results(suite, runs)
    lines = describe(results.origins, [run.cell.name for run in results.runs])
    assert [line.split()[0] for line in lines] == ["4", "1", "1"]
    assert lines[1].endswith("jax 9.9; commit abc, changed")
    assert lines[2] == "1 runs do not say what they were run with"


def test_a_run_without_its_configuration_is_named(suite, runs):
    change(runs, FIRST, lambda data: data.pop("run"))
    with pytest.raises(DataError, match=f"{FIRST}/config.json: run is missing"):
        read_results(suite, runs)


def test_a_later_format_is_refused_by_its_number(suite, runs):
    change(runs, FIRST, lambda data: data.update(format=999))
    with pytest.raises(ConfigError, match=f"{FIRST}/config.json has format 999"):
        read_results(suite, runs)
