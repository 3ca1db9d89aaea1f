"""When a simulated person takes over, and when they let go."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np

from silri.core.errors import ConfigError
from silri.core.settings import (
    Field,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Share01,
    settings,
)
from silri.intervention.coach import Coach, Kind


@settings("operator.gate")
class GateConfig:
    """Reasons to take over. Any one is enough.

    Disagreement is the norm over all action dimensions, grippers included, of the clipped expert's
    action minus the policy's proposal.
    """

    # what gives the reasons: the person's own eyes; the coach, who also says when to let go and
    # when to stop watching; chance, at any time: what advice has to beat
    follows: Literal["eyes", "coach", "chance"] = "eyes"
    # probability per step of taking over while there is a reason
    probability: Share01 = 0.15
    # mean disagreement with the expert that is a reason, action units; None: never
    disagreement: NonNegative | None = 0.8
    # steps over which disagreement is averaged
    window: PositiveInt = 5
    # steps without progress that are a reason; None: never
    stall_steps: PositiveInt | None = None
    # movement of hand or object within the stall steps that is progress, metres
    stall_distance: Positive = 0.01
    # being unfinished is a reason in so many steps before the time-out; None: never
    rescue_steps: PositiveInt | None = None
    # probability per step of taking over while the robot, or the coach, asks for it; 0: ignores it
    answer: Share01 = 0.5
    # shortest and longest time from having a reason to taking over, steps
    late: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    # shortest and longest hold, steps
    hold: tuple[PositiveInt, PositiveInt] = (5, 25)
    # human-driven steps of the whole run after which nobody takes over any more; None: no end
    budget: NonNegativeInt | None = None
    # share of attention lost on a robot that always succeeds
    fading: Share01 = 0.0
    # episodes over which success is remembered (exponential average), for fading
    memory: Annotated[float, Field(ge=1)] = 20.0

    def __post_init__(self) -> None:
        for name in ("late", "hold"):
            low, high = getattr(self, name)
            if low > high:
                raise ConfigError(
                    f"operator.gate.{name} takes shortest <= longest, got {(low, high)}"
                )

    def describe(self) -> str:
        """One line with every number that matters."""
        reasons = []
        if self.disagreement is not None:
            reasons.append(
                f"mean disagreement over {self.window} steps passes {self.disagreement:g}"
            )
        if self.stall_steps:
            reasons.append(
                f"neither hand nor object moved {self.stall_distance:g} m in "
                f"{self.stall_steps} steps"
            )
        if self.rescue_steps:
            reasons.append(f"{self.rescue_steps} steps are left")
        while_ = f"while {' or '.join(reasons) or 'there is a reason (none is set)'}"
        probability, holds = self.probability, f"holds {self.hold[0]}-{self.hold[1]} steps"
        if self.follows == "coach":
            probability, while_ = self.answer, "while the coach says so"
            holds = f"lets go when the coach says so, after {self.hold[1]} steps at the latest"
        elif self.follows == "chance":
            while_ = "whatever happens"
        line = f"takes over with p {probability:g} per step {while_}, {holds}"
        if self.late[1]:
            line += f", begins {self.late[0]}-{self.late[1]} steps late"
        if self.fading:
            line += (
                f"; attention falls by {self.fading:.0%} as success (over about "
                f"{self.memory:g} episodes) rises to 1"
            )
        if self.budget is not None:
            line += f"; at most {self.budget} steps in the whole run"
        return line


class Gate:
    """Opens for a takeover and closes after a hold."""

    def __init__(self, config: GateConfig, max_episode_steps: int | None = None) -> None:
        """A gate; ``rescue_steps`` needs ``max_episode_steps`` and is off without.

        Args:
            config: the reasons.
            max_episode_steps: decisions until the time-out.
        """
        self._config = config
        rescue = config.rescue_steps
        self._rescue_from = (
            None if rescue is None or max_episode_steps is None else max_episode_steps - rescue
        )
        self._success = 0.0
        self._used = 0
        self._coach = Coach() if config.follows == "coach" else None

    def begin_episode(self, rng: np.random.Generator) -> None:
        """Every draw of the episode comes from ``rng``."""
        self._rng = rng
        self._left = self._wait = 0
        self._used_now = 0
        self._disagreements: deque[float] = deque(maxlen=self._config.window)
        self._places: deque[np.ndarray] = deque(maxlen=(self._config.stall_steps or 0) + 1)
        if self._coach is not None:
            self._coach.begin_episode()

    def decide(
        self,
        disagreement: float,
        place: np.ndarray | None,
        step: int,
        asked: bool = False,
        estimate: float = math.nan,
    ) -> tuple[bool, bool]:
        """Whether the person drives in this step, and whether a takeover begins with it.

        Args:
            disagreement: of the policy's proposal with the expert, now.
            place: (6,) hand and object in metres; None where nobody knows (then never stalled).
            step: index within the episode.
            asked: the robot asks for help.
            estimate: Q of the proposal; NaN where the robot has none.
        """
        self._disagreements.append(disagreement)
        if place is not None and self._config.stall_steps:
            self._places.append(place)
        spent = self._config.budget is not None and (
            self._used + self._used_now >= self._config.budget
        )
        if spent:
            self._left = self._wait = 0
            return False, False
        if self._wait:
            return self._late()
        if self._coach is not None:
            asked = self._coached(step, estimate)
        likely = self._attention() if self._reason(step) else 0.0
        if asked:
            likely = max(likely, self._config.answer)
        begins = self._left == 0 and likely > 0 and self._rng.random() < likely
        if begins:
            low, high = self._config.hold
            self._left = int(self._rng.integers(low, high, endpoint=True))
            if self._config.late[1]:
                self._wait = 1 + int(self._rng.integers(*self._config.late, endpoint=True))
                return self._late()
        if self._left == 0:
            return False, False
        self._left -= 1
        self._used_now += 1
        return True, begins

    def _coached(self, step: int, estimate: float) -> bool:
        """Whether the coach wants a takeover; one that it says is over ends here."""
        assert self._coach is not None
        advice = self._coach.advise(step, estimate, driven=self._left > 0)
        if advice is not None and advice.kind is Kind.LET_GO:
            self._left = 0
            return False
        return advice is not None and advice.kind is Kind.TAKE_OVER

    def _late(self) -> tuple[bool, bool]:
        """One step of a person who is not there yet: they come, whatever happens meanwhile."""
        self._wait -= 1
        if self._wait:
            return False, False
        self._left -= 1
        self._used_now += 1
        return True, True

    def end_episode(self, summary: Mapping[str, float]) -> None:
        """Remember how much of a success was the robot's own, and what it cost the person.

        Args:
            summary: ``success``, ``length`` and ``intervention_steps`` of the episode.
        """
        own = summary["success"] * (1.0 - summary["intervention_steps"] / summary["length"])
        self._success += (own - self._success) / self._config.memory
        self._used += int(summary["intervention_steps"])
        if self._coach is not None:
            self._coach.end_episode(
                success=summary["success"] > 0,
                length=int(summary["length"]),
                human_steps=int(summary["intervention_steps"]),
            )

    def state(self) -> dict[str, float]:
        """What must survive a restart."""
        of_coach = {} if self._coach is None else self._coach.state()
        return {"success": self._success, "used": float(self._used), **of_coach}

    def restore(self, state: Mapping[str, float]) -> None:
        """The inverse of :meth:`state`."""
        self._success, self._used = float(state["success"]), int(state["used"])
        if self._coach is not None:
            self._coach.restore(state)

    def _attention(self) -> float:
        return self._config.probability * (1.0 - self._config.fading * self._success)

    def _reason(self, step: int) -> bool:
        config = self._config
        if config.follows != "eyes":
            return config.follows == "chance"
        recent = self._disagreements
        disagrees = (
            config.disagreement is not None
            and len(recent) == config.window
            and math.fsum(recent) > config.disagreement * config.window
        )
        rescue = self._rescue_from is not None and step >= self._rescue_from
        return disagrees or rescue or self._stalled()

    def _stalled(self) -> bool:
        places = self._places
        if not self._config.stall_steps or len(places) <= self._config.stall_steps:
            return False
        moved = np.abs(places[-1] - places[0]).reshape(-1, 3).max(axis=-1)
        return bool((moved < self._config.stall_distance).all())


class AlwaysGate:
    """A demonstration: the person drives the whole time, in bouts that begin as takeovers do."""

    def __init__(self, config: GateConfig) -> None:
        """Bouts last as long as ``config.hold``."""
        self._hold = config.hold

    def begin_episode(self, rng: np.random.Generator) -> None:
        """Every draw of the episode comes from ``rng``."""
        self._rng = rng
        self._left = 0

    def decide(
        self,
        disagreement: float,
        place: np.ndarray | None,
        step: int,
        asked: bool = False,
        estimate: float = math.nan,
    ) -> tuple[bool, bool]:
        """Always drives; see :meth:`Gate.decide`."""
        del disagreement, place, step, asked, estimate
        begins = self._left == 0
        if begins:
            self._left = int(self._rng.integers(*self._hold, endpoint=True))
        self._left -= 1
        return True, begins

    def end_episode(self, summary: Mapping[str, float]) -> None:
        """Nothing to remember."""

    def state(self) -> dict[str, float]:
        """Nothing to survive a restart."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Nothing to restore."""
