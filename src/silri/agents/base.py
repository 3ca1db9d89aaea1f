"""What every agent is: an immutable pytree with act, update and pretrain."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from silri.core.errors import ConfigError
from silri.core.specs import ActionSpec, EnvSpec, Observation
from silri.core.transition import Batch, Imitate
from silri.nn.augment import at_rest, shift
from silri.nn.mlp import Trunk
from silri.nn.normalizer import Normalizer
from silri.nn.train_state import Info

SHIFTS, GOAL_SHIFTS = 0x5817F7, 0x60A15  # streams of their own among an iteration's random keys
REST_M = 0.002  # an object that moves by less between observation and what followed is at rest
Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class AgentConfig:
    """Fields that every algorithm has; each algorithm adds its own."""

    trunk: Trunk = field(default_factory=Trunk)  # hidden layers of every network
    learning_rate: float = 3e-4  # Adam, all networks unless said otherwise
    batch_size: int = 128  # rows of one gradient step
    online_fraction: float = 0.5  # share of a batch from the online buffer; the rest is guidance
    own_fraction: float = 0.0  # share of the guidance rows that are the robot's own successes
    imitate: Imitate = "all"  # interventions of which episodes
    shift: float = 0.06  # metres; rows of a batch are moved by up to that, in x and in y
    shift_share: float = 0.5  # of the rows; the others stay: what no observation shows stays, too
    goal_shift: float = 0.0  # metres; while nothing moves goals are moved on their own; 0: never
    relative: float = 0.0  # metres; positions also as seen from the hand, in this unit; 0: not
    n_step: int = 1  # rewards in a return before it bootstraps
    reward_unit: float = 0.0  # the demonstrations' largest return is scaled to it; 0: not scaled
    average_rate: float = 1.0  # Polyak rate of the policy that acts; 1 is the one that learns
    average_tail: float = 0.0  # t: that rate falls to t / iteration, so the window grows; 0: never
    utd: int = 2  # critic updates per learner iteration (update-to-data ratio)
    pretrain_steps: int = 0  # gradient steps on demonstrations before the first episode

    def __post_init__(self) -> None:
        checks = {
            "learning_rate": (self.learning_rate > 0, "a positive number"),
            "batch_size": (self.batch_size >= 2, "at least 2"),
            "online_fraction": (0 <= self.online_fraction <= 1, "a share between 0 and 1"),
            "own_fraction": (0 <= self.own_fraction < 1, "a share from 0, below 1"),
            "shift": (0 <= self.shift < math.inf, "0 metres or more"),
            "goal_shift": (0 <= self.goal_shift < math.inf, "0 metres or more"),
            "relative": (0 <= self.relative < math.inf, "0 metres or more"),
            "shift_share": (0 <= self.shift_share <= 1, "a share between 0 and 1"),
            "n_step": (self.n_step >= 1, "at least 1"),
            "reward_unit": (0 <= self.reward_unit < math.inf, "0 or more"),
            "average_rate": (0 < self.average_rate <= 1, "a number in (0, 1]"),
            "average_tail": (
                self.average_tail == 0 or (self.average_tail > 0 and self.average_rate < 1),
                "0 or more, and only with an average_rate below 1",
            ),
            "utd": (self.utd >= 1, "at least 1"),
            "pretrain_steps": (self.pretrain_steps >= 0, "0 or more"),
        }
        require(self, checks)

    @property
    def horizon(self) -> tuple[int, float]:
        """(n, gamma) of the returns that the replay prepares."""
        return self.n_step, getattr(self, "discount", 1.0)


def require(config: Any, checks: Mapping[str, tuple[bool, str]]) -> None:
    """Raise for the first field whose check fails.

    Raises:
        ConfigError: naming the field, what it got and what it takes.
    """
    for name, (ok, takes) in checks.items():
        if not ok:
            raise ConfigError(f"agent.{name} takes {takes}, got {getattr(config, name)!r}")


def positive(config: Any, *names: str) -> dict[str, tuple[bool, str]]:
    """Checks for :func:`require`: fields that must be above 0."""
    return {name: (getattr(config, name) > 0, "a positive number") for name in names}


@dataclass(frozen=True)
class Preset:
    """A named setting of an algorithm: its config, and what it changes around the agent.

    Attributes:
        config: the agent's configuration.
        env: overrides of the environment's configuration (rewards of a publication, say).
        summary: one line for ``silri list``.
    """

    config: AgentConfig
    summary: str
    env: Mapping[str, Any] = field(default_factory=dict)


class Agent(struct.PyTreeNode):
    """Base of all agents. Subclasses define ``create``, ``policy``, ``update``, ``pretrain``.

    Everything that learns or changes is a leaf, so a checkpoint of the leaves is the whole agent;
    random draws derive from ``seed`` and ``iterations`` (or the episode and the step), so there
    is no generator to save.

    Attributes:
        config: hyper-parameters.
        action_spec: layout of the action vector.
        normalizer: observation statistics, and where positions are.
        seed: () uint32.
        iterations: () int32, learner iterations so far.
    """

    config: Any = struct.field(pytree_node=False)
    action_spec: ActionSpec = struct.field(pytree_node=False)
    normalizer: Normalizer
    seed: jax.Array
    iterations: jax.Array

    learns_online: ClassVar[bool] = True  # False: trained before the first episode, then fixed

    @classmethod
    def create(cls, config: Any, spec: EnvSpec, statistics: Statistics | None, seed: int) -> Self:
        """Fresh networks for ``spec``; ``statistics`` as (mean, std) per observation key."""
        raise NotImplementedError

    def policy(self, features: jax.Array, key: jax.Array, explore: bool) -> tuple[jax.Array, Info]:
        """(..., F) -> action (..., A) in [-1, 1] and diagnostics, name to (...,)."""
        raise NotImplementedError

    def mean_action(self, features: jax.Array) -> jax.Array:
        """(..., F) -> (..., A): the action that is evaluated and deployed."""
        raise NotImplementedError

    def update(self, batch: Batch) -> tuple[Self, Info]:
        """One learner iteration on a batch with leading axes (U, B)."""
        raise NotImplementedError

    def pretrain(self, batch: Batch) -> tuple[Self, Info]:
        """U gradient steps on demonstrations, batch (U, B); the identity unless overridden."""
        del batch
        return self, {}

    def update_guidance(self, batch: Batch) -> tuple[Self, Info]:
        """A burst on demonstrations and interventions, batch (U, B); see the next method."""
        del batch
        return self, {}

    def guidance_updates_owed(self, before: int, after: int) -> int:
        """Burst length when intervention steps have grown from ``before`` to ``after``."""
        del before, after
        return 0

    # -- shared machinery ------------------------------------------------------------------

    @classmethod
    def base_fields(
        cls, config: Any, spec: EnvSpec, statistics: Statistics | None, seed: int
    ) -> tuple[dict[str, Any], jax.Array, jax.Array, jax.Array]:
        """Common fields, an initialisation key, and example features (1, F), actions (1, D)."""
        if not spec.action.continuous:
            raise ConfigError(f"{spec.name} has no continuous action dimension; this needs one")
        normalizer = Normalizer.create(spec, statistics, config.relative)
        example = {
            key: jnp.zeros((1, *array.shape), jnp.float32)
            for key, array in spec.observation.items()
        }
        fields = {
            "config": config,
            "action_spec": spec.action,
            "normalizer": normalizer,
            "seed": jnp.asarray(seed, jnp.uint32),
            "iterations": jnp.asarray(0, jnp.int32),
        }
        features = normalizer.features(example)
        actions = jnp.zeros((1, len(spec.action.continuous)), jnp.float32)
        return fields, jax.random.key(seed), features, actions

    @classmethod
    def diagnostic_names(cls, config: Any, spec: EnvSpec) -> list[str]:
        """What :meth:`act` will report, without running anything."""

        def names() -> Info:
            agent = cls.create(config, spec, None, 0)
            observation = {k: jnp.zeros(v.shape, jnp.float32) for k, v in spec.observation.items()}
            features = agent.normalizer.features(observation)
            return agent.policy(features, agent.update_key(), explore=True)[1]

        return sorted(jax.eval_shape(names))

    def averaging(self) -> jax.Array | float:
        """The Polyak rate of the acting policy in this iteration.

        With a tail t the average covers about the last 1/t of all iterations once that is more than
        1 / average_rate of them: what a policy gains in steadiness later costs nothing early.
        """
        rate = self.config.average_rate
        if not self.config.average_tail:
            return float(rate)
        done = self.iterations.astype(jnp.float32) + 1.0
        return jnp.minimum(rate, self.config.average_tail / done)

    def update_key(self) -> jax.Array:
        """The random key of the next learner iteration."""
        return jax.random.fold_in(jax.random.key(self.seed), self.iterations)

    def encode(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Features of a batch's observations and of what followed, (..., F) each.

        A share of the rows has been moved, each by an offset of its own that is drawn uniformly
        from a square. Where positions are is the environment's to say (``EnvSpec.points``).
        Likewise the goals alone, in a share of the rows in which no object moves and the episode
        goes on: no reward depends on a goal there.
        Offsets belong to an iteration: the chunks of pre-training share theirs, on other rows.
        """
        observation, following = batch.observation, batch.next_observation
        points, goals = self.normalizer.points, self.normalizer.goals
        if self.config.shift and points:
            offset = self._offsets(SHIFTS, batch.reward.shape, 2, self.config.shift)
            observation = shift(observation, points, offset)
            following = shift(following, points, offset)
        if self.config.goal_shift and goals:
            objects = self.normalizer.objects
            rest = at_rest(batch.observation, batch.next_observation, objects, REST_M)
            size = len(goals[0][1][0])
            offset = self._offsets(GOAL_SHIFTS, batch.reward.shape, size, self.config.goal_shift)
            offset = jnp.where((rest & (batch.mask > 0))[..., None], offset, 0.0)
            observation = shift(observation, goals, offset)
            following = shift(following, goals, offset)
        return self.normalizer.features(observation), self.normalizer.features(following)

    def _offsets(self, stream: int, rows: tuple[int, ...], size: int, reach: float) -> jax.Array:
        """(*rows, size) metres, up to ``reach`` on every axis; 0 in the rows that stay."""
        where, which = jax.random.split(jax.random.fold_in(self.update_key(), stream))
        offset = jax.random.uniform(where, (*rows, size), minval=-reach, maxval=reach)
        moved = jax.random.bernoulli(which, self.config.shift_share, rows)
        return jnp.where(moved[..., None], offset, 0.0)

    def act(
        self, observation: Observation, *, episode: int, step: int, explore: bool
    ) -> tuple[np.ndarray, dict[str, float]]:
        """One decision, one dispatch: the action (A,) and the diagnostics behind it."""
        action, diagnostics = _act(self, observation, episode, step, explore)
        action, diagnostics = jax.device_get((action, diagnostics))
        return action, {name: float(value) for name, value in diagnostics.items()}

    def act_deterministic(self, observation: Observation) -> np.ndarray:
        """The mean action for one observation or a batch of them, without diagnostics."""
        return np.asarray(_mean_action(self, observation))


@functools.partial(jax.jit, static_argnames="explore")
def _act(
    agent: Agent, observation: Observation, episode: int, step: int, explore: bool
) -> tuple[jax.Array, Info]:
    # A stream of its own, so that no decision shares a key with an update.
    key = jax.random.fold_in(jax.random.key(agent.seed), jnp.uint32(0xFFFFFFFF))
    key = jax.random.fold_in(jax.random.fold_in(key, episode), step)
    return agent.policy(agent.normalizer.features(observation), key, explore)


@jax.jit
def _mean_action(agent: Agent, observation: Observation) -> jax.Array:
    return agent.mean_action(agent.normalizer.features(observation))
