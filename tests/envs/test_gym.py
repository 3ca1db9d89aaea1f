"""Any Gymnasium environment: spaces, names, ends, rewards, and a user's own in ten lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from hypothesis import given
from hypothesis import strategies as st

from silri.core.errors import (
    ConfigError,
    EnvironmentFault,
    NonFiniteError,
    SpecError,
    UnknownNameError,
)
from silri.core.protocols import HasPrivileged, Privileged
from silri.core.specs import ArraySpec
from silri.envs.config import EnvConfig
from silri.envs.gym import ActionScaling, GymEnv, env_from

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
    return env_from(env or Arm(), "arm", EnvConfig(name="arm", **fields))


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
        (Dict({"a": ARM, "b": MultiBinary(3)}), "at 'b' is unsupported"),
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


def test_sparse_reward_ends_at_success() -> None:
    env = adapt(Arm(script=((3.0, False, False, {}), (3.0, False, False, {"success": True}))))
    sparse = adapt(env._env.unwrapped, reward="sparse")  # type: ignore[arg-type]
    sparse.reset(seed=0)
    assert step(sparse)[1:4] == (-0.05, False, False)
    assert step(sparse)[1:4] == (10.0, True, False)


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
    env = EnvConfig(name=f"gym/{registered}").create()
    assert env.env_spec.name == "gym/SilriArm-v0"
    assert env.env_spec.max_episode_steps == 7
    assert EnvConfig(name=registered, action_repeat=2).create().env_spec.max_episode_steps == 4
    longer = EnvConfig(name=registered, max_episode_steps=9).create()
    longer.reset(seed=0)
    ends = [longer.step(np.zeros(2, np.float32))[3] for _ in range(9)]
    assert ends == [False] * 8 + [True]


def test_no_step_limit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="arm has no step limit; give env.max_episode_steps"):
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
        env = EnvConfig(name=f"{prefix}silri_my_arm:SilriMine-v0").create()
        assert env.env_spec.max_episode_steps == 20
        assert sys.path == before
    finally:
        gymnasium.registry.pop("SilriMine-v0", None)
        sys.modules.pop("silri_my_arm", None)


def test_a_missing_module() -> None:
    with pytest.raises(ConfigError, match="no module 'silri_nowhere'"):
        EnvConfig(name="silri_nowhere:Arm-v0").create()


def test_an_error_inside_a_users_module_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "silri_broken.py").write_text("import silri_not_installed\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="silri_not_installed"):
        EnvConfig(name="silri_broken:Arm-v0").create()


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
        EnvConfig(name=name).create()


def test_reset_range_is_for_metaworld(registered: str) -> None:
    with pytest.raises(ConfigError, match=r"reset_range = 0.1 is for metaworld"):
        EnvConfig(name=registered, reset_range=0.1).create()


def test_a_real_one() -> None:
    env = EnvConfig(name="gym/Pendulum-v1", max_episode_steps=5).create()
    first, _ = env.reset(seed=4)
    for _ in range(5):
        _, reward, terminated, truncated, _ = env.step(np.ones(1, np.float32))
        assert reward < 0
    assert (terminated, truncated) == (False, True)
    np.testing.assert_array_equal(env.reset(seed=4)[0]["state"], first["state"])
    env.close()


def test_privileged_is_offered_only_where_it_exists() -> None:
    assert not isinstance(adapt(), HasPrivileged)
    scripted = adapt(ScriptedArm())
    assert isinstance(scripted, HasPrivileged)
    scripted.reset(seed=0)
    np.testing.assert_array_equal(scripted.privileged().expert_action, [1, 1])
