"""``silri doctor``: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from silri.cli import doctor
from silri.doctor.checks import Check
from tests.cli.taught import DRIVE, PAD, write
from tests.fakes.envs.gym_point import IDENTIFIER

POINT = ["--env", IDENTIFIER, "--env.gripper-dims", "3"]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """The machine's own checks have tests of their own; here they take time."""
    found = [Check("machine", "Python", "ok", "3.11")]
    monkeypatch.setattr(doctor, "check_machine", lambda out: iter(found))
    return found


def examined(silri, *arguments):
    code = silri("doctor", "--json", *arguments)
    return code, {(c["section"], c["name"]): c for c in json.loads(silri.out)}


def test_alone_it_looks_at_the_machine(silri):
    code, checks = examined(silri)
    assert code == 0
    assert list(checks) == [("machine", "Python")]


def test_an_environment_with_its_expert(silri):
    code, checks = examined(silri, *POINT, "--episodes", 3)
    assert code == 0
    assert checks["environment", "expert"]["value"].startswith("succeeds in 3 of 3 episodes")
    assert not [key for key in checks if key[0] in ("device", "round trip")]


def test_an_environment_that_is_no_known_simulation_is_not_moved(silri):
    code, checks = examined(silri, "--env", "Pendulum-v1")
    assert code == 0
    assert checks["environment", "steps"]["state"] == "skipped"
    code, checks = examined(silri, "--env", "Pendulum-v1", "--moves")
    assert checks["environment", "rate"]["state"] == "ok"


def moments(*motions):
    return [({}, ())] * 10 + [(motion, (DRIVE,)) for motion in motions] + [({}, ())]


def test_a_device_from_its_recording_and_the_whole_way(silri):
    path = write(Path("input.jsonl"), moments({"x": 1.0}, {"y": 1.0}, {"z": 1.0}))
    code, checks = examined(silri, *PAD, path)
    assert code == 0
    assert checks["device", "sign"]["state"] == "ok"
    assert checks["round trip", "executed action"]["state"] == "ok"
    assert checks["environment", "reset"]["state"] == "ok"


def test_what_has_failed_is_the_exit_code_and_has_its_remedy(silri, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # no line of the table is broken
    path = write(Path("input.jsonl"), moments())
    code, checks = examined(silri, *PAD, path)
    assert code == 1
    assert checks["device", "axes"]["state"] == "failed"
    assert silri("doctor", *PAD, path) == 1
    assert "every axis reads zero" in silri.out
    assert "move it while this looks" in silri.out


def test_a_device_that_is_not_there(silri):
    code, checks = examined(silri, *POINT, "--operator", "gamepad", "--operator.replay", "no")
    assert code == 1
    assert "cannot be read" in checks["device", "open"]["value"]
    assert checks["round trip", "flag"]["state"] == "ok"  # its twin needs no hardware


def test_a_simulated_person_is_no_device(silri):
    code, checks = examined(silri, *POINT, "--operator", "expert")
    assert code == 0
    assert checks["device", "expert"]["state"] == "skipped"


def test_an_environment_that_cannot_be_made_is_a_finding(silri):
    code, checks = examined(silri, "--env", IDENTIFIER, "--env.gripper-dims", "9")
    assert code == 1
    assert "exceed the action size" in checks["environment", "open"]["value"]


def test_a_name_that_is_not_there_is_refused(silri):
    assert silri("doctor", "--operator", "gampad") == 2
    assert "Did you mean 'gamepad'" in silri.err


@pytest.mark.parametrize("flags", [("--episodes", "0"), ("--seconds", "0")])
def test_wrong_numbers_are_refused(silri, flags):
    assert silri("doctor", *flags) == 2
