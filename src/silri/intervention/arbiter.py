"""Who drives: a table of phases, and the one place where human intent becomes motion.

Devices, consoles and operators send commands (:mod:`silri.core.commands`). The loop takes them once
per step and hands those that say who drives to :meth:`Arbiter.obey`. Control is handed over by
blending, never by a jump.

*When* a simulated person wants to drive is decided in :mod:`silri.intervention.gate`; a real one's
device says it. What follows from it is decided here.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from silri.core.commands import Command
from silri.core.errors import ConfigError, SilriError, SpecError
from silri.core.protocols import OperatorInput
from silri.core.specs import ActionSpec


class Phase(enum.Enum):
    """What the loop is doing."""

    RESETTING = "resetting"  # between episodes; nothing may be executed
    AUTONOMOUS = "autonomous"  # the policy drives
    HUMAN = "human"  # a person drives
    PAUSED = "paused"  # nobody drives; the loop must not step


SUCCESSORS: Mapping[Phase, frozenset[Phase]] = {
    # A person takes over in the first step of an episode, not before it has begun.
    Phase.RESETTING: frozenset({Phase.AUTONOMOUS, Phase.PAUSED}),
    Phase.AUTONOMOUS: frozenset({Phase.HUMAN, Phase.PAUSED, Phase.RESETTING}),
    Phase.HUMAN: frozenset({Phase.AUTONOMOUS, Phase.PAUSED, Phase.RESETTING}),
    Phase.PAUSED: frozenset({Phase.AUTONOMOUS, Phase.HUMAN, Phase.RESETTING}),
}


class PhaseError(SilriError):
    """A transition that :data:`SUCCESSORS` does not have."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do in this step.

    Attributes:
        executed: (A,) the action to send. While ``phase`` is PAUSED the loop must not step; this
            is then neutral (no motion, grippers as they were), for a robot that wants a command.
        human_action: (A,) what the person asked for; NaN when nobody drives.
        human_weight: share of ``human_action`` in the continuous dimensions of ``executed``; 0
            when nobody drives.
        is_intervention: a person drives.
        phase: of this step.
    """

    executed: np.ndarray
    human_action: np.ndarray
    human_weight: float
    is_intervention: bool
    phase: Phase


class Arbiter:
    """Decides, step by step, what the robot executes.

    The weight ``w`` of the human in the continuous dimensions moves by ``1 / (blend_steps + 1)``
    per step: up to 1 while a person drives, down to 0 after the release. ::

        executed = w * human + (1 - w) * policy      gripper dimensions: who drives, at once

    After a release ``human`` is the last motion that was asked for. Those steps are the policy's:
    not flagged as intervention, ``human_weight`` 0, ``human_action`` NaN.
    """

    def __init__(self, action_spec: ActionSpec, blend_steps: int = 1) -> None:
        """Start in RESETTING.

        Args:
            action_spec: what is executed is snapped to it.
            blend_steps: steps in between; 0 switches at once.

        Raises:
            ConfigError: on negative ``blend_steps``.
        """
        if blend_steps < 0:
            raise ConfigError(f"blend_steps = {blend_steps!r}; it takes a whole number from 0")
        self._spec = action_spec
        self._ramp_steps = blend_steps + 1
        self._gripper = list(action_spec.gripper)
        self._nobody = np.full(action_spec.size, np.nan, np.float32)
        self._nobody.flags.writeable = False
        self._phase = Phase.RESETTING
        self._held = self._taken = False
        self._forget()

    @property
    def phase(self) -> Phase:
        """Who drives now."""
        return self._phase

    def obey(self, command: Command) -> None:
        """Change who drives from the next :meth:`decide` on; called on the loop's thread.

        PAUSE holds until RESUME, over episodes. TAKE gives control to the person, who need not
        be engaged, until RELEASE or the end of the episode. Without an action of the person the
        robot stands still meanwhile.

        Raises:
            PhaseError: the command does not say who drives.
        """
        if command in (Command.PAUSE, Command.RESUME):
            self._held = command is Command.PAUSE
        elif command in (Command.TAKE, Command.RELEASE):
            self._taken = command is Command.TAKE
        else:
            raise PhaseError(f"'{command.value}' is no command to the arbiter")

    def holds(self, operator_input: OperatorInput) -> bool:
        """Whether the robot is to stand still in this step."""
        return operator_input.pause or self._held

    def begin_episode(self) -> None:
        """A new episode: forget the last one's motion; the policy drives.

        A pause goes on in the first step.
        """
        self.end_episode()
        self._taken = False
        self._forget()
        self._enter(Phase.AUTONOMOUS)

    def end_episode(self) -> None:
        """Nothing may be executed until :meth:`begin_episode`."""
        if self._phase is not Phase.RESETTING:
            self._enter(Phase.RESETTING)

    def decide(self, policy_action: np.ndarray, operator_input: OperatorInput) -> Decision:
        """Decide what is executed in this step.

        Args:
            policy_action: (A,) the policy's proposal.
            operator_input: what the operator asks for.

        Raises:
            PhaseError: if no episode has begun.
            SpecError: an action has a wrong shape, or the operator is engaged without one.
            NonFiniteError: NaN or infinity in an action; nothing is executed.
        """
        policy = self._spec.validate("policy_action", policy_action)
        human = None
        if operator_input.engaged or self._taken:
            asked = operator_input.action
            if asked is None and operator_input.engaged:
                raise SpecError("the operator is engaged and has no action")
            asked = self._neutral() if asked is None else asked
            human = self._spec.snap(self._spec.validate("human_action", asked))
        self._follow(operator_input, driven=human is not None)
        if self._phase is Phase.PAUSED:
            self._ramp = 0  # whoever drives next starts from standstill
            return self._decision(self._neutral(), None)
        driver = policy
        if human is not None:
            self._ramp = min(self._ramp_steps, self._ramp + 1)
            self._motion = driver = human
        else:
            self._ramp = max(0, self._ramp - 1)
        weight = self._ramp / self._ramp_steps
        if weight == (human is not None):  # nothing is left of whoever drove before
            executed = self._spec.snap(driver)
        else:
            blend = weight * self._motion + (1.0 - weight) * policy
            blend[self._gripper] = driver[self._gripper]
            executed = self._spec.snap(blend)
        self._last_gripper = executed[self._gripper]
        return self._decision(executed, human)

    def _follow(self, operator_input: OperatorInput, *, driven: bool) -> None:
        """Enter the phase of this step."""
        if self._phase is Phase.RESETTING:
            raise PhaseError("decide() before begin_episode()")
        if self.holds(operator_input):
            wanted = Phase.PAUSED
        else:
            wanted = Phase.HUMAN if driven else Phase.AUTONOMOUS
        if wanted is not self._phase:
            self._enter(wanted)

    def _enter(self, phase: Phase) -> None:
        if phase not in SUCCESSORS[self._phase]:
            raise PhaseError(f"{self._phase.value} cannot be followed by {phase.value}")
        self._phase = phase

    def _forget(self) -> None:
        self._ramp = 0
        self._motion = np.zeros(self._spec.size, np.float32)
        # Environments and robots open their grippers between episodes: the first class.
        self._last_gripper = np.full(len(self._gripper), self._spec.gripper_values[0], np.float32)

    def _neutral(self) -> np.ndarray:
        neutral = np.zeros(self._spec.size, np.float32)
        neutral[self._gripper] = self._last_gripper
        return neutral

    def _decision(self, executed: np.ndarray, human: np.ndarray | None) -> Decision:
        driven = human is not None
        return Decision(
            executed=executed,
            human_action=self._nobody if human is None else human,
            human_weight=self._ramp / self._ramp_steps if driven else 0.0,
            is_intervention=driven,
            phase=self._phase,
        )
