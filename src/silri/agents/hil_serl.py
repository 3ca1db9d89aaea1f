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

``update`` needs no environment: fed from a dataset alone it is the offline algorithm. Nobody is
there to correct what the critic imagines, so the stage ``clone`` may begin, ``bc_weight`` keeps the
actor on the data, and ``conservative`` the critics (Cal-QL's regulariser, arXiv 2303.05479).
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import ClassVar, Literal, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from silri.agents.augment import PLAIN, Augment
from silri.agents.base import Acted, Agent, AgentConfig, Bounds, Prepared, check_bounds
from silri.agents.losses import conservative, judge, masked_mean, some_rows, temporal_difference
from silri.agents.stages import ONLINE, Stage
from silri.core.errors import ConfigError
from silri.core.registry import Preset
from silri.core.settings import NonNegative, Positive, PositiveInt, Rate01, Share01, settings
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
from silri.nn.train_state import Info, Loss, Params, TrainState, averaging, polyak


@settings("agent")
class HILSERLConfig(AgentConfig):
    """Defaults are for the shared harness; ``published`` is in :data:`PRESETS`."""

    known_stages: ClassVar[tuple[str, ...]] = ("clone", "offline", "online")
    columns: ClassVar[tuple[str, ...]] = ("mc_return",)

    n_step: PositiveInt = 3  # rewards in a return before it bootstraps; the publication has 1
    reward_unit: NonNegative = 10.0  # the demonstrations' largest return is scaled to it, 0: not
    average_rate: Rate01 = 0.002  # the publication acts with the actor that learns
    tau: Rate01 = 0.005  # Polyak rate of the critic targets
    critics: PositiveInt = 2  # E
    target_q: Literal["min", "mean"] = "min"  # over the ensemble, in the critic's target
    actor_q: Literal["mean", "min"] = "min"  # of the ensemble, in the actor's loss; published: mean
    initial_temperature: Positive = 0.01  # alpha_0
    entropy_backup: bool = False  # subtract alpha log pi in the critic's target
    std_bounds: Bounds = (1e-5, 5.0)  # of the actor before squashing
    encoder: tuple[PositiveInt, ...] = ()  # widths of a vector encoder in front of the critics
    state_ensemble: bool = False  # each critic has an encoder of its own
    bc_weight: NonNegative = 0.0  # weight of a cloning term on human steps; for offline training
    decay: NonNegative = 0.0  # weight decay of the actor, times the learning rate per step
    conservative: NonNegative = 0.0  # weight of Cal-QL's regulariser in the offline stage
    regularised: Share01 = 0.25  # share of a batch's rows that it is computed on
    candidates: PositiveInt = 10  # actions of each of three kinds that it compares the data with

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds("std_bounds", self.std_bounds)
        if self.state_ensemble and not self.encoder:
            raise ConfigError(
                "agent.state_ensemble takes False unless agent.encoder has widths (for example "
                "256), got True"
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
    average_actor: Params
    grasp: TrainState | None = struct.field(default=None)
    target_grasp: Params | None = struct.field(default=None)

    # -- critics -------------------------------------------------------------------------------

    def critic_loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """y = r + gamma m min_k Q_k'(s', a'), a' ~ pi(s');  L = sum_k mean (Q_k(s, a) - y)^2.

        The entropy term, if on, is inside gamma m (the reference applies it on terminal steps).
        """
        next_actions, log_prob = squashed_sample(key, *self.actor(batch.next_observation))
        next_q = self.critic(batch.next_observation, next_actions, params=self.target_critic)
        next_value = next_q.min(axis=0) if self.config.target_q == "min" else next_q.mean(axis=0)
        if self.config.entropy_backup:
            next_value = next_value - self.temperature() * log_prob
        target = batch.reward + self.config.discount * batch.mask * next_value
        actions = continuous_part(self.action_spec, batch.action)
        q = self.critic(batch.observation, actions, params=params)
        return temporal_difference(q, jax.lax.stop_gradient(target))

    def grasp_loss(self, params: Params, batch: Batch) -> Loss:
        """Double DQN: y = r + penalty + gamma m Q^g'(s', argmax_g Q^g(s', g))."""
        assert self.grasp is not None
        best = jnp.argmax(self.grasp(batch.next_observation), axis=-1)
        next_q = self.grasp(batch.next_observation, params=self.target_grasp)
        next_value = jnp.take_along_axis(next_q, best[:, None], axis=-1)[:, 0]
        reward = batch.reward + batch.grasp_penalty
        target = jax.lax.stop_gradient(reward + self.config.discount * batch.mask * next_value)
        commands = joint_class(self.action_spec, gripper_classes(self.action_spec, batch.action))
        q_all = self.grasp(batch.observation, params=params)
        q = jnp.take_along_axis(q_all, commands[:, None], axis=-1)[:, 0]
        loss = jnp.mean((q - target) ** 2)
        return loss, {"grasp/loss": loss, "grasp/q": jnp.mean(q)}

    # -- critics of a dataset alone ----------------------------------------------------------------

    def regulariser(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """Cal-QL's regulariser: n uniform actions, n of the policy at s and n of it at s'."""
        uniform, here, there = jax.random.split(key, 3)
        draws = (self.config.candidates, batch.reward.shape[0])
        shown = continuous_part(self.action_spec, batch.action)
        actions = [jax.random.uniform(uniform, (*draws, shown.shape[-1]), minval=-1.0, maxval=1.0)]
        for of_side, side in ((here, batch.observation), (there, batch.next_observation)):
            mean, std = (jnp.broadcast_to(x, (*draws, x.shape[-1])) for x in self.actor(side))
            actions.append(squashed_sample(of_side, mean, std)[0])
        q = self.critic(batch.observation, shown, params=params)
        candidates = judge(self.critic, batch, jnp.concatenate(actions), params)
        return conservative(q, candidates, batch.columns["mc_return"])

    def command_loss(self, params: Params, batch: Batch) -> Loss:
        """mean log sum_g exp Q^g(s, g) - Q^g(s, g_human): CQL over commands, a cross-entropy.

        It has no floor: a command that nobody gave would be worth as much as the person's.
        """
        assert self.grasp is not None
        commands = joint_class(
            self.action_spec, gripper_classes(self.action_spec, batch.human_action)
        )
        logits = self.grasp(batch.observation, params=params)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, commands)
        return masked_mean(loss, batch.is_intervention), {}

    # -- actor and temperature -------------------------------------------------------------------

    def actor_loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """-mean [ mean_k Q_k(s, a) - alpha log pi(a|s) ], a ~ pi(s) reparameterised."""
        mean, std = self.actor(batch.observation, params=params)
        actions, log_prob = squashed_sample(key, mean, std)
        q_all = self.critic(batch.observation, actions)
        q = q_all.mean(axis=0) if self.config.actor_q == "mean" else q_all.min(axis=0)
        loss = -jnp.mean(q - self.temperature() * log_prob)
        info = {"actor/loss": loss, "actor/q": jnp.mean(q), "actor/entropy": -jnp.mean(log_prob)}
        if self.config.bc_weight > 0:
            # TD3+BC's scaling: the weight means the same whatever the scale of the reward.
            scale = jax.lax.stop_gradient(jnp.mean(jnp.abs(q)))
            human = continuous_part(self.action_spec, batch.human_action)
            squared = jnp.sum((jnp.tanh(mean) - human) ** 2, axis=-1)
            rows = jnp.maximum(jnp.sum(batch.is_intervention), 1.0)
            cloning = jnp.sum(squared * batch.is_intervention) / rows
            loss = loss / jnp.maximum(scale, 1e-3) + self.config.bc_weight * cloning
            info |= {"actor/cloning": cloning}
        return loss, info

    def clone_loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """mean m |a - a_human|^2 / d, a ~ pi(s) reparameterised: the deviation falls, too."""
        actions, _ = squashed_sample(key, *self.actor(batch.observation, params=params))
        human = continuous_part(self.action_spec, batch.human_action)
        error = jnp.mean((actions - human) ** 2, axis=-1)
        loss = masked_mean(error, batch.is_intervention)
        return loss, {"actor/squared_error": loss}

    def temperature_loss(self, params: Params, entropy: jax.Array) -> Loss:
        """alpha (H - H_target), H_target = -A / 2 with A the whole action's size."""
        alpha = self.temperature(params=params)
        target = -0.5 * self.action_spec.size
        return alpha * jax.lax.stop_gradient(entropy - target), {"temperature/value": alpha}

    # -- updates -------------------------------------------------------------------------------

    def update_critics(
        self, batch: Batch, key: jax.Array, stage: str = "online"
    ) -> tuple[Self, Info]:
        """One step of the critic and the grasp critic, then their targets move."""
        tau, strength = self.config.tau, self.config.conservative
        in_the_data = stage == "offline" and strength > 0

        def critic_loss(params: Params) -> Loss:
            loss, info = self.critic_loss(params, batch, key)
            if in_the_data:
                some = some_rows(batch, self.config.regularised)
                gap, of_gap = self.regulariser(params, some, jax.random.fold_in(key, 1))
                loss, info = loss + strength * gap, info | of_gap
            return loss, info

        def grasp_loss(params: Params) -> Loss:
            loss, info = self.grasp_loss(params, batch)
            if in_the_data:
                loss += strength * self.command_loss(params, batch)[0]
            return loss, info

        critic, info = self.critic.apply_loss(critic_loss)
        agent = self.replace(
            critic=critic, target_critic=polyak(critic.params, self.target_critic, tau)
        )
        if self.grasp is not None:
            grasp, extra = self.grasp.apply_loss(grasp_loss)
            info = info | extra
            agent = agent.replace(
                grasp=grasp, target_grasp=polyak(grasp.params, self.target_grasp, tau)
            )
        return agent, info

    @functools.partial(jax.jit, static_argnames="stage")
    def update(self, batch: Batch, stage: str = "online") -> tuple[Self, Info]:
        """One learner iteration: U critic steps, then actor and temperature on the last batch.

        Offline it is the same, from other rows, with the regulariser. Or U steps of cloning.
        """
        batch = self.prepare(batch)
        if stage == "clone":
            return self._clone(batch)
        keys = jax.random.split(self.update_key(), batch.reward.shape[0] + 1)
        agent, infos = jax.lax.scan(
            lambda agent, inputs: agent.update_critics(*inputs, stage), self, (batch, keys[1:])
        )
        last = jax.tree.map(lambda x: x[-1], batch)
        info = jax.tree.map(jnp.mean, infos)
        actor, extra = agent.actor.apply_loss(
            lambda params: agent.actor_loss(params, last, keys[0])
        )
        temperature, more = agent.temperature.apply_loss(
            lambda params: agent.temperature_loss(params, extra["actor/entropy"])
        )
        rate = averaging(self.config.average_rate, self.iterations, fresh=True)
        average = polyak(actor.params, agent.average_actor, rate)
        agent = agent.replace(actor=actor, average_actor=average, temperature=temperature)
        return agent.replace(iterations=agent.iterations + 1), info | extra | more

    def _clone(self, batch: Batch) -> tuple[Self, Info]:
        """U steps of the actor and the grasp critic on prepared demonstrations (U, B)."""

        def step(agent: Self, inputs: tuple[Batch, jax.Array]) -> tuple[Self, Info]:
            demos, key = inputs
            shown = demos.is_intervention.any()
            actor, info = agent.actor.apply_loss_if(
                shown, lambda params: agent.clone_loss(params, demos, key)
            )
            grasp = agent.grasp
            if grasp is not None:
                grasp, _ = grasp.apply_loss_if(
                    shown, lambda params: agent.command_loss(params, demos)
                )
            return agent.replace(actor=actor, grasp=grasp), info

        keys = jax.random.split(self.update_key(), batch.reward.shape[0])
        agent, infos = jax.lax.scan(step, self, (batch, keys))
        target = None if agent.grasp is None else agent.grasp.params
        agent = agent.replace(average_actor=agent.actor.params, target_grasp=target)
        return agent, jax.tree.map(lambda x: x[-1], infos)

    # -- acting --------------------------------------------------------------------------------

    def _gripper(self, observation: Prepared) -> jax.Array | None:
        if self.grasp is None:
            return None
        return split_joint_class(self.action_spec, jnp.argmax(self.grasp(observation), axis=-1))

    def mean_action(self, observation: Prepared) -> jax.Array:
        """tanh of the mean and the gripper command of highest Q."""
        mean, _ = self.actor(observation, params=self.average_actor)
        return join(self.action_spec, jnp.tanh(mean), self._gripper(observation))

    def policy(self, observation: Prepared, key: jax.Array, explore: bool) -> Acted:
        """A sample (or the mean), with the policy's Q and its spread."""
        mean, std = self.actor(observation, params=self.average_actor)
        continuous = squashed_sample(key, mean, std)[0] if explore else jnp.tanh(mean)
        diagnostics = {
            "q_policy": self.critic(observation, continuous).min(axis=0),
            "policy_std": jnp.mean(std, axis=-1),
        }
        return join(self.action_spec, continuous, self._gripper(observation)), diagnostics

    @classmethod
    def create(
        cls, config: HILSERLConfig, spec: EnvSpec, seed: int, augment: Augment = PLAIN
    ) -> Self:
        """Fresh networks; see :meth:`Agent.create`."""
        fields, key, observer, observation, actions = cls.base_fields(config, spec, seed, augment)
        keys = jax.random.split(key, 4)
        rate = {"learning_rate": config.learning_rate}
        critics = EnsembleCritic(
            observer, config.trunk, config.critics, config.encoder, config.state_ensemble
        )
        critic = TrainState.create(critics, keys[0], observation, actions, **rate)
        policy = GaussianPolicy(
            observer,
            config.trunk,
            actions.shape[-1],
            squash_mean=False,
            scale_bounds=config.std_bounds,
        )
        actor = TrainState.create(policy, keys[1], observation, decay=config.decay, **rate)
        grasp = None
        if spec.action.gripper:
            commands = len(spec.action.gripper_values) ** len(spec.action.gripper)
            network = GraspCritic(observer, config.trunk, commands)
            grasp = TrainState.create(network, keys[2], observation, **rate)
        return cls(
            **fields,
            critic=critic,
            target_critic=critic.params,
            actor=actor,
            average_actor=actor.params,
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
        {"env": {"success_reward": 1.0, "step_reward": 0.0}},
    ),
    "offline": Preset(
        replace(DEFAULT, bc_weight=2.5, stages=(Stage("offline", "mix", 4_000), ONLINE)),
        "from a dataset first: 4,000 iterations with a cloning term on human steps",
    ),
    "cloned": Preset(
        replace(
            DEFAULT,
            bc_weight=2.5,
            decay=1.0,
            conservative=0.5,
            stages=(Stage("clone", "guidance", 4_000), Stage("offline", "mix", 1_000), ONLINE),
        ),
        "begins as a clone of the person; offline its critics stay in the data, too (Cal-QL)",
    ),
}
