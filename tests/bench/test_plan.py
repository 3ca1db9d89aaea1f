from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from silri.bench.results import collect
from silri.bench.run import plan
from silri.bench.run.plan import (
    State,
    link_shared,
    make_plan,
    read_summary,
    refuse_others,
    seconds_left,
    stages_left,
)
from silri.bench.run.runner import train_command
from silri.bench.suite import cells
from silri.core.errors import ConfigError, DataError, SilriError
from tests.fakes.suites import BUDGET, TOML, make_run, small_suite


@pytest.fixture
def jobs(tmp_path):
    return jobs_of(tmp_path)


def jobs_of(tmp_path, text=TOML):
    return make_plan(cells(small_suite(tmp_path, text), seeds=[0]), tmp_path / "out")


def states(jobs):
    return [job.look_again().state for job in jobs]


def test_a_cell_is_a_folder_below_its_suite(jobs, tmp_path):
    assert jobs[0].folder.path == tmp_path / "out" / "small" / "push_silri_steady_s0"
    assert jobs[0].log.name == "push_silri_steady_s0.log"
    assert states(jobs) == [State.MISSING] * 6


def test_the_state_of_every_kind_of_folder(jobs):
    make_run(jobs[0], completed=True, checkpoint=True)
    make_run(jobs[1], completed=False, checkpoint=True, env_steps=3000)
    make_run(jobs[2])  # killed before its first checkpoint
    jobs[3].folder.path.mkdir(parents=True)
    (jobs[4].folder.path).mkdir(parents=True)
    (jobs[4].folder.path / "notes.txt").write_text("somebody's own")
    found = states(jobs)
    assert found == [
        *(State.DONE, State.RESUME, State.MISSING, State.MISSING, State.OTHER, State.MISSING)
    ]
    assert jobs[0].look_again().wall_s == 3600.0
    assert jobs[1].look_again().progress == pytest.approx(3000 / 4000)


def test_a_run_of_another_configuration_is_refused_by_name(tmp_path):
    make_run(jobs_of(tmp_path)[2], completed=True)
    changed = jobs_of(tmp_path, TOML.replace("agent.batch_size = 16", "agent.batch_size = 32"))
    with pytest.raises(ConfigError) as caught:
        refuse_others(changed)
    words = str(caught.value)
    assert "push_hil_serl_steady_s0: agent.batch_size: 16 -> 32" in words
    assert "Move or remove" in words
    assert "box_hil" not in words


def test_a_cell_waits_for_the_one_whose_steps_are_its_budget(tmp_path):
    jobs = jobs_of(tmp_path, BUDGET)
    assert states(jobs) == [State.MISSING] * 6 + [State.WAITS] * 6
    make_run(jobs[0], completed=True)
    ready = jobs[6].look_again()
    assert ready.state is State.MISSING
    driven = read_summary(jobs[0].folder.summary)["intervention_steps"]
    assert ready.config.operator.gate.budget == driven > 0
    assert jobs[7].look_again().state is State.WAITS
    make_run(ready, completed=True)
    assert states(jobs_of(tmp_path, BUDGET))[6] is State.DONE


def test_a_raised_budget_goes_on_with_the_runs(tmp_path):
    short = jobs_of(tmp_path)
    make_run(short[0], completed=True, checkpoint=True)
    longer = jobs_of(tmp_path, TOML.replace("steps = 3000", "steps = 6000"))
    assert longer[0].state is State.RESUME
    assert longer[0].progress == pytest.approx(0.5)
    assert train_command(longer[0])[-4:] == [
        *("--resume", str(longer[0].folder.path), "--steps", "6000")
    ]
    lower = jobs_of(tmp_path, TOML.replace("steps = 3000", "steps = 2000"))
    assert lower[0].differences == ("steps: 3000 -> 2000",)


def test_a_raised_budget_that_was_stopped_before_an_evaluation_is_not_done(tmp_path):
    """Resuming writes the configuration at once, and the summary only after an evaluation."""
    make_run(jobs_of(tmp_path)[0], completed=True, checkpoint=True)
    longer = jobs_of(tmp_path, TOML.replace("steps = 3000", "steps = 6000"))[0]
    longer.folder.write_config(longer.config)
    again = longer.look_again()
    assert (again.state, again.progress) == (State.RESUME, pytest.approx(0.5))


def test_the_commit_of_a_run_does_not_matter(jobs):
    folder = make_run(jobs[0], completed=True)
    record = json.loads(folder.config.read_text())
    record["git"] = {"commit": "another", "dirty": True}
    folder.config.write_text(json.dumps(record))
    assert states(jobs[:1]) == [State.DONE]


def test_a_configuration_of_another_version_is_refused_with_its_field(jobs):
    folder = make_run(jobs[0], completed=True)
    record = json.loads(folder.config.read_text())
    del record["run"]["agent"]["discount"]
    folder.config.write_text(json.dumps(record))
    again = jobs[0].look_again()
    assert again.state is State.OTHER
    assert "agent.discount" in again.differences[0]


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_summary_is_named(jobs, content):
    folder = make_run(jobs[0], completed=True)
    folder.summary.write_text(content)
    with pytest.raises(DataError, match=r"summary.json.*remove the run folder"):
        jobs[0].look_again()


def test_a_run_that_somebody_else_runs_is_seen_by_its_lock(jobs):
    make_run(jobs[0], completed=False, checkpoint=True)
    with jobs[0].log.open("a") as log:
        assert plan.lock(log)
        assert states(jobs[:1]) == [State.RUNNING]
        with jobs[0].log.open("a") as another:
            assert not plan.lock(another)
    assert states(jobs[:1]) == [State.RESUME]


def test_only_what_never_came_to_a_checkpoint_is_removed(jobs):
    make_run(jobs[0])
    plan.clear(jobs[0].look_again())
    assert not jobs[0].folder.path.exists()
    # The state that a job remembers may be hours old: it waited for a machine.
    make_run(jobs[1], completed=False, checkpoint=True)
    make_run(jobs[2], completed=True)
    for job in jobs[1:3]:
        with pytest.raises(SilriError, match="meanwhile"):
            plan.clear(job)
        assert (job.folder.path / "config.json").exists()


def test_a_finished_run_of_another_suite_is_not_run_again(tmp_path):
    out = tmp_path / "out"
    small = jobs_of(tmp_path)
    make_run(small[0], completed=True, checkpoint=True)
    make_run(small[1], completed=False, checkpoint=True)  # not finished
    (small[3].folder.path).mkdir(parents=True)
    (small[3].folder.path / "notes.txt").write_text("somebody's own")
    make_run(small[2], completed=True, checkpoint=True)  # of another configuration, below
    text = TOML.replace('name = "small"', 'name = "large"')
    text = text.replace("agent.batch_size = 16", "agent.batch_size = 32")
    large = jobs_of(tmp_path, text)
    assert [job.state for job in large] == [State.DONE, *[State.MISSING] * 5]
    place = out / "large" / small[0].cell.name
    assert link_shared(large, out) == [place]
    assert link_shared(large, out) == []
    again = jobs_of(tmp_path, text)[0]
    assert again.folder.path == place
    assert again.log == small[0].log  # the lock of whoever runs it
    third = jobs_of(tmp_path, text.replace("large", "third"))  # not by way of the second
    assert link_shared(third, out) == [out / "third" / place.name]
    assert (out / "third" / place.name).readlink() == Path("../small") / place.name

    assert collect(large[0].cell.suite, out / "large", tmp_path / "large.jsonl.gz") == (1, 1)
    shutil.move(out, tmp_path / "moved")  # the link is relative
    assert (tmp_path / "moved/large" / place.name / "summary.json").is_file()


def test_a_link_to_a_run_that_was_removed_is_in_nobodys_way(tmp_path):
    out = tmp_path / "out"
    small = jobs_of(tmp_path)
    text = TOML.replace('name = "small"', 'name = "large"')
    for job in small[:2]:
        make_run(job, completed=True, checkpoint=True)
    link_shared(jobs_of(tmp_path, text), out)
    for job in small[:2]:
        shutil.rmtree(job.folder.path)
    large = jobs_of(tmp_path, text)
    assert [job.state for job in large] == [State.MISSING] * 6
    assert link_shared(large, out) == []
    assert not large[0].folder.path.is_symlink()
    make_run(large[0], completed=True)
    make_run(jobs_of(tmp_path, TOML.replace('"small"', '"third"'))[1], completed=True)
    assert link_shared(jobs_of(tmp_path, text), out) == [out / "large" / small[1].cell.name]
    assert [job.state for job in jobs_of(tmp_path, text)[:2]] == [State.DONE] * 2


@pytest.mark.parametrize("change", ["steps = 6000", "steps = 2000"])
def test_another_budget_leaves_the_other_suites_run_alone(tmp_path, change):
    out = tmp_path / "out"
    small = jobs_of(tmp_path)
    make_run(small[0], completed=True, checkpoint=True)
    text = TOML.replace('name = "small"', 'name = "large"')
    (place,) = link_shared(jobs_of(tmp_path, text), out)
    other = jobs_of(tmp_path, text.replace("steps = 3000", change))
    assert other[0].state is State.MISSING
    assert link_shared(other, out) == []
    assert not place.is_symlink()
    assert other[0].log != small[0].log
    assert small[0].look_again().state is State.DONE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "agent.batch_sise = 8",
            r"\[overrides\]: agent has no field 'batch_sise'. Did you mean 'batch_size'\?",
        ),
        (
            'agent.batch_size = "x"',
            r"\[overrides\]: agent.batch_size takes a whole number >= 2, got 'x'",
        ),
        (
            "agent.batch_size = -1",
            r"\[overrides\]: agent.batch_size takes a whole number >= 2, got -1",
        ),
    ],
)
def test_what_does_not_fit_names_the_file_its_row_and_the_field(tmp_path, change, words):
    with pytest.raises(ConfigError, match=rf"small.toml: {words}"):
        jobs_of(tmp_path, TOML.replace("agent.batch_size = 8", change))
    row = TOML.replace("agent.batch_size = 16", change)
    with pytest.raises(ConfigError, match=r"small.toml: \[\[variants\]\] hil_serl: overrides: "):
        jobs_of(tmp_path, row)


def test_the_estimate_comes_from_runs_like_it(jobs):
    guess, measured = seconds_left(jobs, 2)
    assert not measured
    assert guess > 0
    make_run(jobs[0], completed=True)  # 3,600 s, of 3,000 steps
    now = [job.look_again() for job in jobs]
    left, measured = seconds_left(now, 1)
    fixed = 2 * (plan.GUESSED_FIXED_S + 0) + 2 * (plan.GUESSED_FIXED_S + 4000 * plan.GUESSED_STEP_S)
    assert measured
    assert left == pytest.approx(3600 + fixed)
    # Two at a time it is half of it, but never less than the longest.
    assert seconds_left(now, 2)[0] == pytest.approx(3600)


def test_what_is_left_counts_evaluations_with_disturbances(jobs):
    for job in jobs:
        make_run(job, completed=True)
    now = [job.look_again() for job in jobs]
    assert seconds_left(now, 1)[0] == 0
    assert seconds_left(now, 1, disturbances=True)[0] == len(jobs) * plan.GUESSED_DISTURBANCE_S
    now[0].disturbance.write_text("{}")
    assert stages_left(now[0], disturbances=True) == []
    assert stages_left(now[1], disturbances=True) == ["disturbance"]
    left = (len(jobs) - 1) * plan.GUESSED_DISTURBANCE_S
    assert seconds_left(now, 1, disturbances=True)[0] == left
