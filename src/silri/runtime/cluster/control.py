"""The control loop of one robot: a plain process that owns the device and knows no network.

It drives with the newest parameters that lie in its spool folder, and keeps every finished episode
there. It also records the demonstrations and makes the evaluations that the learner orders. It
never waits for the learner in an episode. Between episodes it waits for the very first parameters
(a robot is not driven by a random policy) and on the order to hold.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from silri.agents.registry import load_agent
from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.commands import CommandQueue
from silri.core.errors import DataError
from silri.core.events import (
    DemonstrationStep,
    EpisodeBegan,
    EpisodeDiscarded,
    EpisodeEnded,
    EpisodeFinished,
    EpisodeQuarantined,
    Evaluated,
    EvaluationBegan,
    Event,
    LearnerUpdated,
    Notice,
    RobotWaits,
    RunBegan,
    StepTaken,
    Subscriber,
)
from silri.core.protocols import Env, HasPrivileged, Live, Operator, Policy
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import EnvSpec, Observation
from silri.core.transition import Transition
from silri.data.episode import Episode, EpisodeBuilder
from silri.envs.registry import is_object
from silri.runtime.acting.autonomous import Evaluate
from silri.runtime.acting.demos import record_demonstrations, set_aside, telling
from silri.runtime.acting.driver import Driver
from silri.runtime.acting.judging import open_classifier
from silri.runtime.acting.rollout import Outcome
from silri.runtime.cluster.paths import SpoolPaths, leave_record, read_record, write_record
from silri.runtime.cluster.policy import RobotPolicy
from silri.runtime.cluster.spool import Spool, decode_upload
from silri.runtime.starting.contract import close_env, close_operator, required
from silri.store.safety import files
from silri.store.safety.lock import FolderLock

_LOG = logging.getLogger(__name__)

BEAT_S = 1.0  # between signs of life
DISK_FULL = "standing still with an episode in hand: the disk is full"
WAIT_S = 0.2  # how often a waiting loop looks at its orders


class RobotLoop:
    """Episode after episode, until asked to stop or told that the run is done.

    Attributes:
        config: of the run, as the learner sent it.
        spool: where finished episodes go.
        commands: anybody may put commands to the loop here, from any thread.
    """

    def __init__(
        self,
        config: RunConfig,
        spool: Spool,
        env: Env,
        operator: Operator,
        clock: Clock,
        stop: Callable[[], bool],
        *,
        evaluate: Evaluate,
        subscribers: Sequence[Subscriber] = (),
        commands: CommandQueue | None = None,
        before_episode: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare everything but the parameters, and say what this robot observes and does.

        Args:
            config: of the run.
            spool: of this robot.
            env: the robot, which is closed with the loop.
            operator: demonstrates and intervenes.
            clock: monotonic.
            stop: asked before every step.
            evaluate: measures a policy when the learner orders it.
            subscribers: told of the same events as in a run in one process. ``env_step`` counts
                this robot's steps in this session, ``episode_id`` is its own number.
            commands: from outside, taken in every step.
            before_episode: asks the system for precedence, say; called when all is compiled.

        Raises:
            RunFolderError: another control loop uses this spool.
        """
        self.config, self.spool = config, spool
        self.commands = queue = commands or CommandQueue()
        self._asked_to_stop = stop
        self._evaluate, self._subscribers = evaluate, list(subscribers)
        if isinstance(operator, Subscriber):
            self._subscribers.append(operator)
        self._before_episode = before_episode
        self._paths = SpoolPaths(spool.folder)
        self._lock = FolderLock(spool.folder)
        files.remove(self._paths.orders)  # of an earlier session: the uplink brings new ones
        self._spec = env.env_spec.at_rate(config.runtime.rate_hz)
        agent = load_agent(config.agent_name).agent
        self._policy = RobotPolicy(config, self._spec, self._paths)
        seen = self._policy.acting.sight.seen
        names = agent.diagnostic_names(config.agent, seen, config.augment)
        self._operator = operator
        simulated = isinstance(env, HasPrivileged) and not is_object(config.env_name)
        self._begins = RunBegan(str(spool.folder), self._spec, tuple(names), simulated, queue)
        if kept := read_record(self._paths.operator):
            with required("operator.restore"):
                self._operator.restore(kept)
        self._number = spool.next_number()
        self._demonstrated: set[int] = set()  # layouts of this session's demonstrations
        self._counts = {"episodes": 0, "steps": 0, "faults": 0, "discarded": 0, "late": 0}
        self._note = "starting"
        self._clock, self._env = clock, env
        self._driver = Driver(
            config,
            env,
            self._policy,
            self._operator,
            clock=clock,
            stop=self._stop,
            commands=queue,
            notify=self._alarm,
            errors=self._paths.errors,
            on_step=self._on_step,
            on_begin=self._on_begin,
            classifier=open_classifier(config, self._spec, spool.folder),
            home=spool.folder,
        )
        self._next_beat = clock.now()
        told = {"spec": self._spec.to_json(), "diagnostics": list(names)}
        write_record(self._paths.spec, told, durable=True)  # for the uplink to pass on

    def run(self) -> None:
        """Drive.

        Raises:
            EnvironmentFault: the environment failed too often in a row.
            DataError: the disk is too full for another episode.
        """
        try:
            self._notify(self._begins)
            self._notify(RobotWaits(0, "the robot gets ready"))
            self._policy.warm_up()
            while (task := self._wait_for_orders()) is not None:
                self.spool.check_room(_largest(self._spec))
                self._before_episode()
                task()
            self._notify(RobotWaits(self._counts["steps"], "this robot has stopped", over=True))
        finally:
            self._beat("stopped", force=True)
            self._driver.close()
            close_env(self._env, lambda text: self._alarm(text, {}))
            close_operator(self._operator, lambda text: self._alarm(text, {}))
            self._lock.release()

    def _wait_for_orders(self) -> Callable[[], None] | None:
        """What to do next; waits while there is nothing to drive with. None: the end."""
        while not self._stop():
            orders = read_record(self._paths.orders)
            if orders.get("phase") == "done":
                return None
            if wanted := orders.get("demonstrate"):
                known = self._known_demonstrations(wanted["seeds"])
                if len(known) < wanted["count"]:
                    return lambda: self._demonstrate(wanted["count"], known)
            ready = self._policy.refresh()
            asked = orders.get("evaluate")
            if asked and asked["id"] != read_record(self._paths.evaluation).get("id"):
                # A learner that has crashed may have gone back to an older version.
                if self._policy.version >= asked["version"]:
                    return lambda: self._measure(asked["id"])
                ready = False  # its parameters are on their way
            if ready and not orders.get("hold"):
                return self._episode
            self._wait(orders, ready=ready)
            self._clock.sleep(WAIT_S)
        return None

    def _wait(self, orders: Mapping[str, Any], *, ready: bool) -> None:
        """Say what the robot stands still for."""
        lag = orders.get("lag")
        note = f"the learner is {lag} steps behind" if ready else "waiting for parameters"
        if note != self._note:
            reason = note if ready else "it waits for the learner's policy"
            self._notify(RobotWaits(self._counts["steps"], reason))
        self._beat(note)

    # -- what may be ordered ----------------------------------------------------------------------

    def _episode(self) -> None:
        """One episode of training."""
        robot = zlib.crc32(self.spool.origin(0).encode())
        self._policy.noise = derive_seed(self.config.seed, Stream.ACTION_NOISE, robot, self._number)
        builder = EpisodeBuilder(
            spec=self._spec,
            episode_id=self._number,
            is_demo=False,
            seed=derive_seed(self.config.seed, Stream.TRAIN_LAYOUT, robot, self._number),
            task=self._spec.name,
            operator=self.config.operator_name,
        )
        draws = rng(self.config.seed, Stream.TRAIN_OPERATOR, robot, self._number)
        outcome = self._driver.train(builder, draws)
        steps, end = self._counts["steps"], outcome.end
        self._notify(EpisodeEnded(steps, builder.episode_id, "training", end, outcome.success))
        if outcome.end == "stopped":
            return
        if outcome.end == "discarded":
            self._counts["discarded"] += 1
            self._number += 1
            self._notify(EpisodeDiscarded(steps, builder.episode_id))
        else:
            self._keep(builder, outcome)
        remedy = f"start robot '{self.spool.robot}' again"
        self._driver.check_faults(builder, outcome, remedy)

    def _demonstrate(self, count: int, known: set[int]) -> None:
        """Record what is missing of ``count`` demonstrations; the learner waits for them."""
        sparse = self.config.sparse_rewards
        live, loop = isinstance(self._operator, Live), self._driver.loop

        def on_step(transition: Transition, _: Mapping[str, float]) -> None:
            self._beat("demonstrating")
            self._notify(DemonstrationStep(transition))

        heard = telling(self._notify) | {
            "on_step": on_step,
            "refused": lambda text: self._alarm(text, {}),
        }
        for episode in record_demonstrations(
            loop.env if live else self._env,
            self._operator,
            self.config.operator_name,
            count=count,
            seed=self.config.seed,
            known_seeds=known,
            first_id=self._number,
            stop=self._stop,
            clock=loop.clock if live else self._clock,
            commands=self.commands,
            success_reward=self.config.env.success_reward if sparse else None,
            broken=set_aside(None, self._driver.faults, lambda text: self._alarm(text, {})),
            end_on_success=self.config.reward.model is not None,
            **heard,
        ):
            self._demonstrated.add(episode.seed)
            self._add(episode, "")
            self._number += 1
        loop.end_episode()  # its timing belongs to no episode of training

    def _known_demonstrations(self, stored: Sequence[int]) -> set[int]:
        """Layouts that need no demonstration: stored, waiting in the spool, or on the way."""
        if not self._demonstrated:  # a new session
            waiting = (decode_upload(self.spool.read(n), "here") for n in self.spool.waiting())
            self._demonstrated = {each.episode.seed for each in waiting if each.episode.is_demo}
        return self._demonstrated | set(stored)

    def _measure(self, order: str) -> None:
        """The evaluation that the learner has asked for."""

        def drive(policy: Policy, builder: EpisodeBuilder) -> Outcome:
            return self._driver.evaluate(policy, builder, lambda *_: self._beat("evaluating"))

        self._notify(EvaluationBegan(self._counts["steps"]))
        metrics = self._evaluate(self._policy.acting, self._spec, drive)
        if metrics is not None:
            version = self._policy.version
            record = {"id": order, "version": version, "metrics": dict(metrics)}
            write_record(self._paths.evaluation, record, durable=True)
            self._notify(Evaluated(self._counts["steps"], metrics))

    # -- one episode ------------------------------------------------------------------------------

    def _keep(self, builder: EpisodeBuilder, outcome: Outcome) -> None:
        """Into the spool, with the reason if it is for the quarantine."""
        reason, steps = outcome.reason, self._counts["steps"]
        self._counts["faults"] += bool(reason)
        if not len(builder):  # nothing to keep: another episode has another number
            self._alarm(f"episode {self._number} did not begin: {reason}", {})
            self._number += 1
            return
        episode = builder.build(success=outcome.success and not reason)
        self._add(episode, reason)
        self._number += 1
        self._counts["episodes"] += 1
        if reason:
            self._notify(EpisodeQuarantined(steps, builder.episode_id, reason))
        else:
            stats = episode.stats()
            state = self._driver.tell_operator(builder.episode_id, stats)
            write_record(self._paths.operator, state, durable=True)
            self._notify(EpisodeFinished(steps, builder.episode_id, stats))
        if metrics := self._driver.news():
            self._notify(LearnerUpdated(steps, metrics))
        if metrics := self._driver.loop.end_episode():
            self._counts["late"] += int(metrics["loop/late"])
            leave_record(self._paths.loop, self._driver.loop.summary())
            self._notify(LearnerUpdated(steps, metrics))
        self._beat("driving", force=True)

    def _add(self, episode: Episode, reason: str) -> None:
        """Into the spool; the robot stands still while there is no room for it."""
        while True:
            try:
                return self.spool.add(self._number, episode, reason, self._spec.control_hz)
            except DataError as error:
                if self._stop():
                    raise
                if self._note != DISK_FULL:
                    _LOG.warning("robot '%s' stands still: %s", self.spool.robot, error)
                self._beat(DISK_FULL)
                self._clock.sleep(WAIT_S)

    def _on_begin(self, builder: EpisodeBuilder, observation: Observation) -> None:
        number, steps = builder.episode_id, self._counts["steps"]
        self._notify(
            EpisodeBegan(steps, number, "training", builder.seed, builder.task, observation)
        )

    def _on_step(self, transition: Transition, diagnostics: Mapping[str, float]) -> None:
        self._counts["steps"] += 1
        self._notify(StepTaken(self._counts["steps"], transition, diagnostics))
        self._beat("driving")

    def _stop(self) -> bool:
        """Whether to stop; asked also while the robot stands still for a person: it is alive."""
        self._beat(self._note)
        return self._asked_to_stop() or self.commands.stopping

    def _beat(self, note: str, *, force: bool = False) -> None:
        """The heartbeat that the uplink passes on and the supervisor watches."""
        now = self._clock.now()
        if force or now >= self._next_beat or note != self._note:
            self._note, self._next_beat = note, now + BEAT_S
            record: dict[str, Any] = {"pid": os.getpid(), "beat": now, "note": note}
            leave_record(self._paths.control, record | self._counts)

    def _alarm(self, text: str, details: Mapping[str, float]) -> None:
        _LOG.warning("robot '%s': %s", self.spool.robot, text)
        self._notify(Notice(self._counts["steps"], text, details))

    def _notify(self, event: Event) -> None:
        for subscriber in self._subscribers:
            subscriber.on_event(event)


def _largest(spec: EnvSpec) -> int:
    """Bytes that an episode has at most, uncompressed."""
    arrays = spec.observation.values()
    step = sum(int(np.prod(a.shape)) * np.dtype(a.dtype).itemsize for a in arrays)
    return spec.max_episode_steps * (step + 64 * spec.action.size)
