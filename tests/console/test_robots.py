"""Several robots behind one page: which is meant, what the others are told, a loop that is back."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed

from silri.configs.serialize import FORMAT, to_json
from silri.console.app import serve
from silri.console.desk import Desk
from silri.console.feed import Feed
from silri.console.line import Line
from silri.console.link import RunLink
from silri.console.server import Stored
from silri.console.tell import Teller
from silri.core.clock import FakeClock
from silri.core.events import EpisodeBegan, EpisodeEnded, RobotWaits, RunBegan
from silri.runtime.cluster.paths import SpoolPaths, write_record
from tests.console.served import HELLO, Served
from tests.fakes.envs.point import PointMass
from tests.fakes.runs import tiny_run
from tests.runtime.cluster.processes import wait_until

UNKNOWN = "there is no robot 'robot-9' here; there is robot-1, robot-2"


class Two(Served):
    """Two robots; what would go to the second is in ``to_second``."""

    def __init__(self):
        self.to_second = []
        clock = FakeClock(100.0)
        self.second = Desk(self.to_second.append, lambda camera: None, clock.now)
        super().__init__(others={"robot-2": Stored(self.second, None)}, now=clock.now)
        self.do(self.second.open, HELLO | {"run": "second"}, list)


@pytest.fixture
def two():
    served = Two()
    yield served
    served.close()


def test_each_page_shows_and_drives_the_robot_it_names(two):
    with two.page() as first, two.page(robot="robot-2") as second:
        assert [r["name"] for r in first.hear("robots")["robots"]] == ["robot-1", "robot-2"]
        assert first.hear("hello")["run"] == "run"
        assert second.hear("hello")["run"] == "second"
        second.input()
        second.hear("pong")
        assert two.to_run == []
        assert two.to_second[-1]["kind"] == "input"
        first.input()  # the other robot has its own driver
        first.hear("pong")
        assert len(two.to_run) == 1


def test_leaving_a_robot_lets_it_go_and_leaves_the_other_alone(two):
    with two.page(robot="robot-2") as other:
        other.input()
        other.hear("pong")
        with two.page() as page:
            page.input()
            page.input((0, 0, 0, 0), hold=False)  # what a page says when it switches
            page.hear("pong")
        wait_until(lambda: two.to_run[-1]["kind"] == "lost", 10)
        kinds = [(m["kind"], m.get("hold")) for m in two.to_run]
        assert kinds == [("input", True), ("input", False), ("lost", None)]
        assert [m["kind"] for m in two.to_second] == ["input"]


class HungUp:
    """A WebSocket that takes nothing more, while what came last is still to be read."""

    def __init__(self, *messages):
        self.messages = [json.dumps(each) for each in messages]

    async def send_text(self, text):
        raise WebSocketDisconnect(1006)

    async def receive(self):
        await asyncio.sleep(0.01)
        if not self.messages:
            return {"type": "websocket.disconnect"}
        return {"type": "websocket.receive", "text": self.messages.pop(0)}


def test_what_a_page_says_last_is_heard(two):
    """It lets go and closes at once, while the server is about to write to it."""
    axes = {"time": 0, "axes": [0, 0, 0, 0]}
    drives = {"type": "input", "sequence": 1, "hold": True, **axes}
    socket = HungUp(drives, drives | {"sequence": 2, "hold": False})
    asyncio.run_coroutine_threadsafe(serve(two.desk, two.console.board, socket), two.loop).result()
    assert [(m["kind"], m.get("hold")) for m in two.to_run] == [
        ("input", True),
        ("input", False),
        ("lost", None),
    ]


def test_a_robot_that_is_not_here_is_named(two):
    status, _, body = two.get("/api/episodes?robot=robot-9")
    assert (status, json.loads(body)) == (404, {"error": UNKNOWN})
    assert two.get("/api/episodes?robot=robot-9", token="wrong")[2] == b"Not Found"
    with two.page(robot="robot-9") as page:
        gone = page.hear("gone")
        assert gone["text"] == UNKNOWN
        assert [robot["name"] for robot in gone["robots"]] == ["robot-1", "robot-2"]
        with pytest.raises(ConnectionClosed) as closed:
            page.hear("hello")
        assert closed.value.rcvd.code == 4404
    status, _, body = two.get(f"/api/run?robot={'x' * 2000}")
    assert status == 404
    assert len(body) < 200


def test_what_a_robot_that_gets_ready_has_not_yet_is_said(two):
    status, _, body = two.get("/api/episodes?robot=robot-2")
    assert (status, json.loads(body)) == (404, {"error": "the console gets ready"})


def test_every_page_is_told_of_all_robots(two):
    """Who drives, how well it does, and whether the coach asks for somebody."""
    with two.page(robot="robot-2") as page:
        two.do(two.desk.phase, "autonomous", "")
        step = {"type": "step", "advice": {"kind": "take_over", "why": "it is stuck"}}
        two.do(two.desk.say, step)
        two.do(lambda: asyncio.ensure_future(two.console.board.follow()))
        first, second = page.hear("robots")["robots"]
        expected = {"phase": "autonomous", "holder": None, "ready": True, "success": 0.5}
        while first.pop("coach") is None:
            first, second = page.hear("robots")["robots"]
        assert first == {"name": "robot-1", **expected}
        assert (second["phase"], second["success"], second["coach"]) == ("waiting", None, None)
        two.do(two.desk.phase, "paused", "")  # whoever stands still needs no advice
        assert page.hear("robots")["robots"][0]["coach"] is None
        assert page.silent("robots", 0.6)  # only what is new


# -- one robot's loop dies, and another one comes -------------------------------------------------


class Loop:
    """What the operator of a control loop is to its console: a line, and what is told on it."""

    def __init__(self):
        self.heard, self.connected = [], 0
        self.link = RunLink("secret", self.heard.append, self._on_connected)
        self.teller = Teller(self.link.send)

    def _on_connected(self):
        self.connected += 1


def spool_of(folder):
    """A spool that knows its run."""
    setup = {"format": FORMAT, "run": to_json(tiny_run())}
    write_record(SpoolPaths(folder).setup, setup)
    return folder


async def until(holds):
    ends = asyncio.get_running_loop().time() + 10
    while not (found := holds()):
        assert asyncio.get_running_loop().time() < ends
        await asyncio.sleep(0.01)
    return found


def test_the_page_of_a_loop_that_has_died_is_the_page_of_the_next(tmp_path):
    asyncio.run(two_loops(spool_of(tmp_path)))


async def two_loops(spool):
    lines: list[Line | None] = [None]
    page = None
    feed = Feed("arm", lambda: lines[0], FakeClock().now, stops="robot")
    following = asyncio.create_task(feed.follow())
    spec = PointMass().env_spec
    try:
        for number in (0, 1):
            loop = Loop()
            loop.teller.run(RunBegan(str(spool), spec, (), True, None), drawn=False)
            loop.teller.tell(RobotWaits(0, "the robot gets ready"))
            lines[0] = Line(loop.link.port, "secret")
            await until(lambda: feed.desk.hello is not None)
            await until(lambda: feed.desk.phase_now == "standby")
            page = page or feed.desk.come()
            state = {"state": np.zeros(4, np.float32)}
            loop.teller.tell(EpisodeBegan(0, number, "training", 5, "reach", state))
            loop.teller.tell(EpisodeEnded(7, number, "training", "finished", success=True))
            loop.teller.phase("autonomous", "")
            await until(lambda: feed.desk.phase_now == "autonomous")
            loop.link.close()
            await until(lambda: feed.desk.phase_now == "away")
            told = [json.loads(text) for text in await page.news()]
            assert told[-1]["reason"] == "its control loop is not there; it is started again"
        # Whoever connects knows the robot, what its own page says of stopping, and its part.
        hello = feed.desk.hello
        assert (hello["robot"], hello["stops"], hello["part"]) == ("arm", "robot", True)
        assert (hello["run"], hello["steps"]) == (spool.name, 0)
        assert len(feed._curves.points) == 2  # they go on, though the loop counts from 0 again
    finally:
        following.cancel()
        feed.close()
