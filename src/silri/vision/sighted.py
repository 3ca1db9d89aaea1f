"""An agent behind its eyes: what acts on what an environment gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from silri.agents.base import Agent
from silri.core.specs import Observation
from silri.vision.sight import Sight


@dataclass(frozen=True)
class Sighted:
    """Decides for observations of an environment.

    Attributes:
        agent: decides for what is seen of them.
        sight: makes that of them.
    """

    agent: Agent
    sight: Sight

    def act(
        self, observation: Observation, *, episode: int, step: int, explore: bool
    ) -> tuple[np.ndarray, dict[str, float]]:
        """One decision: the action (A,) and the diagnostics behind it."""
        seen = self.sight(observation)
        return self.agent.act(seen, episode=episode, step=step, explore=explore)

    def act_deterministic(self, observation: Observation) -> np.ndarray:
        """The mean action for one observation or a batch of them, without diagnostics."""
        return self.agent.act_deterministic(self.sight.batch(observation))
