"""The counters of a run: small, JSON-able, saved in each checkpoint beside the agent."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from silri.core.errors import CheckpointError

# Older checkpoints do not have these.
_COUNTED_LATER = ("successes", "successes_alone", "episodes_alone")


@dataclass
class RunState:
    """What a run has done so far.

    Attributes:
        env_steps: decisions of the policy (demonstrations not counted).
        next_episode: id of the next episode; smaller ones are in the store or in quarantine.
        episodes: training episodes that ended and were stored.
        updates: learner iterations, offline ones included.
        demo_episodes, demo_steps: demonstrations.
        intervention_steps: human-driven steps of training episodes.
        interventions: takeovers (0 -> 1 edges).
        successes, successes_alone, episodes_alone: of training episodes; alone: nobody drove in
            any step. None in a run that began before they were counted.
        quarantined: training episodes set aside.
        discarded: training episodes that a person dropped; nothing else is known of them.
        evaluations: one record each: ``step``, ``success_rate``, ``successes``, ``episodes``,
            ``mean_success_length``, ``intervention_steps`` so far, the running episode's included.
        operator: the operator's own state.
        metrics_rows: lines of ``metrics.jsonl`` that tell of this; later ones will come again.
        train_wall_s, eval_wall_s, wall_s: seconds, over all sessions.
    """

    env_steps: int = 0
    next_episode: int = 0
    episodes: int = 0
    updates: int = 0
    demo_episodes: int = 0
    demo_steps: int = 0
    intervention_steps: int = 0
    interventions: int = 0
    successes: int | None = 0
    successes_alone: int | None = 0
    episodes_alone: int | None = 0
    quarantined: int = 0
    discarded: int = 0
    evaluations: list[dict[str, float]] = field(default_factory=list)
    operator: dict[str, float] = field(default_factory=dict)
    metrics_rows: int = 0
    train_wall_s: float = 0.0
    eval_wall_s: float = 0.0
    wall_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A deep copy as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RunState:
        """The inverse of :meth:`to_json`.

        Raises:
            CheckpointError: of another version; names the fields.
        """
        names = {item.name for item in dataclasses.fields(cls)}
        data = dict.fromkeys(_COUNTED_LATER) | {"discarded": 0} | data
        if odd := set(data) ^ names:
            listed = ", ".join(sorted(odd))
            raise CheckpointError(f"the checkpoint's counters do not fit this version: {listed}")
        return cls(**data)
