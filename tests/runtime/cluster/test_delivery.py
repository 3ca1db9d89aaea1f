"""Every episode reaches the store exactly once, whoever dies and whatever the wire does."""

from __future__ import annotations

import random
import shutil
from functools import partial

import pytest

from silri.runtime.cluster.parameters import unpack
from silri.runtime.cluster.paths import SpoolPaths, read_record
from silri.store.follow import Follower
from silri.store.format import lerobot
from tests.fakes.hub import AtWrite, Killed, Robot, Site, assert_delivered, publish


def test_episodes_arrive_in_order(site, robot):
    robot.drive(5)
    robot.step(5)
    assert_delivered(site, robot)
    robot.drive()
    robot.step()
    assert_delivered(site, robot)


def test_images_are_encoded_once_and_decoded_once_from_robot_to_learner(site, robot, monkeypatch):
    counts = {"encode_images": 0, "decode_images": 0}

    def count(name, original, images, *rest):
        counts[name] += len(images)
        return original(images, *rest)

    for name in counts:
        monkeypatch.setattr(lerobot, name, partial(count, name, getattr(lerobot, name)))
    robot.drive(3)
    robot.until_empty()
    assert counts["decode_images"] == 0
    images = sum(len(episode) + 1 for episode in Follower(site.run / "episodes").new())
    assert counts == {"encode_images": images, "decode_images": images}


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("method", ["register", "beat", "parameters", "upload"])
def test_a_line_that_breaks_in_any_call(site, robot, method, cut):
    publish(site.live, 1)
    robot.drive(3)
    site.only = (method,)
    site.cut = cut
    robot.step(3)
    assert not robot.uplink.connected
    site.cut = None
    robot.until_empty()
    robot.step(2)
    assert_delivered(site, robot)
    assert unpack(SpoolPaths(robot.folder).policy.read_bytes(), "").version == 1


def test_a_duplicate_is_told_and_acknowledged(site, robot):
    robot.drive(1)
    site.cut, site.only = "after", ("upload",)
    robot.step()
    assert site.episodes() == robot.sent
    assert robot.spool.waiting() == [0]
    assert site.hub.upload(robot.spool.read(0)) == {"state": "duplicate", "reason": ""}
    site.cut = None
    robot.until_empty()
    assert_delivered(site, robot)


@pytest.mark.parametrize("stored", [0, 1])
def test_the_hub_is_killed_at_every_write_of_a_commit(tmp_path, on_write, stored):
    """0: every folder of the store is new, and every fourth write is one to die at."""
    site = Site(tmp_path / "run-0")
    robot = Robot(tmp_path / "spool-0", site)
    robot.drive(stored)
    robot.step(stored)
    robot.drive(2)
    for what in ("run", "spool"):
        shutil.copytree(tmp_path / f"{what}-0", tmp_path / f"{what}-template")
    whole = AtWrite(0, site.run)
    on_write(whole)
    site.hub.upload(robot.spool.read(stored))
    on_write(None)
    assert whole.calls > 15
    for number in range(1, whole.calls + 1, 1 if stored else 4):
        for what in ("run", "spool"):
            shutil.copytree(tmp_path / f"{what}-template", tmp_path / f"{what}-{number}")
        site = Site(tmp_path / f"run-{number}")
        again = Robot(tmp_path / f"spool-{number}", site)
        again.sent = robot.sent
        on_write(AtWrite(number, site.run))
        again.step()
        on_write(None)
        assert site.hub is None, number
        assert not again.uplink.connected
        site.start()
        again.until_empty()
        assert_delivered(site, again)
        site.kill()


def test_the_uplink_is_killed_at_every_write(tmp_path, on_write):
    site = Site(tmp_path / "run")
    publish(site.live, 1)
    number, dead = 0, True
    robots = []
    while dead:
        number += 1
        robot = Robot(tmp_path / f"spool-{number}", site, name=f"arm-{number}")
        robots.append(robot)
        robot.drive(1)
        on_write(AtWrite(number, robot.folder))
        try:
            robot.step(3)
            dead = False
        except Killed:
            on_write(None)
            robot.uplink.close()
            site.clock.advance(11)  # its successor has another session
            robot.start()
        robot.until_empty()
    on_write(None)
    assert number > 12
    assert_delivered(site, *robots)
    for robot in robots:
        robot.step(2)
        assert read_record(SpoolPaths(robot.folder).orders)["version"] == 1
        assert unpack(SpoolPaths(robot.folder).policy.read_bytes(), "").version == 1
    site.kill()


@pytest.mark.parametrize("seed", range(4))
def test_random_troubles(tmp_path, on_write, seed):
    """Two robots; hub and uplinks die at random writes, the line breaks at random."""
    draw = random.Random(seed)
    site = Site(tmp_path / "run")
    robots = [Robot(tmp_path / name, site, name) for name in ("left", "right")]
    for _ in range(60):
        robot = draw.choice(robots)
        what = draw.choice(["drive", "drive", "cut", "hub", "uplink", "calm", "calm"])
        if what == "drive" and len(robot.sent) < 6:
            robot.drive()
        site.cut = draw.choice(["before", "after"]) if what == "cut" else None
        site.only = draw.choice([None, ("upload",), ("beat", "register")])
        where = site.run if what == "hub" else robot.folder
        on_write(AtWrite(draw.randint(1, 12), where) if what in ("hub", "uplink") else None)
        try:
            robot.step(2, seconds=draw.choice([0.1, 1.0, 11.0]))
        except Killed:
            robot.start()
        on_write(None)
        if site.hub is None:
            site.start()
    site.cut = None
    site.clock.advance(30)
    for robot in robots:
        robot.until_empty()
    assert_delivered(site, *robots)


def test_two_robots_and_the_second_does_not_wait_for_the_first(site, tmp_path):
    left, right = (Robot(tmp_path / name, site, name) for name in ("left", "right"))
    left.drive(3)
    right.drive(3)
    right.step(3)  # left has not even connected
    assert_delivered(site, right)
    for _ in range(3):
        left.step()
        right.drive()
        right.step()
    assert_delivered(site, left, right)


def test_an_hour_without_the_learner_and_then_everything_in_order(site, robot):
    robot.drive(2)
    robot.step(2)
    site.cut = "before"
    for minute in range(60):
        if minute % 3 == 0:
            robot.drive()
        robot.step(12, seconds=5.0)
    attempts = site.lines
    assert len(robot.spool.waiting()) == 20
    site.cut = None
    robot.until_empty()
    assert_delivered(site, robot)
    assert site.lines == attempts + 1
    stored = [row.episode_id for row in site.hub.store.rows]
    assert stored == list(range(22))
