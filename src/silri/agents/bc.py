r"""BC: behaviour cloning of the demonstrations; the floor that every other method must beat.

::

    L = -mean m log N(a_human; mu(s), sigma(s)^2) + CE(gripper),   m = 1 where a person acted

A Gaussian with a tanh mean and a learned deviation, and a cross-entropy head for discrete
grippers; trained before the first episode, then fixed. It acts with its mean.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from flax import struct

from silri.agents.augment import PLAIN, Augment
from silri.agents.base import Acted, Agent, AgentConfig, Bounds, Prepared, check_bounds
from silri.agents.gripper import create_gripper, gripper_command, update_gripper
from silri.agents.losses import cloning, masked_mean
from silri.agents.stages import Stage
from silri.core.registry import Preset
from silri.core.settings import NonNegative, PositiveInt, Rate01, Share01, settings
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.actions import continuous_part, join
from silri.nn.heads import GaussianPolicy
from silri.nn.mlp import Trunk
from silri.nn.train_state import Info, Loss, Params, TrainState, follow, polyak


@settings("agent")
class BCConfig(AgentConfig):
    """Demonstrations only."""

    known_stages: ClassVar[tuple[str, ...]] = ("clone",)

    online_fraction: Share01 = 0.0  # every row is a demonstration
    utd: PositiveInt = 1  # gradient steps per learner iteration (BC does not learn online)
    stages: tuple[Stage, ...] = (Stage("clone", "guidance", 20_000),)  # the published count
    std_bounds: Bounds = (1e-2, 2.0)  # of the learned deviation
    decay: NonNegative = 1.0  # weight decay of the policy, times the learning rate per step
    average_rate: Rate01 = 0.005  # Polyak rate of the policy that acts; 1 is the one that learns

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds("std_bounds", self.std_bounds)


class BCAgent(Agent):
    """A cloned policy; ``gripper`` is None without a discrete gripper."""

    actor: TrainState
    average_actor: Params
    gripper: TrainState | None = struct.field(default=None)
    average_gripper: Params | None = struct.field(default=None)

    def actor_loss(self, params: Params, batch: Batch) -> Loss:
        """-mean m log N(a_human; mu(s), sigma(s)^2)."""
        mean, std = self.actor(batch.observation, params=params)
        loss = cloning(self.action_spec, batch, mean, std)
        actions = continuous_part(self.action_spec, batch.human_action)
        error = masked_mean(jnp.mean((actions - mean) ** 2, axis=-1), batch.is_intervention)
        return loss, {"actor/nll": loss, "actor/squared_error": error}

    @functools.partial(jax.jit, static_argnames="stage")
    def update(self, batch: Batch, stage: str = "online") -> tuple[Self, Info]:
        """U gradient steps on human rows; nothing moves in a step that has none."""
        batch = self.prepare(batch)
        rate = self.config.average_rate

        def step(agent: Self, demos: Batch) -> tuple[Self, Info]:
            actor, info = agent.actor.apply_loss_if(
                demos.is_intervention.any(), lambda params: agent.actor_loss(params, demos)
            )
            gripper, extra = update_gripper(agent.gripper, agent.action_spec, demos)
            return agent.replace(
                actor=actor,
                average_actor=polyak(actor.params, agent.average_actor, rate),
                gripper=gripper,
                average_gripper=follow(gripper, agent.average_gripper, rate),
            ), info | extra

        agent, infos = jax.lax.scan(step, self, batch)
        iterations = self.iterations + int(stage == "online")
        return agent.replace(iterations=iterations), jax.tree.map(lambda x: x[-1], infos)

    def mean_action(self, observation: Prepared) -> jax.Array:
        """The mean and the likeliest gripper command."""
        mean, _ = self.actor(observation, params=self.average_actor)
        command = gripper_command(self.gripper, observation, self.average_gripper)
        return join(self.action_spec, mean, command)

    def policy(self, observation: Prepared, key: jax.Array, explore: bool) -> Acted:
        """The mean action whether exploring or not; diagnostics: the learned deviation."""
        del key, explore
        _, std = self.actor(observation, params=self.average_actor)
        return self.mean_action(observation), {"policy_std": jnp.mean(std, axis=-1)}

    @classmethod
    def create(cls, config: BCConfig, spec: EnvSpec, seed: int, augment: Augment = PLAIN) -> Self:
        """Fresh networks; see :meth:`Agent.create`."""
        fields, key, observer, observation, actions = cls.base_fields(config, spec, seed, augment)
        actor_key, gripper_key = jax.random.split(key)
        rate = {"learning_rate": config.learning_rate}
        policy = GaussianPolicy(
            observer, config.trunk, actions.shape[-1], scale_bounds=config.std_bounds
        )
        actor = TrainState.create(policy, actor_key, observation, decay=config.decay, **rate)
        gripper = create_gripper(
            spec.action, observer, config.trunk, gripper_key, observation, **rate
        )
        return cls(
            **fields,
            actor=actor,
            average_actor=actor.params,
            gripper=gripper,
            average_gripper=None if gripper is None else gripper.params,
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
