r"""SiLRI that stays close to what worked, whoever did it.

A person who makes the same error every time looks sure, and SiLRI's constraint trusts them most
just there. What tells them from a person who is right is what comes of it::

    L(beta) = -sum w log N(a; mu(s), sigma(s)^2) / sum w

    w = 1        a person's step in an episode that succeeded
    w = failed   a person's step in an episode that failed
    w = own      the robot's own step in an episode that succeeded (0 in one that failed)

So beta moves from the person to the robot as the robot gets better, and its deviation sigma(s)
widens, by the robot's exploration, where the robot succeeds by itself: the constraint lets go.
Everything else is SiLRI's.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from silri.agents.losses import masked_mean
from silri.agents.silri import SiLRIAgent, SiLRIConfig
from silri.agents.silri_presets import KNOWLEDGE
from silri.core.registry import Preset
from silri.core.settings import NonNegative, Share01, settings
from silri.core.transition import Batch
from silri.nn.actions import continuous_part
from silri.nn.distributions import normal_log_prob
from silri.nn.train_state import Loss, Params


@settings("agent")
class ProvenSiLRIConfig(SiLRIConfig):
    """SiLRI's fields and what a step is worth as an example."""

    columns: ClassVar[tuple[str, ...]] = ("success",)

    failed: Share01 = 0.1  # weight of a person's step in an episode that failed
    own: NonNegative = 1.0  # weight of the robot's own step in an episode that succeeded


class ProvenSiLRIAgent(SiLRIAgent):
    """SiLRI whose beta is of what worked."""

    def expert_rows(self, batch: Batch) -> Batch:
        """All of them: the robot's own are examples, too."""
        return batch

    def weights(self, batch: Batch) -> jax.Array:
        """w of each row, (B,)."""
        person, success = batch.is_intervention, batch.columns["success"]
        of_person = success + (1.0 - success) * self.config.failed
        return person * of_person + (1.0 - person) * success * self.config.own

    def expert_loss(self, params: Params, batch: Batch) -> Loss:
        """See the module's docstring."""
        mean, std = self.human(batch.observation, params)
        person = batch.is_intervention[:, None] > 0
        done = jnp.where(person, batch.human_action, batch.action)
        log_prob = normal_log_prob(continuous_part(self.action_spec, done), mean, std)
        weights = self.weights(batch)
        nll = -masked_mean(log_prob, weights)
        own = masked_mean(1.0 - batch.is_intervention, weights)
        spread = masked_mean(jnp.mean(std, axis=-1), batch.is_intervention)
        return nll, {"expert/nll": nll, "expert/std": spread, "expert/own": own}


PRESETS = {
    "default": Preset(ProvenSiLRIConfig(), "silri's default, imitating what worked", KNOWLEDGE)
}
