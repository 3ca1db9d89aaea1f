"""What a person sees of a run that is no terminal."""

from __future__ import annotations

import numpy as np
import pytest

from silri.cli.terminal.progress import Console
from silri.core.events import LearnerUpdated, LearningAdvanced, StepTaken
from silri.core.transition import Transition
from silri.intervention.coach import PATIENCE
from silri.intervention.devices.terminal import TerminalConfig
from tests.fakes.runs import tiny_run


@pytest.mark.parametrize("stage", ["clone", "pretrain"])
def test_metrics_of_learning_before_the_first_step_are_shown_whatever_the_stage(
    capsys, tmp_path, stage
):
    console = Console(tiny_run("bc"), tmp_path / "run")
    console.on_event(LearnerUpdated(0, {f"{stage}/actor/nll": 0.125}))
    console.on_event(LearnerUpdated(100, {"critic/loss": 0.5}))
    assert capsys.readouterr().out == f"{stage}/actor/nll 0.125\n"


def at(step):
    """The policy's step of this index."""
    still, nobody = np.zeros(4, np.float32), np.full(4, np.nan, np.float32)
    return Transition(
        observation={},
        action=still,
        policy_action=still,
        human_action=nobody,
        human_weight=0.0,
        reward=0.0,
        next_observation={},
        terminated=False,
        truncated=False,
        is_intervention=False,
        grasp_penalty=0.0,
        episode_id=0,
        step=step,
        policy_version=1,
    )


def advice_shown(console, estimates):
    """What is beside the bar after each step of an episode with these estimates."""
    console._live, shown = True, []
    for step, estimate in enumerate(estimates):
        console._shown_at = 0.0  # however fast steps come
        console.on_event(StepTaken(step + 1, at(step), {"q_policy": estimate}))
        shown.append(console._progress.tasks[0].description)
    return shown


def test_a_person_at_a_device_has_a_coach_in_the_terminal(tmp_path):
    run = tiny_run("bc", operator_name="terminal", operator=TerminalConfig())
    *before, last = advice_shown(Console(run, tmp_path / "run"), [3.0] + [2.0] * PATIENCE)
    assert "stuck" not in " ".join(before)
    assert f"[bold]it is stuck[/bold]: its estimate has not risen for {PATIENCE} steps" in last


def test_simulated_people_are_not_advised_twice(tmp_path):
    console = Console(tiny_run("bc"), tmp_path / "run")
    assert "stuck" not in " ".join(advice_shown(console, [3.0] + [2.0] * PATIENCE))


def test_a_stage_before_the_first_step_has_a_bar_of_its_own_until_it_is_done(tmp_path):
    console = Console(tiny_run("bc"), tmp_path / "run")
    console.on_event(LearningAdvanced(0, "offline", 30, 100))
    steps, stage = console._progress.tasks
    assert (stage.description, stage.completed, stage.total) == ("learning: offline", 30, 100)
    console.on_event(LearningAdvanced(0, "offline", 100, 100))
    assert console._progress.tasks == [steps]
