"""Acting and learning interleaved in one process, deterministically.

One learner iteration per environment step, dispatched while the environment steps. An episode is
committed to disk before the replay sees it; a checkpoint is taken at episode ends. Resuming loads
the newest checkpoint, *re-learns* the episodes stored after it on the same schedule without
acting, and goes on: with a simulated operator the result is, bit for bit, the run that was never
stopped.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

import numpy as np

from silri.agents.base import Agent
from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.commands import CommandQueue
from silri.core.events import (
    EpisodeBegan,
    EpisodeDiscarded,
    EpisodeEnded,
    EpisodeQuarantined,
    LearnerUpdated,
    Notice,
    RunBegan,
    StepTaken,
    Subscriber,
)
from silri.core.protocols import Env, HasPrivileged, Live, Operator
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import Observation
from silri.core.transition import Transition
from silri.data.episode import Episode, EpisodeBuilder
from silri.envs.registry import is_object
from silri.runtime.acting.autonomous import Drive, Evaluate, autonomous_in, noted
from silri.runtime.acting.driver import Driver
from silri.runtime.acting.filming import Film
from silri.runtime.acting.judging import open_classifier
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.keeping.state import RunState
from silri.runtime.learn import warm_up
from silri.runtime.session import Interrupted, NewestAgent, Session, Summarise
from silri.runtime.starting.contract import close_env, close_operator, required
from silri.runtime.starting.prepare import collect_demonstrations
from silri.store.safety import files
from silri.store.store import EpisodeStore


class LocalRun(Session):
    """One training run in one process; see the module's docstring.

    Attributes:
        config, folder: of the run.
        state: counters.
        agent: the newest parameters.
        commands: anybody may put commands to the loop here, from any thread.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        env: Env,
        operator: Operator,
        *,
        evaluate: Evaluate,
        summarise: Summarise,
        subscribers: Sequence[Subscriber] = (),
        stop: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
        commands: CommandQueue | None = None,
        keep_env: bool = False,
    ) -> None:
        """Open the folder's store and prepare everything but the agent.

        Args:
            config: of the run.
            folder: of the run.
            env: the run's environment, which is closed with the run unless ``keep_env``.
            operator: demonstrates and intervenes; closed with the run, if it can be.
            evaluate: measures a policy in the environment that it is given.
            summarise: writes the summary.
            subscribers: told of everything that happens; so is an operator that is one.
            stop: asked before every step.
            clock: of the run.
            commands: from outside, taken in every step; see :attr:`commands`.
            keep_env: ``env`` belongs to somebody who goes on with it.

        Raises:
            RunFolderError: another process runs here.
        """
        self.env, spec = env, env.env_spec
        self.commands = commands = commands or CommandQueue()
        super().__init__(
            config,
            folder,
            spec,
            summarise=summarise,
            subscribers=subscribers,
            stop=lambda: stop() or commands.stopping,
            clock=clock,
        )
        if isinstance(operator, Subscriber):
            self._subscribers.append(operator)
        self._evaluate, self._keep_env = evaluate, keep_env
        # A simulation can be opened twice, and is then evaluated in the middle of an episode.
        self._second_env: Env | None = None
        self._simulated = isinstance(env, HasPrivileged) and not is_object(config.env_name)
        self._evaluation_due = False
        self._operator = operator
        seen = self.sight.seen
        names = self._entry.agent.diagnostic_names(config.agent, seen, config.augment)
        self.store = EpisodeStore(folder.episodes, folder.quarantine, self.spec, names)
        self._begins = RunBegan(
            str(folder.path), self.spec, tuple(names), self._simulated, self.commands
        )
        # The agent and its iterations before the one that was started with the running step.
        self._before_step: tuple[Agent, int] | None = None
        self._driver = Driver(
            config,
            env,
            NewestAgent(self),
            self._operator,
            clock=self._clock,
            stop=self._stop,
            commands=commands,
            notify=self._say,
            errors=folder.errors,
            on_step=self._on_step,
            while_stepping=self._while_stepping,
            on_begin=self._on_begin,
            classifier=open_classifier(config, spec, folder.path),
            home=folder.path,
        )

    # -- the run ------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Train to the budget and return the summary.

        Raises:
            Interrupted: asked to stop; a checkpoint of the last episode's end is saved.
        """
        try:
            self._notify(self._begins)
            for message in self.store.messages:
                self._notify(Notice(0, message))
            self._prepare()
            self._relearn()
            if self.config.agent.learns_online:
                self._act()
            return self._finish()
        finally:
            self.store.close()
            self._driver.close()
            for env in (None if self._keep_env else self.env, self._second_env):
                if env is not None:
                    close_env(env, self._say)
            close_operator(self._operator, self._say)
            self._close()

    def _prepare(self) -> None:
        """The newest checkpoint, or demonstrations and a fresh, pre-trained agent."""
        resuming = self._load()
        if resuming:
            with required("operator.restore"):
                self._operator.restore(self.state.operator)
            if self.state.env_steps and not self.store.rows:
                self._say(
                    f"{self.store.folder} holds no episode any more, and {self.state.env_steps} "
                    "steps were made: it goes on without them; bring the folder back to keep them"
                )
        else:
            # A person needs time to pass as it does in life; a simulated one does not.
            live = isinstance(self._operator, Live)
            loop = self._driver.loop
            self.state.next_episode = collect_demonstrations(
                self.config,
                loop.env if live else self.env,
                self._operator,
                self.store,
                self._stop,
                loop.clock if live else self._clock,
                self.commands,
                self._notify,
                self._driver.faults,
            )
            loop.end_episode()  # its timing belongs to no episode of training
            if self._stop():
                raise Interrupted
            with required("operator.state"):
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
            warm_up(self.acting)
        while self.state.env_steps < self.config.steps:
            index = self.state.next_episode
            builder = EpisodeBuilder(
                spec=self.env.env_spec,
                episode_id=index,
                is_demo=False,
                seed=derive_seed(self.config.seed, Stream.TRAIN_LAYOUT, index),
                task=self.env.env_spec.name,
                operator=self.config.operator_name,
            )
            outcome = self._driver.train(
                builder, rng(self.config.seed, Stream.TRAIN_OPERATOR, index)
            )
            self._log_loop()
            self._notify(
                EpisodeEnded(self.state.env_steps, index, "training", outcome.end, outcome.success)
            )
            if outcome.end == "stopped":
                self._interrupt()
            elif outcome.end == "finished":
                episode = builder.build(success=outcome.success)
                self.store.commit(episode)
                self._end_episode(episode)
            elif outcome.end == "discarded":
                self._discard(index)
            else:
                self._set_aside(builder, outcome.reason)
            resume = f"go on with 'silri train --resume {self.folder.path}'"
            self._driver.check_faults(builder, outcome, resume)

    def _set_aside(self, builder: EpisodeBuilder, reason: str) -> None:
        """Quarantine what there is; the step that failed counts if it was folded."""
        if len(builder) > self.state.env_steps - self._episode_start:
            self._count_step(by_person=False)  # folded, but refused before on_step heard of it
        elif self._before_step is not None:
            # The environment failed in a step that is not stored. Re-learning will not know of
            # the iteration that was started with it.
            self.agent, self.state.updates = self._before_step
        self._before_step = None
        if len(builder):
            self.store.quarantine(builder.build(success=False), reason)
            self._end_quarantined(builder.episode_id, reason)
        else:  # there is nothing to keep, and nothing to re-learn
            self._say(f"episode {builder.episode_id} did not begin: {reason}")
            self._close_episode(builder.episode_id)

    def _discard(self, episode_id: int) -> None:
        """Go on as if the episode had never begun; only its number is used up."""
        agent, state = self._snapshot
        spent = self.state.eval_wall_s
        self.agent, self.state = agent, RunState.from_json(copy.deepcopy(state))
        self.state.eval_wall_s = spent
        self._human_now, self._before_step, self._evaluation_due = 0, None, False
        self.state.discarded += 1
        self._notify(EpisodeDiscarded(self.state.env_steps, episode_id))
        self._close_episode(episode_id)

    # -- one step, one episode --------------------------------------------------------------------

    def _on_begin(self, builder: EpisodeBuilder, observation: Observation) -> None:
        self._notify(
            EpisodeBegan(
                self.state.env_steps,
                builder.episode_id,
                "training",
                builder.seed,
                builder.task,
                observation,
            )
        )

    def _while_stepping(self) -> None:
        """Start this step's learner iteration; the next proposal waits for it."""
        self._before_step = (self.agent, self.state.updates)
        self._iterate_online()

    def _on_step(self, transition: Transition, diagnostics: Mapping[str, float]) -> None:
        self._before_step = None
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
        every = self.config.evaluation.every
        if every and self.state.env_steps % every == 0:
            if self._simulated:
                self._run_evaluation()
                self._driver.loop.restart()
            else:
                self._evaluation_due = True  # on the same robot: when the episode is over

    def _measure(self) -> Mapping[str, float] | None:
        env, drive = self.env, cast(Drive, self._driver.evaluate)
        if self._simulated:
            env = self._second_env = self._second_env or self.config.create_env()
            alone = autonomous_in(env, self._stop, self._clock, self._driver.watcher)
            drive = noted(alone, self._driver.keep_fault)
        if keep := self.config.evaluation.videos:
            folder = self.folder.videos / f"step_{self.state.env_steps:09d}"
            drive = Film(folder, env, keep, self.spec.control_hz, self._say).of(drive)
        metrics = self._evaluate(self.acting, self.spec, drive)
        if metrics is not None and metrics.get("faults"):
            broken = (
                f"{metrics['faults']:.0f} of {metrics['episodes']:.0f} episodes of the evaluation"
            )
            self._say(f"{broken} broke, at last: {self._driver.faults.last}")
        return metrics

    def _log_loop(self) -> None:
        """How well the rate was kept, if there is one; and what became of the classifier."""
        if metrics := self._driver.news():
            self._notify(LearnerUpdated(self.state.env_steps, metrics))
        if metrics := self._driver.loop.end_episode():
            self._notify(LearnerUpdated(self.state.env_steps, metrics))
            content = json.dumps(self._driver.loop.summary()).encode()
            files.atomic_write(self.folder.loop, content, durable=False)

    def _say(self, text: str, details: Mapping[str, float] | None = None) -> None:
        self._notify(Notice(self.state.env_steps, text, details or {}))

    def _end_episode(self, episode: Episode) -> None:
        """A stored episode: learn from it, tell the operator, and perhaps save."""
        stats = self._take_in(episode)
        self.state.operator = self._driver.tell_operator(episode.episode_id, stats)
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
        if self._evaluation_due:
            self._evaluation_due = False
            self._run_evaluation()
        self._remember()
        if self.state.env_steps - self._last_checkpoint >= self.config.runtime.checkpoint_every:
            self._checkpoint()

    # -- saving ---------------------------------------------------------------------------------

    def _remember(self) -> None:
        super()._remember()
        self._episode_start = self.state.env_steps

    def _interrupt(self) -> NoReturn:
        """Save the last episode's end and stop; the running episode is not part of the run."""
        if self._snapshot[1]["env_steps"] != self._last_checkpoint:
            self._checkpoint()
        raise Interrupted
