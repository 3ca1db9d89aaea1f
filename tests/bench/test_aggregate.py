from __future__ import annotations

import numpy as np
import pytest

from silri.bench.report.aggregate import (
    aggregate_iqm,
    bootstrap,
    common_tasks,
    iqm,
    mean_of,
    median_reached,
    ratios,
    score_matrix,
)
from silri.bench.report.curves import overall_curve, task_curve
from silri.bench.results import Reached, read_results
from silri.bench.suite import cells
from tests.fakes.suites import small_suite, summary_of, write_results, write_summary

NEVER = (0.1, 0.2, 0.3)
AT_1000, AT_2000 = (0.9, 0.9, 1.0), (0.5, 0.9, 1.0)


def test_the_interquartile_mean_leaves_out_a_quarter_on_each_side():
    assert iqm(np.array([0.0, 4.0, 6.0, 100.0])) == 5.0
    assert iqm(np.array([9.0, 1.0, 2.0, 3.0, -7.0])) == 2.0  # a quarter of five is one
    assert iqm(np.array([1.0, 2.0, 9.0])) == 4.0  # of three is none
    columns = np.array([[0.0, 1.0], [4.0, 1.0], [6.0, 1.0], [100.0, 1.0]])
    assert iqm(columns).tolist() == [5.0, 1.0]


def test_the_interquartile_mean_is_that_of_rliable():
    metrics = pytest.importorskip("rliable.metrics")
    for shape in ((2, 1), (3, 2), (5, 7)):
        scores = np.random.default_rng(0).random(shape)
        assert iqm(scores.reshape(-1)) == pytest.approx(metrics.aggregate_iqm(scores))


def test_a_bootstrap_covers_what_resampling_can_give():
    value, low, high = bootstrap(np.array([0.0, 1.0]))
    # Two seeds: 0, 0.5 or 1, a quarter, a half, a quarter.
    assert (value, low, high) == (0.5, 0.0, 1.0)
    value, low, high = bootstrap(np.array([0.7, 0.7, 0.7]))
    assert (value, low, high) == pytest.approx((0.7, 0.7, 0.7))


def test_one_seed_has_no_interval_and_none_no_value():
    assert mean_of([0.5]).format() == "0.50"
    assert mean_of([]).format() == "-"
    assert mean_of([0.0, 1.0]).format() == "0.50 [0.00, 1.00]"


def test_the_aggregate_is_reproducible_and_leaves_numpys_generator_alone():
    pytest.importorskip("rliable")
    scores = np.random.default_rng(1).random((4, 3))
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    first = aggregate_iqm(scores)
    assert np.random.random() == expected  # noqa: NPY002
    assert aggregate_iqm(scores) == first
    value, low, high = first
    assert value == pytest.approx(np.sort(scores.ravel())[3:9].mean())
    assert low < value < high


def test_the_aggregate_of_one_seed_has_no_interval():
    pytest.importorskip("rliable")
    value, low, high = aggregate_iqm(np.array([[0.2, 0.4]]))
    assert value == pytest.approx(0.3)
    assert np.isnan([low, high]).all()


def test_the_median_of_censored_values():
    def reached(*values):
        return [Reached(abs(value), value < 0) for value in values]

    assert median_reached(reached(3, 1, 2)) == Reached(2, censored=False)
    assert median_reached(reached(1, -5, -5)) == Reached(5, censored=True)
    assert median_reached(reached(1, -5)) == Reached(3, censored=True)
    assert median_reached(reached(1, 2, -2)) == Reached(2, censored=False)


@pytest.fixture
def suite(tmp_path):
    return small_suite(tmp_path)


def read(suite, tmp_path, rates, **keywords):
    return read_results(suite, write_results(suite, tmp_path / "r", rates, **keywords))


def test_a_value_that_may_lie_beyond_the_median_makes_it_uncertain():
    """Human steps are censored at those of the whole run, which differ."""
    values = [Reached(30.0, censored=True), *(Reached(v, censored=False) for v in (200.0, 300.0))]
    assert median_reached(values) == Reached(200.0, censored=True)  # 300, if the first is more


def test_none_against_none_is_no_advantage(suite, tmp_path):
    none = {"evaluation_intervention_steps": [0, 0, 0], "intervention_steps": 0}
    for cell in cells(suite, variants=["silri", "hil_serl"]):
        write_summary(tmp_path, cell.name, summary_of(cell, AT_1000, **none))
    results = read_results(suite, tmp_path)
    found = ratios(results, "intervention_steps_to_90", "silri", "hil_serl", "steady")
    assert found.median.format() == "1.00 [1.00, 1.00]"


def test_ratios_are_of_medians_and_their_median_is_over_tasks(suite, tmp_path):
    results = read(suite, tmp_path, {"silri": AT_1000, "hil_serl": AT_2000})
    found = ratios(results, "steps_to_90", "silri", "hil_serl", "steady")
    assert [(row.task, row.value, row.mark) for row in found.rows] == [
        ("push", 0.5, ""),
        ("box", 0.5, ""),
    ]
    assert found.median.format() == "0.50 [0.50, 0.50]"
    human = ratios(results, "intervention_steps_to_90", "silri", "hil_serl", "steady")
    assert human.median.value == 0.5


def test_censored_ratios_are_bounds(suite, tmp_path):
    results = read(suite, tmp_path, {"silri": AT_1000, "hil_serl": NEVER})
    ours = ratios(results, "steps_to_90", "silri", "hil_serl", "steady").rows
    assert [(row.value, row.mark) for row in ours] == [
        (pytest.approx(1000 / 3000), "<"),  # at the task's budget
        (0.25, "<"),
    ]
    theirs = ratios(results, "steps_to_90", "hil_serl", "silri", "steady").rows
    assert [(row.value, row.mark) for row in theirs] == [(3.0, ">"), (4.0, ">")]


def test_where_neither_got_there_no_advantage_is_counted(suite, tmp_path):
    results = read(suite, tmp_path, {"silri": NEVER, "hil_serl": NEVER})
    found = ratios(results, "intervention_steps_to_90", "silri", "hil_serl", "steady")
    assert [(row.value, row.mark) for row in found.rows] == [(1.0, "?"), (1.0, "?")]
    assert (found.median.value, found.median.low, found.median.high) == (1.0, 1.0, 1.0)


def test_a_task_without_both_is_missing_not_guessed(suite, tmp_path):
    skip = [f"box_silri_steady_s{seed}" for seed in (0, 1)]
    results = read(suite, tmp_path, {"silri": AT_1000, "hil_serl": AT_2000}, skip=skip)
    found = ratios(results, "steps_to_90", "silri", "hil_serl", "steady")
    assert found.missing == ("box",)
    assert len(found.rows) == 1
    assert ratios(results, "steps_to_90", "silri", "bc", "steady").median.format() == "-"


def test_the_first_variant_says_which_tasks_an_aggregate_is_over(suite, tmp_path):
    skip = ["push_hil_serl_steady_s0", *(f"box_bc_steady_s{seed}" for seed in (0, 1))]
    results = read(suite, tmp_path, {"silri": AT_1000}, skip=skip)
    assert common_tasks(results, "steady") == ["push", "box"]
    less = read(suite, tmp_path / "less", {}, skip=[f"box_silri_steady_s{s}" for s in (0, 1)])
    assert common_tasks(less, "steady") == ["push"]
    # Seeds that some task lacks count for none.
    both = ["push", "box"]
    matrix = score_matrix(results, "hil_serl", "steady", both, lambda run: run.final_success)
    assert matrix.shape == (1, 2)
    assert score_matrix(results, "bc", "steady", both, lambda run: 0.0).shape == (0, 2)


def test_curves_meet_at_the_common_evaluations(suite, tmp_path):
    results = read(suite, tmp_path, {"silri": AT_2000})
    runs = results.of("push", "silri", "steady")
    curve = task_curve(runs, effort=False)
    assert curve.x.tolist() == [1000, 2000, 3000]
    assert curve.value == pytest.approx([0.5, 0.9, 1.0])
    assert curve.seeds == 2
    human = task_curve(runs, effort=True)
    assert (human.x[0], human.x[-1]) == (60.0, 80.0)
    assert (human.value[0], human.value[-1]) == pytest.approx((0.5, 1.0))
    assert task_curve([], effort=False) is None


def test_the_curve_over_tasks_is_relative_to_the_ceiling(suite, tmp_path):
    pytest.importorskip("rliable")
    results = read(suite, tmp_path, {"silri": (0.4, 0.8, 0.8)})
    curve = overall_curve(results, "silri", "steady", ["push", "box"], effort=False)
    assert curve.value == pytest.approx([(0.4 + 0.5) / 2, (0.8 + 1.0) / 2, (0.8 + 1.0) / 2])
    assert overall_curve(results, "none", "steady", ["push"], effort=False) is None
