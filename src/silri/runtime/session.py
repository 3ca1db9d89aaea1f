"""What learning in a run folder needs, whoever acts: agent, replay, checkpoints, curves, clocks.

:class:`~silri.runtime.local.LocalRun` acts and learns in one process;
:class:`~silri.runtime.cluster.learner.Learner` learns from what robots send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import jax
import numpy as np

from silri.agents.base import Agent
from silri.agents.registry import load_agent
from silri.agents.residual import create_agent
from silri.agents.stages import Stage
from silri.configs.run import RunConfig
from silri.core.clock import Clock, MonotonicClock
from silri.core.errors import ConfigError
from silri.core.events import (
    CheckpointSaved,
    EpisodeFinished,
    Evaluated,
    EvaluationBegan,
    Event,
    LearnerUpdated,
    LearningAdvanced,
    LearningBegan,
    Notice,
    Subscriber,
)
from silri.core.seeding import Stream, derive_seed
from silri.core.specs import EnvSpec, Observation
from silri.data.episode import Episode
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.data.statistics import observation_statistics
from silri.nn.train_state import Info
from silri.runtime.keeping.checkpoint import CheckpointStore
from silri.runtime.keeping.export import export_policy
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.keeping.metrics import MetricsWriter
from silri.runtime.keeping.state import RunState
from silri.runtime.learn import CHUNK, learn, learn_from_guidance, reward_scale
from silri.runtime.starting.prepare import corrected_base, started_from, told_of_base
from silri.vision.files import load_sight, save_sight
from silri.vision.sight import Sight
from silri.vision.sighted import Sighted

TELL_EVERY = 10  # iterations of a stage between two words on how far it is
Summarise = Callable[[RunConfig, RunState], dict[str, Any]]


class Interrupted(Exception):
    """The run was asked to stop; everything that counts is saved."""


class Session:
    """One process that learns in a run folder.

    Attributes:
        config, folder, spec: of the run.
        state: counters.
        sight: what the agent and the replays see of an observation.
        agent: the newest parameters.
        mixer: the replays.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        spec: EnvSpec,
        *,
        summarise: Summarise,
        subscribers: Sequence[Subscriber] = (),
        stop: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        spec = spec.at_rate(config.runtime.rate_hz)
        self.config, self.folder, self.spec, self.state = config, folder, spec, RunState()
        self._summarise, self._stop = summarise, stop
        self._subscribers = list(subscribers)
        self._clock = clock or MonotonicClock()
        self._entry = load_agent(config.agent_name)
        self.checkpoints = CheckpointStore(folder.checkpoints, keep=config.runtime.checkpoints_kept)
        agent = config.agent
        self.sight = Sight(config.vision, spec, config.language, config.vla)
        seen, returns = self.sight.seen, (agent.columns, agent.n_step, agent.discount)
        self.mixer = Mixer(
            Replay(config.data.online_capacity, seen, *returns),
            Replay(config.data.guidance_capacity, seen, *returns),
            agent.batch_size,
            agent.online_fraction,
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
        config, seen = self.config, self.sight.seen
        base = corrected_base(config, self.sight, self.folder.policy)
        kind = self._entry.agent
        self.agent = create_agent(kind, config.agent, seen, seed, config.augment, base)
        loaded = self.checkpoints.load_newest(self.agent)
        if loaded is None:
            return False
        load_sight(self.sight, self.folder.policy, exact=True)
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
        if not resuming:
            self.agent, notes = started_from(self.config, self.agent, self.sight)
            for note in notes:
                self._notify(Notice(0, note))
        episodes, demos = self._see(episodes), []
        for episode in episodes:
            self.mixer.add(episode)
            if episode.is_demo:
                demos.append(episode)
        if not resuming:
            save_sight(self.sight, self.folder.policy)  # before any checkpoint that builds on it
            self._keep_base(demos)
            self.state.demo_episodes = len(demos)
            self.state.demo_steps = sum(len(episode) for episode in demos)
        # Of the demonstrations that the run began with: the unit is the same after a resumption.
        known = demos[: self.state.demo_episodes]
        self.mixer.reward_scale = reward_scale(self.config.agent, known)
        if not resuming:
            if demos and self.config.start_from is None:
                statistics = observation_statistics(demos, floor=self.config.data.std_floor)
                self.agent = self.agent.normalised_by(statistics)
            self._learn_offline()
        self._remember()
        if not resuming:
            self._checkpoint()

    def _see(self, episodes: Iterable[Episode]) -> Iterator[Episode]:
        """Stored episodes as replays take them; fresh eyes are fitted on the demonstrations."""
        if not self.sight.fitted:
            episodes = list(episodes)
            self._notify(Notice(0, "fitting what the cameras see on the demonstrations"))
            self.sight.fit([episode for episode in episodes if episode.is_demo])
        return map(self.sight.episode, episodes)

    def _keep_base(self, demos: Sequence[Episode]) -> None:
        """What is corrected, inside the run's own policy: a resumed run needs no other folder."""
        if self.agent.base is not None:
            export_policy(self.acting, self.config, self.spec, self.folder.policy)
            where = str(self.config.residual.base)
            self._notify(Notice(0, told_of_base(self.agent.base, where, demos)))

    def _learn_offline(self) -> None:
        """The stages of the schedule that come before the first step."""
        for stage in self.config.agent.stages:
            if stage.reset_optimisers:
                self.agent = self.agent.with_fresh_optimisers()
            if stage.updates:
                self._notify(LearningBegan(self.state.env_steps, stage.name, stage.updates))
            if stage.updates and stage.source == "guidance":
                self._learn_from_guidance(stage)
            elif stage.updates:
                self._learn_from_the_mix(stage)
            if self._stop():
                raise Interrupted

    def _learn_from_guidance(self, stage: Stage) -> None:
        if not len(self.mixer.guidance):
            self._notify(Notice(0, f"no demonstrations: the stage '{stage.name}' is skipped"))
            return
        info: Info = {}
        chunks = learn_from_guidance(self.agent, self.mixer, self.config.seed, stage, self._stop)
        for number, (agent, metrics) in enumerate(chunks, start=1):
            self.agent, info = agent, metrics
            self._tell_advance(stage, number * CHUNK)
        if info:
            named = {f"{stage.name}/{name}": float(value) for name, value in info.items()}
            self._notify(LearnerUpdated(0, named))

    def _learn_from_the_mix(self, stage: Stage) -> None:
        if not len(self.mixer.guidance) and not len(self.mixer.online):
            raise ConfigError(
                f"the stage '{stage.name}' learns from data before the first step, and there is "
                "none; give data.dataset or data.demos"
            )
        for done in range(1, (stage.updates or 0) + 1):
            if self._stop():
                return
            self._iterate(stage.name)
            if self.state.updates % self.config.runtime.log_every == 0:
                self._log_learner(f"{stage.name}/")
            if done % TELL_EVERY == 0 or done == stage.updates:
                self._tell_advance(stage, done)

    def _tell_advance(self, stage: Stage, done: int) -> None:
        updates = stage.updates or 0
        jax.block_until_ready(self.agent.iterations)  # dispatched is not done
        self._notify(
            LearningAdvanced(self.state.env_steps, stage.name, min(done, updates), updates)
        )

    # -- learning -----------------------------------------------------------------------------

    def _iterate(self, stage: str = "online") -> None:
        self.agent, info, mix = learn(
            self.agent, self.mixer, self.config.seed, self.state.updates, stage
        )
        self.state.updates += 1
        self._last_info = (info, mix)

    def _log_learner(self, stage: str = "") -> None:
        info, mix = self._last_info
        if info:
            metrics = {stage + name: float(value) for name, value in jax.device_get(info).items()}
            self._notify(LearnerUpdated(self.state.env_steps, metrics | mix))

    def _take_in(self, episode: Episode) -> dict[str, float]:
        """Count a stored training episode and put it into the replay; its statistics."""
        stats = episode.stats()
        self._human_now = 0  # they count with the episode now
        self.mixer.add(self.sight.episode(episode))
        self.state.episodes += 1
        self.state.intervention_steps += int(stats["intervention_steps"])
        self.state.interventions += int(stats["interventions"])
        self._count_outcome(success=stats["success"] > 0, alone=not stats["intervention_steps"])
        self._notify(EpisodeFinished(self.state.env_steps, episode.episode_id, stats))
        return stats

    def _count_outcome(self, *, success: bool, alone: bool) -> None:
        state = self.state
        if state.successes is None or state.successes_alone is None or state.episodes_alone is None:
            return  # the run is older than these counts
        state.successes += success
        state.successes_alone += success and alone
        state.episodes_alone += alone

    @property
    def acting(self) -> Sighted:
        """The newest agent behind its eyes."""
        return Sighted(self.agent, self.sight)

    def _measure(self) -> Mapping[str, float] | None:
        """Autonomous episodes of :attr:`agent`: success_rate, successes, episodes, ...

        None if the run is to stop before they are done.
        """
        raise NotImplementedError

    def _interrupt(self) -> NoReturn:
        """Save what counts, and stop.

        Raises:
            Interrupted: always.
        """
        raise NotImplementedError

    def _run_evaluation(self) -> None:
        jax.block_until_ready(self.agent)
        started = self._clock.now()
        self._notify(EvaluationBegan(self.state.env_steps))
        metrics = self._measure()
        if metrics is None:
            self._interrupt()
        self.state.eval_wall_s += self._clock.now() - started
        record = {
            "step": self.state.env_steps,
            "intervention_steps": self.state.intervention_steps + self._human_now,
            **metrics,
        }
        self.state.evaluations.append(record)
        self._notify(Evaluated(self.state.env_steps, metrics))
        self._report()

    def _report(self) -> None:
        """The policy and the numbers so far, for whoever wants to use or read them."""
        self._update_clocks()
        export_policy(self.acting, self.config, self.spec, self.folder.policy)
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
        if not self.config.evaluation.every:
            self._report()
        elif not evaluations or evaluations[-1]["step"] != self.state.env_steps:
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


class NewestAgent:
    """The policy of a run in one process: it acts with the learner's newest parameters."""

    def __init__(self, run: Session) -> None:
        self._run = run

    @property
    def version(self) -> int:
        """Learner iterations behind the parameters that propose."""
        return self._run.state.updates

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Explore with the newest parameters."""
        return self._run.acting.act(observation, episode=episode, step=step, explore=True)
