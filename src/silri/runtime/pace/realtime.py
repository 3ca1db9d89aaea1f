"""A control loop that keeps its rate, knows how well, and says so when it does not.

    pacer = Pacer(clock, hz=20)
    timing = LoopTiming(pacer.hz, notify)
    env, policy = PacedEnv(env, pacer, timing), TimedPolicy(policy, pacer, timing)
    with no_garbage_collection():
        rollout(env, policy, ..., clock=pacer)
    metrics = timing.end_episode()

A period lasts from one wake-up to the next: sense, propose, decide, command, wait.
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from silri.core.clock import Clock
from silri.core.errors import ConfigError, SpecError
from silri.core.protocols import (
    Disturbable,
    Env,
    HasPrivileged,
    Observable,
    Policy,
    SelfPaced,
)
from silri.core.specs import Observation
from silri.runtime.pace.timing import LoopTiming, Wake


class Pacer:
    """Deadlines at ``start + k / hz`` on a monotonic clock, so that no error adds up.

    Also a :class:`~silri.core.clock.Clock` whose :meth:`sleep` is a rest that the loop takes on
    purpose: deadlines start anew after it. Give it to ``rollout``, which sleeps while paused.

    Attributes:
        hz: periods per second.
        period: seconds.
        tick: the deadline at which the current period began.
        rested: when the last rest ended.
    """

    def __init__(self, clock: Clock, hz: float) -> None:
        """The first period begins now.

        Raises:
            ConfigError: ``hz`` is not a positive number.
        """
        if not (hz > 0 and math.isfinite(hz)):
            raise ConfigError(f"a control rate is a number of Hz above 0, got {hz!r}")
        self.clock, self.hz, self.period = clock, hz, 1.0 / hz
        self.rested = -math.inf
        self.restart()

    def restart(self) -> None:
        """A period begins now."""
        self._start = self._woke = self.tick = self.clock.now()
        self._index = 0

    def wait(self) -> Wake:
        """Sleep until the current period is over.

        A loop that is late goes on at once; what it lost beyond a whole period it never makes
        up for: a robot must not be sent a burst of commands.
        """
        arrived = now = self.clock.now()
        due = self._start + (self._index + 1) * self.period
        lost = arrived > due + self.period
        if lost:
            self._start, self._index, self.tick = arrived, 0, arrived
        else:
            self._index, self.tick = self._index + 1, due
            # The system's sleep alone: it wakes up 0.1 ms late, always alike, and spinning for
            # the last millisecond would burn the core that interrupts and XLA need too.
            while now < due:
                self.clock.sleep(due - now)
                now = self.clock.now()
        wake = Wake(due, arrived, now, now - self._woke, lost)
        self._woke = now
        return wake

    def now(self) -> float:
        """Of the clock."""
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        """Rest; not part of any period."""
        self.clock.sleep(seconds)
        self.restart()
        self.rested = self.tick


class PacedEnv:
    """Any :class:`~silri.core.protocols.Env` at the pacer's rate.

    ``step`` sends the command and returns at the end of the control period. An environment that
    is not :class:`~silri.core.protocols.SelfPaced` has sensed before the wait: unless its
    ``info`` says otherwise, its observation is as old as its ``step``'s return. ``privileged``,
    ``observe`` and ``disturb`` are there if the environment has them.
    """

    def __init__(self, env: Env, pacer: Pacer, timing: LoopTiming) -> None:
        self.env_spec = env.env_spec.at_rate(pacer.hz)
        self._env, self._pacer, self._timing = env, pacer, timing
        self._observed = self._since = pacer.now()
        self._stepping = self._waited = False
        # Into the instance: runtime protocols are checked by what is really there.
        if isinstance(env, HasPrivileged):
            vars(self)["privileged"] = env.privileged
        if isinstance(env, Disturbable):
            vars(self)["disturb"] = env.disturb
            vars(self)["disturbances"] = env.disturbances
        if isinstance(env, Observable):
            vars(self)["observe"] = env.observe
        if isinstance(env, SelfPaced):
            env.pace(self._wait)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Take the time it takes; the first period begins when it is done."""
        self._stepping = False
        self._pacer.restart()
        observation, info = self._env.reset(seed=seed, options=options)
        self._pacer.restart()
        self._timing.restart()
        self._observed = _stamp(info, "observed_at", -math.inf, self._pacer.tick)
        return observation, info

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Send ``action`` now, return when the period is over.

        Raises:
            SpecError: a time stamp in ``info`` is not one of the run's clock.
        """
        pacer, timing, tick, observed = self._pacer, self._timing, self._pacer.tick, self._observed
        self._stepping, self._waited = True, False
        entered = self._since = pacer.now()
        result = self._env.step(action)
        returned = pacer.now()
        timing.environment(returned - self._since)
        self._since = returned
        info = result[4]
        commanded = _stamp(info, "commanded_at", entered, returned, entered)
        self._observed = _stamp(info, "observed_at", -math.inf, returned)
        age = commanded - observed if observed >= pacer.rested else None
        timing.commanded(commanded - tick, age)
        if not self._waited:
            self._wait()
        return result

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _wait(self) -> None:
        self._waited = True
        if not self._stepping:  # a robot on its way home keeps the rate, but nobody measures it
            self._pacer.wait()
            return
        self._timing.environment(self._pacer.now() - self._since)
        wake = self._pacer.wait()
        self._since = wake.woke
        self._timing.woke(wake)


def _stamp(
    info: Mapping[str, Any],
    name: str,
    earliest: float,
    latest: float,
    default: float | None = None,
) -> float:
    """The time stamp ``name``, checked; ``default`` (else ``latest``) where there is none."""
    value = info.get(name)
    if value is None:
        return latest if default is None else default
    if not isinstance(value, int | float | np.number) or not earliest <= value <= latest:
        raise SpecError(
            f"info[{name!r}] = {value!r} is no time between {earliest:.3f} s and {latest:.3f} s "
            "of the run's clock (time.monotonic)"
        )
    return float(value)


class TimedPolicy:
    """A policy whose proposals are timed."""

    def __init__(self, policy: Policy, clock: Clock, timing: LoopTiming) -> None:
        self._policy, self._clock, self._timing = policy, clock, timing

    @property
    def version(self) -> int:
        """Of the policy."""
        return self._policy.version

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """What the policy proposes."""
        started = self._clock.now()
        proposal = self._policy.propose(observation, episode, step)
        self._timing.inference(self._clock.now() - started)
        return proposal


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Cycles of garbage wait until the block is over; meant for one episode.

    A full collection walks everything that JAX has ever traced: tens of milliseconds, whenever
    Python thinks fit. What lives already is frozen, so the collection afterwards looks only at
    what the block has made.
    """
    enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        if enabled:
            gc.enable()
