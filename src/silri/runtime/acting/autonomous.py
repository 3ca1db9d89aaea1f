"""Episodes in which the policy is on its own: what an evaluation is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from silri.core.clock import Clock, MonotonicClock
from silri.core.protocols import Env, Policy
from silri.core.specs import EnvSpec
from silri.data.episode import EpisodeBuilder
from silri.intervention.arbiter import Arbiter
from silri.rewards.judge import Judge
from silri.runtime.acting.rollout import Outcome, rollout
from silri.vision.sighted import Sighted

Drive = Callable[[Policy, EpisodeBuilder], Outcome]  # one episode without an operator
# success_rate, successes, episodes, ... of an agent; None if the run is to stop
Evaluate = Callable[[Sighted, EnvSpec, Drive], Mapping[str, float] | None]


def autonomous_in(
    env: Env,
    stop: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
    judge: Judge | None = None,
) -> Drive:
    """Episodes in ``env`` that nobody sends commands to; ``judge`` watches them."""
    arbiter, clock = Arbiter(env.env_spec.action, blend_steps=0), clock or MonotonicClock()

    def drive(policy: Policy, builder: EpisodeBuilder) -> Outcome:
        return rollout(
            env,
            policy,
            None,
            arbiter,
            builder,
            rng=np.random.default_rng(0),
            on_step=lambda *_: None,
            stop=stop,
            clock=clock,
            judge=judge,
        )

    return drive


def noted(drive: Drive, note: Callable[[EpisodeBuilder, Outcome], None]) -> Drive:
    """``drive``, whose every episode ``note`` is told of."""

    def driven(policy: Policy, builder: EpisodeBuilder) -> Outcome:
        outcome = drive(policy, builder)
        note(builder, outcome)
        return outcome

    return driven
