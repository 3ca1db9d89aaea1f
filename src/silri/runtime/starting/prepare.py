"""What a run starts from: its operator, its demonstrations, a policy that was trained before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from silri.agents.base import Agent
from silri.agents.registry import load_agent
from silri.agents.start import start_from
from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.commands import CommandQueue
from silri.core.errors import ConfigError
from silri.core.events import Event, Notice
from silri.core.protocols import Env, Operator
from silri.core.specs import EnvSpec
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import create_operator
from silri.runtime.acting.demos import (
    import_dataset,
    record_demonstrations,
    set_aside,
    telling,
)
from silri.runtime.acting.faults import FaultLog
from silri.runtime.keeping.export import load_policy, policy_folder
from silri.store.store import EpisodeStore
from silri.vision.files import load_sight
from silri.vision.sight import Sight


def make_operator(config: RunConfig, env: Env, spool: Path | None = None) -> Operator:
    """The run's operator, with the scripted expert or the policy of ``config.expert_run``.

    ``spool`` is the robot's in a cluster run.

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
    return create_operator(
        config.operator, OperatorContext.of(env, config.operator_name, expert, spool)
    )


def started_from(config: RunConfig, agent: Agent, sight: Sight) -> tuple[Agent, list[str]]:
    """A fresh agent with the policy of ``config.start_from``, and what is to be said of that.

    ``sight`` takes that policy's eyes, if it is not fitted yet.

    Raises:
        DataError: there is no policy there.
        ConfigError: it is another network, observes or does something else, or sees by another
            encoder.
    """
    if config.start_from is None:
        return agent, []
    folder = policy_folder(config.start_from)
    trained, _, _ = load_policy(folder)
    if not sight.fitted:
        load_sight(sight, folder)
    agent, notes = start_from(agent, trained.agent, config.start_from)
    return agent, [f"the policy begins as that of {config.start_from}", *notes]


def check_start(config: RunConfig, spec: EnvSpec) -> None:
    """Whether the policy to start from fits, before anything is written: see started_from."""
    if config.start_from is None:
        return
    sight = Sight(config.vision, spec.at_rate(config.runtime.rate_hz))
    kind = load_agent(config.agent_name).agent
    started_from(config, kind.create(config.agent, sight.seen, 0, config.augment), sight)


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
