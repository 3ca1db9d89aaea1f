r"""HIL-SERL: RLPD soft actor-critic with human interventions (arXiv 2410.21845).

Half of every batch comes from the online buffer, half from demonstrations and interventions; the
person's actions are nothing but good data. Discrete grippers are a second decision process with
the same reward, solved by a double DQN ("grasp critic").

============  =================================================================================
pi(a|s)       actor: tanh-squashed Gaussian
Q_k(s, a)     critics, k = 1..E, on continuous dimensions only; bars are Polyak targets
alpha         temperature = softplus(scalar)
Q^g(s, g)     grasp critic over all joint gripper commands
============  =================================================================================

``update`` needs no environment: fed from a dataset alone it is the offline algorithm, where
``bc_weight`` keeps the actor on the data (nobody is there to correct what the critic imagines).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from silri.agents.base import Agent, AgentConfig, Preset, Statistics, require
from silri.agents.losses import temporal_difference
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.actions import (
    continuous_part,
    gripper_classes,
    join,
    joint_class,
    split_joint_class,
)
from silri.nn.distributions import squashed_sample
from silri.nn.heads import EnsembleCritic, GaussianPolicy, GraspCritic
from silri.nn.mlp import Trunk
from silri.nn.train_state import Info, Loss, Params, TrainState, follow, polyak


@dataclass(frozen=True)
class HILSERLConfig(AgentConfig):
    """Defaults are for the shared harness; ``published`` is in :data:`PRESETS`."""

    n_step: int = 3  # rewards in a return before it bootstraps; the publication has 1
    reward_unit: float = 10.0  # the demonstrations' largest return is scaled to it; 0: not scaled
    average_rate: float = 0.002  # the publication acts with the actor that learns
    discount: float = 0.97  # gamma
    tau: float = 0.005  # Polyak rate of the critic targets
    critics: int = 2  # E
    target_q: Literal["min", "mean"] = "min"  # over the ensemble, in the critic's target
    actor_q: Literal["mean", "min"] = "min"  # of the ensemble, in the actor's loss; published: mean
    initial_temperature: float = 0.01  # alpha_0
    entropy_backup: bool = False  # subtract alpha log pi in the critic's target
    std_bounds: tuple[float, float] = (1e-5, 5.0)  # of the actor before squashing
    encoder: tuple[int, ...] = ()  # widths of an observation encoder in front of the critics
    state_ensemble: bool = False  # each critic has an encoder of its own
    bc_weight: float = 0.0  # weight of a cloning term on human steps; for offline training

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "discount": (0 <= self.discount < 1, "a number in [0, 1)"),
                "tau": (0 < self.tau <= 1, "a number in (0, 1]"),
                "critics": (self.critics >= 1, "at least 1"),
                "initial_temperature": (self.initial_temperature > 0, "a positive number"),
                "std_bounds": (0 < self.std_bounds[0] < self.std_bounds[1], "0 < low < high"),
                "state_ensemble": (
                    bool(self.encoder) or not self.state_ensemble,
                    "False unless agent.encoder has widths (for example 256)",
                ),
                "bc_weight": (self.bc_weight >= 0, "0 or more"),
            },
        )


class Temperature(nn.Module):
    """alpha = softplus(scalar)."""

    initial: float

    @nn.compact
    def __call__(self) -> jax.Array:
        """() float32."""
        raw = self.param("raw", nn.initializers.constant(float(np.log(np.expm1(self.initial)))), ())
        return jax.nn.softplus(raw)


class HILSERLAgent(Agent):
    """Networks of HIL-SERL; the grasp critic is None without a discrete gripper."""

    critic: TrainState
    target_critic: Params
    actor: TrainState
    temperature: TrainState
    grasp: TrainState | None = struct.field(default=None)
    target_grasp: Params | None = struct.field(default=None)
    average_actor: Params | None = struct.field(default=None)  # None: the online one acts

    # -- critics -------------------------------------------------------------------------------

    def critic_loss(
        self,
        params: Params,
        features: jax.Array,
        next_features: jax.Array,
        batch: Batch,
        key: jax.Array,
    ) -> Loss:
        """y = r + gamma m min_k Q_k'(s', a'), a' ~ pi(s');  L = sum_k mean (Q_k(s, a) - y)^2.

        The entropy term, if on, is inside gamma m (the reference applies it on terminal steps).
        """
        next_actions, log_prob = squashed_sample(key, *self.actor(next_features))
        next_q = self.critic(next_features, next_actions, params=self.target_critic)
        next_value = next_q.min(axis=0) if self.config.target_q == "min" else next_q.mean(axis=0)
        if self.config.entropy_backup:
            next_value = next_value - self.temperature() * log_prob
        target = batch.reward + self.config.discount * batch.mask * next_value
        actions = continuous_part(self.action_spec, batch.action)
        q = self.critic(features, actions, params=params)
        return temporal_difference(q, jax.lax.stop_gradient(target))

    def grasp_loss(
        self, params: Params, features: jax.Array, next_features: jax.Array, batch: Batch
    ) -> Loss:
        """Double DQN: y = r + penalty + gamma m Q^g'(s', argmax_g Q^g(s', g))."""
        assert self.grasp is not None
        best = jnp.argmax(self.grasp(next_features), axis=-1)
        next_q = self.grasp(next_features, params=self.target_grasp)
        next_value = jnp.take_along_axis(next_q, best[:, None], axis=-1)[:, 0]
        reward = batch.reward + batch.grasp_penalty
        target = jax.lax.stop_gradient(reward + self.config.discount * batch.mask * next_value)
        commands = joint_class(self.action_spec, gripper_classes(self.action_spec, batch.action))
        q_all = self.grasp(features, params=params)
        q = jnp.take_along_axis(q_all, commands[:, None], axis=-1)[:, 0]
        loss = jnp.mean((q - target) ** 2)
        return loss, {"grasp/loss": loss, "grasp/q": jnp.mean(q)}

    # -- actor and temperature -------------------------------------------------------------------

    def actor_loss(self, params: Params, features: jax.Array, batch: Batch, key: jax.Array) -> Loss:
        """-mean [ mean_k Q_k(s, a) - alpha log pi(a|s) ], a ~ pi(s) reparameterised."""
        mean, std = self.actor(features, params=params)
        actions, log_prob = squashed_sample(key, mean, std)
        q_all = self.critic(features, actions)
        q = q_all.mean(axis=0) if self.config.actor_q == "mean" else q_all.min(axis=0)
        loss = -jnp.mean(q - self.temperature() * log_prob)
        info = {"actor/loss": loss, "actor/q": jnp.mean(q), "actor/entropy": -jnp.mean(log_prob)}
        if self.config.bc_weight > 0:
            # TD3+BC's scaling: the weight means the same whatever the scale of the reward.
            scale = jax.lax.stop_gradient(jnp.mean(jnp.abs(q)))
            human = continuous_part(self.action_spec, batch.human_action)
            squared = jnp.sum((jnp.tanh(mean) - human) ** 2, axis=-1)
            rows = jnp.maximum(jnp.sum(batch.is_guidance), 1.0)
            cloning = jnp.sum(squared * batch.is_guidance) / rows
            loss = loss / jnp.maximum(scale, 1e-3) + self.config.bc_weight * cloning
            info |= {"actor/cloning": cloning}
        return loss, info

    def temperature_loss(self, params: Params, entropy: jax.Array) -> Loss:
        """alpha (H - H_target), H_target = -A / 2 with A the whole action's size."""
        alpha = self.temperature(params=params)
        target = -0.5 * self.action_spec.size
        return alpha * jax.lax.stop_gradient(entropy - target), {"temperature/value": alpha}

    # -- updates -------------------------------------------------------------------------------

    def update_critics(
        self, features: jax.Array, next_features: jax.Array, batch: Batch, key: jax.Array
    ) -> tuple[Self, Info]:
        """One step of the critic and the grasp critic, then their targets move."""
        tau = self.config.tau
        critic, info = self.critic.apply_loss(
            lambda params: self.critic_loss(params, features, next_features, batch, key)
        )
        agent = self.replace(
            critic=critic, target_critic=polyak(critic.params, self.target_critic, tau)
        )
        if self.grasp is not None:
            grasp, extra = self.grasp.apply_loss(
                lambda params: self.grasp_loss(params, features, next_features, batch)
            )
            info = info | extra
            agent = agent.replace(
                grasp=grasp, target_grasp=polyak(grasp.params, self.target_grasp, tau)
            )
        return agent, info

    @jax.jit
    def update(self, batch: Batch) -> tuple[Self, Info]:
        """One learner iteration: U critic steps, then actor and temperature on the last batch."""
        features, next_features = self.encode(batch)
        keys = jax.random.split(self.update_key(), batch.reward.shape[0] + 1)

        def critic_step(agent: Self, inputs: tuple) -> tuple[Self, Info]:
            return agent.update_critics(*inputs)

        agent, infos = jax.lax.scan(critic_step, self, (features, next_features, batch, keys[1:]))
        info = jax.tree.map(jnp.mean, infos)
        last = jax.tree.map(lambda x: x[-1], batch)
        actor, extra = agent.actor.apply_loss(
            lambda params: agent.actor_loss(params, features[-1], last, keys[0])
        )
        temperature, more = agent.temperature.apply_loss(
            lambda params: agent.temperature_loss(params, extra["actor/entropy"])
        )
        # Until there is enough to average, it is a plain mean: the first weights are random.
        done = self.iterations.astype(jnp.float32) + 1.0
        rate = jnp.maximum(self.averaging(), 1.0 / done)
        average = follow(actor.params, agent.average_actor, rate)
        agent = agent.replace(actor=actor, average_actor=average, temperature=temperature)
        return agent.replace(iterations=agent.iterations + 1), info | extra | more

    @jax.jit
    def pretrain(self, batch: Batch) -> tuple[Self, Info]:
        """U learner iterations on demonstrations alone, a critic step each; off by default."""
        agent, infos = jax.lax.scan(
            lambda agent, rows: agent.update(jax.tree.map(lambda x: x[None], rows)), self, batch
        )
        # Nothing was averaged yet: the first iteration on a run's data begins the mean anew.
        return agent.replace(iterations=self.iterations), jax.tree.map(lambda x: x[-1], infos)

    # -- acting --------------------------------------------------------------------------------

    def _gripper(self, features: jax.Array) -> jax.Array | None:
        if self.grasp is None:
            return None
        return split_joint_class(self.action_spec, jnp.argmax(self.grasp(features), axis=-1))

    def mean_action(self, features: jax.Array) -> jax.Array:
        """tanh of the mean and the gripper command of highest Q."""
        mean, _ = self.actor(features, params=self.average_actor)
        return join(self.action_spec, jnp.tanh(mean), self._gripper(features))

    def policy(self, features: jax.Array, key: jax.Array, explore: bool) -> tuple[jax.Array, Info]:
        """A sample (or the mean), with the policy's Q and its spread."""
        mean, std = self.actor(features, params=self.average_actor)
        continuous = squashed_sample(key, mean, std)[0] if explore else jnp.tanh(mean)
        diagnostics = {
            "q_policy": self.critic(features, continuous).min(axis=0),
            "policy_std": jnp.mean(std, axis=-1),
        }
        return join(self.action_spec, continuous, self._gripper(features)), diagnostics

    @classmethod
    def create(
        cls, config: HILSERLConfig, spec: EnvSpec, statistics: Statistics | None, seed: int
    ) -> Self:
        """Fresh networks; see :meth:`Agent.create`."""
        fields, key, features, actions = cls.base_fields(config, spec, statistics, seed)
        keys = jax.random.split(key, 4)
        rate = {"learning_rate": config.learning_rate}
        critic = TrainState.create(
            EnsembleCritic(config.trunk, config.critics, config.encoder, config.state_ensemble),
            keys[0],
            features,
            actions,
            **rate,
        )
        policy = GaussianPolicy(
            config.trunk, actions.shape[-1], squash_mean=False, scale_bounds=config.std_bounds
        )
        grasp = None
        if spec.action.gripper:
            commands = len(spec.action.gripper_values) ** len(spec.action.gripper)
            grasp = TrainState.create(
                GraspCritic(config.trunk, commands), keys[2], features, **rate
            )
        actor = TrainState.create(policy, keys[1], features, **rate)
        return cls(
            **fields,
            critic=critic,
            target_critic=critic.params,
            actor=actor,
            average_actor=actor.params if config.average_rate < 1 else None,
            temperature=TrainState.create(Temperature(config.initial_temperature), keys[3], **rate),
            grasp=grasp,
            target_grasp=None if grasp is None else grasp.params,
        )


DEFAULT = HILSERLConfig()
PRESETS = {
    "default": Preset(
        DEFAULT, "the shared harness: silri's trunk and reward, returns of 3 steps, averaged actor"
    ),
    "published": Preset(
        replace(
            DEFAULT,
            batch_size=256,
            n_step=1,
            reward_unit=0.0,
            average_rate=1.0,
            actor_q="mean",
            trunk=Trunk(activation="tanh"),
        ),
        "the publication: tanh trunk, reward 1 / 0",
        env={"success_reward": 1.0, "step_reward": 0.0},
    ),
    "offline": Preset(
        replace(DEFAULT, bc_weight=2.5),
        "from a dataset alone: with a cloning term on human steps",
    ),
}
