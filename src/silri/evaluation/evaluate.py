"""Autonomous evaluation: no operator, layouts that training never sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from silri.agents.base import Agent
from silri.core.errors import EnvironmentFault, SpecError
from silri.core.protocols import Env
from silri.core.seeding import Stream, derive_seed
from silri.core.specs import Observation
from silri.evaluation.statistics import wilson_interval


class Actor(Protocol):
    """An action for an observation in a step of an episode."""

    def __call__(self, observation: Observation, episode: int, step: int) -> np.ndarray:
        """(A,) in [-1, 1]."""


@dataclass(frozen=True)
class EvaluationResult:
    """Per-episode outcomes.

    Attributes:
        successes: (N,) bool.
        lengths: (N,) steps.
        returns: (N,) undiscounted.
        faults: (N,) bool: the environment broke; counts as a failure.
    """

    successes: np.ndarray
    lengths: np.ndarray
    returns: np.ndarray
    faults: np.ndarray

    def metrics(self) -> dict[str, float]:
        """What a run records of an evaluation.

        success_rate, successes, episodes, ci_low, ci_high (Wilson, 95 %), mean_success_length
        (NaN without a success), mean_return and faults.
        """
        count, wins = len(self.successes), int(self.successes.sum())
        low, high = wilson_interval(wins, count)
        return {
            "success_rate": wins / count,
            "successes": float(wins),
            "episodes": float(count),
            "ci_low": low,
            "ci_high": high,
            "mean_success_length": float(self.lengths[self.successes].mean()) if wins else np.nan,
            "mean_return": float(self.returns.mean()),
            "faults": float(self.faults.sum()),
        }


def evaluate(env: Env, actor: Actor, episodes: int, first: int = 0) -> EvaluationResult:
    """Run ``episodes`` episodes on the fixed evaluation layouts ``first``, ``first + 1``, ..."""
    rows = [_episode(env, actor, index) for index in range(first, first + episodes)]
    successes, lengths, returns, faults = zip(*rows, strict=True)
    return EvaluationResult(
        successes=np.asarray(successes, bool),
        lengths=np.asarray(lengths, np.int64),
        returns=np.asarray(returns, np.float64),
        faults=np.asarray(faults, bool),
    )


def mean_actor(agent: Agent) -> Actor:
    """The deterministic policy, as deployed."""
    return lambda observation, episode, step: agent.act_deterministic(observation)


def sampling_actor(agent: Agent) -> Actor:
    """The exploring policy, as the publications of HIL-SERL and ConRFT evaluate."""

    def act(observation: Observation, episode: int, step: int) -> np.ndarray:
        # Episode numbers far from training's, so that no decision shares its random key.
        return agent.act(observation, episode=(1 << 30) + episode, step=step, explore=True)[0]

    return act


def _episode(env: Env, actor: Actor, index: int) -> tuple[bool, int, float, bool]:
    """(success, length, return, fault) of one layout."""
    total, step = 0.0, 0
    try:
        observation, _ = env.reset(seed=derive_seed(0, Stream.EVALUATION_LAYOUT, index))
        for step in range(env.env_spec.max_episode_steps):
            observation = env.env_spec.validate_observation(observation)
            action = env.env_spec.action.snap(actor(observation, index, step))
            observation, reward, terminated, truncated, info = env.step(action)
            total += float(reward)
            if terminated or truncated:
                return bool(info["success"]), step + 1, total, False
    except (SpecError, EnvironmentFault):
        return False, step + 1, total, True
    return False, env.env_spec.max_episode_steps, total, False
