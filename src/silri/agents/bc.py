r"""BC: behaviour cloning of the demonstrations; the floor that every other method must beat.

::

    L = -mean m log N(a_human; mu(s), sigma(s)^2) + CE(gripper),   m = 1 where a person acted

A Gaussian with a tanh mean and a learned deviation, and a cross-entropy head for discrete
grippers; trained before the first episode, then fixed. It acts with its mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from flax import struct

from silri.agents.base import Agent, AgentConfig, Preset, Statistics, require
from silri.agents.gripper import create_gripper, gripper_command, update_gripper
from silri.agents.losses import masked_mean
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.actions import continuous_part, join
from silri.nn.distributions import normal_log_prob
from silri.nn.heads import GaussianPolicy
from silri.nn.mlp import Trunk
from silri.nn.train_state import Info, Loss, Params, TrainState, follow


@dataclass(frozen=True)
class BCConfig(AgentConfig):
    """Demonstrations only."""

    counts_steps: ClassVar[bool] = False  # only online iterations are: a growing average needs them

    online_fraction: float = 0.0  # every row is a demonstration
    utd: int = 1  # gradient steps per learner iteration (unused: BC does not learn online)
    pretrain_steps: int = 20_000  # the published count
    std_bounds: tuple[float, float] = (1e-2, 2.0)  # of the learned deviation
    decay: float = 1.0  # weight decay of the policy, times the learning rate per step
    average_rate: float = 0.005  # Polyak rate of the policy that acts; 1 is the one that learns

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "std_bounds": (0 < self.std_bounds[0] < self.std_bounds[1], "0 < low < high"),
                "average_tail": (
                    self.average_tail == 0 or self.counts_steps,
                    "0: its steps are not counted",
                ),
                "decay": (self.decay >= 0, "0 or more"),
            },
        )


class BCAgent(Agent):
    """A cloned policy; ``gripper`` is None without a discrete gripper."""

    learns_online = False

    actor: TrainState
    gripper: TrainState | None = struct.field(default=None)
    average_actor: Params | None = struct.field(default=None)  # None: the online one acts
    average_gripper: Params | None = struct.field(default=None)

    def actor_loss(self, params: Params, features: jax.Array, batch: Batch) -> Loss:
        """-mean m log N(a_human; mu(s), sigma(s)^2)."""
        mean, std = self.actor(features, params=params)
        actions = continuous_part(self.action_spec, batch.human_action)
        mask = batch.is_guidance
        loss = -masked_mean(normal_log_prob(actions, mean, std), mask)
        error = masked_mean(jnp.mean((actions - mean) ** 2, axis=-1), mask)
        return loss, {"actor/nll": loss, "actor/squared_error": error}

    @jax.jit
    def update(self, batch: Batch) -> tuple[Self, Info]:
        """U gradient steps on human rows; nothing moves in a step that has none."""
        features, _ = self.encode(batch)

        def step(agent: Self, inputs: tuple[jax.Array, Batch]) -> tuple[Self, Info]:
            rows, demos = inputs
            actor, info = agent.actor.apply_loss_if(
                demos.is_guidance.any(), lambda params: agent.actor_loss(params, rows, demos)
            )
            gripper, extra = update_gripper(agent.gripper, agent.action_spec, rows, demos)
            rate = self.averaging()
            average = follow(actor.params, agent.average_actor, rate)
            agent = agent.replace(actor=actor, average_actor=average, gripper=gripper)
            if gripper is not None:
                average = follow(gripper.params, agent.average_gripper, rate)
                agent = agent.replace(average_gripper=average)
            return agent, info | extra

        agent, infos = jax.lax.scan(step, self, (features, batch))
        agent = agent.replace(iterations=agent.iterations + 1)
        return agent, jax.tree.map(lambda x: x[-1], infos)

    def pretrain(self, batch: Batch) -> tuple[Self, Info]:
        """The same steps; learner iterations are counted online only."""
        agent, info = self.update(batch)
        return agent.replace(iterations=self.iterations), info

    def mean_action(self, features: jax.Array) -> jax.Array:
        """The mean and the likeliest gripper command."""
        mean, _ = self.actor(features, params=self.average_actor)
        command = gripper_command(self.gripper, features, self.average_gripper)
        return join(self.action_spec, mean, command)

    def policy(self, features: jax.Array, key: jax.Array, explore: bool) -> tuple[jax.Array, Info]:
        """The mean action whether exploring or not; diagnostics: the learned deviation."""
        del key, explore
        _, std = self.actor(features, params=self.average_actor)
        return self.mean_action(features), {"policy_std": jnp.mean(std, axis=-1)}

    @classmethod
    def create(
        cls, config: BCConfig, spec: EnvSpec, statistics: Statistics | None, seed: int
    ) -> Self:
        """Fresh networks; see :meth:`Agent.create`."""
        fields, key, features, actions = cls.base_fields(config, spec, statistics, seed)
        actor_key, gripper_key = jax.random.split(key)
        rate = {"learning_rate": config.learning_rate}
        policy = GaussianPolicy(config.trunk, actions.shape[-1], scale_bounds=config.std_bounds)
        actor = TrainState.create(policy, actor_key, features, decay=config.decay, **rate)
        gripper = create_gripper(spec.action, config.trunk, gripper_key, features, **rate)
        averaged = config.average_rate < 1
        return cls(
            **fields,
            actor=actor,
            gripper=gripper,
            average_actor=actor.params if averaged else None,
            average_gripper=gripper.params if averaged and gripper is not None else None,
        )


DEFAULT = BCConfig()
PRESETS = {
    "default": Preset(DEFAULT, "the shared harness: silri's trunk"),
    "published": Preset(
        replace(
            DEFAULT,
            trunk=Trunk(hidden=(512, 512, 512), activation="tanh"),
            batch_size=256,
            decay=0.0,
            average_rate=1.0,
        ),
        "HIL-SERL's baseline: three layers of 512, tanh",
    ),
}
