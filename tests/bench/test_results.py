from __future__ import annotations

import pytest

from silri.bench.results import Reached, collect, read_results
from silri.bench.suite import cells
from silri.core.errors import DataError, UsageError
from tests.fakes.suites import (
    TOML,
    small_suite,
    summary_of,
    write_disturbance,
    write_results,
    write_summary,
)


@pytest.fixture
def suite(tmp_path):
    return small_suite(tmp_path)


def one(suite, tmp_path, name="push_silri_steady_s0", **changes):
    """The run of one cell with this summary."""
    cell = next(cell for cell in cells(suite) if cell.name == name)
    write_summary(tmp_path / "one", name, summary_of(cell, **changes))
    return read_results(suite, tmp_path / "one").runs[0]


def test_steps_and_interventions_to_90_are_of_the_first_of_two(suite, tmp_path):
    run = one(suite, tmp_path, rates=(0.92, 0.5, 0.9, 0.94))
    assert run.steps_to_90 == Reached(3000.0, censored=False)
    assert run.intervention_steps_to_90 == Reached(300.0, censored=False)


def test_the_threshold_is_relative_to_the_ceiling(suite, tmp_path):
    run = one(suite, tmp_path, "box_silri_steady_s0", rates=(0.7, 0.72, 0.73))  # 0.9 x 0.8
    assert run.steps_to_90 == Reached(2000.0, censored=False)


def test_what_was_not_reached_is_censored(suite, tmp_path):
    run = one(suite, tmp_path, rates=(0.5, 0.5, 0.95))
    assert run.steps_to_90 == Reached(3000.0, censored=True)  # the budget
    assert run.intervention_steps_to_90 == Reached(300.0, censored=True)  # all there were


def test_an_agent_without_online_steps_has_no_steps_to_90(suite, tmp_path):
    run = one(suite, tmp_path, "push_bc_steady_s0", rates=(0.95,))
    assert run.steps_to_90 is None
    assert run.intervention_steps_to_90 is None
    assert run.final_success == 0.95
    assert run.effort.tolist() == [50.0]  # 500 steps of demonstrations


def test_the_fall_is_of_the_mean_of_three_from_its_best(suite, tmp_path):
    # Means of three: 0.6, 0.9, 0.8, 0.5, 0.7; the best is 0.9, the lowest after it 0.5.
    run = one(suite, tmp_path, rates=(0.0, 0.9, 0.9, 0.9, 0.6, 0.0, 1.0), every=400)
    assert run.fall == pytest.approx(0.4)
    assert run.final_success == pytest.approx((0.6 + 0.0 + 1.0) / 3)
    assert one(suite, tmp_path, rates=(0.5, 0.9)).fall is None
    assert one(suite, tmp_path, rates=(0.2, 0.5, 0.9, 0.9)).fall == 0.0


def test_human_seconds_include_the_demonstrations_in_curves_only(suite, tmp_path):
    run = one(suite, tmp_path)
    assert run.human_seconds == pytest.approx(30.0)
    assert run.demo_seconds == pytest.approx(50.0)
    assert run.effort.tolist() == pytest.approx([60.0, 70.0, 80.0])


def test_older_summaries_lack_the_human_steps_per_evaluation(suite, tmp_path):
    cell = cells(suite)[0]
    data = summary_of(cell)
    del data["evaluation_intervention_steps"]
    write_summary(tmp_path, cell.name, data)
    run = read_results(suite, tmp_path).runs[0]
    assert run.effort is None
    assert run.intervention_steps_to_90 is None
    assert run.steps_to_90 == Reached(2000.0, censored=False)


def test_a_table_reads_as_the_run_folders_that_it_was_made_of(suite, tmp_path):
    runs, table = write_results(suite, tmp_path / "runs"), tmp_path / "small.jsonl.gz"
    write_disturbance(runs, cells(suite)[0].name, none=1.0, grasp=0.8)
    assert collect(suite, runs, table) == (12, 12)
    left, right = read_results(suite, runs), read_results(suite, table)
    assert left.runs == right.runs
    assert right.runs[0].disturbed["grasp"].success_rate == 0.8


def test_runs_are_added_to_a_table_and_replace_their_own_rows(suite, tmp_path):
    table, later = tmp_path / "small.jsonl.gz", tmp_path / "later"
    first, second = (cell.name for cell in cells(suite)[:2])
    runs = write_results(suite, tmp_path / "runs", skip=[second])
    write_disturbance(runs, first, none=1.0, grasp=0.8)
    assert collect(suite, runs, table) == (11, 11)
    for cell in cells(suite)[:2]:
        write_summary(later, cell.name, summary_of(cell, (0.0, 0.1, 0.2)))
    assert collect(suite, later, table) == (2, 12)
    runs = read_results(suite, table).runs
    assert [run.rates[-1] for run in runs[:3]] == [0.2, 0.2, 1.0]
    assert runs[0].disturbed is None  # it was of the earlier policy


def test_rows_of_cells_that_a_suite_has_no_more_are_dropped(suite, tmp_path):
    table = tmp_path / "small.jsonl.gz"
    runs = write_results(suite, tmp_path / "runs")
    collect(suite, runs, table)
    smaller = small_suite(
        tmp_path, TOML.replace(' = "bc"', ' = "other"').replace('agent = "other"', 'agent = "bc"')
    )
    assert collect(smaller, runs, table) == (8, 8)
    assert len(read_results(suite, table).runs) == 8


def test_unfinished_and_missing_runs_are_left_out(suite, tmp_path):
    write_results(suite, tmp_path / "r", skip=["push_bc_steady_s1"])
    cell = cells(suite)[0]
    write_summary(tmp_path / "r", cell.name, summary_of(cell, completed=False))
    results = read_results(suite, tmp_path / "r")
    assert len(results.runs) == 10
    assert results.expected == 12
    assert len(results.of("push", "silri", "steady")) == 1


def test_a_run_with_a_smaller_budget_is_not_done(suite, tmp_path):
    write_results(suite, tmp_path / "r")
    longer = small_suite(tmp_path, TOML.replace("steps = 3000", "steps = 5000"))
    found = {run.cell.name for run in read_results(longer, tmp_path / "r").runs}
    assert found == {c.name for c in cells(suite) if c.task.label == "box" or not c.steps}


def test_a_run_with_a_larger_budget_is_none_of_the_suites(suite, tmp_path):
    folder = write_results(suite, tmp_path / "r")
    cell = next(cell for cell in cells(suite) if cell.name == "push_silri_steady_s0")
    longer = summary_of(cell, (0.5, 0.6, 0.7, 0.8, 0.9, 0.9), env_steps=6000)
    write_summary(folder, cell.name, longer)
    with pytest.raises(DataError, match=r"push_silri_steady_s0/summary.json goes on to step 6,000"):
        read_results(suite, folder)


def test_the_closing_evaluation_counts_for_nothing(suite, tmp_path):
    steps = {"evaluations": [[1000, 0.8], [2000, 0.8], [3000, 0.9], [3020, 0.95]]}
    people = {"evaluation_intervention_steps": [1, 2, 3, 4]}
    run = one(suite, tmp_path, **steps, **people)
    assert run.steps_to_90.censored
    assert run.final_success == pytest.approx(2.5 / 3)
    assert run.evaluation_interventions == (1, 2, 3)


def test_no_run_at_all_is_an_error(suite, tmp_path):
    with pytest.raises(UsageError, match="there is no .*none; run 'silri bench"):
        read_results(suite, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no completed run.*push_silri_steady_s0"):
        read_results(suite, tmp_path / "empty")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"agent": "bc"}, "agent = 'bc'; it takes 'silri', as the suite says"),
        ({"seed": 5}, "seed = 5; it takes 0"),
        ({"completed": "yes"}, "completed = 'yes'; it takes a bool"),
        ({"wall_s": None}, "wall_s = None; it takes a number from 0 on"),
        ({"demo_steps": -1}, "demo_steps = -1"),
        ({"env_steps": float("nan")}, "env_steps = nan"),
        ({"evaluations": []}, r"evaluations = \[\]; it takes some: a suite's runs need evaluation"),
        ({"evaluations": [[1000, 1.2]]}, "evaluations"),
        ({"evaluations": [[2000, 1.0], [1000, 1.0]]}, "in order of steps"),
        ({"evaluations": [1000]}, "evaluations"),
        ({"evaluation_intervention_steps": [1]}, "one number per evaluation"),
    ],
)
def test_what_a_summary_may_not_hold_is_named_with_its_file(suite, tmp_path, changes, words):
    with pytest.raises(DataError, match=words) as caught:
        one(suite, tmp_path, **changes)
    assert "push_silri_steady_s0/summary.json" in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_damaged_file_is_named(suite, tmp_path, content):
    path = write_summary(tmp_path, cells(suite)[0].name, {})
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"push_silri_steady_s0/summary\.json .*run its cell again"):
        read_results(suite, tmp_path)


def test_damaged_disturbances_are_named(suite, tmp_path):
    write_results(suite, tmp_path)
    name = cells(suite)[0].name
    write_disturbance(tmp_path, name, grasp=0.5)
    with pytest.raises(DataError, match=r"disturbance\.json: it has no row 'none'"):
        read_results(suite, tmp_path)
    (tmp_path / name / "disturbance.json").write_text('{"rows": {"none": 1}}')
    with pytest.raises(DataError, match=r"rows\.none is no table"):
        read_results(suite, tmp_path)
