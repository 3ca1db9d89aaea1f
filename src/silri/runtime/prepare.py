"""What a run starts from: its operator, its demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.commands import CommandQueue
from silri.core.errors import ConfigError
from silri.core.events import Event, Notice
from silri.core.protocols import Env, Operator
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import create_operator
from silri.runtime.demos import (
    import_dataset,
    record_demonstrations,
    set_aside,
    telling,
)
from silri.runtime.export import load_policy
from silri.runtime.faults import FaultLog
from silri.store.store import EpisodeStore


def make_operator(config: RunConfig, env: Env) -> Operator:
    """The run's operator, with the scripted expert or the policy of ``config.expert_run``.

    Raises:
        ConfigError: that policy was trained for other observations or actions.
        DataError: there is no policy there.
    """
    expert = None
    if config.expert_run is not None:
        trained, _, spec = load_policy(Path(config.expert_run) / "policy")
        if (spec.observation, spec.action) != (dict(env.env_spec.observation), env.env_spec.action):
            raise ConfigError(
                f"expert_run {config.expert_run} was trained on {spec.name}, whose observations or "
                f"actions differ from {env.env_spec.name}'s"
            )
        expert = trained.act_deterministic
    return create_operator(config.operator, OperatorContext.of(env, config.operator_name, expert))


def collect_demonstrations(
    config: RunConfig,
    env: Env,
    operator: Operator,
    store: EpisodeStore,
    stop: Callable[[], bool],
    clock: Clock,
    commands: CommandQueue | None = None,
    notify: Callable[[Event], None] = lambda event: None,
    faults: FaultLog | None = None,
) -> int:
    """Fill ``store`` with the run's demonstrations; goes on where an earlier session stopped.

    ``notify`` is told of every attempt: its beginning, its steps and its end.

    Returns:
        The id of the first training episode. It is there already if training has begun and its
        checkpoints are gone.
    """
    if config.data.dataset is not None:
        return import_dataset(Path(config.data.dataset), store, config.sparse_rewards)
    if config.data.demos and all(row.is_demo for row in store.rows):
        for episode in record_demonstrations(
            env,
            operator,
            config.operator_name,
            count=config.data.demos,
            seed=config.seed,
            known_seeds={row.seed for row in store.rows},
            first_id=store.next_episode_id,
            stop=stop,
            clock=clock,
            commands=commands,
            success_reward=config.env.success_reward if config.sparse_rewards else None,
            # Whoever demonstrates knows what success is; training's environment ends at none.
            end_on_success=config.reward.model is not None,
            **telling(notify),
            broken=None
            if faults is None
            else set_aside(store, faults, lambda text: notify(Notice(0, text))),
        ):
            store.commit(episode)
    demos = [row.episode_id for row in store.rows if row.is_demo]
    demos += [entry.episode_id for entry in store.quarantined() if entry.is_demo]
    return max(demos, default=-1) + 1
