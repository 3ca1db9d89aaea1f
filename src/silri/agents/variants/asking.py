r"""SiLRI that asks for help: where its critics disagree most, a fixed share of the time.

The diagnostic ``ask`` is 1 where max_k Q_k - min_k Q_k exceeds a threshold that follows the wanted
quantile of the robot's own steps; an operator who answers takes over then. Tried on four tasks, one
seed each: it costs nearly twice the person's time and buys nothing (docs/explanation/results.md).
"""

from __future__ import annotations

from typing import Annotated, Self

import jax
import jax.numpy as jnp
from flax import struct

from silri.agents.augment import PLAIN, Augment
from silri.agents.base import Acted, Prepared
from silri.agents.silri import SiLRIAgent, SiLRIConfig
from silri.agents.silri_presets import KNOWLEDGE
from silri.core.registry import Preset
from silri.core.settings import Field, settings
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.train_state import Info

RATE = 0.1  # of the threshold, relative to the mean doubt


@settings("agent")
class AskingSiLRIConfig(SiLRIConfig):
    """SiLRI's fields and how often it asks."""

    ask_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1  # share of its own steps


class AskingSiLRIAgent(SiLRIAgent):
    """SiLRI with a threshold of doubt, () float32."""

    ask_above: jax.Array = struct.field(default=None)

    def doubt(self, observation: Prepared) -> jax.Array:
        """How far the critics are apart on the policy's action: observation -> (...,)."""
        q = self.critic(observation, self.actor(observation, params=self.average_actor))
        return q.max(axis=0) - q.min(axis=0)

    def update_actor(self, batch: Batch) -> tuple[Self, Info]:
        """SiLRI's step, then the threshold follows the doubts of the robot's own steps."""
        agent, info = super().update_actor(batch)
        doubts, own = self.doubt(batch.observation), 1.0 - batch.is_intervention
        total = jnp.maximum(jnp.sum(own), 1.0)
        above = (doubts > self.ask_above).astype(doubts.dtype)
        excess = jnp.sum(own * (above - self.config.ask_fraction)) / total
        # From 0 it rises fast and then settles; it falls slowly.
        threshold = self.ask_above + RATE * jnp.sum(own * doubts) / total * excess
        return agent.replace(ask_above=threshold), info

    def policy(self, observation: Prepared, key: jax.Array, explore: bool) -> Acted:
        """SiLRI's action; the diagnostic ``ask`` is 1 where help is wanted."""
        action, diagnostics = super().policy(observation, key, explore)
        ask = (self.doubt(observation) > self.ask_above).astype(jnp.float32)
        return action, diagnostics | {"ask": ask}

    @classmethod
    def create(
        cls, config: SiLRIConfig, spec: EnvSpec, seed: int, augment: Augment = PLAIN
    ) -> Self:
        """Fresh networks; it does not ask before it has learned how much doubt is usual."""
        agent = super().create(config, spec, seed, augment)
        return agent.replace(ask_above=jnp.zeros(()))


PRESETS = {
    "default": Preset(
        AskingSiLRIConfig(),
        "silri's default; asks in a tenth of its own steps",
        KNOWLEDGE,
    )
}
