"""A LeRobot arm as an environment, by a plug-in that has exactly LeRobot's interface.

``lerobot`` itself is not installed where these run: :mod:`tests.fakes.lerobot_stand_in` has the
signatures of its 0.4.4 and 0.6.1.
"""

from __future__ import annotations

import numpy as np
import pytest

from silri.core.errors import ConfigError, MissingExtraError, SpecError, UnknownNameError
from silri.core.specs import ActionSpec
from silri.envs.registry import create_env, find_env
from silri.envs.robots.config import ArmConfig
from tests.fakes.bench import arms

PORT = "port=/dev/ttyACM0"
CAMERA = ("cameras.front.type=still", "cameras.front.index_or_path=0")
OPEN, CLOSED = -1.0, 1.0


__all__ = ["arms"]  # a fixture


@pytest.fixture
def connect(arms, monkeypatch):
    """Opens ``lerobot:bench_arm`` and gives (environment, the arm in the test's hand)."""
    monkeypatch.setattr("silri.envs.robots.arm.HOMING_S", 0.0)
    opened = []

    def opens(*options, kind="bench_arm", **fields):
        config = ArmConfig(options=(PORT, *options), **fields)
        env = create_env(f"lerobot:{kind}", config)
        opened.append(env)
        return env, arms.HELD[-1]

    yield opens
    for env in opened:
        env.close()


def act(env, *joints, grip=OPEN):
    return env.step(np.asarray([*joints, grip], np.float32))


def test_what_it_observes_and_does(connect):
    env, _ = connect(*CAMERA)
    assert env.env_spec.action == ActionSpec(3, gripper=(2,))
    assert {k: (a.shape, a.dtype) for k, a in env.env_spec.observation.items()} == {
        "state": ((6,), "float32"),
        "images.front": ((128, 128, 3), "uint8"),
    }
    observation, info = env.reset()
    assert info == {}
    for key, array in env.env_spec.observation.items():
        array.validate(key, observation[key])
    # Positions, then targets: what an arm does next depends on where it is told to be.
    np.testing.assert_allclose(observation["state"], [10.0] * 6, atol=1e-5)
    following, reward, terminated, truncated, info = act(env, 0.5, -1.0)
    np.testing.assert_allclose(following["state"][3:5], [11.5, 7.0], rtol=1e-6)
    assert 10.0 < following["state"][0] < 11.5
    assert (reward, terminated, truncated, info["success"]) == (-0.05, False, False, False)
    np.testing.assert_allclose(info["executed"], [0.5, -1.0, OPEN], atol=1e-6)
    assert following["images.front"].max() > observation["images.front"].max()


def test_a_target_stays_within_the_limits_of_its_joint(connect):
    env, arm = connect(limits=("pan=5:12", "lift=-60:60"))
    env.reset()
    executed = [act(env, 1.0, 0.0)[4]["executed"][0] for _ in range(3)]
    np.testing.assert_allclose(executed, [2 / 3, 0.0, 0.0], atol=1e-6)
    assert max(sent["pan"] for sent in arm.sent) == pytest.approx(12.0)


def test_an_arm_that_is_held_is_not_wound_up(connect):
    env, arm = connect(lead=8.0)
    env.reset()
    arm.walls["lift"] = 11.0
    for _ in range(30):
        info = act(env, 0.0, 1.0)[4]
    assert arm.at["lift"] == 11.0
    assert arm.targets["lift"] == pytest.approx(19.0)
    assert info["executed"][1] == pytest.approx(0.0, abs=1e-6)
    back = [act(env, 0.0, -1.0)[0]["state"][1] for _ in range(5)]
    assert back[-1] < 11.0  # it turns round at once, where 90 units would have to be undone


def test_what_the_robot_itself_holds_back_was_not_executed(connect):
    env, _ = connect("max_relative_target=1.5")
    env.reset()
    info = act(env, 1.0, 0.2)[4]
    np.testing.assert_allclose(info["executed"][:2], [0.5, 0.2], atol=1e-6)


def test_a_gripper_opens_closes_and_holds(connect):
    env, arm = connect(lead=5.0)
    env.reset()
    arm.at["gripper"] = arm.targets["gripper"] = 60.0
    info = act(env, 0.0, 0.0, grip=CLOSED)[4]
    assert arm.targets["gripper"] == 5.0  # beyond the lead: it holds what is between its jaws
    assert info["executed"][2] == CLOSED
    assert info["grasp_penalty"] == ArmConfig().grasp_penalty
    assert act(env, 0.0, 0.0, grip=CLOSED)[4]["grasp_penalty"] == 0.0
    smooth, arm = connect(gripper="continuous")
    assert smooth.env_spec.action == ActionSpec(3)
    bare, _ = connect("joints=pan lift")
    assert bare.env_spec.action == ActionSpec(2)


def test_an_episode_begins_at_home_and_the_way_there_is_slow(connect):
    env, arm = connect(home=("pan=-30",))
    observation, _ = env.reset()
    assert abs(observation["state"][0] + 30.0) <= 2.0
    assert observation["state"][1] == pytest.approx(10.0)  # it stays where it was found
    way = np.abs(np.diff([10.0] + [sent["pan"] for sent in arm.sent]))
    assert way.max() <= ArmConfig().step + 1e-6


def test_an_arm_that_fell_goes_home_from_where_it_lies(connect):
    env, arm = connect(home=("lift=10",))
    env.reset()
    arm.at["lift"] = arm.targets["lift"] = -40.0  # its cable was out
    before = len(arm.sent)
    env.reset()
    way = np.abs(np.diff([-40.0] + [sent["lift"] for sent in arm.sent[before:]]))
    assert way.max() <= ArmConfig().step + 1e-6
    assert abs(arm.at["lift"] - 10.0) <= 2.0


def test_an_arm_that_cannot_go_home_says_which_joint(connect):
    env, arm = connect(home=("pan=40",))
    arm.walls["pan"] = 15.0
    with pytest.raises(RuntimeError, match=r"home: pan is at 15\.0, not 40\.0; is something in"):
        env.reset()


def test_out_of_time_is_no_end_of_the_task(connect):
    env, _ = connect(max_episode_steps=2)
    env.reset()
    assert [act(env, 0.0, 0.0)[2:4] for _ in range(2)] == [(False, False), (False, True)]
    env.reset()
    assert act(env, 0.0, 0.0)[2:4] == (False, False)


def test_it_waits_between_command_and_sensing(connect):
    env, arm = connect()
    env.reset()
    order = []
    env.pace(lambda: order.append(("wait", len(arm.sent))))
    sense = arm.get_observation
    arm.get_observation = lambda: order.append(("sense", len(arm.sent))) or sense()
    before = len(arm.sent)
    act(env, 0.1, 0.0)
    assert order == [("wait", before + 1), ("sense", before + 1)]


def test_it_goes_home_before_it_is_let_go(connect, caplog):
    env, arm = connect(home=("lift=0",))
    env.reset()
    for _ in range(10):
        act(env, 0.0, 1.0)
    assert arm.at["lift"] > 15.0
    env.close()
    assert abs(arm.at["lift"]) <= 2.0
    assert not arm.connected
    env.close()  # twice is once

    env, arm = connect()
    env.reset()
    act(env, 0.1, 0.0)
    arm.plugged = False
    env.close()
    assert "is let go where it is: There is no status packet! (code -6)" in caplog.text


def test_an_arm_that_was_only_looked_at_is_not_moved(connect):
    env, arm = connect(home=("lift=0",))
    env.observe()
    env.close()
    assert arm.sent == []


def test_a_camera_that_gives_no_picture_is_named(connect):
    env, arm = connect(*CAMERA)
    env.reset()
    seen = arm.get_observation
    arm.get_observation = lambda: {**seen(), "front": None}
    picture = env.observe()["images.front"]
    with pytest.raises(SpecError, match="'images.front' is None: the camera gave no picture"):
        env.env_spec.observation["images.front"].validate("images.front", picture)


@pytest.mark.parametrize(
    ("kind", "options", "fields", "error", "message"),
    [
        ("bench_am", (), {}, UnknownNameError, "LeRobot robot 'bench_am'. Did you mean 'bench_ar"),
        ("bench_arm", ("port=/dev/none",), {}, ConfigError, "cannot be connected: Could not conn"),
        ("bench_arm", ("prt=1",), {}, ConfigError, "has no field 'prt'. Did you mean 'port'"),
        ("bench_arm", ("port",), {}, ConfigError, "env.options takes name=value, got 'port'"),
        ("bench_arm", ("cameras.front.fps=30",), {}, ConfigError, "cameras.front.type is missing"),
        (
            "bench_arm",
            ("cameras.front.type=stil", "cameras.front.index_or_path=0"),
            {},
            UnknownNameError,
            "unknown LeRobot camera 'stil'",
        ),
        (
            "bench_arm",
            (*CAMERA, "cameras.front.wdth=3"),
            {},
            ConfigError,
            "cameras.front has no field 'wdth'",
        ),
        (
            "bench_base",
            (),
            {},
            ConfigError,
            "not driven by positions of joints alone, it takes x.vel, theta.vel",
        ),
        (
            "bench_arm",
            (),
            {"limits": ("elbow=1:2",)},
            ConfigError,
            "env.limits: lerobot:bench_arm has no joint 'elbow'; it has pan, lift, gripper",
        ),
        ("bench_arm", (), {"home": ("hip=1",)}, ConfigError, "env.home: .* has no joint 'hip'"),
        (
            "bench_arm",
            (),
            {"gripper_joint": "claw"},
            ConfigError,
            "env.gripper_joint: .* has no joint 'claw'",
        ),
        (
            "bench_arm",
            (),
            {"image_keys": ("top",)},
            ConfigError,
            "has no camera 'top'; it has none",
        ),
    ],
)
def test_what_cannot_be_opened_says_why(arms, kind, options, fields, error, message):
    given = options if any(o.startswith("port") for o in options) else (PORT, *options)
    with pytest.raises(error, match=message):
        create_env(f"lerobot:{kind}", ArmConfig(options=given, **fields))
    assert not any(arm.connected for arm in arms.HELD)


def test_an_arm_that_is_not_calibrated_names_the_command(arms, monkeypatch):
    monkeypatch.setattr(arms.BenchArm, "is_calibrated", False)
    with pytest.raises(ConfigError) as error:
        create_env("lerobot:bench_arm", ArmConfig(options=(PORT, "id=left")))
    assert str(error.value).endswith(
        "lerobot-calibrate --robot.type=bench_arm --robot.port=/dev/ttyACM0 --robot.id=left"
    )
    assert not arms.HELD[-1].connected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limits": ("pan",)}, r"env\.limits takes NAME=LOW:HIGH, got 'pan'"),
        ({"limits": ("pan=5:1",)}, r"env\.limits takes LOW below HIGH, got pan=5:1"),
        ({"limits": ("pan=a:1",)}, r"env\.limits takes numbers, got pan=a"),
        ({"home": ("pan=x",)}, r"env\.home takes numbers, got pan=x"),
        ({"step": 0.0}, r"env\.step takes a number > 0"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_connected(fields, message):
    with pytest.raises(ConfigError, match=message):
        ArmConfig(**fields)


def test_without_lerobot_the_extra_is_named():
    with pytest.raises(MissingExtraError, match=r"environment 'lerobot:...' .*silri\[lerobot\]"):
        create_env("lerobot:so101_follower", ArmConfig())


def test_a_real_arm_has_a_rate_and_no_evaluations_by_default():
    preset = find_env("lerobot:so101_follower").preset()
    assert preset.run == {"runtime": {"rate_hz": 10.0}, "evaluation": {"every": 0}}
