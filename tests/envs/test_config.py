"""Configurations of environments and the table of their names."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from silri.core.errors import ConfigError
from silri.envs import registry
from silri.envs.config import GymConfig, MetaworldConfig


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("metaworld/push-v3", MetaworldConfig),
        ("gym/Pendulum-v1", GymConfig),
        ("Pendulum-v1", GymConfig),
        ("somebodys_module:Arm-v0", GymConfig),  # whose module is not needed to know that
    ],
)
def test_a_name_decides_which_fields_there_are(name: str, kind: type) -> None:
    assert registry.find_env(name).config is kind


def test_whose_rewards_are_sparse() -> None:
    assert MetaworldConfig().sparse
    assert not MetaworldConfig(reward="env").sparse
    assert not GymConfig().sparse
    assert GymConfig(reward="sparse").sparse


def test_no_family_has_the_fields_of_another() -> None:
    with pytest.raises(ConfigError, match=r"^env has no field 'reset_range'"):
        GymConfig(reset_range=0.1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"^env has no field 'gripper_dims'\. .* 'gripper'"):
        MetaworldConfig(gripper_dims=(1,))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("field", "value", "takes"),
    [
        ("max_episode_steps", 0, "a whole number >= 1"),
        ("max_episode_steps", None, "a whole number >= 1"),
        ("action_repeat", -1, "a whole number >= 1"),
        ("reset_range", 0.0, "a number > 0, or None"),
        ("reset_range", math.inf, "a finite number > 0, or None"),
        ("gripper", "soft", "'discrete' or 'continuous'"),
        ("reward", "dense", "'sparse' or 'env'"),
        ("success_reward", math.nan, "a finite number"),
        ("step_reward", math.inf, "a finite number"),
        ("grasp_penalty", 0.1, "a number <= 0"),
    ],
)
def test_a_wrong_value_names_field_value_and_remedy(field: str, value: Any, takes: str) -> None:
    with pytest.raises(ConfigError) as error:
        MetaworldConfig(**{field: value})
    assert str(error.value) == f"env.{field} takes {takes}, got {value!r}"


def test_the_listing_shows_ceilings() -> None:
    rows = {entry.name: entry.summary for entry in registry.ENVS}
    assert len(rows) == 58
    assert rows["metaworld/drawer-open-v3"] == "scripted expert succeeds in 100% of layouts"
    assert "Box" in rows["gym/<id>"]
    assert all(0.2 <= share <= 1.0 for share in registry.EXPERT_CEILINGS.values())


def test_listing_imports_no_simulator() -> None:
    code = (
        "import sys; from silri.envs import registry; list(registry.ENVS); "
        "assert not {'metaworld', 'mujoco', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_metaworld_warns_of_nothing() -> None:
    code = "import silri.envs.metaworld.env"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
