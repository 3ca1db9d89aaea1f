"""Reading a run folder, finished, running or damaged, and drawing it."""

import json

import numpy as np
import pytest

from silri.core.errors import DataError, RunFolderError, UsageError
from silri.evaluation.plots import plot_learning_curves, read_run

PNG = b"\x89PNG"


def episode(step, length, driven, success=1.0):
    return {
        "step": step,
        "wall_s": 0.1,
        "episode/length": length,
        "episode/intervention_rate": driven / length,
        "episode/intervention_steps": driven,
        "episode/success": success,
    }


def evaluation(step, rate):
    return {"step": step, "wall_s": 1.0, "evaluation/success_rate": rate}


def write_run(folder, rows, *, tail="", **summary):
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines + tail)
    if summary:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def named(agent, seed, **more):
    return {
        "agent": agent,
        "preset": "default",
        "env": "fake/reach",
        "operator": "steady",
        "seed": seed,
        "eval_episodes": 50,
    } | more


ROWS = [
    episode(50, 50, 25),
    {"step": 60, "wall_s": 0.2, "learner/critic_loss": 0.5},
    episode(100, 50, 0),
    evaluation(100, 0.5),
    episode(200, 100, 0, success=0.0),
    evaluation(200, 0.9),
]


def test_read_run_sorts_lines_into_evaluations_and_episodes(tmp_path):
    run = read_run(write_run(tmp_path / "a", ROWS, **named("silri", 3)))
    assert (run.agent, run.env, run.operator, run.seed) == ("silri", "fake/reach", "steady", 3)
    assert run.evaluation_episodes == 50
    np.testing.assert_array_equal(run.evaluation_steps, [100, 200])
    np.testing.assert_array_equal(run.success_rates, [0.5, 0.9])
    np.testing.assert_array_equal(run.episode_steps, [50, 100, 200])
    np.testing.assert_allclose(run.intervention_rates(), [25 / 50, 25 / 100, 25 / 200])
    # The first episode succeeded with help, the third failed: neither counts.
    np.testing.assert_allclose(run.unaided_successes(), [0, 1 / 2, 1 / 3])


def test_the_running_mean_forgets_after_its_window(tmp_path):
    rows = [episode(10, 10, 10)] + [episode(10 * n, 10, 0) for n in range(2, 22)]
    rates = read_run(write_run(tmp_path / "a", rows)).intervention_rates()
    assert rates[19] == pytest.approx(10 / 200)
    assert rates[20] == 0.0


def test_a_resumed_run_repeats_lines_and_the_last_one_wins(tmp_path):
    run = read_run(write_run(tmp_path / "a", [*ROWS, evaluation(100, 0.6), episode(100, 50, 5)]))
    np.testing.assert_array_equal(run.success_rates, [0.6, 0.9])
    np.testing.assert_array_equal(run.episode_interventions, [25, 5, 0])


def test_a_torn_last_line_is_left_out_silently(tmp_path, caplog):
    run = read_run(write_run(tmp_path / "a", ROWS, tail='{"step": 300, "evaluation/suc'))
    np.testing.assert_array_equal(run.evaluation_steps, [100, 200])
    assert not caplog.records


def test_a_damaged_line_in_the_middle_is_left_out_and_said(tmp_path, caplog):
    folder = write_run(tmp_path / "a", ROWS, tail='{"ste\n' + json.dumps(evaluation(300, 1.0)))
    np.testing.assert_array_equal(read_run(folder).evaluation_steps, [100, 200, 300])
    assert "line 7 is damaged" in caplog.text


def test_values_that_are_not_finite_numbers_are_left_out(tmp_path):
    rows = [evaluation(100, None), evaluation(200, float("nan")), evaluation(300, 0.5)]
    np.testing.assert_array_equal(read_run(write_run(tmp_path / "a", rows)).evaluation_steps, [300])


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="has no metrics.jsonl"):
        read_run(tmp_path)
    with pytest.raises(RunFolderError, match="does not exist"):
        read_run(tmp_path / "missing")


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_summary_is_reported(tmp_path, content):
    folder = write_run(tmp_path / "a", ROWS)
    (folder / "summary.json").write_text(content)
    with pytest.raises(DataError, match="summary.json"):
        read_run(folder)


def test_plot_of_one_run_replaces_the_figure_and_leaves_nothing_else(tmp_path):
    run = read_run(write_run(tmp_path / "a", ROWS, **named("silri", 0)))
    path = tmp_path / "curve.png"
    path.write_bytes(b"an older figure")
    assert plot_learning_curves([run], path) == path
    assert path.read_bytes().startswith(PNG)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "curve.png"]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot_of_seeds_agents_and_a_policy_without_steps(tmp_path, suffix):
    folders = [
        write_run(tmp_path / f"silri-{seed}", ROWS[: 6 - seed], **named("silri", seed))
        for seed in range(3)
    ]
    folders.append(write_run(tmp_path / "bc", [evaluation(0, 0.4)], **named("bc", 0)))
    folders.append(write_run(tmp_path / "young", [], **named("hil_serl", 0)))
    path = plot_learning_curves([read_run(f) for f in folders], tmp_path / f"curves.{suffix}")
    assert path.stat().st_size > 1000


def test_a_legend_names_what_tells_the_curves_apart(tmp_path):
    folders = [
        write_run(tmp_path / "a", ROWS, **named("silri", 0)),
        write_run(tmp_path / "b", ROWS, **named("silri", 1)),
        write_run(tmp_path / "c", ROWS, **named("silri", 0, preset="paper")),
    ]
    svg = plot_learning_curves([read_run(f) for f in folders], tmp_path / "c.svg").read_text()
    assert "silri · default (2 seeds)" in svg
    assert "silri · paper" in svg
    assert "fake/reach · operator steady" in svg


@pytest.mark.parametrize("rows", [[], [episode(50, 50, 0)], [evaluation(0, 0.5)]])
def test_a_run_with_almost_nothing_still_gives_a_figure(tmp_path, rows):
    run = read_run(write_run(tmp_path / "young", rows))
    assert plot_learning_curves([run], tmp_path / "c.png").read_bytes().startswith(PNG)


def test_without_evaluations_the_figure_says_what_it_shows_instead(tmp_path):
    run = read_run(write_run(tmp_path / "young", [episode(50, 50, 0), episode(90, 40, 0)]))
    svg = plot_learning_curves([run], tmp_path / "c.svg").read_text()
    assert "no evaluation yet" in svg


def test_an_unknown_format_is_refused_and_a_missing_folder_made(tmp_path):
    run = read_run(write_run(tmp_path / "a", ROWS))
    with pytest.raises(UsageError, match="written as png, pdf, svg; 'curve.xyz' is none"):
        plot_learning_curves([run], tmp_path / "curve.xyz")
    assert plot_learning_curves([run], tmp_path / "new" / "curve.png").is_file()


def test_no_run_is_no_figure(tmp_path):
    with pytest.raises(UsageError, match="no run"):
        plot_learning_curves([], tmp_path / "c.png")
