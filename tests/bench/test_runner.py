"""The runner with real processes that train nothing: ``TRAINER`` stands in for ``silri``."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from dataclasses import replace

import pytest

from silri.bench.run import plan, runner
from silri.bench.run.pinning import cores
from silri.bench.run.plan import State, make_plan
from silri.bench.run.runner import LocalStarter, last_line, run_suite
from silri.bench.suite import cells
from silri.runtime.keeping.folder import RunFolder
from tests.fakes.suites import BUDGET, make_run, small_suite

# PATH.prepared is what a run leaves; PATH.behaviour says how it goes.
TRAINER = """
import os, pathlib, shutil, signal, sys, time
verb, rest = sys.argv[1], sys.argv[2:]
path = pathlib.Path(rest[0] if verb == "eval" else rest[rest.index("--resume") + 1])
assert (path / "config.json").is_file()  # a run's folder has its configuration from the start
behaviour = path.with_name(path.name + ".behaviour")
how = behaviour.read_text() if behaviour.exists() else "well"
print(verb, "cores", sorted(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"], flush=True)
if how == verb + "-fails":
    print("silri: the disk is full")
    sys.exit(1)
if how == verb + "-dies":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "slow" and not (path / "checkpoints").exists():
    def stop(*_):
        shutil.copytree(str(path) + ".prepared", path, dirs_exist_ok=True)
        (path / "summary.json").unlink()
        (path / "checkpoints" / "last").mkdir(parents=True)
        sys.exit(130)
    signal.signal(signal.SIGTERM, stop)
    path.with_name(path.name + ".ready").touch()
    time.sleep(60)
if verb == "eval":
    (path / "disturbance.json").write_text("{}")
elif how != "nothing":
    shutil.copytree(str(path) + ".prepared", path, dirs_exist_ok=True)
"""


class Heard:
    """An observer that remembers."""

    def __init__(self, on_wait=lambda: None):
        self.starts, self.ends, self.waiting = [], [], on_wait

    def started(self, job, stage):
        self.starts.append((job.cell.name, stage))

    def ended(self, outcome):
        self.ends.append(outcome)


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """What runs in place of silri."""
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    monkeypatch.setattr(runner, "SILRI", (sys.executable, "-S", str(script)))
    monkeypatch.setattr(runner, "POLL_S", 0.01)


@pytest.fixture
def jobs(tmp_path, trainer):
    """Four cells on ``push``, with what their runs will leave prepared."""
    chosen = cells(small_suite(tmp_path), tasks=["push"], variants=["silri", "bc"])
    jobs = make_plan(chosen, tmp_path / "out")
    for job in jobs:
        make_run(job, completed=True)
        job.folder.path.rename(f"{job.folder.path}.prepared")
    return jobs


def behave(job, how):
    job.folder.path.with_name(f"{job.folder.path.name}.behaviour").write_text(how)


def again(jobs):
    return [job.look_again() for job in jobs]


def run(jobs, *, slots=2, disturbances=False, observer=None, **keywords):
    heard = observer or Heard()
    outcomes = run_suite(
        again(jobs), LocalStarter(slots), heard, disturbances=disturbances, **keywords
    )
    return outcomes, heard


def problems(outcomes):
    return {o.job.cell.name: (o.stage, o.problem) for o in outcomes if o.problem}


def test_every_cell_is_run_once_in_order_and_never_again(jobs):
    outcomes, heard = run(jobs, slots=1)
    assert [name for name, _ in heard.starts] == [job.cell.name for job in jobs]
    assert all(o.job.state is State.DONE and not o.problem for o in outcomes)
    outcomes, heard = run(jobs)
    assert outcomes == []
    assert heard.starts == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins nothing")
def test_each_process_has_one_core_and_one_thread_and_ours_are_untouched(jobs):
    mine = cores()
    run(jobs)
    assert cores() == mine
    for job in jobs:
        line = last_line(job.log)
        assert line.endswith(" 1")
        assert line.partition("cores ")[2].count(",") == 0


def test_a_failing_cell_stops_nobody_and_is_named_with_its_log(jobs):
    behave(jobs[0], "train-fails")
    behave(jobs[1], "train-dies")
    behave(jobs[2], "nothing")
    outcomes, heard = run(jobs)
    assert problems(outcomes) == {
        jobs[0].cell.name: ("train", "exit code 1"),
        jobs[1].cell.name: ("train", "ended by SIGKILL"),
        jobs[2].cell.name: ("train", "ended well, but its run is missing"),
    }
    assert last_line(jobs[0].log) == "silri: the disk is full"
    assert [o.job.state for o in heard.ends].count(State.DONE) == 1


def test_a_run_starts_in_a_folder_that_has_the_cells_configuration(jobs):
    behave(jobs[0], "train-fails")
    run(jobs[:1])
    config = RunFolder.open(jobs[0].folder.path)[1]
    assert config == jobs[0].config == jobs[0].cell.config()


@pytest.mark.parametrize("how", ["well", "train-fails"])
def test_a_cell_with_a_budget_begins_after_the_one_it_is_of(tmp_path, trainer, how):
    first, second = make_plan(
        cells(small_suite(tmp_path, BUDGET), tasks=["push"], variants=["bc"], seeds=[0]),
        tmp_path / "out",
    )
    make_run(first, completed=True)
    make_run(second.look_again(), completed=True)
    for job in (first, second):
        job.folder.path.rename(f"{job.folder.path}.prepared")
    behave(first, how)
    outcomes, heard = run([second, first])  # two slots, and the wrong order
    names = [first.cell.name, second.cell.name]
    if how == "well":
        assert [name for name, _ in heard.starts] == names
        assert not problems(outcomes)
        assert RunFolder.open(second.folder.path)[1].operator.gate.budget == 0
    else:
        assert [name for name, _ in heard.starts] == names[:1]
        words = f"needs a completed {names[0]}: its budget"
        assert problems(outcomes)[names[1]] == ("train", words)


def test_a_failed_cell_is_tried_again_the_next_time(jobs):
    behave(jobs[0], "train-fails")
    run(jobs)
    behave(jobs[0], "well")
    outcomes, heard = run(jobs)
    assert heard.starts == [(jobs[0].cell.name, "train")]
    assert not problems(outcomes)


def test_stopping_saves_what_runs_starts_nothing_more_and_goes_on_later(jobs):
    for job in jobs:
        behave(job, "slow")
    ready = [job.folder.path.with_name(f"{job.folder.path.name}.ready") for job in jobs]

    outcomes, heard = run(jobs, stop=lambda: ready[0].exists() and ready[1].exists())
    assert len(heard.starts) == 2
    assert [o.code for o in outcomes] == [130, 130]
    assert not problems(outcomes)
    assert [job.state for job in again(jobs)] == [State.RESUME] * 2 + [State.MISSING] * 2
    for job in jobs[2:]:
        behave(job, "well")
    outcomes, _ = run(jobs)
    assert [job.state for job in again(jobs)] == [State.DONE] * 4
    log = jobs[0].log.read_text().splitlines()
    assert log[-2].endswith(f"train --resume {jobs[0].folder.path} --steps 3000")


def test_an_exception_leaves_no_process_behind(jobs):
    for job in jobs:
        behave(job, "slow")
    ready = jobs[0].folder.path.with_name(f"{jobs[0].folder.path.name}.ready")

    def insist():
        if ready.exists():
            raise KeyboardInterrupt  # what the second Ctrl-C does

    with pytest.raises(KeyboardInterrupt):
        run(jobs, observer=Heard(insist))
    assert not any(plan.is_locked(job.log) for job in jobs)


def test_a_folder_without_a_checkpoint_is_started_again(jobs):
    folder = make_run(jobs[0])
    (folder.path / "left-over").touch()
    run(jobs)
    assert jobs[0].look_again().state is State.DONE
    assert not (folder.path / "left-over").exists()


def test_a_cell_that_another_benchmark_runs_is_left_alone(jobs):
    jobs[0].folder.path.parent.mkdir(parents=True, exist_ok=True)
    with jobs[0].log.open("a") as log:
        assert plan.lock(log)
        outcomes, heard = run(jobs)
    assert not problems(outcomes)
    assert [o.job.cell.name for o in outcomes if o.elsewhere] == [jobs[0].cell.name]
    assert jobs[0].cell.name not in [name for name, _ in heard.starts]
    assert not jobs[0].folder.path.exists()


def test_a_disturbance_that_another_benchmark_evaluates_is_left_to_it(jobs):
    make_run(jobs[0], completed=True)
    with jobs[0].log.open("a") as log:
        assert plan.lock(log)
        outcomes, heard = run(jobs[:1], disturbances=True)
    assert [(o.stage, o.elsewhere, o.problem) for o in outcomes] == [("disturbance", True, "")]
    assert heard.starts == []
    assert [stage for _, stage in run(jobs[:1], disturbances=True)[1].starts] == ["disturbance"]


def test_a_cell_that_was_done_meanwhile_is_not_run(jobs):
    before = again(jobs)
    shutil.copytree(f"{jobs[0].folder.path}.prepared", jobs[0].folder.path)
    heard = Heard()
    outcomes = run_suite(before, LocalStarter(2), heard, disturbances=False)
    assert jobs[0].cell.name not in [name for name, _ in heard.starts]
    assert not problems(outcomes)


def test_a_folder_that_became_another_run_meanwhile_is_left_alone(jobs):
    before = again(jobs)
    other = next(job for job in jobs if job.cell.variant.label == "bc")
    shutil.copytree(f"{other.folder.path}.prepared", jobs[0].folder.path)
    outcomes = run_suite(before, LocalStarter(2), Heard(), disturbances=False)
    _, words = problems(outcomes)[jobs[0].cell.name]
    assert "other configuration" in words
    assert "agent_name: 'bc' -> 'silri'" in words


def test_disturbances_follow_training_once(jobs):
    _, heard = run(jobs[:1], disturbances=True)
    assert [stage for _, stage in heard.starts] == ["train", "disturbance"]
    assert jobs[0].disturbance.exists()
    assert run(jobs[:1], disturbances=True)[1].starts == []
    jobs[0].disturbance.unlink()
    assert [stage for _, stage in run(jobs[:1], disturbances=True)[1].starts] == ["disturbance"]
    assert run(jobs[:1], disturbances=False)[1].starts == []


def test_a_raised_budget_is_trained_and_disturbed_again(jobs):
    steps = jobs[0].config.steps + 1000
    longer = replace(jobs[0], config=replace(jobs[0].config, steps=steps))
    shutil.rmtree(f"{longer.folder.path}.prepared")
    make_run(longer, completed=True, env_steps=steps)
    longer.folder.path.rename(f"{longer.folder.path}.prepared")
    make_run(jobs[0], completed=True, checkpoint=True)
    jobs[0].disturbance.write_text("of the policy that was")
    heard = Heard()
    outcomes = run_suite([longer.look_again()], LocalStarter(1), heard, disturbances=True)
    assert heard.starts == [(longer.cell.name, "train"), (longer.cell.name, "disturbance")]
    assert not problems(outcomes)
    assert longer.look_again().state is State.DONE
    assert longer.disturbance.read_text() == "{}"


def test_a_failing_disturbance_is_named_and_the_run_stays_done(jobs):
    behave(jobs[0], "eval-fails")
    outcomes, _ = run(jobs[:1], disturbances=True)
    assert problems(outcomes) == {jobs[0].cell.name: ("disturbance", "exit code 1")}
    assert jobs[0].look_again().state is State.DONE


def test_a_benchmark_that_was_killed_leaves_cells_that_the_next_one_sees(jobs):
    """The lock is inherited by the cell's process, not kept by the benchmark."""
    behave(jobs[0], "slow")
    starter = LocalStarter(1)
    handle = starter.start(runner.train_command(jobs[0]), jobs[0], 0)
    try:
        assert jobs[0].look_again().state is State.RUNNING
    finally:
        handle.kill()
    deadline = time.monotonic() + 5
    while jobs[0].look_again().state is State.RUNNING and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert jobs[0].look_again().state is State.MISSING
