"""A device's checks, played from its twin, and the whole way into a stored episode."""

from __future__ import annotations

import numpy as np
import pytest

from silri.core.specs import ActionSpec
from silri.doctor import device as doctor
from silri.doctor.device import check_device
from silri.doctor.round_trip import Echo, check_round_trip
from silri.intervention.devices.device import Device
from silri.intervention.devices.events import InputWriter, RawEvent
from silri.intervention.devices.gamepad import GamepadDecoder
from silri.intervention.devices.mapping import ActionMap
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import OPERATORS
from tests.conftest import make_spec
from tests.fakes.envs.point import PointMass
from tests.intervention.devices.twin import state

DRIVE = "rightshoulder"


@pytest.fixture
def examined(tmp_path):
    """Checks of a gamepad that does what ``rows`` say, by name."""

    def examine(*rows, device="gamepad", raw=(), **fields):
        path = tmp_path / "input.jsonl"
        target = OPERATORS.load(device).target
        writer = InputWriter(path, target.kind)
        script = [event for row in rows for event in state(device, row[0], row[1], *row[2:])]
        writer.write(RawEvent(*row) for row in sorted([*script, *raw], key=lambda row: row[0]))
        writer.close()
        env = PointMass()
        context = OperatorContext(env.env_spec.action, device)
        config = target.Config(replay=str(path), **fields)
        told = []
        checks = check_device(target, config, context, env.env_spec, seconds=1.0, say=told.append)
        found = {check.name: check for check in checks}
        assert told == []  # nobody is there to be told
        return found

    return examine


FORWARD = ((0.0, {}), (1.0, {"x": 1.0}), (1.2, {"y": -0.8}), (1.4, {"z": 1.0}), (1.6, {}))


def test_a_healthy_device_is_well(examined):
    checks = examined(*FORWARD, (1.8, {}, "a"), (2.0, {}))
    states = {name: check.state for name, check in checks.items()}
    assert states == {
        "open": "ok", "axes": "ok", "at rest": "ok", "sign": "ok", "events": "ok", "buttons": "ok",
        "decision": "ok", "unplugged": "skipped",
    }  # fmt: skip
    assert "y 0.80" in checks["axes"].value
    assert checks["buttons"].value == "a 1x"


def test_one_that_reads_zero_is_broken(examined):
    check = examined((0.0, {}), (1.0, {}, "a"), (2.0, {}))["axes"]
    assert (check.state, check.value) == ("failed", "every axis reads zero")
    assert "When it reads zero" in check.remedy


def test_an_axis_that_was_not_moved_is_named(examined):
    check = examined((0.0, {}), (1.0, {"x": 1.0}), (1.5, {"z": -0.3}), (2.0, {}))["axes"]
    assert (check.state, check.remedy) == ("warning", "not moved: y")


def test_one_that_drifts_needs_a_larger_dead_zone(examined):
    check = examined((0.0, {"y": 0.2}), (1.0, {"x": 1.0, "z": 1.0}), (2.0, {}))["at rest"]
    assert check.state == "warning"
    assert "--operator.dead-zone 0.25" in check.remedy


def test_a_wrong_sign_is_seen_by_the_first_motion(examined):
    check = examined((0.0, {}), (1.0, {"x": -1.0}), (2.0, {}))["sign"]
    assert (check.state, check.value) == ("warning", "first motion: x -1.00")


def test_pulling_its_cable_is_seen(examined):
    raw = [(1.65, "gone", "pulled"), (1.85, "back", None)]
    check = examined(*FORWARD, (2.0, {}), raw=raw)["unplugged"]
    assert check.state == "ok"
    assert check.value == "the robot stood still in 10 decisions"


def test_a_slow_decision_is_told(examined, monkeypatch):
    monkeypatch.setattr(doctor, "DECIDE_S", 1e-9)
    assert examined(*FORWARD)["decision"].state == "warning"


def test_a_leader_arm_that_is_moved(examined):
    def place(time, *joints):
        return time, "action", dict(zip(("a.pos", "b.pos", "c.pos"), joints, strict=True))

    raw = [place(0.0, 0, 0, 0), place(1.0, 5, 0, 0), place(2.0, 5, -3, 0)]
    check = examined(device="lerobot:arm", raw=raw)["axes"]
    assert (check.state, check.remedy) == ("warning", "not moved: c.pos")
    assert "a.pos 5" in check.value


def test_a_device_that_is_not_there_is_the_only_finding(tmp_path):
    target = OPERATORS.load("gamepad").target
    context = OperatorContext(ActionSpec(3), "gamepad")
    config = target.Config(replay=str(tmp_path / "nowhere"))
    (check,) = check_device(
        target, config, context, make_spec(ActionSpec(3)), seconds=1.0, say=print
    )
    assert check.state == "failed"
    assert "cannot be read" in check.value


# -- the whole way ---------------------------------------------------------------------------------

ALL = ["terminal", "gamepad", "spacemouse", "lerobot:wand"]
SPECS = [
    (ActionSpec(2), ()),
    (ActionSpec(4, (3,)), ("right", "forward", "up")),
    (ActionSpec(7, (6,)), ()),
    (ActionSpec(8, (3, 7)), ("none", "none", "none", "back", "left", "down")),
    (ActionSpec(4), ("right", "forward", "up", "gripper")),
    (ActionSpec(3, (2,), (1.0, -1.0)), ()),
]


def round_trip(name, spec, directions=(), env=None, **fields):
    target = OPERATORS.load(name).target
    context = OperatorContext(spec, name, directions=directions)
    env = env or Echo(make_spec(spec))
    return {c.name: c for c in check_round_trip(target, target.Config(**fields), context, env)}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("spec", "directions"), SPECS)
def test_what_the_hand_does_is_what_is_stored(name, spec, directions):
    checks = round_trip(name, spec, directions)
    assert {check.state for check in checks.values()} == {"ok"}, checks
    assert set(checks) == {"flag", "person's action", "executed action", "policy's steps"}


@pytest.mark.parametrize(
    "fields",
    [
        {"scale": 0.5, "rotation_scale": 0.4, "invert": ("y", "yaw")},
        {"drive": "motion", "linger_s": 0.3},
        {"gripper": "hold"},
        {"axes": ("yaw-", "up")},
        {"bind": ("b=gripper", "a=reset", "x=drive", "rightshoulder=none")},
    ],
)
def test_whatever_is_set(fields):
    checks = round_trip("gamepad", ActionSpec(7, (6,)), **fields)
    assert {check.state for check in checks.values()} == {"ok"}, checks


def test_through_a_real_environment():
    env = PointMass()
    checks = round_trip("gamepad", env.env_spec.action, env=env)
    assert {check.state for check in checks.values()} <= {"ok", "skipped"}
    assert env.steps > 5


def test_a_hand_that_arrives_turned_round_is_found(monkeypatch):
    honest = ActionMap.action
    monkeypatch.setattr(
        ActionMap, "action", lambda *args: honest(*args) * np.float32([-1, 1, 1, 1])
    )
    check = round_trip("gamepad", ActionSpec(4, (3,)))["person's action"]
    assert check.state == "failed"
    assert "first 'x +1': [-1.0, 0.0, 0.0, -1.0] instead of [1.0, 0.0, 0.0, -1.0]" in check.value


def test_a_flag_that_is_lost_is_found(monkeypatch):
    honest = Device.decide

    def forgets(self, view):
        asked = honest(self, view)
        return type(asked)(engaged=False, action=asked.action)

    monkeypatch.setattr(Device, "decide", forgets)
    checks = round_trip("gamepad", ActionSpec(4, (3,)))
    assert checks["flag"].state == "failed"
    assert "10 of 14 steps are wrong, first 'x +1'" in checks["flag"].value
    assert checks["policy's steps"].state == "ok"


def test_a_scale_that_is_applied_twice_is_found(monkeypatch):
    honest = GamepadDecoder.read

    def halved(self, now):
        said = honest(self, now)
        motion = {name: value / 2 for name, value in said.motion.items()}
        return type(said)(motion, said.held, said.pressed)

    monkeypatch.setattr(GamepadDecoder, "read", halved)
    assert round_trip("gamepad", ActionSpec(4, (3,)))["executed action"].state == "failed"
