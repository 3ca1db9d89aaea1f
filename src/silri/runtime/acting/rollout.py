"""THE loop: observe, propose, arbitrate, step, fold, notify. It knows nothing of learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from silri.core.clock import Clock
from silri.core.commands import ENDS_EPISODE, Command, CommandQueue, Request
from silri.core.errors import CameraFault, EnvironmentFault, SpecError
from silri.core.protocols import (
    Env,
    HasPrivileged,
    Observable,
    Operator,
    OperatorInput,
    OperatorView,
    Policy,
)
from silri.core.specs import INSTRUCTION, EnvSpec, Observation
from silri.core.transition import Transition
from silri.data.episode import EpisodeBuilder
from silri.intervention.arbiter import Arbiter, Decision, Phase
from silri.rewards.judge import Judge, Ruling, environments
from silri.runtime.starting.contract import (
    Raised,
    StepResult,
    checked_input,
    checked_reset,
    checked_step,
    theirs,
)

PAUSE_POLL_S = 0.02  # how often a paused loop asks its operator
RANGE_TOLERANCE = 1e-3  # of what a robot says that it has executed
_NOBODY = OperatorInput(engaged=False)

OnBegin = Callable[[EpisodeBuilder, Observation], None]


@dataclass(frozen=True)
class Outcome:
    """How an episode ended.

    Attributes:
        end: ``finished`` (terminated, truncated, or labelled by a command), ``fault`` (to be
            quarantined: ``reason`` says why), ``stopped`` (the run is stopping), ``abandoned``
            (a RESET) or ``discarded`` (a DISCARD).
        success: the task was done.
        judged: something has said whether it was, ``info["judged"]`` of an environment that knows.
        called: whether a success classifier has called it a success; None without one.
        reason: of a fault, one line.
        traceback: of an exception that the environment or the operator raised.
    """

    end: Literal["finished", "fault", "stopped", "abandoned", "discarded"]
    success: bool = False
    reason: str = ""
    traceback: str = ""
    judged: bool = True
    called: bool | None = None


class _Ended(Exception):
    """Ends the episode from within a decision."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def rollout(
    env: Env,
    policy: Policy,
    operator: Operator | None,
    arbiter: Arbiter,
    builder: EpisodeBuilder,
    *,
    rng: np.random.Generator,
    on_step: Callable[[Transition, Mapping[str, float]], None],
    stop: Callable[[], bool],
    clock: Clock,
    while_stepping: Callable[[], None] = lambda: None,
    commands: CommandQueue | None = None,
    success_reward: float | None = None,
    refused: Callable[[str], None] = lambda text: None,
    on_begin: OnBegin = lambda builder, observation: None,
    end_on_success: bool = False,
    judge: Judge | None = None,
    real: bool = False,
) -> Outcome:
    """Run one episode into ``builder``.

    Args:
        env: reset with ``builder.seed``. Its ``info["task"]`` then becomes the episode's task, or
            its instruction. Its ``info["executed"]``, (A,), is stored as the action if it is there.
        policy: proposes an action in each step.
        operator: may ask for control in each step; sees ``env.privileged()`` where there is one.
            None: nobody is there, the policy is evaluated.
        arbiter: decides what is executed.
        builder: folds the steps; what it holds at the end is the episode.
        rng: of the operator in this episode.
        on_step: told of every folded step.
        stop: asked before every step.
        clock: for waiting while paused.
        while_stepping: called before a decision is executed; what it starts runs meanwhile.
        commands: taken from in every step, in addition to the operator's.
        success_reward: of the last step if a person says SUCCESS; None: the environment's.
        refused: told what a person should know, such as why a command cannot be obeyed.
        on_begin: told of the episode after the reset, with the first observation.
        real: a camera that gives no picture, or another shape, pauses: somebody is there.
        end_on_success: a success ends the episode, also where the environment goes on.
        judge: says what success is and what a step earns; None: the environment does.

    Returns:
        How it ended. Values that are not finite or do not fit the spec, and exceptions of others'
        code, are an outcome, not an exception: the steps before them stay in ``builder``.
    """
    episode = _Running(
        env, policy, operator, arbiter, builder, stop, clock, commands or CommandQueue(),
        success_reward, refused, end_on_success, judge,
    )  # fmt: skip
    arbiter.begin_episode()
    try:
        observation = episode.begin(rng)
        on_begin(builder, observation)
        for step in range(env.env_spec.max_episode_steps):
            if episode.stopping():
                return Outcome("stopped")
            choice, decision = episode.decide(observation, step)
            while_stepping()
            with theirs("env.step"):
                returned = env.step(decision.executed)
            result = checked_step(returned)
            ruling = episode.ruled(choice, episode.transition(choice, decision, result), result)
            transition = ruling.transition
            builder.add(transition, choice.diagnostics)
            observation = transition.next_observation  # finite: the builder took it
            on_step(transition, choice.diagnostics)
            if transition.terminated or transition.truncated:
                return episode.finished(ruling)
    except _Ended as ended:
        return ended.outcome
    except (Raised, SpecError, EnvironmentFault) as error:
        return episode.fault(error, real)
    finally:
        arbiter.end_episode()
    return Outcome(
        "fault", reason=f"no end after {env.env_spec.max_episode_steps} steps: the spec's limit"
    )


class _Proposal(NamedTuple):
    """What the policy proposes, and what it has seen."""

    observation: Observation
    proposed: np.ndarray
    diagnostics: Mapping[str, float]
    version: int
    view: OperatorView


@dataclass
class _Running:
    """The running episode: who is asked what before a step; see :func:`rollout`."""

    env: Env
    policy: Policy
    operator: Operator | None
    arbiter: Arbiter
    builder: EpisodeBuilder
    stop: Callable[[], bool]
    clock: Clock
    commands: CommandQueue
    success_reward: float | None
    refused: Callable[[str], None]
    end_on_success: bool
    judge: Judge | None

    def begin(self, rng: np.random.Generator) -> Observation:
        """Reset; the first observation."""
        if self.operator is not None:
            with theirs("operator.begin_episode"):
                self.operator.begin_episode(rng)
        with theirs("env.reset"):
            result = self.env.reset(seed=self.builder.seed)
        observation, info = checked_reset(result)
        if isinstance(task := info.get("task"), str) and task:
            self.builder.task = self.builder.group = task
        self._refuse_late()
        if self.judge is not None:
            self.judge.begin()
        observation = self.env.env_spec.validate_observation(observation)
        self.builder.task = str(observation.get(INSTRUCTION, self.builder.task))
        return observation

    def transition(self, choice: _Proposal, decision: Decision, result: StepResult) -> Transition:
        """One step, as it is stored."""
        following, reward, terminated, truncated, info = result
        return Transition(
            observation=choice.observation,
            action=_executed(info, decision.executed, self.env.env_spec),
            policy_action=choice.proposed,
            human_action=decision.human_action,
            human_weight=decision.human_weight,
            reward=reward,
            next_observation=self.env.env_spec.conform_observation(following),
            terminated=terminated,
            truncated=truncated and not terminated,
            is_intervention=decision.is_intervention,
            grasp_penalty=float(info["grasp_penalty"]),
            episode_id=self.builder.episode_id,
            step=choice.view.step,
            policy_version=choice.version,
        )

    def ruled(self, choice: _Proposal, transition: Transition, result: StepResult) -> Ruling:
        """Whether it was a success, and what becomes of the step then.

        Raises:
            _Ended: a command ended the episode while a person was asked.
        """
        if self.judge is None:
            ruling = environments(transition, result[-1])
        else:
            ruling = self.judge.rule(transition, result[-1])
            if ruling.success and self.judge.veto_s and self._vetoed(choice, transition):
                ruling = self.judge.veto(transition)
        if ruling.success and self.end_on_success:
            ended = replace(ruling.transition, terminated=True, truncated=False)
            ruling = replace(ruling, transition=ended)
        return ruling

    def finished(self, ruling: Ruling) -> Outcome:
        """The end that the last step was."""
        called = None if self.judge is None else self.judge.called
        return Outcome("finished", success=ruling.success, judged=ruling.judged, called=called)

    def _vetoed(self, choice: _Proposal, transition: Transition) -> bool:
        """Whether a person takes a classifier's success back; the robot waits meanwhile."""
        assert self.judge is not None
        self.refused(
            f"the classifier says success: FAILURE within {self.judge.veto_s:g} s takes it back"
        )
        until = self.clock.now() + self.judge.veto_s
        while self.clock.now() < until and not self.stopping():
            asked = self._ask(choice.view)
            requests = [*self.commands.take(), *map(Request, asked.commands)]
            for index, request in enumerate(requests):
                here = request.episode in (None, self.builder.episode_id)
                if here and request.command in (Command.SUCCESS, Command.FAILURE):
                    self.commands.give_back(requests[index + 1 :])
                    self.judge.said(transition, request.command is Command.SUCCESS)
                    return request.command is Command.FAILURE
                if (outcome := self._apply(request)) is not None:
                    raise _Ended(outcome)
            self.clock.sleep(PAUSE_POLL_S)
        return False

    def fault(self, error: Raised | SpecError | EnvironmentFault, real: bool) -> Outcome:
        """What ``error`` comes to; that of a real camera pauses until a person resumes."""
        if isinstance(error, Raised):
            return Outcome("fault", reason=str(error), traceback=error.traceback)
        if real and isinstance(error, CameraFault):
            self.refused(f"{error}; the next episode is paused: look at the camera, then 'resume'")
            self.arbiter.obey(Command.PAUSE)
        return Outcome("fault", reason=f"{type(error).__name__}: {error}")

    def stopping(self) -> bool:
        """Whether the run is to stop."""
        return self.stop() or self.commands.stopping

    def decide(self, observation: Observation, step: int) -> tuple[_Proposal, Decision]:
        """Who drives, and what is executed; waits while paused.

        Raises:
            _Ended: a command ended the episode.
        """
        paused = False
        choice = self._propose(observation, step)
        while True:
            asked = self._ask(choice.view)
            self._obey(asked)
            if self.commands.stopping:
                raise _Ended(Outcome("stopped"))
            if self.arbiter.holds(asked):
                self.arbiter.decide(choice.proposed, asked)
                paused = True
                if self.stopping():
                    raise _Ended(Outcome("stopped"))
                self.clock.sleep(PAUSE_POLL_S)
            elif paused:
                # The world may have changed meanwhile: nobody acts on what was seen before.
                paused = False
                choice = self._propose(self._look(choice.observation), step)
            else:
                return choice, self.arbiter.decide(choice.proposed, asked)

    def _propose(self, observation: Observation, step: int) -> _Proposal:
        proposed, diagnostics = self.policy.propose(observation, self.builder.episode_id, step)
        version = self.policy.version
        privileged = None
        if self.operator is not None and isinstance(self.env, HasPrivileged):
            with theirs("env.privileged"):
                privileged = self.env.privileged()
        driven = self.arbiter.phase is Phase.HUMAN
        asks, estimate = diagnostics.get("ask", 0.0) > 0.5, diagnostics.get("q_policy", np.nan)
        view = OperatorView(observation, proposed, privileged, step, driven, asks, estimate)
        return _Proposal(observation, proposed, diagnostics, version, view)

    def _ask(self, view: OperatorView) -> OperatorInput:
        if self.operator is None:
            return _NOBODY
        with theirs("operator.decide"):
            asked = checked_input(self.operator.decide(view))
        for notice in asked.notices:
            self.refused(notice)
        return asked

    def _look(self, last: Observation) -> Observation:
        """What is there now; the last observation if the environment cannot be looked at."""
        if not isinstance(self.env, Observable):
            return last
        with theirs("env.observe"):
            observation = self.env.observe()
        return self.env.env_spec.validate_observation(observation)

    def _refuse_late(self) -> None:
        """Whoever ended an episode before this one began meant the last one."""
        kept = []
        for request in self.commands.take():
            late = request.command in ENDS_EPISODE and request.episode is None
            if late:
                self.refused(f"'{request.command.value}' is refused: no episode was running")
            else:
                kept.append(request)
        self.commands.give_back(kept)

    def _obey(self, asked: OperatorInput) -> None:
        """Do what was asked.

        Raises:
            _Ended: a command ends the episode; those behind it wait for the next one.
        """
        requests = [*self.commands.take(), *map(Request, asked.commands)]
        for index, request in enumerate(requests):
            outcome = self._apply(request)
            if outcome is not None:
                self.commands.give_back(requests[index + 1 :])
                raise _Ended(outcome)

    def _apply(self, request: Request) -> Outcome | None:
        command, running = request.command, self.builder.episode_id
        if command is Command.STOP:
            self.commands.put(command)  # an operator's: the whole run is to hear it
            return None
        if request.episode not in (None, running):
            self.refused(
                f"'{command.value}' is refused: it is meant for episode {request.episode}, "
                f"and episode {running} is running"
            )
        elif command is Command.TAKE and self.operator is None:
            self.refused("'take' is refused: nobody drives while the policy is evaluated")
        elif command is Command.RESET:
            return Outcome("abandoned", reason="abandoned by the operator")
        elif command is Command.DISCARD:
            return Outcome("discarded")
        elif command in (Command.SUCCESS, Command.FAILURE) and not len(self.builder):
            self.refused(f"'{command.value}' is refused: episode {running} has no step yet")
        elif command in (Command.SUCCESS, Command.FAILURE):
            return self._labelled(command is Command.SUCCESS)
        else:
            self.arbiter.obey(command)
        return None

    def _labelled(self, success: bool) -> Outcome:
        """A person says how it ended; that overrules whoever judges."""
        self.builder.terminate(self.success_reward if success else None)
        called = None
        if self.judge is not None:
            self.judge.said(self.builder.last, success)
            called = self.judge.called
        return Outcome("finished", success=success, called=called)


def _executed(info: Mapping[str, Any], commanded: np.ndarray, spec: EnvSpec) -> np.ndarray:
    """(A,) what the robot says that it has done; ``commanded`` if it says nothing.

    Raises:
        SpecError: it has a wrong shape or leaves [-1, 1]; NonFiniteError if it is not finite.
    """
    if "executed" not in info:
        return commanded
    action = spec.action.validate("info['executed']", info["executed"])
    if np.abs(action).max() > 1.0 + RANGE_TOLERANCE:
        raise SpecError(f"info['executed'] takes actions in [-1, 1], got {action.tolist()}")
    return spec.action.snap(action)
