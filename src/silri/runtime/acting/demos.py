"""Recording demonstrations: episodes that the operator drives alone. Needs no JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from silri.core.clock import Clock, MonotonicClock
from silri.core.commands import CommandQueue
from silri.core.errors import ConfigError, DataError, EnvironmentFault
from silri.core.events import (
    DemonstrationStep,
    EpisodeBegan,
    EpisodeEnded,
    EpisodeKind,
    Event,
    Notice,
)
from silri.core.protocols import Env, HasDemonstrator, Operator
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import Observation
from silri.core.transition import Transition
from silri.data.episode import Episode, EpisodeBuilder
from silri.intervention.arbiter import Arbiter
from silri.runtime.acting.faults import FaultLog
from silri.runtime.acting.rollout import OnBegin, Outcome, rollout
from silri.runtime.starting.contract import required
from silri.store.dataset import read_dataset
from silri.store.store import EpisodeStore

OnBroken = Callable[[int, EpisodeBuilder, Outcome], None]  # of every attempt, broken or not
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


def telling(notify: Callable[[Event], None]) -> dict[str, Any]:
    """What :func:`record_demonstrations` takes, so that ``notify`` hears of every attempt."""
    kind: EpisodeKind = "demonstration"
    return {
        "refused": lambda text: notify(Notice(0, text)),
        "on_step": lambda transition, _: notify(DemonstrationStep(transition)),
        "on_begin": lambda builder, observation: notify(
            EpisodeBegan(0, builder.episode_id, kind, builder.seed, builder.task, observation)
        ),
        "on_end": lambda builder, outcome: notify(
            EpisodeEnded(0, builder.episode_id, kind, outcome.end, outcome.success)
        ),
    }


def demonstrator_of(operator: Operator) -> Operator:
    """Who drives when ``operator`` demonstrates: a device does itself.

    Raises:
        ConfigError: it cannot demonstrate.
    """
    return operator.demonstrator() if isinstance(operator, HasDemonstrator) else operator


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
    on_step: Callable[[Transition, Mapping[str, float]], None] = lambda *_: None,
    commands: CommandQueue | None = None,
    success_reward: float | None = None,
    refused: Callable[[str], None] = lambda text: None,
    on_begin: OnBegin = lambda builder, observation: None,
    on_end: Callable[[EpisodeBuilder, Outcome], None] = lambda builder, outcome: None,
    end_on_success: bool = False,
    broken: OnBroken | None = None,
    found: int | None = None,
    keep_failures: bool = False,
) -> Iterator[Episode]:
    """Yield successful demonstrations until there are ``count`` with those already known.

    Attempt ``i`` has the layout and the operator of (seed, i), so recording that was interrupted
    goes on where it was: attempts whose layout is in ``known_seeds`` are skipped, failed ones fail
    again. ``commands``, ``success_reward``, ``refused``, ``on_begin`` and ``end_on_success`` are
    those of :func:`~silri.runtime.acting.rollout.rollout`; an episode that a person abandons or
    discards is no demonstration. After RESET the same layout comes again, after DISCARD the next
    one. ``on_end`` is told how each attempt ended, before its episode is yielded, and so is
    ``broken`` with the attempt's number: after one that broke the next follows.

    ``keep_failures`` also yields failed attempts, as episodes that are no demonstrations; they do
    not count. ``found`` is how many of ``known_seeds`` succeeded, None for all.

    Raises:
        ConfigError: if the operator cannot demonstrate, or fails :data:`ATTEMPTS_PER_DEMO` times
            as often as wanted.
        EnvironmentFault: an attempt broke and ``broken`` is None, or raises this.
    """
    with required("operator.demonstrator"):
        demonstrator = demonstrator_of(operator)
    arbiter, policy = Arbiter(env.env_spec.action, blend_steps=0), NeutralPolicy(env)
    found = len(known_seeds) if found is None else found
    episode_id, attempt = first_id, 0
    while found < count and attempt < count * ATTEMPTS_PER_DEMO:
        layout = derive_seed(seed, Stream.DEMO_LAYOUT, attempt)
        if layout in known_seeds:
            attempt += 1
            continue
        task = env.env_spec.name
        builder = EpisodeBuilder(env.env_spec, episode_id, True, layout, task, operator_name)
        outcome = rollout(
            env, policy, demonstrator, arbiter, builder,
            rng=rng(seed, Stream.DEMO_OPERATOR, attempt),
            on_step=on_step, stop=stop, clock=clock or MonotonicClock(), commands=commands,
            success_reward=success_reward, refused=refused, on_begin=on_begin,
            end_on_success=end_on_success,
        )  # fmt: skip
        on_end(builder, outcome)
        if broken is not None:
            broken(attempt, builder, outcome)
        elif outcome.end == "fault":
            raise EnvironmentFault(f"demonstration attempt {attempt}: {outcome.reason}")
        if outcome.end == "stopped":
            return
        attempt += outcome.end != "abandoned"  # after that the same layout comes again
        if outcome.end == "finished" and (outcome.success or keep_failures):
            found += outcome.success
            episode_id += 1
            # Nobody is to imitate a failure: it is no demonstration.
            builder.is_demo = outcome.success
            yield builder.build(success=outcome.success)
    if found < count:
        tried = f"succeeded in {found} of {attempt} attempts on {env.env_spec.name}"
        raise ConfigError(
            f"operator '{operator_name}' {tried}; {count} demonstrations are wanted. "
            "Choose a better operator, a smaller env.reset_range, or fewer data.demos"
        )


def set_aside(
    store: EpisodeStore | None, faults: FaultLog, notify: Callable[[str], None]
) -> OnBroken:
    """What to do with an attempt that broke: keep it aside, say why, and try again.

    Args:
        store: what was done until then is kept in its quarantine, without a number of its own: a
            run that is resumed numbers its episodes as if it had not been stopped. None: nowhere.
        faults: keeps the traceback, and gives up after ten in a row.
        notify: told of the reason.
    """

    def broken(attempt: int, builder: EpisodeBuilder, outcome: Outcome) -> None:
        what = f"demonstration attempt {attempt}"
        faults.note(what, outcome)
        if outcome.end != "fault":
            return
        notify(f"{what} is set aside: {outcome.reason}")
        if store is not None and len(builder):
            store.set_attempt_aside(builder.build(success=False), outcome.reason)
        faults.check(what, outcome, "go on with the same command, or with --resume")

    return broken


def import_dataset(
    folder: Path, store: EpisodeStore, rewards: Sequence[float] | None = None
) -> int:
    """Copy every episode of a dataset, so that the run is whole without it; returns how many.

    Args:
        folder: of the dataset.
        store: of the run; goes on where an earlier import has stopped.
        rewards: of a step and of a success, where the environment's rewards are sparse: the copies
            have them, too. A critic that learns from 1 for a demonstrated success and from 10 for
            one of its own would take the first for a failure. None keeps the dataset's.

    Raises:
        DataError: there is no dataset, or nothing in it, or it does not fit the store.
    """
    episodes = read_dataset(folder, store.spec)
    if not episodes:
        raise DataError(f"{folder} holds no episode; record some with 'silri record'")
    for episode in episodes[len(store) :]:
        if rewards is not None:
            episode = _with_rewards(episode, *rewards)
        store.commit(dataclasses.replace(episode, episode_id=store.next_episode_id))
    return len(episodes)


def _with_rewards(episode: Episode, step: float, success: float) -> Episode:
    reward = np.full_like(episode.frames["reward"], step)
    if episode.success:
        reward[-1] = success
    return dataclasses.replace(episode, frames={**episode.frames, "reward": reward})
