"""Acting and learning interleaved in one process, deterministically.

One learner iteration per environment step, dispatched while the environment steps. An episode is
committed to disk before the replay sees it; a checkpoint is taken at episode ends. Resuming loads
the newest checkpoint, *re-learns* the episodes stored after it on the same schedule without
acting, and goes on: with a simulated operator the result is, bit for bit, the run that was never
stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.errors import EnvironmentFault
from silri.core.events import (
    EpisodeQuarantined,
    LearnerUpdated,
    Notice,
    StepTaken,
    Subscriber,
)
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import Observation
from silri.core.transition import Transition, fake_batch
from silri.data import files
from silri.data.episode import Episode, EpisodeBuilder
from silri.data.store import EpisodeStore
from silri.intervention.arbiter import Arbiter
from silri.runtime.folder import RunFolder
from silri.runtime.loop import ControlLoop
from silri.runtime.prepare import collect_demonstrations, make_operator
from silri.runtime.rollout import FAULTS_IN_A_ROW, rollout
from silri.runtime.session import Evaluate, Interrupted, Session, Summarise


class LocalRun(Session):
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
        summarise: Summarise,
        subscribers: Sequence[Subscriber] = (),
        stop: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        """Open the folder's store and prepare everything but the agent.

        Raises:
            RunFolderError: another process runs here.
        """
        self.env = config.env.create()
        spec = self.env.env_spec
        super().__init__(
            config,
            folder,
            spec,
            evaluate=evaluate,
            summarise=summarise,
            subscribers=subscribers,
            stop=stop,
            clock=clock,
        )
        self._operator = make_operator(config, self.env)
        self._arbiter = Arbiter(spec.action, config.runtime.blend_steps)
        names = self._entry.agent.diagnostic_names(config.agent, spec)
        self.store = EpisodeStore(folder.episodes, folder.quarantine, spec, names)
        self.version = 0  # Policy protocol: iterations behind the parameters that proposed
        self._loop = ControlLoop(self.env, self, self._clock, config.runtime.rate_hz, self._alarm)

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
            self._close()

    def _prepare(self) -> None:
        """The newest checkpoint, or demonstrations and a fresh, pre-trained agent."""
        resuming = self._load()
        if resuming:
            self._operator.restore(self.state.operator)
        else:
            self.state.next_episode = collect_demonstrations(
                self.config, self.env, self.store, self._stop, self._clock
            )
            if self._stop():
                raise Interrupted
            self.state.operator = dict(self._operator.state())
        counted = (
            self.store.read(index)
            for index, row in enumerate(self.store.rows)
            if row.episode_id < self.state.next_episode
        )
        self._start_learning(counted, resuming=resuming)

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
                self._relearn_steps(episode.frames["is_intervention"])
                self._end_episode(episode)
            elif episode_id in aside:
                self._relearn_steps(np.zeros(aside[episode_id].steps, bool))
                self._end_quarantined(episode_id, aside[episode_id].reason)
            else:
                self.state.next_episode += 1  # lost with its file: nothing can be re-learnt

    def _relearn_steps(self, by_person: np.ndarray) -> None:
        for flag in by_person:
            self._iterate_online()
            self._count_step(by_person=bool(flag))

    def _act(self) -> None:
        """Episodes until the budget is reached; the last one is finished."""
        if self.config.runtime.rate_hz:
            self._warm_up()
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
            with self._loop.episode():
                outcome = rollout(
                    self._loop.env,
                    self._loop.policy,
                    self._operator,
                    self._arbiter,
                    builder,
                    rng=rng(self.config.seed, Stream.TRAIN_OPERATOR, index),
                    on_step=self._on_step,
                    stop=self._stop,
                    clock=self._loop.clock,
                )
            self._log_loop()
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

    def _warm_up(self) -> None:
        """Compile what every step needs before the clock matters; nothing is learned."""
        config, spec = self.config.agent, self.spec
        zeros = {key: np.zeros(array.shape, array.dtype) for key, array in spec.observation.items()}
        self.agent.act(zeros, episode=0, step=0, explore=True)
        batch = fake_batch(spec, (config.utd, config.batch_size))
        jax.block_until_ready(self.agent.update(batch)[1])

    def _set_aside(self, builder: EpisodeBuilder, reason: str) -> None:
        """Quarantine what there is; the step that failed counts if it was folded."""
        step, agent, updates = self._before_iteration
        if step == len(builder):
            # Proposed, but nothing came of it: re-learning will not know of this iteration.
            self.agent, self.state.updates = agent, updates
        episode = builder.build(success=False)
        taken = self.state.env_steps - self._episode_start
        for _ in range(len(episode) - taken):
            self._count_step(by_person=False)  # folded, but refused before on_step heard of it
        self.store.quarantine(episode, reason)
        self._end_quarantined(builder.episode_id, reason)

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
        self._count_step(by_person=transition.is_intervention)
        self._notify(StepTaken(self.state.env_steps, transition, diagnostics))

    def _iterate_online(self) -> None:
        if len(self.mixer.online):
            self._iterate()

    def _count_step(self, *, by_person: bool) -> None:
        self.state.env_steps += 1
        self._human_now += by_person
        if self.state.env_steps % self.config.runtime.log_every == 0:
            self._log_learner()
        if self.state.env_steps % self.config.evaluation.every == 0:
            self._run_evaluation()

    def _run_evaluation(self) -> None:
        super()._run_evaluation()
        self._loop.restart()

    def _log_loop(self) -> None:
        """How well the rate was kept, if there is one."""
        if metrics := self._loop.end_episode():
            self._notify(LearnerUpdated(self.state.env_steps, metrics))
            content = json.dumps(self._loop.summary()).encode()
            files.atomic_write(self.folder.loop, content, durable=False)

    def _alarm(self, text: str, details: Mapping[str, float]) -> None:
        self._notify(Notice(self.state.env_steps, text, details))

    def _end_episode(self, episode: Episode) -> None:
        """A stored episode: learn from it, tell the operator, and perhaps save."""
        stats = self._take_in(episode)
        self._operator.end_episode(stats)
        self.state.operator = dict(self._operator.state())
        self._close_episode(episode.episode_id)

    def _end_quarantined(self, episode_id: int, reason: str) -> None:
        self.state.quarantined += 1
        # What is set aside counts nowhere; a session that re-learns knows no more of it.
        self._human_now = 0
        for record in self.state.evaluations:
            if record["step"] > self._episode_start:
                record["intervention_steps"] = self.state.intervention_steps
        self._notify(EpisodeQuarantined(self.state.env_steps, episode_id, reason))
        self._close_episode(episode_id)

    def _close_episode(self, episode_id: int) -> None:
        self.state.next_episode = episode_id + 1
        self._remember()
        if self.state.env_steps - self._last_checkpoint >= self.config.runtime.checkpoint_every:
            self._checkpoint()

    # -- saving ---------------------------------------------------------------------------------

    def _remember(self) -> None:
        super()._remember()
        self._episode_start = self.state.env_steps

    def _interrupt(self) -> None:
        """Save the last episode's end and stop; the running episode is not part of the run."""
        if self._snapshot[1]["env_steps"] != self._last_checkpoint:
            self._checkpoint()
        raise Interrupted
