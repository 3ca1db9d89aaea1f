"""Which environment, and how: the part of a run's configuration that belongs to ``silri.envs``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from silri.core.errors import ConfigError
from silri.core.protocols import Env

METAWORLD = "metaworld/"  # family of environments whose rewards are sparse unless asked
Gripper = Literal["discrete", "continuous"]
Reward = Literal["sparse", "env"]


@dataclass(frozen=True)
class EnvConfig:
    """An environment by name. ``None`` means the family's own default, written beside it.

    Families: ``metaworld/<task>``, and every registered Gymnasium id as ``gym/<id>``, ``<id>`` or
    ``module:<id>`` (the module is imported first and registers the id).
    """

    # metaworld/<task>, gym/<id>, a bare Gymnasium id, or module:id; see `silri list envs`
    name: str = "metaworld/drawer-open-v3"
    # decisions until the time-out (None: 100 for metaworld, the id's registered limit for gym)
    max_episode_steps: int | None = None
    # simulator steps per decision (None: 2 for metaworld, 1 for gym)
    action_repeat: int | None = None
    # metaworld: half-width in metres of the box of layouts around its centre (None: whole range)
    reset_range: float | None = None
    # metaworld: a gripper that is open or closed, or one more continuous dimension
    gripper: Gripper = "discrete"
    # gym: indices of the action dimensions that are open-or-close grippers
    gripper_dims: tuple[int, ...] = ()
    # None: sparse for metaworld, the environment's own for gym
    reward: Reward | None = None
    # sparse reward: of the step that succeeds, which ends the episode
    success_reward: float = 10.0
    # sparse reward: of every other step
    step_reward: float = -0.05
    # <= 0, of a step that opens or closes a discrete gripper; used by grasp critics only
    grasp_penalty: float = -0.02

    def __post_init__(self) -> None:
        """Check every field that can be checked without a simulator.

        Raises:
            ConfigError: naming the field, what it got and what it takes.
        """
        _check(bool(self.name), "name", self.name, "the name of an environment")
        for field in ("max_episode_steps", "action_repeat"):
            count = getattr(self, field)
            _check(count is None or count >= 1, field, count, "a whole number from 1, or none")
        width = self.reset_range
        _check(
            width is None or (width > 0 and math.isfinite(width)),
            "reset_range",
            width,
            "metres > 0, or none for the task's whole range",
        )
        _check(
            self.gripper in ("discrete", "continuous"),
            "gripper",
            self.gripper,
            "'discrete' or 'continuous'",
        )
        _check(self.reward in (None, "sparse", "env"), "reward", self.reward, "'sparse' or 'env'")
        for field in ("success_reward", "step_reward", "grasp_penalty"):
            number = getattr(self, field)
            _check(math.isfinite(number), field, number, "a finite number")
        _check(self.grasp_penalty <= 0, "grasp_penalty", self.grasp_penalty, "a number <= 0")

    @property
    def sparse(self) -> bool:
        """Whether rewards are :attr:`success_reward` and :attr:`step_reward`."""
        return self.reward == "sparse" or (self.reward is None and self.name.startswith(METAWORLD))

    def create(self) -> Env:
        """Build the environment.

        Raises:
            UnknownNameError: if no environment has this name; lists the right ones.
            ConfigError: if its spaces are unsupported, or a field does not apply to its family.
        """
        from silri.envs.registry import create  # here: the registry needs EnvConfig

        return create(self)


def _check(good: bool, field: str, value: object, takes: str) -> None:
    if not good:
        raise ConfigError(f"env.{field} = {value!r}; it takes {takes}")
