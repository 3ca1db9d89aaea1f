"""Autonomous evaluation: no operator, layouts that training never sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from silri.configs.run import EvaluationConfig
from silri.core.protocols import Env
from silri.core.seeding import Stream, derive_seed
from silri.core.specs import EnvSpec, Observation
from silri.data.episode import EpisodeBuilder
from silri.evaluation.statistics import wilson_interval
from silri.runtime.acting.autonomous import Drive, Evaluate, autonomous_in
from silri.vision.sighted import Sighted


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
        judged: (N,) bool: something has said whether the task was done.
        called: (N,) bool: a success classifier has called it done; None without one.
        tasks: (N,) what was to be done, ``info["task"]``; "" where the environment does not say.
    """

    successes: np.ndarray
    lengths: np.ndarray
    returns: np.ndarray
    faults: np.ndarray
    judged: np.ndarray
    called: np.ndarray | None = None
    tasks: tuple[str, ...] = ()

    def by_task(self) -> dict[str, tuple[int, int]]:
        """(successes, episodes) of each task, by name; empty unless there are several."""
        names = sorted(set(self.tasks))
        if len(names) < 2:
            return {}
        rows = {name: np.asarray([task == name for task in self.tasks]) for name in names}
        return {
            name or "(not said)": (int(self.successes[row].sum()), int(row.sum()))
            for name, row in rows.items()
        }

    def metrics(self) -> dict[str, float]:
        """What a run records of an evaluation.

        success_rate, successes, episodes, ci_low, ci_high (Wilson, 95 %), mean_success_length
        (NaN without a success), mean_return and faults. Where nothing has said of any episode
        whether the task was done, also ``judged``, 0: the rate of success means nothing then. With
        a success classifier also the share that it called a success, ``classifier_success_rate``,
        and the share in which it was right by ``success_rate``, ``classifier_agreement``. Of an
        environment that draws one of several tasks also ``success_rate/NAME`` of each, and
        ``episodes/NAME``.
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
            **({} if self.judged.any() or self.faults.all() else {"judged": 0.0}),
            **self._classifiers(),
            **{f"success_rate/{name}": won / of for name, (won, of) in self.by_task().items()},
            **{f"episodes/{name}": float(of) for name, (_, of) in self.by_task().items()},
        }

    def _classifiers(self) -> dict[str, float]:
        if self.called is None:
            return {}
        return {
            "classifier_success_rate": float(self.called.mean()),
            "classifier_agreement": float((self.called == self.successes).mean()),
        }


def evaluate_with(
    spec: EnvSpec, drive: Drive, actor: Actor, episodes: int, first: int = 0
) -> EvaluationResult | None:
    """Run ``episodes`` episodes on the fixed evaluation layouts ``first``, ``first + 1``, ...

    Args:
        spec: of the environment.
        drive: runs one episode without an operator, e.g.
            :func:`~silri.runtime.acting.autonomous.autonomous_in` or the driver of a robot.
        actor: the policy.
        episodes: how many layouts.
        first: number of the first layout.

    Returns:
        None if it was stopped. An episode that a person discards is driven again.
    """
    rows = []
    for index in range(first, first + episodes):
        row = _episode(spec, drive, actor, index)
        if row is None:
            return None
        rows.append(row)
    successes, lengths, returns, faults, judged, called, tasks = zip(*rows, strict=True)
    return EvaluationResult(
        successes=np.asarray(successes, bool),
        lengths=np.asarray(lengths, np.int64),
        returns=np.asarray(returns, np.float64),
        faults=np.asarray(faults, bool),
        judged=np.asarray(judged, bool),
        # Who breaks before a classifier has said anything was not called a success.
        called=None if all(each is None for each in called) else np.asarray(called, bool),
        tasks=tasks,
    )


def evaluate(env: Env, actor: Actor, episodes: int, first: int = 0) -> EvaluationResult:
    """:func:`evaluate_with` in an environment that nothing else drives, to the end."""
    result = evaluate_with(env.env_spec, autonomous_in(env), actor, episodes, first)
    assert result is not None  # nobody stops it
    return result


def evaluation_of(layouts: EvaluationConfig) -> Evaluate:
    """What a run measures its policy with: the mean action on the layouts of its configuration."""

    def measure(acting: Sighted, spec: EnvSpec, drive: Drive) -> Mapping[str, float] | None:
        first, count = layouts.first_layout, layouts.episodes
        result = evaluate_with(spec, drive, mean_actor(acting), count, first)
        return None if result is None else result.metrics()

    return measure


def mean_actor(acting: Sighted) -> Actor:
    """The deterministic policy, as deployed."""
    return lambda observation, episode, step: acting.act_deterministic(observation)


def sampling_actor(acting: Sighted) -> Actor:
    """The exploring policy, as the publications of HIL-SERL and ConRFT evaluate."""

    def act(observation: Observation, episode: int, step: int) -> np.ndarray:
        # Episode numbers far from training's, so that no decision shares its random key.
        return acting.act(observation, episode=(1 << 30) + episode, step=step, explore=True)[0]

    return act


class _Policy:
    """An actor as a policy; its episodes have the numbers of the layouts."""

    version = 0

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """What the actor does."""
        return self._actor(observation, episode, step), {}


def _episode(
    spec: EnvSpec, drive: Drive, actor: Actor, index: int
) -> tuple[bool, int, float, bool, bool, bool | None, str] | None:
    """(success, length, return, fault, judged, called, task) of one layout; None if stopped."""
    seed = derive_seed(0, Stream.EVALUATION_LAYOUT, index)
    while True:
        builder = EpisodeBuilder(spec, index, False, seed, spec.name, "none")
        outcome = drive(_Policy(actor), builder)
        if outcome.end != "discarded":
            break
    if outcome.end == "stopped":
        return None
    fault = outcome.end == "fault"
    judged = outcome.judged and not fault
    total = builder.total_reward
    return outcome.success, len(builder), total, fault, judged, outcome.called, builder.group
