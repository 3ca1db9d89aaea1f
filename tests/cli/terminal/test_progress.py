"""What a person sees of a run that is no terminal."""

from __future__ import annotations

import pytest

from silri.cli.terminal.progress import Console
from silri.core.events import LearnerUpdated, LearningAdvanced
from tests.fakes.runs import tiny_run


@pytest.mark.parametrize("stage", ["clone", "pretrain"])
def test_metrics_of_learning_before_the_first_step_are_shown_whatever_the_stage(
    capsys, tmp_path, stage
):
    console = Console(tiny_run("bc"), tmp_path / "run")
    console.on_event(LearnerUpdated(0, {f"{stage}/actor/nll": 0.125}))
    console.on_event(LearnerUpdated(100, {"critic/loss": 0.5}))
    assert capsys.readouterr().out == f"{stage}/actor/nll 0.125\n"


def test_a_stage_before_the_first_step_has_a_bar_of_its_own_until_it_is_done(tmp_path):
    console = Console(tiny_run("bc"), tmp_path / "run")
    console.on_event(LearningAdvanced(0, "offline", 30, 100))
    steps, stage = console._progress.tasks
    assert (stage.description, stage.completed, stage.total) == ("learning: offline", 30, 100)
    console.on_event(LearningAdvanced(0, "offline", 100, 100))
    assert console._progress.tasks == [steps]
