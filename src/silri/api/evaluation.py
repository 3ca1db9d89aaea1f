"""How often a policy succeeds on its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from silri.api.environments import make_env
from silri.api.policies import Policy, load
from silri.core.errors import ConfigError
from silri.core.protocols import Env
from silri.core.specs import Observation
from silri.core.values import numbers
from silri.data.episode import EpisodeBuilder
from silri.evaluation.evaluate import Actor, EvaluationResult, evaluate_with, mean_actor
from silri.rewards.judge import Judge
from silri.runtime.acting.autonomous import autonomous_in, noted
from silri.runtime.acting.faults import FaultLog
from silri.runtime.acting.filming import Film
from silri.runtime.acting.judging import judge_of
from silri.runtime.acting.rollout import Outcome
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.starting.contract import close_env

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation came to.

    Attributes:
        success: share of the episodes that succeeded; None if nothing says what success is.
        interval: its 95 % Wilson interval, (low, high); None likewise.
        mean_return: undiscounted, mean over the episodes.
        episodes: how many.
        faults: in how many the environment broke; they count as failures.
        successes, returns, lengths: (episodes,) each.
    """

    success: float | None
    interval: tuple[float, float] | None
    mean_return: float
    episodes: int
    faults: int
    successes: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray

    def __str__(self) -> str:
        if self.success is None or self.interval is None:
            return f"mean return {self.mean_return:.4g} of {self.episodes} episodes"
        low, high = self.interval
        return f"success {self.success:.2f} [{low:.2f}, {high:.2f}] of {self.episodes} episodes"


def evaluate(
    policy: Policy | str | Path | Callable[[Observation], Any] | Any,
    env: Any = None,
    episodes: int = 50,
    *,
    first_layout: int | None = None,
) -> Evaluation:
    """Let a policy act on its own, on layouts that training never sees.

    Args:
        policy: a :class:`Policy`, a run (its folder, or what :func:`silri.train` returned), or any
            function of an observation that gives an action in [-1, 1].
        env: a name, an environment object, or what :func:`silri.make_env` made; it is not closed.
            None: a new one of the policy's run.
        episodes: how many layouts.
        first_layout: number of the first; None takes the one of the policy's run.

    Raises:
        ConfigError: the policy was trained for other observations or actions, or there is no
            environment: a run that was made with an object needs it again.
        EnvironmentFault: ten episodes in a row ended with an exception.

    Example::

        result = silri.evaluate("runs/mine", episodes=20)
        print(result.success, result.interval, result.mean_return)
    """
    if not isinstance(episodes, int | np.integer):
        raise ConfigError(f"episodes takes a whole number, got {episodes!r}")
    if episodes < 1:
        raise ConfigError(f"episodes takes 1 or more, got {episodes}")
    path = getattr(policy, "folder", policy)
    known = policy if isinstance(policy, Policy) else None
    if known is None and isinstance(path, str | Path):
        known = load(path)
    if known is None and env is None:
        raise ConfigError("evaluate needs an env for a policy that comes from no run")
    opened = _open(known, env)
    if known is not None:
        _check_fits(known, opened)
        actor, first = mean_actor(known.acting), known.config.evaluation.first_layout
    else:
        actor, first = _actor(policy), 0
    if first_layout is not None:
        first = first_layout
    log = None
    if known is not None and (known.folder / "config.json").is_file():
        log = RunFolder(known.folder).errors
    faults = FaultLog(opened.env_spec.name, log, _LOG.warning)
    try:
        judge = None if known is None else judge_of(known.config, opened.env_spec, known.folder)
        result = measure(opened, actor, episodes, first, faults, judge)
    finally:
        if env is None or isinstance(env, str):
            close_env(opened, _LOG.warning)
    if result.faults.any():
        _LOG.warning("%d of %d episodes broke: %s", result.faults.sum(), episodes, faults.last)
    return _as_told(result)


def measure(
    env: Env,
    actor: Actor,
    episodes: int,
    first: int,
    faults: FaultLog,
    judge: Judge | None = None,
    film: Film | None = None,
) -> EvaluationResult:
    """Episodes of ``actor`` alone; what breaks is noted in ``faults``, and ``judge`` watches.

    Args:
        env: where.
        actor: decides.
        episodes: how many.
        first: number of the first layout.
        faults: is told of every episode.
        judge: says beside the environment what was a success.
        film: makes videos of them.

    Raises:
        EnvironmentFault: ten in a row ended with an exception. A simulation that diverges is the
            policy's failure, and no exception of somebody's code.
    """

    def note(builder: EpisodeBuilder, outcome: Outcome) -> None:
        which = f"evaluation episode {builder.episode_id}"
        faults.note(which, outcome)
        if outcome.traceback:
            faults.check(which, outcome, "evaluate again")

    drive = noted(autonomous_in(env, judge=judge), note)
    if film is not None:
        drive = film.of(drive)
    result = evaluate_with(env.env_spec, drive, actor, episodes, first)
    assert result is not None  # nobody stops it
    return result


def _open(policy: Policy | None, env: Any) -> Env:
    if env is not None:
        return make_env(env)
    assert policy is not None
    return policy.config.create_env()


def _check_fits(policy: Policy, env: Env) -> None:
    ours, theirs = policy.spec, env.env_spec
    if (dict(ours.observation), ours.action) != (dict(theirs.observation), theirs.action):
        raise ConfigError(
            f"the policy was trained on {ours.name}, whose observations or actions differ from "
            f"{theirs.name}'s"
        )


def _actor(policy: Any) -> Actor:
    if not callable(policy):
        raise ConfigError(f"evaluate takes a policy, a run or a function, got {policy!r}")

    def act(observation: Observation, episode: int, step: int) -> np.ndarray:
        del episode, step
        return numbers("the action of the policy", policy(observation)).astype(np.float32)

    return act


def _as_told(result: EvaluationResult) -> Evaluation:
    metrics = result.metrics()
    judged = "judged" not in metrics
    return Evaluation(
        success=metrics["success_rate"] if judged else None,
        interval=(metrics["ci_low"], metrics["ci_high"]) if judged else None,
        mean_return=metrics["mean_return"],
        episodes=len(result.successes),
        faults=int(result.faults.sum()),
        successes=result.successes,
        returns=result.returns,
        lengths=result.lengths,
    )
