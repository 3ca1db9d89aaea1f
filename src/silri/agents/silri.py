r"""SiLRI: state-wise Lagrangian reinforcement learning from interventions (arXiv 2512.24288).

Maximise return subject to staying near the person where the person is sure::

    max_pi J(pi)   s.t.   D(s) = d(pi(s), beta(s)) <= bound(s)   for all s
    L(pi, lambda) = -Q(s, pi(s)) + lambda(s) [ D(s) - bound(s) ],   lambda(s) >= 0

beta is a Gaussian fitted to what people did; its spread loosens the bound, so the learned
multiplier lambda(s) falls where people are inconsistent (reinforcement learning decides) and
rises where they are sure (imitation decides).

============  =================================================================================
pi(s)         actor: deterministic tanh mean; acts with a fixed deviation ``explore_std``
beta(s)       expert: mean mu(s) and scale v(s) of the human action
Q_k(s, a)     critics, k = 1..E; bars are Polyak targets
lambda(s)     multiplier, softplus output
g             gripper classes: a cross-entropy head, argmax at run time
============  =================================================================================

Equation numbers are the paper's. The traps of the published code (T#) are in ``docs/``.
"""

from __future__ import annotations

import math
from typing import Self

import jax
import jax.numpy as jnp
from flax import struct

from silri.agents.asking import doubt, follow_quantile
from silri.agents.base import Agent, Statistics
from silri.agents.gripper import create_gripper, gripper_command, update_gripper
from silri.agents.losses import guidance_rows, linearised, masked_mean, temporal_difference
from silri.agents.silri_config import PRESETS, SiLRIConfig
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.actions import continuous_part, join
from silri.nn.constraint import distance, spread
from silri.nn.distributions import normal_log_prob, safe_norm
from silri.nn.heads import EnsembleCritic, MeanPolicy, Multiplier, human_policy
from silri.nn.train_state import Info, Loss, Params, TrainState, follow, polyak

__all__ = ["PRESETS", "SiLRIAgent", "SiLRIConfig"]

SLOPE_RATE = 0.01  # of the running mean of Q's slope
LEAST_SLOPE = 1e-3  # below it Q is flat, and what is left of it noise
GROUPS = 16  # coarse cells of the hierarchical multiplier


class SiLRIAgent(Agent):
    """Networks of SiLRI; ``gripper`` is None without a discrete gripper."""

    critic: TrainState
    target_critic: Params
    actor: TrainState
    target_actor: Params
    average_actor: Params
    expert: TrainState
    multiplier: TrainState
    gripper: TrainState | None = struct.field(default=None)
    average_expert: Params | None = struct.field(default=None)  # None: the online one acts
    average_gripper: Params | None = struct.field(default=None)
    q_slope: jax.Array | None = struct.field(default=None)
    ask_above: jax.Array | None = struct.field(default=None)  # doubt; None: never asks

    # -- the human policy beta ---------------------------------------------------------------

    def human(
        self, features: jax.Array, params: Params | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """mu(s), the deviation sigma(s), (..., D) each, and the novelty of s, (...,).

        The members' mean; the root of their mean variance, which is the person's inconsistency;
        and the root of the summed variance of their means: large where nobody has shown anything.
        """
        means, scales = self._members(features, params)
        variances = scales if self.config.expert_scale == "variance" else scales * scales
        novelty = safe_norm(jnp.std(means, axis=0))
        return means.mean(axis=0), jnp.sqrt(variances.mean(axis=0)), novelty

    def _members(self, features: jax.Array, params: Params | None) -> tuple[jax.Array, jax.Array]:
        """Mean and scale of every member, (K, ..., D)."""
        mean, scale = self.expert(
            features, params=self.average_expert if params is None else params
        )
        return (mean[None], scale[None]) if self.config.experts == 1 else (mean, scale)

    def expert_loss(
        self, params: Params, features: jax.Array, batch: Batch, weight: jax.Array
    ) -> Loss:
        """-sum w log N(a; mu_k(s), sigma_k(s)^2) / sum w, summed over members k; w is (B,)."""
        means, scales = self._members(features, params)
        stds = jnp.sqrt(scales) if self.config.expert_scale == "variance" else scales
        actions = continuous_part(self.action_spec, batch.human_action)
        log_prob = normal_log_prob(actions[None], means, stds)
        nll = -jnp.sum(log_prob * weight[None]) / jnp.maximum(jnp.sum(weight), 1e-6)
        return nll, {
            "expert/nll": nll / len(means),
            "expert/std": masked_mean(jnp.mean(stds, axis=(0, -1)), batch.is_guidance),
        }

    def guidance_weights(self, features: jax.Array, batch: Batch) -> jax.Array:
        """(B,) 1 for what is to be imitated, less where the critic sees better than it."""
        if not self.config.advantage_scale:
            return batch.is_guidance
        actions = continuous_part(self.action_spec, batch.human_action)
        policy = self.actor(features, params=self.average_actor)
        advantage = self.critic(features, actions).min(0) - self.critic(features, policy).min(0)
        weight = jnp.exp(advantage / (self.config.advantage_scale * self.q_slope))
        return batch.is_guidance * jnp.clip(weight, 0.05, 1.0)

    def allowed(self, std: jax.Array, novelty: jax.Array | float = 0.0) -> jax.Array:
        """bound(s) from sigma(s): (..., D) -> (...,). Eq. 3: kappa * spread + slack."""
        loose = self.config.kappa * spread(self.config.bound, std) + self.config.slack
        return loose + self.config.novelty_weight * novelty

    def distance(self, actions: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
        """D(s) between a continuous action and the human policy: (..., D) -> (...,)."""
        config = self.config
        return distance(config.distance, actions - mean, std, config.least_deviation)

    # -- critic ------------------------------------------------------------------------------

    def target_actions(self, next_features: jax.Array, key: jax.Array) -> jax.Array:
        """a' of the target actor, always inside [-1, 1] (trap T4)."""
        mean = self.actor(next_features, params=self.target_actor)
        if self.config.target_action == "mean":
            return mean
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        if self.config.target_action == "sample":
            return jnp.clip(mean + self.config.explore_std * noise, -1.0, 1.0)
        smoothing = jnp.clip(self.config.target_noise * noise, -0.5, 0.5)
        return jnp.clip(mean + smoothing, -1.0, 1.0)

    def critic_loss(
        self,
        params: Params,
        features: jax.Array,
        next_features: jax.Array,
        batch: Batch,
        key: jax.Array,
    ) -> Loss:
        """y = r + gamma m min_k Q_k'(s', a');  L = sum_k mean (Q_k(s, a) - y)^2."""
        next_actions = self.target_actions(next_features, key)
        next_q = self.critic(next_features, next_actions, params=self.target_critic).min(axis=0)
        target = batch.reward + self.config.discount * batch.mask * next_q
        actions = continuous_part(self.action_spec, batch.action)
        q = self.critic(features, actions, params=params)
        return temporal_difference(q, jax.lax.stop_gradient(target))

    # -- actor and gripper ---------------------------------------------------------------------

    def actor_loss(self, params: Params, features: jax.Array, batch: Batch) -> Loss:
        """Eq. 10: mean [ (-min_k Q_k(s, pi) + lambda D(s)) / (1 + lambda) ].

        lambda = infinity leaves D (without reinforcement learning), lambda = 0 leaves -Q (without
        imitation). Computed on the whole mixed batch; lambda, mu and Q are constants here.
        """
        actions = self.actor(features, params=params)
        human_mean, human_std, _ = self.human(features)
        apart = self.distance(actions, human_mean, human_std)
        if self.config.multiplier == "infinite":
            loss, q, slope = jnp.mean(apart), jnp.zeros(()), jnp.ones(())
        else:
            q_policy, slope = linearised(lambda a: self.critic(features, a).min(axis=0), actions)
            multiplier = self.multiplier_values(features)
            scaled = q_policy
            if self.config.q_scale == "slope":
                assert self.q_slope is not None
                scaled = q_policy / jnp.maximum(self.q_slope, LEAST_SLOPE)
            loss = jnp.mean((-scaled + multiplier * apart) / (1.0 + multiplier))
            q = jnp.mean(q_policy)
        return loss, {
            "actor/loss": loss,
            "actor/q": q,
            "critic/slope": slope,
            "actor/distance": jnp.mean(apart),
            "actor/distance_human_states": masked_mean(apart, batch.is_intervention),
            "actor/distance_policy_states": masked_mean(apart, 1.0 - batch.is_intervention),
        }

    def warm_start_loss(self, params: Params, features: jax.Array, batch: Batch) -> Loss:
        """-mean log N(a_human; pi(s), explore_std^2): cloning before the first episode."""
        actions = continuous_part(self.action_spec, batch.human_action)
        std = jnp.full_like(actions, self.config.explore_std)
        log_prob = normal_log_prob(actions, self.actor(features, params=params), std)
        loss = -masked_mean(log_prob, batch.is_intervention)
        return loss, {"actor/warm_start": loss}

    # -- multiplier ------------------------------------------------------------------------------

    def multiplier_values(self, features: jax.Array, params: Params | None = None) -> jax.Array:
        """lambda(s): (..., F) -> (...,); "const", "zero" and "infinite" are not learned."""
        mode = self.config.multiplier
        fixed = {"const": self.config.initial_multiplier, "zero": 0.0, "infinite": math.inf}
        if mode in fixed:
            return jnp.full(features.shape[:-1], fixed[mode], features.dtype)
        if mode == "scalar":
            features = jnp.zeros_like(features)
        return self.multiplier(features, params=params)

    def multiplier_loss(self, params: Params, features: jax.Array, batch: Batch) -> Loss:
        """Eq. 11: -mean [ lambda(s) sg(D(s) - bound(s)) ]; lambda rises where D > bound."""
        human_mean, human_std, novelty = self.human(features)
        apart = self.distance(self.actor(features), human_mean, human_std)
        bound = self.allowed(human_std, novelty)
        violation = jax.lax.stop_gradient(apart - bound)
        values = self.multiplier_values(features, params)
        return -jnp.mean(values * violation), {
            "multiplier/mean": jnp.mean(values),
            "multiplier/std": jnp.std(values),
            "multiplier/violation": jnp.mean(violation),
            "bound/human_states": masked_mean(bound, batch.is_intervention),
            "bound/policy_states": masked_mean(bound, 1.0 - batch.is_intervention),
        }

    # -- updates, in the order critic, expert, actor, multiplier -----------------------------------

    def update_critic(
        self, features: jax.Array, next_features: jax.Array, batch: Batch, key: jax.Array
    ) -> tuple[Self, Info]:
        """One critic step, then both targets move."""
        critic, info = self.critic.apply_loss(
            lambda params: self.critic_loss(params, features, next_features, batch, key)
        )
        tau = self.config.tau
        return self.replace(
            critic=critic,
            target_critic=polyak(critic.params, self.target_critic, tau),
            target_actor=polyak(self.actor.params, self.target_actor, tau),
        ), info

    def update_expert(
        self, features: jax.Array, batch: Batch, weight: jax.Array | None = None
    ) -> tuple[Self, Info]:
        """One step of beta; nothing moves if nobody intervened in the batch."""
        weight = self.guidance_weights(features, batch) if weight is None else weight
        expert, info = self.expert.apply_loss_if(
            batch.is_guidance.any(),
            lambda params: self.expert_loss(params, features, batch, weight),
        )
        average = follow(expert.params, self.average_expert, self.config.expert_rate)
        return self.replace(expert=expert, average_expert=average), info

    @jax.jit
    def update(self, batch: Batch) -> tuple[Self, Info]:
        """One learner iteration: U critic steps; expert, actor, gripper, multiplier on the last."""
        features, next_features = self.encode(batch)
        keys = jax.random.split(self.update_key(), batch.reward.shape[0])

        agent, infos = jax.lax.scan(
            lambda agent, inputs: agent.update_critic(*inputs),
            self,
            (features, next_features, batch, keys),
            unroll=min(self.config.utd, 4),  # a loop costs copies; long ones would cost compilation
        )
        info = jax.tree.map(jnp.mean, infos)
        last, last_batch = features[-1], jax.tree.map(lambda x: x[-1], batch)
        if self.config.expert_schedule == "always":
            guidance = guidance_rows((last, last_batch), self.config.online_fraction)
            agent, extra = agent.update_expert(*guidance)
            info |= extra
        actor, extra = agent.actor.apply_loss(
            lambda params: agent.actor_loss(params, last, last_batch)
        )
        if agent.q_slope is not None:
            slope = extra["critic/slope"]
            agent = agent.replace(q_slope=agent.q_slope + SLOPE_RATE * (slope - agent.q_slope))
        if agent.ask_above is not None:
            here = jax.tree.map(lambda x: x[-1], batch.observation)
            rows = agent.normalizer.features(here)  # where the robot is, and not moved
            doubts = doubt(agent.critic(rows, agent.actor(rows, params=agent.average_actor)))
            own, share = 1.0 - last_batch.is_intervention, self.config.ask_fraction
            above = follow_quantile(agent.ask_above, doubts, own, share)
            agent = agent.replace(ask_above=above)
        average = polyak(actor.params, agent.average_actor, self.averaging())
        agent, info = agent.replace(actor=actor, average_actor=average), info | extra
        gripper, extra = update_gripper(agent.gripper, agent.action_spec, last, last_batch)
        if gripper is not None:
            average = follow(gripper.params, agent.average_gripper, self.averaging())
            agent = agent.replace(average_gripper=average)
        agent, info = agent.replace(gripper=gripper), info | extra
        if self.config.multiplier in ("state", "groups", "scalar"):
            multiplier, extra = agent.multiplier.apply_loss(
                lambda params: agent.multiplier_loss(params, last, last_batch)
            )
            agent, info = agent.replace(multiplier=multiplier), info | extra
        return agent.replace(iterations=agent.iterations + 1), info

    @jax.jit
    def pretrain(self, batch: Batch) -> tuple[Self, Info]:
        """U steps of critic, expert, actor, gripper on demonstrations; then averages are set."""
        features, next_features = self.encode(batch)
        keys = jax.random.split(self.update_key(), batch.reward.shape[0])  # every chunk's

        def step(agent: Self, inputs: tuple) -> tuple[Self, Info]:
            rows, next_rows, demos, key = inputs
            of_critic: Info = {}
            if self.config.pretrain_critic:  # of the policy that is being cloned
                agent, of_critic = agent.update_critic(rows, next_rows, demos, key)
            agent, info = agent.update_expert(rows, demos, demos.is_guidance)
            actor, extra = agent.actor.apply_loss_if(
                demos.is_intervention.any(),
                lambda params: agent.warm_start_loss(params, rows, demos),
            )
            gripper, more = update_gripper(agent.gripper, agent.action_spec, rows, demos)
            return agent.replace(actor=actor, gripper=gripper), of_critic | info | extra | more

        agent, infos = jax.lax.scan(step, self, (features, next_features, batch, keys))
        actor, expert = agent.actor.params, follow(agent.expert.params, agent.average_expert, 1.0)
        agent = agent.replace(target_actor=actor, average_actor=actor, average_expert=expert)
        if agent.gripper is not None:
            average = follow(agent.gripper.params, agent.average_gripper, 1.0)
            agent = agent.replace(average_gripper=average)
        return agent, jax.tree.map(lambda x: x[-1], infos)

    @jax.jit
    def update_guidance(self, batch: Batch) -> tuple[Self, Info]:
        """A burst of U expert steps (the published schedule)."""
        features, _ = self.encode(batch)
        agent, infos = jax.lax.scan(
            lambda agent, inputs: agent.update_expert(*inputs), self, (features, batch)
        )
        return agent, jax.tree.map(lambda x: x[-1], infos)

    def guidance_updates_owed(self, before: int, after: int) -> int:
        """``burst`` steps for every ``burst``-th intervention step, if that is the schedule."""
        if self.config.expert_schedule == "always":
            return 0
        return (after // self.config.burst - before // self.config.burst) * self.config.burst

    # -- acting ------------------------------------------------------------------------------------

    def _whole_action(self, continuous: jax.Array, features: jax.Array) -> jax.Array:
        command = gripper_command(self.gripper, features, self.average_gripper)
        return join(self.action_spec, continuous, command)

    def mean_action(self, features: jax.Array) -> jax.Array:
        """The actor's mean and the likeliest gripper command."""
        return self._whole_action(self.actor(features, params=self.average_actor), features)

    def policy(self, features: jax.Array, key: jax.Array, explore: bool) -> tuple[jax.Array, Info]:
        """Acts; diagnostics say why: lambda, bound, distance, the person as learned, both Q."""
        mean = self.actor(features, params=self.average_actor)
        human_mean, human_std, novelty = self.human(features)
        continuous = mean
        if explore:
            noise = jax.random.normal(key, mean.shape, mean.dtype)
            continuous = jnp.clip(mean + self.config.explore_std * noise, -1.0, 1.0)
        q_policy = self.critic(features, mean)
        diagnostics = {
            "lambda": self.multiplier_values(features),
            "bound": self.allowed(human_std, novelty),
            "distance": self.distance(mean, human_mean, human_std),
            "q_policy": q_policy.min(axis=0),
            "q_human": self.critic(features, human_mean).min(axis=0),
        }
        for index, dimension in enumerate(self.action_spec.continuous):
            diagnostics[f"human_mean.{dimension}"] = human_mean[..., index]
            diagnostics[f"human_std.{dimension}"] = human_std[..., index]
        if self.ask_above is not None:
            diagnostics["ask"] = (doubt(q_policy) > self.ask_above).astype(features.dtype)
        return self._whole_action(continuous, features), diagnostics

    @classmethod
    def create(
        cls, config: SiLRIConfig, spec: EnvSpec, statistics: Statistics | None, seed: int
    ) -> Self:
        """Fresh networks; see :meth:`Agent.create`."""
        fields, key, features, actions = cls.base_fields(config, spec, statistics, seed)
        keys = jax.random.split(key, 5)
        size, trunk = actions.shape[-1], config.trunk
        rate = {"learning_rate": config.learning_rate, "clip": config.clip_norm}
        slow = {"learning_rate": config.multiplier_lr, "clip": config.clip_norm}
        critics = EnsembleCritic(trunk, config.critics)
        critic = TrainState.create(critics, keys[0], features, actions, **rate)
        actor = TrainState.create(MeanPolicy(trunk, size), keys[1], features, **rate)
        human = human_policy(trunk, size, config.experts, config.scale_bounds)
        groups = GROUPS if config.multiplier == "groups" else 0
        multiplier = Multiplier(trunk, config.initial_multiplier, groups)
        expert = TrainState.create(human, keys[2], features, decay=config.expert_decay, **rate)
        gripper = create_gripper(spec.action, trunk, keys[4], features, **rate)
        averaged = config.average_gripper and config.average_rate < 1
        return cls(
            **fields,
            critic=critic,
            target_critic=critic.params,
            actor=actor,
            target_actor=actor.params,
            average_actor=actor.params,
            expert=expert,
            multiplier=TrainState.create(multiplier, keys[3], features, **slow),
            gripper=gripper,
            average_expert=expert.params if config.expert_rate < 1 else None,
            average_gripper=gripper.params if gripper is not None and averaged else None,
            q_slope=jnp.ones(()) if config.needs_slope else None,
            ask_above=jnp.zeros(()) if config.ask_fraction else None,
        )
