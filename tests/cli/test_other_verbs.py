"""``record``, ``eval`` and ``plot`` on tiny runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from silri.core.seeding import Stream, derive_seed
from silri.envs.gym.adapter import GymEnv
from silri.store.dataset import read_dataset
from tests.cli.conftest import POINT
from tests.fakes.envs.gym_point import CAMERA, IDENTIFIER
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
        (["--out", "x", "--operator.skill.jitter", "-1"], "operator.skill.jitter takes"),
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
    assert silri("record", "--env", CAMERA, "--operator", "expert", "--out", "demos") == 1
    assert "'action'" not in silri.err
    assert "'observation.images.top' has shape None in demos and [16, 16, 3] in gym/" in silri.err


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


@pytest.mark.parametrize("arguments", [[], ["--disturbance"]])
def test_eval_needs_a_run(silri, arguments):
    assert silri("eval", *arguments) == 2
    assert "RUN is missing" in silri.err


def test_eval_of_several_runs(run, silri):
    shutil.copytree(run, "second", symlinks=True)
    assert silri("eval", run, "second", "--episodes", 2, "--json") == 0
    reports = [json.loads(line) for line in silri.out.splitlines()]
    assert [report.pop("run") for report in reports] == ["run", "second"]
    assert reports[0] == reports[1]
    assert Path("second/evaluation_mean.json").exists()
    assert not Path("run/disturbance.json").exists()


# -- eval --disturbance ----------------------------------------------------------------------------


@pytest.fixture
def kicked(monkeypatch):
    """Gymnasium's environments offer two kinds: one happens in every episode, one never does."""

    def disturb(self, kind, rng):
        assert self._active
        assert 0.0 <= rng.random() < 1.0
        return kind == "kick"

    monkeypatch.setattr(GymEnv, "disturbances", ("kick", "never"), raising=False)
    monkeypatch.setattr(GymEnv, "disturb", disturb, raising=False)


@pytest.mark.usefixtures("kicked")
def test_disturbances_are_written_for_other_programs(run, silri):
    assert silri("eval", run, "--episodes", 4, "--json") == 0
    calm = json.loads(silri.out)
    before = (run / "evaluation_mean.json").read_bytes()
    assert silri("eval", run, "--disturbance", "--episodes", 4, "--json") == 0
    printed = json.loads(silri.out)
    report = json.loads((run / "disturbance.json").read_text())
    assert {key: printed[key] for key in report} == report
    assert {key: printed[key] for key in set(printed) - set(report)} == {
        "run": "run",
        "agent": "bc",
        "env": IDENTIFIER,
    }
    assert set(report) == {"episodes", "action", "rows"}
    assert (report["episodes"], report["action"]) == (4, "mean")
    assert list(report["rows"]) == ["none", "kick", "never"]
    for kind, row in report["rows"].items():
        for key in ("success_rate", "successes", "episodes", "ci_low", "ci_high"):
            assert row[key] == calm[key]  # a kick that does nothing
        assert row["occurred"] == (4 if kind == "kick" else 0)
        among = row["success_rate"] if kind == "kick" else None
        assert row["success_rate_occurred"] == among
    assert (run / "evaluation_mean.json").read_bytes() == before


@pytest.mark.usefixtures("kicked")
def test_a_run_is_evaluated_on_the_layouts_of_its_own_evaluations(silri, monkeypatch):
    first = ("--evaluation.first-layout", 7)
    assert silri.train(*first, "--out", "run", agent="bc") == 0, silri.err
    seeds, reset = [], GymEnv.reset

    def noted(self, *, seed=None, options=None):
        seeds.append(seed)
        return reset(self, seed=seed, options=options)

    monkeypatch.setattr(GymEnv, "reset", noted)
    wanted = [derive_seed(0, Stream.EVALUATION_LAYOUT, index) for index in (7, 8, 9)]
    assert silri("eval", "run", "--episodes", 3, "--json") == 0
    assert seeds == wanted
    assert set(json.loads(silri.out)["failed_layouts"]) <= {7, 8, 9}
    seeds.clear()
    assert silri("eval", "run", "--episodes", 3, "--disturbance") == 0
    assert seeds == 3 * wanted  # undisturbed, and the two kinds


@pytest.mark.usefixtures("kicked")
def test_disturbances_in_a_table_of_all_runs(run, silri):
    shutil.copytree(run, "second", symlinks=True)
    assert silri("eval", run, "second", "--disturbance", "--episodes", 3, "--sampled") == 0
    title, header, *rows = silri.out.splitlines()
    assert title == f"{IDENTIFIER}, sampled action, 3 episodes per row"
    assert header.split() == ["bc", "(run)", "bc", "(second)"]
    assert [row.split("  ")[0] for row in rows] == [
        "Original",
        "Disturbance: kick",
        "Disturbance: never",
    ]
    assert rows[2].count("none disturbed") == 2
    assert "disturbed" not in rows[0] + rows[1]
    report = json.loads(Path("second/disturbance_sampled.json").read_text())
    assert report["action"] == "sampled"
    rate = f"{report['rows']['kick']['success_rate']:.2f} ["
    assert rows[1].count(rate) == 2
    assert not Path("second/disturbance.json").exists()


def test_an_environment_without_disturbances_is_refused_before_anything_runs(run, silri):
    assert silri("eval", run, "--disturbance") == 2
    assert "offers no disturbances" in silri.err
    assert silri.out == ""
    assert not Path("run/disturbance.json").exists()


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
