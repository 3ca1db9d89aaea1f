from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from silri.cli.terminal.progress import Console
from silri.cli.train import Arguments, _check_resumed
from silri.configs.run import RunConfig
from silri.configs.serialize import load_config
from silri.core.errors import ConfigError
from silri.core.events import StepTaken
from silri.runtime.keeping.checkpoint import CheckpointStore
from tests.fakes.envs.gym_point import CAMERA, ROBOT, WAITED
from tests.fakes.runs import metrics, summary


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One trained run to copy, and what it printed."""
    return {"path": tmp_path_factory.mktemp("finished") / "run"}


@pytest.fixture
def run(finished, silri, tmp_path):
    """A copy of a finished run."""
    if "out" not in finished:
        assert silri.train("--out", finished["path"]) == 0, silri.err
        finished["out"], finished["err"] = silri.out, silri.err
    shutil.copytree(finished["path"], tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def test_a_run_leaves_what_the_design_says(run, finished):
    assert summary(run)["completed"] is True
    assert summary(run)["agent"] == "hg_dagger"
    assert (run / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert load_config(run / "config.json").env.gripper_dims == (3,)


def test_what_is_refused_at_once_is_not_in_the_way_of_the_next_try(silri):
    seen = ("--env", CAMERA, "--vision.encoder", "nothing", "--out", "run")
    for _ in range(2):
        assert silri("train", *seen) == 2
        assert "unknown encoder 'nothing'" in silri.err
    assert not Path("run").exists()


def test_a_registered_robot_is_paced_and_its_dataset_has_the_rate(silri, tmp_path):
    WAITED.clear()
    path = tmp_path / "run"
    assert silri.train("--out", path, "--runtime.rate-hz", "50", env=ROBOT) == 0, silri.err
    assert len(WAITED) >= 30  # it was given the loop's wait, and every step took it
    assert max(WAITED) > 1e-3  # and was held back by it, unless the machine was busy
    assert json.loads((path / "loop.json").read_text())["hz"] == 50
    assert json.loads((path / "episodes/meta/info.json").read_text())["fps"] == 50
    steps = summary(path)["intervention_steps"]
    assert summary(path)["human_seconds"] == pytest.approx(steps / 50)


def test_what_is_printed_without_a_terminal_is_plain_and_short(run, finished):
    out = finished["out"]
    assert "\x1b" not in out
    assert "\r" not in out
    lines = out.splitlines()
    assert (
        "hg_dagger (default) on tests.fakes.envs.gym_point:Point-v0, seed 0, 30 steps" in lines[0]
    )
    assert lines[1].startswith("operator steady: ")
    assert sum(line.startswith("step ") for line in lines) == len(summary(run)["evaluations"])
    assert "success_rate" in lines[-2]
    assert "curve.png" in lines[-1]
    assert "summary.json" in lines[-1]
    assert len(lines) < 12


def test_a_second_run_in_the_folder_is_refused(run, silri):
    before = sorted(p.name for p in run.rglob("*"))
    assert silri.train("--out", run) == 2
    assert "not empty" in silri.err
    assert f"silri train --resume {run}" in silri.err
    assert sorted(p.name for p in run.rglob("*")) == before


def test_resuming_a_finished_run_changes_nothing(run, silri):
    was = summary(run), metrics(run)
    assert silri("train", "--resume", run) == 0
    assert (summary(run), metrics(run)) == was
    assert f"nothing was learned. silri train --resume {run} --steps" in silri.out
    assert silri("train", "--resume", run, "--agent", "hg_dagger", "--steps", "30") == 0


def test_resuming_with_more_steps_goes_on_and_says_so_in_the_config(run, silri):
    done = summary(run)["env_steps"]
    assert silri("train", "--resume", run, "--steps", 45) == 0
    assert "done already" not in silri.out
    assert summary(run)["env_steps"] >= 45 > done
    assert load_config(run / "config.json").steps == 45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "silri"], "was made with --agent hg_dagger, not silri"),
        (["--preset", "published"], "was made with --preset default, not published"),
        (
            ["--env", "metaworld/reach-v3"],
            "was made with --env tests.fakes.envs.gym_point:Point-v0",
        ),
        (["--operator", "novice"], "was made with --operator steady, not novice"),
        (["--agent.utd", "5"], "keeps its configuration; differing: agent.utd: 2 -> 5"),
        (["--seed", "9", "--data.demos", "3"], "data.demos: 2 -> 3; seed: 0 -> 9"),
        (["--runtime.checkpoint-every", "7"], "runtime.checkpoint_every: 10 -> 7"),
        (["--out", "elsewhere"], "--out and --resume exclude each other"),
        (["--steps", "-3"], "steps takes a whole number >= 0, got -3"),
    ],
)
def test_resuming_with_another_setting_is_refused_by_name(run, silri, arguments, message):
    before = (run / "config.json").read_bytes()
    assert silri("train", "--resume", run, *arguments) == 2
    assert message in silri.err
    assert (run / "config.json").read_bytes() == before
    assert not Path("elsewhere").exists()


def test_fewer_steps_than_were_taken_is_no_error(run, silri):
    done = summary(run)["env_steps"]
    assert silri("train", "--resume", run, "--steps", "5") == 0
    assert summary(run)["env_steps"] == done


@pytest.mark.parametrize("what", ["nothing", "empty", "damaged", "edited", "no checkpoint fits"])
def test_what_cannot_be_resumed_says_why(run, silri, what):
    path, code, message = run, 2, "config.json"
    if what == "nothing":
        path, message = Path("nothing"), "does not exist"
    elif what == "empty":
        path, message = Path("empty"), "has no config.json"
        path.mkdir()
    elif what == "damaged":
        (run / "config.json").write_text('{"run": ')
        message = "config.json is not JSON"
    else:
        record = json.loads((run / "config.json").read_text())
        if what == "edited":
            record["run"]["agent"]["kapa"] = 1
            message = "agent has no field 'kapa'"
        else:
            record["run"]["agent"]["trunk"]["hidden"] = [16, 24]
            code, message = 1, "kernel' is "
        (run / "config.json").write_text(json.dumps(record))
    assert silri("train", "--resume", path) == code
    assert message in silri.err
    assert "Traceback" not in silri.err


def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(run, silri):
    was = summary(run), metrics(run)
    newest = run / "checkpoints/last/state.json"
    newest.write_bytes(newest.read_bytes().replace(b"env_steps", b"env_stepz"))
    assert silri("train", "--resume", run) == 0
    assert "is not used: state.json does not match its checksum" in silri.out
    assert (summary(run), metrics(run)) == was


def test_all_checkpoints_damaged_is_a_failure_with_a_way_out(run, silri):
    was = summary(run), metrics(run)
    store = CheckpointStore(run / "checkpoints")
    for step in store.steps():
        (run / f"checkpoints/{step:09d}/manifest.json").unlink()
    assert silri("train", "--resume", run) == 1
    assert "Remove" in silri.err
    shutil.rmtree(run / "checkpoints")  # as it said
    assert silri("train", "--resume", run) == 0
    assert (summary(run), metrics(run)) == was


# -- Ctrl-C ----------------------------------------------------------------------------------------


@pytest.fixture
def press_ctrl_c(monkeypatch):
    """Sends SIGINT to this process in the given environment steps."""
    original = Console.on_event

    def press(*steps):
        def on_event(self, event):
            original(self, event)
            if isinstance(event, StepTaken) and event.env_step in steps:
                for _ in steps:
                    signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Console, "on_event", on_event)

    return press


def test_ctrl_c_saves_and_the_run_can_be_resumed(run, silri, press_ctrl_c):
    handler = signal.getsignal(signal.SIGINT)
    press_ctrl_c(12)
    assert silri.train("--out", "stopped") == 130
    assert "everything is saved. Go on: silri train --resume stopped" in silri.out
    assert signal.getsignal(signal.SIGINT) is handler
    press_ctrl_c()
    assert silri("train", "--resume", "stopped") == 0
    assert (summary("stopped"), metrics("stopped")) == (summary(run), metrics(run))


def test_a_second_ctrl_c_insists(run, silri, press_ctrl_c):
    press_ctrl_c(12, 12)
    assert silri.train("--out", "stopped") == 130
    assert "everything is saved" not in silri.out


# -- wrong arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agent", "silry"], "unknown agent 'silry'. Did you mean 'silri'? Known: silri, hil"),
        (["--preset", "papper"], "unknown preset of agent silri 'papper'. Did you mean 'paper'"),
        (["--operator", "expret"], "unknown operator 'expret'. Did you mean 'expert'"),
        (["--env", "metaworld/draw-open"], "unknown environment 'metaworld/draw-open'"),
        (["--steps", "-1"], "steps takes a whole number >= 0, got -1"),
        (["--evaluation.episodes", "0"], "evaluation.episodes takes a whole number >= 1, got 0"),
        (["--agent.kappa", "-1"], "agent.kappa takes a number >= 0, got -1.0"),
        (["--env.reset-range", "-1"], "env.reset_range takes a number > 0, or None, got -1.0"),
        (["--operator.skill.jitter", "-1"], "operator.skill.jitter takes a number >= 0, got -1.0"),
        (["--env", "Pendulum-v1", "--env.reset-range", "1"], "--env.reset-range"),
        (["--operator", "none", "--operator.skill.jitter", "1"], "--operator.skill.jitter"),
        (["--env", "nowhere:Class"], "environment 'nowhere:Class': no module 'nowhere' in"),
        (["--agent.kapa", "1"], "--agent.kapa"),
        (["--steps", "many"], "many"),
        (["--agent.constraint", "l3"], "l3"),
        (["--agent", "silri", "--agent", "bc"], "--agent is given twice"),
    ],
)
def test_wrong_arguments_are_usage_errors_that_leave_nothing_behind(silri, arguments, message):
    assert silri("train", *arguments) == 2
    assert message in " ".join((silri.err + silri.out).split())
    assert "Traceback" not in silri.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "metaworld/draw-open"], "unknown environment"),
        (["--env", "Pendulum-v1", "--operator", "none"], "operator 'none' cannot demonstrate"),
        (["--env", "Pendulum-v1", "--data.dataset", "demos"], "there is no folder demos"),
        (["--expert-run", "elsewhere"], "elsewhere"),
        (["--start-from", "elsewhere"], "elsewhere/policy holds no exported policy"),
        (["--env", "Pendulum-v1"], "operator 'heterogeneous' needs an expert"),
    ],
)
def test_what_cannot_start_leaves_no_folder_in_the_way(silri, arguments, message):
    assert silri("train", *arguments, "--out", "run") in (1, 2)
    assert message in silri.err
    assert not Path("run").exists()


def test_names_and_fields_combine(silri):
    assert silri("train", "--agent=silri", "--agent.kappa", "3", "--preset", "paper", "-h") == 0
    help_text = " ".join(silri.out.split())
    assert "--agent.constraint {kl,released,paper}" in help_text
    assert "(default: paper)" in help_text  # the preset's


def test_the_default_folder_says_what_the_run_is(silri):
    assert silri.train("--seed", "3", "--steps", "0", agent="bc") == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name == "bc_tests.fakes.envs.gym_point:Point-v0_s3"
    assert summary(folder)["env_steps"] == 0


def test_a_resumed_run_may_be_served_at_another_address_and_no_more():
    stored = RunConfig.from_preset(operator_name="web")
    elsewhere = replace(stored.operator, port=9, host="10.0.0.5", token_file="t", scene="never")
    _check_resumed(stored, Arguments(config=replace(stored, operator=elsewhere)))
    quicker = replace(stored.runtime, rate_hz=30.0)
    with pytest.raises(ConfigError, match=r"differing: runtime\.rate_hz"):
        _check_resumed(stored, Arguments(config=replace(stored, runtime=quicker)))
