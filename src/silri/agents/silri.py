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
from dataclasses import dataclass, replace
from typing import Literal, Self

import jax
import jax.numpy as jnp
from flax import struct

from silri.agents.base import Agent, AgentConfig, Preset, Statistics, positive, require
from silri.agents.gripper import create_gripper, gripper_command, update_gripper
from silri.agents.losses import guidance_rows, masked_mean, temporal_difference
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.actions import continuous_part, join
from silri.nn.distributions import normal_log_prob, safe_norm
from silri.nn.heads import EnsembleCritic, GaussianPolicy, MeanPolicy, Multiplier
from silri.nn.train_state import Info, Loss, Params, TrainState, polyak


@dataclass(frozen=True)
class SiLRIConfig(AgentConfig):
    """Defaults are silri's own; ``released`` and ``paper`` are in :data:`PRESETS`."""

    pretrain_steps: int = 500  # expert and actor on demonstrations
    discount: float = 0.97  # gamma
    tau: float = 0.005  # Polyak rate of the critic's and the actor's target
    critics: int = 2  # E; the minimum is taken
    distance: Literal["l2", "sq_l2"] = "l2"  # D: ||pi - mu|| or its square
    expert_scale: Literal["variance", "std"] = "variance"  # what the expert's scale output means
    scale_bounds: tuple[float, float] = (1e-4, 2.0)  # of that scale
    bound: Literal["sum_var", "sum_std", "mean_std"] = "sum_var"  # statistic of the spread
    kappa: float = 1.0  # bound(s) = kappa * statistic + slack
    slack: float = 0.2  # c
    multiplier: Literal["state", "scalar", "const", "zero", "infinite"] = "state"  # lambda
    initial_multiplier: float = 2.0  # lambda_0 in every state; the value of "const"
    multiplier_lr: float = 3e-6  # 0.01 of the critic's
    target_action: Literal["mean", "clipped_noise", "sample"] = "clipped_noise"  # a' of the target
    target_noise: float = 0.2  # deviation of "clipped_noise", cut at +-0.5
    explore_std: float = 0.05**0.5  # deviation of the acting policy
    average_rate: float = 0.002  # Polyak rate of the actor that acts; 1 is the online actor
    expert_schedule: Literal["always", "burst"] = "always"  # every iteration, or 50 per 50 new
    burst: int = 50  # intervention steps between bursts, and steps of one
    clip_norm: float = 40.0  # global gradient norm per network

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "discount": (0 <= self.discount < 1, "a number in [0, 1)"),
                "tau": (0 < self.tau <= 1, "a number in (0, 1]"),
                "critics": (self.critics >= 1, "at least 1"),
                "scale_bounds": (0 < self.scale_bounds[0] < self.scale_bounds[1], "0 < low < high"),
                "kappa": (self.kappa >= 0, "0 or more"),
                "target_noise": (self.target_noise >= 0, "0 or more"),
                "average_rate": (0 < self.average_rate <= 1, "a number in (0, 1]"),
                "burst": (self.burst >= 1, "at least 1"),
            }
            | positive(self, "initial_multiplier", "multiplier_lr", "explore_std", "clip_norm"),
        )


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

    # -- the human policy beta ---------------------------------------------------------------

    def human(
        self, features: jax.Array, params: Params | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """mu(s) and the deviation sigma(s), (..., D) each."""
        mean, scale = self.expert(features, params=params)
        return mean, jnp.sqrt(scale) if self.config.expert_scale == "variance" else scale

    def expert_loss(self, params: Params, features: jax.Array, batch: Batch) -> Loss:
        """-sum m log N(a_human; mu(s), sigma(s)^2) / sum m, m = 1 where a person acted."""
        mean, std = self.human(features, params)
        actions = continuous_part(self.action_spec, batch.human_action)
        nll = -masked_mean(normal_log_prob(actions, mean, std), batch.is_intervention)
        return nll, {
            "expert/nll": nll,
            "expert/std": masked_mean(jnp.mean(std, axis=-1), batch.is_intervention),
        }

    def allowed(self, std: jax.Array) -> jax.Array:
        """bound(s) from sigma(s): (..., D) -> (...,). Eq. 3: kappa * spread + slack."""
        if self.config.bound == "sum_var":
            spread = jnp.sum(std * std, axis=-1)
        else:
            spread = (jnp.sum if self.config.bound == "sum_std" else jnp.mean)(std, axis=-1)
        return self.config.kappa * spread + self.config.slack

    def distance(self, actions: jax.Array, human_mean: jax.Array) -> jax.Array:
        """D(s) between two continuous actions: (..., D) -> (...,)."""
        if self.config.distance == "l2":
            return safe_norm(actions - human_mean)
        return jnp.sum((actions - human_mean) ** 2, axis=-1)

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
        distance = self.distance(actions, self.human(features)[0])
        if self.config.multiplier == "infinite":
            loss, q = jnp.mean(distance), jnp.zeros(())
        else:
            q_policy = self.critic(features, actions).min(axis=0)
            multiplier = self.multiplier_values(features)
            loss = jnp.mean((-q_policy + multiplier * distance) / (1.0 + multiplier))
            q = jnp.mean(q_policy)
        by_person = batch.is_intervention
        return loss, {
            "actor/loss": loss,
            "actor/q": q,
            "actor/distance": jnp.mean(distance),
            "actor/distance_human_states": masked_mean(distance, by_person),
            "actor/distance_policy_states": masked_mean(distance, 1.0 - by_person),
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
        human_mean, human_std = self.human(features)
        distance = self.distance(self.actor(features), human_mean)
        bound = self.allowed(human_std)
        violation = jax.lax.stop_gradient(distance - bound)
        values = self.multiplier_values(features, params)
        by_person = batch.is_intervention
        return -jnp.mean(values * violation), {
            "multiplier/mean": jnp.mean(values),
            "multiplier/std": jnp.std(values),
            "multiplier/violation": jnp.mean(violation),
            "bound/human_states": masked_mean(bound, by_person),
            "bound/policy_states": masked_mean(bound, 1.0 - by_person),
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

    def update_expert(self, features: jax.Array, batch: Batch) -> tuple[Self, Info]:
        """One step of beta; nothing moves if nobody intervened in the batch."""
        expert, info = self.expert.apply_loss_if(
            batch.is_intervention.any(),
            lambda params: self.expert_loss(params, features, batch),
        )
        return self.replace(expert=expert), info

    @jax.jit
    def update(self, batch: Batch) -> tuple[Self, Info]:
        """One learner iteration: U critic steps; expert, actor, gripper, multiplier on the last."""
        features = self.normalizer.features(batch.observation)
        next_features = self.normalizer.features(batch.next_observation)
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
        average = polyak(actor.params, agent.average_actor, self.config.average_rate)
        agent, info = agent.replace(actor=actor, average_actor=average), info | extra
        gripper, extra = update_gripper(agent.gripper, agent.action_spec, last, last_batch)
        agent, info = agent.replace(gripper=gripper), info | extra
        if self.config.multiplier in ("state", "scalar"):
            multiplier, extra = agent.multiplier.apply_loss(
                lambda params: agent.multiplier_loss(params, last, last_batch)
            )
            agent, info = agent.replace(multiplier=multiplier), info | extra
        return agent.replace(iterations=agent.iterations + 1), info

    @jax.jit
    def pretrain(self, batch: Batch) -> tuple[Self, Info]:
        """U steps of expert, actor and gripper on demonstrations; then the target is the actor."""
        features = self.normalizer.features(batch.observation)

        def step(agent: Self, inputs: tuple[jax.Array, Batch]) -> tuple[Self, Info]:
            rows, demos = inputs
            agent, info = agent.update_expert(rows, demos)
            actor, extra = agent.actor.apply_loss_if(
                demos.is_intervention.any(),
                lambda params: agent.warm_start_loss(params, rows, demos),
            )
            gripper, more = update_gripper(agent.gripper, agent.action_spec, rows, demos)
            return agent.replace(actor=actor, gripper=gripper), info | extra | more

        agent, infos = jax.lax.scan(step, self, (features, batch))
        actor_params = agent.actor.params
        agent = agent.replace(target_actor=actor_params, average_actor=actor_params)
        return agent, jax.tree.map(lambda x: x[-1], infos)

    @jax.jit
    def update_guidance(self, batch: Batch) -> tuple[Self, Info]:
        """A burst of U expert steps (the published schedule)."""
        features = self.normalizer.features(batch.observation)
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
        return join(self.action_spec, continuous, gripper_command(self.gripper, features))

    def mean_action(self, features: jax.Array) -> jax.Array:
        """The actor's mean and the likeliest gripper command."""
        return self._whole_action(self.actor(features, params=self.average_actor), features)

    def policy(self, features: jax.Array, key: jax.Array, explore: bool) -> tuple[jax.Array, Info]:
        """Acts; diagnostics say why: lambda, bound, distance, the person as learned, both Q."""
        mean = self.actor(features, params=self.average_actor)
        human_mean, human_std = self.human(features)
        continuous = mean
        if explore:
            noise = jax.random.normal(key, mean.shape, mean.dtype)
            continuous = jnp.clip(mean + self.config.explore_std * noise, -1.0, 1.0)
        diagnostics = {
            "lambda": self.multiplier_values(features),
            "bound": self.allowed(human_std),
            "distance": self.distance(mean, human_mean),
            "q_policy": self.critic(features, mean).min(axis=0),
            "q_human": self.critic(features, human_mean).min(axis=0),
        }
        for index, dimension in enumerate(self.action_spec.continuous):
            diagnostics[f"human_mean.{dimension}"] = human_mean[..., index]
            diagnostics[f"human_std.{dimension}"] = human_std[..., index]
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
        human = GaussianPolicy(trunk, size, scale_bounds=config.scale_bounds)
        multiplier = Multiplier(trunk, config.initial_multiplier)
        return cls(
            **fields,
            critic=critic,
            target_critic=critic.params,
            actor=actor,
            target_actor=actor.params,
            average_actor=actor.params,
            expert=TrainState.create(human, keys[2], features, **rate),
            multiplier=TrainState.create(multiplier, keys[3], features, **slow),
            gripper=create_gripper(spec.action, trunk, keys[4], features, **rate),
        )


DEFAULT = SiLRIConfig()
RELEASED = replace(
    DEFAULT,
    scale_bounds=(1e-5, 2.0),
    target_action="sample",
    average_rate=1.0,
    initial_multiplier=math.log(2.0),
    expert_schedule="burst",
)
PAPER = replace(
    RELEASED,
    distance="sq_l2",
    expert_scale="std",
    scale_bounds=(1e-3, 1.0),
    bound="mean_std",
    kappa=6.0,
    slack=0.1,
    target_action="clipped_noise",
)
CONST = replace(DEFAULT, multiplier="const", initial_multiplier=0.5)
PRESETS = {
    "default": Preset(DEFAULT, "silri's own setting"),
    "released": Preset(RELEASED, "the published code: l2, bound = summed variance + 0.2"),
    "paper": Preset(PAPER, "the paper's text: squared l2, bound = 6 mean deviation + 0.1"),
    "const": Preset(CONST, "ablation: lambda = 0.5"),
    "no_rl": Preset(replace(DEFAULT, multiplier="infinite"), "ablation: imitation only"),
    "no_bc": Preset(replace(DEFAULT, multiplier="zero"), "ablation: reinforcement only"),
}
