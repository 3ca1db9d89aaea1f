r"""Residual policies: any algorithm learns a correction of a policy that does not change.

::

    a_t = clip(base(s) + scale u, -1, 1)      u in [-1, 1]^D: what the algorithm learns and explores
    g_t = g_base(s) if c = keep, else c       c: likewise, for each gripper, of C + 1 classes

As in residual reinforcement learning (arXiv 1812.03201, 1812.06298), and on cloned policies since
(ResiP, 2407.16677; Policy Decorator, 2412.13630). Networks are told base(s) beside the observation,
and output 0 at first: the run begins as the base acts. All of it happens where an observation is
prepared and where an action leaves, so that no algorithm knows of it: its critic values corrections
beside base(s), which says as much as executed actions do, without a gradient lost in the clip.
Nothing that was done is taught as *keep*: a gripper is the base's until somebody has shown it. As
a change of the base's command, its target would jump wherever a wrong base changes its mind.

What was done becomes a correction by the inverse, computed anew in every batch, so that a row that
augmentation has moved is corrected from what the base would do *there*. A scale of 2 reaches
whatever a person does. With less, a critic sees what is beyond the box as it was, and what is
imitated is the nearest inside. People step in where the base is far off: a fifth of their steps on
pick-place were out of reach of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from silri.agents.augment import Augment
from silri.agents.base import Agent, mean_action
from silri.agents.start import ACTOR, GRIPPERS, taken
from silri.core.errors import ConfigError
from silri.core.settings import Positive, settings
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec, Observation
from silri.core.transition import Batch
from silri.nn.train_state import TrainState

BASE_ACTION = "base_action"  # key of an observation: (A,) what the base would do
FIRST_STD = 0.1  # deviation of a correction that is drawn, before anything is learned
KEEP = -3.0  # value of the gripper's first class: as the base does
_OUTPUT, _DEVIATION = "Dense_0", "Dense_1"  # output layers: of a mean or of classes; of a deviation

A = TypeVar("A", bound=Agent)


@settings("residual")
class ResidualConfig:
    """A policy that does not change, whose actions the agent learns to correct."""

    base: str | None = None  # run or export whose policy it is; None: the agent acts alone
    scale: Positive = 2.0  # largest correction of a dimension, action units; 2 reaches everything


class Base(struct.PyTreeNode):
    """The policy below a correction.

    Attributes:
        agent: decides; it may be a correction of another one.
        scale: of corrections.
        description: JSON that says how to build ``agent``, for whoever has its numbers only.
    """

    agent: Agent
    scale: float = struct.field(pytree_node=False)
    description: str = struct.field(pytree_node=False, default="{}")

    @property
    def spec(self) -> ActionSpec:
        """Of its actions, and of the corrected ones."""
        below = self.agent.base
        return self.agent.action_spec if below is None else below.spec

    def informs(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """An observation (..., *shape) with what the base would do there."""
        # The barrier keeps its numbers those of the base alone, whatever is compiled around it.
        action = jax.lax.optimization_barrier(mean_action(self.agent, observation))
        return {**observation, BASE_ACTION: action}

    def executed(self, informed: Mapping[str, Any], correction: jax.Array) -> jax.Array:
        """What a correction (..., A) makes of the base's action, (..., A)."""
        base_action, motion = informed[BASE_ACTION], np.asarray(self.spec.continuous, np.int32)
        moved = base_action[..., motion] + self.scale * correction[..., motion]
        kept = jnp.where(correction > KEEP / 2, correction, base_action)
        return kept.at[..., motion].set(jnp.clip(moved, -1.0, 1.0))

    def correction(self, base_action: jax.Array, action: jax.Array) -> jax.Array:
        """The inverse: what makes ``action`` (..., A) of the base's; may be outside [-1, 1]."""
        motion = np.asarray(self.spec.continuous, np.int32)
        moved = (action - base_action)[..., motion] / self.scale
        return action.at[..., motion].set(moved)

    def batch(self, batch: Batch) -> Batch:
        """A batch of what was done, as one of corrections."""
        here = self.informs(batch.observation)
        done, shown = (
            self.correction(here[BASE_ACTION], jnp.asarray(action))
            for action in (batch.action, batch.human_action)
        )
        return batch._replace(
            observation=here,
            next_observation=self.informs(batch.next_observation),
            action=done,
            human_action=jnp.clip(shown, -1.0, 1.0),
        )

    def out_of_reach(self, observation: Observation, action: np.ndarray) -> np.ndarray:
        """Whether no correction makes ``action`` (N, A) of what the base does, (N,) bool."""
        moved = action - self.agent.act_deterministic(observation)
        return np.any(np.abs(moved[..., list(self.spec.continuous)]) > self.scale, axis=-1)


def create_agent(
    kind: type[A],
    config: Any,
    spec: EnvSpec,
    seed: int,
    augment: Augment,
    base: Base | None = None,
) -> A:
    """A fresh agent; with a base, one that corrects it and acts as it does until it has learned.

    Its statistics are the base's, until demonstrations say others.

    Raises:
        ConfigError: the base observes or does something else; names what differs.
    """
    if base is None:
        return kind.create(config, spec, seed, augment)
    _check(base, spec)
    informed = {**spec.observation, BASE_ACTION: ArraySpec((spec.action.size,))}
    grips = replace(spec.action, gripper_values=(KEEP, *spec.action.gripper_values))
    own_spec = replace(spec, observation=informed, action=grips)
    agent = kind.create(config, own_spec, seed, augment)
    own, theirs = agent.normalizer, base.agent.normalizer
    normalizer = own.replace(
        mean={**own.mean, **{k: v for k, v in theirs.mean.items() if k in own.mean}},
        std={**own.std, **{k: v for k, v in theirs.std.items() if k in own.std}},
        given=tuple(sorted({*own.given, BASE_ACTION})),  # actions have a scale already
    )
    changed: dict[str, Any] = {"base": base, "normalizer": normalizer}
    for names in (ACTOR, *GRIPPERS):
        state = getattr(agent, names[0], None)
        if state is not None:
            changed |= taken(agent, names, _silent(state))
    return agent.replace(**changed)


def frozen(agent: A) -> A:
    """The agent without what only learning needs: the moments of its optimisers."""
    states = {f.name: getattr(agent, f.name) for f in fields(agent)}
    learned = {name: state for name, state in states.items() if isinstance(state, TrainState)}
    return agent.replace(**{n: state.replace(opt_state=()) for n, state in learned.items()})


def _check(base: Base, spec: EnvSpec) -> None:
    if BASE_ACTION in spec.observation:
        raise ConfigError(f"{spec.name} observes '{BASE_ACTION}', which a correction needs itself")
    if base.spec != spec.action:
        raise ConfigError(f"the base acts by {base.spec}; this environment takes {spec.action}")


def _silent(state: TrainState) -> dict[str, Any]:
    """Parameters of a network that says 0 at first, or the first class: keep."""
    params = dict(state.params)
    params[_OUTPUT] = jax.tree.map(jnp.zeros_like, params[_OUTPUT])
    if _DEVIATION in params:
        layer = jax.tree.map(jnp.zeros_like, params[_DEVIATION])
        params[_DEVIATION] = layer | {"bias": layer["bias"] + float(np.log(FIRST_STD))}
    return params
