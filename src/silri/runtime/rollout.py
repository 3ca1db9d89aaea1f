"""THE loop: observe, propose, arbitrate, step, fold, notify. It knows nothing of learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from silri.core.clock import Clock
from silri.core.errors import EnvironmentFault, SpecError
from silri.core.protocols import Env, HasPrivileged, Operator, OperatorView, Policy
from silri.core.transition import Transition
from silri.data.episode import EpisodeBuilder
from silri.intervention.arbiter import Arbiter, Decision, Phase

FAULTS_IN_A_ROW = 10  # an environment that fails more often is broken, not unlucky
PAUSE_POLL_S = 0.02  # how often a paused loop asks its operator


@dataclass(frozen=True)
class Outcome:
    """How an episode ended.

    Attributes:
        end: ``finished`` (terminated or truncated), ``fault`` (to be quarantined: ``reason``
            says why), ``stopped`` (the run is stopping) or ``abandoned`` (an operator's reset).
        success: the task was done.
        reason: of a fault.
    """

    end: Literal["finished", "fault", "stopped", "abandoned"]
    success: bool = False
    reason: str = ""


def rollout(
    env: Env,
    policy: Policy,
    operator: Operator,
    arbiter: Arbiter,
    builder: EpisodeBuilder,
    *,
    rng: np.random.Generator,
    on_step: Callable[[Transition, Mapping[str, float]], None],
    stop: Callable[[], bool],
    clock: Clock,
) -> Outcome:
    """Run one episode into ``builder``.

    Args:
        env: reset with ``builder.seed``.
        policy: proposes an action in each step.
        operator: may ask for control in each step; sees ``env.privileged()`` where there is one.
        arbiter: decides what is executed.
        builder: folds the steps; what it holds at the end is the episode.
        rng: of the operator in this episode.
        on_step: told of every folded step.
        stop: asked before every step.
        clock: for waiting while paused.

    Returns:
        How it ended. Values that are not finite or do not fit the spec are an outcome, not an
        exception: the steps before them stay in ``builder``.
    """
    privileged = env.privileged if isinstance(env, HasPrivileged) else lambda: None
    operator.begin_episode(rng)
    arbiter.begin_episode()
    try:
        observation, _ = env.reset(seed=builder.seed)
        observation = env.env_spec.validate_observation(observation)
        for step in range(env.env_spec.max_episode_steps):
            if stop():
                return Outcome("stopped")
            proposed, diagnostics = policy.propose(observation, builder.episode_id, step)
            in_control = arbiter.phase is Phase.HUMAN
            asked = diagnostics.get("ask", 0.0) > 0.5
            view = OperatorView(observation, proposed, privileged(), step, in_control, asked)
            decision = _decide(arbiter, operator, view, stop, clock)
            if decision is None or decision.phase is Phase.RESETTING:
                return Outcome("stopped" if decision is None else "abandoned")
            following, reward, terminated, truncated, info = env.step(decision.executed)
            following = env.env_spec.conform_observation(following)
            transition = Transition(
                observation=observation,
                action=decision.executed,
                policy_action=proposed,
                human_action=decision.human_action,
                human_weight=decision.human_weight,
                reward=float(reward),
                next_observation=following,
                terminated=bool(terminated),
                truncated=bool(truncated) and not terminated,
                is_intervention=decision.is_intervention,
                grasp_penalty=float(info["grasp_penalty"]),
                episode_id=builder.episode_id,
                step=step,
                policy_version=policy.version,
            )
            builder.add(transition, diagnostics)
            observation = following  # finite, or the builder would have refused it
            on_step(transition, diagnostics)
            if terminated or truncated:
                return Outcome("finished", success=bool(info["success"]))
    except (SpecError, EnvironmentFault) as error:
        return Outcome("fault", reason=f"{type(error).__name__}: {error}")
    finally:
        arbiter.end_episode()
    return Outcome(
        "fault", reason=f"no end after {env.env_spec.max_episode_steps} steps: the spec's limit"
    )


def _decide(
    arbiter: Arbiter, operator: Operator, view: OperatorView, stop: Callable[[], bool], clock: Clock
) -> Decision | None:
    """One decision; while paused, wait for it. None if the run stops meanwhile."""
    while True:
        decision = arbiter.decide(view.policy_action, operator.decide(view))
        if decision.phase is not Phase.PAUSED:
            return decision
        if stop():
            return None
        clock.sleep(PAUSE_POLL_S)
