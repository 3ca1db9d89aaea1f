r"""ConRFT: a consistency policy, reinforced offline and online with a person (arXiv 2502.05450).

A policy that may have several ways of doing a task (it maps noise to an action in one step) is
cloned from few demonstrations while a critic learns what they are worth (stage I, Cal-ConRFT);
then both go on with the person's corrections (stage II, HIL-ConRFT)::

    L_pi = beta E[ w(k) |f(s, a + k z, k) - a|^2 ] - eta E[ Q(s, f(s, k_max z, k_max)) ]

In both stages the actor minimises L_pi, with other weights; the optimisers start afresh in between.

============  =================================================================================
f(s, x, k)    actor: consistency model of actions, noise level k (:mod:`silri.nn.consistency`)
Q_k(s, a)     critics, k = 1..E, on continuous dimensions only; bars are Polyak targets
G(s)          Monte-Carlo return, the column ``mc_return``: a floor of what is pushed down
g             gripper classes: a cross-entropy head, argmax at run time
============  =================================================================================

The publication's head and critic sit on features of a frozen model (its code never trains Octo);
here on what the observer sees, whatever provides it.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from flax import struct

from silri.agents.augment import PLAIN, Augment
from silri.agents.base import Acted, Agent, AgentConfig, Prepared
from silri.agents.gripper import create_gripper, gripper_command, update_gripper
from silri.agents.losses import conservative, judge, masked_mean, some_rows, temporal_difference
from silri.agents.stages import ONLINE, Stage
from silri.core.registry import Preset
from silri.core.settings import NonNegative, PositiveInt, Rate01, Share01, settings
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.actions import continuous_part, join
from silri.nn.consistency import K_MAX, ConsistencyPolicy, draw_levels, weight
from silri.nn.heads import EnsembleCritic
from silri.nn.mlp import Trunk
from silri.nn.train_state import Info, Loss, Params, TrainState, averaging, follow, polyak

SPREAD = 8  # actions from which the policy's deviation is told


@settings("agent")
class ConRFTConfig(AgentConfig):
    """Defaults are silri's own; ``paper`` and ``scripts`` are in :data:`PRESETS`."""

    known_stages: ClassVar[tuple[str, ...]] = ("offline", "online")
    columns: ClassVar[tuple[str, ...]] = ("mc_return",)

    n_step: PositiveInt = 3  # rewards in a return before it bootstraps; the publication has 1
    reward_unit: NonNegative = 10.0  # the demonstrations' largest return is scaled to it, 0: not
    average_rate: Rate01 = 0.002  # Polyak rate of the policy that acts; 1 is the one that learns
    # what is learned in which order
    stages: tuple[Stage, ...] = (
        Stage("offline", "mix", 3_000),
        replace(ONLINE, reset_optimisers=True),
    )
    tau: Rate01 = 0.005  # Polyak rate of the critic targets
    critics: PositiveInt = 2  # E
    target_q: Literal["min", "mean"] = "min"  # over the ensemble, in the critic's target
    actor_q: Literal["mean", "min"] = "min"  # of the ensemble, in the actor's loss; published: mean
    candidates: PositiveInt = 10  # actions of each of three kinds that Cal-QL weighs the data with
    conservative: NonNegative = 0.1  # alpha, weight of Cal-QL's regulariser in the offline stage
    regularised: Share01 = 0.25  # share of a batch's rows that it is computed on; published: all
    calibrated: bool = True  # it pushes nothing below Monte-Carlo returns (False: CQL)
    offline_cloning: NonNegative = 1.0  # beta of the offline stage
    offline_q: NonNegative = 0.1  # eta of the offline stage
    online_cloning: NonNegative = 0.5  # beta of the online stage
    online_q: NonNegative = 0.1  # eta of the online stage; published: 1, with rewards as they are
    clone: Literal["human", "all"] = "human"  # rows that are cloned; published: the robot's, too
    clip_cloning: bool = False  # clone the clipped action, as published: no way back from the edge
    decay: NonNegative = 1.0  # weight decay of the actor, times the learning rate per step


class ConRFTAgent(Agent):
    """Networks of ConRFT; ``gripper`` is None without a discrete gripper."""

    critic: TrainState
    target_critic: Params
    actor: TrainState
    average_actor: Params
    gripper: TrainState | None = struct.field(default=None)
    average_gripper: Params | None = struct.field(default=None)

    # -- the policy ------------------------------------------------------------------------------

    def sample(
        self, observation: Prepared, noise: jax.Array, params: Params | None = None
    ) -> jax.Array:
        """One step from x = k_max z to an action in [-1, 1].

        Args:
            observation: rows (B).
            noise: z (..., B, D); further leading axes are further draws.
            params: of the actor; a gradient flows to them through the step.
        """
        level = jnp.full(noise.shape[:-1], K_MAX, noise.dtype)
        return jnp.clip(self.actor(observation, K_MAX * noise, level, params=params), -1.0, 1.0)

    def noise(self, key: jax.Array, *lead: int) -> jax.Array:
        """z ~ N(0, I), (*lead, D)."""
        return jax.random.normal(key, (*lead, len(self.action_spec.continuous)), jnp.float32)

    # -- critic ----------------------------------------------------------------------------------

    def critic_loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """y = r + gamma m min_k Q_k'(s', a'), a' from the actor that learns; no entropy."""
        rows = batch.reward.shape[0]
        next_actions = self.sample(batch.next_observation, self.noise(key, rows))
        next_q = self.critic(batch.next_observation, next_actions, params=self.target_critic)
        next_value = next_q.min(axis=0) if self.config.target_q == "min" else next_q.mean(axis=0)
        target = batch.reward + self.config.discount * batch.mask * next_value
        actions = continuous_part(self.action_spec, batch.action)
        q = self.critic(batch.observation, actions, params=params)
        return temporal_difference(q, jax.lax.stop_gradient(target))

    def regulariser(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """Cal-QL's, over n uniform actions, n of the policy at s and n of it at s', judged at s."""
        uniform, here, there = jax.random.split(key, 3)
        draws = (self.config.candidates, batch.reward.shape[0])
        size = len(self.action_spec.continuous)
        actions = [
            jax.random.uniform(uniform, (*draws, size), minval=-1.0, maxval=1.0),
            self.sample(batch.observation, self.noise(here, *draws)),
            self.sample(batch.next_observation, self.noise(there, *draws)),
        ]
        shown = continuous_part(self.action_spec, batch.action)
        q = self.critic(batch.observation, shown, params=params)
        returns = batch.columns["mc_return"]
        floor = returns if self.config.calibrated else jnp.full_like(returns, -jnp.inf)
        return conservative(q, judge(self.critic, batch, jnp.concatenate(actions), params), floor)

    def offline_critic_loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """The critics' loss, plus alpha times the regulariser."""
        of_target, of_candidates = jax.random.split(key)
        loss, info = self.critic_loss(params, batch, of_target)
        some = some_rows(batch, self.config.regularised)
        gap, of_gap = self.regulariser(params, some, of_candidates)
        return loss + self.config.conservative * gap, info | of_gap

    # -- actor -----------------------------------------------------------------------------------

    def actor_loss(self, params: Params, batch: Batch, key: jax.Array, stage: str) -> Loss:
        """beta mean [w(k) mean_j (f(s, a + k z, k) - a)_j^2] - eta mean Q(s, a~), a~ a sample.

        The clean action is the target, not a teacher at the next level. Published, the clipped
        action is compared: where the head is outside the box there is no gradient, ever.
        """
        config, rows = self.config, batch.reward.shape[0]
        of_level, of_noise, of_sample = jax.random.split(key, 3)
        level = draw_levels(of_level, (rows,))
        human = config.clone == "human"
        shown = continuous_part(self.action_spec, batch.human_action if human else batch.action)
        noisy = shown + level[:, None] * self.noise(of_noise, rows)
        restored = self.actor(batch.observation, noisy, level, params=params)
        if config.clip_cloning:
            restored = jnp.clip(restored, -1.0, 1.0)
        error = jnp.mean((restored - shown) ** 2, axis=-1)
        chosen = batch.is_intervention if human else jnp.ones_like(batch.reward)
        cloning = masked_mean(weight(level) * error, chosen)
        actions = self.sample(batch.observation, self.noise(of_sample, rows), params)
        q_all = self.critic(batch.observation, actions)
        q = jnp.mean(q_all.mean(axis=0) if config.actor_q == "mean" else q_all.min(axis=0))
        beta, eta = {
            "offline": (config.offline_cloning, config.offline_q),
            "online": (config.online_cloning, config.online_q),
        }[stage]
        loss = beta * cloning - eta * q
        away = masked_mean(jnp.mean((actions - shown) ** 2, axis=-1), chosen)
        info = {"actor/loss": loss, "actor/q": q, "actor/cloning": cloning}
        return loss, info | {"actor/squared_error": away}

    # -- updates ---------------------------------------------------------------------------------

    def update_critic(self, batch: Batch, key: jax.Array, stage: str) -> tuple[Self, Info]:
        """One step of the critics, then their targets move."""
        loss = self.offline_critic_loss if stage == "offline" else self.critic_loss
        critic, info = self.critic.apply_loss(lambda params: loss(params, batch, key))
        target = polyak(critic.params, self.target_critic, self.config.tau)
        return self.replace(critic=critic, target_critic=target), info

    @functools.partial(jax.jit, static_argnames="stage")
    def update(self, batch: Batch, stage: str = "online") -> tuple[Self, Info]:
        """One learner iteration: U critic steps, then actor and gripper on the last batch."""
        batch = self.prepare(batch)
        keys = jax.random.split(self.update_key(), batch.reward.shape[0] + 1)
        agent, infos = jax.lax.scan(
            lambda agent, inputs: agent.update_critic(*inputs, stage), self, (batch, keys[1:])
        )
        last = jax.tree.map(lambda x: x[-1], batch)
        actor, of_actor = agent.actor.apply_loss(
            lambda params: agent.actor_loss(params, last, keys[0], stage)
        )
        gripper, of_gripper = update_gripper(agent.gripper, agent.action_spec, last)
        rate = averaging(self.config.average_rate, self.iterations, fresh=True)
        agent = agent.replace(
            actor=actor,
            average_actor=polyak(actor.params, agent.average_actor, rate),
            gripper=gripper,
            average_gripper=follow(gripper, agent.average_gripper, rate),
            iterations=agent.iterations + 1,
        )
        return agent, jax.tree.map(jnp.mean, infos) | of_actor | of_gripper

    # -- acting ----------------------------------------------------------------------------------

    def mean_action(self, observation: Prepared) -> jax.Array:
        """The action of z = 0, the middle of the noise, and the likeliest gripper command.

        The publication is evaluated with a draw (its ``argmax`` has no effect).
        """
        size = len(self.action_spec.continuous)
        middle = jnp.zeros((*observation["vector"].shape[:-1], size), jnp.float32)
        continuous = self.sample(observation, middle, self.average_actor)
        command = gripper_command(self.gripper, observation, self.average_gripper)
        return join(self.action_spec, continuous, command)

    def policy(self, observation: Prepared, key: jax.Array, explore: bool) -> Acted:
        """A draw (or the action of z = 0), with its Q and the deviation of further draws."""
        lead = observation["vector"].shape[:-1]
        draws = self.sample(observation, self.noise(key, SPREAD, *lead), self.average_actor)
        middle = continuous_part(self.action_spec, self.mean_action(observation))
        diagnostics = {
            "q_policy": self.critic(observation, middle).min(axis=0),
            "policy_std": jnp.mean(jnp.std(draws, axis=0), axis=-1),
        }
        command = gripper_command(self.gripper, observation, self.average_gripper)
        return join(self.action_spec, draws[0] if explore else middle, command), diagnostics

    @classmethod
    def create(
        cls, config: ConRFTConfig, spec: EnvSpec, seed: int, augment: Augment = PLAIN
    ) -> Self:
        """Fresh networks; see :meth:`Agent.create`."""
        fields, key, observer, observation, actions = cls.base_fields(config, spec, seed, augment)
        keys = jax.random.split(key, 3)
        rate = {"learning_rate": config.learning_rate}
        critics = EnsembleCritic(observer, config.trunk, config.critics)
        critic = TrainState.create(critics, keys[0], observation, actions, **rate)
        head = ConsistencyPolicy(observer, config.trunk, actions.shape[-1])
        level = jnp.ones(actions.shape[:-1], actions.dtype)
        actor = TrainState.create(
            head, keys[1], observation, actions, level, decay=config.decay, **rate
        )
        gripper = create_gripper(spec.action, observer, config.trunk, keys[2], observation, **rate)
        return cls(
            **fields,
            critic=critic,
            target_critic=critic.params,
            actor=actor,
            average_actor=actor.params,
            gripper=gripper,
            average_gripper=None if gripper is None else gripper.params,
        )


DEFAULT = ConRFTConfig()
PUBLISHED = replace(
    DEFAULT,
    batch_size=256,
    discount=0.98,
    n_step=1,
    reward_unit=0.0,
    average_rate=1.0,
    trunk=Trunk(activation="tanh"),
    stages=(Stage("offline", "mix", 20_000), replace(ONLINE, reset_optimisers=True)),
    actor_q="mean",
    online_q=1.0,
    clone="all",
    clip_cloning=True,
    decay=0.0,
    regularised=1.0,
)
PRESETS = {
    "default": Preset(DEFAULT, "silri's own setting"),
    "paper": Preset(
        replace(PUBLISHED, conservative=0.01),
        "the paper's weights: alpha 0.01; beta, eta (1, 0.1), then (0.5, 1)",
    ),
    "scripts": Preset(
        replace(PUBLISHED, offline_q=0.0, online_cloning=0.1),
        "the published scripts' weights: alpha 0.1; beta, eta (1, 0), then (0.1, 1)",
    ),
}
