"""Any Gymnasium environment: spaces, names, ends, rewards, and a user's own in ten lines."""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from gymnasium.wrappers import TimeLimit
from hypothesis import given
from hypothesis import strategies as st

from silri.core.errors import (
    ConfigError,
    EnvironmentFault,
    NonFiniteError,
    SpecError,
    UnknownNameError,
)
from silri.core.protocols import (
    Directed,
    Disturbable,
    HasPrivileged,
    Observable,
    Pictured,
    Privileged,
    SelfPaced,
)
from silri.core.specs import UNKNOWN_HZ, ArraySpec
from silri.envs.config import GymConfig
from silri.envs.gym.adapter import GymEnv, env_from
from silri.envs.gym.spaces import ActionScaling
from silri.envs.registry import create_env, require_env

ARM = Box(-2.0, 2.0, (2,), np.float32)


class Arm(gymnasium.Env[Any, Any]):
    """A scripted environment: a test says what each step returns."""

    def __init__(
        self,
        observation_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] = ARM,
        script: tuple[tuple[float, bool, bool, dict[str, Any]], ...] = (),
    ) -> None:
        if observation_space is None:
            observation_space = Box(-1.0, 1.0, (3,), np.float64)
        self.observation_space = observation_space
        self.action_space = action_space
        self.script = script
        self.actions: list[Any] = []
        self.observation: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.actions = []
        self.observation_space.seed(seed)
        return self._observe(), {"seed": seed, "options": options}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        at = len(self.actions) - 1
        rest = self.script[at] if at < len(self.script) else (0.0, False, False, {})
        return (self._observe(), *rest)

    def _observe(self) -> Any:
        return self.observation_space.sample() if self.observation is None else self.observation


class ScriptedArm(Arm):
    """One that knows the truth."""

    def privileged(self) -> Privileged:
        return Privileged(np.ones(2, np.float32), np.zeros(3), np.zeros(3), np.zeros(3))


def adapt(env: Arm | None = None, **fields: Any) -> GymEnv:
    fields.setdefault("max_episode_steps", 10)
    return env_from(env or Arm(), "arm", GymConfig(**fields))


@pytest.fixture
def registered() -> Iterator[str]:
    gymnasium.register(id="SilriArm-v0", entry_point=Arm, max_episode_steps=7)
    yield "SilriArm-v0"
    del gymnasium.registry["SilriArm-v0"]


def step(env: GymEnv) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    return env.step(np.zeros(env.env_spec.action.size, np.float32))


# Spaces


def test_a_box_is_the_state() -> None:
    env = adapt(Arm(Box(-1.0, 1.0, (2, 3), np.float64)))
    assert dict(env.env_spec.observation) == {"state": ArraySpec((6,))}
    observation, info = env.reset(seed=3, options={"a": 1})
    assert observation["state"].dtype == np.float32
    assert observation["state"].shape == (6,)
    assert env.observation_space.contains(observation)
    assert info == {"seed": 3, "options": {"a": 1}, "success": False}


class Placed(Arm):
    metadata = {  # noqa: RUF012  Gymnasium's own way
        "points": {"state": [[0, 2], [1, 3], [4, 5]]},
        "objects": {"state": [[1, 3]]},
        "goals": {"state": [[4, 5]]},
    }

    def __init__(self) -> None:
        super().__init__(Box(-1.0, 1.0, (6,), np.float64))


def test_metadata_says_where_positions_are() -> None:
    spec = adapt(Placed()).env_spec
    assert spec.points == {"state": ((0, 2), (1, 3), (4, 5))}
    assert (spec.objects, spec.goals) == ({"state": ((1, 3),)}, {"state": ((4, 5),)})
    assert adapt(Arm()).env_spec.points == {}


@pytest.mark.parametrize(
    ("key", "said", "words"),
    [
        (
            "goals",
            {"state": [[0, 1]]},
            r"goals of .state. takes some of .* got \[\[0, 1\]\]",
        ),
        ("objects", {"pose": [[0, 2]]}, "objects of 'pose' takes some of its points"),
        ("objects", {}, "goals of .* want objects"),
        ("goals", {"state": [0, 1]}, r"goals of .* takes the indices of \(x, y\)"),
    ],
)
def test_goals_and_objects_are_among_the_points(key: str, said: Any, words: str) -> None:
    arm = Placed()
    arm.metadata = Placed.metadata | {key: said}
    with pytest.raises(ConfigError, match=words):
        adapt(arm)


@pytest.mark.parametrize("said", [[[0, 1]], {"state": [0, 1]}, {"state": [["x", "y"]]}])
def test_points_of_another_form_are_refused(said: Any) -> None:
    arm = Placed()
    arm.metadata = {"points": said}
    with pytest.raises(ConfigError, match=r"takes the indices of \(x, y\)"):
        adapt(arm)


def test_dict_keys_are_lerobots() -> None:
    image = Box(0, 255, (4, 5, 3), np.uint8)
    space = Dict(
        {
            "agent_pos": Box(-1.0, 1.0, (2,)),
            "environment_state": Box(-1.0, 1.0, (2, 2)),
            "pixels": Dict({"front": image, "wrist": image}),
            "top": image,
            "deep": Dict({"er": Box(-1.0, 1.0, ())}),
        }
    )
    env = adapt(Arm(space))
    assert dict(env.env_spec.observation) == {
        "state": ArraySpec((2,)),
        "environment_state": ArraySpec((4,)),
        "images.front": ArraySpec((4, 5, 3), "uint8"),
        "images.wrist": ArraySpec((4, 5, 3), "uint8"),
        "images.top": ArraySpec((4, 5, 3), "uint8"),
        "deep.er": ArraySpec((1,)),
    }
    observation, _ = env.reset(seed=0)
    env.env_spec.validate_observation(observation)


@pytest.mark.parametrize("nested", [True, False])
def test_cameras_that_have_lerobots_names_keep_them(nested: bool) -> None:
    image = Box(0, 255, (4, 5, 3), np.uint8)
    space = Dict({"images": Dict({"front": image})} if nested else {"images.front": image})
    env = adapt(Arm(space))
    assert list(env.env_spec.observation) == ["images.front"]
    env.env_spec.validate_observation(env.reset(seed=0)[0])


def two_cameras(**fields: Any) -> tuple[Arm, GymEnv]:
    """Front, 40 high and 60 wide: red left, blue right, a green middle; and a grey wrist's."""
    space = Dict(
        {
            "agent_pos": Box(-1, 1, (2,), np.float32),
            "pixels": Dict(
                {
                    "front": Box(0, 255, (40, 60, 3), np.uint8),
                    "wrist": Box(0, 255, (32, 32, 1), np.uint8),
                }
            ),
        }
    )
    arm = Arm(space)
    front = np.zeros((40, 60, 3), np.uint8)
    front[:, :10, 0], front[:, 10:50, 1], front[:, 50:, 2] = 255, 200, 255
    wrist = np.arange(32, dtype=np.uint8).repeat(32).reshape(32, 32, 1)
    pictures = {"front": front, "wrist": wrist}
    arm.observation = {"agent_pos": np.zeros(2, np.float32), "pixels": pictures}
    return arm, adapt(arm, **fields)


def test_cameras_are_cropped_to_the_middle_square_and_resized() -> None:
    _, env = two_cameras(image_size=16)
    observation, _ = env.reset(seed=0)
    shapes = {key: spec.shape for key, spec in env.env_spec.observation.items()}
    wanted = {"state": (2,), "images.front": (16, 16, 3), "images.wrist": (16, 16, 1)}
    assert shapes == wanted
    assert (observation["images.front"] == (0, 200, 0)).all()  # what lay left and right is cropped
    rows = observation["images.wrist"][:, 8, 0]
    assert (np.abs(rows - (2.0 * np.arange(16) + 0.5)) <= 1.0).all()  # pairs of rows, averaged
    assert env.observation_space.contains(observation)
    assert two_cameras()[1].reset(seed=0)[0]["images.front"].shape == (40, 60, 3)


@pytest.mark.parametrize("name", ["front", "images.front"])
def test_cameras_can_be_left_out(name: str) -> None:
    _, env = two_cameras(image_keys=(name,))
    assert set(env.reset(seed=0)[0]) == {"state", "images.front"}
    assert set(two_cameras(image_keys=())[1].env_spec.observation) == {"state"}


def test_a_camera_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no camera \['top'\]; it has front, wrist$"):
        two_cameras(image_keys=("front", "top"))
    with pytest.raises(ConfigError, match="nothing of .* would be left to see"):
        adapt(Arm(Dict({"front": Box(0, 255, (8, 8, 3), np.uint8)})), image_keys=())


def test_a_camera_of_another_shape_is_named_where_it_is_resized() -> None:
    arm, env = two_cameras(image_size=16)
    arm.observation["pixels"]["front"] = np.zeros((60, 60, 3), np.uint8)
    with pytest.raises(SpecError, match=r"images.front' has shape \(60, 60, 3\).*\(40, 60, 3\)"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    "space", [Box(0, 255, (4, 5, 3), np.uint8), Dict({"pixels": Box(0, 255, (4, 5, 3), np.uint8)})]
)
def test_a_lone_image(space: gymnasium.Space[Any]) -> None:
    assert list(adapt(Arm(space)).env_spec.observation) == ["images.pixels"]


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (Discrete(4), r"observation space Discrete\(4\) is unsupported: it is neither a Box"),
        (Tuple((ARM, ARM)), "FlattenObservation"),
        (Dict({"a": ARM, "b": MultiBinary(3)}), "at 'b' MultiBinary.* is unsupported"),
        (Dict({}), "it is empty"),
        (Dict({"agent_pos": ARM, "state": ARM}), r"two arrays would be called \['state'\]"),
    ],
)
def test_unsupported_observation_spaces(space: gymnasium.Space[Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        adapt(Arm(space))
    assert str(error.value).startswith("arm: observation space")


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (Discrete(4), "policies are continuous; it takes a bounded Box"),
        (Tuple((ARM, ARM)), "it takes a bounded Box"),
        (Box(-np.inf, np.inf, (2,)), "it has no bounds to rescale"),
        (Box(np.array([0.0, -np.inf]), np.ones(2), dtype=np.float64), "it has no bounds"),
        (Box(0, 5, (2,), np.int64), "its numbers are int64"),
        (Box(np.array([0.0, 1.0]), np.ones(2), dtype=np.float64), "low must be below high"),
    ],
)
def test_unsupported_action_spaces(space: gymnasium.Space[Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        adapt(Arm(action_space=space))
    assert str(error.value).startswith("arm: action space")


# Actions

bounds = st.floats(-1e3, 1e3, width=32)


@given(
    low=bounds,
    width=st.floats(0.125, 1e3, width=32),
    action=st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6),
)
def test_scaling_is_an_inverse_pair(low: float, width: float, action: list[float]) -> None:
    box = Box(np.full((2, 3), low), np.full((2, 3), low + width), dtype=np.float64)
    scaling = ActionScaling(box)
    ours = np.asarray(action, np.float32)
    theirs = scaling.to_env(ours)
    assert theirs.shape == (2, 3)
    assert (theirs >= box.low).all()
    assert (theirs <= box.high).all()
    np.testing.assert_allclose(scaling.from_env(theirs), ours, atol=1e-5)


def test_the_ends_of_the_range_are_exact() -> None:
    box = Box(np.array([0.1, -0.3], np.float32), np.array([0.7, 512.0], np.float32))
    scaling = ActionScaling(box)
    np.testing.assert_array_equal(scaling.to_env(np.array([-1, -1])), box.low)
    np.testing.assert_array_equal(scaling.to_env(np.array([1, 1])), box.high)
    np.testing.assert_array_equal(scaling.from_env(box.low), [-1, -1])
    np.testing.assert_array_equal(scaling.from_env(box.high), [1, 1])


def test_actions_arrive_rescaled_clipped_and_with_the_boxs_dtype() -> None:
    arm = Arm()
    env = adapt(arm)
    env.reset(seed=0)
    env.step(np.array([0.5, -3.0]))
    assert arm.actions[0].dtype == np.float32
    np.testing.assert_array_equal(arm.actions[0], [1.0, -2.0])


def test_action_repeat_adds_rewards_and_stops_at_the_end() -> None:
    arm = Arm(script=((1.0, False, False, {}), (2.0, False, False, {}), (4.0, True, False, {})))
    env = adapt(arm, action_repeat=2)
    env.reset(seed=0)
    assert step(env)[1:4] == (3.0, False, False)
    assert step(env)[1:4] == (4.0, True, False)
    assert len(arm.actions) == 3


def test_grippers_are_snapped_and_penalised() -> None:
    arm = Arm()
    env = adapt(arm, gripper_dims=(1,))
    assert env.env_spec.action.gripper == (1,)
    env.reset(seed=0)
    penalties = [
        env.step(np.array([0.0, grip]))[4]["grasp_penalty"] for grip in (-0.2, 0.1, 0.9, -1.0)
    ]
    assert penalties == [0.0, -0.02, 0.0, -0.02]
    assert [action[1] for action in arm.actions] == [-2.0, 2.0, 2.0, -2.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused(bad: float) -> None:
    arm = Arm()
    env = adapt(arm)
    env.reset(seed=0)
    with pytest.raises(NonFiniteError):
        env.step(np.array([0.0, bad]))
    assert arm.actions == []


# Observations from outside


def test_a_nan_observation_is_refused_by_name() -> None:
    arm = Arm()
    env = adapt(arm)
    env.reset(seed=0)
    arm.observation = np.array([0.0, np.nan, 0.0])
    with pytest.raises(NonFiniteError, match=r"'observation.state' is not finite at index \[1\]"):
        step(env)


def test_an_observation_of_another_shape_is_refused() -> None:
    arm = Arm()
    arm.observation = np.zeros(5)
    with pytest.raises(SpecError, match=r"shape \(5,\); the spec says \(3,\)"):
        adapt(arm).reset(seed=0)


def test_a_missing_key_is_a_fault() -> None:
    arm = Arm(Dict({"agent_pos": ARM, "deep": Dict({"er": ARM})}))
    arm.observation = {"agent_pos": np.zeros(2), "deep": {}}
    with pytest.raises(EnvironmentFault, match=r"arm: the observation has no 'deep.er'"):
        adapt(arm).reset(seed=0)


# Ends and rewards


@pytest.mark.parametrize(
    ("reward", "terminated", "info", "success"),
    [
        (0.0, False, {"success": True}, True),
        (0.0, False, {"is_success": 1.0}, True),
        (5.0, True, {"success": False}, False),  # what it says counts
        (5.0, True, {}, True),
        (0.0, True, {}, False),
        (-1.0, True, {}, False),
        (5.0, False, {}, False),
    ],
)
def test_success(reward: float, terminated: bool, info: dict[str, Any], success: bool) -> None:
    env = adapt(Arm(script=((reward, terminated, False, info),)))
    env.reset(seed=0)
    _, got, ended, truncated, said = step(env)
    assert said["success"] is success
    assert said["grasp_penalty"] == 0.0
    assert (got, ended, truncated) == (reward, terminated, False)  # its own ends stand


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((None, False, False, {}), "arm: the reward of step() is None; it takes a number"),
        ((0.0, "False", False, {}), "terminated of step() is 'False'; it takes True or False"),
        ((0.0, False, {"a": False}, {}), "truncated of step() is {'a': False}; it takes True"),
        ((0.0, False, False, {"success": "False"}), "info['success'] of arm is 'False'; it takes"),
        ((0.0, False, False, {"is_success": np.nan}), "info['is_success'] of arm is nan; it takes"),
        ((0.0, False, False, {"success": 0.3}), "is 0.3; .* name another key (--env.success-key)"),
    ],
)
def test_what_can_be_misread_is_refused_by_name(values: Any, message: str) -> None:
    env = adapt(Arm(script=(values,)))
    env.reset(seed=0)
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(SpecError, match=pattern):
        step(env)


def test_arrays_of_one_element_are_what_is_in_them_and_none_says_nothing() -> None:
    values = (np.array([2.5]), np.array([True]), np.array(0), {"success": None})
    env = adapt(Arm(script=(values,)))
    env.reset(seed=0)
    _, reward, terminated, truncated, info = step(env)
    assert (reward, terminated, truncated) == (2.5, True, False)
    assert info["success"] is True  # as where there is no such key: an end with a reward


def test_sparse_reward_ends_at_success() -> None:
    env = adapt(Arm(script=((3.0, False, False, {}), (3.0, False, False, {"success": True}))))
    sparse = adapt(env._env.unwrapped, reward="sparse")  # type: ignore[arg-type]
    sparse.reset(seed=0)
    assert step(sparse)[1:4] == (-0.05, False, False)
    assert step(sparse)[1:4] == (10.0, True, False)


def test_a_success_that_ends_nothing_goes_on() -> None:
    script = ((3.0, False, False, {"success": True}), (3.0, False, False, {"success": False}))
    env = adapt(Arm(script=script), reward="sparse", end_on_success=False)
    env.reset(seed=0)
    first, second = step(env), step(env)
    assert (first[1:4], first[4]["success"]) == ((10.0, False, False), True)
    assert (second[1:4], second[4]["success"]) == ((-0.05, False, False), False)


def test_time_out_is_truncation() -> None:
    env = adapt(max_episode_steps=3)
    env.reset(seed=0)
    assert [step(env)[2:4] for _ in range(3)] == [(False, False)] * 2 + [(False, True)]
    with pytest.raises(EnvironmentFault, match="without reset"):
        step(env)


def test_termination_wins_over_truncation() -> None:
    env = adapt(Arm(script=((1.0, True, True, {}),)), max_episode_steps=1)
    env.reset(seed=0)
    assert step(env)[2:4] == (True, False)


# Names


def test_the_registered_limit_counts_decisions(registered: str) -> None:
    env = create_env(f"gym/{registered}", GymConfig())
    assert env.env_spec.name == "gym/SilriArm-v0"
    assert env.env_spec.max_episode_steps == 7
    slow = create_env(registered, GymConfig(action_repeat=2))
    assert slow.env_spec.max_episode_steps == 4
    longer = create_env(registered, GymConfig(max_episode_steps=9))
    longer.reset(seed=0)
    ends = [longer.step(np.zeros(2, np.float32))[3] for _ in range(9)]
    assert ends == [False] * 8 + [True]


@pytest.mark.parametrize("outermost", [True, False])
def test_the_limit_of_a_wrapper_counts_as_well(outermost: bool) -> None:
    limited: gymnasium.Env[Any, Any] = TimeLimit(Arm(), 7)
    if not outermost:
        limited = gymnasium.wrappers.OrderEnforcing(limited)
    assert env_from(limited, "arm", GymConfig()).env_spec.max_episode_steps == 7
    assert env_from(limited, "arm", GymConfig(action_repeat=2)).env_spec.max_episode_steps == 4


def test_no_step_limit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="arm has no step limit; .*--env.max-episode-steps 200"):
        env_from(Arm(), "arm")


@pytest.mark.parametrize("prefix", ["", "gym/"])
def test_a_users_module_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    (tmp_path / "silri_my_arm.py").write_text(
        "import gymnasium\n"
        "gymnasium.register(id='SilriMine-v0', entry_point='gymnasium.envs.classic_control."
        "continuous_mountain_car:Continuous_MountainCarEnv', max_episode_steps=20)\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    try:
        env = create_env(f"{prefix}silri_my_arm:SilriMine-v0", GymConfig())
        assert env.env_spec.max_episode_steps == 20
        assert sys.path == before
    finally:
        gymnasium.registry.pop("SilriMine-v0", None)
        sys.modules.pop("silri_my_arm", None)


def test_a_missing_module() -> None:
    with pytest.raises(ConfigError, match="no module 'silri_nowhere'"):
        create_env("silri_nowhere:Arm-v0", GymConfig())


def test_an_error_inside_a_users_module_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "silri_broken.py").write_text("import silri_not_installed\n")
    monkeypatch.chdir(tmp_path)
    words = "'silri_broken' cannot be imported: ModuleNotFoundError: .* 'silri_not_installed'"
    with pytest.raises(ConfigError, match=words):
        create_env("silri_broken:Arm-v0", GymConfig())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gym/SilriArm-v1", "gym/SilriArm-v0"),
        ("SilriArn-v0", "SilriArm-v0"),
        ("metaworld/drawer-open", "metaworld/drawer-open-v3"),
        ("drawer-open-v3", "metaworld/drawer-open-v3"),
    ],
)
def test_unknown_names_show_the_nearest(registered: str, name: str, near: str) -> None:
    assert registered
    with pytest.raises(UnknownNameError, match=f"Did you mean '{near}'"):
        require_env(name)


def test_a_real_one() -> None:
    env = create_env("gym/Pendulum-v1", GymConfig(max_episode_steps=5))
    first, _ = env.reset(seed=4)
    for _ in range(5):
        _, reward, terminated, truncated, _ = env.step(np.ones(1, np.float32))
        assert reward < 0
    assert (terminated, truncated) == (False, True)
    np.testing.assert_array_equal(env.reset(seed=4)[0]["state"], first["state"])
    env.close()


def test_the_rate_is_that_of_the_metadata() -> None:
    assert adapt().env_spec.control_hz == UNKNOWN_HZ
    fast = Arm()
    fast.metadata = {"render_fps": 50}
    assert adapt(fast).env_spec.control_hz == 50.0
    assert adapt(fast, action_repeat=3).env_spec.control_hz == pytest.approx(50 / 3, abs=1e-6)
    pendulum = create_env("gym/Pendulum-v1", GymConfig())
    assert pendulum.env_spec.control_hz == 30.0
    pendulum.close()


@pytest.mark.parametrize("fps", [0, -5, float("nan"), "fast"])
def test_a_rate_that_is_none_is_refused(fps: Any) -> None:
    odd = Arm()
    odd.metadata = {"render_fps": fps}
    with pytest.raises(ConfigError, match=r"\['render_fps'\] of arm takes Hz > 0, got"):
        adapt(odd)


# What an environment offers

OFFERS = {
    "privileged": ScriptedArm.privileged,
    "pace": lambda self, wait: setattr(self, "wait", wait),
    "disturb": lambda self, kind, rng: kind == "kick",
    "directions": ("left", "up"),
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    "names", [names for size in range(4) for names in itertools.combinations(OFFERS, size)]
)
def test_whatever_is_offered_is_offered_behind_wrappers(
    names: tuple[str, ...], wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers: dict[str, Any] = {name: OFFERS[name] for name in names}
    if "disturb" in names:
        offers["disturbances"] = ("kick",)
    arm = type("Offering", (Arm,), offers)()
    # In a registered environment Gymnasium's own wrappers lie around it.
    if wrapped:
        gymnasium.register("SilriOffering-v0", lambda: arm, max_episode_steps=7)
        try:
            env = create_env("SilriOffering-v0", GymConfig(max_episode_steps=5))
        finally:
            del gymnasium.registry["SilriOffering-v0"]
    else:
        env = adapt(arm)
    assert isinstance(env, HasPrivileged) == ("privileged" in names)
    assert isinstance(env, SelfPaced) == ("pace" in names)
    assert isinstance(env, Disturbable) == ("disturb" in names)
    assert isinstance(env, Directed) == ("directions" in names)
    env.reset(seed=0)
    if isinstance(env, HasPrivileged):
        np.testing.assert_array_equal(env.privileged().expert_action, [1, 1])
    if isinstance(env, SelfPaced):
        env.pace(monkeypatch.undo)
        assert arm.wait == monkeypatch.undo  # type: ignore[attr-defined]
    if isinstance(env, Disturbable):
        assert env.disturbances == ("kick",)
        assert env.disturb("kick", np.random.default_rng(0))
    if isinstance(env, Directed):
        assert env.directions == ("left", "up")


@pytest.mark.parametrize("words", [{"north": 1}, ("left", 2), "left"])
def test_directions_that_mean_something_else_are_not_offered(words: Any) -> None:
    assert not isinstance(adapt(type("Odd", (Arm,), {"directions": words})()), Directed)


def test_what_is_observed_between_steps_is_an_observation_like_others() -> None:
    class Seeing(Arm):
        def observe(self) -> np.ndarray:
            return self.observation_space.sample()

    assert not isinstance(adapt(Arm()), Observable)
    env = adapt(Seeing())
    assert isinstance(env, Observable)
    first, _ = env.reset(seed=0)
    seen = env.observe()
    assert {k: (v.shape, v.dtype) for k, v in seen.items()} == {
        k: (v.shape, v.dtype) for k, v in first.items()
    }


class Painted(Arm):
    """Gives pictures to whoever asks for them when it is made."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}  # type: ignore[misc]

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.full((4, 5, 3), 7, np.uint8)


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_pictures_come_only_if_asked_for(
    pictures: bool, by_name: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("painted_for_this_test")
    vars(module)["Painted"] = Painted
    monkeypatch.setitem(sys.modules, module.__name__, module)
    kind = f"{module.__name__}:Painted" if by_name else Painted
    gymnasium.register("SilriPainted-v0", kind, max_episode_steps=7)
    try:
        env = create_env("SilriPainted-v0", GymConfig(), pictures=pictures)
    finally:
        del gymnasium.registry["SilriPainted-v0"]
    env.reset(seed=0)
    assert isinstance(env, Pictured)
    picture = env.render()
    assert (picture is not None) == pictures
    if picture is not None:
        assert picture.shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("drawn", "got"),
    [
        (np.full((4, 5, 3), 7, np.int64), "a picture"),
        (None, "none"),
        (np.full((4, 5, 3), 0.5), "float64 (4, 5, 3)"),  # black, if it were converted
        (np.full((4, 5, 3), 300), "int64 (4, 5, 3)"),
        (np.zeros((4, 5), np.uint8), "uint8 (4, 5)"),
        ([np.zeros((4, 5, 3), np.uint8)], "uint8 (1, 4, 5, 3)"),
    ],
)
def test_a_picture_is_of_bytes(drawn: Any, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Painted, "render", lambda self: drawn)
    env = adapt(Painted("rgb_array"))
    if got == "none":
        assert env.render() is None
    elif got == "a picture":
        np.testing.assert_array_equal(env.render(), np.full((4, 5, 3), 7, np.uint8))
    else:
        with pytest.raises(SpecError, match=re.escape(f"arm: render() gave {got}; it takes uint8")):
            env.render()


def test_an_environment_without_pictures_is_made_as_always() -> None:
    gymnasium.register("SilriPlain-v0", Arm, max_episode_steps=7)
    try:
        env = create_env("SilriPlain-v0", GymConfig(), pictures=True)
    finally:
        del gymnasium.registry["SilriPlain-v0"]
    env.reset(seed=0)
    assert isinstance(env, Pictured)
    assert env.render() is None


def test_the_outermost_offer_counts() -> None:
    class Corrected(gymnasium.Wrapper):  # type: ignore[type-arg]
        def privileged(self) -> Privileged:
            known = self.env.unwrapped.privileged()  # type: ignore[attr-defined]
            return dataclasses.replace(known, expert_action=-known.expert_action)

    env = env_from(Corrected(ScriptedArm()), "arm", GymConfig(max_episode_steps=5))
    assert isinstance(env, HasPrivileged)
    np.testing.assert_array_equal(env.privileged().expert_action, [-1, -1])


def test_a_robot_that_paces_itself_takes_one_step_per_decision() -> None:
    class Robot(Arm):
        def pace(self, wait: Any) -> None: ...

    adapt(Robot(), action_repeat=1)
    with pytest.raises(ConfigError, match=r"action_repeat = 2: arm paces itself"):
        adapt(Robot(), action_repeat=2)
