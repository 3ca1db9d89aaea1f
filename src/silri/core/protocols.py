"""The contracts between the parts. Structural: nobody inherits from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from silri.core.specs import EnvSpec, Observation


@dataclass(frozen=True, slots=True)
class Privileged:
    """What only a simulator knows; rollout hands it to the operator and to nobody else.

    Attributes:
        expert_action: (A,) of the scripted expert, unclipped; gripper dims as class values.
        hand: (3,) metres.
        object: (3,) metres, the task's main object.
        goal: (3,) metres.
    """

    expert_action: np.ndarray
    hand: np.ndarray
    object: np.ndarray
    goal: np.ndarray


class Env(Protocol):
    """A Gymnasium environment with a dict observation and a spec; actions in [-1, 1]."""

    env_spec: EnvSpec

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; the layout is decided by ``seed`` alone."""

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One decision. ``info['success']`` and ``info['grasp_penalty']`` are always there."""

    def close(self) -> None:
        """Release the simulator or the robot."""


@runtime_checkable
class HasPrivileged(Protocol):
    """An environment that knows the truth (simulation only)."""

    def privileged(self) -> Privileged:
        """The truth about the current state."""


@runtime_checkable
class Disturbable(Protocol):
    """An environment whose scene can be disturbed in the middle of an episode.

    Attributes:
        disturbances: the kinds that it offers; may be empty.
    """

    disturbances: tuple[str, ...]

    def disturb(self, kind: str, rng: np.random.Generator) -> bool:
        """Disturb now; False, and nothing has changed, if ``kind`` does not apply now."""


@dataclass(frozen=True, slots=True)
class OperatorView:
    """What an operator may look at before a step.

    Attributes:
        observation: as the policy sees it.
        policy_action: (A,) what the policy is about to do.
        privileged: the simulator's truth, None on a robot.
        step: index within the episode.
        in_control: whether the operator is in control now.
        asked: the robot asks for help: its diagnostic ``ask`` is above 0.5.
    """

    observation: Observation
    policy_action: np.ndarray
    privileged: Privileged | None
    step: int
    in_control: bool
    asked: bool = False


@dataclass(frozen=True, slots=True)
class OperatorInput:
    """What an operator asks for in this step; the arbiter decides.

    Attributes:
        engaged: the operator wants control.
        action: (A,) what the operator asks for; None unless engaged.
        pause: stop the robot and wait.
    """

    engaged: bool
    action: np.ndarray | None = None
    pause: bool = False


class Operator(Protocol):
    """A person, or a simulated one."""

    def begin_episode(self, rng: np.random.Generator) -> None:
        """A new episode starts; every draw of it comes from ``rng``."""

    def decide(self, view: OperatorView) -> OperatorInput:
        """Called once per step, before it is executed."""

    def end_episode(self, summary: Mapping[str, float]) -> None:
        """The episode is over (success, length, intervention_steps): attention may change."""

    def state(self) -> dict[str, float]:
        """What must survive a restart; fed only by :meth:`end_episode`."""

    def restore(self, state: Mapping[str, float]) -> None:
        """The inverse of :meth:`state`."""


class Policy(Protocol):
    """What rollout asks for an action."""

    version: int

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """The action (A,) to propose and its diagnostics."""
