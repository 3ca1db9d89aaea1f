"""``silri eval`` of a policy that is told what to do: a row per task, and other settings."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from silri.language.config import LanguageConfig
from tests.fakes.models.words import MODEL, NAME
from tests.fakes.runs import tiny_run, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "run"
    config = tiny_run("bc", env_name=NAME, language=LanguageConfig(MODEL))
    train(replace(config, evaluation=replace(config.evaluation, every=0)), path)
    return path


@pytest.fixture
def run(trained):
    shutil.copytree(trained, "run")
    return Path("run")


def test_a_row_for_every_task(run, silri):
    assert silri("eval", run, "--episodes", 9, "--json") == 0, silri.err
    report = json.loads(silri.out)
    counts = {task: int(report[f"episodes/{task}"]) for task in ("left", "right")}
    assert sum(counts.values()) == 9
    assert silri("eval", run, "--episodes", 9) == 0
    rows = [line.split() for line in silri.out.splitlines() if line.startswith("  ")]
    for (task, wins, _, count, rate, *_), (name, total) in zip(rows, counts.items(), strict=True):
        assert (task, int(count)) == (name, total)
        assert int(wins) / total == pytest.approx(report[f"success_rate/{name}"])
        assert float(rate) == pytest.approx(report[f"success_rate/{name}"], abs=0.006)


def test_another_setting_of_the_environment_has_a_report_of_its_own(run, silri):
    changed = ("--env.max-episode-steps", "1", "--env.success-reward=3")
    assert silri("eval", run, *changed, "--episodes", 4) == 0, silri.err
    assert "max-episode-steps 1 success-reward-3, mean action: " in silri.out
    report = json.loads(
        (run / "evaluation_mean_max-episode-steps_1_success-reward-3.json").read_text()
    )
    assert not (run / "evaluation_mean.json").exists()
    assert report["episodes"] == 4
    assert report["mean_return"] in (-0.05, pytest.approx(-0.05))  # one step, and no time to arrive
    assert silri("eval", run, "--env.nothing", "1") == 2
    assert "nothing" in silri.err
