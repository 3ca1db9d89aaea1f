"""What a run starts from: its operator, its demonstrations, a policy that was trained before."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from silri.agents.base import Agent
from silri.agents.registry import load_agent
from silri.agents.residual import Base, create_agent, frozen
from silri.agents.start import start_from
from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.commands import CommandQueue
from silri.core.errors import ConfigError
from silri.core.events import Event, Notice
from silri.core.protocols import Env, Operator
from silri.core.specs import EnvSpec
from silri.data.episode import Episode
from silri.intervention.operators import OperatorContext
from silri.intervention.registry import create_operator
from silri.runtime.acting.demos import (
    import_dataset,
    record_demonstrations,
    set_aside,
    telling,
)
from silri.runtime.acting.faults import FaultLog
from silri.runtime.keeping.export import (
    DESCRIPTION,
    describe_policy,
    load_policy,
    policy_folder,
)
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


def corrected_base(config: RunConfig, sight: Sight, own: Path | None = None) -> Base | None:
    """The policy that the run's agent corrects; None if it acts alone.

    ``sight`` takes that policy's eyes, if it is not fitted yet.

    Args:
        config: of the run.
        sight: of the run.
        own: folder of the run's own policy, which has the base within once the run has begun.

    Raises:
        DataError: there is no policy there.
        ConfigError: it observes or does something else, or sees by another encoder.
    """
    where = config.residual.base
    if where is None:
        return None
    if own is not None and (own / DESCRIPTION).is_file():
        if not sight.fitted:
            load_sight(sight, own)
        return load_policy(own)[0].agent.base
    folder = policy_folder(where)
    trained, of_base, spec = load_policy(folder)
    here, there = sight.spec, trained.sight
    if (spec.observation, spec.action) != (dict(here.observation), here.action):
        raise ConfigError(
            f"residual.base {where} was trained on {spec.name}, whose observations or actions "
            f"differ from {here.name}'s"
        )
    sight.check_identity(there.identity, f"residual.base {where}")
    if there.seen.observation != sight.seen.observation:
        raise ConfigError(
            f"residual.base {where} sees {_shapes(there)}; this run sees {_shapes(sight)}: give "
            "it the same --vision.X"
        )
    if not sight.fitted:
        load_sight(sight, folder)
    description = json.dumps(describe_policy(trained.agent, of_base, spec))
    return Base(frozen(trained.agent), config.residual.scale, description)


def _shapes(sight: Sight) -> dict[str, tuple[int, ...]]:
    return {key: array.shape for key, array in sight.seen.observation.items()}


def told_of_base(base: Base, where: str, demos: Sequence[Episode]) -> str:
    """What is to be said of a correction and of its scale, by demonstrations as replays have them.

    Args:
        base: what is corrected.
        where: it is from.
        demos: the run's.
    """
    said = f"the policy begins as that of {where}, and corrects it"
    beyond = [
        base.out_of_reach({key: value[:-1] for key, value in demo.observations.items()}, actions)
        for demo in demos
        for actions in (demo.frames["action"],)
    ]
    share = float(np.mean(np.concatenate(beyond))) if beyond else 0.0
    if not share:
        return said
    return (
        f"{said}; in {share:.1%} of the demonstrations' steps the person is further from it than "
        f"residual.scale {base.scale:g}: there it learns the nearest that it can do"
    )


def check_start(config: RunConfig, spec: EnvSpec) -> None:
    """Whether the policy to start from, or to correct, fits, before anything is written."""
    if config.start_from is None and config.residual.base is None:
        return
    at_rate = spec.at_rate(config.runtime.rate_hz)
    sight = Sight(config.vision, at_rate, config.language, config.vla)
    kind, base = load_agent(config.agent_name).agent, corrected_base(config, sight)
    agent = create_agent(kind, config.agent, sight.seen, 0, config.augment, base)
    started_from(config, agent, sight)


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
