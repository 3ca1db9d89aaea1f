"""EnvConfig and the table of names."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from silri.core.errors import ConfigError
from silri.envs import registry
from silri.envs.config import EnvConfig


@pytest.mark.parametrize(
    ("name", "reward", "sparse"),
    [
        ("metaworld/push-v3", None, True),
        ("metaworld/push-v3", "env", False),
        ("gym/Pendulum-v1", None, False),
        ("gym/Pendulum-v1", "sparse", True),
    ],
)
def test_whose_rewards_are_sparse(name: str, reward: Any, sparse: bool) -> None:
    assert EnvConfig(name=name, reward=reward).sparse is sparse


@pytest.mark.parametrize(
    ("field", "value", "takes"),
    [
        ("name", "", "the name of an environment"),
        ("max_episode_steps", 0, "a whole number from 1"),
        ("action_repeat", -1, "a whole number from 1"),
        ("reset_range", 0.0, "metres > 0"),
        ("reset_range", math.inf, "metres > 0"),
        ("gripper", "soft", "'discrete' or 'continuous'"),
        ("reward", "dense", "'sparse' or 'env'"),
        ("success_reward", math.nan, "a finite number"),
        ("step_reward", math.inf, "a finite number"),
        ("grasp_penalty", 0.1, "a number <= 0"),
    ],
)
def test_a_wrong_value_names_field_value_and_remedy(field: str, value: Any, takes: str) -> None:
    with pytest.raises(ConfigError) as error:
        EnvConfig(**{field: value})
    message = str(error.value)
    assert message.startswith(f"env.{field} = {value!r}; it takes ")
    assert takes in message


def test_the_listing_shows_ceilings() -> None:
    rows = {entry.name: entry.summary for entry in registry.entries()}
    assert len(rows) == 51
    assert rows["metaworld/drawer-open-v3"] == "scripted expert succeeds in 100% of layouts"
    assert "Box" in rows["gym/<id>"]
    assert all(0.2 <= share <= 1.0 for share in registry.EXPERT_CEILINGS.values())


def test_listing_imports_no_simulator() -> None:
    code = (
        "import sys; from silri.envs import registry; list(registry.entries()); "
        "assert not {'metaworld', 'mujoco', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_metaworld_warns_of_nothing() -> None:
    code = "import silri.envs.metaworld"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_the_document_has_the_same_ceilings() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w-]+-v3) \| ([\d.]+) \| \d+ \|$", text, re.MULTILINE))
    assert {task: float(share) for task, share in rows.items()} == registry.EXPERT_CEILINGS
