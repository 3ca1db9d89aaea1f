"""``silri eval --video`` on a run that draws itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.fakes.envs.drawn import NAME as DRAWN
from tests.fakes.envs.point import NAME as POINT
from tests.fakes.models.agent import registered
from tests.fakes.runs import tiny_run, train

pytest.importorskip("av")


@pytest.fixture(autouse=True)
def fake():
    with registered():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with registered():
        for name, env in (("drawn", DRAWN), ("unseen", POINT)):
            train(tiny_run("fake", env_name=env, steps=5), folder / name)
    return folder


@pytest.fixture
def run(trained):
    shutil.copytree(trained, "runs", symlinks=True)
    return Path("runs/drawn")


def test_the_report_names_the_videos(run, silri):
    assert silri("eval", run, "--video", 2, "--episodes", 4, "--json") == 0, silri.err
    report = json.loads(silri.out)
    folder = run / "videos/evaluation_mean"
    assert sorted(report["videos"]) == sorted(str(p.relative_to(run)) for p in folder.iterdir())
    assert len(report["videos"]) == 2
    wanted = [
        f"videos/evaluation_mean/episode_{i:03d}_failure.mp4" for i in report["failed_layouts"]
    ]
    assert report["videos"][: min(2, len(wanted))] == wanted[:2]
    assert silri("eval", run, "--episodes", 4, "--json") == 0
    plain = json.loads(silri.out)
    assert plain == {key: value for key, value in report.items() if key != "videos"}


def test_without_a_number_there_are_five_and_the_last_words_say_where(run, silri):
    assert silri("eval", "--video", run, "--sampled", "--episodes", 7) == 0, silri.err
    assert len(list((run / "videos/evaluation_sampled").glob("*.mp4"))) == 5
    assert silri.out.splitlines()[-1] == "5 videos: runs/drawn/videos/evaluation_sampled"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/unseen", "--video"], "--video: fake/one-arm has nothing to film"),
        (["runs/drawn", "--video", "-1"], "--video takes the number of videos, 0 or more, got -1"),
        (
            ["runs/drawn", "--video", "--disturbance"],
            "--video and --disturbance exclude each other",
        ),
    ],
)
@pytest.mark.usefixtures("run")
def test_what_cannot_be_filmed_is_refused_first(silri, arguments, message):
    assert silri("eval", *arguments) == 2
    assert message in silri.err
    assert not list(Path("runs").glob("*/videos"))
    assert not list(Path("runs").glob("*/evaluation_mean.json"))
