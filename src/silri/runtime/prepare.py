"""What a run starts from: its operator, its demonstrations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.errors import ConfigError, DataError
from silri.core.protocols import Env, Operator
from silri.data.dataset import read_dataset
from silri.data.episode import Episode
from silri.data.store import EpisodeStore
from silri.envs.config import EnvConfig
from silri.runtime.demos import record_demonstrations
from silri.runtime.export import load_policy


def make_operator(config: RunConfig, env: Env, *, demonstrating: bool = False) -> Operator:
    """The run's operator, with the scripted expert or the policy of ``config.expert_run``.

    Raises:
        ConfigError: that policy was trained for other observations or actions.
        DataError: there is no policy there.
    """
    expert = None
    if config.expert_run is not None:
        agent, _, spec = load_policy(Path(config.expert_run) / "policy")
        if (spec.observation, spec.action) != (dict(env.env_spec.observation), env.env_spec.action):
            raise ConfigError(
                f"expert_run {config.expert_run} was trained on {spec.name}, whose observations or "
                f"actions differ from {env.env_spec.name}'s"
            )
        expert = agent.act_deterministic
    return config.operator.create(
        env.env_spec.action,
        demonstrating,
        max_episode_steps=env.env_spec.max_episode_steps,
        expert=expert,
    )


def collect_demonstrations(
    config: RunConfig, env: Env, store: EpisodeStore, stop: Callable[[], bool], clock: Clock
) -> int:
    """Fill ``store`` with the run's demonstrations; goes on where an earlier session stopped.

    Returns:
        The id of the first training episode. It is there already if training has begun and its
        checkpoints are gone.
    """
    if config.data.dataset is not None:
        return _import_dataset(Path(config.data.dataset), store, config.env)
    if config.data.demos and all(row.is_demo for row in store.rows):
        for episode in record_demonstrations(
            env,
            make_operator(config, env, demonstrating=True),
            config.operator.name,
            count=config.data.demos,
            seed=config.seed,
            known_seeds={row.seed for row in store.rows},
            first_id=store.next_episode_id,
            stop=stop,
            clock=clock,
        ):
            store.commit(episode)
    demos = [row.episode_id for row in store.rows if row.is_demo]
    demos += [entry.episode_id for entry in store.quarantined() if entry.is_demo]
    return max(demos, default=-1) + 1


def _import_dataset(folder: Path, store: EpisodeStore, env: EnvConfig) -> int:
    """Copy every episode of a dataset, so that the run is whole without it; returns how many.

    Where the environment's rewards are sparse the copies have them, too: a critic that learns
    from 1 for a demonstrated success and from 10 for one of its own would take the first for a
    failure.
    """
    episodes = read_dataset(folder, store.spec)
    if not episodes:
        raise DataError(f"{folder} holds no episode; record some with 'silri record'")
    for episode in episodes[len(store) :]:
        if env.sparse:
            episode = _with_sparse_rewards(episode, env)
        store.commit(dataclasses.replace(episode, episode_id=store.next_episode_id))
    return len(episodes)


def _with_sparse_rewards(episode: Episode, env: EnvConfig) -> Episode:
    reward = np.full_like(episode.frames["reward"], env.step_reward)
    if episode.success:
        reward[-1] = env.success_reward
    return dataclasses.replace(episode, frames={**episode.frames, "reward": reward})
