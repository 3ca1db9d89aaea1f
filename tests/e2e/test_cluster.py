"""Learner and robots in processes of their own, with real Ray, as a person would start them."""

from __future__ import annotations

import json
import signal
import time

import pytest

from silri.runtime.cluster.paths import LivePaths, SpoolPaths, read_record
from silri.store.safety.lock import FolderLock
from tests.runtime.cluster.processes import (
    TASK,
    Place,
    Progress,
    actor,
    assert_nothing_lost,
    learner,
    local_spools,
    report,
    robot_of,
    stopped,
    stored,
    wait_until,
)

# One cluster at a time: `make slow` sends a group to one worker.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

ENDLESS = ("--steps", "1000000")


@pytest.fixture
def place():
    made = Place()
    yield made
    made.clean()


def train(place, *more, robots=2):
    return place.silri(
        *("train", "--runtime", "cluster", "--robots", robots, *TASK, "--out", "run", *more)
    )


def lines_with(command, words):
    return [line for line in command.text.splitlines() if words in line]


# -- one machine -----------------------------------------------------------------------------------


def test_train_with_two_robots(place):
    command, run = train(place, "--steps", 200, "--evaluation.every", 100), place.path / "run"
    took = command.wait()
    assert place.nobody_within(10) == []
    report(f"a run took {took:.0f} s")

    summary = json.loads((run / "summary.json").read_text())
    assert summary["completed"] is True
    assert summary["env_steps"] >= 200
    # Robots record the demonstrations and evaluate.
    assert summary["demo_episodes"] == 2
    assert len(summary["evaluations"]) >= 2
    assert summary["success_rate"] is not None
    assert {robot_of(spool) for spool in stored(run)} == {"robot-1", "robot-2"}
    assert_nothing_lost(run, local_spools(run, 2))
    FolderLock(run / "episodes").release()
    place.silri("data", "check", "run").wait()
    assert (run / "policy/policy.safetensors").is_file()
    assert not LivePaths(run).ray.exists()

    again = place.silri("train", "--resume", "run", "--runtime", "cluster", "--robots", 2)
    again.wait(seconds=120)
    assert json.loads((run / "summary.json").read_text())["completed"] is True
    assert place.nobody_within(10) == []


def test_nobody_listens_to_other_machines(place):
    command, run = train(place, *ENDLESS), place.path / "run"
    command.says("robots can connect")
    progress = Progress(run)
    wait_until(lambda: progress.complete(robots=2))
    places = place.listening()
    assert places
    assert {address for address, _, _ in places} <= {"127.0.0.1", "::1"}, places
    assert "Traceback" not in command.text
    assert "WARNING" not in command.text


@pytest.mark.parametrize("moment", ["starting", "training"])
def test_ctrl_c(place, moment):
    command, run = train(place, *ENDLESS), place.path / "run"
    if moment == "training":
        command.says("robots can connect")
        progress = Progress(run)
        wait_until(lambda: progress.complete(robots=2))
    else:
        wait_until(lambda: place.members("gcs"))
    command.send(signal.SIGINT)
    assert command.wait(130) < 30
    assert place.nobody_within(5) == []
    before = sum(map(len, stored(run).values())) if moment == "training" else 0

    again = place.silri("train", "--resume", "run", "--runtime", "cluster", "--robots", 2)
    progress = Progress(run)
    wait_until(lambda: progress.complete(robots=2), what=lambda: again.text)
    again.send(signal.SIGINT)
    again.wait(130)
    assert sum(map(len, stored(run).values())) > before
    assert_nothing_lost(run, local_spools(run, 2))
    assert place.nobody_within(5) == []


def test_nobody_outlives_a_killed_supervisor(place):
    command, run = train(place, *ENDLESS), place.path / "run"
    command.says("robots can connect")
    progress = Progress(run)
    wait_until(lambda: progress.complete(robots=2))
    command.kill()
    assert place.nobody_within(30) == []


def test_two_supervisors_in_one_folder(place):
    command = train(place, *ENDLESS)
    wait_until(lambda: place.members("gcs"))
    second = place.silri("train", "--resume", "run", "--runtime", "cluster", "--robots", 2)
    second.wait(2)
    assert f"in use by process {command.process.pid}" in second.text
    command.says("robots can connect")  # it did not notice


def test_an_uplink_that_hangs_is_replaced(place):
    command, run = train(place, *ENDLESS), place.path / "run"
    progress = Progress(run)
    wait_until(lambda: progress.complete(robots=2))
    hanging = place.members("uplink")[0]
    name = hanging.cmdline()[hanging.cmdline().index("--robot") + 1]
    paths = SpoolPaths(local_spools(run, 2)[name])
    driven = read_record(paths.control)["episodes"]
    loop = read_record(paths.control)["pid"]
    with stopped(hanging):
        took = command.says(f"{name}: uplink shows no sign of life")
        wait_until(lambda: not hanging.is_running(), 30)
    again = Progress(run)
    wait_until(lambda: name in again.look().robots)
    control = read_record(paths.control)
    assert control["pid"] == loop
    assert control["episodes"] > driven + took / 3  # an episode takes about a second
    report(f"noticed after {took:.0f} s")


# -- two machines ----------------------------------------------------------------------------------


def test_actors_join_leave_and_are_missed(place):
    command, address = learner(place, *ENDLESS)
    command.says("robots can connect")
    left = actor(place, address, "left")
    command.says("robot 'left' on")
    progress = Progress(place.path / "run")
    wait_until(lambda: "left" in progress.look().robots)

    twin = place.silri(
        *("actor", "--address", address, "--name", "left", "--spool", place.path / "twin")
    )
    twin.says("a robot 'left' on")
    assert "is connected already; choose another --name" in twin.text
    assert len(lines_with(twin, "is connected already")) == 1  # said once, tried again
    twin.send(signal.SIGINT)
    twin.wait(130)

    actor(place, address, "right")
    command.says("robot 'right' on", 60)
    wait_until(lambda: "right" in progress.look().robots)

    left.kill()
    took = command.says("robot 'left' on", 60)
    took = command.says("is missing: not heard of for", 60)
    report(f"missed after {took:.0f} s")
    assert len(lines_with(command, "robot 'left'")) >= 2
    seen = len(lines_with(command, "is connected"))
    actor(place, address, "left")
    wait_until(lambda: len(lines_with(command, "is connected")) > seen)
    again = Progress(place.path / "run")
    wait_until(lambda: {"left", "right"} <= again.look().robots)
    numbers = stored(place.path / "run")
    assert all(found == list(range(len(found))) for found in numbers.values()), numbers
    command.send(signal.SIGINT)
    command.wait(130)


def test_a_wrong_token(place):
    command, address = learner(place, *ENDLESS)
    command.says("robots can connect")
    wrong = place.path / "wrong"
    wrong.write_text("0" * 64 + "\n")
    wrong.chmod(0o600)
    robot = actor(place, address, "arm", "--token", wrong)
    robot.says("refuses the token", 60)
    line = lines_with(robot, "refuses the token")
    assert len(line) == 1, robot.text
    assert "copy the learner's ~/.silri/token" in line[0]
    # It goes on trying: with the right one it is let in.
    wrong.write_text((place.path / "home/.silri/token").read_text())
    robot.says("robot 'arm' is connected", 60)
    assert "Traceback" not in robot.text


def test_no_token(place):
    robot = actor(place, "127.0.0.1:10001", "arm")
    robot.wait(2)
    assert "there is no token at" in robot.text
    assert "scp LEARNER:.silri/token" in robot.text


def test_no_learner_without_authentication(place):
    command, _ = learner(place, *ENDLESS, RAY_AUTH_MODE="disabled")
    seen = set()
    while command.process.poll() is None:
        seen |= place.listening()
        time.sleep(0.05)
    command.wait(2)
    assert seen == set()
    assert "RAY_AUTH_MODE=disabled turns authentication off" in command.text
    assert not (place.path / "run").exists()
