"""Robots on other machines in the bar: what their pages say, how it comes here, and silence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time

import pytest
from websockets.sync.client import connect

from silri.console.board import Board
from silri.console.elsewhere import Elsewhere, report
from silri.core.clock import FakeClock
from silri.runtime.cluster.paths import SpoolPaths, read_record, write_record
from tests.console.served import Client
from tests.fakes.envs.drawn import NAME
from tests.runtime.cluster.processes import Place, free_ports

PAGE = {
    "phase": "human",
    "holder": "page-3",
    "ready": True,
    "success": 0.25,
    "coach": None,
    "address": "http://10.0.0.7:8420/",
}
SHOWN = {**PAGE, "name": "arm", "host": "cell-2", "reachable": True, "silent": 0}


class Heard:
    """The hub's record, and whoever reads it on the machine ``cell-1``."""

    def __init__(self, folder):
        self.path, self.clock = folder / "robots.json", FakeClock(100.0)
        self.elsewhere = Elsewhere(self.path, self.clock.now, "cell-1")

    def says(self, *, silent_s=0.2, host="cell-2", name="arm", **page):
        robot = {"host": host, "silent_s": silent_s, "page": {**PAGE, **page}}
        write_record(self.path, {"robots": {name: robot}})

    def look(self, seconds=1.0):
        self.clock.advance(seconds)
        return self.elsewhere.robots({"robot-1"})


@pytest.fixture
def heard(tmp_path):
    heard = Heard(tmp_path)
    heard.says()
    assert heard.look() == []  # it may be of an earlier session
    heard.says()
    return heard


def test_a_robot_is_shown_as_its_own_page_says(heard):
    assert heard.look() == [SHOWN]
    heard.says(phase="paused", holder=None, success=None, coach="take_over")
    (shown,) = heard.look()
    assert (shown["phase"], shown["success"], shown["coach"]) == ("paused", None, "take_over")


def test_whoever_is_not_heard_of_is_said_to_be_silent(heard):
    assert heard.look()[0]["silent"] == 0
    heard.says(silent_s=7.0)  # the hub does not hear the robot
    assert heard.look()[0]["silent"] == 5
    heard.says()
    assert heard.look()[0]["silent"] == 0
    assert heard.look(60.0)[0]["silent"] == 60  # the hub itself is not heard of


def test_the_consoles_own_robots_and_those_without_a_page_are_left_out(heard):
    heard.says(name="robot-1")
    assert heard.look() == []
    write_record(heard.path, {"robots": {"arm": {"host": "cell-2", "silent_s": 0, "page": None}}})
    assert heard.look() == []
    heard.path.write_text("no JSON")
    assert heard.look() == []


@pytest.mark.parametrize(
    "address",
    [
        *("javascript:alert(1)", "https://10.0.0.7:1/", "http://evil.example:80/", 5, None),
        "http://10.0.0.7:8420/?token=secret",
        "http://10.0.0.7:8420/\n",
    ],
)
def test_no_other_address_is_linked(heard, address):
    heard.says(address=address)
    assert heard.look() == []


def test_what_is_no_word_of_a_robot_is_not_shown(heard):
    heard.says(phase="<b>", holder=7, success=float("nan"), coach=["x"], host="a b", ready=1)
    (shown,) = heard.look()
    expected = {"phase": "away", "holder": None, "success": 0.0, "coach": None, "ready": False}
    assert {key: shown[key] for key in expected} == expected
    assert shown["host"] == "another machine"


def test_a_page_on_anothers_loopback_is_not_linked_and_on_ours_it_is(heard):
    heard.says(address="http://127.0.0.1:8420/")
    assert heard.look()[0]["reachable"] is False
    heard.says(address="http://127.0.0.1:8420/", host="cell-1")
    assert heard.look()[0]["reachable"] is True


class Robot:
    """A robot of the console."""

    def __init__(self):
        self.desk, self.archive, self.told = self, None, []

    def status(self):
        return {"phase": "autonomous"}

    def announce(self, message):
        self.told.append(message)


def test_pages_are_told_when_a_second_robot_comes_and_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("silri.console.board.PERIOD_S", 0.01)
    monkeypatch.setattr("silri.console.elsewhere.PERIOD_S", 0.0)
    heard, robot = Heard(tmp_path), Robot()
    board = Board({"robot-1": robot}, heard.elsewhere)

    async def told(count):
        while len(robot.told) < count:
            await asyncio.sleep(0.01)

    async def follow():
        following = asyncio.create_task(board.follow())
        heard.says()
        await asyncio.sleep(0.05)
        assert robot.told == []
        assert board.first() is None  # one robot needs no bar
        heard.says()
        await asyncio.wait_for(told(1), 5)
        write_record(heard.path, {"robots": {}})
        await asyncio.wait_for(told(2), 5)
        following.cancel()

    asyncio.run(follow())
    names = [[each["name"] for each in message["robots"]] for message in robot.told]
    assert names == [["robot-1", "arm"], ["robot-1"]]


def test_a_console_leaves_word_for_the_uplink_and_no_token(tmp_path):
    async def leave():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(report(tmp_path, "http://10.0.0.7:8420/", lambda: {"x": 1}), 0.1)

    before = time.monotonic()
    asyncio.run(leave())
    told = read_record(SpoolPaths(tmp_path).told)
    assert before <= told.pop("beat") <= time.monotonic()
    assert told == {"x": 1, "address": "http://10.0.0.7:8420/"}


# -- the whole way -------------------------------------------------------------------------------

TASK = [
    *("--agent", "tests.fakes.models.agent:TellingAgent", "--env", NAME, "--operator", "web"),
    *("--operator.port", "0", "--data.demos", "1", "--steps", "100000"),
    *("--agent.batch-size", "8", "--env.max-episode-steps", "40", "--evaluation.every", "0"),
    *("--runtime.rate-hz", "10", "--runtime.max-lag", "0", "--runtime.tensorboard", "False"),
]


def address_of(command):
    command.says("teach the robot at")
    return re.search(r"http://\S+", command.text)[0]


@pytest.mark.slow
@pytest.mark.alone
def test_a_robot_with_another_supervisor_and_another_host_is_in_the_bar_of_the_learners_page():
    place = Place()
    try:
        port, ray_port = free_ports()
        ports = ("--robots", "1", "--port", port, "--ray-port", ray_port)
        learner = place.silri("learner", *TASK, "--out", "run", *ports)
        url = address_of(learner)
        learner.says("robots can connect")
        flags = ("--name", "arm", "--spool", place.path / "spool")
        page = ("--page-host", "127.0.0.2", "--page-port", "0")
        actor = place.silri("actor", "--address", f"127.0.0.1:{port}", *flags, *page)
        its, _, token = address_of(actor).partition("?token=")
        assert its.startswith("http://127.0.0.2:")
        with Client(connect(url.replace("http", "ws").replace("/?", "/ws?"), max_size=None)) as me:

            def until(holds, seconds=120.0):
                ends = time.monotonic() + seconds
                while True:
                    robots = me.hear("robots", ends - time.monotonic())["robots"]
                    arm = next((robot for robot in robots if robot["name"] == "arm"), None)
                    if arm is not None and holds(arm):
                        return robots, arm

            robots, arm = until(lambda arm: arm["ready"])
            assert [robot["name"] for robot in robots] == ["robot-1", "arm"]
            assert (arm["address"], arm["reachable"], arm["silent"]) == (its, True, 0)
            assert arm["phase"] in ("standby", "waiting")
            assert token not in json.dumps(robots)
            actor.send(signal.SIGTERM)
            actor.wait(130, 60)
            until(lambda arm: arm["silent"] >= 5, 30)
    finally:
        place.clean()
