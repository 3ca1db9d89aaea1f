"""Simulated operators: expert x skill x gate, seeded, so that the same seed is the same person."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, NoReturn, Self

import numpy as np

from silri.core.errors import ConfigError
from silri.core.protocols import Directed, Env, OperatorInput, OperatorView
from silri.core.settings import settings
from silri.core.specs import ActionSpec, Observation
from silri.intervention.gate import AlwaysGate, Gate, GateConfig
from silri.intervention.skill import Skill, SkillConfig

Expert = Callable[[Observation], np.ndarray]

_NOT_ENGAGED = OperatorInput(engaged=False)


@dataclass(frozen=True)
class OperatorContext:
    """What an operator is created for.

    Attributes:
        action_spec: of the environment.
        name: of the operator, as the user typed it.
        max_episode_steps: of the environment; None if nobody knows.
        directions: what the environment says of its actions
            (:class:`silri.core.protocols.Directed`); empty if it says nothing.
        expert: observation to (A,) action, e.g. a trained checkpoint. None uses the scripted
            expert of the environment's ``privileged()``.
        spool: of the robot in a cluster run, where this process may end and begin again: others,
            who stay, find there what they need. None in a run in one process.
    """

    action_spec: ActionSpec
    name: str
    max_episode_steps: int | None = None
    expert: Expert | None = None
    directions: tuple[str, ...] = ()
    spool: Path | None = None

    @classmethod
    def of(
        cls, env: Env, name: str, expert: Expert | None = None, spool: Path | None = None
    ) -> Self:
        """What an operator called ``name`` is created for in ``env``."""
        spec = env.env_spec
        directions = env.directions if isinstance(env, Directed) else ()
        return cls(spec.action, name, spec.max_episode_steps, expert, directions, spool)


@settings("operator")
class OperatorConfig:
    """Base of every operator's configuration. It has no fields of its own.

    Attributes:
        free: fields that may differ when a run is resumed: they do not decide what is learned.
    """

    free: ClassVar[tuple[str, ...]] = ()

    def describe(self) -> str:
        """Every number, for the start of a run."""
        return ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self))


@settings("operator")
class SimulatedConfig(OperatorConfig):
    """A simulated person."""

    # how the hand differs from the expert's
    skill: SkillConfig = field(default_factory=SkillConfig)
    # when it takes over and lets go
    gate: GateConfig = field(default_factory=GateConfig)

    def describe(self) -> str:
        """Every number, for the start of a run."""
        return f"Skill: {self.skill.describe()}. Gate: {self.gate.describe()}."


class NoOperator:
    """Nobody: never intervenes."""

    Config: ClassVar = OperatorConfig

    @classmethod
    def create(cls, config: OperatorConfig, context: OperatorContext) -> Self:
        """Nobody has no settings."""
        del config, context
        return cls()

    def demonstrator(self) -> NoReturn:
        """Nobody cannot demonstrate.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("operator 'none' cannot demonstrate; choose another operator")

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
    """A person: an expert, a skill and a gate. All randomness comes from ``begin_episode``."""

    Config: ClassVar = SimulatedConfig

    def __init__(
        self, config: SimulatedConfig, context: OperatorContext, gate: Gate | AlwaysGate
    ) -> None:
        """See :meth:`create`."""
        self._config, self._context, self._gate = config, context, gate
        self._skill = Skill(context.action_spec, config.skill)

    @classmethod
    def create(cls, config: SimulatedConfig, context: OperatorContext) -> Self:
        """The person with this hand and these reasons.

        Raises:
            ConfigError: ``rescue_steps`` is set and the step limit is not known.
        """
        limit = context.max_episode_steps
        if config.gate.rescue_steps is not None and limit is None:
            raise ConfigError(
                "operator.gate.rescue_steps needs the environment's max_episode_steps"
            )
        return cls(config, context, Gate(config.gate, limit))

    def demonstrator(self) -> Self:
        """The same hand, which drives the whole time, whatever would make it take over."""
        return type(self)(self._config, self._context, AlwaysGate(self._config.gate))

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
        if self._context.expert is not None:
            expert_action = self._context.expert(view.observation)
        elif known is not None:
            expert_action = known.expert_action
        else:
            raise ConfigError(
                f"operator '{self._context.name}' needs an expert: the environment has no "
                "privileged() with a scripted one, and no trained policy was handed in. Give a "
                "person (--operator web), a checkpoint as expert (--expert-run RUN), or nobody "
                "(--operator none, with --data.dataset FOLDER or --data.demos 0)"
            )
        side = 0.0 if known is None else float(known.object[0])
        away = None if known is None else known.hand - known.object
        ways = [w - view.policy_action for w in self._skill.observe(expert_action, side, away)]
        disagreement = min(math.sqrt(float(difference @ difference)) for difference in ways)
        place = None if known is None else np.concatenate((known.hand, known.object))
        drives, begins = self._gate.decide(
            disagreement, place, view.step, view.asked, view.estimate
        )
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
