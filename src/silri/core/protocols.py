"""The contracts between the parts. Structural: nobody inherits from these."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from silri.core.commands import Command
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
        """Start an episode; the layout is decided by ``seed`` alone.

        ``info["task"]``, if there, is a text: what is to be done in this episode. Evaluations
        count success by it. Where an observation has an ``instruction``, that is what is stored
        as the episode's task.
        """

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One decision. ``info['success']`` and ``info['grasp_penalty']`` are always there.

        ``info["executed"]``, if there, is (A,) in [-1, 1]: what was really executed, where a
        limit or the hardware changed it. It is stored as the action.
        """

    def close(self) -> None:
        """Release the simulator or the robot."""


@runtime_checkable
class HasPrivileged(Protocol):
    """An environment that knows the truth (simulation only)."""

    def privileged(self) -> Privileged:
        """The truth about the current state."""


@runtime_checkable
class Observable(Protocol):
    """An environment that can be looked at without a step, as a robot can.

    After a pause the loop looks again before anybody decides.
    """

    def observe(self) -> Observation:
        """What its sensors see now; nothing moves."""


@runtime_checkable
class Pictured(Protocol):
    """An environment that can be drawn for a person, from where it is good to watch."""

    def render(self) -> np.ndarray | None:
        """(H, W, 3) uint8 of what is there now; None if it was not opened for that."""


@runtime_checkable
class Disturbable(Protocol):
    """An environment whose scene can be disturbed in the middle of an episode.

    Attributes:
        disturbances: the kinds that it offers; may be empty.
    """

    disturbances: tuple[str, ...]

    def disturb(self, kind: str, rng: np.random.Generator) -> bool:
        """Disturb now; False, and nothing has changed, if ``kind`` does not apply now."""


@runtime_checkable
class Directed(Protocol):
    """An environment that says which way its actions go, for a person at a device.

    Attributes:
        directions: what each continuous dimension does when it is positive, as seen from the
            robot's base; see :data:`silri.intervention.devices.mapping.Direction`.
    """

    directions: tuple[str, ...]


@runtime_checkable
class SelfPaced(Protocol):
    """A real robot: it waits between command and sensing, so that what it senses is fresh.

    Its ``info`` may have ``commanded_at`` and ``observed_at``: seconds of the run's clock at
    which the command left and the observation was taken.
    """

    def pace(self, wait: Callable[[], None]) -> None:
        """Called once. Every step is to call ``wait`` after its command has left."""


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
        estimate: Q of ``policy_action``, the diagnostic ``q_policy``; NaN where there is none.
    """

    observation: Observation
    policy_action: np.ndarray
    privileged: Privileged | None
    step: int
    in_control: bool
    asked: bool = False
    estimate: float = math.nan


@dataclass(frozen=True, slots=True)
class OperatorInput:
    """What an operator asks for in this step; the arbiter decides.

    Attributes:
        engaged: the operator wants control.
        action: (A,) what the operator asks for. A device may give it while not engaged; it counts
            once the command TAKE was given.
        pause: stop the robot and wait.
        commands: what the operator asks of the loop, in order.
        notices: what a person should know, one sentence each: a device was unplugged, say.
    """

    engaged: bool
    action: np.ndarray | None = None
    pause: bool = False
    commands: tuple[Command, ...] = ()
    notices: tuple[str, ...] = ()


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


@runtime_checkable
class HasDemonstrator(Protocol):
    """An operator that demonstrates in another way than it intervenes, as a simulated person does.

    A device has none of this: the person at it drives in a demonstration, too.
    """

    def demonstrator(self) -> Operator:
        """The same person, who drives the whole time.

        Raises:
            ConfigError: it cannot demonstrate.
        """


@runtime_checkable
class Closeable(Protocol):
    """An operator that holds something open, such as a device; it is closed with the run."""

    def close(self) -> None:
        """Let go of it."""


@runtime_checkable
class Announced(Protocol):
    """An operator that a person must find first.

    Attributes:
        announcement: one line for the terminal, such as where its page is.
    """

    announcement: str


@runtime_checkable
class Live(Protocol):
    """An operator behind whom a living person sits: a simulation is to keep the pace of life.

    Attributes:
        live: True.
    """

    live: bool


class Policy(Protocol):
    """What rollout asks for an action."""

    @property
    def version(self) -> int:
        """Learner iterations behind the parameters that propose next."""

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """The action (A,) to propose and its diagnostics."""
