"""Recording demonstrations: episodes that the operator drives alone. Needs no JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from silri.core.clock import Clock, MonotonicClock
from silri.core.errors import ConfigError, EnvironmentFault
from silri.core.protocols import Env, Operator
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import Observation
from silri.core.transition import Transition
from silri.data.episode import Episode, EpisodeBuilder
from silri.intervention.arbiter import Arbiter
from silri.runtime.rollout import rollout

ATTEMPTS_PER_DEMO = 50  # an operator that fails more often cannot show the task


class NeutralPolicy:
    """Proposes to stand still: there is no policy yet."""

    version = 0

    def __init__(self, env: Env) -> None:
        self._action = np.zeros(env.env_spec.action.size, np.float32)

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Zero motion."""
        del observation, episode, step
        return self._action, {}


def record_demonstrations(
    env: Env,
    operator: Operator,
    operator_name: str,
    *,
    count: int,
    seed: int,
    known_seeds: set[int],
    first_id: int,
    stop: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
    on_step: Callable[[Transition, Mapping[str, float]], None] = lambda transition, diagnostics: (
        None
    ),
) -> Iterator[Episode]:
    """Yield successful demonstrations until there are ``count`` with those already known.

    Attempt ``i`` has the layout and the operator of (seed, i), so recording that was interrupted
    goes on where it was: attempts whose layout is in ``known_seeds`` are skipped, failed ones fail
    again.

    Raises:
        ConfigError: if the operator fails :data:`ATTEMPTS_PER_DEMO` times as often as wanted.
        EnvironmentFault: if the environment breaks in one; a demonstration is never quarantined
            silently.
    """
    arbiter, policy = Arbiter(env.env_spec.action, blend_steps=0), NeutralPolicy(env)
    found, episode_id = len(known_seeds), first_id
    for attempt in range(max(count, 1) * ATTEMPTS_PER_DEMO):
        if found >= count:
            return
        layout = derive_seed(seed, Stream.DEMO_LAYOUT, attempt)
        if layout in known_seeds:
            continue
        builder = EpisodeBuilder(
            env.env_spec, episode_id, True, layout, env.env_spec.name, operator_name
        )
        outcome = rollout(
            env,
            policy,
            operator,
            arbiter,
            builder,
            rng=rng(seed, Stream.DEMO_OPERATOR, attempt),
            on_step=on_step,
            stop=stop,
            clock=clock or MonotonicClock(),
        )
        if outcome.end == "fault":
            raise EnvironmentFault(f"demonstration attempt {attempt}: {outcome.reason}")
        if outcome.end == "stopped":
            return
        if outcome.end == "finished" and outcome.success:
            found += 1
            episode_id += 1
            yield builder.build(success=True)
    if found < count:
        raise ConfigError(
            f"operator '{operator_name}' succeeded in {found} of {attempt + 1} attempts on "
            f"{env.env_spec.name}; {count} demonstrations are wanted. Choose a better operator, a "
            "smaller env.reset_range, or fewer data.demos"
        )
