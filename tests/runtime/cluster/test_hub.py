"""Who is here, who is missing, what they are told; the store's single writer."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading

import pytest

from silri.core.errors import DataError, RunFolderError, UsageError
from silri.runtime.cluster.hub import Hub
from silri.runtime.cluster.parameters import unpack
from silri.runtime.cluster.paths import PROTOCOL, read_record, write_record
from silri.runtime.cluster.spool import Upload, encode_upload
from silri.store.format.encoded import encode
from silri.store.format.layout import ROW_PATH, file_path
from silri.store.safety import files
from silri.store.safety.quarantine import read_quarantine
from tests.fakes.hub import FPS, Site, publish
from tests.store.scenarios import episode


def register(hub, robot="arm", session="s1", host="cell-1", protocol=PROTOCOL):
    return hub.register(robot, session, host, protocol)


def message(number, origin):
    made = dataclasses.replace(episode(number), origin=origin, is_demo=False)
    return encode_upload(Upload(encode(made, FPS), ""))


def test_a_robot_gets_the_setup(site):
    setup = register(site.hub)
    assert setup == read_record(site.live.setup)
    assert site.hub.tick() == ["robot 'arm' on cell-1 is connected"]
    assert site.hub.tick() == []


def test_another_protocol_is_refused_and_says_what_to_do(site):
    with pytest.raises(UsageError, match=f"speaks protocol 0, the learner {PROTOCOL}: install the"):
        register(site.hub, protocol=0)
    with pytest.raises(UsageError, match="not registered"):
        site.hub.beat("arm", "s1", {})


def test_a_name_is_taken_while_its_robot_is_heard_of(site):
    register(site.hub)
    for _ in range(5):
        site.clock.advance(9)
        site.hub.beat("arm", "s1", {})
        with pytest.raises(UsageError, match=r"'arm' on cell-1 is connected already.*--name"):
            register(site.hub, session="s2", host="cell-2")
    register(site.hub)  # the same process, whose line broke
    site.hub.beat("arm", "s1", {})


def test_a_name_is_taken_over_when_its_robot_is_silent(site):
    register(site.hub)
    site.clock.advance(11)
    register(site.hub, session="s2", host="cell-2")
    site.hub.beat("arm", "s2", {})
    with pytest.raises(UsageError, match="register again"):
        site.hub.beat("arm", "s1", {})
    with pytest.raises(UsageError, match="on cell-2 is connected already"):
        register(site.hub)
    assert site.hub.tick() == [
        "robot 'arm' on cell-1 is connected",
        "robot 'arm' on cell-2 is connected",
    ]


def test_a_missing_robot_is_reported_once_and_again_when_it_was_back(site):
    for name in ("left", "right"):
        register(site.hub, robot=name)
    site.hub.tick()
    said = []
    for second in range(60):
        site.clock.advance(1)
        site.hub.beat("right", "s1", {})
        if second in (30, 31, 32):
            site.hub.beat("left", "s1", {"episodes": 7, "waiting": 2})
        said += [(second, text) for text in site.hub.tick()]
    last = "7 episodes driven, 2 waiting)"
    assert said == [
        (10, "robot 'left' on cell-1 is missing: not heard of for 11 s (last: nothing)"),
        (30, "robot 'left' on cell-1 is back"),
        (43, "robot 'left' on cell-1 is missing: not heard of for 11 s (last: " + last),
    ]
    robots = read_record(site.live.robots)["robots"]
    assert (robots["left"]["missing"], robots["right"]["missing"]) == (True, False)
    assert robots["left"]["silent_s"] == 27


def test_a_robot_that_registers_anew_after_it_was_missing(site):
    register(site.hub)
    site.clock.advance(20)
    site.hub.tick()
    register(site.hub)
    assert site.hub.tick() == ["robot 'arm' on cell-1 is connected"]


# -- orders ----------------------------------------------------------------------------------------


@pytest.fixture
def behind(tmp_path):
    """A site whose learner is 8 steps behind (4 + 4 - 0), with a limit of 7."""
    site = Site(tmp_path / "run", max_lag=7)
    register(site.hub)
    for number in (0, 4):
        site.hub.upload(message(number, f"arm/a:{number}"))
    yield site
    site.kill()


def orders(site, **progress):
    write_record(site.live.progress, {"version": 3, "phase": "training"} | progress)
    return site.hub.beat("arm", "s1", {})


def test_before_the_learner_has_said_anything(site):
    register(site.hub)
    assert site.hub.beat("arm", "s1", {}) == {
        "phase": "starting",
        "version": -1,
        "hold": False,
        "lag": 0,
        "demonstrate": None,
        "evaluate": None,
    }


def test_robots_wait_while_the_learner_is_behind_and_alive(behind):
    alive = {"pid": os.getpid(), "learning": True}
    told = {"phase": "training", "version": 3, "hold": True, "lag": 8}
    told |= {"demonstrate": None, "evaluate": None}
    assert orders(behind, **alive, learnt_steps=0) == told
    assert orders(behind, **alive, learnt_steps=1)["hold"] is False
    assert orders(behind, **alive | {"learning": False}, learnt_steps=0)["hold"] is False
    assert orders(behind, learning=True, learnt_steps=0)["hold"] is False  # no process
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert orders(behind, learning=True, pid=child.pid, learnt_steps=0)["hold"] is False


def test_no_limit_holds_nobody(tmp_path):
    site = Site(tmp_path / "run", max_lag=0)
    register(site.hub)
    site.hub.upload(message(4, "arm/a:0"))
    assert orders(site, pid=os.getpid(), learning=True, learnt_steps=0)["hold"] is False
    site.kill()


def test_demonstrations_are_not_the_learners_debt(tmp_path):
    site = Site(tmp_path / "run", max_lag=1)
    register(site.hub)
    demo = dataclasses.replace(episode(0), origin="arm/a:0", is_demo=True)
    site.hub.upload(encode_upload(Upload(encode(demo, FPS), "")))
    told = orders(site, pid=os.getpid(), learning=True, learnt_steps=0)
    assert (told["hold"], told["lag"]) == (False, 0)
    site.kill()


# -- parameters ------------------------------------------------------------------------------------


def test_parameters_are_handed_out_when_they_are_newer(site):
    assert site.hub.parameters(-1) is None
    publish(site.live, 4)
    assert unpack(site.hub.parameters(-1), "").version == 4
    assert unpack(site.hub.parameters(3), "").version == 4
    assert site.hub.parameters(4) is None
    site.live.policy.unlink()
    assert site.hub.parameters(-1) is None


@pytest.mark.parametrize("damage", [b"", b"\x93", b"nothing of ours"])
def test_damaged_parameters_are_not_handed_out(site, damage):
    publish(site.live, 4)
    site.live.policy.write_bytes(damage)
    assert site.hub.parameters(-1) is None


def test_what_the_learner_has_not_announced_is_not_handed_out(site):
    """Its progress is written after the file: an announced version is whole."""
    publish(site.live, 4)
    write_record(site.live.progress, {"version": -1})
    assert site.hub.parameters(-1) is None


# -- episodes --------------------------------------------------------------------------------------


def test_an_upload_is_stored_once(site):
    data = message(3, "arm/a:3")
    assert site.hub.upload(data) == {"state": "stored", "reason": ""}
    assert site.hub.upload(data) == {"state": "duplicate", "reason": ""}
    site.kill()
    site.start()
    assert site.hub.upload(data) == {"state": "duplicate", "reason": ""}
    assert site.episodes() == ["arm/a:3"]


def test_killed_within_a_commit(site):
    """The frames are there and the row is not: set aside, and the robot's next try is stored."""
    data = message(3, "arm/a:3")
    site.hub.upload(data)
    site.kill()
    (site.run / "episodes" / file_path(ROW_PATH, 0)).unlink()
    site.start()
    assert site.episodes() == []
    assert list(read_quarantine(site.run / "quarantine")) == [(None, None)]
    assert site.hub.upload(data) == {"state": "stored", "reason": ""}
    assert site.episodes() == ["arm/a:3"]
    assert site.hub.store.quarantined() == []


def test_a_damaged_message_is_refused_and_nothing_stored(site):
    data = bytearray(message(3, "arm/a:3"))
    data[len(data) // 2] ^= 1
    with pytest.raises(DataError, match="an upload"):
        site.hub.upload(bytes(data))
    assert site.episodes() == []
    assert site.hub.store.quarantined() == []


def test_many_at_once_are_stored_one_after_the_other(site):
    """Ray calls from several threads: the same episode twice, and eight others."""
    messages = [message(n, f"arm/a:{n}") for n in (*range(6), 2, 3)]
    answers = []
    threads = [
        threading.Thread(target=lambda m=m: answers.append(site.hub.upload(m)["state"]))
        for m in messages
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["duplicate"] * 2 + ["stored"] * 6
    assert sorted(site.episodes()) == [f"arm/a:{n}" for n in range(6)]
    assert [row.episode_id for row in site.hub.store.rows] == list(range(6))


# -- opening ---------------------------------------------------------------------------------------


def test_a_second_hub_is_refused(site):
    with pytest.raises(RunFolderError, match=f"in use by process {os.getpid()}"):
        Hub(site.run, site.clock)
    site.hub.close()
    second = Hub(site.run, site.clock)
    second.close()


def test_a_run_that_was_not_set_up(tmp_path):
    with pytest.raises(DataError, match=r"setup.json is missing: 'silri learner' writes it"):
        Hub(tmp_path)


def test_what_opening_the_store_found_is_said(site):
    for number in range(2):
        site.hub.upload(message(number, f"arm/a:{number}"))
    site.kill()
    path = next((site.run / "episodes/data").rglob("file-000.parquet"))
    path.write_bytes(b"")
    site.start()
    said = site.hub.tick()
    assert any("episode 0 (4 steps) set aside" in text for text in said)
    assert read_record(site.live.robots)["episodes"] == 1
    assert site.hub.upload(message(0, "arm/a:0"))["state"] == "duplicate"  # it is in quarantine


def test_a_full_disk_does_not_stop_the_hub(site, monkeypatch):
    register(site.hub)

    def full(step, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "on_write", full)
    assert site.hub.tick() == ["robot 'arm' on cell-1 is connected"]


# -- demonstrations and evaluations ----------------------------------------------------------------


def test_one_robot_demonstrates_and_evaluates_and_another_when_it_is_away(tmp_path):
    site = Site(tmp_path / "run", demos=2)
    asked = {"id": "one", "version": 0}
    publish(site.live, 0, evaluate=asked)
    for name in ("left", "right"):
        register(site.hub, robot=name)
    first, second = (site.hub.beat(name, "s1", {}) for name in ("left", "right"))
    assert first["demonstrate"] == {"count": 2, "seeds": []}
    assert first["evaluate"] == asked
    assert (second["demonstrate"], second["evaluate"]) == (None, None)
    site.clock.advance(9)
    site.hub.beat("right", "s1", {})
    site.clock.advance(9)  # nobody has heard of the left one for long
    assert site.hub.beat("right", "s1", {})["evaluate"] == asked
    assert site.hub.beat("left", "s1", {})["evaluate"] is None
    site.kill()


def test_a_layout_is_demonstrated_once_and_no_more_than_wanted(tmp_path):
    site = Site(tmp_path / "run", demos=1)
    register(site.hub)
    demo = dataclasses.replace(episode(1), is_demo=True)
    for robot in ("left", "right"):
        made = dataclasses.replace(demo, origin=f"{robot}/x:0")
        answer = site.hub.upload(encode_upload(Upload(encode(made, FPS), "")))
        assert answer["state"] == ("stored" if robot == "left" else "duplicate")
    assert site.hub.beat("arm", "s1", {})["demonstrate"] is None
    assert site.hub.beat("arm", "s1", {})["lag"] == 0  # a demonstration is no step of training
    site.kill()


def test_only_the_evaluation_that_is_asked_for_is_handed_on(site):
    publish(site.live, 0, evaluate={"id": "two", "version": 0})
    site.hub.evaluated("arm", {"id": "one", "metrics": {}})
    assert not site.live.evaluation.exists()
    site.hub.evaluated("arm", {"id": "two", "version": 0, "metrics": {"success_rate": 0.5}})
    assert read_record(site.live.evaluation)["metrics"] == {"success_rate": 0.5}
