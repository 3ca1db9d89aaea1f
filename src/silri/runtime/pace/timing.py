"""How well a control loop keeps its rate: histograms, an alarm, metrics of an episode."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from silri.runtime.pace.histogram import Histogram

TOLERANCE = 0.1  # of a period: who wakes up later than that after a deadline is late
WINDOW = 200  # steps that the alarm looks at
LATE_SHARE = 0.01  # of them may be late
NOTICE_EVERY_S = 10.0  # at most; while nothing gets better, twice as long each time
STALL_S = 2.0  # a gap like this is no slow step: a machine asleep, a debugger, a dead device

# Given a sentence for a person, and the numbers behind it.
Notify = Callable[[str, Mapping[str, float]], None]


class Wake(NamedTuple):
    """One wake-up; all but ``lost`` in seconds.

    Attributes:
        due: the deadline.
        arrived: when the loop began to wait for it.
        woke: when it went on.
        period: since the wake-up before.
        lost: more than a whole period had gone by, and deadlines count from ``woke`` now.
    """

    due: float
    arrived: float
    woke: float
    period: float
    lost: bool


_PARTS = ("inference", "the environment", "the rest of the loop", "waking up")
_HISTOGRAMS = ("period", "observation_age", "inference", "command_latency")


class LoopTiming:
    """Histograms of a loop, and its alarm; :mod:`silri.runtime.pace.realtime` feeds it.

    A step is late when the wake-up that ends it comes later than its deadline and the tolerance.
    The command of the next step cannot leave in time then; a command that leaves late within
    its own period (slow inference, yet on rate) is a latency, not a missed budget.

    Attributes:
        histograms: name to histogram, of the running episode.
    """

    def __init__(
        self,
        hz: float,
        notify: Notify = lambda text, details: None,
        *,
        tolerance: float = TOLERANCE,
        window: int = WINDOW,
    ) -> None:
        """Prepare everything; recording allocates nothing.

        Args:
            hz: periods per second that are asked for.
            notify: called on the loop's thread, before the next step.
            tolerance: share of a period.
            window: steps that the alarm looks at.
        """
        self._hz, self._notify, self._tolerance = hz, notify, tolerance / hz
        self.histograms = {name: Histogram() for name in _HISTOGRAMS}
        self._totals = {name: Histogram() for name in _HISTOGRAMS}
        self._counts = {"late": 0, "overruns": 0, "stalls": 0}
        self._total_counts = dict(self._counts)
        self._spent = [0.0, 0.0]  # in this period: inference, environment
        self._steps = 0
        self._late = np.zeros(window, bool)
        self._periods = np.zeros(window)
        self._parts = np.zeros((window, len(_PARTS)))
        self._late_now = 0  # in the window
        self._alarm_at, self._stall_at, self._hold = -math.inf, -math.inf, 0.0

    # -- what is measured ----------------------------------------------------------------------

    def inference(self, seconds: float) -> None:
        """The policy took this long to propose."""
        self.histograms["inference"].record(seconds)
        self._spent[0] += seconds

    def environment(self, seconds: float) -> None:
        """The environment computed this long, waiting left out."""
        self._spent[1] += seconds

    def commanded(self, latency: float, age: float | None) -> None:
        """A command left.

        Args:
            latency: seconds since the period's beginning.
            age: seconds since its observation was taken; None: there was a rest between them.
        """
        self.histograms["command_latency"].record(latency)
        if age is not None:
            self.histograms["observation_age"].record(age)

    def woke(self, wake: Wake) -> None:
        """A period is over."""
        self.histograms["period"].record(wake.period)
        late = wake.woke - wake.due > self._tolerance
        row = self._steps % len(self._late)
        self._late_now += int(late) - int(self._late[row])
        self._late[row], self._periods[row] = late, wake.period
        inference, environment = self._spent
        busy = wake.period - (wake.woke - wake.arrived)
        rest = max(busy - inference - environment, 0.0)  # a rest may have cut the period short
        waking = wake.woke - max(wake.due, wake.arrived)
        self._parts[row] = inference, environment, rest, waking
        self._spent[0] = self._spent[1] = 0.0
        self._steps += 1
        self._counts["late"] += late
        self._counts["overruns"] += wake.lost
        stalled = wake.woke - wake.due > STALL_S
        self._counts["stalls"] += stalled
        if self._late_now > LATE_SHARE * len(self._late):
            self._alarm(wake.woke)
        else:
            self._hold = min(self._hold, NOTICE_EVERY_S)
            if stalled:
                self._stalled(wake)

    def restart(self) -> None:
        """What was spent so far belongs to no period."""
        self._spent[0] = self._spent[1] = 0.0

    # -- the alarm -----------------------------------------------------------------------------

    def _stalled(self, wake: Wake) -> None:
        """One gap; a loop that has many is an alarm instead."""
        if wake.woke - self._stall_at < NOTICE_EVERY_S:
            return
        self._stall_at = wake.woke
        self._notify(
            f"the control loop stood still for {wake.period:.1f} s (a computer that was "
            "suspended, a call that blocked); it goes on without catching up",
            {"loop/stalled_s": wake.period},
        )

    def _alarm(self, now: float) -> None:
        if now - self._alarm_at >= self._hold:
            self._alarm_at, self._hold = now, max(NOTICE_EVERY_S, 2 * self._hold)
            self._notify(*self._explain())

    def _explain(self) -> tuple[str, dict[str, float]]:
        """What a person should know about the window."""
        seen = min(self._steps, len(self._late))
        periods = self._periods[:seen]
        reached, p99 = seen / float(periods.sum()), float(np.percentile(periods, 99))
        spent = self._parts[:seen][self._late[:seen]].mean(axis=0)
        order = np.argsort(-spent, kind="stable")
        worst, *others = [f"{_PARTS[i]} {1e3 * spent[i]:.1f} ms" for i in order]
        text = (
            f"the control loop is asked for {self._hz:g} Hz and reaches {reached:.1f} Hz: "
            f"{self._late_now} of the last {seen} steps were late, the 99th percentile of the "
            f"period is {1e3 * p99:.1f} ms instead of {1e3 / self._hz:.1f} ms. A late "
            f"step spends most on {worst} ({', '.join(others)})"
        )
        return text, {
            "loop/hz": self._hz,
            "loop/reached_hz": reached,
            "loop/late": float(self._late_now),
            "loop/period_p99_ms": 1e3 * p99,
        }

    # -- what is reported ----------------------------------------------------------------------

    def end_episode(self) -> dict[str, float]:
        """The episode's metrics for one line of ``metrics.jsonl``; counting starts anew.

        Returns:
            Milliseconds and counts; NaN where nothing was measured.
        """
        quantiles = {
            "period_p50": ("period", 50),
            "period_p99": ("period", 99),
            "period_max": ("period", 100),
            "inference_p99": ("inference", 99),
            "observation_age_p99": ("observation_age", 99),
            "command_latency_p99": ("command_latency", 99),
        }
        metrics = {
            f"loop/{name}_ms": 1e3 * self.histograms[histogram].percentile(q)
            for name, (histogram, q) in quantiles.items()
        }
        metrics |= {f"loop/{name}": float(self._counts[name]) for name in ("late", "overruns")}
        for name, histogram in self.histograms.items():
            self._totals[name].merge(histogram)
            histogram.clear()
        for name, count in self._counts.items():
            self._total_counts[name] += count
            self._counts[name] = 0
        return metrics

    def to_json(self) -> dict[str, Any]:
        """Of all episodes that have ended: for ``loop.json``."""
        return {
            "hz": self._hz,
            **self._total_counts,
            "histograms": {name: total.to_json() for name, total in self._totals.items()},
        }
