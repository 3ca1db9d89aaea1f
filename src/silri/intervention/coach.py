"""When to take over, when to let go, when to stop watching: advice from what the robot says.

The coach sees what a page shows and nothing else: the robot's estimate Q of what it will earn
from here, how long its successes took, and how many of its last attempts it did alone. It never
sees the simulator's truth. A person may follow it or not; a simulated one with
``operator.gate.follows coach`` does, so that the advice's value is measured
(``silri bench coach``).

==========  =======================================================================================
take over   Q has not risen for :data:`PATIENCE` steps, or the attempt takes :data:`OVERDUE` times
            as long as the robot's successes do
let go      Q is higher than it ever was before the person came, and has been for
            :data:`SURE` steps
start over  a takeover in this attempt ended without that: nobody gets on from here
stop        the robot did at least :data:`ENOUGH` of its last :data:`ATTEMPTS` attempts alone
disagree    the person as learned has a deviation of :data:`WIDE` here: no instruction, but a fact
==========  =======================================================================================
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

PATIENCE = 6
OVERDUE = 1.5
SURE = 3
WIDE = 0.45  # action units; of trained runs with imperfect people a tenth of the states is above
ATTEMPTS = 10
ENOUGH = 9


class Kind(StrEnum):
    """What the coach says."""

    TAKE_OVER = "take_over"
    LET_GO = "let_go"
    START_OVER = "start_over"
    STOP = "stop"
    DISAGREE = "disagree"


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do now.

    Attributes:
        kind: of advice.
        why: one sentence with the number behind it.
    """

    kind: Kind
    why: str


class Coach:
    """Follows a run step by step; one instance per robot."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._alone: deque[bool] = deque(maxlen=ATTEMPTS)
        self._length = math.nan  # of the robot's successes, steps, over about ATTEMPTS of them
        self.begin_episode()

    def begin_episode(self) -> None:
        """Forget the last episode's estimates."""
        self._best = -math.inf
        self._since_best = self._above = 0
        self._driven = self._helped = False

    def advise(
        self, step: int, estimate: float, *, driven: bool, spread: float = math.nan
    ) -> Advice | None:
        """What to do in this step, before it is executed.

        Args:
            step: index within the episode.
            estimate: Q of what the robot would do, here; NaN where an agent has none.
            driven: a person drives now.
            spread: deviation of the person as learned here, action units, the mean over
                dimensions; NaN where an agent has none.
        """
        if driven:
            return self._while_driving(estimate, spread)
        self._driven = False
        if estimate > self._best:
            self._best, self._since_best, self._helped = estimate, 0, False
        elif not math.isnan(estimate):
            self._since_best += 1
        if (alone := sum(self._alone)) >= ENOUGH:
            return Advice(Kind.STOP, f"it did {alone} of its last {ATTEMPTS} attempts alone")
        if self._helped:
            return Advice(
                Kind.START_OVER,
                f"help has not raised its estimate ({estimate:.2f}, it was {self._best:.2f})",
            )
        if step >= OVERDUE * self._length:
            usual = round(self._length)
            return Advice(Kind.TAKE_OVER, f"step {step}; its successes take about {usual}")
        if self._since_best >= PATIENCE:
            return Advice(
                Kind.TAKE_OVER,
                f"its estimate has not risen for {self._since_best} steps "
                f"({estimate:.2f}, it was {self._best:.2f})",
            )
        return None

    def _while_driving(self, estimate: float, spread: float) -> Advice | None:
        if not self._driven:
            self._driven, self._helped, self._above = True, True, 0
        self._since_best = 0  # the robot begins anew after a person
        further = math.isfinite(self._best) and estimate > self._best
        self._above = self._above + 1 if further else 0
        if self._above >= SURE:
            why = f"its estimate is {estimate:.2f}; before you came it was {self._best:.2f}"
            return Advice(Kind.LET_GO, why)
        if spread >= WIDE:
            return Advice(
                Kind.DISAGREE,
                f"your corrections here differ by {spread:.2f} (1 is full speed): "
                "the robot finds its own way",
            )
        return None

    def end_episode(self, *, success: bool, length: int, human_steps: int) -> None:
        """Remember who did it, and how long it took.

        Args:
            success: of the episode.
            length: steps.
            human_steps: of them that a person drove.
        """
        self._alone.append(success and not human_steps)
        if success:
            usual = length if math.isnan(self._length) else self._length
            self._length = usual + (length - usual) / ATTEMPTS

    def state(self) -> dict[str, float]:
        """What must survive a restart; fed only by :meth:`end_episode`."""
        state = {f"alone.{index}": float(alone) for index, alone in enumerate(self._alone)}
        return state if math.isnan(self._length) else state | {"length": self._length}

    def restore(self, state: Mapping[str, float]) -> None:
        """The inverse of :meth:`state`; other names in it are somebody else's."""
        named = [f"alone.{index}" for index in range(ATTEMPTS)]
        self._alone = deque((state[name] > 0 for name in named if name in state), ATTEMPTS)
        self._length = state.get("length", math.nan)
