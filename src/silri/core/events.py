"""What happens in a run, as typed events. Recorders, metrics, terminal and cockpit subscribe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from silri.core.commands import CommandQueue
from silri.core.specs import EnvSpec, Observation
from silri.core.transition import Transition

EpisodeKind = Literal["demonstration", "training"]


@dataclass(frozen=True, slots=True)
class RunBegan:
    """The first event of a session.

    Attributes:
        folder: of the run; its ``config.json`` is there.
        spec: of the environment, at the rate of the run.
        diagnostics: names of what the agent says of every action.
        simulated: the environment is a simulation, which may be opened a second time.
        commands: where the loop takes commands from, in every step; any thread may put some.
    """

    folder: str
    spec: EnvSpec
    diagnostics: tuple[str, ...]
    simulated: bool
    commands: CommandQueue


@dataclass(frozen=True, slots=True)
class EpisodeBegan:
    """The environment was reset.

    Attributes:
        env_step: training steps so far.
        episode_id: its number in the run; attempts at one demonstration share one.
        kind: of the episode.
        seed: that it was reset with.
        task: what is to be done.
        observation: the first one.
    """

    env_step: int
    episode_id: int
    kind: EpisodeKind
    seed: int
    task: str
    observation: Observation


@dataclass(frozen=True, slots=True)
class DemonstrationStep:
    """One step of a demonstration; it counts nowhere."""

    transition: Transition


@dataclass(frozen=True, slots=True)
class EpisodeEnded:
    """The last step of an episode is done; what becomes of it is told by later events.

    Attributes:
        env_step: training steps so far.
        episode_id: as it began.
        kind: of the episode.
        end: ``finished``, ``fault``, ``stopped``, ``abandoned`` or ``discarded``.
        success: the task was done.
    """

    env_step: int
    episode_id: int
    kind: EpisodeKind
    end: str
    success: bool


@dataclass(frozen=True, slots=True)
class LearningBegan:
    """A stage of the agent's schedule begins that learns without acting: the robot stands still."""

    env_step: int
    stage: str
    updates: int


@dataclass(frozen=True, slots=True)
class LearningAdvanced:
    """``done`` of the updates of the stage that :class:`LearningBegan` announced are done."""

    env_step: int
    stage: str
    done: int
    updates: int


@dataclass(frozen=True, slots=True)
class RobotWaits:
    """A robot of a cluster run stands still between two episodes.

    Attributes:
        env_step: training steps so far.
        reason: what it waits for.
        over: it drives no more in this session.
    """

    env_step: int
    reason: str
    over: bool = False


@dataclass(frozen=True, slots=True)
class EvaluationBegan:
    """The policy is about to be evaluated; nobody is asked for input meanwhile."""

    env_step: int


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One environment step. ``env_step`` counts from 1 over the run."""

    env_step: int
    transition: Transition
    diagnostics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EpisodeFinished:
    """An episode is stored and counts. ``stats`` is :meth:`silri.data.episode.Episode.stats`."""

    env_step: int
    episode_id: int
    stats: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EpisodeQuarantined:
    """An episode was set aside and will not be trained on."""

    env_step: int
    episode_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class EpisodeDiscarded:
    """A person dropped an episode: its steps, events included, count nowhere."""

    env_step: int
    episode_id: int


@dataclass(frozen=True, slots=True)
class LearnerUpdated:
    """Learner metrics, ``group/name`` to value."""

    env_step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation without an operator is done."""

    env_step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint is in place."""

    env_step: int
    path: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should read."""

    env_step: int
    text: str
    details: Mapping[str, float] = field(default_factory=dict)


Event = (
    RunBegan
    | EpisodeBegan
    | DemonstrationStep
    | EpisodeEnded
    | LearningBegan
    | LearningAdvanced
    | RobotWaits
    | EvaluationBegan
    | StepTaken
    | EpisodeFinished
    | EpisodeQuarantined
    | EpisodeDiscarded
    | LearnerUpdated
    | Evaluated
    | CheckpointSaved
    | Notice
)


@runtime_checkable
class Subscriber(Protocol):
    """Somebody who listens; must be quick and must not change the run.

    An operator that has ``on_event`` is one too.
    """

    def on_event(self, event: Event) -> None:
        """Called on the loop's thread, in order."""
