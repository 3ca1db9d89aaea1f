"""What learning in a run folder needs, whoever acts: agent, replay, checkpoints, curves, clocks.

:class:`~silri.runtime.local.LocalRun` acts and learns in one process;
:class:`~silri.runtime.cluster.learner.Learner` learns from what robots send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from silri.agents.base import Agent
from silri.agents.registry import load_agent
from silri.configs.run import RunConfig
from silri.core.clock import Clock, MonotonicClock
from silri.core.events import (
    CheckpointSaved,
    EpisodeFinished,
    Evaluated,
    Event,
    LearnerUpdated,
    Notice,
    Subscriber,
)
from silri.core.seeding import Stream, derive_seed
from silri.core.specs import EnvSpec
from silri.data.episode import Episode
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.data.statistics import observation_statistics
from silri.nn.normalizer import Normalizer
from silri.runtime.checkpoint import CheckpointStore
from silri.runtime.export import export_policy
from silri.runtime.folder import RunFolder
from silri.runtime.learn import learn, learn_guidance, pretrain, reward_scale
from silri.runtime.metrics import MetricsWriter
from silri.runtime.state import RunState

Evaluate = Callable[[Agent], dict[str, float]]  # success_rate, successes, episodes, ...
Summarise = Callable[[RunConfig, RunState], dict[str, Any]]


class Interrupted(Exception):
    """The run was asked to stop; everything that counts is saved."""


class Session:
    """One process that learns in a run folder.

    Attributes:
        config, folder, spec: of the run.
        state: counters.
        agent: the newest parameters.
        mixer: the replays.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        spec: EnvSpec,
        *,
        evaluate: Evaluate,
        summarise: Summarise,
        subscribers: Sequence[Subscriber] = (),
        stop: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        self.config, self.folder, self.spec, self.state = config, folder, spec, RunState()
        self._evaluate, self._summarise, self._stop = evaluate, summarise, stop
        self._subscribers = list(subscribers)
        self._clock = clock or MonotonicClock()
        self._entry = load_agent(config.agent_name)
        self.checkpoints = CheckpointStore(folder.checkpoints, keep=config.runtime.checkpoints_kept)
        own = config.agent.own_fraction
        horizon = config.agent.horizon
        self.mixer = Mixer(
            Replay(config.data.online_capacity, spec, horizon=horizon),
            Replay(config.data.guidance_capacity, spec, horizon=horizon),
            config.agent.batch_size,
            config.agent.online_fraction,
            Replay(config.data.guidance_capacity, spec, horizon=horizon) if own else None,
            own,
            config.agent.imitate,
        )
        self.agent: Agent
        self._metrics: MetricsWriter | None = None
        self._last_info: tuple[Any, dict[str, float]] = ({}, {})
        self._last_checkpoint = 0
        self._human_now = 0  # human-driven steps of the running episode
        self._started = self._clock.now()
        self._wall_before = 0.0

    # -- starting -----------------------------------------------------------------------------

    def _load(self) -> bool:
        """A fresh agent, or the newest checkpoint: True if there was one."""
        seed = derive_seed(self.config.seed, Stream.NETWORK_INIT)
        self.agent = self._entry.agent.create(self.config.agent, self.spec, None, seed)
        loaded = self.checkpoints.load_newest(self.agent)
        if loaded is None:
            return False
        self.agent, self.state = loaded.arrays, RunState.from_json(loaded.state)
        self._wall_before = self.state.wall_s
        for message in loaded.messages:
            self._notify(Notice(self.state.env_steps, message))
        return True

    def _start_learning(self, episodes: Iterable[Episode], *, resuming: bool) -> None:
        """Curves, replay, and for a fresh agent statistics and offline training.

        Args:
            episodes: the stored ones that the state has counted, demonstrations included.
            resuming: a checkpoint was loaded.
        """
        self._last_checkpoint = self.state.env_steps
        self._metrics = MetricsWriter(
            self.folder.metrics,
            self.folder.tensorboard if self.config.runtime.tensorboard else None,
            self._wall_s,
            resume_step=self.state.env_steps if resuming else -1,
            resume_rows=self.state.metrics_rows,
        )
        self._subscribers.insert(0, self._metrics)
        demos = []
        for episode in episodes:
            self.mixer.add(episode)
            if episode.is_demo:
                demos.append(episode)
        if not resuming:
            self.state.demo_episodes = len(demos)
            self.state.demo_steps = sum(len(episode) for episode in demos)
        # Of the demonstrations that the run began with: the unit is the same after a resumption.
        known = demos[: self.state.demo_episodes]
        self.mixer.reward_scale = reward_scale(self.config.agent, known)
        if not resuming:
            if demos:
                statistics = observation_statistics(demos, floor=self.config.data.std_floor)
                unit = self.agent.normalizer.unit
                normalizer = Normalizer.create(self.spec, statistics, unit)
                self.agent = self.agent.replace(normalizer=normalizer)
            self._learn_offline()
        self._remember()
        if not resuming:
            self._checkpoint()

    def _learn_offline(self) -> None:
        """Pre-training on demonstrations, and learner iterations on a dataset alone."""
        if len(self.mixer.guidance):
            self.agent, info = pretrain(self.agent, self.mixer, self.config.seed, self._stop)
            if info:
                metrics = {f"pretrain/{name}": float(value) for name, value in info.items()}
                self._notify(LearnerUpdated(0, metrics))
        elif self.config.agent.pretrain_steps:
            self._notify(Notice(0, "no demonstrations: pre-training is skipped"))
        for _ in range(self.config.offline_updates):
            if self._stop():
                break
            self._iterate()
            if self.state.updates % self.config.runtime.log_every == 0:
                self._log_learner()
        if self._stop():
            raise Interrupted

    # -- learning -----------------------------------------------------------------------------

    def _iterate(self) -> None:
        self.agent, info, mix = learn(self.agent, self.mixer, self.config.seed, self.state.updates)
        self.state.updates += 1
        self._last_info = (info, mix)

    def _log_learner(self) -> None:
        info, mix = self._last_info
        if info:
            metrics = {name: float(value) for name, value in jax.device_get(info).items()}
            self._notify(LearnerUpdated(self.state.env_steps, metrics | mix))

    def _take_in(self, episode: Episode) -> dict[str, float]:
        """Count a stored training episode and put it into the replay; its statistics."""
        stats = episode.stats()
        before = self.state.intervention_steps
        self._human_now = 0  # they count with the episode now
        self.mixer.add(episode)
        self.state.episodes += 1
        self.state.intervention_steps += int(stats["intervention_steps"])
        self.state.interventions += int(stats["interventions"])
        self.agent, _ = learn_guidance(
            self.agent, self.mixer, self.config.seed, before, self.state.intervention_steps
        )
        self._notify(EpisodeFinished(self.state.env_steps, episode.episode_id, stats))
        return stats

    def _run_evaluation(self) -> None:
        jax.block_until_ready(self.agent)
        started = self._clock.now()
        metrics = self._evaluate(self.agent)
        self.state.eval_wall_s += self._clock.now() - started
        record = {
            "step": self.state.env_steps,
            "intervention_steps": self.state.intervention_steps + self._human_now,
            **metrics,
        }
        self.state.evaluations.append(record)
        self._notify(Evaluated(self.state.env_steps, metrics))
        self._update_clocks()
        export_policy(self.agent, self.config, self.spec, self.folder.policy)
        self.folder.write_summary(self._summarise(self.config, self.state))

    # -- saving -------------------------------------------------------------------------------

    def _remember(self) -> None:
        """Hold on to this moment: agents are immutable, so a snapshot costs nothing."""
        self._update_clocks()
        self.state.metrics_rows = 0 if self._metrics is None else self._metrics.rows
        self._snapshot = (self.agent, self.state.to_json())

    def _checkpoint(self) -> None:
        agent, state = self._snapshot
        path = self.checkpoints.save(state["env_steps"], agent, state)
        self._last_checkpoint = state["env_steps"]
        self._notify(CheckpointSaved(state["env_steps"], str(path)))

    def _finish(self) -> dict[str, Any]:
        """The last evaluation, checkpoint and summary."""
        jax.block_until_ready(self.agent)
        evaluations = self.state.evaluations
        if not evaluations or evaluations[-1]["step"] != self.state.env_steps:
            self._run_evaluation()
        self._remember()
        self._checkpoint()
        summary = self._summarise(self.config, self.state)
        self.folder.write_summary(summary)
        return summary

    def _close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()

    def _update_clocks(self) -> None:
        self.state.wall_s = self._wall_s()
        self.state.train_wall_s = max(0.0, self.state.wall_s - self.state.eval_wall_s)

    def _wall_s(self) -> float:
        return self._wall_before + self._clock.now() - self._started

    def _notify(self, event: Event) -> None:
        for subscriber in self._subscribers:
            subscriber.on_event(event)
