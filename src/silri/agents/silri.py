r"""SiLRI: state-wise Lagrangian reinforcement learning from interventions (arXiv 2512.24288).

Maximise return subject to staying near the person where the person is sure::

    max_pi J(pi)   s.t.   D(s) = d(pi(s), beta(s)) <= bound(s)   for all s
    L(pi, lambda) = -Q(s, pi(s)) + lambda(s) [ D(s) - bound(s) ],   lambda(s) >= 0

beta is a Gaussian fitted to what people did, and to what the robot did where that succeeded; its
spread loosens the constraint, so the learned multiplier lambda(s) falls where people are
inconsistent (reinforcement learning decides) and rises where they are sure (imitation decides).
While nobody has shown anything there is no constraint, and what is left is reinforcement learning.

============  =================================================================================
pi(s)         actor: deterministic tanh mean; how far it strays: :mod:`silri.agents.exploring`
beta(s)       expert: mean mu(s) and deviation sigma(s) of the human action, and of what worked
Q_k(s, a)     critics, k = 1..E; bars are Polyak targets
lambda(s)     multiplier, softplus output
g             gripper classes: a cross-entropy head, argmax at run time
============  =================================================================================

Equation numbers are the paper's.
"""

from __future__ import annotations

import functools
import math
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from flax import struct

from silri.agents import exploring, losses
from silri.agents.alone import barrier
from silri.agents.augment import PLAIN, Augment
from silri.agents.base import Acted, Agent, AgentConfig, Prepared
from silri.agents.gripper import create_gripper, gripper_command, update_gripper
from silri.agents.stages import ONLINE, Stage
from silri.core.settings import NonNegative, Positive, PositiveInt, Rate01, Share01, settings
from silri.core.specs import EnvSpec
from silri.core.transition import Batch
from silri.nn.actions import continuous_part, join
from silri.nn.constraint import CONSTRAINTS, Constraint, Kind
from silri.nn.distributions import normal_log_prob
from silri.nn.heads import EnsembleCritic, GaussianPolicy, MeanPolicy, Multiplier
from silri.nn.train_state import Info, Loss, Params, TrainState, averaging, follow, polyak

CLIP_NORM = 40.0  # global gradient norm per network
TARGET_NOISE, TARGET_CUT = 0.2, 0.5  # of the target action: deviation, and where it is cut
AVERAGE_TAIL = 2.0  # what acts is an average over the last 1 / AVERAGE_TAIL of all iterations


@settings("agent")
class SiLRIConfig(AgentConfig):
    """Defaults are silri's own; the published ones are in :mod:`silri.agents.silri_presets`."""

    known_stages: ClassVar[tuple[str, ...]] = ("clone", "pretrain", "offline", "online")
    columns: ClassVar[tuple[str, ...]] = ("success",)

    n_step: PositiveInt = 3  # rewards in a return before it bootstraps
    reward_unit: NonNegative = 10.0  # the demonstrations' largest return is scaled to it, 0: not
    average_rate: Rate01 = 0.002  # Polyak rate of the policy that acts; 1 is the one that learns
    stages: tuple[Stage, ...] = (Stage("pretrain", "guidance", 500), ONLINE)
    tau: Rate01 = 0.005  # Polyak rate of the critic's and the actor's target
    critics: PositiveInt = 2  # E; the minimum is taken
    explore_std: Positive = 0.05**0.5  # greatest deviation of the acting policy
    explore_least: Positive = 0.05  # least one, see exploring.py
    expert_decay: NonNegative = 1.0  # weight decay of the expert, times the learning rate per step
    expert_rate: Rate01 = 0.005  # Polyak rate of the expert that is imitated; 1 is the online one
    failed_weight: Share01 = 0.1  # in the expert's loss: a person's step of a failed episode
    own_weight: NonNegative = 1.0  # there: the robot's own step of a success; published: 0
    constraint: Kind = "kl"  # form of D(s) and bound(s)
    kappa: NonNegative = 0.1  # bound(s) = kappa * spread(s) + slack; for "kl" nats per dimension
    multiplier: Literal["state", "scalar", "const", "zero", "infinite"] = "state"  # lambda
    initial_multiplier: Positive = 1.0  # lambda_0 in every state; the value of "const"
    multiplier_lr: Positive = 3e-4  # Adam, of the multiplier; the published code has 3e-6


class SiLRIAgent(Agent):
    """Networks of SiLRI; ``gripper`` is None without a discrete gripper."""

    multiplier_type: ClassVar[type[Multiplier]] = Multiplier  # a variant may have another

    critic: TrainState
    target_critic: Params
    actor: TrainState
    target_actor: Params
    average_actor: Params
    expert: TrainState
    average_expert: Params
    multiplier: TrainState
    shown: jax.Array  # () bool: a person has shown something
    worked: jax.Array  # () share of the robot's own steps that were in a success
    gripper: TrainState | None = struct.field(default=None)
    average_gripper: Params | None = struct.field(default=None)

    # -- the human policy beta and its constraint ----------------------------------------------

    @property
    def constraint(self) -> Constraint:
        """The form of D(s) and bound(s)."""
        return CONSTRAINTS[self.config.constraint]

    def human(self, observation: Prepared, params: Params) -> tuple[jax.Array, jax.Array]:
        """mu(s) and sigma(s), (..., D) each, as the expert with ``params`` has learned them."""
        mean, scale = self.expert(observation, params=params)
        return mean, self.constraint.deviation(scale)

    def expert_rows(self, batch: Batch) -> Batch:
        """The rows of a mixed batch that beta learns from: all, or those of the guidance buffer."""
        own = self.config.own_weight > 0
        return batch if own else losses.guidance_rows(batch, self.config.online_fraction)

    def expert_loss(self, params: Params, batch: Batch) -> Loss:
        """-sum w log N(a; mu(s), sigma(s)^2) / sum w: who is sure and wrong shows in what fails."""
        mean, std = self.human(batch.observation, params)
        actions, weights = losses.examples(batch, self.config.failed_weight, self.config.own_weight)
        log_prob = normal_log_prob(continuous_part(self.action_spec, actions), mean, std)
        nll = -losses.masked_mean(log_prob, weights)
        own = losses.masked_mean(1.0 - batch.is_intervention, weights)
        spread = losses.masked_mean(jnp.mean(std, axis=-1), batch.is_intervention)
        return nll, {"expert/nll": nll, "expert/std": spread, "expert/own": own}

    # -- critic ------------------------------------------------------------------------------

    def target_actions(self, observation: Prepared, key: jax.Array) -> jax.Array:
        """a' of the target actor with cut noise, always inside [-1, 1]: (..., D)."""
        mean = self.actor(observation, params=self.target_actor)
        noise = TARGET_NOISE * jax.random.normal(key, mean.shape, mean.dtype)
        return jnp.clip(mean + jnp.clip(noise, -TARGET_CUT, TARGET_CUT), -1.0, 1.0)

    def critic_loss(self, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """y = r + gamma m min_k Q_k'(s', a');  L = sum_k mean (Q_k(s, a) - y)^2."""
        next_actions = self.target_actions(batch.next_observation, key)
        next_q = self.critic(batch.next_observation, next_actions, params=self.target_critic)
        target = batch.reward + self.config.discount * batch.mask * next_q.min(axis=0)
        actions = continuous_part(self.action_spec, batch.action)
        q = self.critic(batch.observation, actions, params=params)
        return losses.temporal_difference(q, jax.lax.stop_gradient(target))

    # -- actor ---------------------------------------------------------------------------------

    def actor_loss(self, params: Params, batch: Batch) -> Loss:
        """Eq. 10: mean [ (-min_k Q_k(s, pi) + lambda D(s)) / (1 + lambda) ].

        lambda = infinity leaves D (imitation alone), lambda = 0 leaves -Q (reinforcement alone,
        also while no row of the batch is a person's). Computed on the whole mixed batch; lambda,
        mu and Q are constants here.
        """
        actions = self.actor(batch.observation, params=params)
        human_mean, human_std = self.human(batch.observation, self.average_expert)
        distance = self.constraint.distance(actions - human_mean, human_std)
        if self.config.multiplier == "infinite":
            loss, q = jnp.mean(distance), jnp.zeros(())
        else:
            q = self.critic(batch.observation, actions).min(axis=0)
            shown = batch.is_intervention.any()
            multiplier = jnp.where(shown, self.multiplier_values(batch.observation), 0.0)
            loss = jnp.mean((-q + multiplier * distance) / (1.0 + multiplier))
            loss += jnp.where(shown, 0.0, barrier(actions, q))
        info = {"actor/loss": loss, "actor/q": jnp.mean(q), "actor/distance": jnp.mean(distance)}
        return loss, info | losses.by_driver("actor/distance_", distance, batch)

    def warm_start_loss(self, params: Params, batch: Batch) -> Loss:
        """-mean log N(a_human; pi(s), explore_std^2): cloning before the first episode."""
        mean = self.actor(batch.observation, params=params)
        std = jnp.full_like(mean, self.config.explore_std)
        loss = losses.cloning(self.action_spec, batch, mean, std)
        return loss, {"actor/warm_start": loss}

    # -- multiplier ------------------------------------------------------------------------------

    def multiplier_values(self, observation: Prepared, params: Params | None = None) -> jax.Array:
        """lambda(s): observation -> (...,); "const", "zero" and "infinite" are not learned."""
        mode = self.config.multiplier
        fixed = {"const": self.config.initial_multiplier, "zero": 0.0, "infinite": math.inf}
        if mode in fixed:
            lead = observation["vector"].shape[:-1]
            return jnp.full(lead, fixed[mode], jnp.float32)
        if mode == "scalar":
            observation = jax.tree.map(jnp.zeros_like, dict(observation))
        return self.multiplier(observation, params=params)

    def multiplier_loss(self, params: Params, batch: Batch) -> Loss:
        """Eq. 11: -mean [ lambda(s) sg(D(s) - bound(s)) ]; lambda rises where D > bound."""
        mean, std = self.human(batch.observation, self.average_expert)
        bound = self.constraint.bound(self.config.kappa, std)
        distance = self.constraint.distance(self.actor(batch.observation) - mean, std)
        violation = jax.lax.stop_gradient(distance - bound)
        values = self.multiplier_values(batch.observation, params)
        info = {"multiplier/mean": jnp.mean(values), "multiplier/std": jnp.std(values)}
        info |= {"multiplier/violation": jnp.mean(violation)} | losses.by_driver(
            "bound/", bound, batch
        )
        return -jnp.mean(values * violation), info

    # -- updates, in the order critic, expert, actor, gripper, multiplier --------------------------

    @functools.partial(jax.jit, static_argnames="stage")
    def update(self, batch: Batch, stage: str = "online") -> tuple[Self, Info]:
        """One learner iteration of U critic steps; or U steps of cloning, see the stages."""
        batch = self.prepare(batch)
        if stage in ("clone", "pretrain"):
            return self._clone(batch, with_critic=stage == "pretrain")
        keys = jax.random.split(self.update_key(), batch.reward.shape[0])
        agent, infos = jax.lax.scan(
            lambda agent, inputs: agent.update_critic(*inputs),
            self,
            (batch, keys),
            unroll=min(self.config.utd, 4),  # a loop costs copies; long ones would cost compilation
        )
        last = jax.tree.map(lambda x: x[-1], batch)
        agent, of_expert = agent.update_expert(agent.expert_rows(last))
        agent, of_actor = agent.update_actor(last)
        agent, of_multiplier = agent.update_multiplier(last)
        shown = self.shown | batch.is_intervention.any()
        agent = agent.replace(shown=shown, worked=exploring.worked(self.worked, last))
        info = jax.tree.map(jnp.mean, infos) | of_expert | of_actor | of_multiplier
        return agent.replace(iterations=agent.iterations + 1), info

    def update_critic(self, batch: Batch, key: jax.Array) -> tuple[Self, Info]:
        """One critic step, then both targets move."""
        critic, info = self.critic.apply_loss(lambda params: self.critic_loss(params, batch, key))
        tau = self.config.tau
        return self.replace(
            critic=critic,
            target_critic=polyak(critic.params, self.target_critic, tau),
            target_actor=polyak(self.actor.params, self.target_actor, tau),
        ), info

    def update_expert(self, batch: Batch) -> tuple[Self, Info]:
        """One step of beta; nothing moves if nobody intervened in the batch."""
        expert, info = self.expert.apply_loss_if(
            batch.is_intervention.any(), lambda params: self.expert_loss(params, batch)
        )
        average = polyak(expert.params, self.average_expert, self.config.expert_rate)
        return self.replace(expert=expert, average_expert=average), info

    def update_actor(self, batch: Batch) -> tuple[Self, Info]:
        """One step of the actor and the gripper, then what acts follows them."""
        actor, info = self.actor.apply_loss(lambda params: self.actor_loss(params, batch))
        gripper, of_gripper = update_gripper(self.gripper, self.action_spec, batch)
        # Before anybody has shown anything the first weights are random: no average keeps them.
        shown = batch.is_intervention.any()
        rate = averaging(self.config.average_rate, self.iterations, AVERAGE_TAIL, fresh=~shown)
        return self.replace(
            actor=actor,
            average_actor=polyak(actor.params, self.average_actor, rate),
            gripper=gripper,
            average_gripper=follow(gripper, self.average_gripper, rate),
        ), info | of_gripper

    def update_multiplier(self, batch: Batch) -> tuple[Self, Info]:
        """One step of lambda; nothing moves if nobody intervened in the batch."""
        if self.config.multiplier not in ("state", "scalar"):
            return self, {}
        multiplier, info = self.multiplier.apply_loss_if(
            batch.is_intervention.any(), lambda params: self.multiplier_loss(params, batch)
        )
        return self.replace(multiplier=multiplier), info

    def _clone(self, batch: Batch, *, with_critic: bool) -> tuple[Self, Info]:
        """U steps on prepared demonstrations (U, B); then averages and targets are set.

        The critic, if asked for, learns the value of the policy that is being cloned.
        """

        def step(agent: Self, inputs: tuple[Batch, jax.Array]) -> tuple[Self, Info]:
            demos, key = inputs
            agent, of_critic = agent.update_critic(demos, key) if with_critic else (agent, {})
            agent, of_expert = agent.update_expert(demos)
            actor, of_actor = agent.actor.apply_loss_if(
                demos.is_intervention.any(), lambda params: agent.warm_start_loss(params, demos)
            )
            gripper, of_gripper = update_gripper(agent.gripper, agent.action_spec, demos)
            agent = agent.replace(actor=actor, gripper=gripper)
            return agent, of_critic | of_expert | of_actor | of_gripper

        keys = jax.random.split(self.update_key(), batch.reward.shape[0])
        agent, infos = jax.lax.scan(step, self, (batch, keys))
        return agent.replace(
            shown=self.shown | batch.is_intervention.any(),
            target_actor=agent.actor.params,
            average_actor=agent.actor.params,
            average_expert=agent.expert.params,
            average_gripper=None if agent.gripper is None else agent.gripper.params,
        ), jax.tree.map(lambda x: x[-1], infos)

    # -- acting ------------------------------------------------------------------------------------

    def mean_action(self, observation: Prepared) -> jax.Array:
        """The actor's mean and the likeliest gripper command."""
        mean = self.actor(observation, params=self.average_actor)
        command = gripper_command(self.gripper, observation, self.average_gripper)
        return join(self.action_spec, mean, command)

    def policy(self, observation: Prepared, key: jax.Array, explore: bool) -> Acted:
        """Acts; diagnostics say why: lambda, bound, distance, the person as learned, both Q."""
        continuous = mean = self.actor(observation, params=self.average_actor)
        human_mean, human_std = self.human(observation, self.average_expert)
        if explore:
            least, usual = self.config.explore_least, self.config.explore_std
            near = exploring.guided(human_std, self.worked, least, usual)
            std = jnp.where(self.shown, near, exploring.alone(self.iterations, usual))
            noise = std * jax.random.normal(key, mean.shape, mean.dtype)
            continuous = jnp.clip(mean + noise, -1.0, 1.0)
        diagnostics = {
            "lambda": self.multiplier_values(observation),
            "bound": self.constraint.bound(self.config.kappa, human_std),
            "distance": self.constraint.distance(mean - human_mean, human_std),
            "q_policy": self.critic(observation, mean).min(axis=0),
            "q_human": self.critic(observation, human_mean).min(axis=0),
        }
        for index, dimension in enumerate(self.action_spec.continuous):
            diagnostics[f"human_mean.{dimension}"] = human_mean[..., index]
            diagnostics[f"human_std.{dimension}"] = human_std[..., index]
        command = gripper_command(self.gripper, observation, self.average_gripper)
        return join(self.action_spec, continuous, command), diagnostics

    @classmethod
    def create(
        cls, config: SiLRIConfig, spec: EnvSpec, seed: int, augment: Augment = PLAIN
    ) -> Self:
        """Fresh networks; see :meth:`Agent.create`."""
        fields, key, observer, observation, actions = cls.base_fields(config, spec, seed, augment)
        keys = jax.random.split(key, 5)
        size, trunk, lr = actions.shape[-1], config.trunk, config.learning_rate
        bounds = CONSTRAINTS[config.constraint].scale_bounds
        human = GaussianPolicy(observer, trunk, size, scale_bounds=bounds)
        new = functools.partial(TrainState.create, clip=CLIP_NORM)
        critics = EnsembleCritic(observer, trunk, config.critics)
        critic = new(critics, keys[0], observation, actions, learning_rate=lr)
        actor = new(MeanPolicy(observer, trunk, size), keys[1], observation, learning_rate=lr)
        expert = new(human, keys[2], observation, learning_rate=lr, decay=config.expert_decay)
        network = cls.multiplier_type(observer, trunk, config.initial_multiplier)
        gripper = create_gripper(
            spec.action, observer, trunk, keys[4], observation, learning_rate=lr, clip=CLIP_NORM
        )
        return cls(
            **fields,
            critic=critic,
            target_critic=critic.params,
            actor=actor,
            target_actor=actor.params,
            average_actor=actor.params,
            expert=expert,
            average_expert=expert.params,
            shown=jnp.zeros((), bool),
            worked=jnp.zeros(()),
            multiplier=new(network, keys[3], observation, learning_rate=config.multiplier_lr),
            gripper=gripper,
            average_gripper=None if gripper is None else gripper.params,
        )
