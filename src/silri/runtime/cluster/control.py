"""The control loop of one robot: a plain process that owns the device and knows no network.

It acts with the newest parameters that lie in its spool folder, and keeps every finished episode
there. It never waits for the learner, with two exceptions, both between episodes: before the very
first parameters have come (a robot is not driven by a random policy), and on the order to hold.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from silri.agents.base import Agent
from silri.agents.registry import load_agent
from silri.configs.run import RunConfig
from silri.core.clock import Clock
from silri.core.errors import DataError, EnvironmentFault
from silri.core.protocols import Env
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import EnvSpec, Observation
from silri.core.transition import Transition
from silri.data import files
from silri.data.episode import Episode, EpisodeBuilder
from silri.data.lock import FolderLock
from silri.data.spool import Spool
from silri.intervention.arbiter import Arbiter
from silri.runtime.cluster.parameters import unpack
from silri.runtime.cluster.paths import SpoolPaths, leave_record, read_record, write_record
from silri.runtime.export import decode_parameters
from silri.runtime.loop import ControlLoop
from silri.runtime.prepare import make_operator
from silri.runtime.rollout import FAULTS_IN_A_ROW, Outcome, rollout

_LOG = logging.getLogger(__name__)

BEAT_S = 1.0  # between signs of life
DISK_FULL = "standing still with an episode in hand: the disk is full"
WAIT_S = 0.2  # how often a waiting loop looks at its orders


class RobotPolicy:
    """Acts with the newest parameters that the uplink has brought.

    Attributes:
        version: learner iterations behind them; -1 before the first.
    """

    def __init__(self, config: RunConfig, spec: EnvSpec, paths: SpoolPaths) -> None:
        seed = derive_seed(config.seed, Stream.NETWORK_INIT)
        self._agent: Agent = load_agent(config.agent_name).agent.create(
            config.agent, spec, None, seed
        )
        self._template, self._path = self._agent, paths.policy
        self._seen: tuple[int, int] | None = None
        self.version = -1
        self.noise = 0  # what exploration of this episode derives from

    def refresh(self) -> bool:
        """Take what is new; between episodes, or a robot would change its mind in one.

        Returns:
            Whether there is anything to act with.
        """
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns)  # each write makes a new file
            if stamp != self._seen:
                self._seen = stamp
                parameters = unpack(self._path.read_bytes(), str(self._path))
                self._agent = decode_parameters(parameters.arrays, self._template, str(self._path))
                self.version = parameters.version
        except FileNotFoundError:
            pass
        except DataError as error:  # keep what works; the next ones will come
            _LOG.warning("%s; acting with version %d", error, self.version)
        return self.version >= 0

    def warm_up(self, spec: EnvSpec) -> None:
        """Compile before the robot moves."""
        zeros = {key: np.zeros(a.shape, a.dtype) for key, a in spec.observation.items()}
        self._agent.act(zeros, episode=0, step=0, explore=True)

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """One decision."""
        del episode  # the robots' numbers overlap; their noise must not
        return self._agent.act(observation, episode=self.noise, step=step, explore=True)


class RobotLoop:
    """Episode after episode, until asked to stop or told that the run is done.

    Attributes:
        config: of the run, as the learner sent it.
        spool: where finished episodes go.
    """

    def __init__(
        self,
        config: RunConfig,
        spool: Spool,
        env: Env,
        clock: Clock,
        stop: Callable[[], bool],
        before_episode: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare everything but the parameters.

        Args:
            config: of the run.
            spool: of this robot.
            env: the robot.
            clock: monotonic.
            stop: asked before every step.
            before_episode: asks the system for precedence, say; called when all is compiled.

        Raises:
            RunFolderError: another control loop uses this spool.
            SpecError: the learner's spec is not this environment's.
        """
        self.config, self.spool, self._stop = config, spool, stop
        self._before_episode = before_episode
        self._paths = SpoolPaths(spool.folder)
        self._lock = FolderLock(spool.folder)
        files.remove(self._paths.orders)  # of an earlier session: the uplink brings new ones
        self._spec = env.env_spec
        self._operator = make_operator(config, env)
        if kept := read_record(self._paths.operator):
            self._operator.restore(kept)
        self._arbiter = Arbiter(self._spec.action, config.runtime.blend_steps)
        self._policy = RobotPolicy(config, self._spec, self._paths)
        self._number = spool.next_number()
        self._counts = {"episodes": 0, "steps": 0, "faults": 0, "late": 0}
        self._note = "starting"
        self._clock, self._env = clock, env
        self._loop = ControlLoop(env, self._policy, clock, config.runtime.rate_hz, self._alarm)
        self._next_beat = clock.now()

    def run(self) -> None:
        """Drive.

        Raises:
            EnvironmentFault: the environment failed :data:`FAULTS_IN_A_ROW` times in a row.
            DataError: the disk is too full for another episode.
        """
        faults = 0
        try:
            self._policy.warm_up(self._spec)
            while self._wait_for_orders():
                self.spool.check_room(_largest(self._spec))
                self._before_episode()
                with self._loop.episode():
                    outcome, builder = self._episode()
                if outcome.end == "stopped":
                    return
                faults = 0 if outcome.end == "finished" else faults + 1
                reason = "" if outcome.end == "finished" else outcome.reason or "abandoned"
                if len(builder):
                    self._keep(builder, outcome.success, reason)
                if faults and (not len(builder) or faults == FAULTS_IN_A_ROW):
                    raise EnvironmentFault(
                        f"{self._spec.name} failed at episode {self._number} of robot "
                        f"'{self.spool.robot}': {reason}. Finished episodes are safe"
                    )
        finally:
            self._beat("stopped", force=True)
            self._env.close()
            self._lock.release()

    def _wait_for_orders(self) -> bool:
        """Whether to drive one more episode; waits while there is nothing to drive with."""
        while not self._stop():
            orders = read_record(self._paths.orders)
            if orders.get("phase") == "done":
                return False
            ready = self._policy.refresh()
            if ready and not orders.get("hold"):
                return True
            lag = orders.get("lag")
            self._beat(f"the learner is {lag} steps behind" if ready else "waiting for parameters")
            self._clock.sleep(WAIT_S)
        return False

    def _episode(self) -> tuple[Outcome, EpisodeBuilder]:
        robot = zlib.crc32(self.spool.origin(0).encode())
        self._policy.noise = derive_seed(self.config.seed, Stream.ACTION_NOISE, robot, self._number)
        builder = EpisodeBuilder(
            spec=self._spec,
            episode_id=self._number,
            is_demo=False,
            seed=derive_seed(self.config.seed, Stream.TRAIN_LAYOUT, robot, self._number),
            task=self._spec.name,
            operator=self.config.operator.name,
        )
        outcome = rollout(
            self._loop.env,
            self._loop.policy,
            self._operator,
            self._arbiter,
            builder,
            rng=rng(self.config.seed, Stream.TRAIN_OPERATOR, robot, self._number),
            on_step=self._on_step,
            stop=self._stop,
            clock=self._loop.clock,
        )
        return outcome, builder

    def _keep(self, builder: EpisodeBuilder, success: bool, reason: str) -> None:
        episode = builder.build(success=success and not reason)
        self._add(episode, reason)
        self._number += 1
        self._counts["episodes"] += 1
        self._counts["faults"] += bool(reason)
        if not reason:
            self._operator.end_episode(episode.stats())
            write_record(self._paths.operator, dict(self._operator.state()), durable=True)
        if metrics := self._loop.end_episode():
            self._counts["late"] += int(metrics["loop/late"])
            leave_record(self._paths.loop, self._loop.summary())
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

    def _on_step(self, transition: Transition, diagnostics: Mapping[str, float]) -> None:
        del transition, diagnostics
        self._counts["steps"] += 1
        self._beat("driving")

    def _beat(self, note: str, *, force: bool = False) -> None:
        """The heartbeat that the uplink passes on and the supervisor watches."""
        now = self._clock.now()
        if force or now >= self._next_beat or note != self._note:
            self._note, self._next_beat = note, now + BEAT_S
            record: dict[str, Any] = {"pid": os.getpid(), "beat": now, "note": note}
            leave_record(self._paths.control, record | self._counts)

    def _alarm(self, text: str, details: Mapping[str, float]) -> None:
        del details
        _LOG.warning("robot '%s': %s", self.spool.robot, text)


def _largest(spec: EnvSpec) -> int:
    """Bytes that an episode has at most, uncompressed."""
    arrays = spec.observation.values()
    step = sum(int(np.prod(a.shape)) * np.dtype(a.dtype).itemsize for a in arrays)
    return spec.max_episode_steps * (step + 64 * spec.action.size)


def check_setup(setup: dict[str, Any], spec: EnvSpec) -> None:
    """Whether the learner trains for this robot's observations and actions.

    Raises:
        DataError: if not; names what differs.
    """
    wanted, here = setup["spec"], spec.to_json()
    odd = [key for key in ("observation", "action") if wanted[key] != here[key]]
    if odd:
        raise DataError(
            f"the {odd[0]} of {spec.name} on this robot is {here[odd[0]]}; the learner was set up "
            f"for {wanted[odd[0]]}"
        )
