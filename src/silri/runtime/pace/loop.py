"""The parts of a control loop, at the rate that the run asks for or as fast as they can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from silri.core.clock import Clock
from silri.core.protocols import Env, Policy
from silri.runtime.pace.realtime import PacedEnv, Pacer, TimedPolicy, no_garbage_collection
from silri.runtime.pace.timing import LoopTiming, Notify


class ControlLoop:
    """What ``rollout`` is given.

    Attributes:
        env, policy, clock: paced and timed, if there is a rate.
    """

    def __init__(self, env: Env, policy: Policy, clock: Clock, hz: float, notify: Notify) -> None:
        """A loop over ``env``.

        Args:
            env: as it was made.
            policy: proposes the actions.
            clock: of the run.
            hz: steps per second to keep; 0: none.
            notify: told when the rate is missed.
        """
        self.env, self.policy, self.clock = env, policy, clock
        self._pacer: Pacer | None = None
        self._timing: LoopTiming | None = None
        if hz:
            self._pacer = self.clock = Pacer(clock, hz)
            self._timing = LoopTiming(hz, notify)
            self.env = PacedEnv(env, self._pacer, self._timing)
            self.policy = TimedPolicy(policy, self._pacer, self._timing)

    def timed(self, policy: Policy) -> Policy:
        """Another policy, timed as :attr:`policy` is."""
        if self._pacer is None or self._timing is None:
            return policy
        return TimedPolicy(policy, self._pacer, self._timing)

    @contextmanager
    def episode(self) -> Iterator[None]:
        """Around one episode: while there is a rate to keep, garbage waits until it is over."""
        if self._timing is None:
            yield
            return
        with no_garbage_collection():
            yield

    def restart(self) -> None:
        """Something took its time on purpose (an evaluation): the next period begins now."""
        if self._pacer is not None and self._timing is not None:
            self._pacer.restart()
            self._timing.restart()

    def end_episode(self) -> dict[str, float]:
        """The episode's ``loop/...`` metrics; empty without a rate."""
        metrics = {} if self._timing is None else self._timing.end_episode()
        return {name: value for name, value in metrics.items() if value == value}

    def summary(self) -> dict[str, Any]:
        """All histograms so far, for ``loop.json``; empty without a rate."""
        return {} if self._timing is None else self._timing.to_json()
