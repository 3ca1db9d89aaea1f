from __future__ import annotations

import json

import pytest

from silri.cli.bench import run_config
from silri.core.errors import ConfigError, DataError
from silri.evaluation.benchmark.origins import RUNS, describe, differing, read_origins
from silri.evaluation.benchmark.plan import make_plan
from silri.evaluation.benchmark.results import collect, read_results
from silri.evaluation.benchmark.suite import cells
from tests.fakes.suites import TOML, make_run, small_suite

FIRST = "push_silri_steady_s0"


@pytest.fixture
def suite(tmp_path):
    return small_suite(tmp_path)


@pytest.fixture
def kept(suite, tmp_path):
    """A folder of collected summaries: both tasks, three variants, one seed."""
    for job in make_plan(cells(suite, seeds=[0]), tmp_path / "out", run_config):
        make_run(job, completed=True)
    assert collect(suite, tmp_path / "out" / "small", tmp_path / "kept") == 6
    return tmp_path / "kept"


def change(folder, edit):
    data = json.loads((folder / RUNS).read_text())
    edit(data)
    (folder / RUNS).write_text(json.dumps(data))


def test_collected_summaries_know_what_their_run_folders_know(suite, kept, tmp_path):
    folders = read_results(suite, tmp_path / "out" / "small").origins
    collected = read_results(suite, kept).origins
    assert collected == folders
    assert len(collected) == 6
    assert collected[FIRST].config.agent.batch_size == 8
    assert collected[FIRST].made_with["packages"]["jax"]


def test_seeds_share_a_configuration(suite, kept, tmp_path):
    for job in make_plan(cells(suite, seeds=[1]), tmp_path / "out", run_config):
        make_run(job, completed=True)
    collect(suite, tmp_path / "out" / "small", kept)
    data = json.loads((kept / RUNS).read_text())
    assert len(data["cells"]) == 12
    assert len(data["configurations"]) == 6
    assert read_origins(kept, ["push_silri_steady_s1"])["push_silri_steady_s1"].config.seed == 1


def test_what_was_collected_before_is_kept_as_long_as_its_summary_is(suite, kept, tmp_path):
    (kept / "box_bc_steady_s0.json").unlink()
    job = make_plan(cells(suite, seeds=[1]), tmp_path / "other", run_config)[0]
    make_run(job, completed=True)
    collect(suite, tmp_path / "other" / "small", kept)
    known = set(json.loads((kept / RUNS).read_text())["cells"])
    assert {FIRST, "push_silri_steady_s1"} < known
    assert "box_bc_steady_s0" not in known
    assert len(known) == 6


def test_fields_that_differ_from_what_the_suite_asks_for_now(suite, kept, tmp_path):
    origins = read_results(suite, kept).origins
    assert differing(origins, cells(suite), run_config) == {}
    changed = small_suite(tmp_path, TOML.replace('"agent.batch_size" = 16', '"data.demos" = 7'))
    found = differing(origins, cells(changed), run_config)
    fields = ("agent.batch_size: 16 -> 8", "data.demos: 20 -> 7")
    assert found == {"push_hil_serl_steady_s0": fields, "box_hil_serl_steady_s0": fields}


def test_every_version_has_its_line(suite, kept):
    def edit(data):
        (key,) = data["made_with"]
        data["made_with"]["other"] = {
            **data["made_with"][key],
            "packages": {"jax": "9.9"},
            "git": {"commit": "abc", "dirty": True},
        }
        data["cells"][FIRST]["made_with"] = "other"
        del data["cells"]["box_bc_steady_s0"]

    change(kept, edit)
    results = read_results(suite, kept)
    lines = describe(results.origins, [run.cell.name for run in results.runs])
    assert [line.split()[0] for line in lines] == ["4", "1", "1"]
    assert lines[1].endswith("jax 9.9; commit abc, changed")
    assert lines[2] == "1 runs do not say what they were run with"


def test_summaries_without_origins_are_read_as_well(suite, kept):
    (kept / RUNS).unlink()
    results = read_results(suite, kept)
    assert len(results.runs) == 6
    assert results.origins == {}


def test_damage_is_named(suite, kept):
    change(kept, lambda data: data["configurations"].clear())
    with pytest.raises(DataError, match=f"{RUNS}: {FIRST} lacks"):
        read_results(suite, kept)
    (kept / RUNS).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_results(suite, kept)


@pytest.mark.parametrize("field", ["layout", "format"])
def test_a_later_version_is_refused_by_its_number(suite, kept, field):
    change(kept, lambda data: data.update({field: 999}))
    with pytest.raises(ConfigError, match=rf"{RUNS} has {field} 999"):
        read_results(suite, kept)
