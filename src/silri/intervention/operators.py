"""Simulated operators: expert x skill x gate, seeded, so that the same seed is the same person."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from silri.core.errors import ConfigError
from silri.core.protocols import Operator, OperatorInput, OperatorView
from silri.core.specs import ActionSpec, Observation
from silri.intervention.gate import AlwaysGate, Gate, GateConfig
from silri.intervention.presets import OPERATORS, Preset
from silri.intervention.skill import Skill, SkillConfig

Expert = Callable[[Observation], np.ndarray]
_Config = TypeVar("_Config", SkillConfig, GateConfig)

_NOT_ENGAGED = OperatorInput(engaged=False)


@dataclass(frozen=True)
class OperatorConfig:
    """A person by name. Every other field replaces one number of that preset; None keeps it.

    The fields are :class:`~silri.intervention.skill.SkillConfig`'s and
    :class:`~silri.intervention.gate.GateConfig`'s, under the same names.
    """

    # expert, steady, novice, heterogeneous, careless, keyboard, tired, none
    name: str = "heterogeneous"
    # standard deviation of the error drawn anew in every step, action units
    jitter: float | None = None
    # standard deviation of the error drawn anew at every takeover, action units
    bias: float | None = None
    # share of jitter and bias that is there far from the object
    far: float | None = None
    # share that is added at the object
    near: float | None = None
    # acts on what it saw so many steps ago
    delay: int | None = None
    # probability per step of stopping to think
    hesitation: float | None = None
    # share of takeovers that begin in a random direction
    mistake: float | None = None
    # one axis at a time
    one_axis: bool | None = None
    # probability per step of taking over while there is a reason
    probability: float | None = None
    # mean disagreement with the expert that is a reason, action units
    disagreement: float | None = None
    # steps without progress that are a reason
    stall_steps: int | None = None
    # steps before the time-out from which on being unfinished is a reason
    rescue_steps: int | None = None
    # probability per step of taking over while the robot asks for it
    answer: float | None = None
    # shortest and longest hold, steps
    hold: tuple[int, int] | None = None
    # human-driven steps of the whole run after which nobody takes over any more
    budget: int | None = None
    # share of attention lost on a robot that always succeeds
    fading: float | None = None

    def __post_init__(self) -> None:
        """Check the name and every number.

        Raises:
            UnknownNameError: no preset has this name; the message lists the right ones.
            ConfigError: a number is out of range, or given for ``none``.
        """
        OPERATORS.get(self.name)
        if self.name != "none":
            self.preset()
        elif self._given():
            raise ConfigError(f"operator 'none' takes no numbers, got {sorted(self._given())}")

    def preset(self) -> Preset:
        """The preset with this configuration's numbers in it.

        Raises:
            ConfigError: for ``none``, who is nobody.
        """
        if self.name == "none":
            raise ConfigError("operator 'none' has no skill and no gate")
        preset: Preset = OPERATORS.load(self.name)
        given = self._given()
        return dataclasses.replace(
            preset, skill=_replace(preset.skill, given), gate=_replace(preset.gate, given)
        )

    def describe(self) -> str:
        """Who this is, with every number: printed at the start of a run."""
        if self.name == "none":
            return "operator none: nobody ever intervenes."
        return self.preset().describe()

    def create(
        self,
        action_spec: ActionSpec,
        demonstrating: bool = False,
        *,
        max_episode_steps: int | None = None,
        expert: Expert | None = None,
    ) -> Operator:
        """Build the operator.

        Args:
            action_spec: of the environment.
            demonstrating: drives the whole time, whatever the gate says.
            max_episode_steps: for ``rescue_steps``.
            expert: observation to (A,) action, e.g. a trained checkpoint; None uses the scripted
                expert of the environment's ``privileged()``.

        Raises:
            ConfigError: ``none`` cannot demonstrate, or ``rescue_steps`` lacks the step limit.
        """
        if self.name == "none":
            if demonstrating:
                raise ConfigError("operator 'none' cannot demonstrate; choose another operator")
            return NoOperator()
        preset = self.preset()
        if preset.gate.rescue_steps is not None and max_episode_steps is None:
            raise ConfigError("operator rescue_steps needs the environment's max_episode_steps")
        gate = AlwaysGate(preset.gate) if demonstrating else Gate(preset.gate, max_episode_steps)
        return SimulatedOperator(self.name, Skill(action_spec, preset.skill), gate, expert)

    def _given(self) -> dict[str, Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["name"]
        return {name: value for name, value in fields.items() if value is not None}


def _replace(config: _Config, given: Mapping[str, Any]) -> _Config:
    own = {field.name for field in dataclasses.fields(config)}
    return dataclasses.replace(
        config, **{name: value for name, value in given.items() if name in own}
    )


class NoOperator:
    """Nobody: never intervenes."""

    def begin_episode(self, rng: np.random.Generator) -> None:
        """Draws nothing."""

    def decide(self, view: OperatorView) -> OperatorInput:
        """Not engaged."""
        del view
        return _NOT_ENGAGED

    def end_episode(self, summary: Mapping[str, float]) -> None:
        """Remembers nothing."""

    def state(self) -> dict[str, float]:
        """Nothing to survive a restart."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Nothing to restore."""


class SimulatedOperator:
    """A person made of an expert, a skill and a gate; all randomness comes from ``begin_episode``.

    Attributes:
        name: of the preset, for messages.
    """

    def __init__(
        self, name: str, skill: Skill, gate: Gate | AlwaysGate, expert: Expert | None = None
    ) -> None:
        """See :meth:`OperatorConfig.create`."""
        self.name = name
        self._skill = skill
        self._gate = gate
        self._expert = expert

    def begin_episode(self, rng: np.random.Generator) -> None:
        """A new episode starts; every draw of it comes from ``rng``."""
        self._skill.begin_episode(rng)
        self._gate.begin_episode(rng)

    def decide(self, view: OperatorView) -> OperatorInput:
        """Look, compare with the expert, take over or not.

        Raises:
            ConfigError: there is neither a scripted expert nor one that was handed in.
        """
        known = view.privileged
        if self._expert is not None:
            expert_action = self._expert(view.observation)
        elif known is not None:
            expert_action = known.expert_action
        else:
            raise ConfigError(
                f"operator '{self.name}' needs an expert: the environment has no privileged() "
                "with a scripted one, and no trained policy was handed in; "
                "it takes such an environment, a checkpoint as expert, or operator 'none'"
            )
        right = self._skill.observe(expert_action)
        difference = right - view.policy_action
        disagreement = math.sqrt(float(difference @ difference))
        place = None if known is None else np.concatenate((known.hand, known.object))
        drives, begins = self._gate.decide(disagreement, place, view.step, view.asked)
        if begins:
            self._skill.take_over()
        if not drives:
            return _NOT_ENGAGED
        distance = None if known is None else math.dist(known.hand, known.object)
        return OperatorInput(engaged=True, action=self._skill.act(distance))

    def end_episode(self, summary: Mapping[str, float]) -> None:
        """Attention may change: see :class:`~silri.intervention.gate.GateConfig`."""
        self._gate.end_episode(summary)

    def state(self) -> dict[str, float]:
        """What must survive a restart; fed only by :meth:`end_episode`."""
        return self._gate.state()

    def restore(self, state: Mapping[str, float]) -> None:
        """The inverse of :meth:`state`."""
        self._gate.restore(state)
