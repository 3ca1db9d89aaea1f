"""What every agent is: an immutable pytree with ``act`` and ``update``, and its configuration."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import field, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from silri.agents.augment import PLAIN, Augment, Augmentation
from silri.agents.stages import ONLINE, Stage
from silri.core.errors import ConfigError
from silri.core.settings import (
    Field,
    NonNegative,
    Positive,
    PositiveInt,
    Rate01,
    Share01,
    settings,
)
from silri.core.specs import ActionSpec, EnvSpec, Observation
from silri.core.transition import Batch
from silri.nn.mlp import Trunk
from silri.nn.normalizer import Normalizer, Statistics
from silri.nn.observer import Observer, observer_for
from silri.nn.train_state import Info, TrainState

if TYPE_CHECKING:
    from silri.agents.residual import Base

Bounds = tuple[Positive, Positive]  # low < high
# Fields of an agent that earlier files lack: what a fresh agent has stands in for them.
CAME_LATER = frozenset({"worked"})
Prepared = Mapping[str, jax.Array]  # an observation as networks take it; leading axes are (...)
Acted = tuple[jax.Array, Info]  # action (..., A) in [-1, 1], and diagnostics (...,) by name


@settings("agent")
class AgentConfig:
    """Fields that every algorithm has; each algorithm adds its own."""

    known_stages: ClassVar[tuple[str, ...]] = ("online",)  # names that its update knows
    # Of silri.data.columns, for losses that need them; beside those of the class it is made from.
    columns: ClassVar[tuple[str, ...]] = ()

    trunk: Trunk = field(default_factory=Trunk)  # hidden layers of every network
    learning_rate: Positive = 3e-4  # Adam, all networks unless said otherwise
    batch_size: Annotated[int, Field(ge=2)] = 128  # rows of one gradient step
    online_fraction: Share01 = 0.5  # share of a batch from the online buffer; the rest is guidance
    utd: PositiveInt = 2  # critic updates per learner iteration (update-to-data ratio)
    discount: Annotated[float, Field(ge=0, lt=1)] = 0.97  # gamma
    n_step: PositiveInt = 1  # rewards in a return before it bootstraps
    reward_unit: NonNegative = 0.0  # the demonstrations' largest return is scaled to it, 0: not
    average_rate: Rate01 = 1.0  # Polyak rate of the policy that acts; 1 is the one that learns
    stages: tuple[Stage, ...] = (ONLINE,)  # what is learned in which order

    def __init_subclass__(cls) -> None:
        named = [name for kind in reversed(cls.__mro__) for name in vars(kind).get("columns", ())]
        cls.columns = tuple(dict.fromkeys(named))

    def __post_init__(self) -> None:
        for stage in self.stages:
            if stage.name not in self.known_stages:
                raise ConfigError(
                    f"agent.stages takes stages of the names {', '.join(self.known_stages)}, "
                    f"got '{stage.name}'"
                )
        open_ended = [stage for stage in self.stages[:-1] if stage.updates is None]
        if not self.stages or open_ended:
            raise ConfigError(
                "agent.stages takes one stage or more, all but the last with a number of updates, "
                f"got {[(stage.name, stage.updates) for stage in self.stages]}"
            )

    @property
    def learns_online(self) -> bool:
        """Whether it learns from environment steps; else it is trained before the first one."""
        return self.stages[-1].updates is None

    @property
    def offline_iterations(self) -> int:
        """Learner iterations on the mix before the first step."""
        return sum(stage.updates or 0 for stage in self.stages if stage.source == "mix")


def check_bounds(name: str, bounds: tuple[float, float]) -> None:
    """Raise ConfigError unless ``bounds`` of the field ``name`` ascend."""
    if not bounds[0] < bounds[1]:
        raise ConfigError(f"agent.{name} takes 0 < low < high, got {bounds}")


class Agent(struct.PyTreeNode):
    """Base of all agents. Subclasses define ``create``, ``policy``, ``mean_action``, ``update``.

    An agent never changes: ``update`` returns the next one. It has no generator: random draws
    derive from ``seed`` and ``iterations`` (or the episode and the step).

    Attributes:
        config: hyper-parameters.
        action_spec: layout of the action vector.
        augmentation: what batches are changed by.
        normalizer: observation statistics, and where positions are.
        seed: () uint32.
        iterations: () int32, online learner iterations so far.
        base: the policy whose actions are corrected (:mod:`silri.agents.residual`); None: its
            actions are its own.
    """

    config: Any = struct.field(pytree_node=False)
    action_spec: ActionSpec = struct.field(pytree_node=False)
    augmentation: Augmentation = struct.field(pytree_node=False)
    normalizer: Normalizer
    seed: jax.Array
    iterations: jax.Array
    base: Base | None = struct.field(default=None, kw_only=True)

    @classmethod
    def create(cls, config: Any, spec: EnvSpec, seed: int, augment: Augment = PLAIN) -> Self:
        """Fresh networks for ``spec``, with the identity for a normaliser."""
        raise NotImplementedError

    def policy(self, observation: Prepared, key: jax.Array, explore: bool) -> Acted:
        """Action (..., A) in [-1, 1] and diagnostics (...,) by name, for a prepared observation."""
        raise NotImplementedError

    def mean_action(self, observation: Prepared) -> jax.Array:
        """Prepared observation -> (..., A): the action that is evaluated and deployed."""
        raise NotImplementedError

    def update(self, batch: Batch, stage: str = "online") -> tuple[Self, Info]:
        """Learn from a batch with leading axes (U, B), as a stage's name says.

        Online: one learner iteration of U critic updates. Before: U gradient steps.
        """
        raise NotImplementedError

    # -- shared machinery ------------------------------------------------------------------

    @classmethod
    def base_fields(
        cls, config: Any, spec: EnvSpec, seed: int, augment: Augment
    ) -> tuple[dict[str, Any], jax.Array, Observer, dict[str, jax.Array], jax.Array]:
        """Common fields, an initialisation key, eyes, and an example of what networks take.

        Returns:
            The fields; the key; the observer of every network; a prepared observation with the
            leading axis 1; continuous actions (1, D).

        Raises:
            ConfigError: there is no continuous action dimension.
        """
        if not spec.action.continuous:
            raise ConfigError(f"{spec.name} has no continuous action dimension; this needs one")
        normalizer = Normalizer.create(spec, augment.relative)
        given = {
            "config": config,
            "action_spec": spec.action,
            "augmentation": Augmentation.create(augment, spec),
            "normalizer": normalizer,
            "seed": jnp.asarray(seed, jnp.uint32),
            "iterations": jnp.asarray(0, jnp.int32),
        }
        example = normalizer.prepare(_zeros(spec, (1,)))
        actions = jnp.zeros((1, len(spec.action.continuous)), jnp.float32)
        return given, jax.random.key(seed), observer_for(spec), example, actions

    @classmethod
    def diagnostic_names(cls, config: Any, spec: EnvSpec, augment: Augment = PLAIN) -> list[str]:
        """What :meth:`act` will report, without running anything."""

        def names() -> Info:
            agent = cls.create(config, spec, 0, augment)
            observation = agent.normalizer.prepare(_zeros(spec, ()))
            return agent.policy(observation, agent.update_key(), explore=True)[1]

        return sorted(jax.eval_shape(names))

    def normalised_by(self, statistics: Statistics) -> Self:
        """With the demonstrations' (mean, std) per observation key."""
        return self.replace(normalizer=self.normalizer.fitted(statistics))

    def with_fresh_optimisers(self) -> Self:
        """The same networks; every optimiser starts afresh, as a stage may ask."""
        states = {f.name: getattr(self, f.name) for f in fields(self)}
        return self.replace(
            **{
                name: state.replace(opt_state=state.optimizer.init(state.params))
                for name, state in states.items()
                if isinstance(state, TrainState)
            }
        )

    def update_key(self) -> jax.Array:
        """The random key of the next learner iteration."""
        return jax.random.fold_in(jax.random.key(self.seed), self.iterations)

    def prepare(self, batch: Batch) -> Batch:
        """A batch (U, B) as losses take it: moved rows, cropped frames, normalised vectors.

        Of an agent that corrects a base, its actions become corrections.

        The one place where a batch is changed between replay and networks. Offsets belong to an
        iteration: the chunks of an offline stage share theirs, on other rows.
        """
        batch = self.augmentation(self.update_key(), batch)
        if self.base is not None:
            batch = self.base.batch(batch)
        return batch._replace(
            observation=self.normalizer.prepare(batch.observation),
            next_observation=self.normalizer.prepare(batch.next_observation),
        )

    def informed(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        """An observation with what the base would do, if there is one."""
        return observation if self.base is None else self.base.informs(observation)

    def executed(self, informed: Mapping[str, Any], action: jax.Array) -> jax.Array:
        """What is done, (..., A), where ``policy`` or ``mean_action`` says ``action`` (..., A)."""
        return action if self.base is None else self.base.executed(informed, action)

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


def _zeros(spec: EnvSpec, lead: tuple[int, ...]) -> dict[str, jax.Array]:
    return {
        key: jnp.zeros((*lead, *array.shape), array.dtype)
        for key, array in spec.observation.items()
    }


@functools.partial(jax.jit, static_argnames="explore")
def _act(
    agent: Agent, observation: Observation, episode: int, step: int, explore: bool
) -> tuple[jax.Array, Info]:
    # A stream of its own, so that no decision shares a key with an update.
    key = jax.random.fold_in(jax.random.key(agent.seed), jnp.uint32(0xFFFFFFFF))
    key = jax.random.fold_in(jax.random.fold_in(key, episode), step)
    informed = agent.informed(observation)
    action, diagnostics = agent.policy(agent.normalizer.prepare(informed), key, explore)
    return agent.executed(informed, action), diagnostics


def mean_action(agent: Agent, observation: Mapping[str, Any]) -> jax.Array:
    """What is deployed, (..., A), for an observation as it comes: a base's action is corrected."""
    informed = agent.informed(observation)
    return agent.executed(informed, agent.mean_action(agent.normalizer.prepare(informed)))


_mean_action = jax.jit(mean_action)
