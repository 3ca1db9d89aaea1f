"""Robustness: the fixed evaluation layouts, with the object moved once in every episode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from silri.core.errors import ConfigError
from silri.core.protocols import Disturbable, Env
from silri.core.seeding import Stream, rng
from silri.core.specs import Observation
from silri.evaluation.evaluate import Actor, EvaluationResult, evaluate

UNDISTURBED = "none"  # the row of the evaluation that nobody disturbs
Row = dict[str, float | int | None]


@dataclass(frozen=True)
class DisturbedResult:
    """An evaluation and what was done to it.

    Attributes:
        evaluation: outcomes of N episodes.
        occurred: (N,) bool: the object was moved in that episode.
    """

    evaluation: EvaluationResult
    occurred: np.ndarray

    def row(self) -> Row:
        """What ``disturbance.json`` says of one kind.

        success_rate, successes, episodes, ci_low, ci_high (Wilson, 95 %), mean_success_length,
        mean_return and faults as in an evaluation; ``occurred``, in how many of the episodes the
        object was moved, and ``success_rate_occurred`` among those. What nothing is known of is
        None.
        """
        metrics = self.evaluation.metrics()
        row: Row = {key: None if math.isnan(value) else value for key, value in metrics.items()}
        for key in ("successes", "episodes", "faults"):
            row[key] = int(metrics[key])
        count = int(self.occurred.sum())
        row["occurred"] = count
        row["success_rate_occurred"] = (
            float(self.evaluation.successes[self.occurred].mean()) if count else None
        )
        return row


class Disturbed:
    """An environment in which ``kind`` happens once per episode, as soon as it applies.

    It happens between a decision and its execution: a policy acts once on an observation that
    does not show it yet, as it would on a robot. Where the object goes is decided by the number
    of the episode alone, and so is the same for every policy, unless something is in its way.
    """

    def __init__(self, env: Env, kind: str, first: int = 0) -> None:
        """Wrap ``env``, whose next reset is that of layout ``first``.

        Raises:
            ConfigError: ``env`` does not offer ``kind``.
        """
        if kind not in offered(env):
            raise ConfigError(
                f"{env.env_spec.name} offers no disturbance '{kind}'; it offers "
                f"{', '.join(offered(env))}"
            )
        assert isinstance(env, Disturbable)
        self.env_spec = env.env_spec
        self._env, self._kind, self._disturb, self._first = env, kind, env.disturb, first
        self.occurred: list[bool] = []  # per episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the next episode."""
        self.occurred.append(False)
        return self._env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Offer the disturbance, if it has not happened yet, and execute ``action``."""
        if not self.occurred[-1]:
            # A new generator each time: when it happens does not decide what happens.
            draws = rng(0, Stream.DISTURBANCE, self._first + len(self.occurred) - 1)
            self.occurred[-1] = self._disturb(self._kind, draws)
        return self._env.step(action)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def offered(env: Env) -> tuple[str, ...]:
    """The kinds of disturbance that ``env`` offers, at least one.

    Raises:
        ConfigError: it offers none.
    """
    kinds = env.disturbances if isinstance(env, Disturbable) else ()
    if not kinds:
        raise ConfigError(
            f"{env.env_spec.name} offers no disturbances; docs/explanation/robustness.md lists the "
            "tasks of metaworld that do"
        )
    return kinds


def evaluate_disturbed(
    env: Env, actor: Actor, episodes: int, kind: str, first: int = 0
) -> DisturbedResult:
    """Run the layouts of :func:`~silri.evaluation.evaluate.evaluate`, disturbed once each.

    Args:
        env: an environment that offers ``kind``.
        actor: the policy.
        episodes: how many layouts.
        kind: one of :func:`offered`, or ``none``.
        first: number of the first layout.

    Raises:
        ConfigError: ``env`` does not offer ``kind``.
    """
    if kind == UNDISTURBED:
        return DisturbedResult(evaluate(env, actor, episodes, first), np.zeros(episodes, bool))
    disturbed = Disturbed(env, kind, first)
    result = evaluate(disturbed, actor, episodes, first)
    return DisturbedResult(result, np.asarray(disturbed.occurred, bool))


def robustness(env: Env, actor: Actor, episodes: int, first: int = 0) -> dict[str, Row]:
    """The rows of ``disturbance.json``: undisturbed, and every kind that ``env`` offers.

    Raises:
        ConfigError: ``env`` offers none.
    """
    return {
        kind: evaluate_disturbed(env, actor, episodes, kind, first).row()
        for kind in (UNDISTURBED, *offered(env))
    }
