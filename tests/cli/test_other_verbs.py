"""``record``, ``eval`` and ``plot`` on tiny runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from silri.data.dataset import read_dataset
from tests.cli.conftest import POINT
from tests.fakes.runs import summary


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp("trained") / "run"


@pytest.fixture
def run(trained, silri, tmp_path):
    """A copy of a cloned policy's run, and a name without characters of its path."""
    if not trained.exists():
        assert silri.train("--out", trained, agent="bc") == 0, silri.err
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    return Path("run")


# -- record ----------------------------------------------------------------------------------------


def record(silri, *arguments):
    return silri("record", *POINT, *arguments)


def test_recording_goes_on_where_it_was(silri):
    assert record(silri, "--episodes", 2, "--out", "demos") == 0
    first = read_dataset(Path("demos"))
    assert len(first) == 2
    assert "2 demonstrations in demos" in silri.out
    assert "operator steady: " in silri.out
    assert record(silri, "--episodes", 4, "--out", "demos") == 0
    assert record(silri, "--episodes", 4, "--out", "at-once") == 0
    again, at_once = read_dataset(Path("demos")), read_dataset(Path("at-once"))
    assert [e.seed for e in again] == [e.seed for e in at_once]
    assert [e.seed for e in again[:2]] == [e.seed for e in first]
    assert record(silri, "--episodes", 3, "--out", "demos") == 0  # has more already
    assert len(read_dataset(Path("demos"))) == 4


def test_a_run_learns_from_what_was_recorded(silri):
    assert record(silri, "--episodes", 3, "--out", "demos") == 0
    assert silri.train("--data.dataset", "demos", "--out", "run", agent="bc") == 0, silri.err
    assert summary("run")["demo_episodes"] == 3
    assert len(read_dataset(Path("run/episodes"))) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out FOLDER is missing"),
        (["--out", "x", "--episodes", "0"], "--episodes takes 1 or more, got 0"),
        (["--out", "x", "--operator.jitter", "-1"], "operator jitter"),
    ],
)
def test_wrong_recordings_are_refused(silri, arguments, message):
    assert record(silri, *arguments) == 2
    assert message in silri.err
    assert not Path("x").exists()


def test_nobody_cannot_demonstrate(silri):
    assert silri("record", *POINT[:4], "--operator", "none", "--out", "x") == 2
    assert "operator 'none' cannot demonstrate" in silri.err


def test_a_dataset_of_another_environment_is_refused(silri):
    assert record(silri, "--episodes", 1, "--out", "demos") == 0
    assert silri("record", "--env", "Pendulum-v1", "--operator", "expert", "--out", "demos") == 1
    assert "'action' has shape [4] in demos and [1] in gym/Pendulum-v1" in silri.err


# -- eval ------------------------------------------------------------------------------------------


def test_eval_agrees_with_training_s_own_evaluation(run, silri):
    assert silri("eval", run, "--episodes", 2, "--json") == 0
    report = json.loads(silri.out)
    assert report["success_rate"] == summary(run)["success_rate"]
    assert report["action"] == "mean"
    assert report["episodes"] == 2
    assert json.loads((run / "evaluation_mean.json").read_text()) == report


def test_eval_in_words(run, silri):
    assert silri("eval", run, "--episodes", 6) == 0
    failed = json.loads((run / "evaluation_mean.json").read_text())["failed_layouts"]
    assert f"{6 - len(failed)} of 6 succeed" in silri.out
    assert silri("eval", run, "--episodes", 6, "--sampled") == 0
    assert (run / "evaluation_sampled.json").exists()


@pytest.mark.parametrize(
    ("prepare", "arguments", "code", "message"),
    [
        (None, ["nothing"], 2, "does not exist"),
        (None, ["run", "--episodes", "0"], 2, "--episodes takes 1 or more"),
        (lambda: shutil.rmtree("run/policy"), ["run"], 1, "holds no exported policy"),
        (
            lambda: Path("run/policy/policy.json").write_text("{"),
            ["run"],
            1,
            "is damaged",
        ),
    ],
)
def test_eval_says_what_is_wrong(run, silri, prepare, arguments, code, message):
    if prepare:
        prepare()
    assert silri("eval", *arguments) == code
    assert message in silri.err


# -- plot ------------------------------------------------------------------------------------------


def test_plot_draws_several_runs(run, silri):
    shutil.copytree(run, "second", symlinks=True)
    assert silri("plot", run, "second", "--out", "figure.svg") == 0
    assert "figure: figure.svg" in silri.out
    assert "<svg" in Path("figure.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "at least one run"), (["nothing"], "does not exist"), (["."], "is no run folder")],
)
def test_plot_says_what_is_wrong(run, silri, arguments, message):
    assert silri("plot", *arguments) == 2
    assert message in silri.err
    assert not Path("curve.png").exists()
