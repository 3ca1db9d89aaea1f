"""A stored run, looked at: rows, steps with why, pictures that are simulated again, the map."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from silri.cli.main import main
from silri.console.drawing.mirror import Mirror
from silri.console.narrate import (
    actions_of,
    coach_after,
    diagnostics_of,
    imitation,
    stored_steps,
    why,
)
from silri.console.stored.archive import Archive
from silri.console.stored.curves import Curves
from silri.console.stored.record import RunRecord
from silri.console.stored.replay import Replay
from silri.core.errors import DataError, RunFolderError
from silri.core.specs import ActionSpec
from silri.intervention.coach import ATTEMPTS
from silri.store.dataset import read_dataset
from silri.store.library import Library
from tests.console.served import Served
from tests.fakes.envs.drawn import NAME, DrawnPoint
from tests.fakes.runs import tiny_run, train
from tests.source import PACKAGE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "run"
    config = tiny_run("tests.fakes.models.agent:TellingAgent", steps=24)
    train(replace(config, env_name=NAME), path)
    return path


@pytest.fixture(scope="module")
def episodes(folder):
    return {episode.episode_id: episode for episode in read_dataset(folder / "episodes")}


@pytest.fixture
def archive(folder):
    archive = Replay(folder, "auto").archive
    yield archive
    archive.close()


def test_the_record_says_what_the_run_was(folder):
    record = RunRecord.read(folder)
    assert (record.agent, record.env, record.operator) == (
        *("tests.fakes.models.agent:TellingAgent", NAME, "steady"),
    )
    assert (record.steps, record.demos, record.rate_hz) == (24, 2, 0.0)
    assert record.surely_simulated  # a scripted person was shown what only a simulation knows
    assert record.spec() == DrawnPoint().env_spec


@pytest.mark.parametrize(
    ("name", "simulated"),
    [("so101/pick-cube", True), ("pusht/push-t", True), ("gym/Mine-v0", False)],
)
def test_our_own_simulations_are_drawn_while_a_person_drives(folder, name, simulated):
    record = replace(RunRecord.read(folder), env=name, operator="web")
    assert record.surely_simulated is simulated


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": {}}', '{"run": {"env": {}}}'])
def test_a_damaged_record_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match="config.json is damaged"):
        RunRecord.read(tmp_path)


def test_no_run_is_one_line(tmp_path):
    with pytest.raises(RunFolderError, match="it has no config.json or recording.json; "):
        RunRecord.read(tmp_path)
    with pytest.raises(RunFolderError, match="does not exist"):
        RunRecord.read(tmp_path / "nowhere")


def test_rows(archive, episodes):
    rows = archive.index()
    assert [row["episode"] for row in rows] == sorted(episodes)
    for row in rows:
        episode = episodes[row["episode"]]
        stats = episode.stats()
        assert row["kind"] == ("demonstration" if episode.is_demo else "training")
        assert row["success"] == episode.success
        assert (row["length"], row["human_steps"]) == (
            stats["length"],
            stats["intervention_steps"],
        )
        assert row["return"] == pytest.approx(stats["return"], abs=1e-3)
        assert row["human_share"] == pytest.approx(stats["intervention_rate"], abs=1e-3)


def test_steps_say_who_drove_and_why(archive, episodes):
    before = 0
    for number in sorted(episodes):
        episode, told = episodes[number], archive.steps(number)
        assert told["success"] == episode.success
        assert len(told["steps"]) == len(episode)
        for index, step in enumerate(told["steps"]):
            driven = bool(episode.frames["is_intervention"][index])
            assert step["driver"] == ("human" if driven else "policy")
            np.testing.assert_allclose(step["action"], episode.frames["action"][index], atol=1e-5)
            assert (step["human"] is None) == (not driven)
            if episode.is_demo:
                assert (step["why"], step["env_step"]) == ({}, 0)
                continue
            assert step["env_step"] == before + index + 1
            assert len(step["why"]["human_std"]) == len(step["why"]["human_mean"]) == 3
            multiplier, stds = step["why"]["lambda"], np.array(step["why"]["human_std"])
            expected = multiplier / (1 + multiplier) * (1 / stds**2).mean()
            assert step["why"]["imitation"] == pytest.approx(expected, rel=1e-3)
        before += 0 if episode.is_demo else len(episode)
    json.dumps(told)  # as it is: no NaN, no numpy


def test_steps_carry_what_the_coach_says_after_all_that_was_before(archive, episodes):
    helped = [e for e in episodes.values() if not e.is_demo and e.frames["is_intervention"].any()]
    wide = {f"human_std.{index}": np.full(len(helped[0]), 0.5) for index in range(3)}
    episode = replace(helped[0], diagnostics=helped[0].diagnostics | wide)
    entry = next(e for e in archive.library.entries() if e.episode_id == episode.episode_id)
    alone = [replace(entry, success=True, human_steps=0)] * ATTEMPTS
    for history, otherwise in (([], None), (alone, "stop")):
        steps = stored_steps(episode, archive.spec.action, 0, coach_after(history))
        for step in steps:
            kind = step["advice"] and step["advice"]["kind"]
            assert kind == ("disagree" if step["driver"] == "human" else otherwise)
        json.dumps(steps)


def test_pictures_are_those_of_the_episode(archive, episodes):
    number = max(episodes, key=lambda each: len(episodes[each]))
    episode, env = episodes[number], DrawnPoint()
    env.reset(seed=episode.seed)
    pictures = [env.render()]
    for action in episode.frames["action"]:
        env.step(action)
        pictures.append(env.render())
    length = len(episode)
    for step in (length, 0, 2, 1, length - 1, 2):  # forwards and backwards
        shown = np.asarray(Image.open(io.BytesIO(archive.frame(number, step, 0))))
        assert np.abs(shown.astype(int) - pictures[step]).mean() < 3.0
    assert np.abs(pictures[0].astype(int) - pictures[length]).mean() > 3.0
    for step in (-1, length + 1):
        with pytest.raises(DataError, match=f"episode {number} has {length} steps"):
            archive.frame(number, step, 0)
    with pytest.raises(DataError, match="there is no camera 1"):
        archive.frame(number, 0, 1)
    with pytest.raises(DataError, match="there is no episode 999"):
        archive.frame(999, 0, 0)


def test_pictures_that_are_kept_have_a_limit_in_bytes(archive, episodes, monkeypatch):
    number = max(episodes, key=lambda each: len(episodes[each]))
    first = archive.frame(number, 0, 0)
    monkeypatch.setattr("silri.console.stored.archive.FRAMES_BYTES", 3 * len(first))
    for step in range(len(episodes[number])):
        archive.frame(number, step, 0)
        kept = sum(len(data) for data in archive._frames.values())
        assert kept == archive._frames_bytes <= 3 * len(first)
    assert archive.frame(number, 0, 0) == first  # drawn again


def test_the_map_shows_every_state_and_who_drove(archive, episodes):
    told = archive.map()
    assert (told["axes"], told["of"]) == (["x", "y"], "imitation")
    places = np.concatenate([e.observations["state"][:-1, :2] for e in episodes.values()])
    np.testing.assert_allclose([point[:2] for point in told["points"]], places, atol=1e-5)
    driven = np.concatenate([e.frames["is_intervention"] for e in episodes.values()])
    assert [point[3] for point in told["points"]] == driven.astype(int).tolist()
    known = [point[2] is not None for point in told["points"]]
    assert known == [not e.is_demo for e in episodes.values() for _ in range(len(e))]
    assert archive.map() is told  # computed once


def test_curves_are_those_of_the_run(folder, episodes):
    record = RunRecord.read(folder)
    points = Curves.of(record, Library(record.episodes).entries()).points
    trained = [episode for episode in episodes.values() if not episode.is_demo]
    evaluations = [point for point in points if point["evaluation"] is not None]
    summary = json.loads((folder / "summary.json").read_text())
    assert [[p["env_step"], p["evaluation"]] for p in evaluations] == summary["evaluations"]
    assert len(points) == len(trained) + len(evaluations)
    alone = [e.success and not e.frames["is_intervention"].any() for e in trained]
    assert points[-1]["success"] == pytest.approx(np.mean(alone[-20:]), abs=1e-3)
    driven = sum(e.frames["is_intervention"].sum() for e in episodes.values())
    assert points[-1]["human_seconds"] == pytest.approx(0.1 * driven, abs=0.06)


def test_a_run_that_goes_on_is_seen_going_on(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    rows = sorted((tmp_path / "run/episodes/meta/episodes/chunk-000").iterdir())
    later = tmp_path / rows[-1].name
    rows[-1].rename(later)
    library = Library(tmp_path / "run" / "episodes")
    assert len(library.entries()) == len(rows) - 1
    later.rename(rows[-1])
    assert len(library.entries()) == len(rows)
    entry = library.entries()[-1]
    assert library.episode(entry.episode_id).seed == entry.seed
    data = tmp_path / "run/episodes/data/chunk-000" / rows[-1].name
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="does not match its checksum"):
        library.episode(entry.episode_id)


def test_without_a_scene_there_is_nothing_to_draw(folder):
    replay = Replay(folder, "never")
    hello, text = replay.hello()
    assert (hello["cameras"], text) == ([], "")
    assert (hello["mode"], hello["operator"], hello["steps"]) == ("replay", "steady", 24)
    assert hello["diagnostics"] == [
        *("lambda", "bound", "distance", "q_policy", "q_human"),
        *("imitation", "human_mean", "human_std"),
    ]
    with pytest.raises(DataError, match="there is no camera 1"):
        replay.archive.frame(0, 0, 0)


def test_a_scene_that_cannot_be_drawn_is_said(folder, monkeypatch):
    def broken(self):
        raise DataError("MuJoCo cannot draw here")

    monkeypatch.setattr(Mirror, "picture", broken)
    _, text = Replay(folder, "always").hello()
    assert text == "MuJoCo cannot draw here"


def test_a_run_without_a_policy_or_a_simulation_shows_what_it_can(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "policy")
    archive = Archive(RunRecord.read(tmp_path / "run"), None, None)
    assert actions_of(archive.spec.action)[0] == {"name": "x", "kind": "axis"}
    assert len(archive.map()["points"]) > 24


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (ActionSpec(4, (3,)), ["x", "y", "z", "gripper"]),
        (ActionSpec(7, (6,)), ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]),
        (ActionSpec(2), ["x", "y"]),
        (
            ActionSpec(14, (6, 13)),
            [
                *("x1", "y1", "z1", "roll1", "pitch1", "yaw1", "gripper 1"),
                *("x2", "y2", "z2", "roll2", "pitch2", "yaw2", "gripper 2"),
            ],
        ),
    ],
)
def test_actions_have_names(spec, names):
    described = actions_of(spec)
    assert [each["name"] for each in described] == names
    assert [i for i, each in enumerate(described) if each["kind"] == "gripper"] == [*spec.gripper]


def test_why_holds_only_what_the_agent_tells():
    spec = ActionSpec(3, (2,))
    assert why({}, spec) == {}
    assert why({"q_policy": float("nan"), "policy_std": 0.3}, spec) == {}
    told = why({"lambda": 1.0, "human_std.0": 0.5, "human_std.1": 0.25}, spec)
    assert told["imitation"] == pytest.approx(0.5 * (4 + 16) / 2)
    assert imitation(1.0, [0.0]) != imitation(1.0, [0.0])  # NaN: nobody is that sure
    assert diagnostics_of(["q_policy", "policy_std"]) == ["q_policy"]


def test_through_the_real_server(folder, episodes):
    replay = Replay(folder, "auto")
    served = Served(hello=None, archive=replay.archive)
    try:
        hello, _ = replay.hello()
        served.do(served.desk.open, hello, replay.points)
        status, _, body = served.get("/api/run")
        run = json.loads(body)
        assert (status, run["mode"], run["cameras"]) == (200, "replay", ["scene"])
        assert run["view"] == {"scene": [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]}
        assert run["summary"]["env_steps"] >= 24
        assert len(json.loads(served.get("/api/episodes")[2])) == len(episodes)
        assert json.loads(served.get("/api/episodes/0")[2])["success"] is True
        status, headers, body = served.get("/api/episodes/0/frames/1.jpg?camera=0")
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(body)).size == (64, 64)
        assert len(json.loads(served.get("/api/map")[2])["points"]) > 24
        for path, error in (
            ("/api/episodes/999", "there is no episode 999"),
            ("/api/episodes/0/frames/999.jpg", "episode 0 has"),
            ("/api/episodes/0/frames/0.jpg?camera=-1", "there is no camera"),
        ):
            status, _, body = served.get(path)
            assert status == 404
            assert error in json.loads(body)["error"]
    finally:
        served.close()


@pytest.mark.slow
def test_the_command(folder):
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGE.parent}:{PACKAGE.parents[1]}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "silri.cli.main", "console", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    line = process.stdout.readline()
    url = re.search(r"http://\S+", line)[0]
    base, _, token = url.partition("?token=")
    with urllib.request.urlopen(url) as answer:
        assert b"<!doctype html>" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(base + "?token=x")
    with urllib.request.urlopen(f"{base}api/episodes?token={token}") as answer:
        assert json.loads(answer.read())[0]["episode"] == 0
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["/nowhere"], "silri console: /nowhere is no run folder: it does not exist"),
        (["{run}", "--host", "192.0.2.9"], "could drive the robot: give --token-file FILE"),
    ],
)
def test_what_cannot_be_shown_is_one_line(folder, capsys, arguments, error):
    arguments = [each.replace("{run}", str(folder)) for each in arguments]
    assert main(["console", *arguments]) == 2
    out, err = capsys.readouterr()
    assert error in err
    assert err.count("\n") == 1
    assert out == ""
