"""What an uplink does about a learner that is away, full, of another run, or damaged."""

from __future__ import annotations

import errno
import logging
import os
import time

import numpy as np
import pytest

from silri.core.clock import FakeClock
from silri.runtime.cluster.parameters import Parameters, pack, unpack
from silri.runtime.cluster.paths import SpoolPaths, read_record, write_record
from silri.runtime.cluster.spool import Spool
from silri.runtime.cluster.uplink import BACKOFF_S, Uplink, run_uplink
from tests.fakes.hub import Robot, assert_delivered, publish
from tests.store.scenarios import episode


def test_the_back_off_grows_and_starts_anew(site, robot):
    """Attempts to connect, by the clock."""
    site.cut, attempts = "before", []
    connect = site.connect

    def counting():
        attempts.append(site.clock.now())
        return connect()

    robot.uplink = Uplink(Spool(robot.folder, "arm"), counting, site.clock)
    robot.step(500)
    waits = np.diff(attempts)
    first, longest = BACKOFF_S
    grows = np.minimum(first * 2.0 ** np.arange(len(waits)), longest)
    assert len(waits) > 4
    assert np.allclose(waits, grows, atol=0.11)
    site.cut = None
    robot.step(101)
    assert robot.uplink.connected
    site.cut, attempts[:] = "before", []
    robot.step(60)
    assert np.allclose(np.diff(attempts)[:2], [1, 2], atol=0.11)


def test_an_old_spool_of_another_run_is_refused(site, tmp_path, caplog):
    robot = Robot(tmp_path / "spool", site)
    write_record(SpoolPaths(robot.folder).setup, {"run_id": "run-0"})
    robot.drive()
    robot.step(200)
    assert site.episodes() == []
    assert robot.spool.waiting() == [0]
    problem = read_record(SpoolPaths(robot.folder).uplink)["problem"]
    assert "holds episodes of run run-0, the learner trains run run-1" in problem
    assert "--spool" in problem
    assert sum("run-0" in record.message for record in caplog.records) == 1
    assert read_record(SpoolPaths(robot.folder).setup) == {"run_id": "run-0"}


def test_a_damaged_file_is_set_aside_and_the_next_is_sent(site, robot):
    robot.drive(3)
    path = robot.folder / "episodes/00000001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    robot.step(4)
    assert site.episodes() == [robot.sent[0], robot.sent[2]]
    (aside,) = (robot.folder / "damaged").iterdir()
    assert aside.read_bytes() == bytes(content)
    assert robot.spool.waiting() == []


def test_a_file_that_cannot_be_read_is_set_aside(site, robot, monkeypatch):
    robot.drive(2)
    bad = robot.folder / "episodes/00000000"
    read_bytes = type(bad).read_bytes

    def failing(path):
        if path == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(path)

    monkeypatch.setattr(type(bad), "read_bytes", failing)
    robot.step(3)
    assert site.episodes() == robot.sent[1:]


def test_quarantine_takes_the_reason_of_the_robot(site, robot, caplog):
    robot.drive(1, reason="the gripper fell off")
    robot.drive(1)
    robot.step(3)
    assert site.episodes() == robot.sent[1:]
    (entry,) = site.hub.store.quarantined()
    assert (entry.reason, entry.origin) == ("the gripper fell off", robot.sent[0])
    assert any("quarantine: the gripper fell off" in r.message for r in caplog.records)
    assert any("the gripper fell off" in message for message in site.hub.tick())
    site.kill()
    site.start()  # it remembers what is in quarantine, too
    robot.spool.add(0, episode(0), "", 10.0)
    robot.until_empty()
    assert len(site.hub.store.quarantined()) == 1
    assert site.episodes() == robot.sent[1:]


def broken(kind):
    def make(number):
        made = episode(number)
        if kind == "nan":
            made.observations["state"][1, 0] = np.nan
        elif kind == "shape":
            made.observations["state"] = made.observations["state"][:, :2]
        elif kind == "column":
            del made.observations["environment_state"]
        return made

    return make


@pytest.mark.parametrize("kind", ["nan", "shape", "column"])
def test_what_does_not_fit_the_spec_goes_into_quarantine(site, robot, kind):
    robot.drive(1, make=broken(kind))
    robot.drive(1)
    robot.step(3)
    assert robot.spool.waiting() == []
    assert site.episodes() == robot.sent[1:]
    (entry,) = site.hub.store.quarantined()
    assert entry.origin == robot.sent[0]
    assert "state" in entry.reason


def test_a_full_disk_of_the_learner_is_waited_for(site, robot, on_write, caplog):
    robot.drive(2)
    robot.step(2)
    robot.drive(3)

    def full(step, path):
        if path.is_relative_to(site.run):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    on_write(full)
    before = site.calls.count("upload")
    robot.step(600)  # a minute
    attempts = site.calls.count("upload") - before
    assert 60 / BACKOFF_S[1] < attempts < 15 + 60 / BACKOFF_S[1]
    assert robot.uplink.connected  # beats go on
    assert site.hub.tick() is not None
    assert robot.spool.waiting() == [2, 3, 4]
    problem = read_record(SpoolPaths(robot.folder).uplink)["problem"]
    assert f"the disk of {site.run}/episodes is full" in problem
    assert sum("is full" in record.message for record in caplog.records) < 3
    on_write(None)
    robot.step(120)
    assert_delivered(site, robot)
    assert read_record(SpoolPaths(robot.folder).uplink)["problem"] == ""
    robot.drive()
    on_write(full)
    before = site.calls.count("upload")
    robot.step(20)  # the waits are short again
    assert site.calls.count("upload") - before >= 3


def test_a_full_disk_of_the_robot_does_not_stop_the_uploads(site, robot, on_write):
    robot.drive(4)
    robot.step(1)

    def full(step, path):
        if path.name.startswith("acknowledged"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    on_write(full)
    robot.step(100)
    assert site.episodes() == robot.sent
    assert robot.spool.waiting() == [3]  # the one whose number would be forgotten
    on_write(None)
    robot.until_empty()
    assert_delivered(site, robot)


def test_on_a_disk_without_any_room_the_robot_still_sends(site, robot, on_write):
    robot.drive(4)
    robot.step(1)
    publish(site.live, 1)

    def full(step, path):
        if path.is_relative_to(robot.folder) and step == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    on_write(full)
    robot.step(50)
    assert site.episodes() == robot.sent
    assert site.calls.count("parameters") < 8
    on_write(None)
    robot.until_empty()
    robot.step(11)
    assert_delivered(site, robot)
    assert unpack(SpoolPaths(robot.folder).policy.read_bytes(), "").version == 1


def test_only_the_newest_parameters_are_fetched(site, robot):
    path = SpoolPaths(robot.folder).policy
    robot.step()
    assert not path.exists()
    for version in (1, 5, 9):
        publish(site.live, version)
    robot.step(11)
    assert unpack(path.read_bytes(), "").version == 9
    assert site.calls.count("parameters") == 1
    robot.step(30)
    assert site.calls.count("parameters") == 1
    publish(site.live, 7)  # a learner that went on from an older checkpoint
    robot.step(30)
    assert unpack(path.read_bytes(), "").version == 9
    robot.start()  # knows what it has
    site.clock.advance(11)
    robot.step(30)
    assert site.calls.count("parameters") == 1


def test_damaged_parameters_are_never_adopted(site, robot, monkeypatch):
    publish(site.live, 3)
    robot.step(2)
    path = SpoolPaths(robot.folder).policy
    publish(site.live, 4)
    good = pack(Parameters(4, b"arrays 4"))
    damaged = good.replace(b"arrays 4", b"arrays 5")
    site.live.policy.write_bytes(damaged)  # on the learner's disk
    robot.step(30)
    assert robot.uplink.connected
    assert unpack(path.read_bytes(), "").version == 3
    site.live.policy.write_bytes(good)
    answers = [damaged]  # and on the way
    original = site.hub.parameters
    monkeypatch.setattr(
        site.hub, "parameters", lambda newer: answers.pop() if answers else original(newer)
    )
    while answers:
        robot.step()
    assert unpack(path.read_bytes(), "").version == 3
    robot.step(30)
    assert unpack(path.read_bytes(), "").version == 4


def test_a_wall_clock_that_jumps_changes_nothing(site, robot, monkeypatch):
    robot.drive(2)
    for jumped in (lambda: -1e9, lambda: 1e12):
        monkeypatch.setattr(time, "time", jumped)
        robot.step(2)
        site.hub.tick()
    robot.step(3)
    assert_delivered(site, robot)
    assert not any("missing" in message for message in site.hub.tick())
    assert site.lines == 1


def test_a_hold_is_lifted_when_the_learner_cannot_be_reached(site, robot):
    """Nobody waits for a learner that may be dead."""
    robot.step()
    orders = SpoolPaths(robot.folder).orders
    write_record(orders, read_record(orders) | {"hold": True, "lag": 7})
    robot.step(3)
    assert read_record(orders)["hold"] is True
    site.cut = "before"
    robot.step(20)
    assert read_record(orders)["hold"] is False
    assert read_record(orders)["phase"] == "starting"


def test_what_the_robot_says_reaches_the_learner(site, robot):
    write_record(
        SpoolPaths(robot.folder).control, {"episodes": 4, "steps": 17, "note": "driving", "late": 2}
    )
    robot.drive(2)
    robot.step()
    site.hub.tick()
    record = read_record(site.live.robots)["robots"]["arm"]
    assert (record["episodes"], record["steps"], record["note"]) == (4, 17, "driving")
    assert (record["waiting"], record["late"], record["missing"]) == (2, 2, False)


def test_what_its_page_says_reaches_the_learner_while_it_is_new(site, robot):
    told = {"phase": "human", "address": "http://10.0.0.7:8420/"}
    robot.step()
    write_record(SpoolPaths(robot.folder).told, {**told, "beat": site.clock.now()})
    pages = []
    for _ in range(80):
        robot.step()
        site.hub.tick()
        pages.append(read_record(site.live.robots)["robots"]["arm"]["page"])
    assert told in pages
    assert pages[-1] is None  # the page's server is dead, whatever it said last


def test_complaints_are_made_once_and_not_at_once(site, robot, caplog):
    caplog.set_level(logging.WARNING)
    site.cut = "before"
    robot.step(140)
    assert caplog.records == []  # both sides may have been started together
    robot.step(300)
    assert [r.message for r in caplog.records] == [
        "robot 'arm': nobody listens; the robot goes on, 0 episodes wait here"
    ]
    site.cut = None
    robot.step(110)
    assert caplog.records[-1].message == "robot 'arm' is connected"


# -- stopping --------------------------------------------------------------------------------------


def test_asked_to_stop_it_sends_what_waits(site, robot):
    robot.drive(4)
    run_uplink(robot.uplink, lambda: True, site.clock, drain_s=10)
    assert_delivered(site, robot)


def test_asked_to_stop_without_a_learner_it_stops_at_once(site, robot):
    robot.drive(2)
    site.cut = "before"
    run_uplink(robot.uplink, lambda: True, site.clock, drain_s=10)
    assert site.clock.now() < 1
    assert robot.spool.waiting() == [0, 1]


def test_asked_to_stop_it_does_not_try_for_ever(site, robot, on_write):
    robot.drive(2)
    robot.step(1)

    def full(step, path):
        if path.is_relative_to(site.run):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    on_write(full)
    run_uplink(robot.uplink, lambda: True, site.clock, drain_s=10)
    assert 9 < site.clock.now() < 12
    assert robot.spool.waiting() == [1]


def test_it_works_until_it_is_asked_to_stop(site, tmp_path):
    clock = FakeClock()
    site.clock = clock
    robot = Robot(tmp_path / "spool", site)
    seen = []

    def stop():
        seen.append(len(site.episodes()))
        if len(seen) in (5, 10):
            robot.drive(2)
        return len(seen) > 20

    run_uplink(robot.uplink, stop, clock, drain_s=10)
    assert seen[-1] == 4
    assert_delivered(site, robot)


def test_two_robots_of_one_name(site, tmp_path):
    """The second waits until the first is silent; nothing of either is lost."""
    first, second = (Robot(tmp_path / place, site) for place in ("here", "there"))
    first.drive(2)
    first.step(3)
    second.drive(2)
    for _ in range(30):
        first.step()
        second.step(seconds=0.5)
    assert not second.uplink.connected
    problem = read_record(SpoolPaths(second.folder).uplink)["problem"]
    assert "is connected already; choose another --name" in problem
    second.step(300)  # the first is gone
    assert second.uplink.connected
    assert site.episodes() == first.sent + second.sent
