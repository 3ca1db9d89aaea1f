"""`silri learner --operator web` there, `silri actor` here: the page is where the robot is."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import time
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from silri.runtime.cluster.paths import SpoolPaths, read_record
from silri.store.dataset import read_dataset
from tests.console.served import Client
from tests.fakes.envs.drawn import NAME
from tests.runtime.cluster.processes import Place, free_ports, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]
TASK = [
    *("--agent", "tests.fakes.models.agent:TellingAgent", "--env", NAME, "--operator", "web"),
    # Of the learner's machine, and nothing to the robot's.
    *("--operator.host", "203.0.113.7", "--data.demos", "1", "--steps", "100000"),
    *("--agent.batch-size", "8", "--env.max-episode-steps", "40", "--evaluation.every", "0"),
    *("--runtime.rate-hz", "10", "--runtime.max-lag", "0", "--runtime.tensorboard", "False"),
]
LONG = 120.0


@pytest.fixture(scope="module")
def place():
    place = Place()
    yield place
    place.clean()


@pytest.fixture(scope="module")
def learner(place):
    """The command, and its address for robots."""
    port, ray_port = free_ports()
    ports = ("--port", port, "--ray-port", ray_port)
    command = place.silri("learner", *TASK, "--out", "run", *ports)
    command.says("robots can connect")
    return command, f"127.0.0.1:{port}"


def actor(place, address):
    """The command, and the address of its page."""
    flags = ("--name", "arm", "--spool", place.path / "spool", "--page-port", "0")
    command = place.silri("actor", "--address", address, *flags)
    command.says("teach the robot at")
    return command, re.search(r"http://\S+", command.text)[0]


class Page(Client):
    """A WebSocket that remembers who drives."""

    def __init__(self, url):
        super().__init__(connect(url.replace("http", "ws").replace("/?", "/ws?"), max_size=None))

    def phase(self, *wanted, seconds=LONG):
        """Wait for one of these; the control message."""
        ends = time.monotonic() + seconds
        while (control := self.hear("control", ends - time.monotonic()))["phase"] not in wanted:
            pass
        return control

    def drive(self, seconds, *, then=True):
        """To the right, with 20 inputs a second; ``then`` let go."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.input((0.3, 0, 0, -1))
            time.sleep(0.05)
        if then:
            self.input((0, 0, 0, 0), hold=False)


def get(url, path, token=True):
    where = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(where.netloc, timeout=30)) as connection:
        connection.request("GET", f"{path}?{where.query if token else 'token=wrong'}")
        response = connection.getresponse()
        return response.status, response.read()


@pytest.fixture(scope="module")
def robot(place, learner):
    return actor(place, learner[1])


def test_a_demonstration_and_a_takeover_through_the_robots_own_page(place, robot):
    _, url = robot
    assert get(url, "/", token=False) == (404, b"Not Found")
    with Page(url) as page:
        hello = page.hear("hello", LONG)
        assert (hello["robot"], hello["stops"], hello["part"]) == ("arm", "robot", True)
        page.phase("waiting")
        page.drive(1.0, then=False)
        page.say("command", command="success", episode=0)
        assert page.hear("end")["success"]
        page.input((0, 0, 0, 0), hold=False)
        page.phase("autonomous")
        page.drive(1.0, then=False)
        page.phase("human")
        silent = time.monotonic()
        paused = page.phase("paused", seconds=5)  # nobody is heard any more
        assert time.monotonic() - silent < 1.5
        assert re.fullmatch(r"no input from page-\d+ for 250 ms", paused["reason"])
        page.input((0, 0, 0, 0), hold=False)
        page.phase("autonomous")
        end = page.hear("end", LONG)
        assert end["human_steps"] > 0
    wait_until(lambda: len(read_dataset(place.path / "run" / "episodes")) >= 2, LONG)
    demo, helped = read_dataset(place.path / "run" / "episodes")[:2]
    assert demo.is_demo
    assert demo.success
    assert helped.operator == "web"
    assert helped.frames["is_intervention"].sum() == end["human_steps"]
    episodes = json.loads(get(url, "/api/episodes")[1])
    assert [each["episode"] for each in episodes][:2] == [0, 1]
    assert episodes[1]["human_steps"] == end["human_steps"]


def test_another_loop_serves_the_same_page(place, robot):
    _, url = robot
    with Page(url) as page:
        (loop,) = place.members("control loop")
        page.phase("autonomous")
        loop.send_signal(signal.SIGKILL)
        page.phase("away", seconds=10)
        page.phase("standby", "autonomous")
        page.phase("autonomous")
        page.drive(0.5)
        page.phase("human")
    again = read_record(SpoolPaths(place.path / "spool").control)
    assert again["pid"] != loop.pid
    assert get(url, "/api/run")[0] == 200


def test_stop_ends_this_robot_and_not_its_learner(place, robot, learner):
    command, url = robot
    with Page(url) as page:
        page.phase("autonomous")
        page.say("command", command="stop", episode=None)
        page.phase("ended", seconds=30)
    command.wait(130, 60)
    assert learner[0].process.poll() is None
    again, other = actor(place, learner[1])
    assert other != url  # a new start, a new token
    wait_until(lambda: get(other, "/api/episodes")[0] == 200, LONG)
    numbers = [each["episode"] for each in json.loads(get(other, "/api/episodes")[1])]
    assert numbers[:2] == [0, 1]  # what was driven before is still there to look at
    again.send(signal.SIGTERM)
    again.wait(130, 60)
