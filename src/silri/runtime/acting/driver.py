"""The one owner of a robot: whole episodes, faults and commands, for whoever learns from them.

Both runtimes drive with it: :class:`~silri.runtime.local.LocalRun` and
:class:`~silri.runtime.cluster.control.RobotLoop`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.commands import Command, CommandQueue
from silri.core.protocols import Env, Live, Operator, Policy, SelfPaced
from silri.core.transition import Transition
from silri.data.episode import EpisodeBuilder
from silri.intervention.arbiter import Arbiter
from silri.rewards.classifier import SuccessClassifier
from silri.rewards.judge import Judge
from silri.runtime.acting.cameras import CameraWatch
from silri.runtime.acting.faults import FaultLog
from silri.runtime.acting.judging import LABELS, deciding, refitter, watching
from silri.runtime.acting.refitting import Refitter
from silri.runtime.acting.rollout import OnBegin, Outcome, rollout
from silri.runtime.pace.loop import ControlLoop
from silri.runtime.pace.timing import Notify
from silri.runtime.starting.contract import Raised, theirs

OnStep = Callable[[Transition, Mapping[str, float]], None]


class Driver:
    """Drives one robot, episode after episode.

    Attributes:
        env: as it was opened.
        loop: the parts of the control loop, paced if the run has a rate.
        faults: what went wrong, in training or not.
        watcher: notes in evaluations what the classifier says, if there is one.
    """

    def __init__(
        self,
        config: RunConfig,
        env: Env,
        policy: Policy,
        operator: Operator,
        *,
        clock: Clock,
        stop: Callable[[], bool],
        commands: CommandQueue,
        notify: Notify,
        errors: Path,
        on_step: OnStep,
        while_stepping: Callable[[], None] = lambda: None,
        on_begin: OnBegin = lambda builder, observation: None,
        classifier: SuccessClassifier | None = None,
        home: Path = Path(),
    ) -> None:
        """Take over ``env``.

        Args:
            config: of the run.
            env: opened by this process.
            policy: proposes the actions of training.
            operator: of training.
            clock: of the run.
            stop: asked before every step.
            commands: taken from in every step.
            notify: told what a person should know.
            errors: file that tracebacks of the environment and the operator are appended to.
            on_step: told of every step of training.
            while_stepping: see :func:`~silri.runtime.acting.rollout.rollout`.
            on_begin: told of every episode of training, likewise.
            classifier: says in training what success is; None: the environment does.
            home: folder of the run, or of what a robot keeps of it: the classifier that it goes on
                with, and the frames that a person judges.
        """
        self.env, self._operator, self._commands = env, operator, commands
        self._stop, self._notify = stop, notify
        self._on_step, self._while_stepping, self._on_begin = on_step, while_stepping, on_begin
        self._arbiter = Arbiter(env.env_spec.action, config.runtime.blend_steps)
        self._real = isinstance(env, SelfPaced)
        patience = config.runtime.camera_patience if self._real else 0
        self._cameras = CameraWatch(env.env_spec, patience)
        self._success_reward = config.env.success_reward if config.sparse_rewards else None
        self._config, self._home = config, home
        self._judge: Judge | None = None
        self.watcher: Judge | None = None
        self._refitter: Refitter | None = None
        if classifier is not None:
            self._judged_by(classifier)
            if config.reward.refit:
                live = isinstance(operator, Live)
                self._refitter = refitter(config, classifier, home, self._refused, wait=not live)
        # An environment that a classifier judges does not end at its own success by itself.
        self._ends = classifier is not None and config.env.sparse and config.env.end_on_success
        self.faults = FaultLog(env.env_spec.name, errors, self._refused)
        self._operator_state: dict[str, float] = {}
        self.loop = ControlLoop(env, policy, clock, config.runtime.rate_hz, notify)

    def train(self, builder: EpisodeBuilder, rng: np.random.Generator) -> Outcome:
        """One episode with the operator."""
        if self._refitter is not None and (fresh := self._refitter.before(builder.episode_id)):
            self._judged_by(fresh)
        with self.loop.episode():
            outcome = rollout(
                self.loop.env,
                self.loop.policy,
                self._operator,
                self._arbiter,
                builder,
                rng=rng,
                on_step=self._watched(self._on_step),
                real=self._real,
                while_stepping=self._while_stepping,
                stop=self._stop,
                clock=self.loop.clock,
                commands=self._commands,
                success_reward=self._success_reward,
                refused=self._refused,
                on_begin=self._on_begin,
                judge=self._judge,
            )
        self.faults.note(f"episode {builder.episode_id}", outcome)
        return outcome

    def news(self) -> dict[str, float]:
        """What became of the success classifier since it was last asked; for the curves."""
        return {} if self._refitter is None else self._refitter.news()

    def close(self) -> None:
        """End what is computed on the side."""
        if self._refitter is not None:
            self._refitter.close()

    def evaluate(
        self, policy: Policy, builder: EpisodeBuilder, on_step: OnStep = lambda *_: None
    ) -> Outcome:
        """One episode of ``policy`` alone: no operator, nothing is learned from it."""
        with self.loop.episode():
            outcome = rollout(
                self.loop.env,
                self.loop.timed(policy),
                None,
                self._arbiter,
                builder,
                rng=np.random.default_rng(0),
                on_step=self._watched(on_step),
                real=self._real,
                stop=self._stop,
                clock=self.loop.clock,
                commands=self._commands,
                success_reward=self._success_reward,
                refused=self._refused,
                end_on_success=self._ends,
                judge=self.watcher,
            )
        self.loop.end_episode()  # its timing belongs to no episode of training
        self.keep_fault(builder, outcome)
        return outcome

    def keep_fault(self, builder: EpisodeBuilder, outcome: Outcome) -> None:
        """Log what went wrong in an episode of an evaluation; it counts in no row."""
        what = f"evaluation episode {builder.episode_id}"
        self.faults.keep(what, outcome.reason, outcome.traceback)

    def tell_operator(self, episode_id: int, stats: Mapping[str, float]) -> dict[str, float]:
        """Tell the operator how an episode went; returns the operator's state."""
        try:
            with theirs("operator.end_episode"):
                self._operator.end_episode(stats)
            with theirs("operator.state"):
                self._operator_state = dict(self._operator.state())
        except Raised as error:  # the episode is stored: it stays good
            self.faults.keep(f"episode {episode_id}", str(error), error.traceback)
            self._notify(str(error), {})
        return dict(self._operator_state)

    def check_faults(self, builder: EpisodeBuilder, outcome: Outcome, remedy: str) -> None:
        """Whether it is worth while to go on after ``outcome``.

        Args:
            builder: of the episode.
            outcome: of :meth:`train`.
            remedy: how to go on once the environment is mended.

        Raises:
            EnvironmentFault: the last ten episodes have failed.
        """
        self.faults.check(f"episode {builder.episode_id}", outcome, remedy)

    def _watched(self, on_step: OnStep) -> OnStep:
        """``on_step``, and a pause if a camera is wrong."""

        def see(transition: Transition, diagnostics: Mapping[str, float]) -> None:
            on_step(transition, diagnostics)
            for wrong in self._cameras.see(transition):
                self._refused(f"{wrong}; paused: look at it, then 'resume'")
                self._arbiter.obey(Command.PAUSE)

        return see

    def _judged_by(self, classifier: SuccessClassifier) -> None:
        self._judge = deciding(self._config, classifier, self._home / LABELS)
        self.watcher = watching(self._config, classifier)

    def _refused(self, text: str) -> None:
        self._notify(text, {})
