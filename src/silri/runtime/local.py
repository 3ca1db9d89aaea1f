"""Acting and learning interleaved in one process, deterministically.

One learner iteration per environment step, dispatched while the environment steps. An episode is
committed to disk before the replay sees it; a checkpoint is taken at episode ends. Resuming loads
the newest checkpoint, *re-learns* the episodes stored after it on the same schedule without
acting, and goes on: with a simulated operator the result is, bit for bit, the run that was never
stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from silri.agents.base import Agent
from silri.agents.registry import load_agent
from silri.configs.run import RunConfig
from silri.core.clock import Clock, MonotonicClock
from silri.core.errors import EnvironmentFault
from silri.core.events import (
    CheckpointSaved,
    EpisodeFinished,
    EpisodeQuarantined,
    Evaluated,
    Event,
    LearnerUpdated,
    Notice,
    StepTaken,
    Subscriber,
)
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import Observation
from silri.core.transition import Transition
from silri.data.episode import Episode, EpisodeBuilder
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.data.statistics import observation_statistics
from silri.data.store import EpisodeStore
from silri.intervention.arbiter import Arbiter
from silri.nn.normalizer import Normalizer
from silri.runtime.checkpoint import CheckpointStore
from silri.runtime.export import export_policy
from silri.runtime.folder import RunFolder
from silri.runtime.learn import learn, learn_guidance, pretrain
from silri.runtime.metrics import MetricsWriter
from silri.runtime.prepare import collect_demonstrations, fill_replay, make_operator
from silri.runtime.rollout import rollout
from silri.runtime.state import RunState

Evaluate = Callable[[Agent], dict[str, float]]  # success_rate, successes, episodes, ...
FAULTS_IN_A_ROW = 10  # an environment that fails more often is broken, not unlucky


class Interrupted(Exception):
    """The run was asked to stop; everything that counts is saved."""


class LocalRun:
    """One training run in one process; see the module's docstring.

    Attributes:
        config, folder: of the run.
        state: counters.
        agent: the newest parameters.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        *,
        evaluate: Evaluate,
        summarise: Callable[[RunConfig, RunState], dict[str, Any]],
        subscribers: Sequence[Subscriber] = (),
        stop: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        """Open the folder's store and prepare everything but the agent.

        Raises:
            RunFolderError: another process runs here.
        """
        self.config, self.folder, self.state = config, folder, RunState()
        self._evaluate, self._summarise, self._stop = evaluate, summarise, stop
        self._subscribers = list(subscribers)
        self._clock = clock or MonotonicClock()
        self._entry = load_agent(config.agent_name)
        self.env = config.env.create()
        self._operator = make_operator(config, self.env)
        self._arbiter = Arbiter(self.env.env_spec.action, config.runtime.blend_steps)
        names = self._entry.agent.diagnostic_names(config.agent, self.env.env_spec)
        self.store = EpisodeStore(folder.episodes, folder.quarantine, self.env.env_spec, names)
        self.checkpoints = CheckpointStore(folder.checkpoints, keep=config.runtime.checkpoints_kept)
        spec = self.env.env_spec
        self.mixer = Mixer(
            Replay(config.data.online_capacity, spec),
            Replay(config.data.guidance_capacity, spec),
            config.agent.batch_size,
            config.agent.online_fraction,
        )
        self.agent: Agent
        self.version = 0  # Policy protocol: iterations behind the parameters that proposed
        self._metrics: MetricsWriter | None = None
        self._last_info: tuple[Any, dict[str, float]] = ({}, {})
        self._last_checkpoint = 0
        self._started = self._clock.now()
        self._wall_before = 0.0

    # -- the run ------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Train to the budget and return the summary.

        Raises:
            Interrupted: asked to stop; a checkpoint of the last episode's end is saved.
        """
        try:
            for message in self.store.messages:
                self._notify(Notice(0, message))
            self._prepare()
            self._relearn()
            if self._entry.agent.learns_online:
                self._act()
            return self._finish()
        finally:
            self.store.close()
            self.env.close()
            if self._metrics is not None:
                self._metrics.close()

    def _prepare(self) -> None:
        """The newest checkpoint, or demonstrations and a fresh, pre-trained agent."""
        spec, seed = self.env.env_spec, derive_seed(self.config.seed, Stream.NETWORK_INIT)
        self.agent = self._entry.agent.create(self.config.agent, spec, None, seed)
        loaded = self.checkpoints.load_newest(self.agent)
        if loaded is None:
            self.state.next_episode = collect_demonstrations(
                self.config, self.env, self.store, self._stop, self._clock
            )
            if self._stop():
                raise Interrupted
            self.state.operator = dict(self._operator.state())
        else:
            self.agent, self.state = loaded.arrays, RunState.from_json(loaded.state)
            self._operator.restore(self.state.operator)
            self._wall_before = self.state.wall_s
            for message in loaded.messages:
                self._notify(Notice(self.state.env_steps, message))
        self._last_checkpoint = self.state.env_steps
        self._open_metrics(resuming=loaded is not None)
        demos = fill_replay(self.mixer, self.store, self.state.next_episode)
        if loaded is None:
            self.state.demo_episodes = len(demos)
            self.state.demo_steps = sum(len(episode) for episode in demos)
            if demos:
                statistics = observation_statistics(demos, floor=self.config.data.std_floor)
                self.agent = self.agent.replace(normalizer=Normalizer.create(spec, statistics))
            self._learn_offline()
        self._remember()
        if loaded is None:
            self._checkpoint()

    def _open_metrics(self, *, resuming: bool) -> None:
        self._metrics = MetricsWriter(
            self.folder.metrics,
            self.folder.tensorboard if self.config.runtime.tensorboard else None,
            self._wall_s,
            resume_step=self.state.env_steps if resuming else -1,
            resume_rows=self.state.metrics_rows,
        )
        self._subscribers.insert(0, self._metrics)

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

    def _relearn(self) -> None:
        """What the interrupted session did after its last checkpoint, without acting."""
        stored = {row.episode_id: index for index, row in enumerate(self.store.rows)}
        aside = {entry.episode_id: entry for entry in self.store.quarantined()}
        while self.state.next_episode < self.store.next_episode_id:
            if self._stop():
                self._interrupt()
            episode_id = self.state.next_episode
            if episode_id in stored:
                episode = self.store.read(stored[episode_id])
                self._relearn_steps(len(episode))
                self._end_episode(episode)
            elif episode_id in aside:
                self._relearn_steps(aside[episode_id].steps)
                self._end_quarantined(episode_id, aside[episode_id].reason)
            else:
                self.state.next_episode += 1  # lost with its file: nothing can be re-learnt

    def _relearn_steps(self, steps: int) -> None:
        for _ in range(steps):
            self._iterate_online()
            self._count_step()

    def _act(self) -> None:
        """Episodes until the budget is reached; the last one is finished."""
        faults = 0
        while self.state.env_steps < self.config.steps:
            index = self.state.next_episode
            builder = EpisodeBuilder(
                spec=self.env.env_spec,
                episode_id=index,
                is_demo=False,
                seed=derive_seed(self.config.seed, Stream.TRAIN_LAYOUT, index),
                task=self.env.env_spec.name,
                operator=self.config.operator.name,
            )
            outcome = rollout(
                self.env,
                self,
                self._operator,
                self._arbiter,
                builder,
                rng=rng(self.config.seed, Stream.TRAIN_OPERATOR, index),
                on_step=self._on_step,
                stop=self._stop,
                clock=self._clock,
            )
            if outcome.end == "stopped":
                self._interrupt()
            if outcome.end == "finished":
                faults = 0
                episode = builder.build(success=outcome.success)
                self.store.commit(episode)
                self._end_episode(episode)
                continue
            faults += 1
            reason = outcome.reason or "abandoned by the operator"
            if not len(builder) or faults == FAULTS_IN_A_ROW:
                raise EnvironmentFault(
                    f"{self.env.env_spec.name} failed at episode {index}: {reason}. Finished "
                    f"episodes are safe; mend the environment and resume {self.folder.path}"
                )
            self._set_aside(builder, reason)

    def _set_aside(self, builder: EpisodeBuilder, reason: str) -> None:
        """Quarantine what there is; the step that failed counts if it was folded."""
        step, agent, updates = self._before_iteration
        if step == len(builder):
            # Proposed, but nothing came of it: re-learning will not know of this iteration.
            self.agent, self.state.updates = agent, updates
        episode = builder.build(success=False)
        taken = self.state.env_steps - self._episode_start
        for _ in range(len(episode) - taken):
            self._count_step()  # folded, but refused before on_step heard of it
        self.store.quarantine(episode, reason)
        self._end_quarantined(builder.episode_id, reason)

    def _finish(self) -> dict[str, Any]:
        jax.block_until_ready(self.agent)
        evaluations = self.state.evaluations
        if not evaluations or evaluations[-1]["step"] != self.state.env_steps:
            self._run_evaluation()
        self._remember()
        self._checkpoint()
        summary = self._summarise(self.config, self.state)
        self.folder.write_summary(summary)
        return summary

    # -- Policy protocol ------------------------------------------------------------------------

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Act with the newest parameters, then start this step's learner iteration.

        The iteration runs while the environment steps; the next call waits for it.
        """
        action, diagnostics = self.agent.act(observation, episode=episode, step=step, explore=True)
        self.version = self.state.updates
        self._before_iteration = (step, self.agent, self.state.updates)
        self._iterate_online()
        return action, diagnostics

    # -- one step, one episode --------------------------------------------------------------------

    def _on_step(self, transition: Transition, diagnostics: Mapping[str, float]) -> None:
        self._count_step()
        self._notify(StepTaken(self.state.env_steps, transition, diagnostics))

    def _iterate_online(self) -> None:
        if len(self.mixer.online):
            self._iterate()

    def _iterate(self) -> None:
        self.agent, info, mix = learn(self.agent, self.mixer, self.config.seed, self.state.updates)
        self.state.updates += 1
        self._last_info = (info, mix)

    def _count_step(self) -> None:
        self.state.env_steps += 1
        if self.state.env_steps % self.config.runtime.log_every == 0:
            self._log_learner()
        if self.state.env_steps % self.config.evaluation.every == 0:
            self._run_evaluation()

    def _log_learner(self) -> None:
        info, mix = self._last_info
        if info:
            metrics = {name: float(value) for name, value in jax.device_get(info).items()}
            self._notify(LearnerUpdated(self.state.env_steps, metrics | mix))

    def _end_episode(self, episode: Episode) -> None:
        """A stored episode: learn from it, tell the operator, and perhaps save."""
        stats = episode.stats()
        before = self.state.intervention_steps
        self.mixer.add(episode)
        self._operator.end_episode(stats)
        self.state.episodes += 1
        self.state.intervention_steps += int(stats["intervention_steps"])
        self.state.interventions += int(stats["interventions"])
        self.state.operator = dict(self._operator.state())
        self.agent, _ = learn_guidance(
            self.agent, self.mixer, self.config.seed, before, self.state.intervention_steps
        )
        self._notify(EpisodeFinished(self.state.env_steps, episode.episode_id, stats))
        self._close_episode(episode.episode_id)

    def _end_quarantined(self, episode_id: int, reason: str) -> None:
        self.state.quarantined += 1
        self._notify(EpisodeQuarantined(self.state.env_steps, episode_id, reason))
        self._close_episode(episode_id)

    def _close_episode(self, episode_id: int) -> None:
        self.state.next_episode = episode_id + 1
        self._remember()
        if self.state.env_steps - self._last_checkpoint >= self.config.runtime.checkpoint_every:
            self._checkpoint()

    def _run_evaluation(self) -> None:
        jax.block_until_ready(self.agent)
        started = self._clock.now()
        metrics = self._evaluate(self.agent)
        self.state.eval_wall_s += self._clock.now() - started
        record = {
            "step": self.state.env_steps,
            "intervention_steps": self.state.intervention_steps,
            **metrics,
        }
        self.state.evaluations.append(record)
        self._notify(Evaluated(self.state.env_steps, metrics))
        self._update_clocks()
        export_policy(self.agent, self.config, self.env.env_spec, self.folder.policy)
        self.folder.write_summary(self._summarise(self.config, self.state))

    # -- saving ---------------------------------------------------------------------------------

    def _remember(self) -> None:
        """Hold on to this episode end: agents are immutable, so a snapshot costs nothing."""
        self._update_clocks()
        self.state.metrics_rows = 0 if self._metrics is None else self._metrics.rows
        self._snapshot = (self.agent, self.state.to_json())
        self._episode_start = self.state.env_steps

    def _checkpoint(self) -> None:
        agent, state = self._snapshot
        path = self.checkpoints.save(state["env_steps"], agent, state)
        self._last_checkpoint = state["env_steps"]
        self._notify(CheckpointSaved(state["env_steps"], str(path)))

    def _interrupt(self) -> None:
        """Save the last episode's end and stop; the running episode is not part of the run."""
        if self._snapshot[1]["env_steps"] != self._last_checkpoint:
            self._checkpoint()
        raise Interrupted

    def _update_clocks(self) -> None:
        self.state.wall_s = self._wall_s()
        self.state.train_wall_s = max(0.0, self.state.wall_s - self.state.eval_wall_s)

    def _wall_s(self) -> float:
        return self._wall_before + self._clock.now() - self._started

    def _notify(self, event: Event) -> None:
        for subscriber in self._subscribers:
            subscriber.on_event(event)
