"""The whole way: `silri train --operator web` in a process, a scripted person at its WebSocket."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from silri.console.stored.replay import Replay
from silri.store.dataset import read_dataset
from tests.console.person import Person
from tests.fakes.envs.drawn import NAME, DrawnPoint
from tests.fakes.envs.point import FakeEnvConfig
from tests.source import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ARGUMENTS = [
    *("--agent", "tests.fakes.models.agent:TellingAgent", "--env", NAME, "--operator", "web"),
    *("--operator.port", "0", "--data.demos", "2", "--steps", "400", "--agent.batch-size", "8"),
    *("--env.max-episode-steps", "12", "--evaluation.every", "0", "--runtime.tensorboard", "False"),
]

RECORDING = [
    *("--env", NAME, "--env.max-episode-steps", "12", "--operator", "web"),
    *("--operator.port", "0", "--episodes", "2"),
]


class Run:
    """The command, and the address that it prints."""

    def __init__(self, folder, *more, verb="train"):
        self.folder = folder
        given = ARGUMENTS if verb == "train" else RECORDING
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "silri.cli.main", verb, *given, "--out", folder, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder.parent,
            env=environment,
        )
        self.lines = []
        while not self.lines or "teach the robot at" not in self.lines[-1]:
            self.lines.append(self.process.stdout.readline())
            assert self.lines[-1], "".join(self.lines)
        self.url = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", self.lines[-1])[0]

    def end(self, number=None):
        """Exit code and everything that was printed."""
        if number is not None:
            self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, "".join(self.lines) + out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def in_a_loop(told):
    """In a thread of its own: a browser's tests leave a running loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, told).result()


def right(env):
    """To the goal, gently: what a page knows is a step old. The gripper is closed all along."""
    action = 0.5 * env.privileged().expert_action
    action[3] = 1.0
    return env.env_spec.action.snap(action)


def test_a_person_teaches_through_the_websocket(tmp_path):
    folder = tmp_path / "run"
    with Run(folder) as run:
        in_a_loop(teach(run))
        code, out = run.end()
    assert code == 130, out
    assert "stopped; everything is saved" in out
    assert (folder / "console.log").read_text() == ""
    config = json.loads((folder / "config.json").read_text())["run"]
    assert config["runtime"]["rate_hz"] == 20.0  # the operator's preset
    assert config["data"]["demos"] == 2  # what was typed wins
    check_stored(folder)


NOTES = {}  # what the person knows of its run, for what is stored to be compared with


async def teach(run):
    env = DrawnPoint("one-arm", FakeEnvConfig(max_episode_steps=12))
    async with Person(run.url, env, right=right) as person:
        hello = (await person.until(lambda: person.of("hello"), 60))[0]
        assert (hello["mode"], hello["operator"], hello["rate_hz"]) == ("live", "web", 20.0)
        assert hello["cameras"] == ["scene"]
        await person.until(lambda: person.of("episode"))
        await person.until(lambda: person.frames)  # what there is to see before anybody moves
        assert person.frames[0][1] == 0
        await asyncio.sleep(0.5)
        assert person.control["phase"] == "waiting"
        assert person.of("step") == []  # the robot waits
        for _ in range(20):
            await person.drive()
            if sum(end["success"] for end in person.of("end")) == 2:
                break
        await person.until(lambda: person.of("episode")[-1]["kind"] == "training", 60)
        await person.until(lambda: person.control["phase"] == "autonomous")
        await person.until(lambda: len(person.of("step")) > 20)
        NOTES["by itself"] = person.episode
        await person.until(lambda: person.episode > NOTES["by itself"])
        await hold_through_an_episode(person)
        await freeze_while_driving(person)
        await label(person)
        await person.command("stop")
        await person.until(lambda: person.control["phase"] == "ended", 30)
        NOTES["steps"] = person.of("step")
        NOTES["sent"] = person.inputs
        NOTES["pictures"] = person.of("picture")
        NOTES["delays"] = person.delays


async def hold_through_an_episode(person):
    """Take over in the next episode, from somewhere to its end."""
    await person.until(lambda: person.heard[-1]["type"] == "step")
    NOTES["driven"] = person.episode
    before = len(person.of("end"))
    await person.drive()
    assert len(person.of("end")) == before + 1
    assert person.of("end")[-1]["human_steps"] > 0


async def freeze_while_driving(person):
    """The page stops in motion: the robot stands still until it is back."""
    number = person.episode
    while person.episode == number or person.control["phase"] != "human":
        await person.input([0.01, 0, 0, 1])
        await asyncio.sleep(0.02)
    frozen = time.monotonic()
    await person.until(lambda: person.control["phase"] == "paused", 2)
    NOTES["paused after"] = time.monotonic() - frozen
    assert person.control["reason"] == f"no input from {person.of('hello')[0]['you']} for 250 ms"
    steps = len(person.of("step"))
    await asyncio.sleep(0.4)
    assert len(person.of("step")) - steps <= 1  # the last one may have been on its way
    await person.input([0.01, 0, 0, 1])
    await person.until(lambda: person.control["phase"] == "human")
    await person.release()
    await person.until(lambda: person.control["phase"] == "autonomous")


async def label(person):
    """An episode is a success because the person says so; a late label is nobody's."""
    number = person.episode
    await person.until(lambda: person.episode > number and person.heard[-1]["type"] == "step")
    NOTES["labelled"] = person.episode
    await person.command("success", NOTES["labelled"])
    end = await person.until(
        lambda: next((e for e in person.of("end") if e["episode"] == NOTES["labelled"]), None)
    )
    assert end["success"]
    await person.until(lambda: person.episode > NOTES["labelled"])
    await person.command("failure", NOTES["labelled"])
    refused = await person.until(lambda: person.of("refused"))
    assert (
        refused[-1]["text"] == f"'failure' is refused: episode {NOTES['labelled']} is not running"
    )


def check_stored(folder):
    episodes = {episode.episode_id: episode for episode in read_dataset(folder / "episodes")}
    demos = [episode for episode in episodes.values() if episode.is_demo]
    assert len(demos) == 2
    sent = {tuple(np.float32(axes).tolist()) for axes in NOTES["sent"]}
    for episode in episodes.values():
        driven = episode.frames["is_intervention"]
        if episode.is_demo:
            assert driven.all()
            assert episode.success
            np.testing.assert_array_equal(episode.frames["action"], episode.frames["human_action"])
        for action in episode.frames["human_action"][driven]:
            assert tuple(action.tolist()) in sent  # what the person did, and nothing else
        assert np.isnan(episode.frames["human_action"][~driven]).all()
        assert episode.operator == "web"
    assert not episodes[NOTES["by itself"]].frames["is_intervention"].any()
    flags = episodes[NOTES["driven"]].frames["is_intervention"]
    first = int(flags.argmax())
    assert flags[first:].all()  # from the takeover to the end
    labelled = episodes[NOTES["labelled"]]
    assert labelled.success
    assert labelled.frames["terminated"][-1]
    assert len(labelled) < 12
    # What the page was told is what is stored.
    told = {(step["episode"], step["step"]): step for step in NOTES["steps"]}
    for number, episode in episodes.items():
        if episode.is_demo:
            continue  # failed attempts have the same number
        for step in range(len(episode)):
            message = told[number, step]
            np.testing.assert_allclose(message["action"], episode.frames["action"][step], atol=1e-5)
            assert (message["driver"] == "human") == episode.frames["is_intervention"][step]
    assert {picture["picture"] for picture in NOTES["pictures"]} == {"exact"}
    assert NOTES["paused after"] < 0.3
    assert len(NOTES["delays"]) > 5
    assert 0.0 < np.median(NOTES["delays"]) < 0.2


def test_a_person_records_demonstrations_and_looks_at_them(tmp_path):
    folder = tmp_path / "demos"
    with Run(folder, verb="record") as run:
        in_a_loop(record(run))
        code, out = run.end()
    assert code == 0, out
    assert f"2 demonstrations in {folder}" in out
    episodes = read_dataset(folder)
    assert [episode.success for episode in episodes] == [True, True]
    assert all(episode.frames["is_intervention"].all() for episode in episodes)
    replay = Replay(folder, "always")
    assert [entry["kind"] for entry in replay.archive.index()] == ["demonstration"] * 2


async def record(run):
    env = DrawnPoint("one-arm", FakeEnvConfig(max_episode_steps=12))
    async with Person(run.url, env, right=right) as person:
        await person.until(lambda: person.of("episode"), 60)
        await asyncio.sleep(0.3)
        assert person.control["phase"] == "waiting"
        for _ in range(20):
            await person.drive()
            if sum(end["success"] for end in person.of("end")) == 2:
                break
        await person.until(lambda: person.control["phase"] == "ended", 30)


def child_of(pid):
    """Of the run: its console, once it has been started."""
    ends = time.monotonic() + 30
    while not (found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return Path("/proc", *found)


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_nobody_comes_and_it_ends_cleanly(tmp_path, number):
    with Run(tmp_path / "run") as run:
        child = child_of(run.process.pid)
        time.sleep(1.0)
        assert run.process.poll() is None
        code, out = run.end(number)
    assert code == 130, out
    assert f"Go on: silri train --resume {tmp_path / 'run'}" in out
    assert list((tmp_path / "run" / "episodes").rglob("*.parquet")) == []
    assert not child.exists()


def test_a_run_that_is_killed_takes_its_console_with_it(tmp_path):
    with Run(tmp_path / "run") as run:
        child = child_of(run.process.pid)
        run.end(signal.SIGKILL)
    ends = time.monotonic() + 20
    while child.exists():
        assert time.monotonic() < ends
        time.sleep(0.05)
