"""What happens in a run, as typed events. Recorders, metrics, terminal and cockpit subscribe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from silri.core.transition import Transition


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
    StepTaken
    | EpisodeFinished
    | EpisodeQuarantined
    | LearnerUpdated
    | Evaluated
    | CheckpointSaved
    | Notice
)


class Subscriber(Protocol):
    """Somebody who listens; must be quick and must not change the run."""

    def on_event(self, event: Event) -> None:
        """Called on the loop's thread, in order."""
